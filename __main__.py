"""`python -m earmark`: the command line.

Python has put the working folder before everything else, and whatever lies there would be loaded.
"""

from __future__ import annotations

import sys

from earmark.engine.processes.own import forget_working_folder

forget_working_folder()

from earmark.cli import main  # noqa: E402  from here on nothing comes from the working folder

if __name__ == "__main__":
    sys.exit(main())

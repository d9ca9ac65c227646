"""`python -m earmark`: the command line."""

from __future__ import annotations

import sys

from earmark.cli import main

if __name__ == "__main__":
    sys.exit(main())

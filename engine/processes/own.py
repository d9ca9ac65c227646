"""A process of our own: the modules that this one has, and nothing from the folder that somebody happens to be in.

`python -m` and `python -c` look for every module in the working folder first, then where PYTHONPATH says: whoever may
write there is run, an `argparse.py` in a shared folder for one. `-I` leaves out both, and the user's own packages.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = str(Path(__file__).absolute().parents[3])  # the folder in which Python finds `earmark`

# Behind Python's own modules and the environment's packages: what this process has beside those
_PLACES = "import sys\nsys.path += [place for place in sys.argv.pop(1).split('\\n') if place not in sys.path]\n"
_MODULE = "import runpy\nrunpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n"

# The service manager talks to the daemon, not to what it starts; and the key of the people is nobody else's.
SECRETS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    "EARMARK_PASSPHRASE",
    "EARMARK_PASSPHRASE_SOCKET",
)
FOR_OUR_OWN = ("CREDENTIALS_DIRECTORY",)  # where the key may lie; a passphrase itself never goes this way


def own_command(module: str, *arguments: str) -> list[str]:
    """Program and arguments that run one of our modules as `python -m` does, wherever it is called.

    Args:
        module: its full name.
        arguments: for it.
    """
    return own_code(_MODULE, module, *arguments)


def own_code(code: str, *arguments: str) -> list[str]:
    """The same for lines of Python as `python -c` runs them; `sys.argv[1:]` are its arguments."""
    return [sys.executable, "-I", "-c", _PLACES + code, "\n".join(_places()), *arguments]


def environment_for_others(environment: Mapping[str, str]) -> dict[str, str]:
    """What a program that is not ours may see of the environment."""
    return {name: value for name, value in environment.items() if name not in SECRETS}


@contextlib.contextmanager
def from_root() -> Iterator[None]:
    """The root folder is the working one, while a library is loaded that looks for its settings in the working one.

    Raises:
        OSError: the working folder is none any more.
    """
    here = os.open(os.curdir, os.O_PATH)  # which needs no right to read it
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def environment_for_own(environment: Mapping[str, str]) -> dict[str, str]:
    """The same of a program of ours that opens the people: it may look for its key where we do."""
    found = {name: environment[name] for name in FOR_OUR_OWN if name in environment}
    return {**environment_for_others(environment), **found}


def forget_working_folder() -> None:
    """Takes the working folder out of where modules are looked for, unless earmark itself lies there.

    For `python -m earmark`, which put it there. What Python has loaded before it came to us is beyond us: where
    others may write, call `earmark`, which looks nowhere but in its environment.
    """
    sys.path[:] = [place for place in sys.path if place == _ROOT or not _is_working_folder(place)]


def _places() -> list[str]:
    return [place for place in dict.fromkeys([*sys.path, _ROOT]) if place == _ROOT or not _is_working_folder(place)]


def _is_working_folder(place: str) -> bool:
    try:
        return not Path(place).is_absolute() or Path(place).samefile(os.curdir)
    except OSError:  # one of both is not there: an archive, or a folder that was deleted
        return False

"""A process of our own: the modules that this one has, and nothing from the folder that somebody happens to be in.

`python -m` and `python -c` look for every module in the working folder first, then where PYTHONPATH says: whoever may
write there is run, an `argparse.py` in a shared folder for one. `-I` leaves out both, and the user's own packages.

A program that is not ours is looked for in the absolute folders of PATH only: an empty or relative entry is the
working folder again.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
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
    """What a program that is not ours may see of the environment; its PATH has absolute folders only."""
    kept = {name: value for name, value in environment.items() if name not in SECRETS}
    forget_relative_path(kept)
    return kept


def find_program(name: str, folders: Sequence[str] | None = None) -> str | None:
    """The file of a program that is not ours; None: there is none.

    Args:
        name: as it is typed; with a `/` in it, it is the file itself, and is not looked for.
        folders: in which it is looked for; None: those of PATH. Relative ones are left out. Where we are root, so is
            each in which somebody else may put or change it.
    """
    import shutil  # which most commands do without

    if "/" in name:
        found = shutil.which(name)
        return None if found is None else str(Path(found).absolute())
    for folder in _absolute(os.environ.get("PATH", os.defpath)) if folders is None else folders:
        found = shutil.which(name, path=folder) if Path(folder).is_absolute() else None
        if found is not None and (os.geteuid() != 0 or (_is_roots(Path(folder)) and _is_roots(Path(found)))):
            return found
    return None


def forget_relative_path(environment: MutableMapping[str, str] = os.environ) -> None:
    """Leaves only absolute folders on PATH: libraries start programs by their names, `uname` and `ld` among them."""
    if "PATH" in environment:
        kept = os.pathsep.join(_absolute(environment["PATH"]))
        environment["PATH"] = kept or os.defpath  # an empty one is the working folder


def let_nobody_else_write() -> None:
    """What this process makes, and a library in it, is writable by its user alone, whatever the umask was."""
    os.umask(os.umask(0o077) | 0o022)


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


def _absolute(path: str) -> list[str]:
    return [folder for folder in path.split(os.pathsep) if Path(folder).is_absolute()]


def _is_roots(place: Path) -> bool:
    """Whether root alone, or its group, may write a folder or a file; a link is where it leads."""
    try:
        found = place.stat()
    except OSError:
        return False
    return found.st_uid == 0 and not found.st_mode & stat.S_IWOTH


def _is_working_folder(place: str) -> bool:
    try:
        return not Path(place).is_absolute() or Path(place).samefile(os.curdir)
    except OSError:  # one of both is not there: an archive, or a folder that was deleted
        return False

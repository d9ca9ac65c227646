"""Files that a command will write at its end: whether they can be written is asked before the work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import InputError, system_text_of
from .atomic import replace_synced


def require_writable(path: str | os.PathLike[str]) -> None:
    """Asks whether a file can be written or replaced; nothing changes.

    Raises:
        InputError: it is a folder, its folder is not there, or something may not be written.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target}: cannot be written: it is a folder; name a file")
    if not target.parent.is_dir():
        raise InputError(f"{target}: cannot be written: there is no folder {target.parent}: make it first")
    place = target if _is_special(target) else target.parent
    if not os.access(place, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise InputError(f"{target}: cannot be written: {place} is not ours to write; name another place")


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all, for its owner's eyes only; a device or a pipe gets what it is sent.

    Raises:
        InputError: it cannot be written.
    """
    try:
        target = Path(path)
        if _is_special(target):
            with target.open("wb") as file:
                file.write(content)
        else:
            replace_synced(target, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {system_text_of(error)}") from error


def _is_special(path: Path) -> bool:
    """Something that must not be replaced by a file: a device, a pipe, a socket.

    Raises:
        InputError: it is a pipe of another user, who has perhaps laid it there to read what comes.
    """
    if not path.exists() or stat.S_ISREG(path.stat().st_mode):
        return False
    named = os.path.realpath(path)  # /dev/stdout may be a pipe of somebody else, too, but one without a name
    if os.path.lexists(named):
        found = os.lstat(named)
        if stat.S_ISFIFO(found.st_mode) and found.st_uid not in (0, os.geteuid()):
            raise InputError(f"{path}: cannot be written: it is no file, and is another user's; name another place")
    return True

"""Whose a folder is: root changes another user's folder as that user, and who may not read one is told who may."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..errors import system_text_of

CAPABILITIES_V3, CAP_DAC_READ_SEARCH = 0x20080522, 2  # linux/capability.h


@contextlib.contextmanager
def as_owner_of(path: Path) -> Iterator[None]:
    """What root writes meanwhile is written as the user whose folder it is, or would be if it were made.

    So its owner can read what is made, and a link that the owner has laid does not lead root to write elsewhere. Root
    still reads everything: its key files, and modules of a Python that only root may see. It holds for the calling
    thread alone. Other users, and folders of root, see no difference; nor does root in a container that took the
    capability away.
    """
    if os.geteuid() == 0:
        nearest = _nearest(path)
        status = nearest.lstat()
        if status.st_uid == 0:  # a link that root has laid may be followed; one of somebody else may not
            status = nearest.stat()
        if status.st_uid != 0:
            with _writing_as(status.st_uid, status.st_gid):
                yield
            return
    yield


@contextlib.contextmanager
def _writing_as(uid: int, gid: int) -> Iterator[None]:
    """setfsuid(2) and setfsgid(2), which take root's rights over files; capset(2), which gives reading back."""
    import ctypes  # 2 ms, and for root alone

    libc = ctypes.CDLL(None)
    old_gid, old_uid = libc.setfsgid(ctypes.c_uint(gid)), libc.setfsuid(ctypes.c_uint(uid))
    try:
        header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()
        if libc.capget(header, sets) == 0:
            sets[0] |= sets[1] & 1 << CAP_DAC_READ_SEARCH  # effective: what is permitted of it
            libc.capset(header, sets)
        yield
    finally:
        libc.setfsuid(ctypes.c_uint(old_uid))
        libc.setfsgid(ctypes.c_uint(old_gid))


def refusal(error: OSError, path: Path | str, wanted: int = os.R_OK) -> str:
    """What the system says of a path; where this user may not, also whose it is, and who may.

    Args:
        error: of what was tried.
        path: a file, a folder or a socket; it need not be there.
        wanted: `os.R_OK` or `os.W_OK`.
    """
    if not isinstance(error, PermissionError) or os.geteuid() == 0:
        return system_text_of(error)
    return f"{system_text_of(error)}: {who_may(Path(path), wanted)}"


def who_may(path: Path, wanted: int = os.R_OK) -> str:
    """Whose a path is, or the folder on the way to it that is closed to this user, and how to get at it."""
    closed, wanted = _closed(path, wanted)
    status = closed.stat()
    me, owner, group = _user(os.geteuid()), _user(status.st_uid), _group(status.st_gid)
    if status.st_uid == os.geteuid():
        return f"{closed} is your own: `chmod u+rwX {shlex.quote(str(closed))}`"
    if status.st_gid == 0 or (status.st_mode >> 3) & wanted != wanted:
        return f"{closed} is of the user {owner}, who alone may: the same with sudo"
    whose = f"{closed} is of the user {owner} and the group {group}"
    if me in _members(status.st_gid):
        return f"{whose}, to which you belong once you have logged in again"
    return f"{whose}: the same with sudo, or `sudo usermod -aG {group} {me}` and log in again"


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _closed(path: Path, wanted: int) -> tuple[Path, int]:
    """The first folder on the way to a path that this user may not enter, else the path; and what is wanted of it."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if folder.is_dir() and not os.access(folder, os.X_OK):
            return folder, os.X_OK
    nearest = _nearest(path)
    return nearest, wanted | os.X_OK if nearest.is_dir() else wanted


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a number without a name, as in containers
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _members(gid: int) -> list[str]:
    try:
        return grp.getgrgid(gid).gr_mem
    except KeyError:
        return []

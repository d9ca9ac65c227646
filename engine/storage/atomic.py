"""Files and folders that are there whole or not at all, whenever the power goes; for their owner's eyes only.

A file: `replace_synced`. A folder: write into a `temporary_folder` beside the place, each file with `write_synced`,
then `sync_folder` it and `put_in_place`. `locked.py` has what several processes change.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

NEW_PREFIX = ".new-"
"""Of what is not in its place yet; what a killed process left has it too."""


def make_folder(path: Path) -> None:
    """Creates a folder and its missing parents, each with mode 0700, whatever the umask is."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)


@contextlib.contextmanager
def temporary_folder(place: Path) -> Iterator[str]:
    """A fresh folder (mode 0700) beside the place it will be renamed to; gone again if that did not happen.

    A text, as all names that are made anew again and again in a process that runs for a year: pathlib interns every
    part of a path, which the interpreter's table of names never gives back, and Python 3.12 not even the name.
    """
    temporary = tempfile.mkdtemp(prefix=NEW_PREFIX, dir=place)
    try:
        os.chmod(temporary, 0o700)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(folder: str | Path, place: str | Path) -> None:
    """A finished folder, synced, is at its place from now on, also after a power cut.

    Raises:
        OSError: nothing is there.
    """
    os.rename(folder, place)
    try:
        sync_folder(os.path.dirname(place) or ".")
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        raise


def write_synced(path: str | Path, content: bytes, mode: int = 0o600) -> None:
    """A new file, on the disk when this returns.

    Args:
        path: where nothing is yet.
        content: all of it.
        mode: exactly, whatever the umask is.

    Raises:
        OSError: it is there already, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: str | Path, content: bytes, beside: str | Path | None = None, mode: int = 0o600) -> None:
    """A file with other content, or a new one: the old one or the new one, at any moment.

    Args:
        path: of the file; its folder is there.
        content: all of it.
        beside: the folder, on the same disk, in which the new file is written first; None: its own.
        mode: of the new file, whatever that of the old one was.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder if beside is None else beside, f"{NEW_PREFIX}{threading.get_native_id()}-{name}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        write_synced(temporary, content, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(folder or ".")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among all processes that lock this file (mode 0600), which is made where there is none.

    Raises:
        OSError: it cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # a process that dies gives it back
        yield
    finally:
        os.close(descriptor)


def sync_folder(path: str | Path) -> None:
    """Makes a rename or a removal in this folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_limited(path: Path, most_bytes: int) -> bytes:
    """The content of a file that is not larger.

    Raises:
        ValueError: it is, or it is no plain file.
        OSError: it cannot be read.
    """
    _require_file(path)
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} is larger than {most_bytes} bytes")
    return content


def read_secret(path: Path, most_bytes: int) -> bytearray:
    """The same of a key or a passphrase: no other buffer of ours has it, and whoever has used it can zero it.

    Raises:
        ValueError: as `read_limited`.
        OSError: it cannot be read.
    """
    _require_file(path)
    content, size = bytearray(most_bytes + 1), 0
    with path.open("rb", buffering=0) as file, memoryview(content) as place:
        while more := file.readinto(place[size:]):
            size += more
    if size > most_bytes:
        raise ValueError(f"{path.name} is larger than {most_bytes} bytes")
    del content[size:]
    return content


def _require_file(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):  # a link, or a pipe that would be waited for
        raise ValueError(f"{path.name} is not a file")

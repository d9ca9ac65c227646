"""Events as lines: on standard output, and in a file."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DaemonError
from ..event import Event
from .base import Control, Notice, Sink


def require_writable(key: str, folder: Path) -> None:
    """Raises DaemonError where a folder cannot be made or written."""
    place = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise DaemonError(f"{key}: {folder} cannot be written: {place} is no folder, or is not ours to write")


class ConsoleSink(Sink):
    """Standard output; the settings are whether it is JSON; `shown` makes of an event what is printed."""

    name = "stdout"

    def __init__(self, settings: Any, control: Control, shown: Callable[[Event], Event] | None = None) -> None:
        super().__init__(settings, control)
        self._shown = shown
        self._line = threading.Lock()  # of a pipe, and of the clients of a server: both threads print

    def send(self, notice: Notice) -> None:
        """One line."""
        event = self._shown(notice.event) if self._shown else notice.event
        with self._line:
            print(event.line(notice.source, as_json=self._settings), flush=True)


class JsonlSink(Sink):
    """A file that grows, mode 0600: who was at home when is nobody else's business.

    It is opened for each line, so that it may be moved away at any time. Neither a link is followed nor a file of
    somebody else written: who may make files in its folder would choose what grows.
    """

    name = "jsonl"

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._path = settings.path

    def probe(self) -> None:
        """Raises DaemonError where the file cannot be written; it is not opened: a pipe would wait for its reader."""
        path = Path(self._path)
        place = path if os.path.lexists(path) else path.parent
        if path.is_symlink():
            raise DaemonError(f"jsonl.path={path}: is a link, which is not followed: name the file")
        if not os.access(place, os.W_OK) or path.is_dir():
            raise DaemonError(f"jsonl.path={path}: cannot be written: make that folder, or allow writing")
        if place == path:
            _require_own(self._path, path.lstat())

    def open(self) -> None:
        """Tries whether it can be written."""
        self._append(b"")

    def send(self, notice: Notice) -> None:
        """Appends one line, whole: a full disk does not leave half of one before the next."""
        self._append(json.dumps(notice.to_json(), ensure_ascii=False).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise DaemonError(
                    f"jsonl.path={self._path}: is a link, which is not followed: name the file"
                ) from error
            raise
        try:
            state = os.fstat(descriptor)
            _require_own(self._path, state)
            end = state.st_size
            written = os.write(descriptor, line)
            if written < len(line):
                os.ftruncate(descriptor, end)
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written", self._path)
        finally:
            os.close(descriptor)


def _require_own(path: str, state: os.stat_result) -> None:
    """Raises DaemonError for a file or a pipe of somebody else, and for one that has another name somewhere."""
    if stat.S_ISCHR(state.st_mode):
        return
    if state.st_uid != os.geteuid() or (stat.S_ISREG(state.st_mode) and state.st_nlink > 1):
        raise DaemonError(
            f"jsonl.path={path}: belongs to somebody else, or has a second name, and is not appended to: "
            "name another file"
        )

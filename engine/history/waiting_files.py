"""The files of what waits to be learned, in the people's store: of a sealed one only as its index has them."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import LearningError
from ..people.index import WAITING_FOLDER, WAITING_SUFFIX, file_mark
from ..people.store import PersonStore
from ..people.vault import MAGIC, Vault
from ..storage.atomic import read_limited
from ..storage.locked import LOCK_FILE, LockedFolder, is_leftover, unwritable
from ..storage.owners import refusal
from .queued_wake import MAX_ENTRY_BYTES

UNDONE = "undone"
"""What the list of what was taken back is called beside the entries."""
MAX_UNDONE_BYTES = 1 << 20


class WaitingFiles:
    """The folder of one people's store; its lock is that of the store."""

    def __init__(self, people: PersonStore) -> None:
        self.folder = people.folder / WAITING_FOLDER
        self.locked = LockedFolder(self.folder, people.folder / LOCK_FILE)
        self._people = people

    def read(self, name: str) -> tuple[bytes, Vault | None]:
        """A file as it lies there, and what opens it if it is sealed.

        It is read before the index: what comes is in the index first.

        Raises:
            OSError: it cannot be read.
            PersonError: the key of the store is not to be had, or the store cannot be used.
            ValueError: the store is sealed, and the file is not in its index, or not this file.
        """
        path, most = self.file(name), MAX_UNDONE_BYTES if name == UNDONE else MAX_ENTRY_BYTES
        while True:
            content = read_limited(path, most)
            sealed, vault = content.startswith(MAGIC), self._people.vault()
            marks = self.marks(name)
            if vault is None and not sealed:
                return content, None
            if vault is not None and (file_mark(content) in marks if marks is not None else sealed):
                return content, vault if sealed else None
            if content == read_limited(path, most):
                why = "it is not what the index of the store says" if vault else "it is sealed, and the store is not"
                raise ValueError(why)

    def marks(self, name: str) -> set[str] | None:
        """The marks that the index allows a file to have; None: there is no index."""
        index = self._people.seal.index()
        return None if index is None else index.marks(WAITING_FOLDER, name)

    def put(
        self,
        contents: Mapping[str, bytes],
        stored_s: Mapping[str, float],
        gone: Iterable[str] = (),
        done: list[str] | None = None,
    ) -> int:
        """Puts files into their places, and erases others; whoever calls has the lock. Returns how many it erased.

        Args:
            contents: id -> content.
            stored_s: id -> when it was stored, in seconds since 1970.
            gone: ids.
            done: gets the ids of what is in its place, also where an error ends it.
        """
        gone, count = list(gone), 0
        marks: dict[str, str | None] = {name: file_mark(content) for name, content in contents.items()}
        coming = {WAITING_FOLDER: {**marks, **dict.fromkeys(gone)}}
        with self._people.seal.changing(lambda _: coming, keyless=not contents):
            for name, content in contents.items():
                self.locked.replace(f"{self.folder}/{name}{WAITING_SUFFIX}", content)
                if name in stored_s:
                    self.set_stored(name, stored_s[name])
                if done is not None:
                    done.append(name)
            for name in gone:
                with contextlib.suppress(FileNotFoundError):
                    self.file(name).unlink()
                    count += 1
            if count:
                self.locked.sync()
        return count

    def file(self, name: str) -> Path:
        """Where an entry lies."""
        return self.folder / (name + WAITING_SUFFIX)

    def stored_s(self, name: str) -> float:
        """When it was stored, in seconds since 1970; inf: it is erased."""
        try:
            return self.file(name).stat().st_mtime
        except FileNotFoundError:  # erased meanwhile
            return math.inf

    def set_stored(self, name: str, stored_s: float) -> None:
        """Says when it was stored.

        Raises:
            OSError: it is not there, or may not be touched.
        """
        os.utime(self.file(name), (stored_s, stored_s))

    def sweep(self, alone: bool = False) -> None:
        """Deletes what killed processes left."""
        if any(map(is_leftover, self.listed())):
            with self.changing("could not be tidied", alone):
                self.locked.sweep_all()

    def is_sealed(self, name: str) -> bool:
        """Whether it is sealed; what cannot be read is."""
        try:
            return read_limited(self.file(name), MAX_UNDONE_BYTES).startswith(MAGIC)
        except (OSError, ValueError):  # gone meanwhile
            return True

    def listed(self) -> list[str]:
        """The names of all files, in any order.

        Raises:
            LearningError: the folder may not be read.
        """
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LearningError(f"{self.folder}: cannot be read: {refusal(error, self.folder)}") from error

    def changing(self, what: str, alone: bool = False) -> contextlib.AbstractContextManager[None]:
        """Alone among all processes that change this store; `alone`: the caller is so already."""
        words = f"what was heard {what} in {self.folder}", "make room, or allow writing"
        return unwritable(*words, self.folder) if alone else self.locked.changing(*words)

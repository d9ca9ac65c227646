"""What the daemon heard, kept to learn from: embeddings only, never a sound.

It lies inside the people's store, and so where the people are, and goes with them::

    .learning/                     mode 0700
      1732490000123-5d3f91aa.json    one wake: when, who, the embedding, a checksum; mode 0600; sealed as the store is
      undone.json                    what was learned and taken back: it is not learned again
      .updated                       its time of change is when the last update began

An entry's name begins with its time and ends with a checksum of where it was heard, so that entries are ordered by
their names, and the same wake is the same entry whoever writes it. An entry is written beside its place and renamed
into it, under the lock of the people's store. What is too old or too many is erased by `tidy`.

How old an entry is, is counted as in the journal, for the wall clock may be wrong: from the time of change of its
file, not from its name. Where the clock is stepped, whoever wrote the entry moves that (`shift`), so that what was
heard in the first minute of a machine without a clock is a minute old, and no half century. Beyond so many, those go
that were stored first.

Each entry says itself whether it is sealed, so that all can be read while the store is being encrypted or decrypted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import LearningError, text_of
from ..people.store import PersonStore
from ..people.vault import MAGIC, Vault
from ..settings.schema import DAY_S
from ..storage.atomic import read_limited
from ..storage.locked import LOCK_FILE, LockedFolder, is_leftover, unwritable
from ..storage.owners import refusal
from .queued_wake import FOLDER, MAX_ENTRY_BYTES, QueuedWake, decode, encode

__all__ = ["LearningQueue", "QueuedWake"]  # with what an entry is, so that one import is enough

_LOG = logging.getLogger(__name__)

UNDONE_FILE, UPDATED_FILE, SUFFIX = "undone.json", ".updated", ".json"
MOST_OWN = 200  # wakes that wait to be learned: five a day for the 40 days that 40 takes need
MOST_IMPOSTORS = 500  # 1.5 MB; the head trains against 64 of them
OWN_DAYS, IMPOSTOR_DAYS = 14.0, 60.0  # a cold is over, and a guest is gone; chosen, not measured
MOST_UNDONE = 1000


class LearningQueue:
    """What waits to be learned in one people's store; several processes may use it at the same time."""

    def __init__(self, people: PersonStore) -> None:
        self.folder = people.folder / FOLDER
        self._locked = LockedFolder(self.folder, people.folder / LOCK_FILE)
        self._people = people

    def add(self, heard: QueuedWake) -> None:
        """Keeps a wake; the same one again replaces it.

        Raises:
            StoreUnwritable: the disk is full, or the folder may not be written; there is no part of it.
            PersonError: the store is encrypted, and its key is not to be had.
        """
        with self._changing("could not be kept"):
            self._write(heard, self._people.vault(), heard.at_s)

    def read(self) -> list[QueuedWake]:
        """Everything that waits, oldest first; what is damaged is erased and logged.

        Raises:
            PersonError: the store is encrypted, and its key is not to be had.
            LearningError: the folder may not be read.
        """
        found = []
        for name in self.ids():
            try:
                found.append(self._load(name))
            except FileNotFoundError:  # erased meanwhile
                continue
            except OSError as error:
                raise LearningError(
                    f"{self.folder / name}: cannot be read: {refusal(error, self.folder / name)}"
                ) from error
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                _LOG.warning("%s: damaged: %s: erased", self.folder / name, text_of(error))
                self.erase([name])
        return found

    def ids(self) -> list[str]:
        """The ids of all entries, oldest first.

        Raises:
            LearningError: the folder may not be read.
        """
        names = [name.removesuffix(SUFFIX) for name in self._listed() if name.endswith(SUFFIX)]
        return sorted(name for name in names if name[:1].isdigit())

    def erase(self, ids: Iterable[str]) -> int:
        """Erases entries, those that are still there; returns how many that were.

        Raises:
            StoreUnwritable: they may not be removed.
        """
        ids, count = list(ids), 0
        if not ids:
            return 0
        with self._changing("could not be erased"):
            for name in ids:
                with contextlib.suppress(FileNotFoundError):
                    (self.folder / (name + SUFFIX)).unlink()
                    count += 1
            if count:
                self._locked.sync()
        return count

    def withdraw(self, source: str, keyword: str, since_sample: int) -> int:
        """Erases what was rejected in a source since then: the person has now been accepted, so it was no stranger.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonError, LearningError: as `read`.
        """
        newest = [name for name in self.ids()[-20:] if name.endswith(f"-{zlib.crc32(source.encode()):08x}")]
        doubtful = []
        for name in newest:
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                heard = self._load(name)
                unsaid = not heard.is_own and heard.label is None
                if unsaid and heard.keyword == keyword and heard.sample >= since_sample:
                    doubtful.append(name)
        return self.erase(doubtful)

    def shift(self, ids: Iterable[str], step_s: float) -> None:
        """The clock was stepped: what this process wrote keeps its true age.

        Raises:
            StoreUnwritable: the folder may not be written.
        """
        with self._changing("could not be used"):
            for name in ids:
                with contextlib.suppress(FileNotFoundError):  # erased meanwhile
                    self._set_stored(name, self._file(name).stat().st_mtime + step_s)

    def tidy(self, now_s: float | None) -> int:
        """Erases what is too old, too many, or of people who are not enrolled any more; returns how many entries.

        What killed processes left goes too, and what is not sealed is sealed where the store is encrypted.

        Args:
            now_s: seconds since 1970. What seems to come from the future is kept. None: nobody knows; nothing is too
                old then, but may be too many.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonError, LearningError: as `read`.
        """
        self.seal()
        entries, people = self.read(), self._people.names()
        stored_s = {heard.id: self._stored_s(heard.id) for heard in entries}
        entries.sort(key=lambda heard: stored_s[heard.id])
        # the daemon goes on naming who was erased or renamed until it looks at the store again
        gone = [heard.id for heard in entries if heard.label is None and heard.person not in (None, *people)]
        for own, most, days in ((True, MOST_OWN, OWN_DAYS), (False, MOST_IMPOSTORS, IMPOSTOR_DAYS)):
            kind = [heard for heard in entries if heard.is_own == own and heard.id not in gone]
            young = [heard for heard in kind if now_s is None or now_s - stored_s[heard.id] <= days * DAY_S]
            gone += [heard.id for heard in kind if heard not in young[-most:]]
        return self.erase(gone)

    def seal(self) -> int:
        """Seals what is not, where the store is encrypted; returns how many entries that were.

        Raises:
            StoreUnwritable: it could not be written; what is not sealed yet is as it was.
            PersonError, LearningError: as `read`.
        """
        return self._renew(self._people.vault() is not None, lambda heard: heard)

    def unseal(self) -> int:
        """Opens what is sealed, before the key goes; returns how many entries that were.

        The caller holds the lock of the store, so that nothing is sealed behind its back.

        Raises:
            StoreUnwritable, PersonError, LearningError: as `seal`.
        """
        return self._renew(False, lambda heard: heard, alone=True)

    def sealed(self) -> list[str]:
        """The ids of what is sealed; what cannot be read is.

        Raises:
            LearningError: the folder may not be read.
        """
        return [name for name in self.ids() if self._is_sealed(name)]

    def rename(self, person: str, new_name: str, done: list[str], only: Container[str] | None = None) -> None:
        """What was heard of a person is another's from now on.

        Args:
            person: as entries name, or label, who it was.
            new_name: instead.
            done: gets the ids of what is changed, also where an error ends it.
            only: ids of entries to look at; None: all.

        Raises:
            StoreUnwritable, PersonError, LearningError: as `seal`.
        """

        def renamed(heard: QueuedWake) -> QueuedWake:
            wanted = only is None or heard.id in only
            as_new = replace(
                heard,
                person=new_name if heard.person == person else heard.person,
                label=new_name if heard.label == person else heard.label,
            )
            return as_new if wanted else heard

        self._renew(None, renamed, done)

    def forget(self, person: str | None = None) -> int:
        """Erases what was heard of a person, or everything; returns how many entries.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonLocked: some is sealed, and the key is not to be had: whose it is cannot be read.
            PersonError, LearningError: as `read`.
        """
        if person is None:
            self._sweep()
            return self.erase(self.ids())
        gone = [heard.id for heard in self.read() if person == (heard.label or heard.person)]
        self._sweep()
        return self.erase(gone)

    # --- when it was learned

    def updated_s(self) -> float | None:
        """When the last update began, in seconds since 1970; None: there was none."""
        try:
            return (self.folder / UPDATED_FILE).stat().st_mtime
        except OSError:
            return None

    def update(self, now_s: float) -> None:
        """An update begins.

        Raises:
            StoreUnwritable: the folder may not be written.
        """
        with self._changing("could not be used"):
            path = self.folder / UPDATED_FILE
            self._locked.replace(path, b"")
            os.utime(path, (now_s, now_s))

    # --- what was taken back

    def undone(self) -> set[str]:
        """The ids of what was learned and taken back.

        Raises:
            LearningError: the list is damaged, or may not be read.
        """
        path = self.folder / UNDONE_FILE
        try:
            values = json.loads(read_limited(path, 1 << 20))
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                raise ValueError("it must be a list of texts")
            return set(values)
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, RecursionError) as error:
            raise LearningError(f"{path}: cannot be used: {text_of(error)}; delete it") from error

    def undo(self, ids: Iterable[str]) -> None:
        """Keeps these from being learned again.

        Raises:
            StoreUnwritable: the list could not be written.
            LearningError: as `undone`.
        """
        ids = list(ids)
        listed = sorted(self.undone().union(ids))[-MOST_UNDONE:]
        with self._changing("could not be written"):
            self._locked.replace(self.folder / UNDONE_FILE, json.dumps(listed, indent=1).encode() + b"\n")
        self.erase(ids)

    # --- the parts of it

    def _load(self, name: str) -> QueuedWake:
        """An entry, opened; others may seal or open it meanwhile.

        Raises:
            OSError: it cannot be read.
            PersonError: it is sealed, and the key is not to be had.
            ValueError, KeyError, TypeError: it breaks the format.
        """
        path = self.folder / (name + SUFFIX)
        while True:
            content = read_limited(path, MAX_ENTRY_BYTES)
            sealed = content.startswith(MAGIC)
            vault = self._people.vault() if sealed else None
            if not sealed or vault is not None or content == read_limited(path, MAX_ENTRY_BYTES):
                return decode(content, name, vault)

    def _write(self, heard: QueuedWake, vault: Vault | None, stored_s: float) -> None:
        """Puts an entry into its place; whoever calls has the lock."""
        content = encode(heard)
        if vault is not None:
            content = vault.seal(content, f"{FOLDER}/{heard.id}")
        self._locked.replace(f"{self.folder}/{heard.id}{SUFFIX}", content)
        self._set_stored(heard.id, stored_s)

    def _file(self, name: str) -> Path:
        return self.folder / (name + SUFFIX)

    def _stored_s(self, name: str) -> float:
        try:
            return self._file(name).stat().st_mtime
        except FileNotFoundError:  # erased meanwhile
            return math.inf

    def _set_stored(self, name: str, stored_s: float) -> None:
        os.utime(self._file(name), (stored_s, stored_s))

    def _renew(
        self,
        seal: bool | None,
        change: Callable[[QueuedWake], QueuedWake],
        done: list[str] | None = None,
        alone: bool = False,
    ) -> int:
        """Writes anew, one after the other, what `change` changes and what is not sealed as it should be.

        Args:
            seal: whether entries are to be sealed; None: as each one is.
            change: gives an entry with the same id.
            done: gets the ids of what is written anew, also where an error ends it.
            alone: whether the caller holds the lock.
        """
        self._sweep(alone)
        done = [] if done is None else done
        for name in self.ids():
            with self._changing("could not be written anew", alone), contextlib.suppress(FileNotFoundError):
                was_sealed, stored_s = self._is_sealed(name), self._stored_s(name)
                try:
                    heard = self._load(name)
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    _LOG.warning("%s: damaged: %s: erased", self.folder / name, text_of(error))
                    (self.folder / (name + SUFFIX)).unlink()
                    continue
                new, wanted = change(heard), was_sealed if seal is None else seal
                if new != heard or wanted != was_sealed:
                    done.append(name)
                    self._write(new, self._people.vault() if wanted else None, stored_s)
        return len(done)

    def _sweep(self, alone: bool = False) -> None:
        """Deletes what killed processes left."""
        if any(map(is_leftover, self._listed())):
            with self._changing("could not be tidied", alone):
                self._locked.sweep_all()

    def _is_sealed(self, name: str) -> bool:
        try:
            return read_limited(self.folder / (name + SUFFIX), MAX_ENTRY_BYTES).startswith(MAGIC)
        except (OSError, ValueError):  # gone meanwhile
            return True

    def _listed(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LearningError(f"{self.folder}: cannot be read: {refusal(error, self.folder)}") from error

    def _changing(self, what: str, alone: bool = False) -> contextlib.AbstractContextManager[None]:
        """Alone among all processes that change this store; `alone`: the caller is so already."""
        words = f"what was heard {what} in {self.folder}", "make room, or allow writing"
        return unwritable(*words, self.folder) if alone else self._locked.changing(*words)

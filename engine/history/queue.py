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
In a sealed store an entry is believed only as the index of the store has it (engine/people/seal.py).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from ..errors import LearningError, StoreTampered, text_of
from ..people import operations
from ..people.index import WAITING_SUFFIX
from ..people.seal import WHAT_TO_DO
from ..people.store import PersonStore
from ..people.vault import Vault
from ..settings.schema import DAY_S
from ..storage.owners import refusal
from .queued_wake import FOLDER, QueuedWake, decode, encode
from .waiting_files import UNDONE, WaitingFiles

__all__ = ["LearningQueue", "QueuedWake"]  # with what an entry is, so that one import is enough

_LOG = logging.getLogger(__name__)

UPDATED_FILE, SUFFIX = ".updated", WAITING_SUFFIX
UNDONE_FILE = UNDONE + SUFFIX
MOST_OWN = 200  # wakes that wait to be learned: five a day for the 40 days that 40 takes need
MOST_IMPOSTORS = 500  # 1.5 MB; the head trains against 64 of them
OWN_DAYS, IMPOSTOR_DAYS = 14.0, 60.0  # a cold is over, and a guest is gone; chosen, not measured
MOST_UNDONE = 1000


class LearningQueue:
    """What waits to be learned in one people's store; several processes may use it at the same time."""

    def __init__(self, people: PersonStore) -> None:
        self._files = WaitingFiles(people)
        self.folder = self._files.folder
        self._people = people

    def add(self, heard: QueuedWake, only_enrolled: bool = False) -> bool:
        """Keeps a wake; the same one again replaces it. Returns whether it did.

        Args:
            heard: to be kept.
            only_enrolled: not where it is of somebody whom the store has no more: the daemon goes on naming who was
                erased until it looks at the store again.

        Raises:
            StoreUnwritable: the disk is full, or the folder may not be written; there is no part of it.
            PersonError: the store is encrypted, and its key is not to be had.
        """
        with self._files.changing("could not be kept"):
            if only_enrolled and heard.person is not None and not operations.is_enrolled(self._people, heard.person):
                return False
            self._files.put({heard.id: self._sealed_as(heard, self._people.vault())}, {heard.id: heard.at_s})
        return True

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
        names = [name.removesuffix(SUFFIX) for name in self._files.listed() if name.endswith(SUFFIX)]
        return sorted(name for name in names if name[:1].isdigit())

    def erase(self, ids: Iterable[str]) -> int:
        """Erases entries, those that are still there; returns how many that were.

        Raises:
            StoreUnwritable: they may not be removed.
        """
        ids = list(ids)
        if not ids:
            return 0
        with self._files.changing("could not be erased"):
            return self._files.put({}, {}, ids)

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
        with self._files.changing("could not be used"):
            for name in ids:
                with contextlib.suppress(FileNotFoundError):  # erased meanwhile
                    self._files.set_stored(name, self._files.file(name).stat().st_mtime + step_s)

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
        self._drop_missing()
        entries, people = self.read(), self._people.names()
        stored_s = {heard.id: self._files.stored_s(heard.id) for heard in entries}
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
        count = self._renew(self._people.vault() is not None, lambda heard: heard)
        self._renew_undone(False)
        return count

    def unseal(self) -> int:
        """Opens what is sealed, before the key goes; returns how many entries that were.

        The caller holds the lock of the store, so that nothing is sealed behind its back.

        Raises:
            StoreUnwritable, PersonError, LearningError: as `seal`.
        """
        count = self._renew(False, lambda heard: heard, alone=True)
        self._renew_undone(True)
        return count

    def sealed(self) -> list[str]:
        """The ids of what is sealed; what cannot be read is.

        Raises:
            LearningError: the folder may not be read.
        """
        return [name for name in self.ids() if self._files.is_sealed(name)]

    def rename(self, person: str, new_name: str | None, done: list[str], only: Container[str] | None = None) -> None:
        """What was heard of a person is another's from now on.

        Args:
            person: as entries name, or label, who it was.
            new_name: instead; None: nobody's.
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

        What was heard as this person, and was said to be somebody else's or nobody's, stays without the name.

        Raises:
            StoreUnwritable: they may not be removed.
            PersonLocked: some is sealed, and the key is not to be had: whose it is cannot be read.
            PersonError, LearningError: as `read`.
        """
        if person is None:
            self._files.sweep()
            return self.erase(self.ids())
        everything = self.read()
        gone = [heard.id for heard in everything if person == (heard.label or heard.person)]
        self._files.sweep()
        count = self.erase(gone)
        if any(heard.person == person and heard.id not in gone for heard in everything):
            self.rename(person, None, [])
        return count

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
        with self._files.changing("could not be used"):
            path = self.folder / UPDATED_FILE
            self._files.locked.replace(path, b"")
            os.utime(path, (now_s, now_s))

    # --- what was taken back

    def undone(self) -> set[str]:
        """The ids of what was learned and taken back.

        Raises:
            LearningError: the list is damaged, or may not be read.
            PersonError: the store is encrypted, and its key is not to be had; or it is not the list of this store.
        """
        path = self.folder / UNDONE_FILE
        try:
            content, vault = self._files.read(UNDONE)
            if vault is not None:
                content = vault.open(content, f"{FOLDER}/{UNDONE}")
            values = json.loads(content)
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                raise ValueError("it must be a list of texts")
            return set(values)
        except FileNotFoundError:
            if self._files.marks(UNDONE):
                raise StoreTampered(f"{path}: it is gone; {WHAT_TO_DO}") from None
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
        with self._files.changing("could not be written"):
            self._put_undone(listed, self._people.vault())
        self.erase(ids)

    # --- the parts of it

    def _load(self, name: str) -> QueuedWake:
        """An entry, opened; others may seal or open it meanwhile.

        Raises:
            OSError: it cannot be read.
            PersonError: it is sealed, and the key is not to be had.
            ValueError, KeyError, TypeError: it breaks the format, or is not to be believed.
        """
        content, vault = self._files.read(name)
        return decode(content, name, vault)

    def _sealed_as(self, heard: QueuedWake, vault: Vault | None) -> bytes:
        """The content of an entry's file."""
        content = encode(heard)
        return content if vault is None else vault.seal(content, f"{FOLDER}/{heard.id}")

    def _put_undone(self, listed: list[str], vault: Vault | None) -> None:
        """Writes what was undone; whoever calls has the lock."""
        content = json.dumps(listed, indent=1).encode() + b"\n"
        if vault is not None:
            content = vault.seal(content, f"{FOLDER}/{UNDONE}")
        self._files.put({UNDONE: content}, {})

    def _renew_undone(self, alone: bool) -> None:
        """Seals the list of what was undone where it is to be sealed, else opens it."""
        if not self._files.file(UNDONE).exists():
            return
        with self._files.changing("could not be written anew", alone):
            listed, vault = sorted(self.undone()), None if alone else self._people.vault()
            if self._files.is_sealed(UNDONE) != (vault is not None):
                self._put_undone(listed, vault)

    def _drop_missing(self) -> None:
        """What the index has and nobody erased with the key: it is said, and then not missed any more."""
        if not self._people.encrypted:
            return
        with self._files.changing("could not be tidied"):
            index = self._people.seal.index()
            there = {*self.ids(), UNDONE}
            missing = sorted(set(index.after().folders.get(FOLDER, {})) - there) if index is not None else []
            if missing:
                _LOG.warning("%s: %d entries were taken away without the key", self.folder, len(missing))
                self._files.put({}, {}, missing)

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
        self._files.sweep(alone)
        done, count = [] if done is None else done, 0
        contents: dict[str, bytes] = {}
        stored_s: dict[str, float] = {}
        damaged = []
        if not self.ids():
            return 0
        with self._files.changing("could not be written anew", alone):
            for name in self.ids():
                was_sealed, stored_s[name] = self._files.is_sealed(name), self._files.stored_s(name)
                try:
                    heard = self._load(name)
                except FileNotFoundError:  # erased by hand
                    continue
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    _LOG.warning("%s: damaged: %s: erased", self.folder / name, text_of(error))
                    damaged.append(name)
                    continue
                new, wanted = change(heard), was_sealed if seal is None else seal
                if new != heard or wanted != was_sealed:
                    count += 1
                    contents[name] = self._sealed_as(new, self._people.vault() if wanted else None)
            if contents or damaged:
                self._files.put(contents, stored_s, damaged, done)
        return count

"""The journal on disk: what woke the daemon and what nearly did, each with the sound around it, to look at later.

A journal is a folder::

    wakes/                 mode 0700
      000123/              one an entry; the numbers only grow
        event.json         the event, a checksum of the sound, and the label; mode 0600
        audio.wav          16 kHz, mono, 16 bit; its time of change is when it was stored
      .last                the highest number that was given
      .lock                held by whoever changes something

An entry is written beside its place and renamed into it; an erased one is renamed away first. What a killed process
left is swept by the next one that changes something.

What is too old is known by the wall clock, which may be wrong. Therefore:

1. The count is kept by number, never by time: beyond `most` the lowest numbers go, whatever the clock says.
2. An entry is never erased by the same call that writes it.
3. Where the clock is stepped while a journal is open, forward or back, the times of what this journal has written go
   with it, so that a wake word heard before the clock was set keeps its true age.
4. What an earlier process wrote is taken at its word. What seems to come from the future is kept until the clock has
   caught up, or until there are too many.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..audio.samples import Int16
from ..audio.wav import from_wav
from ..errors import WakeDamaged, WakeError, WakeUnknown, text_of
from ..settings import schema
from ..storage.atomic import put_in_place, read_limited, sync_folder, write_synced
from ..storage.locked import LOCK_FILE, LockedFolder
from ..storage.owners import refusal
from ..storage.user_folders import journal_folder
from .clock import WatchedClock, boot_s
from .journal_entry import AUDIO_FILE, EVENT_FILE, Entry, as_json, checked, encode, event_of, renamed

_LOG = logging.getLogger(__name__)

LAST_FILE = ".last"
MAX_EVENT_BYTES = 64 << 10  # a hundred times the usual: names are 200 bytes at most, a microphone's is not ours
MAX_AUDIO_BYTES = 1 << 20  # 32 s; an entry has 2
MAX_DIGITS = 18  # of a number; what is longer is not an entry of ours


class Journal:
    """The entries of one folder, which is made when the first one comes.

    Several processes may use it at the same time.

    Args:
        folder: of the journal.
        most: so many entries are kept, 1 or more.
        days: so old they may get.
        clock: seconds since 1970, as this machine believes.
        steady: as `clock.boot_s`.
    """

    def __init__(
        self,
        folder: Path,
        most: int,
        days: float,
        clock: Callable[[], float],
        steady: Callable[[], float] = boot_s,
    ) -> None:
        self.folder = folder
        self._locked = LockedFolder(folder, folder / LOCK_FILE)
        self._most, self._max_age_s = most, days * schema.DAY_S
        self._clock = WatchedClock(clock, steady)
        self._own: set[int] = set()
        self._state: object = None  # in which the last change left the folder: as long as it has it, it has these:
        self._stored: dict[int, float] = {}  # number, in order -> when

    # --- reading

    def numbers(self) -> list[int]:
        """The numbers of all entries, damaged ones too, oldest first.

        Raises:
            WakeError: the folder may not be read.
        """
        try:
            return sorted(int(name) for name in os.listdir(self.folder) if _is_number(name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise WakeError(f"{self.folder}: cannot be read: {refusal(error, self.folder)}") from error

    def read(self, number: int) -> Entry:
        """One entry, without its sound.

        Raises:
            WakeUnknown: there is none of that number.
            WakeDamaged: it breaks the format.
            WakeError: it may not be read.
        """
        return self._read(number)[0]

    def samples(self, number: int) -> Int16:
        """Its sound, (n,) int16 at 16 kHz, if it is still what was stored.

        Raises:
            WakeUnknown, WakeDamaged, WakeError: as `read`.
        """
        return from_wav(self.contents(number)[AUDIO_FILE])

    def contents(self, number: int) -> dict[str, bytes]:
        """Its files by their names, checked.

        Raises:
            WakeUnknown, WakeDamaged, WakeError: as `read`.
        """
        _, values = self._read(number)
        with self._told(number):
            audio = read_limited(self._place(number) / AUDIO_FILE, MAX_AUDIO_BYTES)
            if hashlib.sha256(audio).hexdigest() != values["audio_sha256"]:
                raise ValueError("the sound's checksum does not hold")
            from_wav(audio)
            return {EVENT_FILE: as_json(values), AUDIO_FILE: audio}

    def labelled(self) -> list[tuple[Entry, str]]:
        """The entries with a label, and it; a damaged one is left out and logged."""
        return [(entry, entry.label) for entry in self._readable() if entry.label is not None]

    def of(self, person: str) -> list[int]:
        """The entries in which a person was heard, as `Entry.is_of`; a damaged one is left out and logged."""
        return [entry.number for entry in self._readable() if entry.is_of(person)]

    def _readable(self) -> Iterator[Entry]:
        for number in self.numbers():
            try:
                yield self.read(number)
            except WakeUnknown:  # erased meanwhile
                continue
            except WakeError as error:
                _LOG.warning("left out: %s", error)

    # --- changing

    def add(self, event: Mapping[str, Any], clip: Int16) -> int:
        """Stores an event with the sound around it, and erases what is too old or too many.

        Args:
            event: as sinks get it, `Notice.to_json()`.
            clip: (n,) int16 at 16 kHz.

        Returns:
            Its number.

        Raises:
            StoreUnwritable: the disk is full, or the folder may not be written; there is no part of a new entry.
        """
        files = encode(event, clip)
        with self._writing():
            self._look()
            now_s = self._now_s()
            faults = self._locked.sweep(only=self._move_away(self._aged(now_s)))
            with self._locked.temporary() as temporary:
                for name, content in files.items():
                    write_synced(os.path.join(temporary, name), content)
                os.utime(os.path.join(temporary, AUDIO_FILE), (now_s, now_s))
                sync_folder(temporary)
                number = self._next_number()
                self._locked.replace(self.folder / LAST_FILE, b"%d\n" % number)
                away = self._move_away(self._beyond(self._most - 1))
                put_in_place(temporary, self._name(number))
            self._own.add(number)
            self._stored[number] = now_s
            if not faults + self._locked.sweep(only=away):
                self._state = self._state_of_folder()
        return number

    def tidy(self) -> None:
        """Erases what is too old or too many, and what killed processes left; makes the folder where there is none.

        Raises:
            StoreUnwritable: the folder may not be written.
        """
        with self._writing():
            self._state = None
            self._look()
            self._move_away(self._aged(self._now_s()))
            self._move_away(self._beyond(self._most))
            self._locked.sweep()

    def label(self, number: int, label: str) -> Entry:
        """Says who it was: a person's name, `not-me` or `noise`.

        Raises:
            WakeUnknown, WakeDamaged, WakeError: as `read`.
            StoreUnwritable: it could not be written; the label is the old one.
        """
        self._read(number)  # so that a journal that is not there is not made
        with self._writing():
            _, values = self._read(number)
            self._locked.replace(self._name(number, EVENT_FILE), as_json({**values, "label": label}))
        return self.read(number)

    def confirm(self, number: int, confirmation: Mapping[str, Any]) -> None:
        """Adds whose command followed a wake, as `Event.confirmation`; a labelled entry stays as it is.

        A label is vouched for by sums of the entry (engine/history/vouched.py), which this would change.

        Raises:
            WakeUnknown, WakeDamaged, WakeError: as `read`.
            StoreUnwritable: it could not be written.
        """
        with self._writing():
            entry, values = self._read(number)
            if entry.label is None:
                content = as_json({**values, "confirmation": dict(confirmation)})
                self._locked.replace(self._name(number, EVENT_FILE), content)

    def rename(self, person: str, new_name: str | None, done: list[int], only: Container[int] | None = None) -> None:
        """Who was heard, or was said to have been, has another name from now on; a damaged entry is left out.

        Args:
            person: as the daemon or a label names who it was.
            new_name: instead; None: nobody's.
            done: gets the numbers of what is changed, also where an error ends it.
            only: numbers of entries to look at; None: all.

        Raises:
            WakeError: as `numbers`.
            StoreUnwritable: an entry could not be written; it is as it was.
        """
        for entry in self._readable():
            if not entry.names(person) or not (only is None or entry.number in only):
                continue
            with contextlib.suppress(WakeUnknown), self._writing():
                _, values = self._read(entry.number)
                done.append(entry.number)
                content = as_json(renamed(values, person, new_name))
                self._locked.replace(self._name(entry.number, EVENT_FILE), content)

    def forget(self, numbers: Iterable[int]) -> int:
        """Erases entries, damaged ones too; returns how many.

        Raises:
            WakeUnknown: one does not exist; none was erased.
            StoreUnwritable: they may not be removed.
        """
        wanted = sorted(set(numbers))
        self._require(wanted)
        if not wanted:
            return 0
        with self._erasing():
            self._require(wanted)
            self._move_away(wanted)
            self._locked.sweep_all()
        return len(wanted)

    def forget_person(self, person: str) -> int:
        """Erases what `of` finds, and what a killed process left; returns how many entries that were.

        What was heard as this person, and was said to be somebody else's or nobody's, stays without the name.

        Raises:
            StoreUnwritable: they may not be removed, or not written.
        """
        if self.folder.is_dir():  # what was left may be of this person
            with self._erasing():
                self._locked.sweep_all()
        count = 0
        for number in self.of(person):
            with contextlib.suppress(WakeUnknown):  # it grew too old just now
                count += self.forget([number])
        self.rename(person, None, [])
        return count

    # --- the parts of it

    def _place(self, number: int) -> Path:
        return Path(self._name(number))

    def _name(self, number: int, *file: str) -> str:
        """An entry's folder or file, as a text: see `atomic.temporary_folder`."""
        return os.path.join(self.folder, f"{number:06d}", *file)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return self._locked.changing(f"the journal {self.folder} could not be written", "make room, or allow writing")

    def _erasing(self) -> contextlib.AbstractContextManager[None]:
        return self._locked.changing(f"the journal {self.folder} could not be erased", "allow writing")

    def _require(self, numbers: list[int]) -> None:
        there = self.numbers()
        for number in numbers:
            if number not in there:
                raise WakeUnknown(self._unknown(number, there))

    def _unknown(self, number: int, there: list[int]) -> str:
        known = f"there are {len(there)}, {there[0]} to {there[-1]}" if there else "it is empty"
        return f"no entry {number} in the journal {self.folder}: {known}; `earmark wakes list` shows them"

    @contextlib.contextmanager
    def _told(self, number: int) -> Iterator[None]:
        """Whatever is wrong with an entry's files, as an error that says so."""
        place = self._place(number)
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if not os.path.lexists(place):
                raise WakeUnknown(self._unknown(number, self.numbers())) from error
            raise WakeDamaged(self._damaged(number, "a file of it is missing")) from error
        except OSError as error:
            raise WakeError(f"{place}: cannot be read: {refusal(error, place)}") from error
        except Exception as error:  # what json and wave raise on bytes made to harm is no closed list
            raise WakeDamaged(self._damaged(number, text_of(error))) from error

    def _damaged(self, number: int, why: str) -> str:
        return f"{self._place(number)}: damaged: {why}; `earmark wakes forget {number}` removes it"

    def _read(self, number: int) -> tuple[Entry, dict[str, Any]]:
        """The entry, and all that its event.json says."""
        place = self._place(number)
        with self._told(number):
            if not stat.S_ISDIR(place.lstat().st_mode):  # a link, for one: it could point anywhere
                raise ValueError("it is not a folder")
            values = checked(json.loads(read_limited(place / EVENT_FILE, MAX_EVENT_BYTES)))
            at = datetime.datetime.fromisoformat(values["at"])
            if at.tzinfo is None:
                raise ValueError(f"at={values['at']!r} must have a time zone")
            confirmation = values.get("confirmation")
            return Entry(number, place, at.astimezone(), event_of(values), values["label"], confirmation), values

    def _next_number(self) -> int:
        """Higher than every number that there is or was."""
        last, path = 0, self.folder / LAST_FILE
        try:
            text = read_limited(path, 100).decode("ascii").strip()
            if not (text.isdigit() and len(text) <= MAX_DIGITS):
                raise ValueError(f"it holds {text[:40]!r}, not a number")
            last = int(text)
        except FileNotFoundError:  # a new journal
            pass
        except (OSError, ValueError) as error:
            _LOG.warning("%s: %s: numbers go on behind the highest entry", path, text_of(error))
        return max(last, next(reversed(self._stored), 0)) + 1

    def _look(self) -> None:
        """Looks through the folder, and sweeps it, unless it is as the last change by this journal left it.

        A look costs 10 µs an entry. What is changed inside one is not seen; `tidy` looks in any case.
        """
        if self._state is None or self._state != self._state_of_folder():
            self._locked.sweep()
            self._stored = {number: self._stored_s(number) for number in self.numbers()}

    def _state_of_folder(self) -> object:
        """Another one after each change: a time has steps of some ms, so count and last number are in it too."""
        with contextlib.suppress(FileNotFoundError):
            found, last = (os.stat(os.path.join(self.folder, name)) for name in ("", LAST_FILE))
            return found.st_ino, found.st_mtime_ns, found.st_nlink, last.st_ino, last.st_mtime_ns
        return None

    def _aged(self, now_s: float) -> list[int]:
        if not now_s - min(self._stored.values(), default=math.inf) > self._max_age_s:
            return []
        old = [number for number, stored_s in self._stored.items() if now_s - stored_s > self._max_age_s]
        return [number for number in old if now_s - self._stored_s(number) > self._max_age_s]

    def _stored_s(self, number: int) -> float:
        """When it was stored; of an entry without a sound, when its folder was changed last."""
        for path in (self._name(number, AUDIO_FILE), self._name(number)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return os.lstat(path).st_mtime
        return math.inf  # gone meanwhile

    def _beyond(self, most: int) -> list[int]:
        return list(itertools.islice(self._stored, max(0, len(self._stored) - most)))

    def _now_s(self) -> float:
        """The clock; if it was stepped since the last look, what this journal has stored goes with it."""
        now_s, step_s = self._clock.look()
        self._own = {number for number in self._own if number in self._stored}
        if step_s and self._own:
            _LOG.warning("the clock was stepped by %+.0f s: the times of %d wakes too", step_s, len(self._own))
            for number in sorted(self._own):
                path = self._name(number, AUDIO_FILE)
                with contextlib.suppress(FileNotFoundError):  # somebody damaged it
                    stored_s = os.lstat(path).st_mtime + step_s
                    os.utime(path, (stored_s, stored_s), follow_symlinks=False)
                    self._stored[number] = stored_s
        return now_s

    def _move_away(self, numbers: list[int]) -> list[str]:
        """From now on they are not there, whatever becomes of their files, which are where it says."""
        self._state = None
        away = [self._locked.move_away(self._name(number)) for number in numbers]
        if numbers:
            self._locked.sync()
            gone = set(numbers)
            self._stored = {number: at_s for number, at_s in self._stored.items() if number not in gone}
        return away


def open_journal(section: schema.Journal) -> Journal:
    """The journal that the settings name."""
    folder = Path(section.folder) if section.folder else journal_folder()
    return Journal(folder, section.most, section.days, time.time)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS and f"{int(name):06d}" == name != "000000"

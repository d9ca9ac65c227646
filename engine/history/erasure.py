"""What else than the voiceprints knows people by their names: what waits to be learned, and the journal of wakes.

Whoever is erased is erased there first, and whoever gets another name gets it there first: broken off, the person is
still in the store under the old name, and the same command finishes it. Whoever is erased is so once more at the
end, for a daemon may have heard that voice in between; from then on it finds nobody of that name.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import EarmarkError, InputError, PersonLocked, StoreTampered
from ..people import operations
from ..people.store import PersonStore
from ..storage.names import check_new_name
from . import vouched
from .journal import Journal
from .queue import LearningQueue

_T = TypeVar("_T")


@dataclass(frozen=True)
class Erased:
    """What became of somebody."""

    versions: int
    waiting: int
    """Wakes that waited to be learned."""
    everybodys: bool
    """Whether these were everybody's: without the key of the store nobody can tell whose they are."""
    wakes: int
    """Entries of the journal."""


@dataclass(frozen=True)
class Renamed:
    """Where the new name stands now."""

    waiting: list[str]
    """Ids of wakes that wait to be learned."""
    wakes: list[int]
    """Entries of the journal."""


def erase(store: PersonStore, journal: Journal | None, name: str) -> Erased:
    """Erases a person, every version, what waits to be learned of that voice, and its recordings in the journal.

    Raises:
        PersonUnknown: there is nobody of that name; what an earlier removal left is deleted all the same.
        StoreUnwritable, WakeError, LearningError: something may not be removed; the person is still there.
    """
    first = _forget(store, journal, name) if name in store.names() else Erased(0, 0, False, 0)
    versions = store.remove(name)
    last = _forget(store, journal, name)
    everybodys = first.everybodys or last.everybodys
    return Erased(versions, first.waiting + last.waiting, everybodys, first.wakes + last.wakes)


def _forget(store: PersonStore, journal: Journal | None, name: str) -> Erased:
    """Erases what there is of somebody outside the voiceprints."""
    queue, everybodys = LearningQueue(store), False
    try:
        waiting = queue.forget(name)
    except (PersonLocked, StoreTampered):
        waiting, everybodys = queue.forget(), True
    return Erased(0, waiting, everybodys, _forget_wakes(store, journal, name) if journal is not None else 0)


def _forget_wakes(store: PersonStore, journal: Journal, name: str) -> int:
    """As `Journal.forget_person`; what may be learned of others whose name was taken for this one still may be."""
    said: set[int] = set()
    with contextlib.suppress(PersonLocked, StoreTampered):  # without the key labels have to be given again
        said = vouched.vouched_for(journal, store)
    count = journal.forget_person(name)
    vouched.vouch(journal, store, said.intersection(journal.numbers()))
    return count


def rename(store: PersonStore, journal: Journal | None, name: str, new_name: str) -> tuple[int, Renamed]:
    """Gives a person another name, everywhere; returns in how many versions, and where else.

    Raises:
        InputError: the new name cannot be used, or is somebody's.
        PersonError, WakeError, LearningError: something cannot be read; nothing has changed.
        StoreUnwritable: something may not be written; nothing has changed.
    """
    new_name = unicodedata.normalize("NFC", new_name)
    check_new_name(new_name)
    store.keywords(name)
    if new_name == name:
        raise InputError(f"{name!r} has this name already")
    operations.require_free(store, new_name)
    return called(store, journal, name, new_name, lambda: operations.rename(store, name, new_name))


def called(
    store: PersonStore, journal: Journal | None, name: str, new_name: str, change: Callable[[], _T]
) -> tuple[_T, Renamed]:
    """Writes the new name wherever else the old one stands, then changes the people; takes it back if that fails.

    Raises:
        EarmarkError: what `change` raises, or something may not be written; nothing has changed.
    """
    queue = LearningQueue(store)
    waiting: list[str] = []
    wakes: list[int] = []
    said: set[int] = set()
    try:
        queue.rename(name, new_name, waiting)
        if journal is not None:
            said = vouched.vouched_for(journal, store)
            journal.rename(name, new_name, wakes)
            vouched.vouch(journal, store, said.intersection(wakes))
        return change(), Renamed(waiting, wakes)
    except EarmarkError:
        queue.rename(new_name, name, [], only=waiting)
        if journal is not None:
            journal.rename(new_name, name, [], only=wakes)
            vouched.vouch(journal, store, said.intersection(wakes))
        raise

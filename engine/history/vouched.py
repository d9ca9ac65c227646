"""Which labels of the journal may be learned: of a sealed store only those that somebody with its key has given.

The journal is not sealed, and whoever writes into it could say whose voice a sound is. So a label that is given with
the key at hand is entered into the index of the store, with the sums of the event and its sound.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator

from ..errors import PersonLocked, WakeError
from ..people.index import plain_mark
from ..people.seal import WAKES
from ..people.store import PersonStore
from .journal import Journal
from .journal_entry import EVENT_FILE, Entry

_LOG = logging.getLogger(__name__)


def label(journal: Journal, store: PersonStore, number: int, text: str) -> tuple[Entry, bool]:
    """Says who a wake was, as `Journal.label` does; gives the entry, and whether it may be learned.

    Raises:
        WakeError: the entry cannot be used.
        StoreUnwritable: it could not be written.
        PersonError: the store cannot be used, for another reason than that its key is not to be had.
    """
    try:
        store.vault()
    except PersonLocked:
        return journal.label(number, text), False
    entry = journal.label(number, text)
    vouch(journal, store, [number])
    return entry, True


def believed(journal: Journal, store: PersonStore) -> Iterator[tuple[Entry, str]]:
    """The entries with a label that may be learned, and it; how many are left out is logged.

    Raises:
        PersonError: the store cannot be used.
    """
    index = store.seal.index() if store.encrypted else None
    left_out = 0
    for entry, text in journal.labelled():
        if not store.encrypted or (index and _mark(journal, entry.number) in index.marks(WAKES, str(entry.number))):
            yield entry, text
        else:
            left_out += 1
    if left_out:
        _LOG.warning(
            "%d labels of the journal are left out: they were not given with the key of the store; label them again",
            left_out,
        )


def vouched_for(journal: Journal, store: PersonStore) -> set[int]:
    """The numbers of the labelled entries that `believed` gives; none where the store is not sealed."""
    return {entry.number for entry, _ in believed(journal, store)} if store.encrypted else set()


def vouch(journal: Journal, store: PersonStore, numbers: Iterable[int]) -> None:
    """Enters labels into the index of a sealed store; what is erased from the journal goes out of it.

    Raises:
        PersonError: the store cannot be used.
        StoreUnwritable: it may not be written.
    """
    numbers = list(numbers)
    if not numbers or not store.encrypted:
        return
    with store.changing("labels of the journal could not be entered", "make room or allow writing"):
        index, there = store.seal.index(), set(map(str, journal.numbers()))
        marks = dict(index.folders.get(WAKES, {})) if index is not None else {}
        for number in numbers:
            with contextlib.suppress(WakeError):  # erased just now
                marks[str(number)] = _mark(journal, number)
        store.seal.put(WAKES, {number: mark for number, mark in marks.items() if number in there})


def _mark(journal: Journal, number: int) -> str:
    """Of an entry with its sound and its label; of one that cannot be read none that the index has."""
    try:
        return plain_mark(journal.contents(number)[EVENT_FILE])
    except WakeError as error:
        _LOG.warning("left out: %s", error)
        return ""

"""Whoever reads the people while somebody changes them finds each as before or as after, never nobody.

The change is stopped before each of its renames, and goes on at one of the system calls of who reads: every pair of
the two is tried, which chance would try once in weeks.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers_store import make_voiceprint
from turns import mine

from earmark.engine.history import sealing
from earmark.engine.history.verification import verify
from earmark.engine.people.store import PersonStore

LOOKS_AT = {"lstat", "stat", "scandir", "listdir", "open", "readlink"}
RENAMES = {"rename", "replace"}
MOST = 100  # of them
KEY = b"a passphrase"
MEMORY = Path("/dev/shm")

Reader = Callable[[PersonStore], object]
READERS: dict[str, Reader] = {
    "names": PersonStore.names,
    "keywords": lambda store: store.keywords("anna"),
    "versions": lambda store: [one for one in store.versions("anna", "okay_nabu") if one == 1],
    "load": lambda store: store.load("anna", "okay_nabu").name,
    "fingerprint": lambda store: [one[:3] for one in store.fingerprint()],
    "missing": lambda store: store.seal.missing(),
    "verify": lambda store: verify(store).differences,
}
KINDS = {
    **{("plain", reader): 1 for reader in ("names", "keywords", "versions")},
    ("plain", "load"): 2,
    ("plain", "fingerprint"): 2,
    ("plain", "verify"): 7,
    ("sealed", "load"): 7,
    ("sealed", "missing"): 5,
    ("sealed", "verify"): 11,
}
"""Store and reader -> every which of the reader's system calls is tried, in one turn; what reads much reads alike."""


class Change:
    """Everything of a person exchanged, by a thread that waits before each rename until it may go on."""

    def __init__(self, store: PersonStore) -> None:
        self._store = store
        self.renames = 0
        """How many it has come to."""
        self._may, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._waits.acquire()

    def _run(self) -> None:
        sys.setprofile(self._before_rename)
        self._store.exchange("it could not be changed", lambda: {"anna": self._store.tree("anna")})
        sys.setprofile(None)
        self._waits.release(MOST)

    def _before_rename(self, _: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what.__module__ == "posix" and what.__name__ in RENAMES:
            self.renames += 1
            self._waits.release()
            self._may.acquire()

    def go_on(self, renames: int) -> None:
        """So many of them are done when this returns."""
        for _ in range(renames):
            self._may.release()
            self._waits.acquire()

    def end(self) -> None:
        """The rest."""
        self._may.release(MOST)
        self._thread.join()


def read_beside(folder: Path, read: Reader, done: int, at: int, more: int) -> tuple[object, int]:
    """What is read while, at a system call of the reader, a change goes on; and how many such calls there were.

    Args:
        folder: of the store.
        read: the reader.
        done: so many renames are done before it begins.
        at: number of the call.
        more: so many renames are done then.
    """
    change = Change(opened(folder))
    change.go_on(done)
    calls = 0

    def count(_: FrameType, event: str, what: Any) -> None:
        nonlocal calls
        if event == "c_call" and what.__name__ in LOOKS_AT:
            if calls == at:
                change.go_on(more)
            calls += 1

    try:
        store = opened(folder)
        sys.setprofile(count)
        try:
            return read(store), calls
        finally:
            sys.setprofile(None)
    finally:
        change.end()


def opened(folder: Path) -> PersonStore:
    return PersonStore(folder, lambda: KEY)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is some: thousands of changes, each synced."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def renames_of_a_change(folder: Path) -> int:
    change = Change(opened(folder))
    change.end()
    return change.renames


@pytest.mark.parametrize(("kind", "reader"), KINDS)
def test_who_reads_while_a_person_is_exchanged_finds_them(memory: Path, kind: str, reader: str) -> None:
    folder = memory / "people"
    opened(folder).save(make_voiceprint())
    if kind == "sealed":
        sealing.encrypt(opened(folder), KEY)
    wanted = READERS[reader](opened(folder))
    renames = renames_of_a_change(folder)
    assert renames >= 4, "the plan to its place, the old folder away, the new one to its place, the plan away"
    steps = sorted({(done, more) for done in range(renames) for more in (1, 2, renames - done)})
    for done, more in mine(steps):
        stride = KINDS[kind, reader]
        at, calls = (done + more) % stride, MOST
        while at < calls:
            found, calls = read_beside(folder, READERS[reader], done, at, more)
            assert found == wanted, f"{more} renames at look {at}, after {done}"
            at += stride

"""Whether the store has changed, without looking into it each time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers_store import make_voiceprint

from earmark.engine.daemon import watch as watch_module
from earmark.engine.daemon.watch import StoreWatch
from earmark.engine.errors import PersonError
from earmark.engine.people.operations import rename
from earmark.engine.people.store import PersonStore


class Looks:
    """A watched store of two people, the clock of its watch, and how often it was looked through."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.now_s, self.count = PersonStore(folder), 0.0, 0
        for name in ("anna", "bert"):
            self.store.save(make_voiceprint(name))
        fingerprint = PersonStore.fingerprint

        def counted(store: PersonStore) -> object:
            self.count += 1
            self.now_s += 1.0  # so much it costs
            return fingerprint(store)

        monkeypatch.setattr(PersonStore, "fingerprint", counted)
        clock = SimpleNamespace(monotonic=lambda: self.now_s, thread_time=lambda: self.now_s, time=lambda: 2e9)
        monkeypatch.setattr(watch_module, "time", clock)
        self.settle()
        self.watch = StoreWatch(lambda: self.store)

    def settle(self) -> None:
        """The folder's last change was long ago."""
        os.utime(self.store.folder, (1e9, 1e9))


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(tmp_path / "people", monkeypatch)


def test_while_nothing_changes_nobody_is_looked_at_until_it_is_due(looks: Looks) -> None:
    assert not any(looks.watch.has_changed() for _ in range(100))
    assert looks.count == 1
    looks.now_s += 1 / watch_module.MOST_SHARE
    assert not looks.watch.has_changed()
    assert not looks.watch.has_changed()
    assert looks.count == 2


CHANGES: dict[str, Callable[[PersonStore], object]] = {
    "a new person": lambda store: store.save(make_voiceprint("carl")),
    "a new version": lambda store: store.save(make_voiceprint("anna")),
    "somebody erased": lambda store: store.remove("anna"),
    "another name": lambda store: rename(store, "anna", "dora"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_by_us_is_seen_at_once(looks: Looks, change: str) -> None:
    CHANGES[change](looks.store)
    assert looks.watch.has_changed()
    looks.settle()
    assert not looks.watch.has_changed()


def test_a_second_change_within_the_step_of_a_clock_is_seen(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "SETTLED_S", 1e9 + 1)
    looks.watch.has_changed()
    looks.store.save(make_voiceprint("anna"))
    looks.settle()  # its time is that of the look
    assert looks.watch.has_changed()


def test_what_is_changed_by_hand_in_the_depth_is_seen_when_a_look_is_due(looks: Looks) -> None:
    shutil.rmtree(looks.store.folder / "anna" / "okay_nabu")
    assert not looks.watch.has_changed()
    looks.now_s += 1 / watch_module.MOST_SHARE
    assert looks.watch.has_changed()


def test_a_store_that_goes_and_another_one_are_changes(looks: Looks, tmp_path: Path) -> None:
    looks.store = PersonStore(tmp_path / "others")
    assert looks.watch.has_changed()
    looks.store.save(make_voiceprint("anna"))
    assert looks.watch.has_changed()


def test_a_store_that_cannot_be_read_is_a_change_once(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: PersonStore) -> object:
        raise PersonError("may not be read")

    monkeypatch.setattr(PersonStore, "fingerprint", refuse)
    looks.now_s += 1 / watch_module.MOST_SHARE
    assert looks.watch.has_changed()
    assert not looks.watch.has_changed()

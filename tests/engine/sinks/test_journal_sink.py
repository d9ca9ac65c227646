"""Whose wakes the journal keeps where it is full."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from helpers_store import person

from earmark.engine.event import Command, Event
from earmark.engine.history import erasure
from earmark.engine.history import journal as history_journal
from earmark.engine.history.journal import open_journal
from earmark.engine.history.journal_entry import AUDIO_FILE
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.schema import Journal, People
from earmark.engine.sinks.base import Control, Notice
from earmark.engine.sinks.journal import JournalSink

CLIP = np.ones(32_000, np.int16)


def heard(source: str, peer: str, name: str | None = None) -> Notice:
    event = Event("detection", "okay_nabu", 16_000, 0.9, name, 0.8, "known_voice")
    return Notice(event, source, 1_700_000_000.0, CLIP, peer)


def sources(settings: Journal) -> dict[str, int]:
    journal = open_journal(settings)
    found: dict[str, int] = {}
    for number in journal.numbers():
        source = str(journal.read(number).event["file"]).rpartition(":")[0] or "mic"
        found[source] = found.get(source, 0) + 1
    return found


def opened(settings: Journal, people: str = "") -> JournalSink:
    household = SimpleNamespace(settings=SimpleNamespace(people=People(store=people)))
    sink = JournalSink(settings, cast(Control, cast(Any, SimpleNamespace(household=household))))
    sink.open()
    return sink


def test_a_peer_pushes_out_at_most_a_tenth_of_a_full_journal(tmp_path: Path) -> None:
    """Fast audio of one peer pushed out all that the household had heard, in 45 s."""
    settings = Journal(enabled=True, folder=str(tmp_path), most=20, days=36_500)
    sink = opened(settings)
    for _ in range(20):
        sink.send(heard("mic", ""))
    for port in range(15):
        sink.send(heard(f"wyoming:10.0.0.1:{port}", "10.0.0.1"))
    assert sources(settings) == {"mic": 18, "wyoming:10.0.0.1": 2}
    again = opened(settings)  # another process knows whose they are
    for port in range(5):
        again.send(heard(f"wyoming:10.0.0.1:{port}", "10.0.0.1"))
    again.send(heard("wyoming:10.0.0.2:1", "10.0.0.2"))
    assert sources(settings) == {"mic": 17, "wyoming:10.0.0.1": 2, "wyoming:10.0.0.2": 1}


def test_where_there_is_room_a_peer_has_it_and_the_microphone_takes_it_back(tmp_path: Path) -> None:
    settings = Journal(enabled=True, folder=str(tmp_path), most=10, days=36_500)
    sink = opened(settings)
    for port in range(12):
        sink.send(heard(f"wyoming:10.0.0.1:{port}", "10.0.0.1"))
    assert sources(settings) == {"wyoming:10.0.0.1": 10}
    for _ in range(10):
        sink.send(heard("mic", ""))
    assert sources(settings) == {"mic": 10}


def test_nothing_is_kept_of_who_was_erased_since_the_daemon_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on naming her for up to `people.watch_s`; and she may be erased while her wake is written."""
    settings, store = Journal(enabled=True, folder=str(tmp_path / "wakes")), PersonStore(tmp_path / "people")
    for name in ("anna", "bob", "carl"):
        store.save(person(name))
    sink, journal = opened(settings, str(store.folder)), open_journal(settings)
    sink.send(heard("mic", "", "bob"))
    sink.send(heard("mic", "", "anna"))
    assert erasure.erase(store, journal, "anna").wakes == 1
    sink.send(heard("mic", "", "anna"))
    add = history_journal.Journal.add

    def slowly(*arguments: Any) -> int:
        erasure.erase(store, journal, "carl")
        return add(*arguments)

    monkeypatch.setattr(history_journal.Journal, "add", slowly)
    sink.send(heard("mic", "", "carl"))
    assert [journal.read(number).event["person"] for number in journal.numbers()] == ["bob"]


def confirmed(name: str | None, woken_by: str = "bob", reason: str = "changed", sample: int = 16_000) -> Notice:
    command = Command(woken_by, 2_260)
    event = Event("confirmation", "okay_nabu", sample, 0.9, name, 0.8, reason, command=command)
    return Notice(event, "mic", 1_700_000_000.0, CLIP[:0])


def test_whose_command_followed_is_added_to_the_entry_of_its_wake(tmp_path: Path) -> None:
    settings, store = Journal(enabled=True, folder=str(tmp_path / "wakes")), PersonStore(tmp_path / "people")
    for name in ("anna", "bob"):
        store.save(person(name))
    sink, journal = opened(settings, str(store.folder)), open_journal(settings)
    sink.send(heard("mic", "", "bob"))
    sink.send(heard("wyoming:10.0.0.1:1", "10.0.0.1", "bob"))  # a satellite's, at the same sample of its own stream
    sink.send(confirmed("anna", sample=17_000))  # of a wake that is not kept
    assert [journal.read(number).confirmation for number in journal.numbers()] == [None, None]
    sound = journal.contents(1)[AUDIO_FILE]
    sink.send(confirmed("anna"))
    told = {"reason": "changed", "person": "anna", "speaker_score": 0.8, "speech_ms": 2260, "end_ms": None}
    assert [journal.read(number).confirmation for number in journal.numbers()] == [told, None]
    assert journal.read(1).event["person"] == "bob"
    assert journal.contents(1)[AUDIO_FILE] == sound, "nothing of the command's sound"


def test_a_command_of_who_was_erased_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, store = Journal(enabled=True, folder=str(tmp_path / "wakes")), PersonStore(tmp_path / "people")
    for name in ("anna", "bob"):
        store.save(person(name))
    sink, journal = opened(settings, str(store.folder)), open_journal(settings)
    sink.send(heard("mic", "", "bob"))
    confirm = history_journal.Journal.confirm

    def slowly(*arguments: Any) -> None:
        erasure.erase(store, journal, "anna")
        confirm(*arguments)

    monkeypatch.setattr(history_journal.Journal, "confirm", slowly)
    sink.send(confirmed("anna"))
    assert journal.numbers() == []
    monkeypatch.undo()
    sink.send(heard("mic", "", "bob"))
    sink.send(confirmed("anna"))  # who is erased by now
    assert [journal.read(number).confirmation for number in journal.numbers()] == [None]
    journal.forget(journal.numbers())
    sink.send(confirmed(None, reason="denied"))  # its wake was erased: nothing, and no failure
    assert journal.numbers() == []


def test_what_somebody_has_labelled_and_vouched_for_stays_as_it_is(tmp_path: Path) -> None:
    settings = Journal(enabled=True, folder=str(tmp_path))
    sink, journal = opened(settings), open_journal(settings)
    sink.send(heard("mic", ""))
    journal.label(1, "not-me")
    before = journal.contents(1)
    sink.send(confirmed(None, reason="denied"))
    assert journal.contents(1) == before

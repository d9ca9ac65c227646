"""What the daemon queues to learn from, and what an accepted wake takes back."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_store import person

from earmark.engine.errors import LearningError
from earmark.engine.event import Command, Event
from earmark.engine.history import erasure, queue
from earmark.engine.history.clock import WatchedClock
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.people.store import FREE_SPEECH, PersonStore
from earmark.engine.processes import passphrase
from earmark.engine.settings.schema import DAY_S, Learning, People
from earmark.engine.sinks import learning
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.learning import LearningSink

NOW_S = 1_700_000_000.0
EMBEDDING = np.eye(192, dtype=np.float32)[0]
THIRTY_S = 30 * 16_000


@pytest.fixture
def people(tmp_path: Path) -> PersonStore:
    store = PersonStore(tmp_path)
    store.save(person("anna"))
    return store


@pytest.fixture
def sink(people: PersonStore) -> LearningSink:
    settings = SimpleNamespace(people=People(store=str(people.folder)))
    control: Any = SimpleNamespace(
        household=SimpleNamespace(settings=settings, cards=[SimpleNamespace(sha256="s" * 64)], people=[])
    )
    return LearningSink(Learning(update_s=0), control)


def wake(name: str | None, sample: int, with_embedding: bool = True) -> Notice:
    kind, reason = ("detection", "known_voice") if name else ("rejection", "unknown_voice")
    event: Any = Event(kind, "okay_nabu", sample, 0.9, name, 0.7, reason)  # type: ignore[arg-type]
    event = SimpleNamespace(**{**vars(event), "embedding": EMBEDDING if with_embedding else None})
    return Notice(event, "mic", NOW_S + sample / 16_000)


def waiting(people: PersonStore) -> list[tuple[str | None, int]]:
    return [(one.person, one.sample) for one in LearningQueue(people).read()]


def test_what_was_rejected_within_half_a_minute_before_is_no_stranger(
    sink: LearningSink, people: PersonStore
) -> None:
    accepted = 10 * THIRTY_S
    for sample in (accepted - THIRTY_S - 16, accepted - THIRTY_S, accepted - 16_000):
        sink.send(wake(None, sample))
    assert len(waiting(people)) == 3
    sink.send(wake("anna", accepted))
    assert waiting(people) == [(None, accepted - THIRTY_S - 16), ("anna", accepted)]


def test_a_rejection_takes_nothing_back(sink: LearningSink, people: PersonStore) -> None:
    sink.send(wake(None, THIRTY_S))
    sink.send(wake(None, THIRTY_S + 16_000))
    assert waiting(people) == [(None, THIRTY_S), (None, THIRTY_S + 16_000)]


def test_a_command_is_learned_where_it_confirms_the_wake_of_who_gave_free_speech(
    sink: LearningSink, people: PersonStore
) -> None:
    def command(reason: str, name: str | None, woken_by: str | None) -> Notice:
        event = Event(
            "confirmation",
            "okay_nabu",
            THIRTY_S,
            0.9,
            name,
            0.7,
            reason,
            EMBEDDING,
            THIRTY_S + 16_000,
            Command(woken_by, 900),
        )
        return Notice(event, "mic", NOW_S + 30)

    wanted = command("confirmed", "anna", "anna")
    sink.send(wanted)
    assert waiting(people) == []  # she has given none
    household: Any = sink._control.household
    household.people = [person("anna"), person("anna", keyword=FREE_SPEECH)]
    others = [
        command("confirmed", None, None),
        command("changed", "anna", "ben"),
        command("changed", "anna", None),
        command("denied:cancel", None, "anna"),
        command("several_voices", None, "anna"),
        replace(wanted, trusted=False),
    ]
    for notice in others:
        sink.send(notice)
    assert waiting(people) == []
    sink.send(wake("anna", THIRTY_S))
    sink.send(wanted)
    assert [(one.person, one.keyword, one.type) for one in LearningQueue(people).read()] == [
        ("anna", "okay_nabu", "detection"),
        ("anna", FREE_SPEECH, "detection"),
    ]


def test_who_could_not_be_asked_leaves_nothing_to_learn_from(sink: LearningSink, people: PersonStore) -> None:
    sink.send(wake("anna", THIRTY_S, with_embedding=False))
    assert waiting(people) == []


@pytest.mark.parametrize(("update_s", "idle_s"), [(0, 3600), (86_400, 3600), (24, 1), (1e9, 3600)])
def test_it_looks_24_times_in_an_update_and_once_an_hour_at_least(update_s: float, idle_s: float | None) -> None:
    control: Any = None
    assert LearningSink(Learning(update_s=update_s), control).idle_s == idle_s


# --- the clock


class Clock:
    """The wall clock, which is stepped, and the steady one, which is not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now_s: float) -> None:
        self.now_s, self.steady_s = now_s, 12.0
        watched = functools.partial(WatchedClock, lambda: self.now_s, lambda: self.steady_s)
        monkeypatch.setattr(learning, "WatchedClock", watched)
        monkeypatch.setattr(learning, "boot_s", lambda: self.steady_s)

    def go_on(self, sink: LearningSink, hours: float) -> None:
        """Time passes, and the sink looks once an hour."""
        for _ in range(int(hours)):
            self.now_s, self.steady_s = self.now_s + HOUR_S, self.steady_s + HOUR_S
            sink.idle()


HOUR_S, DAY_H = 3600.0, 24
STARTED_1970_S = 30.0


def wait_from(people: PersonStore, *at_s: float) -> None:
    """What an earlier process has queued."""
    for number, each_s in enumerate(at_s):
        sha256 = "s" * 64
        LearningQueue(people).add(
            QueuedWake("detection", "okay_nabu", "anna", 0.9, "mic", number, each_s, sha256, EMBEDDING)
        )


def new_sink(people: PersonStore, update_s: float = 0.0) -> LearningSink:
    household = SimpleNamespace(
        settings=SimpleNamespace(people=People(store=str(people.folder))), cards=[SimpleNamespace(sha256="s" * 64)]
    )
    control: Any = SimpleNamespace(household=household)
    return LearningSink(Learning(update_s=update_s), control)


def test_what_was_heard_before_the_clock_was_set_is_a_minute_old_and_no_half_century(
    people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a battery for its clock starts in 1970, and is set by the network after a minute."""
    clock = Clock(monkeypatch, STARTED_1970_S)
    sink = new_sink(people)
    sink.open()
    sink.send(replace(wake("anna", 0), at_s=STARTED_1970_S))
    clock.now_s, clock.steady_s = NOW_S + 60, clock.steady_s + 60
    clock.go_on(sink, 13 * DAY_H)
    assert waiting(people) == [("anna", 0)]
    again = new_sink(people)  # a restart: its true age is in the file
    again.open()
    clock.go_on(again, 12)
    assert waiting(people) == [("anna", 0)]
    clock.go_on(again, 2 * DAY_H)
    assert waiting(people) == []


@pytest.mark.parametrize("years", [10, -50])
def test_a_clock_that_is_wrong_for_a_minute_erases_nothing(
    people: PersonStore, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    wait_from(people, NOW_S - 100, NOW_S - 50)
    clock = Clock(monkeypatch, NOW_S)
    sink = new_sink(people)
    sink.open()
    clock.go_on(sink, 5)
    for step_s in (years * 365 * DAY_S, -years * 365 * DAY_S):
        clock.now_s += step_s
        clock.steady_s += HOUR_S - 1  # it would be tidied now
        sink.send(wake(None, 10**9, with_embedding=False))
        clock.steady_s += 60
        clock.now_s += 60
        sink.idle()
    assert [sample for _, sample in waiting(people)] == [0, 1]


def test_a_clock_that_is_wrong_at_the_start_erases_nothing(
    people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_from(people, NOW_S)
    clock = Clock(monkeypatch, NOW_S + 3650 * DAY_S)
    sink = new_sink(people)
    sink.open()
    clock.now_s, clock.steady_s = NOW_S + 60, clock.steady_s + 60
    clock.go_on(sink, 5)
    assert waiting(people) == [("anna", 0)]


def test_an_update_waits_for_a_clock_that_has_gone_on_for_an_hour(
    people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[float] = []
    clock = Clock(monkeypatch, STARTED_1970_S)

    def run(*_: Any, **__: Any) -> Any:
        ran.append(clock.now_s)
        LearningQueue(people).update(clock.now_s)
        return SimpleNamespace(returncode=0, stderr=b"")

    monkeypatch.setattr(learning, "command", lambda _household: [])
    monkeypatch.setattr(passphrase, "run_with", run)
    LearningQueue(people).update(NOW_S - DAY_S)
    sink = new_sink(people, update_s=DAY_S)
    sink.open()
    sink.idle()
    assert ran == [], "half a century since the last one, as the clock says"
    clock.now_s = NOW_S
    sink.idle()
    assert ran == []
    clock.go_on(sink, 1)
    assert ran == [NOW_S + HOUR_S]
    clock.go_on(sink, 23)
    assert len(ran) == 1
    clock.go_on(sink, 1)
    assert len(ran) == 2


def test_an_entry_that_cannot_be_read_does_not_keep_others_from_being_queued(
    sink: LearningSink, people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tidy(_queue: LearningQueue, _now_s: float | None) -> int:
        raise LearningError("1-2.json: cannot be read: Permission denied")

    monkeypatch.setattr(LearningQueue, "tidy", tidy)
    sink.open()
    assert sink.note == "1-2.json: cannot be read: Permission denied"
    sink.send(wake("anna", 1))
    assert waiting(people) == [("anna", 1)]


def test_what_a_peer_heard_who_is_not_trusted_is_not_learned_from(sink: LearningSink, people: PersonStore) -> None:
    sink.send(replace(wake("anna", THIRTY_S), trusted=False))
    assert waiting(people) == []
    sink.send(wake("anna", 3 * THIRTY_S))
    assert waiting(people) == [("anna", 3 * THIRTY_S)]


def test_a_flood_does_not_fill_the_queue_beyond_its_bound(
    sink: LearningSink, people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MOST_IMPOSTORS", 5)
    monkeypatch.setattr(learning, "TIDY_AFTER", 3)
    for number in range(20):
        sink.send(wake(None, (2 * number + 1) * THIRTY_S))
        assert len(waiting(people)) <= 5 + 3
    assert len(waiting(people)) >= 5


def test_nothing_is_kept_of_who_was_erased_since_the_daemon_looked(
    sink: LearningSink, people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on naming her for up to `people.watch_s`; and she may speak while she is erased."""
    people.save(person("bob"))
    remove = people.remove

    def slowly(name: str) -> int:
        sink.send(wake("anna", 16_000))
        return remove(name)

    monkeypatch.setattr(people, "remove", slowly)
    assert erasure.erase(people, None, "anna").waiting == 1
    sink.send(wake("anna", 32_000))
    sink.send(wake("bob", 48_000))
    assert waiting(people) == [("bob", 48_000)]

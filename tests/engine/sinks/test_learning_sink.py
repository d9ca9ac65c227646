"""What the daemon queues to learn from, and what an accepted wake takes back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_store import person

from earmark.engine.event import Event
from earmark.engine.history.queue import LearningQueue
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.schema import Learning, People
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
        household=SimpleNamespace(settings=settings, cards=[SimpleNamespace(sha256="s" * 64)])
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


def test_who_could_not_be_asked_leaves_nothing_to_learn_from(sink: LearningSink, people: PersonStore) -> None:
    sink.send(wake("anna", THIRTY_S, with_embedding=False))
    assert waiting(people) == []


@pytest.mark.parametrize(("update_s", "idle_s"), [(0, None), (86_400, 3600), (24, 1), (1e9, 3600)])
def test_it_looks_24_times_in_an_update_and_once_an_hour_at_least(update_s: float, idle_s: float | None) -> None:
    control: Any = None
    assert LearningSink(Learning(update_s=update_s), control).idle_s == idle_s

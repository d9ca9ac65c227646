"""Wakes that wait to be learned, and people who have learned some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers_store import make_voiceprint

from earmark.engine.audio.samples import Float32
from earmark.engine.history import updates
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.people.store import PersonStore, Voiceprint

NOW_S = 1_700_000_000.0
WORD, SPEAKER = "okay_nabu", "s" * 64


def row(seed: int = 0) -> Float32:
    values = np.random.default_rng(seed).standard_normal(192).astype(np.float32)
    unit: Float32 = values / np.float32(np.linalg.norm(values))
    return unit


def heard(number: int = 0, person: str | None = "anna", **changes: Any) -> QueuedWake:
    """The wake of a second."""
    base = QueuedWake("detection", WORD, person, 0.9, "mic", 16_000 * number, NOW_S + number, SPEAKER, row(number))
    if person is None:
        base = replace(base, type="rejection", score=0.3)
    return replace(base, **changes)


def facts(number: int) -> dict[str, Any]:
    return {**heard(number).facts(), "learned_s": NOW_S}


def with_learned(person: Voiceprint, count: int) -> Voiceprint:
    """The person with so many learned takes more."""
    rows = np.array([row(100 + len(person.learned) + number) for number in range(count)])
    more = tuple(facts(len(person.learned) + number) for number in range(count))
    return replace(person, takes=np.concatenate([person.takes, rows]), learned=(*person.learned, *more))


def prepared(folder: Path) -> PersonStore:
    people = PersonStore(folder)
    person = make_voiceprint("anna")
    people.save(person)
    updates.put(people, with_learned(person, 1), 1)
    LearningQueue(people).add(heard(7))
    return people


def seen(people: PersonStore) -> Any:
    """Everything that a reader sees."""
    store = LearningQueue(people)
    person = people.load("anna", WORD)
    return [one.id for one in store.read()], [one["id"] for one in person.learned], person.takes.tolist()


CHANGES = {
    "add": lambda people: LearningQueue(people).add(heard(8)),
    "put": lambda people: updates.put(people, with_learned(people.load("anna", WORD), 1), 2),
    "take back": lambda people: updates.take_back(people, "anna", WORD),
}

"""What the guard of learning refuses, on plain numbers at each of its edges."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_store import make_voiceprint

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.learning.learn import Addition, Figures, Learner


def figures(*own: float, strangers_in: int = 3, nearest: float = -0.1) -> Figures:
    return Figures(np.array(own, np.float32), strangers_in, nearest)


BEFORE = figures(0.25, 0.125, -0.5)


def test_what_stays_as_it_is_may_be() -> None:
    assert BEFORE.worse_than(BEFORE) is None
    assert figures(0.3, 0.2, 0.1).worse_than(BEFORE) is None


def test_no_more_of_the_enrolled_takes_may_be_rejected() -> None:
    assert figures(0.9, -0.001, -0.5).worse_than(BEFORE) == "2 of 3 enrolled takes would be rejected, 1 were"
    assert figures(0.9, 0.0, -0.5).worse_than(BEFORE) is None, "what scores the threshold is accepted"


def test_the_enrolled_takes_may_lose_a_hundredth_of_a_score_in_the_mean() -> None:
    assert figures(0.25, 0.125, -0.529).worse_than(BEFORE) is None
    assert figures(0.25, 0.125, -0.531).worse_than(BEFORE) == "the enrolled takes would score 0.010 less"


def test_no_stranger_more_may_be_let_in() -> None:
    assert replace(BEFORE, strangers_in=4).worse_than(BEFORE) == "4 strangers would be let in, 3 were"
    assert replace(BEFORE, strangers_in=2).worse_than(BEFORE) is None


def test_another_person_may_come_nearer_by_a_hundredth_or_where_nobody_minds() -> None:
    assert replace(BEFORE, nearest=-0.091).worse_than(BEFORE) is None
    reason = "another person would come nearer, from -0.100 to -0.089"
    assert replace(BEFORE, nearest=-0.089).worse_than(BEFORE) == reason
    far = replace(BEFORE, nearest=-0.9)
    assert replace(far, nearest=-0.195).worse_than(far) is None, "far below the threshold nobody's takes matter"
    assert replace(far, nearest=-0.185).worse_than(far) is not None


def test_of_a_single_take_there_is_nothing_to_lose() -> None:
    assert figures().worse_than(figures()) is None


# --- beyond doubt


@pytest.fixture
def learner() -> Learner:
    """Of people whose score is the cosine: no network is asked."""
    nobody: Any = SimpleNamespace(speaker=None, head=None, verifier=Verifier([]))
    return Learner(nobody)


@pytest.fixture
def person() -> Voiceprint:
    made = make_voiceprint(kind=COSINE, threshold=0.5)
    return replace(made, centroid=np.array([1, 0], np.float32))


def scoring(score: float) -> Float32:
    return np.array([score, 0], np.float32)


def test_beyond_doubt_is_what_a_tenth_of_the_strangers_would_still_let_in(
    learner: Learner, person: Voiceprint
) -> None:
    """A decade of the cosine is 0.07."""
    assert learner.wide(person, scoring(0.571))
    assert not learner.wide(person, scoring(0.569))
    assert not learner.wide(person, scoring(0.5))


def test_what_only_a_condition_accepts_is_beyond_doubt_where_the_daemon_had_heard_it_so(
    learner: Learner, person: Voiceprint
) -> None:
    rows = np.tile(person.centroid, (len(person.takes), len(CONDITIONS), 1))
    rows[:, CONDITIONS.index("line")] = [0, 1]
    person = replace(person, elsewhere=rows, offsets=np.zeros(1 + len(CONDITIONS), np.float32))
    heard = np.array([0.3, 0.95], np.float32)
    assert not learner.wide(person, heard)
    assert not learner.wide(person, heard, 0.55), "at a tenth of the strangers it would not have been accepted"
    assert learner.wide(person, heard, 0.89)
    assert not learner.wide(person, np.array([0.3, 0.5], np.float32), 0.89), "the voiceprint has changed since"


def test_the_takes_must_agree_in_every_condition() -> None:
    before = replace(BEFORE, elsewhere=np.array([0.8, 0.7], np.float32))
    assert replace(before, elsewhere=np.array([0.9, 0.6901], np.float32)).worse_than(before) is None
    reason = "the enrolled takes would score 0.011 less in another condition"
    assert replace(before, elsewhere=np.array([0.9, 0.689], np.float32)).worse_than(before) == reason


def test_what_lies_in_the_middle_is_tried_first(learner: Learner, person: Voiceprint) -> None:
    additions = [Addition(scoring(score), {}) for score in (0.9, 0.5, 0.71, 0.6, 0.7)]
    order = learner.in_order(person, additions)
    assert [round(float(one.embedding[0]), 2) for one in order] == [0.7, 0.71, 0.6, 0.9, 0.5]
    assert learner.in_order(person, []) == []

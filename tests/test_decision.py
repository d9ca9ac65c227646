"""From probabilities to candidates, on tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from conftest import MakeNetwork, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.decision import REFRACTORY_SAMPLES, Candidate, KeywordDecision

STRIDE = 3
FIRST_END = 800  # samples behind the third frame: 480 + 2 · 160
STEP = 480  # samples between two probabilities: 3 frames of 160


def sample_of(probability: int) -> int:
    return FIRST_END + probability * STEP


def decide(
    probabilities: Sequence[float], cutoff: float = 0.5, window: int = 2, refractory_samples: int = 0
) -> list[Candidate]:
    decision = KeywordDecision("word", cutoff, window, STRIDE, refractory_samples)
    return decision.push(np.array(probabilities, np.float32))


@pytest.mark.parametrize(
    ("shows", "probabilities", "fired_at"),
    [
        ("silence", [0, 0, 0, 0], []),
        ("nothing fires before the window is full", [1, 1], [1]),
        ("a single probability is no window", [1], []),
        ("the mean counts, not the peak", [0, 1, 0, 0], []),
        ("the cutoff itself is not above it", [0.5, 0.5, 0.5], []),
        ("just above the cutoff", [0.5, 0.5, 0.53125], [2]),
        ("one event for one utterance", [0, 1, 1, 1, 1, 1], [2]),
        ("no event without a fall in between", [0, 1, 1, 0.9, 1, 1], [2]),
        ("a fall to the cutoff arms it again", [0, 1, 1, 0, 1, 1], [2, 5]),
        ("two utterances", [0, 1, 1, 0, 0, 0, 1, 1, 0], [2, 7]),
    ],
)
def test_when_it_fires(shows: str, probabilities: list[float], fired_at: list[int]) -> None:
    assert [c.sample for c in decide(probabilities)] == [sample_of(n) for n in fired_at], shows


def test_the_candidate_has_name_place_and_mean() -> None:
    assert decide([0.0, 0.5, 0.75]) == [Candidate("word", sample_of(2), 0.625)]


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_warm_up_lasts_exactly_the_window(window: int) -> None:
    assert [c.sample for c in decide([1.0] * 120, window=window)] == [sample_of(window - 1)]


@pytest.mark.parametrize(("refractory_samples", "events"), [(0, 2), (4 * STEP, 2), (4 * STEP + 1, 1)])
def test_the_refractory_time_is_counted_in_samples(refractory_samples: int, events: int) -> None:
    """The second word crosses the cutoff four probabilities after the first and is gone after one."""
    assert len(decide([1, 1, 0, 0, 1, 1, 0], refractory_samples=refractory_samples)) == events


def test_a_word_that_goes_on_after_the_refractory_time_still_fires() -> None:
    """It fell and rose inside the refractory time, and is still there when that ends."""
    probabilities = [1, 1, 0, 0, 1, 1, 1, 1, 1]
    assert [c.sample for c in decide(probabilities, refractory_samples=6 * STEP)] == [sample_of(1), sample_of(7)]


def test_by_default_a_second_passes_between_two_events() -> None:
    decision = KeywordDecision("word", 0.5, 1, STRIDE)
    found = decision.push(np.tile(np.array([0, 1], np.float32), 200))
    distances = np.diff([c.sample for c in found])
    assert REFRACTORY_SAMPLES == 16_000
    assert (distances >= REFRACTORY_SAMPLES).all()
    assert (distances < REFRACTORY_SAMPLES + 2 * STEP).all()


@pytest.mark.parametrize(("stride", "first"), [(1, 480), (2, 640), (3, 800), (4, 960)])
def test_the_position_follows_the_stride(stride: int, first: int) -> None:
    decision = KeywordDecision("word", 0.5, 1, stride)
    assert [c.sample for c in decision.push(np.ones(1, np.float32))] == [first]


def test_reset_forgets_window_arming_and_refractory_time() -> None:
    decision = KeywordDecision("word", 0.5, 2, STRIDE)
    probabilities = np.array([1, 1, 1], np.float32)
    first = decision.push(probabilities)
    assert decision.push(probabilities) == []
    decision.reset()
    assert decision.push(probabilities) == first != []


@given(
    probabilities=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=120),
    window=st.integers(1, 6),
    refractory_samples=st.integers(0, 20 * STEP),
    data=st.data(),
)
@settings(max_examples=200)
def test_any_cut_gives_the_same_candidates(
    probabilities: list[float], window: int, refractory_samples: int, data: st.DataObject
) -> None:
    decision = KeywordDecision("word", 0.5, window, STRIDE, refractory_samples)
    pieces = cut(np.array(probabilities, np.float32), data.draw(cut_points(len(probabilities))))
    found = [candidate for piece in pieces for candidate in decision.push(piece)]
    assert found == decide(probabilities, 0.5, window, refractory_samples)


def test_a_network_brings_its_manifests_numbers(make_network: MakeNetwork) -> None:
    """alexa: cutoff 0.9, window 5, stride 3."""
    at_cutoff, above = np.full(5, 0.9, np.float32) - 1e-6, np.full(5, 0.91, np.float32)
    decision = KeywordDecision.of(make_network("alexa"))
    assert decision.push(at_cutoff) == []
    decision.reset()
    (candidate,) = decision.push(above)
    assert (candidate.keyword, candidate.sample) == ("alexa", sample_of(4))

"""From probabilities to candidates, on tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest
from conftest import MakeNetwork, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.decision import LOOSE_SHARE, PEAK_WAIT_SAMPLES, REFRACTORY_SAMPLES, Candidate, KeywordDecision

STRIDE = 3
FIRST_END = 800  # samples behind the third frame: 480 + 2 · 160
STEP = 480  # samples between two probabilities: 3 frames of 160


def sample_of(probability: int) -> int:
    return FIRST_END + probability * STEP


def decide(
    probabilities: Sequence[float],
    cutoff: float = 0.5,
    window: int = 2,
    refractory_samples: int = 0,
    loose_cutoff: float | None = None,
) -> list[Candidate]:
    decision = KeywordDecision("word", cutoff, window, STRIDE, refractory_samples, loose_cutoff)
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


@pytest.mark.parametrize(
    ("shows", "probabilities", "strict", "weak"),
    [
        ("at its peak, when it has fallen", [0, 0.3, 0.4, 0.3, 0], [], [(2, 4)]),
        ("the loose cutoff itself is not above it", [0.25, 0.25, 0], [], []),
        ("to the loose cutoff is fallen", [0, 0.4, 0.25, 0.4], [], [(1, 2)]),
        ("the cutoff itself is not above it", [0, 0.5, 0], [], [(1, 2)]),
        ("the earliest of equal peaks", [0, 0.4, 0.3, 0.4, 0], [], [(1, 4)]),
        ("nothing as long as it goes on", [0, 0.3, 0.4, 0.3], [], []),
        ("each excursion has one", [0.3, 0, 0.4, 0], [], [(0, 1), (2, 3)]),
        ("what passes the cutoff is not weak as well", [0.4, 1, 0.4, 0.3, 0], [1], []),
        ("nor after another peak on the way down", [0, 1, 0.3, 0.4, 0.3, 0], [1], []),
        ("but the next excursion is", [0, 1, 0.3, 0, 0.4, 0], [1], [(4, 5)]),
        ("without a fall it ends 0.6 s after its peak, once", [0.3, 0.4, *[0.3] * 50, 0], [], [(1, 21)]),
        ("every higher peak waits anew", [*[0.3] * 15, *[0.4] * 15, *[0.45] * 50], [], [(30, 50)]),
        ("the next excursion begins after the fall", [*[0.4] * 30, 0.5, 0, 0.3, 0], [], [(0, 20), (32, 33)]),
        ("the cutoff fires after such an end too", [*[0.4] * 25, 1, 0.4, 0], [25], [(0, 20)]),
    ],
)
def test_when_it_is_a_weak_candidate(
    shows: str, probabilities: list[float], strict: list[int], weak: list[tuple[int, int]]
) -> None:
    """`weak`: where the peak is, and when it is decided."""
    found = decide(probabilities, window=1, loose_cutoff=0.25)
    assert [c.sample for c in found if not c.weak] == [sample_of(n) for n in strict], shows
    wanted = [(sample_of(peak), (end - peak) * STEP) for peak, end in weak]
    assert [(c.sample, c.waited_samples) for c in found if c.weak] == wanted, shows


def test_a_weak_candidate_has_the_mean_of_its_peak() -> None:
    assert decide([0, 0.25, 0.5, 0, 0], loose_cutoff=0.25) == [
        Candidate("word", sample_of(2), 0.375, weak=True, waited_samples=STEP)
    ]


@pytest.mark.parametrize("window", [1, 2, 5, 19])
def test_a_weak_candidate_needs_the_warm_up(window: int) -> None:
    """The mean of a window that is not full would have peaked at once."""
    found = decide([0.4] * window + [0.0] * 20, window=window, loose_cutoff=0.1)
    assert [(c.sample, c.weak) for c in found] == [(sample_of(window - 1), True)]
    assert decide([0.4] * (window - 1), window=window, loose_cutoff=0.1) == []


@pytest.mark.parametrize(("refractory_samples", "weak"), [(4 * STEP, [5, 8]), (4 * STEP + 1, [8])])
def test_no_weak_candidate_peaks_in_the_refractory_time(refractory_samples: int, weak: list[int]) -> None:
    """The peak counts, not the end: the first peaks four probabilities after the strict one, and ends after six."""
    probabilities = [0, 1, 0, 0, 0.3, 0.4, 0.3, 0, 0.4, 0]
    found = decide(probabilities, window=1, refractory_samples=refractory_samples, loose_cutoff=0.25)
    assert [c.sample for c in found] == [sample_of(n) for n in [1, *weak]]


def test_what_passes_the_cutoff_in_the_refractory_time_is_not_weak() -> None:
    found = decide([1, 0, 0.4, 1, 0.4, 0.3, 0.3, 0], window=1, refractory_samples=4 * STEP, loose_cutoff=0.25)
    assert [c.sample for c in found] == [sample_of(0)]


def test_reset_forgets_an_excursion() -> None:
    decision = KeywordDecision("word", 0.5, 1, STRIDE, 0, 0.25)
    for before in ([0.45], [0.4, 1.0], [0.4] * 30):  # open, spent by the cutoff, spent by its length
        decision.push(np.array(before, np.float32))
        decision.reset()
        (candidate,) = decision.push(np.array([0.4, 0.3, 0.0], np.float32))
        assert (candidate.sample, candidate.weak) == (sample_of(0), True)
        decision.reset()


# --- other cutoffs in mid-stream


def changed(
    before: Sequence[float],
    cutoffs: tuple[float, float | None],
    after: Sequence[float],
    window: int = 1,
    loose_cutoff: float | None = None,
    refractory_samples: int = 0,
) -> list[tuple[int, bool]]:
    """The candidates, as number of their probability and whether weak; the first cutoff is 0.5."""
    decision = KeywordDecision("word", 0.5, window, STRIDE, refractory_samples, loose_cutoff)
    found = decision.push(np.array(before, np.float32))
    decision.set_cutoffs(*cutoffs)
    found += decision.push(np.array(after, np.float32))
    return [((c.sample - FIRST_END) // STEP, c.weak) for c in found]


@pytest.mark.parametrize(
    ("shows", "loose_cutoff", "before", "cutoffs", "after", "candidates"),
    [
        ("the same ones change nothing", None, [0.6, 0], (0.5, None), [0.6, 0], [(0, False), (2, False)]),
        ("a higher cutoff", None, [0.6, 0], (0.7, None), [0.6, 0, 0.8], [(0, False), (4, False)]),
        ("a lower cutoff", None, [0.4, 0], (0.3, None), [0.4, 0], [(2, False)]),
        ("a word goes on over a lowered cutoff", None, [0.4, 0.4], (0.3, None), [0.4, 0.4, 0], [(2, False)]),
        ("one that has fired does not fire again", None, [0.6], (0.3, None), [0.4, 0.6, 0], [(0, False)]),
        (
            "nor over a raised one, until it falls",
            None,
            [0.6],
            (0.7, None),
            [0.8, 0.6, 0.8],
            [(0, False), (3, False)],
        ),
        ("a loose cutoff that comes", None, [0.4, 0], (0.5, 0.3), [0.4, 0], [(2, True)]),
        ("a loose cutoff that goes", 0.3, [0.4, 0, 0.4], (0.5, None), [0, 0.4, 0], [(0, True)]),
        ("a higher loose cutoff", 0.3, [0.4, 0], (0.5, 0.45), [0.4, 0, 0.48, 0], [(0, True), (4, True)]),
        ("a lower loose cutoff", 0.3, [0.2, 0], (0.5, 0.1), [0.2, 0], [(2, True)]),
        ("over both at once", 0.3, [0.4, 0], (0.8, 0.5), [0.4, 0.6, 0, 0.9], [(0, True), (3, True), (5, False)]),
    ],
)
def test_other_cutoffs_count_from_the_next_probability_on(
    shows: str,
    loose_cutoff: float | None,
    before: list[float],
    cutoffs: tuple[float, float | None],
    after: list[float],
    candidates: list[tuple[int, bool]],
) -> None:
    assert changed(before, cutoffs, after, loose_cutoff=loose_cutoff) == candidates, shows


def test_other_cutoffs_leave_the_window_as_it_is() -> None:
    """The mean of 0.2, 0.4 and 0.6 needs what was pushed before."""
    assert changed([0.2, 0.4], (0.35, None), [0.6], window=3) == [(2, False)]
    assert changed([0.2, 0.4], (0.45, None), [0.6], window=3) == []


def test_other_cutoffs_leave_the_refractory_time_as_it_is() -> None:
    assert changed([0.6, 0], (0.3, None), [0.4, 0, 0.4], refractory_samples=4 * STEP) == [(0, False), (4, False)]


def test_a_peak_that_waits_goes_with_its_loose_cutoff() -> None:
    """Else it would be a candidate when the next one comes, which may be an hour later."""
    decision = KeywordDecision("word", 0.5, 1, STRIDE, 0, 0.3)
    decision.push(np.array([0.4], np.float32))
    decision.set_cutoffs(0.5, None)
    assert decision.push(np.zeros(1000, np.float32)) == []
    decision.set_cutoffs(0.5, 0.3)
    assert decision.push(np.zeros(2, np.float32)) == []
    (candidate,) = decision.push(np.array([0.4, 0], np.float32))
    assert candidate.sample == sample_of(1003)


@pytest.mark.parametrize(("skipped", "sample"), [(0, 800), (300, 48_800)])
def test_the_first_frame_of_a_late_decision_is_counted(skipped: int, sample: int) -> None:
    """And what the stream leaves out before its first probability."""
    for first_frame in (0, 1000):
        decision = KeywordDecision("word", 0.5, 1, STRIDE, first_frame=first_frame)
        decision.skip(skipped)
        (candidate,) = decision.push(np.ones(1, np.float32))
        assert candidate.sample == 160 * first_frame + sample


LEVELS = st.sampled_from([0.0, 0.25, 0.3, 0.375, 0.5, 0.75, 1.0])
TRACES = st.lists(st.tuples(LEVELS, st.sampled_from([1, 1, 1, 2, 5, 25])), max_size=60).map(
    lambda runs: [level for level, length in runs for _ in range(length)]
)
"""Probabilities; some stay longer than a peak waits."""
LOOSE = st.sampled_from([None, 0.0, 0.25, 0.375, 0.5])


@given(
    probabilities=TRACES,
    window=st.integers(1, 6),
    refractory_samples=st.integers(0, 20 * STEP),
    loose_cutoff=LOOSE,
    data=st.data(),
)
@settings(max_examples=300)
def test_any_cut_gives_the_same_candidates(
    probabilities: list[float],
    window: int,
    refractory_samples: int,
    loose_cutoff: float | None,
    data: st.DataObject,
) -> None:
    decision = KeywordDecision("word", 0.5, window, STRIDE, refractory_samples, loose_cutoff)
    pieces = cut(np.array(probabilities, np.float32), data.draw(cut_points(len(probabilities))))
    found = [candidate for piece in pieces for candidate in decision.push(piece)]
    assert found == decide(probabilities, 0.5, window, refractory_samples, loose_cutoff)


@given(probabilities=TRACES, window=st.integers(1, 6), refractory_samples=st.integers(0, 20 * STEP))
@settings(max_examples=300)
def test_the_loose_gate_changes_nothing_for_strict_candidates(
    probabilities: list[float], window: int, refractory_samples: int
) -> None:
    found = decide(probabilities, 0.5, window, refractory_samples, 0.25)
    strict = [c for c in found if not c.weak]
    assert strict == decide(probabilities, 0.5, window, refractory_samples)
    decided = [c.sample + c.waited_samples for c in found]
    assert decided == sorted(set(decided)), "one at a time, in the order in which they were decided"
    for candidate in found:
        if candidate.weak:
            assert 0.25 < candidate.score <= 0.5
            assert 0 < candidate.waited_samples < PEAK_WAIT_SAMPLES + STEP
            assert not any(0 <= candidate.sample - c.sample < refractory_samples for c in strict)


@given(probabilities=st.lists(LEVELS, max_size=20))
@settings(max_examples=300)
def test_weak_candidates_are_the_peaks_of_the_excursions(probabilities: list[float]) -> None:
    """Written a second time, on the whole: 20 probabilities are too short for a peak to wait in vain."""
    expected = []
    for above, group in groupby(range(len(probabilities)), key=lambda i: probabilities[i] > 0.25):
        excursion = list(group)
        highest = max(probabilities[i] for i in excursion)
        if above and highest <= 0.5 and excursion[-1] + 1 < len(probabilities):
            expected.append(sample_of(next(i for i in excursion if probabilities[i] == highest)))
    found = decide(probabilities, window=1, loose_cutoff=0.25)
    assert [c.sample for c in found if c.weak] == expected


def test_a_network_brings_its_manifests_numbers(make_network: MakeNetwork) -> None:
    """alexa: cutoff 0.9, window 5, stride 3."""
    at_cutoff, above = np.full(5, 0.9, np.float32) - 1e-6, np.full(5, 0.91, np.float32)
    decision = KeywordDecision.of(make_network("alexa"))
    assert decision.push(at_cutoff) == []
    decision.reset()
    (candidate,) = decision.push(above)
    assert (candidate.keyword, candidate.sample) == ("alexa", sample_of(4))


def test_the_loose_gate_of_a_network_is_a_share_of_its_cutoff(make_network: MakeNetwork) -> None:
    network = make_network("alexa")
    gate = LOOSE_SHARE * 0.9
    trace = np.array([*[gate - 0.01] * 5, 0, 0, 0, 0, 0, *[gate + 0.01] * 5, 0], np.float32)
    (candidate,) = KeywordDecision.of(network, loose=True).push(trace)
    assert (candidate.sample, candidate.weak) == (sample_of(14), True)
    assert KeywordDecision.of(network).push(trace) == []


PROBABILITY = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.75, 1.0])


@given(
    past=st.lists(PROBABILITY, max_size=30),
    future=st.lists(PROBABILITY, min_size=1, max_size=12),
    cutoff=st.sampled_from([0.2, 0.5, 0.85]),
    loose=st.booleans(),
)
@settings(max_examples=50)
def test_nothing_is_decided_before_it_can_be(
    past: list[float], future: list[float], cutoff: float, loose: bool
) -> None:
    decision = KeywordDecision("word", cutoff, 5, STRIDE, 0, LOOSE_SHARE * cutoff if loose else None)
    decision.push(np.array(past, np.float32))
    earliest = decision.earliest_sample
    for number, probability in enumerate([*future, *[1.0] * 6, *[0.0] * 6]):
        now = sample_of(len(past) + number)
        if decision.push(np.array([probability], np.float32)):
            assert now >= earliest
            return


@pytest.mark.parametrize(
    ("past", "stirs"), [([], False), ([0.03], False), ([0.04], True), ([0.04, *[0.0] * 5], False)]
)
def test_it_stirs_while_the_mean_has_more_than_silence_gives(past: list[float], stirs: bool) -> None:
    decision = KeywordDecision("word", 0.9, 5, STRIDE, 0)
    decision.push(np.array(past, np.float32))
    assert decision.stirs is stirs


def test_it_stirs_while_a_peak_waits() -> None:
    decision = KeywordDecision("word", 0.9, 1, STRIDE, 0, loose_cutoff=0.01)
    decision.push(np.array([0.02], np.float32))
    assert decision.stirs


@pytest.mark.parametrize(("past", "ones"), [([0] * 9, 5), ([0] * 8 + [0.5], 4), ([0] * 4 + [1] * 3, 2), ([], 5)])
def test_where_ones_follow_it_is_decided_as_early_as_it_can_be(past: list[float], ones: int) -> None:
    decision = KeywordDecision("word", 0.89, 5, STRIDE, 0)
    decision.push(np.array(past, np.float32))
    assert decision.earliest_sample == sample_of(len(past) + ones - 1)
    assert decision.push(np.ones(ones - 1, np.float32)) == []
    assert len(decision.push(np.ones(1, np.float32))) == 1

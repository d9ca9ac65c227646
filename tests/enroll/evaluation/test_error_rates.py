"""Error rates by hand: EER, FRR at a wanted FAR, the detection cost, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.enroll.evaluation import error_rates


def trials_of(
    targets: list[float], impostors: list[float], threshold: float = 0.5, person: list[int] | None = None
) -> error_rates.Trials:
    """Everybody's own tries, then strangers'; one speaker for all unless told."""
    scores = np.array([*targets, *impostors])
    own = np.arange(len(scores)) < len(targets)
    number = np.zeros(len(scores), np.intp) if person is None else np.array(person)
    return error_rates.Trials(scores, own, scores >= threshold, number, np.where(own, number, number + 1))


def test_rates_of_overlapping_scores_by_hand() -> None:
    trials = trials_of([0.9, 0.8, 0.7, 0.3], [0.1, 0.2, 0.4, 0.75])
    rates = trials.rates()
    assert rates["eer"] == pytest.approx(0.25)
    assert rates["frr_at_far_0.01"] == pytest.approx(0.5)  # above 0.75: 0.7 and 0.3 are rejected
    assert rates["min_dcf"] == pytest.approx(0.5)  # nobody let in, half of the own rejected
    assert (rates["frr_at_enrolled"], rates["far_at_enrolled"]) == (0.25, 0.25)
    assert trials_of([1.0], [0.0]).rates()["eer"] == 0


def test_a_curve_ends_where_nobody_is_let_in_and_counts_equal_scores_as_accepted() -> None:
    det = trials_of([0.5, 0.5, 0.8], [0.5, 0.2]).det()
    np.testing.assert_allclose(det.thresholds, [0.2, 0.5, 0.8, np.inf])
    np.testing.assert_allclose(det.frr, [0, 0, 2 / 3, 1])
    np.testing.assert_allclose(det.far, [1, 0.5, 0, 0])


def test_a_try_in_which_nothing_was_heard_is_rejected_at_any_threshold() -> None:
    det = trials_of([0.9, -np.inf], [0.1, -np.inf]).det()
    assert det.frr_at_far(0.01) == pytest.approx(0.5)
    assert det.far[1] == pytest.approx(0.5)


def test_weights_count_a_trial_so_many_times() -> None:
    once = trials_of([0.9, 0.3], [0.1, 0.6])
    twice = trials_of([0.9, 0.3, 0.3], [0.1, 0.6])
    assert once.rates(np.array([1.0, 2.0, 1.0, 1.0])) == pytest.approx(twice.rates())


def test_person_by_person_everybody_counts_once_however_many_tries_there_are() -> None:
    """Of the first nine of ten own tries are rejected, of the second none; strangers pass as the first only."""
    targets, impostors = [0.9, *[0.1] * 9, 0.9, 0.9], [0.8, 0.1, 0.1, 0.1]
    trials = trials_of(targets, impostors, person=[0] * 10 + [1] * 2 + [0, 0, 1, 1])
    rates = trials.rates()
    assert rates["frr_at_enrolled"] == pytest.approx(9 / 12)
    assert rates["frr_at_enrolled_macro"] == pytest.approx((0.9 + 0) / 2)
    assert rates["far_at_enrolled_macro"] == pytest.approx((0.5 + 0) / 2)
    twice = np.where(trials.person == 0, 2.0, 1.0)  # the first was drawn twice
    assert trials.rates(twice)["frr_at_enrolled_macro"] == pytest.approx((0.9 + 0.9 + 0) / 3)


def test_intervals_hold_the_rate_and_shrink_with_more_speakers(rng: np.random.Generator) -> None:
    widths = []
    for speakers in (5, 80):
        own, others = rng.normal(1, 0.6, 4 * speakers), rng.normal(0, 0.6, 12 * speakers)
        person = np.r_[np.repeat(np.arange(speakers), 4), np.repeat(np.arange(speakers), 12)]
        speaker = np.r_[person[: 4 * speakers], rng.integers(speakers, size=12 * speakers)]
        is_own = np.arange(16 * speakers) < 4 * speakers
        keep = is_own | (person != speaker)
        scores = np.r_[own, others]
        trials = error_rates.Trials(scores[keep], is_own[keep], scores[keep] > 0.5, person[keep], speaker[keep])
        low, high = trials.intervals()["eer"]
        assert low <= trials.rates()["eer"] <= high
        widths.append(high - low)
        assert trials.intervals(trials)["eer"] == [0, 0], "no difference to itself"
    assert widths[1] < widths[0] / 2


def test_strangers_are_drawn_anew_as_the_enrolled_are() -> None:
    """Of six strangers three are always let in, by one enrolled person: it is chance which strangers came."""
    own, count = np.arange(64) < 4, 64
    speaker = np.r_[np.zeros(4, np.intp), np.repeat(np.arange(1, 7), 10)]
    accepted = own | (speaker > 3)
    trials = error_rates.Trials(accepted.astype(np.float64), own, accepted, np.zeros(count, np.intp), speaker)
    low, high = trials.intervals()["far_at_enrolled"]
    assert trials.rates()["far_at_enrolled"] == 0.5
    assert low < 0.25
    assert high > 0.75


def test_pooled_lists_keep_their_speakers_apart() -> None:
    part = trials_of([0.9, 0.8], [0.1, 0.2], person=[0, 1, 0, 1])
    both = error_rates.pooled([part, part])
    assert len(np.unique(both.person)) == 4
    assert not set(both.person[:4]) & set(both.speaker[4:])


def test_as_many_strangers_as_wanted_are_let_in_and_no_more() -> None:
    """Of a hundred strangers 1 % is exactly one: what lets in the best of them alone is allowed, two are too many."""
    strangers = [number / 200 for number in range(100)]  # 0, 0.005, ... 0.495
    det = trials_of([0.9, 0.4925, 0.4875, 0.2], strangers).det()
    assert det.far[list(det.thresholds).index(0.495)] == 0.01
    assert det.frr_at_far(0.01) == 0.5, "from 0.4925 on: one stranger is let in; 0.4875 and 0.2 are rejected"
    assert det.frr_at_far(0.02) == 0.25, "from 0.4875 on: two strangers"
    assert det.frr_at_far(0.0099) == 0.75, "nobody"


@pytest.mark.parametrize("strangers", [100, 200, 300, 700, 1000, 3100])
def test_every_share_of_the_strangers_is_met_exactly(strangers: int) -> None:
    """A share that is one ulp too large would cost a stranger: the FAR is counted, not what is left of 1."""
    det = trials_of([2.0], list(range(-strangers, 0))).det()
    for let_in in range(strangers):
        share = let_in / strangers
        assert det.thresholds[np.argmax(det.far <= share)] == (-let_in if let_in else 2.0)


def test_of_equal_scores_all_are_let_in_or_none() -> None:
    det = trials_of([0.6, 0.7], [0.6, 0.6, *[0.1] * 98]).det()
    assert det.frr_at_far(0.02) == 0
    assert det.frr_at_far(0.01) == 0.5, "two of a hundred share a score: at 0.6 both would be in"


def test_where_the_errors_do_not_meet_the_eer_is_between_them() -> None:
    assert trials_of([0.2, 0.8, 0.9], [0.1, 0.5]).det().eer() == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_the_detection_cost_counts_a_stranger_ninety_nine_times() -> None:
    """NIST's costs: 0.01 times the FRR and 0.99 times the FAR, over 0.01."""
    own = [0.9, *[0.4] * 9]
    assert trials_of(own, [0.5, *[0.1] * 99]).det().min_dcf() == pytest.approx(0.9), "rather than let 1 % in: 0.99"
    assert trials_of(own, [0.5, *[0.1] * 999]).det().min_dcf() == pytest.approx(0.099), "0.1 % may come in"
    assert trials_of(own, [0.1] * 1000).det().min_dcf() == 0

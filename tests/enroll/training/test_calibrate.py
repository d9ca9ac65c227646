"""The threshold, the choice between cosine and head, and the intervals, on plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.engine.people.store import COSINE, TRAINED
from earmark.enroll.training import calibrate
from earmark.enroll.training.calibrate import Trial
from earmark.enroll.training.train import TakeEmbeddings, TrainPlan
from earmark.enroll.training.trainers.base import Lesson, Voices

UP_TO_100 = np.arange(101, dtype=np.float32)  # 99 % quantile 99, standard deviation √850


def floats(*values: float) -> Float32:
    return np.array(values, np.float32)


def trial(own: list[float], varied: list[float]) -> Trial:
    return Trial(floats(*own), floats(*varied), np.tile(UP_TO_100, (len(own), 1)))


# --- the threshold


@pytest.mark.parametrize(
    ("kind", "takes", "far", "wanted", "without_elsewhere"),
    [
        (COSINE, 1, 0.01, 0.585, 0.645),
        (COSINE, 5, 0.01, 0.625, 0.681),
        (COSINE, 5, 0.001, 0.695, 0.751),
        (COSINE, 5, 0.1, 0.555, 0.611),
        (TRAINED, 1, 0.01, 0.604, 0.63),
        (TRAINED, 5, 0.01, 0.652, 0.658),
        (TRAINED, 5, 0.001, 0.732, 0.738),
        (TRAINED, 5, 0.1, 0.572, 0.578),
        (TRAINED, 5, 1e-30, 1.0, 1.0),  # a score is a cosine: never more than 1, …
        (TRAINED, 5, 1e30, -1.0, -1.0),  # … never less than −1
    ],
)
def test_the_threshold_in_numbers(kind: str, takes: int, far: float, wanted: float, without_elsewhere: float) -> None:
    assert calibrate.threshold(kind, takes, far, True) == pytest.approx(wanted, abs=1e-9)
    assert calibrate.threshold(kind, takes, far, False) == pytest.approx(without_elsewhere, abs=1e-9)


def test_half_way_lies_between_the_strangers_and_the_own_takes() -> None:
    assert calibrate.halfway(UP_TO_100, floats(109, 119), 0.01) == pytest.approx((99 + 114) / 2)
    assert calibrate.halfway(UP_TO_100, floats(5), 0.01) == pytest.approx(99), "never below the strangers"
    assert calibrate.halfway(UP_TO_100, None, 0.1) == pytest.approx(90)


# --- which kind of score


def test_a_margin_is_in_the_strangers_standard_deviations() -> None:
    """Takes and variations count the same: (101 + 99) / 2 lies at 100, one above the quantile."""
    assert trial([101], [99]).margin() == pytest.approx(1 / np.sqrt(850), rel=1e-5)
    assert trial([101, 99], [99, 91]).margin() == pytest.approx((1 - 4) / 2 / np.sqrt(850), rel=1e-5)


def test_each_take_is_compared_with_the_strangers_of_its_own_fold() -> None:
    folds = Trial(floats(100, 0), floats(100, 0), np.array([UP_TO_100, UP_TO_100 - 100], np.float32))
    assert folds.margin() == pytest.approx(1 / np.sqrt(850), rel=1e-5)


def test_the_head_must_be_better_to_be_kept() -> None:
    worse, better = trial([100], [100]), trial([100], [100.5])
    assert calibrate.better_kind({COSINE: worse, TRAINED: better}) == TRAINED
    assert calibrate.better_kind({COSINE: better, TRAINED: worse}) == COSINE
    assert calibrate.better_kind({COSINE: better, TRAINED: better}) == COSINE, "as good is not better"
    assert calibrate.better_kind({COSINE: worse}) == calibrate.better_kind({}) == COSINE


# --- leaving one out


class Half:
    """Says 0.5 of everything, whatever it was taught."""

    name = "half"

    def __init__(self, groups: int = 0) -> None:
        self.lessons: list[tuple[list[TakeEmbeddings], Float32]] = []
        self._groups = groups

    def strangers(self) -> None:
        return None

    def left_out(self, takes: int) -> list[list[int]]:
        groups = self._groups or takes
        return [[*range(first, takes, groups)] for first in range(groups)]

    def train(self, lesson: Lesson) -> Half:
        self.lessons.append(([*lesson.takes], lesson.strangers.embeddings))
        return self

    def score(self, tries: Voices) -> Float32:
        return np.full(len(tries.embeddings), 0.5, np.float32)

    def fields(self) -> dict[str, Any]:
        return {}


def leave_one_out(trainer: Half, takes: list[TakeEmbeddings], measure: Float32, learn: Float32) -> dict[str, Trial]:
    return calibrate.leave_one_out(trainer, takes, Voices(measure), Voices(learn), TrainPlan())


def test_what_is_left_out_and_who_is_measured_are_not_trained_with() -> None:
    trainer = Half()
    rows = np.eye(4, dtype=np.float32)
    takes = [TakeEmbeddings(row, np.array([rows[3]])) for row in rows[:3]]
    measure, learn = rows[:2], -rows[2:]
    trials = leave_one_out(trainer, takes, measure, learn)
    assert [rest for rest, _ in trainer.lessons] == [takes[1:], [takes[0], takes[2]], takes[:2]]
    for _, strangers in trainer.lessons:
        np.testing.assert_array_equal(strangers, learn)
    mean = np.sqrt(np.float32(0.5))  # of two orthogonal takes, to each of them
    np.testing.assert_allclose(trials[COSINE].own, [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(trials[COSINE].others, [[0, mean], [mean, 0], [mean, mean]], atol=1e-6)
    np.testing.assert_allclose(trials[TRAINED].others, 2 / 3 * trials[COSINE].others + 1 / 3 * 0.5, atol=1e-6)


def test_a_single_take_cannot_be_left_out() -> None:
    trainer, rows = Half(), np.eye(2, dtype=np.float32)
    assert leave_one_out(trainer, [TakeEmbeddings(rows[0], rows[:0])], rows, rows) == {}
    assert trainer.lessons == []
    takes = [TakeEmbeddings(row, rows[:0]) for row in rows]
    assert set(leave_one_out(trainer, takes, rows, rows)) == {COSINE, TRAINED}


def test_who_trains_slowly_leaves_several_takes_out_together_and_each_is_asked_in_its_own_place() -> None:
    trainer, rows = Half(groups=2), np.eye(5, dtype=np.float32)
    takes = [TakeEmbeddings(row, rows[:0]) for row in rows]
    trials = leave_one_out(trainer, takes, rows, rows)
    assert [rest for rest, _ in trainer.lessons] == [[takes[1], takes[3]], [takes[0], takes[2], takes[4]]]
    np.testing.assert_allclose(trials[COSINE].own, np.zeros(5), atol=1e-6)
    of_two, of_three = np.sqrt(floats(1 / 2, 1 / 3))
    np.testing.assert_allclose(trials[COSINE].others[1], of_three * floats(1, 0, 1, 0, 1), atol=1e-6)
    np.testing.assert_allclose(trials[COSINE].others[2], of_two * floats(0, 1, 0, 1, 0), atol=1e-6)


# --- intervals


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 5, 0, 0.5218), (1, 5, 0.0051, 0.7164), (5, 5, 0.4782, 1), (2, 10, 0.0252, 0.5561), (0, 0, 0, 1)],
)
def test_the_interval_of_a_share_in_numbers(count: int, total: int, low: float, high: float) -> None:
    """Of the tables of Clopper and Pearson."""
    assert calibrate.share_interval(count, total) == pytest.approx((low, high), abs=5e-5)


def test_a_prediction_gives_half_a_try_to_either_side() -> None:
    """Jeffreys' prior: after none of n, the next is one with (1/2) / (n + 1); from n = 20 on that is below 2.5 %."""
    assert calibrate.predicted_count(0, 18, 1) == (0, 1)
    assert calibrate.predicted_count(0, 20, 1) == (0, 0)
    assert calibrate.predicted_count(18, 18, 1) == (0, 1)
    assert calibrate.predicted_count(20, 20, 1) == (1, 1)


# --- scores


def test_a_mean_has_unit_length() -> None:
    np.testing.assert_allclose(calibrate.unit_mean(np.array([floats(3, 0), floats(0, 4)])), [0.6, 0.8], atol=1e-7)


def test_scores_are_of_the_kind_that_was_kept() -> None:
    rows, mean = Voices(np.array([floats(1, 0), floats(0, 1)])), floats(1, 0)
    np.testing.assert_allclose(calibrate.kind_scores(TRAINED, Half(), mean, rows), [5 / 6, 1 / 6], atol=1e-6)
    np.testing.assert_array_equal(calibrate.kind_scores(COSINE, Half(), mean, rows), [1, 0])
    np.testing.assert_array_equal(calibrate.kind_scores(TRAINED, None, mean, rows), [1, 0])


# --- what is taken off


def test_what_strangers_reach_is_taken_off_by_half_and_never_given_without_end() -> None:
    usual = np.r_[np.full(94, -0.5), np.full(6, calibrate.USUAL_SCORE)].astype(np.float32)
    assert calibrate.offset(usual) == pytest.approx(0, abs=1e-6)
    assert calibrate.offset(usual + np.float32(0.2)) == pytest.approx(0.1, abs=1e-6)
    assert calibrate.offset(usual - np.float32(0.06)) == pytest.approx(-0.03, abs=1e-6)
    assert calibrate.offset(usual - np.float32(0.5)) == calibrate.LOWEST_OFFSET


def test_only_the_nearest_strangers_count() -> None:
    scores = np.r_[np.full(94, -0.5), np.full(6, 0.4)].astype(np.float32)
    others = np.r_[np.full(94, 0.2), np.full(6, 0.4)].astype(np.float32)
    assert calibrate.offset(scores) == calibrate.offset(others)

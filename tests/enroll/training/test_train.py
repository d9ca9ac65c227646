"""What a training sees: rows, weights, and the head as it was shipped; no step is taken here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.head import HeadWeights, TrainBatch, TrainLoss
from earmark.enroll.training.train import TakeEmbeddings, TrainPlan, prototype, rows_of, train


def take(number: int, copies: int, weight: float = 1.0) -> TakeEmbeddings:
    """Every row of it is another number."""
    rows = np.arange(copies + 1, dtype=np.float32)[:, None] + 10 * number
    return TakeEmbeddings(rows[0], rows[1:], weight)


def test_a_variation_weighs_a_fifth_of_its_take() -> None:
    rows, weight, take_of_row = rows_of([take(1, 2), take(2, 0), take(3, 1)], TrainPlan(), 80)
    assert rows[:, 0].tolist() == [10, 11, 12, 20, 30, 31]
    assert weight.tolist() == pytest.approx([1, 0.2, 0.2, 1, 1, 0.2])
    assert take_of_row.tolist() == [0, 0, 0, 1, 2, 2]


def test_a_take_of_less_weight_has_variations_of_less() -> None:
    _, weight, _ = rows_of([take(1, 1), take(2, 1, weight=0.5)], TrainPlan(copy_weight=0.4), 80)
    assert weight.tolist() == pytest.approx([1, 0.4, 0.5, 0.2])


@pytest.mark.parametrize(("takes", "copies"), [(1, 6), (11, 6), (12, 5), (26, 2), (40, 1), (41, 0), (80, 0)])
def test_there_are_never_more_rows_than_the_head_has(takes: int, copies: int) -> None:
    rows, _, take_of_row = rows_of([take(number, 6) for number in range(takes)], TrainPlan(), 80)
    assert len(rows) == takes * (1 + copies) <= 80
    assert np.bincount(take_of_row).tolist() == [1 + copies] * takes


def test_takes_without_variations_leave_their_rows_to_the_others() -> None:
    """35 learned ones without, and 5 enrolled ones with six each: 40 + 30 rows."""
    takes = [*(take(number, 6) for number in range(5)), *(take(number, 0) for number in range(35))]
    assert len(rows_of(takes, TrainPlan(), 80)[0]) == 70
    assert len(rows_of(takes, TrainPlan(), 60)[0]) == 60
    assert len(rows_of(takes, TrainPlan(copies=2), 80)[0]) == 50


class Head:
    """Writes down what it is told; its projection leaves everything as it is."""

    take_rows, cohort_rows = 80, 4

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.batches: list[TrainBatch] = []
        self.weights: list[HeadWeights] = []

    def initialize(self) -> None:
        self.calls.append("initialize")

    def train(self, batch: TrainBatch, _learning_rate: float, _pull: float) -> TrainLoss:
        self.calls.append("train")
        self.batches.append(batch)
        return TrainLoss(float(len(self.batches)), 0.0, 0.0, 0.0)

    def get_weights(self) -> HeadWeights:
        return HeadWeights(np.array([[1 / 3]], np.float32), np.array([1 / 3], np.float32))

    def set_weights(self, weights: HeadWeights) -> None:
        self.calls.append("set_weights")
        self.weights.append(weights)

    def project(self, rows: Float32) -> Float32:
        self.calls.append("project")
        return rows


def test_a_training_begins_with_the_shipped_head_and_ends_with_what_is_stored() -> None:
    recorder = Head()
    head: Any = recorder
    told: list[tuple[int, float]] = []
    cohort = np.arange(6, dtype=np.float32)[:, None]
    plan = TrainPlan(steps=3)
    trained = train(head, [take(1, 1), take(2, 0)], cohort, plan, lambda step, loss: told.append((step, loss.total)))
    assert recorder.calls == ["initialize", "train", "train", "train", "set_weights", "project"]
    assert told == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [loss.total for loss in trained.losses] == [1.0, 2.0, 3.0]
    for batch in recorder.batches:
        np.testing.assert_array_equal(batch.cohort, cohort[:4], "no more than the head has rows for")
    third = float(np.float16(1 / 3))
    assert recorder.weights[0].projection.tolist() == trained.weights.projection.tolist() == [[third]]
    assert trained.weights.bias[0] == np.float32(1 / 3), "only the projection is stored in half precision"
    np.testing.assert_array_equal(trained.prototype, [1])


def test_a_prototype_is_the_weighted_mean_of_unit_length() -> None:
    head: Any = Head()
    rows, weight = np.eye(2, dtype=np.float32), np.array([3.0, 4.0], np.float32)
    np.testing.assert_allclose(prototype(head, rows, weight), [0.6, 0.8], rtol=1e-6)

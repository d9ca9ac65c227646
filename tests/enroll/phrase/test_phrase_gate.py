"""The trainable gate: what its signature does is what the formulas say."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.enroll.phrase.gate import Examples, PhraseGate
from earmark.models.phrase_head_net import INPUTS

LEARNING_RATE, PULL = 0.02, 1e-3


@pytest.fixture(scope="module")
def gate() -> PhraseGate:
    return PhraseGate()


def examples(count: int = 50) -> Examples:
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((count, INPUTS)).astype(np.float32) / 8
    is_phrase = (np.arange(count) % 3 == 0).astype(np.float32)
    return Examples(windows, is_phrase, rng.uniform(0.1, 2, count).astype(np.float32))


def numpy_steps(data: Examples, steps: int) -> tuple[list[float], Float32, float]:
    """Logistic regression by Adam, in float64 and nothing but numpy: losses, weights, bias."""
    windows, target, weight = (array.astype(np.float64) for array in data)
    at = np.zeros(INPUTS + 1)
    mean, square, losses = np.zeros_like(at), np.zeros_like(at), []
    for step in range(1, steps + 1):
        logits = windows @ at[:-1] + at[-1]
        costs = np.logaddexp(0, logits) - target * logits
        losses.append(float(costs @ weight / weight.sum() + PULL / 2 * at[:-1] @ at[:-1]))
        slope = weight * (1 / (1 + np.exp(-logits)) - target) / weight.sum()
        gradient = np.append(windows.T @ slope + PULL * at[:-1], slope.sum())
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        at -= LEARNING_RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return losses, at[:-1].astype(np.float32), float(at[-1])


@pytest.mark.parametrize("steps", [1, 7])
def test_training_steps_are_those_of_an_independent_numpy(gate: PhraseGate, steps: int) -> None:
    data = examples()
    gate.initialize()
    losses = [gate.train(data, LEARNING_RATE, PULL) for _ in range(steps)]
    weights, bias = gate.get_weights()
    wanted_losses, wanted, wanted_bias = numpy_steps(data, steps)
    assert losses == pytest.approx(wanted_losses, rel=1e-5)
    assert np.abs(weights.reshape(-1) - wanted).max() < 2e-3 * LEARNING_RATE * steps
    assert bias == pytest.approx(wanted_bias, abs=2e-3 * LEARNING_RATE * steps)


def test_rows_without_weight_change_nothing(gate: PhraseGate) -> None:
    data = examples()
    more = Examples(
        np.concatenate([data.windows, np.full((9, INPUTS), 7, np.float32)]),
        np.append(data.is_phrase, np.ones(9, np.float32)),
        np.append(data.weight, np.zeros(9, np.float32)),
    )
    made = []
    for each in (data, more):
        gate.initialize()
        gate.train(each, LEARNING_RATE, PULL)
        made.append(gate.get_weights())
    assert np.allclose(made[0][0], made[1][0], atol=1e-6)


def test_a_gate_begins_at_zero_each_time(gate: PhraseGate) -> None:
    data = examples()
    gate.initialize()
    first = gate.train(data, LEARNING_RATE, PULL)
    assert first == pytest.approx(np.log(2), rel=1e-5)
    assert gate.train(data, LEARNING_RATE, PULL) < first
    gate.initialize()
    assert np.all(gate.get_weights()[0] == 0)
    assert gate.train(data, LEARNING_RATE, PULL) == first

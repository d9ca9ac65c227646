"""Without a network that learns: the mean cosine to every take, a support vector machine, a logistic regression.

* `references`: the mean of the cosines to all takes, as Apple described for "Personalized Hey Siri" (Machine Learning
  Journal, 2018).
* `svm`: a linear support vector machine on frozen embeddings (C. Cortes and V. Vapnik, 1995).
* `logistic`: a logistic regression on the same, both sides of equal weight.

Each comes to a direction and a shift. That is what is stored, so who only asks needs none of the libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import TrainerMissing
from earmark.engine.networks.trained.kinds import REFERENCES

from ..train import rows_of
from .base import Learned, Lesson, Voices, each_alone, mean_of, onto_cosine

LOGISTIC_PENALTY = 1e-3  # of the squared weights, per row: scikit-learn's C = 1 for 5 takes and 1,000 impostors
SVM_C = 1.0  # scikit-learn's own; of {0.1, 1, 10} no other was better on people of both folds
SVM_SEED = 0
MOST_ROWS = 4096  # of takes and variations: no limit that anybody meets

Floats = npt.NDArray[np.float64]
Fit = Callable[[Float32, Float32, Float32], "tuple[Float32, float]"]
"""(n, d) own rows, (n,) their weights, (k, d) strangers -> (d,) direction and shift of the decision."""


class LearnedDirection:
    """Scores by directions."""

    def __init__(self, direction: Float32, shift: Float32) -> None:
        self._direction, self._shift = direction, shift

    def score(self, tries: Voices) -> Float32:
        """As of `Learned`."""
        scores: Float32 = tries.embeddings @ self._direction[0] + self._shift[0]
        return scores

    def fields(self) -> dict[str, Any]:
        """As of `Learned`."""
        return {"model": {"direction": self._direction, "shift": self._shift}}


class References:
    """The mean cosine to every stored take; to those of a condition for its prototype."""

    name = REFERENCES

    def strangers(self) -> tuple[Voices, Voices] | None:
        """As of `Trainer`."""
        return None

    def left_out(self, takes: int) -> list[list[int]]:
        """As of `Trainer`."""
        return each_alone(takes)

    def train(self, lesson: Lesson) -> Learned:
        """As of `Trainer`; nobody trains here."""
        weight = np.array([take.weight for take in lesson.takes], np.float32)
        rows = [weight @ np.array([take.clean for take in lesson.takes]) / weight.sum()]
        away = [take.elsewhere for take in lesson.takes if take.elsewhere.size]
        rows += [*np.mean(away, axis=0)] if away else []
        strangers = lesson.measured.embeddings
        slope, shift = onto_cosine(strangers @ rows[0], strangers @ mean_of(lesson.takes))
        direction = np.float32(slope) * np.array(rows, np.float32)
        return LearnedDirection(direction, np.full(len(rows), shift, np.float32))


class Linear:
    """A linear classifier of takes and their variations against strangers; one direction for all conditions."""

    def __init__(self, name: str, fit: Fit) -> None:
        self.name, self._fit = name, fit

    def strangers(self) -> tuple[Voices, Voices] | None:
        """As of `Trainer`."""
        return None

    def left_out(self, takes: int) -> list[list[int]]:
        """As of `Trainer`."""
        return each_alone(takes)

    def train(self, lesson: Lesson) -> Learned:
        """As of `Trainer`."""
        rows, weight, _ = rows_of(lesson.takes, lesson.plan, MOST_ROWS)
        direction, bias = self._fit(rows, weight, lesson.strangers.embeddings)
        strangers = lesson.measured.embeddings
        slope, shift = onto_cosine(strangers @ direction + np.float32(bias), strangers @ mean_of(lesson.takes))
        scaled = np.float32(slope) * direction
        return LearnedDirection(scaled[None], np.array([slope * bias + shift], np.float32))


def by_svm(own: Float32, weight: Float32, others: Float32) -> tuple[Float32, float]:
    """A linear support vector machine, both sides of equal weight.

    Raises:
        TrainerMissing: scikit-learn is not installed.
    """
    try:
        from sklearn.svm import LinearSVC  # in an extra; 40 MB and half a second
    except ImportError as error:
        raise TrainerMissing(
            "the trainer `svm` needs scikit-learn: `pip install 'earmark[svm]'`, or choose another one"
        ) from error
    rows, sign, each = _both(own, weight, others)
    machine = LinearSVC(C=SVM_C, random_state=SVM_SEED, dual=True, max_iter=10_000)
    machine.fit(rows, sign, sample_weight=each * len(rows))
    return machine.coef_[0].astype(np.float32), float(machine.intercept_[0])


def by_logistic(own: Float32, weight: Float32, others: Float32) -> tuple[Float32, float]:
    """A logistic regression, both sides of equal weight: log odds."""
    rows, sign, each = _both(own, weight, others)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        direction, bias = parameters[:-1], parameters[-1]
        margin = sign * (rows @ direction + bias)
        pushed = -each * sign / (1 + np.exp(margin))
        value = float(each @ np.logaddexp(0, -margin) + LOGISTIC_PENALTY / 2 * direction @ direction)
        return value, np.r_[rows.T @ pushed + LOGISTIC_PENALTY * direction, pushed.sum()]

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return found[:-1].astype(np.float32), float(found[-1])


def _both(own: Float32, weight: Float32, others: Float32) -> tuple[Floats, Floats, Floats]:
    """Rows, signs and weights of both sides, each side of half the weight."""
    rows = np.concatenate([own, others]).astype(np.float64)
    sign = np.r_[np.ones(len(own)), -np.ones(len(others))]
    each = np.r_[0.5 * weight / weight.sum(), np.full(len(others), 0.5 / len(others))]
    return rows, sign, each

"""The head's training step once more, in float64 with the gradient worked out by hand.

Shares no code and no constant with the recipe, so that a mistake in either shows. Sizes are free.
Sources: prototypes J. Snell et al. 2017; Adam D. Kingma and J. Ba 2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SCALE = 20.0
MARGIN = 0.1
START_BIAS = 0.5
FLOOR = 1e-12


class Loss(NamedTuple):
    """The parts and their sum."""

    loss: float
    take_loss: float
    cohort_loss: float
    pull_loss: float


class _Unit:
    """Rows of length 1, and the way back: d(a / |a|) = (da - u (u . da)) / |a|."""

    def __init__(self, rows: Array) -> None:
        self._inverse = 1.0 / np.sqrt(np.sum(rows**2, axis=1, keepdims=True) + FLOOR)
        self.rows: Array = rows * self._inverse

    def back(self, gradient: Array) -> Array:
        along = np.sum(gradient * self.rows, axis=1, keepdims=True)
        return np.asarray(self._inverse * (gradient - self.rows * along))


class _Adam:
    """The moments of one variable."""

    def __init__(self) -> None:
        self._steps = 0
        self._mean: Array = np.zeros(())
        self._square: Array = np.zeros(())

    def direction(self, gradient: Array) -> Array:
        """What to go against, before the learning rate."""
        self._steps += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * gradient**2
        mean = self._mean / (1 - 0.9**self._steps)
        square = self._square / (1 - 0.999**self._steps)
        return np.asarray(mean / (np.sqrt(square) + 1e-8))


class NumpyHead:
    """The state and its step. `projection` and `bias` are public; `train` moves them."""

    def __init__(self, projection: Array, centre: Array) -> None:
        self.start = np.array(projection, np.float64)
        self.centre = np.array(centre, np.float64)
        self.projection = self.start.copy()
        self.bias = START_BIAS
        self._projection_adam = _Adam()
        self._bias_adam = _Adam()

    def infer(self, embeddings: Array, prototype: Array) -> dict[str, Array]:
        """(rows, sizes) and one prototype (1, size) -> score (rows,) and projected (rows, size)."""
        projected = self._project(embeddings).rows
        return {
            "score": (projected @ _Unit(prototype.astype(np.float64)).rows.T)[:, 0],
            "projected": projected,
        }

    def train(
        self,
        takes: Array,
        take_weight: Array,
        take_of_row: Array,
        cohort: Array,
        cohort_weight: Array,
        learning_rate: Array,
        pull: Array,
    ) -> Loss:
        """One Adam step; the loss is the one before it."""
        loss, by_projection, by_bias = self.gradients(
            takes, take_weight, take_of_row, cohort, cohort_weight, float(pull[0])
        )
        rate = float(learning_rate[0])
        self.projection = self.projection - rate * self._projection_adam.direction(by_projection)
        self.bias -= rate * float(self._bias_adam.direction(np.array(by_bias)))
        return loss

    def gradients(
        self,
        takes: Array,
        take_weight: Array,
        take_of_row: Array,
        cohort: Array,
        cohort_weight: Array,
        pull: float,
    ) -> tuple[Loss, Array, float]:
        """Loss, its gradient by the projection, its gradient by the bias."""
        w = take_weight.astype(np.float64)
        cw = cohort_weight.astype(np.float64)
        mine, others = self._project(takes), self._project(cohort)
        u, v = mine.rows, others.rows
        u_gradient, v_gradient = np.zeros_like(u), np.zeros_like(v)

        # Every take against the prototype of the other takes, and the cohort.
        share = w / max(float(np.sum(w)), FLOOR)
        mask = (take_of_row[:, None] != take_of_row[None, :]) * w
        own_prototype = _Unit(mask @ u)
        p = own_prototype.rows
        own = SCALE * (np.sum(u * p, axis=1) - MARGIN)
        other = cw * np.exp(SCALE * (u @ v.T))
        total = np.exp(own) + np.sum(other, axis=1)
        take_loss = float(np.sum(share * (np.log(total) - own)))
        own_gradient = SCALE * (share * (np.exp(own) / total - 1.0))[:, None]
        other_gradient = SCALE * share[:, None] * other / total[:, None]
        u_gradient += own_gradient * p + other_gradient @ v
        v_gradient += other_gradient.T @ u
        u_gradient += mask.T @ own_prototype.back(own_gradient * u)

        # The cohort against the prototype of all takes.
        cohort_share = cw / max(float(np.sum(cw)), FLOOR)
        prototype = _Unit((w @ u)[None])
        excess = SCALE * (v @ prototype.rows[0] - self.bias)
        cohort_loss = float(np.sum(cohort_share * np.logaddexp(0.0, excess)))
        excess_gradient = SCALE * cohort_share * np.exp(-np.logaddexp(0.0, -excess))
        v_gradient += excess_gradient[:, None] * prototype.rows
        u_gradient += w[:, None] * prototype.back((excess_gradient @ v)[None])

        moved = self.projection - self.start
        pull_loss = pull * float(np.sum(moved**2))
        projection_gradient = (
            (takes - self.centre).T @ mine.back(u_gradient)
            + (cohort - self.centre).T @ others.back(v_gradient)
            + 2.0 * pull * moved
        )
        loss = Loss(take_loss + cohort_loss + pull_loss, take_loss, cohort_loss, pull_loss)
        return loss, projection_gradient, -float(np.sum(excess_gradient))

    def _project(self, embeddings: Array) -> _Unit:
        return _Unit((embeddings.astype(np.float64) - self.centre) @ self.projection)

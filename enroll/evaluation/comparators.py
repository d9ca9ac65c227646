"""What the trained head is measured against: other scores of the same takes, each with a threshold of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from earmark.engine.audio.samples import Float32
from earmark.engine.people.store import Voiceprint

from ..enrolment import Enroller
from ..training import calibrate

LOGISTIC_PENALTY = 1e-3  # of the squared weights, per trial: scikit-learn's C = 1 for the 5 takes and 1000 impostors

Floats = npt.NDArray[np.float64]
Comparator = Callable[[Enroller, Voiceprint, Float32], Float32]
"""Enroller, person and (n, d) embeddings -> (n,) scores less the threshold."""


def cosine(_enroller: Enroller, person: Voiceprint, embeddings: Float32) -> Float32:
    """The plain cosine to the mean of the takes."""
    margins: Float32 = embeddings @ person.centroid - np.float32(person.report["cosine_threshold"])
    return margins


def logistic(enroller: Enroller, person: Voiceprint, embeddings: Float32) -> Float32:
    """Logistic regression, own takes against the cohort, both sides of equal weight: log odds."""
    to_train, to_measure = enroller.cohorts(person.keyword, person.centroid)
    scores = _fit(person.takes, to_train)
    own = None
    if len(person.takes) > 1:
        rest = [np.delete(person.takes, number, axis=0) for number in range(len(person.takes))]
        left_out = [float(_fit(others, to_train)(take[None])[0]) for take, others in zip(person.takes, rest)]
        own = np.array(left_out, np.float32)
    threshold = calibrate.halfway(scores(to_measure), own, person.report["wanted_far"])
    margins: Float32 = scores(embeddings) - np.float32(threshold)
    return margins


def _fit(own: Float32, others: Float32) -> Callable[[Float32], Float32]:
    rows = np.concatenate([own, others]).astype(np.float64)
    sign = np.r_[np.ones(len(own)), -np.ones(len(others))]
    weight = np.r_[np.full(len(own), 0.5 / len(own)), np.full(len(others), 0.5 / len(others))]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        direction, bias = parameters[:-1], parameters[-1]
        margin = sign * (rows @ direction + bias)
        pushed = -weight * sign / (1 + np.exp(margin))
        value = float(weight @ np.logaddexp(0, -margin) + LOGISTIC_PENALTY / 2 * direction @ direction)
        return value, np.r_[rows.T @ pushed + LOGISTIC_PENALTY * direction, pushed.sum()]

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x.astype(np.float32)
    return lambda embeddings: embeddings @ found[:-1] + found[-1]


COMPARATORS: dict[str, Comparator] = {"cosine": cosine, "logistic": logistic}

"""What the trained head is measured against: other scores of the same takes, each with a threshold of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.people.store import Voiceprint

from ..enrolment import Enroller
from ..training import calibrate
from ..training.trainers.linear import by_logistic

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
    direction, bias = by_logistic(own, np.ones(len(own), np.float32), others)
    return lambda embeddings: embeddings @ direction + np.float32(bias)


COMPARATORS: dict[str, Comparator] = {"cosine": cosine, "logistic": logistic}

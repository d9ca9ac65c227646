"""How much a clipped and noised vector tells of a home, and the noise for as little as is wanted.

The Gaussian mechanism, seen as a test of one home's vector against any other that is clipped alike: two normal
distributions whose means are `mu` deviations apart (J. Dong, A. Roth, W. Su, "Gaussian Differential Privacy", 2022).
Several releases are one with the root of the summed squares (corollary 3.3 there), however each was chosen after the
others. Nothing is gained from who else took part: the noise of a home has to suffice alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

import numpy as np

from earmark.engine.audio.samples import Float32

DELTA = 1e-5
"""The share of cases in which more may be told than ε says; less than one of a hundred thousand homes."""
MOST_EPSILON = 500.0  # more is no privacy, and exp of twice that is not a number any more


def mu_of(clip: float, deviation: float) -> float:
    """How many deviations two vectors of at most this length can be apart: they may point in opposite directions."""
    return 2 * clip / deviation


def together(mus: Iterable[float]) -> float:
    """Of several releases of the same home."""
    return math.sqrt(sum(mu * mu for mu in mus))


def epsilon(mu: float, delta: float = DELTA) -> float:
    """The least ε that holds with this δ (B. Balle and Y.-X. Wang, 2018, theorem 8); infinite beyond 500."""
    low, high = 0.0, MOST_EPSILON
    if mu <= 0 or _delta(0.0, mu) <= delta:
        return 0.0
    if _delta(high, mu) > delta:
        return math.inf
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _delta(middle, mu) > delta else (low, middle)
    return high


def mu_for(wanted: float, delta: float = DELTA) -> float:
    """The most `mu` of which ε is not more than wanted, 0 < wanted < 500."""
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon(middle, delta) <= wanted else (low, middle)
    return low


def clipped(vector: Float32, length: float) -> Float32:
    """The same direction, and at most this length."""
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    return vector if norm <= length else (vector * np.float32(length / norm)).astype(np.float32)


def noised(vector: Float32, deviation: float) -> Float32:
    """With normal noise in every number. The seed is the system's, 256 bits, and is never known to anybody."""
    noise = np.random.default_rng(int.from_bytes(os.urandom(32), "big")).standard_normal(vector.shape)
    return (vector + deviation * noise).astype(np.float32)


def _delta(wanted: float, mu: float) -> float:
    """Equation 6 of Balle and Wang, with the tails from erfc: their difference keeps its digits."""

    def tail(x: float) -> float:
        return math.erfc(x / math.sqrt(2)) / 2

    return tail(wanted / mu - mu / 2) - math.exp(wanted) * tail(wanted / mu + mu / 2)

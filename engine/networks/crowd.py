"""The most that a try can score with each of many people: two products of matrices instead of a head for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..audio.samples import Float32
from .conditions import Open

# Of sums of 192 products of float32, in numpy's order or in the runtime's, a hundred times over
ROUNDING = np.float32(1e-4)


class Asked(NamedTuple):
    """What one person is asked with; the score of an embedding e is the largest over the prototypes p of

    ``(1 - share) e·p + share cos(Wᵀ(e - c), q) - taken_off``, where c is the head's centre, and q is `own` for the
    first and Wᵀ(p - c) for the others.
    """

    prototypes: Float32
    """(k, d) unit rows."""
    projection: Float32
    """(d, p) W; of any size where `share` is 0."""
    own: Float32
    """(p,) of unit length."""
    share: float
    """Of the head, 0…1."""
    taken_off: Float32
    """(k,)."""


class Start(NamedTuple):
    """What training begins with."""

    projection: Float32
    """(d, p) W₀."""
    centre: Float32
    """(d,) c: constant, taken off whatever is projected."""


class Bound(NamedTuple):
    """What is kept of one person: five times less than the projection."""

    prototypes: Float32
    """(k, d)."""
    seen_back: Float32
    """(k, d) rows ``W q``, q of unit length: ``d·(W q)`` is ``Wᵀd·q``."""
    moved: float
    """At least the spectral norm of what training has moved the projection by."""
    share: float
    taken_off: Float32
    """(k,)."""


def bound_of(asked: Asked, start: Start) -> Bound | None:
    """What `most` needs of a person; None: the numbers are not of the networks in use."""
    prototypes, projection = asked.prototypes, asked.projection
    if prototypes.shape != (len(asked.taken_off), len(start.centre)):
        return None
    if not (np.isfinite(prototypes).all() and np.isfinite(asked.taken_off).all()):
        return None
    if not asked.share:
        return Bound(prototypes, np.zeros_like(prototypes), 0.0, 0.0, asked.taken_off)
    if projection.shape != start.projection.shape or asked.own.shape != projection.shape[1:]:
        return None
    projected = (prototypes - start.centre) @ projection
    projected[0] = asked.own
    lengths = np.linalg.norm(projected, axis=1)
    moved = _at_most(projection - start.projection)
    if not np.isfinite(moved) or not 0 < lengths[0] < 1 + ROUNDING:
        return None
    seen_back = projected / np.maximum(lengths, np.float32(1e-6))[:, None] @ projection.T
    return Bound(prototypes, seen_back, moved, asked.share, asked.taken_off)


def most_of(bound: Bound, projection: Float32, centre: Float32, embedding: Float32, may: Open) -> float:
    """The score of a (d,) embedding of unit length with one person, but for `ROUNDING`, which is added."""
    scores = (1 - bound.share) * (bound.prototypes @ embedding) - bound.taken_off
    if bound.share:
        apart = embedding - centre
        length = np.linalg.norm(apart @ projection)
        scores += bound.share * (bound.seen_back @ apart) / np.maximum(length, np.float32(1e-6))
    return float(np.clip(scores[may[: len(scores)]].max(), -1, 1)) + float(ROUNDING)


def _at_most(matrix: Float32) -> float:
    """A bound of its spectral norm: the eighth root of the sum of the eighth powers of its singular values.

    They are those of ``(MᵀM)²``, squared; a singular value decomposition would take ten times as long.
    """
    gram = matrix.T @ matrix
    return float(np.linalg.norm(gram @ gram) ** 0.25)


class Crowd:
    """Many people, asked at once.

    For d = e - c, an embedding less the head's centre, and q of unit length::

        cos(Wᵀd, q) = d·(W q) / |Wᵀd|         and
        |Wᵀd| = |W₀ᵀd + (W - W₀)ᵀd| >= |W₀ᵀd| - |W - W₀| |d|

    with W₀ the shipped projection and the spectral norm of the difference. So where d·(W q) is positive the cosine is
    at most that over the right side, and at most 1; where it is not, it is at most 0. What stands there for the norm
    is not below it (`_at_most`). Sums are rounded: `ROUNDING` is added.
    """

    def __init__(self, bounds: Sequence[Bound], start: Start) -> None:
        self.start = start
        self._starts = np.cumsum([0, *(len(bound.prototypes) for bound in bounds)])[:-1]
        self._prototypes = np.concatenate([bound.prototypes for bound in bounds])
        self._seen_back = np.concatenate([bound.seen_back for bound in bounds])
        self._taken_off = np.concatenate([bound.taken_off for bound in bounds])
        counts = [len(bound.prototypes) for bound in bounds]
        self._number = np.concatenate([np.arange(count) for count in counts])
        self._moved = np.repeat([bound.moved for bound in bounds], counts).astype(np.float32)
        self._share = np.repeat([bound.share for bound in bounds], counts).astype(np.float32)
        self.bounds = [
            bound._replace(
                prototypes=self._prototypes[first : first + count],
                seen_back=self._seen_back[first : first + count],
                taken_off=self._taken_off[first : first + count],
            )
            for bound, first, count in zip(bounds, self._starts.tolist(), counts)
        ]
        """The same, without memory of their own."""

    def most(self, embedding: Float32, may: Open) -> Float32:
        """(n,) no person's score of a (d,) embedding of unit length is larger; `may` says which prototypes count."""
        apart = embedding - self.start.centre
        length = np.linalg.norm(apart @ self.start.projection) - self._moved * np.linalg.norm(apart)
        along = np.maximum(self._seen_back @ apart, 0) + ROUNDING
        trained = np.minimum(along / np.maximum(length, np.float32(1e-6)), 1)
        scores = (1 - self._share) * (self._prototypes @ embedding) + self._share * trained - self._taken_off
        scores = np.where(may[self._number], scores, np.float32(-1))
        most: Float32 = np.maximum.reduceat(np.clip(scores, -1, 1), self._starts) + ROUNDING
        return most

"""The home's own impostors: which of the rejected wakes may stand for strangers.

Who was rejected may still have been the owner, hoarse or beside the television, and an owner among the strangers
would be trained against and counted as one let in. So it is not the threshold that decides: a wake is an impostor
only if it lies far below the threshold of everybody enrolled, and far from every single take and variation of one.
scripts/studies/home.py counts the owners' rejected tries and the strangers who pass both (docs/research/learning.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.conditions import ANYWHERE
from earmark.engine.people.store import Voiceprint
from earmark.engine.verifier import Verifier

BELOW = 0.2  # the threshold: of scores
APART = 0.5  # cosine; of the owners' 135 rejected wakes 5 pass both, of other people's 8,612 6,407


@dataclass(frozen=True)
class HomeImpostors:
    """Who is not enrolled, and was heard here."""

    impostors: Float32
    """(m, d) of rejected wakes, by the rule below."""
    strangers: Float32
    """(k, d) of wakes of which somebody said that they are a stranger's."""

    @property
    def everybody(self) -> Float32:
        """(m + k, d)."""
        return np.concatenate([self.strangers, self.impostors])

    @classmethod
    def nobody(cls, size: int) -> HomeImpostors:
        """A home in which nothing was heard yet; `size` is the embedding's."""
        none = np.zeros((0, size), np.float32)
        return cls(none, none)


def impostors(embeddings: Float32, people: Iterable[Voiceprint], verifier: Verifier) -> Float32:
    """(m, d) embeddings of rejected wakes -> (k, d), those that are nobody's who is enrolled.

    Args:
        embeddings: unit rows.
        people: everybody, for whatever wake word: the owner of another one is no stranger either.
        verifier: scores them; its own people do not matter.
    """
    keep = np.ones(len(embeddings), bool)
    for person in people:
        varied = [rows.reshape(-1, person.takes.shape[1]) for rows in (person.copies, person.elsewhere)]
        own = np.concatenate([person.takes, *map(unit_rows, varied)])
        near = (embeddings @ own.T).max(axis=1, initial=-1.0) >= APART
        keep &= (verifier.margin(person, embeddings, ANYWHERE) < -BELOW) & ~near
    kept: Float32 = embeddings[keep]
    return kept


def unit_rows(rows: Float32) -> Float32:
    """(n, d) -> the same rows, of unit length again after they were rounded."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Float32 = rows / np.maximum(lengths, np.float32(1e-12))
    return scaled

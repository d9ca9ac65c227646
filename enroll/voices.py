"""Whether takes are all of one voice.

A take's score is its cosine to the mean of the other takes, both through the shipped projection, normalised by what
strangers score against either: symmetric normalisation with the nearest of the cohort (S. Shum et al., "Unsupervised
Speaker Adaptation based on the Cosine Similarity", 2010; adaptive cohort as in S. Cumani et al., 2011). So the same
number means the same whether a home's microphone makes all voices alike or not.
"""

from __future__ import annotations

import numpy as np

from earmark.engine.audio import Float32
from earmark.engine.head import SpeakerHead

NEAREST = 50  # strangers of the cohort; 50 to 300 and all of them find equally many, 50 holds best on both corpora
ODD_BELOW = {2: 0.2, 3: 1.0, 4: 1.4, 5: 1.7}
"""Number of takes -> the score below which one is another voice's; found on asc and dsp, docs/quality.md."""


def limit(takes: int) -> float:
    """The score below which one of so many takes, 2 or more, is odd."""
    return ODD_BELOW[min(takes, max(ODD_BELOW))]


class Voices:
    """Compares takes of one wake word.

    Args:
        head: whose shipped projection is used; its weights are put back to it at every call.
        cohort: (k, 512) embeddings of strangers.
    """

    def __init__(self, head: SpeakerHead, cohort: Float32) -> None:
        self._head = head
        head.initialize()
        self._cohort = head.project(cohort)

    def scores(self, embeddings: Float32) -> Float32:
        """(n, 512) -> (n,): how well each take fits the others, in standard deviations of strangers; n ≥ 2."""
        self._head.initialize()
        rows = self._head.project(embeddings)
        rest = rows.sum(axis=0) - rows
        rest /= np.linalg.norm(rest, axis=1, keepdims=True)
        cosines = np.sum(rows * rest, axis=1)
        scores: Float32 = (self._normalised(cosines, rows) + self._normalised(cosines, rest)) / np.float32(2)
        return scores

    def odd(self, embeddings: Float32, least: int = 2) -> dict[int, float]:
        """Row number -> score of those of (n, 512) takes that are not of the voice of most.

        Of two the later one is odd. With fewer than `least` takes none is.
        """
        left = list(range(len(embeddings)))
        odd: dict[int, float] = {}
        while len(left) >= max(least, 2) and 2 * len(odd) < len(embeddings) - 1:
            scores = self.scores(embeddings[left])
            at = 1 if len(left) == 2 else int(np.argmin(scores))
            if scores[at] >= limit(len(left)):
                break
            odd[left.pop(at)] = float(scores[at])
            if len(left) < 3:
                break
        return odd

    def _normalised(self, cosines: Float32, rows: Float32) -> Float32:
        """(n,) cosines in terms of what the nearest strangers score against (n, 128) rows."""
        count = min(NEAREST, len(self._cohort))
        nearest = np.sort(rows @ self._cohort.T, axis=1)[:, -count:]
        normalised: Float32 = (cosines - nearest.mean(axis=1)) / nearest.std(axis=1)
        return normalised

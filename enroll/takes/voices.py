"""Whether takes are all of one voice: a take's score is its cosine to the mean of the other takes.

How often another voice is found, and one's own blamed: docs/research/quality.md, "Another voice among five takes".
"""

from __future__ import annotations

import numpy as np

from earmark.engine.audio.samples import Float32

ODD_BELOW = {2: 0.50, 3: 0.52, 4: 0.53, 5: 0.54}
"""Number of takes -> the score below which one is another voice's; found on the people of fold 0 of asc and dsp."""


def limit(takes: int) -> float:
    """The score below which one of so many takes, 2 or more, is odd."""
    return ODD_BELOW[min(takes, max(ODD_BELOW))]


def scores(embeddings: Float32) -> Float32:
    """(n, d) unit rows -> (n,): how well each take fits the others, a cosine; n ≥ 2."""
    rest = embeddings.sum(axis=0) - embeddings
    rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), np.float32(1e-9))
    cosines: Float32 = np.sum(embeddings * rest, axis=1)
    return cosines


def odd(embeddings: Float32, least: int = 2) -> dict[int, float]:
    """Row number -> score of those of (n, d) takes that are not of the voice of most.

    Of two the later one is odd. With fewer than `least` takes none is.
    """
    left = list(range(len(embeddings)))
    found: dict[int, float] = {}
    while len(left) >= max(least, 2) and 2 * len(found) < len(embeddings) - 1:
        each = scores(embeddings[left])
        at = 1 if len(left) == 2 else int(np.argmin(each))
        if each[at] >= limit(len(left)):
            break
        found[left.pop(at)] = float(each[at])
        if len(left) < 3:
            break
    return found

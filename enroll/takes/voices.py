"""Whether takes are all of one voice: a take's score is its cosine to the mean of the other takes.

How often another voice is found, and one's own blamed: docs/research/quality.md, "Another voice among five takes" and
"Two voices among the takes".
"""

from __future__ import annotations

import numpy as np

from earmark.engine.audio.samples import Float32

ODD_BELOW = {2: 0.50, 3: 0.52, 4: 0.53, 5: 0.54}
"""Number of takes -> the score below which one is another voice's; found on the people of fold 0 of asc and dsp."""

TWO_BELOW, TWO_CONTRAST, TWO_ALIKE = 0.60, 0.20, 0.5
"""Two groups of takes are of two people where the cosine of their means is below the first, and takes are by more
than the second more like their own group than like the other, and like their own by the third at least, in the mean;
found on the people of both folds of asc and dsp."""


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


def two_groups(embeddings: Float32) -> tuple[list[int], list[int]] | None:
    """Row numbers of two groups of (n, d) takes that are of two people, the smaller first; None: they are of one.

    Two people who share five takes are not found by `odd`: each take has one of its own voice among the others. Of
    all ways to part the takes along the direction in which they differ most, two and more on each side, the one
    counts that parts them best.
    """
    best, contrast = None, TWO_CONTRAST
    cosines = embeddings @ embeddings.T
    apart = embeddings - embeddings.mean(axis=0)
    along = np.argsort(np.linalg.svd(apart, full_matrices=False)[0][:, 0], kind="stable")
    for cut in range(2, len(embeddings) - 1):
        groups = along[:cut], along[cut:]
        inside = [cosines[np.ix_(group, group)][np.triu_indices(len(group), 1)] for group in groups]
        means = [embeddings[group].sum(axis=0) for group in groups]
        between = float(means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1])))
        found = float(np.concatenate(inside).mean() - cosines[np.ix_(*groups)].mean())
        are_voices = min(map(np.mean, inside)) >= TWO_ALIKE  # and no two takes that are like nothing
        if found > contrast and between < TWO_BELOW and are_voices:
            best, contrast = groups, found
    if best is None:
        return None
    smaller, larger = sorted((sorted(map(int, group)) for group in best), key=len)
    return smaller, larger

"""The field's error rates, from scores of own tries (targets) and of strangers (impostors), as fractions of 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]


def error_rates(targets: Scores, impostors: Scores) -> tuple[Scores, Scores, Scores]:
    """Thresholds (n,), and FRR and FAR (n,) at each: accepted is what scores at least the threshold."""
    thresholds = np.unique(np.concatenate([targets, impostors]))
    frr = np.searchsorted(np.sort(targets), thresholds) / len(targets)
    far = 1 - np.searchsorted(np.sort(impostors), thresholds) / len(impostors)
    return thresholds, frr, far


def eer(targets: Scores, impostors: Scores) -> float:
    """Equal error rate: where FRR and FAR meet."""
    _, frr, far = error_rates(targets, impostors)
    nearest = int(np.abs(frr - far).argmin())
    return float(frr[nearest] + far[nearest]) / 2


def frr_at_far(targets: Scores, impostors: Scores, far: float) -> float:
    """Share of own tries rejected where a share `far` of the strangers is let in."""
    return float(np.mean(targets < np.quantile(impostors, 1 - far)))

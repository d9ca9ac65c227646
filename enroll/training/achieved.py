"""What an enrolment achieved, by takes the model had not seen and strangers it was not trained against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32

from ..layout import table
from .calibrate import share_interval


@dataclass(frozen=True)
class Achieved:
    """The scores of one kind, and the threshold between them."""

    threshold: float
    own: Float32
    """(n,): the takes, each left out in turn; none of a single take."""
    cohort: Float32
    """(k,): strangers from the shipped cohort."""
    others: Float32
    """(m,): other people of the home, who also trained; none where none were recorded."""

    def to_json(self) -> dict[str, Any]:
        """FRR and FAR with counts. The 95 % interval of the FRR is that of Clopper and Pearson: wide, as it must be
        where five takes are all there is."""
        rejected, accepted = int(np.sum(self.own < self.threshold)), int(np.sum(self.cohort >= self.threshold))
        return {
            "threshold": _rounded(self.threshold),
            "frr": {
                "rejected": rejected,
                "of": len(self.own),
                "ci95": [_rounded(bound) for bound in share_interval(rejected, len(self.own))],
            },
            "far": {"accepted": accepted, "of": len(self.cohort), "share": _rounded(accepted / len(self.cohort))},
        }


def lines(
    report: Mapping[str, Any], kept: str, names: Mapping[str, str], columns: int | None = None, indent: int = 2
) -> list[str]:
    """A table for people of the `achieved` part of a report; the kept kind first and marked.

    No line is wider than `columns`; None: they may have any length.
    """
    rows = []
    for kind in sorted(report, key=lambda each: each != kept):
        frr, far = report[kind]["frr"], report[kind]["far"]
        low, high = (100 * bound for bound in frr["ci95"])
        own = (
            f"{frr['rejected']} of {frr['of']} ({low:.0f} to {high:.0f} %)" if frr["of"] else "one take says nothing"
        )
        mark = "*" if kind == kept else " "
        let_in = f"{far['accepted']} of {far['of']} ({100 * far['share']:.1f} %)"
        rows.append((f"{mark} {names[kind]}", f"{report[kind]['threshold']:.2f}", own, let_in))
    return table(("  score", "threshold", "own takes rejected", "strangers let in"), rows, columns, indent)


def _rounded(value: float) -> float:
    return round(float(value), 4)

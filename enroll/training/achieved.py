"""What an enrolment achieved, by takes the model had not seen and strangers it was not trained against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32

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


def lines(report: Mapping[str, Any], kept: str, names: Mapping[str, str]) -> list[str]:
    """A table for people of the `achieved` part of a report; the kept kind first and marked."""
    rows = []
    for kind in sorted(report, key=lambda each: each != kept):
        frr, far = report[kind]["frr"], report[kind]["far"]
        low, high = (100 * bound for bound in frr["ci95"])
        own = (
            f"{frr['rejected']} of {frr['of']} ({low:.0f} to {high:.0f} %)" if frr["of"] else "one take says nothing"
        )
        mark = "*" if kind == kept else " "
        rows.append(
            f"  {mark} {names[kind]:<24}{report[kind]['threshold']:>10.2f}  {own:<26}"
            f"{far['accepted']} of {far['of']} ({100 * far['share']:.1f} %)"
        )
    return [f"    {'score':<24}{'threshold':>10}  {'own takes rejected':<26}strangers let in", *rows]


def _rounded(value: float) -> float:
    return round(float(value), 4)

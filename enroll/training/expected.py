"""How often a person will be heard, as one share: what came of the tries of real people who enrolled alike.

The numbers for five takes are from docs/research/expected.md (scripts/studies/expected.py), the others from "By
number of takes" in docs/research/accuracy.md; in both, each set counts half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

REJECTED = {1: (0.20, 2.0), 2: (0.105, 2.2), 3: (0.06, 2.6), 5: (0.04, 3.1)}
"""Takes -> the share of own tries that is rejected where 1 % of strangers are wanted and no own take was rejected;
how many times as much it is for each tenth of the strangers. More than five takes count as five."""
REJECTED_TAKES_COUNT = 0.25
"""What the share of own takes that are rejected when left out adds; less than itself, for four takes score lower."""


def heard_share(report: Mapping[str, Any], takes: int, people: int = 1) -> float:
    """The share of a person's tries that will be heard, 0…1, said as the takes were.

    Args:
        report: of the enrolment, with `wanted_far` and `expected_frr`.
        takes: how many the voiceprint has, 1 or more.
        people: so many are enrolled for the wake word, and share the wanted FAR (`Policy.home_decades`).
    """
    usual, times = REJECTED[max(count for count in REJECTED if count <= takes)]
    tenths: float = math.log10(0.01 * people / report["wanted_far"])
    own = report["expected_frr"]
    own_rejected: float = own["rejected"] / own["of"] if own["of"] else 0.0
    rejected: float = usual * math.pow(times, tenths) + REJECTED_TAKES_COUNT * own_rejected
    return 1 - min(rejected, 1.0)

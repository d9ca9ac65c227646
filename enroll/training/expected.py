"""How often a person will be heard, as one share: what came of the tries of real people who enrolled alike.

The numbers are from "How many takes" in docs/research/channels.md, where each set counts half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

REJECTED = {1: (0.17, 2.2), 2: (0.10, 2.8), 3: (0.057, 3.0), 5: (0.05, 2.7)}
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

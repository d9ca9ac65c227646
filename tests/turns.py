"""Which cases of a long enumeration a run of the tests tries.

`scripts/test` runs every test under two TFLite runtimes. Where a test tries many independent cases, one like the
other, each of the two runs takes its turn: every second case, so that together they have tried them all. Any other
run tries all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

VARIABLE = "TEST_TURN"
"""`1/2` or `2/2`: which turn of how many."""

Case = TypeVar("Case")


def mine(cases: Iterable[Case]) -> list[Case]:
    """Those of the cases whose turn it is.

    Raises:
        ValueError: the variable says something else than a turn.
    """
    turn, turns = _turn()
    return list(cases)[turn - 1 :: turns]


def is_shared() -> bool:
    """Whether another run tries the other cases."""
    return _turn()[1] > 1


def _turn() -> tuple[int, int]:
    said = os.environ.get(VARIABLE, "1/1")
    turn, _, turns = said.partition("/")
    if not (turn.isdecimal() and turns.isdecimal() and 1 <= int(turn) <= int(turns)):
        raise ValueError(f"{VARIABLE}={said!r} must be a turn and how many there are, as in 1/2")
    return int(turn), int(turns)

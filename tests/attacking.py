"""Attacks on earmark as a list that can be run. Each tries cases, and says of each what it broke, if anything.

To add one, write a generator in a module `tests/attacks_….py`, name the module in `MODULES`, and decorate it::

    @attack("thief who writes", "plain files in a sealed store", cases=500, few=5)
    def plain_files(work: Path, cases: int) -> Iterator[str]:
        for number in range(cases):
            yield "" if held else f"case {number}: what was believed, and should not be"

`scripts/studies/attacks.py` runs all cases and writes docs/research/attacks.md; tests/test_attacks.py runs the few.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MODULES = (
    "attacks_store",
    "attacks_people",
    "attacks_models",
    "attacks_inputs",
    "attacks_local",
    "attacks_network",
)
"""Where attacks are; each module adds its own to the list when it is imported."""
ATTACKERS = (  # as SECURITY.md names them
    "bundle author",
    "model author",
    "network peer",
    "broker user",
    "group member",
    "thief who reads",
    "thief who writes",
    "local user",
)
MOST_TOLD = 5  # of what one attack broke: the others are counted

Run = Callable[[Path, int], Iterator[str]]
"""An empty folder and how many cases -> of each case what was broken; empty: it held."""


@dataclass(frozen=True)
class Attack:
    """One kind of attack."""

    attacker: str
    name: str
    run: Run
    cases: int
    """So many are tried by the study."""
    few: int
    """So many by the suite; 0: none, it takes too long or needs what a test machine lacks."""


@dataclass(frozen=True)
class Tried:
    """What came of an attack."""

    cases: int
    broken: int
    told: list[str]
    """What was broken, of the first few."""


ATTACKS: list[Attack] = []


def attack(attacker: str, name: str, cases: int, few: int) -> Callable[[Run], Run]:
    """Adds a generator to the list.

    Raises:
        ValueError: the attacker is none of `ATTACKERS`, or the name is taken.
    """
    if attacker not in ATTACKERS or name in {one.name for one in ATTACKS}:
        raise ValueError(f"{attacker!r} must be one of {ATTACKERS}, and {name!r} a new name")

    def added(run: Run) -> Run:
        ATTACKS.append(Attack(attacker, name, run, cases, few))
        return run

    return added


def listed() -> list[Attack]:
    """All attacks of all modules, by attacker."""
    for module in MODULES:
        importlib.import_module(module)
    return sorted(ATTACKS, key=lambda one: ATTACKERS.index(one.attacker))


def tried(one: Attack, work: Path, cases: int) -> Tried:
    """Runs an attack; an exception that it lets through is something broken, too."""
    count, broken, told = 0, 0, []
    try:
        for said in one.run(work, cases):
            count += 1
            if said:
                broken += 1
                told.append(said)
    except Exception as error:  # whatever it was: nobody meant it to happen
        count, broken = count + 1, broken + 1
        told.append(f"{type(error).__name__}: {error}")
    return Tried(count, broken, [text[:500] for text in told[:MOST_TOLD]])

"""Whether two people who are enrolled for the same wake word can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from earmark.engine.people.store import Voiceprint
from earmark.engine.verifier import Verifier


@dataclass(frozen=True)
class Alike:
    """Takes of one person which would pass as the other."""

    name: str
    """The other person."""
    theirs: int
    """Of the other's takes, how many the new voiceprint accepts."""
    theirs_of: int
    own: int
    """Of the new person's takes, how many the other's voiceprint accepts."""
    own_of: int


def alike(person: Voiceprint, others: Iterable[Voiceprint], verifier: Verifier) -> Iterator[Alike]:
    """The others with whom a newly enrolled person would be confused.

    Each voiceprint is asked about the takes of the other, of which it was not made.
    """
    for other in others:
        if other.name == person.name or other.binding != person.binding:
            continue
        theirs = int(np.sum(verifier.margin(person, other.takes) >= 0))
        own = int(np.sum(verifier.margin(other, person.takes) >= 0))
        if theirs or own:
            yield Alike(other.name, theirs, len(other.takes), own, len(person.takes))

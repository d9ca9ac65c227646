"""How many of the shipped strangers a voiceprint lets in, whatever its own report says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from earmark.engine.errors import BundleError
from earmark.engine.networks.conditions import ANYWHERE
from earmark.engine.people.loading import check_networks
from earmark.engine.people.voiceprint import Voiceprint

from ..enrolment import Enroller, Options
from .calibrate import threshold

MOST_SHARE = 0.05  # five times what an enrolment asks for unless told otherwise


@dataclass(frozen=True)
class LetIn:
    """What a voiceprint does with the strangers of the cohort."""

    accepted: int
    of: int
    voiceprint: Voiceprint
    """With the threshold that its takes give it, if its own was lower."""

    @property
    def share(self) -> float:
        """0…1."""
        return self.accepted / self.of


def let_in(person: Voiceprint, enroller: Enroller) -> LetIn:
    """Asks a voiceprint about every stranger of the cohort.

    The threshold is computed anew by the rule of the enrolment. A higher one stays: learning may have raised it. The
    offsets are believed: where they are too low, strangers get in, and these are counted.

    Raises:
        PersonMismatch: it was made with other networks, of which the cohort says nothing.
        PersonDamaged: its numbers are not as many as theirs.
    """
    check_networks(person, person.binding.keyword, enroller.speaker.card, enroller.head.card)
    far = float(person.report.get("wanted_far", Options().far))
    elsewhere = bool(person.elsewhere.size)
    lowest = threshold(person.kind, person.enrolled_takes, min(far, MOST_SHARE), elsewhere, person.trainer)
    person = replace(person, threshold=max(person.threshold, lowest))
    margins = enroller.verifier.margin(person, enroller.cohort.embeddings, ANYWHERE)
    return LetIn(int(np.sum(~(margins < 0))), len(margins), person)


def require_few(person: Voiceprint, enroller: Enroller) -> LetIn:
    """As `let_in`; refuses a voiceprint that is too many people's.

    Raises:
        BundleError: it lets in more than 5 %.
        PersonMismatch, PersonDamaged: as `let_in`.
    """
    found = let_in(person, enroller)
    if found.share > MOST_SHARE:
        raise BundleError(
            f"{person.name!r} ({person.keyword}) would let in {100 * found.share:.1f} % of {found.of} strangers, "
            f"{100 * MOST_SHARE:g} % are allowed: it is no one person's voice; nothing was changed"
        )
    return found

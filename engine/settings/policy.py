"""What the people of the household want: who may wake it, how easily, and what happens when the speaker side fails.

Pure values; a policy can be replaced while a detector runs, and the stream goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..errors import InputError

Mode = Literal["only", "prefer", "label"]
Confirm = Literal["off", "label", "cancel"]
OnError = Literal["accept", "reject"]
FarOf = Literal["home", "person"]
FARS_OF: tuple[FarOf, ...] = get_args(FarOf)
MODES: tuple[Mode, ...] = get_args(Mode)
CONFIRMS: tuple[Confirm, ...] = get_args(Confirm)
ON_ERROR: tuple[OnError, ...] = get_args(OnError)

NEUTRAL = 0.5  # the sensitivity at which everything is as published and as enrolled
# From 0 to 1 the odds of a wake word's cutoff fall by e^4 = 55: at 1 a published 0.85 becomes 0.43 and 0.97 0.81, at
# 0 0.98 and 0.996; the highest mean that an 8-bit probability can have is 0.996.
_CUTOFF_LOGITS = 4.0


@dataclass(frozen=True)
class Policy:
    """Sensitivities are in 0…1; 0.5 changes nothing, more hears more, of strangers too.

    Raises:
        InputError: a value is not one of its range.
    """

    mode: Mode = "only"
    """`only` known people wake; `prefer` and `label` never reject: they name who it was, if known."""
    on_error: OnError = "reject"
    """What becomes of a wake word when the speaker side fails."""
    sensitivity: float = NEUTRAL
    """Of the wake words."""
    sensitivity_of: Mapping[str, float] = field(default_factory=dict)
    """wake word -> its own sensitivity."""
    voice_sensitivity: float = NEUTRAL
    """Of the people: half a unit is a factor of ten in the share of strangers that enrolment allowed."""
    voice_sensitivity_of: Mapping[str, float] = field(default_factory=dict)
    """person -> the own sensitivity."""
    far_of: FarOf = "home"
    """Whose share of strangers it is that enrolment allowed: of all together who are enrolled for a wake word, or of
    each one alone."""
    confirm: Confirm = "off"
    """Whether the command after a wake is listened to: `label` says whose it was, `cancel` takes the wake back where
    it was nobody's who is known."""
    confirm_of: Mapping[str, Confirm] = field(default_factory=dict)
    """wake word -> its own."""
    end_of_speech: bool = False
    """Whether a command is followed to its end, for the time at which its speaker had said it."""
    skip_quiet: bool = True
    """Whether the keyword networks rest while the room is quiet (engine/features/activity.py)."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode={self.mode!r} must be one of {', '.join(MODES)}")
        if self.on_error not in ON_ERROR:
            raise InputError(f"on_error={self.on_error!r} must be one of {', '.join(ON_ERROR)}")
        if self.far_of not in FARS_OF:
            raise InputError(f"far_of={self.far_of!r} must be one of {', '.join(FARS_OF)}")
        for name, confirm in {"confirm": self.confirm, **self.confirm_of}.items():
            if confirm not in CONFIRMS:
                raise InputError(f"confirm of {name}={confirm!r} must be one of {', '.join(CONFIRMS)}")
        values = {"sensitivity": self.sensitivity, "voice_sensitivity": self.voice_sensitivity}
        values.update({f"sensitivity of {name}": value for name, value in self.sensitivity_of.items()})
        values.update({f"voice sensitivity of {name}": value for name, value in self.voice_sensitivity_of.items()})
        for name, value in values.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name}={value} must be within 0…1; {NEUTRAL} is as published")

    def cutoff(self, keyword: str, published: float) -> float:
        """The cutoff of a wake word, 0…1; its odds are those of the published one, e² lower at most, or e² higher."""
        sensitivity = self.sensitivity_of.get(keyword, self.sensitivity)
        if sensitivity == NEUTRAL:
            return published
        odds = math.exp(_CUTOFF_LOGITS * (NEUTRAL - sensitivity))
        return published * odds / (1 - published + published * odds)

    def confirmed(self, keyword: str) -> Confirm:
        """What becomes of the command after a wake word."""
        return self.confirm_of.get(keyword, self.confirm)

    def home_decades(self, people: int) -> float:
        """How many tenths of the enrolled share of strangers is left to each of so many people, as a power of ten.

        Strangers who pass as one are seldom those who pass as another: two people let in twice as many.
        """
        return math.log10(max(1, people)) if self.far_of == "home" else 0.0

    def threshold(self, person: str, enrolled: float, decade: float) -> float:
        """A person's threshold; `decade` is how much a tenth of the share of strangers raises it."""
        sensitivity = self.voice_sensitivity_of.get(person, self.voice_sensitivity)
        return enrolled + 2 * decade * (NEUTRAL - sensitivity)


def sensitivity_for(score: float, published: float) -> float | None:
    """The least sensitivity, in twentieths, at which a score passes a published cutoff; None: there is none."""
    if not 0 < score < 1:
        return None
    needed = NEUTRAL + (_log_odds(published) - _log_odds(score)) / _CUTOFF_LOGITS
    twentieths = math.floor(20 * needed) + 1  # the score must be above the cutoff
    return twentieths / 20 if twentieths <= 20 else None


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))

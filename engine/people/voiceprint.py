"""What is known of one person's voice saying one wake word."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.samples import Float32
from ..errors import PersonMismatch
from ..networks.conditions import CONDITIONS, is_by_telephone
from ..networks.head import HeadWeights
from ..networks.trained.kinds import HEAD
from ..phrases.model import PhraseModel

ANY_PHRASE = "any-phrase"
FREE_SPEECH = "free-speech"
"""As the keyword of what a command is compared with (engine/confirmation.py)."""
WITHOUT_NETWORK = (ANY_PHRASE, FREE_SPEECH)
COSINE, TRAINED = "cosine", "trained"


@dataclass(frozen=True)
class Binding:
    """sha256 of the networks that a voiceprint belongs to; with others its numbers mean nothing."""

    keyword: str
    """Empty for `any-phrase` and `free-speech`."""
    speaker: str
    head: str


@dataclass(frozen=True)
class Voiceprint:
    """What is known of one person's voice saying one wake word."""

    name: str
    keyword: str
    """Name of the wake word, `phrase:…`, `any-phrase` or `free-speech`."""
    kind: str
    """`trained`: half of the score is the raw cosine, half of it what training has made; `cosine`: the raw cosine
    alone."""
    threshold: float
    """Score, in -1…1, from which on it is this person."""
    binding: Binding
    takes: Float32
    """(n, d) embeddings, unit rows: of the enrolment takes, then of the learned ones; d is the speaker network's
    embedding size."""
    centroid: Float32
    """(d,) their mean, unit length; learned ones together weigh no more than the enrolled, and those that were heard
    in one of `CONDITIONS` are not in it."""
    prototype: Float32
    """(p,) mean of the projected takes, unit length; p is the head's projection size."""
    weights: HeadWeights
    """The trained projection; empty arrays where `kind` is `cosine`, or another trainer than the head made it."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What enrolment measured, for people to read."""
    copies: Float32 = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    """(e, c, d) variations of the e enrolled takes, to train with again; (0, 0, 0): none were kept."""
    elsewhere: Float32 = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    """(e, k, d) the e enrolled takes as they would come through each of the first k `CONDITIONS`; (0, 0, 0): they
    were enrolled before there were any."""
    offsets: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """(1 + k,) taken off the scores of the prototypes: what strangers reach of each; (0,) where k is 0."""
    learned: tuple[Mapping[str, Any], ...] = ()
    """Where each of the last rows of `takes` is from (engine/history/queue.py); the enrolled ones come before
    them."""

    trainer: str = HEAD
    """Who trains it, of `engine/networks/trained/kinds.py`."""
    model: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What another trainer than the head has made, by the names of its layout; empty where `kind` is `cosine`."""

    loose_share: float | None = None
    """Share of the keyword network's cutoff, 0…1, from which on this person is heard; None: it was not measured."""

    phrase: PhraseModel | None = None
    """Where the wake word is a phrase of the person's own: what is learned of it."""

    @property
    def enrolled_takes(self) -> int:
        """How many of the takes are from the enrolment."""
        return len(self.takes) - len(self.learned)

    @functools.cached_property
    def by_telephone(self) -> bool:
        """Whether the takes came so: then tries are heard through a line, too (engine/features/narrow.py).

        People who were enrolled before this was measured are heard as they ever were.
        """
        high_db = self.report.get("takes_high_db")
        return bool(len(self.offsets)) and isinstance(high_db, (int, float)) and is_by_telephone(high_db)

    def learned_in(self, condition: str | None) -> Float32:
        """(n, d) of the learned takes, those that were heard in a condition; None: as the enrolled ones are."""
        here = [facts.get("condition") == condition for facts in self.learned]
        rows: Float32 = self.takes[self.enrolled_takes :][np.array(here, bool)]
        return rows

    @property
    def prototypes(self) -> Float32:
        """(1 + k, d) unit rows: the mean of the takes, and a mean for each condition.

        That is of the enrolled takes as they would come through it, and of what was learned there, which together
        weighs no more.
        """
        if not self.elsewhere.size:
            return self.centroid[None]
        means = self.elsewhere.mean(axis=0, dtype=np.float32).reshape(-1, len(self.centroid))
        for number, condition in enumerate(CONDITIONS[: len(means)]):
            learned = self.learned_in(condition)
            if len(learned):
                share = np.float32(max(0.5, self.enrolled_takes / (self.enrolled_takes + len(learned))))
                means[number] = share * means[number] + (1 - share) * learned.mean(axis=0, dtype=np.float32)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        rows: Float32 = np.concatenate([self.centroid[None], means / np.maximum(lengths, np.float32(1e-9))])
        return rows


def check_binding(voiceprint: Voiceprint, binding: Binding) -> None:
    """Refuses a voiceprint that was made with other networks.

    Raises:
        PersonMismatch: it was; the message says which, and to enrol again.
    """
    wanted, found = asdict(binding), asdict(voiceprint.binding)
    if voiceprint.keyword in WITHOUT_NETWORK:
        wanted["keyword"] = found["keyword"]
    differing = [part for part in wanted if wanted[part] != found[part]]
    if differing:
        raise PersonMismatch(
            f"{voiceprint.name!r} ({voiceprint.keyword}) was enrolled with another {' and '.join(differing)} network "
            f"({', '.join(f'{found[part][:12]}… instead of {wanted[part][:12]}…' for part in differing)}): "
            f"`earmark enroll {voiceprint.name}` again"
        )

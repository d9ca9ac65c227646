"""Listens for a session: recordings in, what they are to the session out; holds the takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork

from ..guided.session import TakeHeard
from . import measure, quality, rules, voices
from .quality import Context, Fault, Take
from .rules import Limits

MIN_LENGTHS = 3  # takes before whose length says what is usual
FILES_VOICES_FROM = 4  # recordings may be of several days: of fewer than four nobody can say which is the odd one


@dataclass(frozen=True)
class AcceptedTake:
    """A good take and its embedding."""

    take: Take
    embedding: Float32
    """(192,), unit length."""
    crop_snr_db: float
    """`Analysis.snr_db`: what later tries are compared with."""
    mel: Float32 | None = None
    """As of `Utterance`; None: of an earlier session only the embedding is known."""


class Pair(NamedTuple):
    """A take beside an earlier one: the figures of `rules.COPY` and `rules.CODED_COPY`."""

    cosine: float
    """Of their embeddings."""
    file: str
    """Of the earlier one."""
    likeness: float
    """Of their waveforms; 0 where there is no sound of the earlier one any more."""


class Hearing:
    """Judges one recording after the other.

    Args:
        speaker: the speaker network.
        keyword: None accepts any phrase.
        room: (40,) power of the room while nobody spoke, by `measure.room_power`, if it is known.
        limits: that takes must keep to.
    """

    def __init__(
        self,
        speaker: SpeakerNetwork,
        keyword: KeywordNetwork | None,
        room: Float32 | None = None,
        limits: Limits = Limits(),  # noqa: B008  it is frozen
    ) -> None:
        self.room, self._limits = room, limits
        self._speaker, self._keyword = speaker, keyword
        self.heard: dict[int, AcceptedTake] = {}
        """Number -> every take without a fault of its own, other voices' included."""
        self.good: tuple[int, ...] = ()
        """Numbers of those that are of one voice."""
        self._odd: dict[int, float] = {}

    def restore(self, heard: list[AcceptedTake]) -> tuple[int, ...]:
        """Takes of an earlier session, good ones; their numbers."""
        self.heard = dict(enumerate(heard))
        self.good = tuple(self.heard)
        return self.good

    def files(self, pieces: Iterable[Int16], file: str) -> TakeHeard:
        """All utterances of the wake word in the pieces of a recording, (n,) int16 each.

        Voices are compared at `settle`, when all recordings are there.
        """
        faults = []
        for found in quality.takes_in_pieces(pieces, file, self._keyword, self._context()):
            judged = found if isinstance(found, Fault) else self._embed(found)
            if isinstance(judged, Fault):
                faults.append(judged)
            else:
                self._add(judged)
        return TakeHeard(self.good, tuple(faults))

    def settle(self) -> TakeHeard:
        """After the last file: whose voices they are."""
        return TakeHeard(*self._compared(FILES_VOICES_FROM))

    def take(self, samples: Int16, file: str) -> TakeHeard:
        """The one utterance in (n,) int16, compared with those before."""
        found = quality.only_take(samples, file, self._keyword, self._context())
        judged = found if isinstance(found, Fault) else self._embed(found)
        if isinstance(judged, Fault):
            return TakeHeard(self.good, (judged,))
        self._add(judged)
        return TakeHeard(*self._compared(2))

    def forget(self, number: int) -> None:
        """A take that is not to be used after all."""
        self.heard.pop(number, None)
        self._odd.pop(number, None)
        self.good = tuple(each for each in self.good if each != number)

    def _embed(self, take: Take) -> AcceptedTake | Fault:
        voice = self._speaker.hear_analysed(take.analysis)
        for earlier in self.heard.values():
            pair = Pair(
                float(voice.embedding @ earlier.embedding),
                earlier.take.file,
                measure.likeness(take.speech, earlier.take.speech),
            )
            for rule in (rules.COPY, rules.CODED_COPY):
                if rule.broken(pair):
                    return Fault(take.file, rule.reason, rule.told(pair))
        return AcceptedTake(take, voice.embedding, voice.snr_db, voice.mel)

    def _add(self, heard: AcceptedTake) -> None:
        number = max(self.heard, default=-1) + 1
        self.heard[number] = heard
        self.good = (*self.good, number)

    def _compared(self, least: int) -> tuple[tuple[int, ...], tuple[Fault, ...]]:
        """The takes of the voice of most, and the faults of those that are newly odd."""
        numbers = list(self.heard)
        embeddings = np.array([self.heard[number].embedding for number in numbers])
        odd = {numbers[row]: score for row, score in voices.odd(embeddings, least).items()}
        faults = []
        for number, score in odd.items():
            if number not in self._odd:
                same = voices.limit(len(numbers))
                detail = f"its voice is like the other takes by {score:.2f}, a take of the same by {same:.2f} or more"
                faults.append(Fault(self.heard[number].take.file, "other_voice", detail))
        self._odd = odd
        self.good = tuple(number for number in numbers if number not in odd)
        return self.good, tuple(faults)

    def _context(self) -> Context:
        takes = [self.heard[number].take for number in self.good]
        if len(takes) < MIN_LENGTHS:
            return Context(self._limits, self.room)
        lengths, active = zip(*((take.speech_samples, take.active_samples) for take in takes))
        return Context(self._limits, self.room, lengths, active)

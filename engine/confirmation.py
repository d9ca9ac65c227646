"""Whose command it was: the wake word and what was said after it, taken together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np

from .audio.samples import RATE_HZ, Float32, Int16
from .errors import AudioError, ModelError, text_of
from .event import Command, Event
from .features.following import Follower, Piece
from .networks.conditions import Open, open_to
from .networks.speaker import Utterance
from .people.store import FREE_SPEECH, Voiceprint
from .settings.policy import Policy
from .verifier import DECADE, Heard, Verifier

_LOG = logging.getLogger(__name__)

Outcome = Literal["confirmed", "changed", "denied", "too_little_speech", "several_voices", "speaker_failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

MOST_PIECES = 3  # 3.9 s of speech; what a fourth brings was not seen any more (docs/research/confirmation.md)
# By so much the command alone, of one piece, two or three, may fall short of a threshold made for the wake word.
# Strangers' commands after the owner's wake are denied by it (docs/research/confirmation.md).
ALLOWED_WITH_SPEECH = (0.12, 0.07, 0.05)  # where free speech was enrolled
ALLOWED = (0.15, 0.10, 0.10)  # where only the wake word is known
# Free speech is of other words than the wake word, and so are strangers' commands: with it as many are let in
SPEECH_HANDICAP = (0.025, 0.035, 0.04)  # of one piece, two, three
MANY = 32  # of more people only so many are asked: each has a head to be loaded, and scores of every piece
# Less the threshold: 1 in 100 pieces of the person's own have less, 7 in 8 of strangers. That was found before there
# was scripts/studies/pieces.py, which measures it. What comes of it: docs/research/confirmation.md, "a television
# that goes on".
ANOTHER_VOICE = -0.25


@dataclass(frozen=True)
class Judgement:
    """What came of the command."""

    outcome: Outcome
    person: str | None
    """Whose command it was; None: of nobody who is known, or nobody can say."""
    score: float | None
    """Of that person, or of the one who came nearest to the own threshold; None where nobody could be asked."""
    own: tuple[int, ...] = ()
    """Numbers of the pieces that are that person's, or the nearest one's."""
    embedding: Float32 | None = field(default=None, compare=False, repr=False)
    """(embedding size,) the mean of these pieces, for who learns from it."""


class Fit(NamedTuple):
    """How well a wake word and the command after it are one person's."""

    margin: float
    """Of the score over the person's threshold: from 0 on it is this person."""
    person: str
    score: float
    own: tuple[int, ...]
    embedding: Float32


def judge(
    verifier: Verifier,
    keyword: str | None,
    policy: Policy,
    woken_by: str | None,
    wake: Heard | None,
    pieces: Sequence[Heard],
) -> Judgement:
    """The wake word, where it was heard, and the pieces of the command -> whose command it was.

    The score is that of the mean of their embeddings, at the thresholds of the wake word, and the pieces alone must
    come near to that. Pieces of another voice than the person's are left out first.

    Raises:
        ModelError: a network failed.
    """
    people = known_by_speech(verifier, keyword)
    if not pieces or not people:
        return Judgement("too_little_speech", None, None)
    decades = policy.home_decades(len({person.name for person in people}))
    fits = []
    for person in _nearest(people, pieces, woken_by):
        try:
            fits.append(fit(verifier, person, policy, decades, wake, pieces))
        except (ModelError, ValueError) as error:  # numbers of another size: the others are asked all the same
            _LOG.error("%s (%s) cannot be asked about a command: %s", person.name, person.keyword, text_of(error))
    fits = [each for each in fits if np.isfinite(each.margin)]
    if not fits:
        raise ModelError("nobody can be asked whose command it was: `earmark doctor` says why")
    best = max(fits, key=lambda each: each.margin)
    if best.margin < 0:
        outcome: Outcome = "confirmed" if woken_by is None else "denied"
        return Judgement(outcome, None, best.score, best.own, best.embedding)
    if 2 * len(best.own) < len(pieces):
        return Judgement("several_voices", None, best.score, best.own, best.embedding)
    outcome = "confirmed" if best.person == woken_by else "changed"
    return Judgement(outcome, best.person, best.score, best.own, best.embedding)


def known_by_speech(verifier: Verifier, keyword: str | None) -> list[Voiceprint]:
    """What a command is compared with: of each person the free speech, or else the wake word; None: after any."""
    by_speech = {person.name: person for person in verifier.people if person.keyword == FREE_SPEECH}
    everybody = [person for person in verifier.people if person.keyword != FREE_SPEECH]
    enrolled = everybody if keyword is None else verifier.enrolled(keyword)
    with_speech = [by_speech[name] for name in dict.fromkeys(person.name for person in enrolled) if name in by_speech]
    return with_speech + [person for person in enrolled if person.name not in by_speech]


def _nearest(people: list[Voiceprint], pieces: Sequence[Heard], woken_by: str | None) -> list[Voiceprint]:
    """Of very many people those whom the pieces resemble most, and who woke it."""
    if len(people) <= MANY:
        return people
    mean = np.mean([heard.plain.embedding for heard in pieces], axis=0)
    likeness = {id(one): float(one.centroid @ mean) for one in people if one.centroid.shape == mean.shape}
    found = sorted(people, key=lambda one: -likeness.get(id(one), -1.0))[:MANY]
    return found + [one for one in people if one.name == woken_by and not any(one is other for other in found)]


def fit(
    verifier: Verifier,
    person: Voiceprint,
    policy: Policy,
    decades: float,
    wake: Heard | None,
    pieces: Sequence[Heard],
) -> Fit:
    """How well they are a person's, of as many people as raise the thresholds by so many decades."""
    decade = DECADE[person.kind]
    by_speech = person.keyword == FREE_SPEECH
    threshold = policy.threshold(person.name, person.threshold + decades * decade, decade)
    each = [heard.of(person) for heard in pieces]
    alone = verifier.score(person, *_rows([[one] for one in each]))
    own = tuple(np.flatnonzero(alone >= threshold + ANOTHER_VOICE).tolist()) or (int(alone.argmax()),)
    kept = [each[number] for number in own]
    both = kept if wake is None else [wake.of(person), *kept]
    rows, may = _rows([both, kept])
    together, command = verifier.score(person, rows, may).tolist()
    count = min(len(kept), MOST_PIECES) - 1
    allowed = ALLOWED_WITH_SPEECH if by_speech else ALLOWED
    score = min(together, command + allowed[count]) - SPEECH_HANDICAP[count] * by_speech
    return Fit(score - threshold, person.name, score, own, rows[1])


def _rows(groups: Sequence[Sequence[Utterance]]) -> tuple[Float32, Open]:
    """(n, d) unit means of utterances, and what each may be compared with: whatever one of them may."""
    means = np.array([np.mean([one.embedding for one in group], axis=0) for group in groups], np.float32)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.float32(1e-9))
    return means, np.array([np.any([open_to(one) for one in group], axis=0) for group in groups])


class Confirmer:
    """Listens on after a wake word, and says once whose command followed.

    Args:
        wake: the event that it follows.
        heard: what the wake word was judged by.
        before: (n,) int16, up to 2 s of the sound before the event's sample.
        policy: as it was when it woke.
    """

    def __init__(self, wake: Event, heard: Heard, before: Int16, policy: Policy) -> None:
        self._wake, self._heard, self._policy = wake, heard, policy
        self._follower = Follower(before)
        self._pieces: list[Piece] = []
        self._utterances: list[Heard] = []
        self.next_sample = wake.sample
        """Position in the stream of the next sample that it wants."""

    @property
    def keyword(self) -> str:
        """The wake word that it follows."""
        return self._wake.keyword

    def push(self, samples: Int16, verifier: Verifier) -> Event | None:
        """(n,) int16 that follow what it had -> the confirmation, when there is one; it is done then."""
        self.next_sample += len(samples)
        return self._take(self._follower.push(samples), verifier)

    def finish(self, verifier: Verifier) -> Event:
        """The stream is over: the confirmation by what there is."""
        event = self._take(self._follower.finish(), verifier)
        return event or self._event(verifier, self._follower.samples)

    def _take(self, pieces: list[Piece], verifier: Verifier) -> Event | None:
        for piece in pieces:
            people = known_by_speech(verifier, self._wake.keyword)
            try:
                self._utterances.append(verifier.hear(piece.samples, people))
            except AudioError:  # loud, and no speech
                continue
            except ModelError as error:
                return self._failed(error, piece.whole_at)
            self._pieces.append(piece)
            if len(self._pieces) == MOST_PIECES and not self._policy.end_of_speech:
                return self._event(verifier, piece.whole_at)
        return self._event(verifier, self._follower.samples) if self._follower.ended else None

    def _event(self, verifier: Verifier, decided: int) -> Event:
        wake, policy = self._wake, self._policy
        try:
            found = judge(verifier, wake.keyword, policy, wake.person, self._heard, self._utterances)
        except ModelError as error:
            return self._failed(error, decided)
        end = self._pieces[found.own[-1]].end if found.own and found.person is not None else None
        return self._said(found, decided, None if end is None or not policy.end_of_speech else wake.sample + end)

    def _failed(self, error: ModelError, decided: int) -> Event:
        _LOG.error("the speaker side failed, the wake stays as it was: %s", error)
        return self._said(Judgement("speaker_failed", None, None), decided, None)

    def _said(self, found: Judgement, decided: int, end: int | None) -> Event:
        wake = self._wake
        cancels = found.outcome == "denied" and self._policy.confirmed(wake.keyword) == "cancel"
        speech = sum(piece.speech_samples for piece in self._pieces)
        return Event(
            type="confirmation",
            keyword=wake.keyword,
            sample=wake.sample,
            keyword_score=wake.keyword_score,
            person=found.person,
            speaker_score=found.score,
            reason=f"{found.outcome}:cancel" if cancels else found.outcome,
            embedding=found.embedding,
            decided_sample=wake.sample + decided,
            command=Command(wake.person, _ms(speech), None if end is None else _ms(end)),
        )


def _ms(samples: int) -> int:
    return round(1000 * samples / RATE_HZ)

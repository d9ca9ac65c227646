"""A command whose wake word ran elsewhere: whose it is, known at its end with little left to do."""

from __future__ import annotations

import logging

from ...audio.samples import RATE_HZ, Int16
from ...confirmation import MOST_PIECES, judge
from ...errors import AudioError, ModelError, text_of
from ...event import Command, Event
from ...features.following import Follower, Piece
from ...people.store import FREE_SPEECH
from ...settings.policy import Policy
from ...verifier import Heard, Verifier

_LOG = logging.getLogger(__name__)

LISTENED_SAMPLES = 10 * RATE_HZ  # of a command; its first four seconds of speech are asked


class Spoken:
    """A command as it comes, and at the end whose it is; its pieces are heard as soon as they are whole."""

    def __init__(self) -> None:
        self._follower = Follower(None, ends=False)
        self._length = 0
        self._pieces: list[Piece] = []
        self._verifier: Verifier | None = None  # that has heard these:
        self._heard: list[Heard | None] = []  # None: loud, and no speech

    def push(self, samples: Int16, verifier: Verifier) -> None:
        """(n,) int16 at 16 kHz; what is too much is left out."""
        samples = samples[: LISTENED_SAMPLES - self._length]
        self._length += len(samples)
        self._take(self._follower.push(samples))
        if not verifier.people:
            return
        try:
            self._hear(verifier)
        except ModelError as error:  # it will fail at the end, too, where it is told what comes of it
            _LOG.info("a piece of a command could not be heard yet: %s", text_of(error))

    def whose(self, verifier: Verifier, policy: Policy) -> tuple[Event, bool]:
        """All has come -> the event that says whose it was, and whether it is refused for that."""
        self._take(self._follower.finish())
        person, score = None, None
        if not verifier.people:
            reason, refused = "nobody_enrolled", False
        else:
            try:
                found = judge(verifier, None, policy, None, None, self._hear(verifier))
                person, score = found.person, found.score
                reason = "unknown_voice" if found.outcome in ("confirmed", "denied") else found.outcome
                reason = "known_voice" if person is not None else reason
            except ModelError as error:
                _LOG.error("the speaker side failed, on_error=%s: %s", policy.on_error, error)
                reason = "speaker_failed"
            unsure = reason not in ("known_voice", "unknown_voice")
            refused = policy.mode == "only" and person is None and not (unsure and policy.on_error == "accept")
        speech = sum(piece.speech_samples for piece in self._pieces)
        return Event(
            type="confirmation",
            keyword=FREE_SPEECH,
            sample=self._length,
            keyword_score=0.0,
            person=person,
            speaker_score=score,
            reason=f"{reason}:cancel" if refused else reason,
            decided_sample=self._length,
            command=Command(None, round(1000 * speech / RATE_HZ)),
        ), refused

    def _take(self, pieces: list[Piece]) -> None:
        self._pieces = [*self._pieces, *pieces][:MOST_PIECES]

    def _hear(self, verifier: Verifier) -> list[Heard]:
        """What there is, those that were heard before not again.

        Raises:
            ModelError: a network failed.
        """
        if verifier is not self._verifier:  # somebody came or went: what a piece is compared with may be another
            self._verifier, self._heard = verifier, []
        for piece in self._pieces[len(self._heard) :]:
            try:
                self._heard.append(verifier.hear(piece.samples, verifier.people))
            except AudioError:
                self._heard.append(None)
        return [heard for heard in self._heard if heard is not None]

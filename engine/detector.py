"""The main path: source → frontend → keyword → speaker → decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .audio import RATE_HZ, Int16
from .decision import REFRACTORY_SAMPLES, Candidate, KeywordDecision
from .errors import AudioError, InputError
from .frontend import Frontend, Ring
from .keyword import KeywordNetwork
from .sources import Source
from .speaker import CROP_SAMPLES
from .verifier import Verdict, Verifier

Mode = Literal["only", "prefer", "label"]
MODES: tuple[Mode, ...] = ("only", "prefer", "label")
PUSH_SAMPLES = RATE_HZ  # what one step takes at most: far less than the ring holds
FLUSH_SAMPLES = RATE_HZ // 2  # silence after the end: a network fires up to 0.3 s after the word's last sound


@dataclass(frozen=True)
class Event:
    """A wake word was heard, and what came of it."""

    type: Literal["detection", "rejection"]
    keyword: str
    sample: int
    """Position behind the last sample that the keyword network had seen; of a word that only passed the loose gate,
    where its score peaked: up to 0.6 s before it was decided, so perhaps before the event that came before."""
    keyword_score: float
    person: str | None
    speaker_score: float | None
    reason: str
    """known_voice | unknown_voice | nobody_enrolled | no_speech."""

    def to_json(self, file: str | None) -> dict[str, Any]:
        """The event as the command line prints it; `file` is the source's name."""
        return {
            "type": self.type,
            "file": file,
            "keyword": self.keyword,
            "time_ms": round(1000 * self.sample / RATE_HZ),
            "keyword_score": round(self.keyword_score, 4),
            "person": self.person,
            "speaker_score": None if self.speaker_score is None else round(self.speaker_score, 4),
            "reason": self.reason,
        }


class Detector:
    """Hears wake words in a stream and says whose voice it was.

    A wake word for which somebody is enrolled is heard through the loose gate too. What only passes that is an event
    if the voice is known, and nothing otherwise, in every mode.

    Args:
        keywords: the wake words; they share one frontend.
        verifier: the people who are known.
        mode: `only` known people wake; `prefer` and `label` never reject: they name who it was, if known.
    """

    def __init__(self, keywords: Sequence[KeywordNetwork], verifier: Verifier, mode: Mode = "only") -> None:
        if mode not in MODES:
            raise InputError(f"mode={mode!r} must be one of {', '.join(MODES)}")
        self._mode = mode
        self._verifier = verifier
        self._frontend, self._ring = Frontend(), Ring()
        self._channels = [
            (network, KeywordDecision.of(network, loose=bool(verifier.enrolled(network.manifest.name))))
            for network in keywords
        ]
        self._quiet_until: dict[str, int] = {}

    def reset(self) -> None:
        """Forgets the stream, not the people."""
        self._frontend.reset()
        self._ring = Ring()
        self._quiet_until.clear()
        for network, decision in self._channels:
            network.reset()
            decision.reset()

    def push(self, samples: Int16) -> list[Event]:
        """(n,) int16 at 16 kHz, any n ≥ 0 -> the events that it completes, in the order they were decided in."""
        events = []
        for start in range(0, len(samples), PUSH_SAMPLES):
            piece = samples[start : start + PUSH_SAMPLES]
            self._ring.push(piece)
            frames = self._frontend.push(piece)
            candidates = [c for network, decision in self._channels for c in decision.push(network.push(frames))]
            candidates.sort(key=lambda c: c.sample + c.waited_samples)  # when it was decided: the same for any cut
            judged = [self._judge(candidate) for candidate in candidates]
            events += [event for event in judged if event is not None]
        return events

    def finish(self) -> list[Event]:
        """The stream is over: half a second of silence lets a word at its very end be heard."""
        return self.push(np.zeros(FLUSH_SAMPLES, np.int16))

    def run(self, source: Source) -> Iterator[Event]:
        """Everything that a source delivers, live or recorded: the events as they come."""
        for block in source:
            yield from self.push(block.samples)
        yield from self.finish()

    def _judge(self, candidate: Candidate) -> Event | None:
        """What comes of a candidate; None: a weak one of no known voice, or one too soon after an accepted one."""
        if candidate.sample < self._quiet_until.get(candidate.keyword, 0):
            return None
        crop = self._ring.last(candidate.sample - CROP_SAMPLES, candidate.sample)
        try:
            verdict = self._verifier.verify(crop, candidate.keyword)
            enrolled = bool(self._verifier.enrolled(candidate.keyword))
            reason = "known_voice" if verdict.person else "unknown_voice" if enrolled else "nobody_enrolled"
        except AudioError:  # the network fired on something that is not speech
            verdict, reason = Verdict(None, None), "no_speech"
        if candidate.weak:
            if verdict.person is None:
                return None
            self._quiet_until[candidate.keyword] = candidate.sample + REFRACTORY_SAMPLES
        accepted = verdict.person is not None or self._mode != "only"
        return Event(
            type="detection" if accepted else "rejection",
            keyword=candidate.keyword,
            sample=candidate.sample,
            keyword_score=candidate.score,
            person=verdict.person,
            speaker_score=verdict.score,
            reason=reason,
        )

"""What the detector says: a wake word was heard, or nearly, and whose voice it was."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .audio.samples import RATE_HZ, Float32

# The sound that is kept around an event
CLIP_BEFORE_SAMPLES = 24_000  # 1.5 s: the longest shipped wake word, spoken slowly, and a little before it
CLIP_AFTER_SAMPLES = 8_000  # 0.5 s

WakeType = Literal["detection", "rejection", "near_miss"]
WAKE_TYPES: tuple[WakeType, ...] = get_args(WakeType)
EventType = Literal[WakeType, "confirmation"]


@dataclass(frozen=True)
class Command:
    """What was said after a wake word."""

    woken_by: str | None
    """Whom the wake word alone was taken for."""
    speech_ms: int
    """So much of it was speech."""
    end_ms: int | None = None
    """When the person had said it, in milliseconds of the stream; None: nobody asked, or nobody was known."""


@dataclass(frozen=True)
class Event:
    """A wake word was heard, or nearly, and what came of it."""

    type: EventType
    """`near_miss`: it only passed the loose cutoff, and the voice is not known, or the word too faint for the cutoff
    of that person; only who asks for them gets these. `confirmation`: whose command followed a detection,
    or, with the keyword `free-speech`, came alone (engine/sinks/wyoming/transcription.py)."""
    keyword: str
    sample: int
    """Position behind the last sample that the keyword network had seen; of a word that only passed the loose cutoff,
    where its score peaked: up to 0.6 s before it was decided, so perhaps before the event that came before."""
    keyword_score: float
    person: str | None
    speaker_score: float | None
    reason: str
    """What was found: known_voice | unknown_voice | nobody_enrolled | no_speech | speaker_failed. Where a setting
    made it what it is, that follows after a colon: `:prefer`, `:label` (the mode), `:accept` (on_error),
    `:sensitivity` (of the wake word, or of the person). Of a confirmation: one of `confirmation.OUTCOMES`, and
    `:cancel` where the wake is taken back by it."""
    embedding: Float32 | None = field(default=None, compare=False, repr=False)
    """(embedding size,) of the voice, for who learns from it; None where nobody could be asked."""
    decided_sample: int = field(default=0, compare=False, repr=False)
    """`sample`, or later by what a peak waited until it was known to be one, or by the command that followed."""
    command: Command | None = None
    """Of a confirmation alone."""

    @property
    def time_ms(self) -> int:
        """`sample` as milliseconds since the stream began."""
        return round(1000 * self.sample / RATE_HZ)

    def to_json(self, file: str | None) -> dict[str, Any]:
        """The event as the command line prints it; `file` is the source's name."""
        return {
            "type": self.type,
            "file": file,
            "keyword": self.keyword,
            "time_ms": self.time_ms,
            "keyword_score": round(self.keyword_score, 4),
            "person": self.person,
            "speaker_score": None if self.speaker_score is None else round(self.speaker_score, 4),
            "reason": self.reason,
            **({} if self.command is None else vars(self.command)),
        }

    def confirmation(self) -> dict[str, Any]:
        """Of a confirmation, what it adds to the wake that it follows; as the journal keeps it."""
        said = self.to_json(None)
        return {key: said[key] for key in ("reason", "person", "speaker_score", "speech_ms", "end_ms")}

    def line(self, file: str | None, as_json: bool) -> str:
        """The event as one line: of JSON, as `to_json`, or for a person to read."""
        if as_json:
            return json.dumps(self.to_json(file), ensure_ascii=False)
        found = self.reason.split(":")[0]  # behind a colon stands the setting that decided
        who = self.person or {"nobody_enrolled": "nobody is enrolled"}.get(found, "nobody known")
        score = "" if self.speaker_score is None else f"  voice {self.speaker_score:.2f}"
        mark = {"detection": "+", "confirmation": "="}.get(self.type, "-")
        time_s = self.sample / RATE_HZ
        heard = f"{self.keyword} {self.keyword_score:.2f}" if self.keyword_score else self.keyword  # a command alone
        return f"{mark} {time_s:8.2f} s  {heard}  {who}{score}  ({self.reason})"

"""One entry of the journal: what event.json holds, and all checks of it; no disk."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.samples import RATE_HZ, Int16
from ..audio.wav import to_wav
from ..event import CLIP_BEFORE_SAMPLES, WAKE_TYPES
from .labels import check_label

FORMAT = 1
EVENT_FILE, AUDIO_FILE = "event.json", "audio.wav"

_KEYS: Mapping[str, tuple[type, ...]] = {  # what an event must have, whatever else there is
    "type": (str,),
    "keyword": (str,),
    "time_ms": (int,),
    "keyword_score": (float, int),
    "person": (str, type(None)),
    "speaker_score": (float, int, type(None)),
    "reason": (str,),
    "file": (str, type(None)),
    "at": (str,),
    "audio_sha256": (str,),
    "label": (str, type(None)),
}

_OURS = ("format", "audio_sha256", "label", "confirmation")  # of event.json, what is not of the event itself
_CONFIRMATION_KEYS: Mapping[str, tuple[type, ...]] = {
    "reason": (str,),
    "person": (str, type(None)),
    "speaker_score": (float, int, type(None)),
    "speech_ms": (int,),
    "end_ms": (int, type(None)),
}


@dataclass(frozen=True)
class Entry:
    """Something that was heard."""

    number: int
    """1 or more, growing."""
    folder: Path
    at: datetime.datetime
    """When the word had been said, by the clock of then, with this machine's time zone."""
    event: Mapping[str, Any]
    """As sinks get it: type, file, keyword, time_ms, keyword_score, person, speaker_score, reason, at."""
    label: str | None
    """Who it was: a person's name, `not-me` or `noise`; None: nobody has said so."""
    confirmation: Mapping[str, Any] | None = None
    """Whose command followed: reason, person, speaker_score, speech_ms, end_ms; None: nobody asked."""

    @property
    def word_end(self) -> int:
        """Where in its sound the keyword network had heard enough, in samples."""
        return min(CLIP_BEFORE_SAMPLES, int(self.event["time_ms"]) * RATE_HZ // 1000)

    def to_json(self) -> dict[str, Any]:
        """The event, with its number, whose command followed, label and sound file."""
        more = {"confirmation": self.confirmation, "label": self.label, "wav": str(self.folder / AUDIO_FILE)}
        return {"number": self.number, **self.event, **more}

    def names(self, person: str) -> bool:
        """Whether it was heard as this person, is said to have been, or the command that followed was."""
        command = None if self.confirmation is None else self.confirmation["person"]
        return person in (self.event["person"], self.label, command)

    def is_of(self, person: str) -> bool:
        """Whether this person was heard in it, as far as is known: a label counts more than the daemon's word."""
        heard = self.event["person"] if self.label is None else self.label
        return person == heard or (self.confirmation is not None and person == self.confirmation["person"])


def encode(event: Mapping[str, Any], clip: Int16) -> dict[str, bytes]:
    """An event and the (n,) int16 around it -> file name -> content."""
    audio = to_wav(clip)
    values = {"format": FORMAT, **event, "audio_sha256": hashlib.sha256(audio).hexdigest(), "label": None}
    return {AUDIO_FILE: audio, EVENT_FILE: as_json(values)}


def as_json(values: Mapping[str, Any]) -> bytes:
    """The content of event.json."""
    return json.dumps(values, indent=1).encode() + b"\n"


def checked(values: Any) -> dict[str, Any]:
    """What event.json holds, if it is of this format; keys that are not known here are kept."""
    if not isinstance(values, dict) or type(values.get("format")) is not int or values["format"] != FORMAT:
        raise ValueError(f"its format must be {FORMAT}")
    _check_kinds(values, _KEYS)
    if values["type"] not in WAKE_TYPES:
        raise ValueError(f"type={values['type']!r:.80} must be one of {', '.join(WAKE_TYPES)}")
    if not 0 <= values["time_ms"] < 1 << 53:
        raise ValueError(f"time_ms={values['time_ms']} must be within 0…2^53")
    _check_scores(values, "keyword_score", "speaker_score")
    confirmation = values.get("confirmation")
    if confirmation is not None:
        if not isinstance(confirmation, dict):
            raise ValueError(f"confirmation={confirmation!r:.80} must be an object")
        _check_kinds(confirmation, _CONFIRMATION_KEYS)
        _check_scores(confirmation, "speaker_score")
    label = values["label"]
    if label is not None and check_label(label) != label:
        raise ValueError(f"label={label!r:.80} must be a name in its normal form")
    return values


def event_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of what event.json holds the event, as sinks get it."""
    return {key: value for key, value in values.items() if key not in _OURS}


def renamed(values: Mapping[str, Any], person: str, new_name: str | None) -> dict[str, Any]:
    """What event.json holds, with another name wherever a person is named in it; None: nobody's."""
    found = {**values, **{key: new_name for key in ("person", "label") if values[key] == person}}
    confirmation = values.get("confirmation")
    if confirmation is not None and confirmation["person"] == person:
        found["confirmation"] = {**confirmation, "person": new_name}
    return found


def _check_kinds(values: Mapping[str, Any], keys: Mapping[str, tuple[type, ...]]) -> None:
    for key, kinds in keys.items():
        if key not in values or type(values[key]) not in kinds:  # JSON's true is an int to isinstance
            raise ValueError(f"{key}={values.get(key)!r:.80} must be {' or '.join(kind.__name__ for kind in kinds)}")


def _check_scores(values: Mapping[str, Any], *keys: str) -> None:
    for key in keys:
        if values[key] is not None and not -1 <= values[key] <= 1:  # NaN is not, either
            raise ValueError(f"{key}={values[key]} must be within -1…1")

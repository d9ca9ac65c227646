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

    @property
    def word_end(self) -> int:
        """Where in its sound the keyword network had heard enough, in samples."""
        return min(CLIP_BEFORE_SAMPLES, int(self.event["time_ms"]) * RATE_HZ // 1000)

    def to_json(self) -> dict[str, Any]:
        """The event, with its number, label and sound file."""
        return {"number": self.number, **self.event, "label": self.label, "wav": str(self.folder / AUDIO_FILE)}


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
    for key, kinds in _KEYS.items():
        if key not in values or type(values[key]) not in kinds:  # JSON's true is an int to isinstance
            raise ValueError(f"{key}={values.get(key)!r:.80} must be {' or '.join(kind.__name__ for kind in kinds)}")
    if values["type"] not in WAKE_TYPES:
        raise ValueError(f"type={values['type']!r:.80} must be one of {', '.join(WAKE_TYPES)}")
    if not 0 <= values["time_ms"] < 1 << 53:
        raise ValueError(f"time_ms={values['time_ms']} must be within 0…2^53")
    for key in ("keyword_score", "speaker_score"):
        if values[key] is not None and not -1 <= values[key] <= 1:  # NaN is not, either
            raise ValueError(f"{key}={values[key]} must be within -1…1")
    label = values["label"]
    if label is not None and check_label(label) != label:
        raise ValueError(f"label={label!r:.80} must be a name in its normal form")
    return values

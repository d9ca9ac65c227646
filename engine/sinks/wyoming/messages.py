"""What a client may send: every field checked, and refused with its name, value and rule."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from ...audio.samples import MAX_RATE_HZ, AudioFormat
from ...errors import ProtocolError, text_of

MAX_CHANNELS = 8


def json_object(content: bytes, what: str) -> dict[str, Any]:
    """An object of JSON without NaN; `what` it is of an event, for the message.

    Raises:
        ProtocolError: it is none.
    """
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"its {what} is no JSON: {text_of(error)}: {shortened(content)}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"its {what} is no JSON object: {shortened(content)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def checked_length(header: Mapping[str, Any], key: str, most: int) -> int:
    """How many bytes follow, 0…most; 0 where the header does not say.

    Raises:
        ProtocolError: it is no such number.
    """
    value = header.get(key)
    return 0 if value is None else _whole(header, key, 0, most)


def _whole(values: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ProtocolError(f"{key}={shortened(value)} must be a whole number within {low}…{high}")
    return value


def checked_format(data: Mapping[str, Any]) -> tuple[AudioFormat, int]:
    """The format, and how many bytes a sample has; AudioError or ProtocolError where they cannot be."""
    width, channels = _whole(data, "width", 1, 4), _whole(data, "channels", 1, MAX_CHANNELS)
    return AudioFormat(_whole(data, "rate", 0, MAX_RATE_HZ), channels), width


def checked_timestamp(data: Mapping[str, Any]) -> float | None:
    """Any number: it only goes back to where it came from."""
    value = data.get("timestamp")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ProtocolError(f"timestamp={shortened(value)} must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ProtocolError(f"timestamp={value} must be a finite number")
    return value


def checked_names(data: Mapping[str, Any]) -> list[str] | None:
    """None: all wake words."""
    names = data.get("names") or None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ProtocolError(f"names={shortened(names)} must be a list of texts")
    return names


def shortened(value: Any) -> str:
    """For a line of the log: whoever sent it chose how long it is."""
    text = repr(value[:100] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"

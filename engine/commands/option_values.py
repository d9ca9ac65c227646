"""Values of options: a text as it was typed, or the rule that it breaks."""

from __future__ import annotations

import argparse


def setting(text: str) -> tuple[str, str]:
    """KEY=VALUE -> key and value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} must be KEY=VALUE, as in mqtt.host=broker")
    return key.strip(), value


def rt60_s(text: str) -> float:
    """A reverberation time in seconds, 0.05…5."""
    value = float(text)
    if not 0.05 <= value <= 5:
        raise argparse.ArgumentTypeError(f"{text} must be an RT60 between 0.05 and 5 s")
    return value


def unit(text: str) -> float:
    """A number, 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} must be within 0…1")
    return value


def share(text: str) -> float:
    """A share, between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be between 0 and 1")
    return value


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more")
    return value


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return value

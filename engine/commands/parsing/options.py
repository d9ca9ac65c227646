"""Options that several commands have, and values of options: a text as it was typed, or the rule that it breaks."""

from __future__ import annotations

import argparse
from typing import Any

# As settings/policy.py and event.py have them: importing those would add a sixth to what `--help` takes, 8 ms
# (tests/test_cli.py holds them together)
MODES = ("only", "prefer", "label")
CONFIRMS = ("off", "label", "cancel")
EVENT_TYPES = ("detection", "rejection", "near_miss")
LARGEST = 2**63 - 1  # what numbers of samples, files and descriptors are kept in
DEFAULT_KEYWORD = "okay_nabu"


# --- values


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


def measure(text: str) -> float:
    """A number, above 0 and up to 500."""
    value = float(text)
    if not 0 < value <= 500:
        raise argparse.ArgumentTypeError(f"{text} must be above 0, and at most 500")
    return value


def share(text: str) -> float:
    """A share, between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be between 0 and 1")
    return value


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    return _whole(text, 1)


def _whole(text: str, smallest: int) -> int:
    try:
        value = int(text)
    except ValueError as error:  # letters, or more digits than Python reads
        raise argparse.ArgumentTypeError(f"{text:.40} must be a whole number, {smallest} or more") from error
    if value < smallest:
        raise argparse.ArgumentTypeError(f"{text} must be {smallest} or more")
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"{text} must be {LARGEST} or less")
    return value


# --- options


def add_keyword(command: Any) -> None:
    """`--keyword`, repeatable."""
    command.add_argument(
        "--keyword",
        action="append",
        metavar="NAME|MANIFEST.json",
        help=f"wake word: a built-in name or a microWakeWord v2 manifest; repeatable ({DEFAULT_KEYWORD})",
    ).completer = _wake_words


def add_phrase(command: argparse.ArgumentParser, otherwise: str, own: str = "") -> None:
    """`--keyword` or `--any-phrase`; with `own`, what it does, or `--phrase`."""
    phrase = command.add_mutually_exclusive_group()
    add_keyword(phrase)
    if own:
        phrase.add_argument("--phrase", metavar="TEXT", help=own)
    phrase.add_argument("--any-phrase", action="store_true", help=otherwise)


def add_channel(command: argparse.ArgumentParser, where: str, dest: str = "channel") -> None:
    """`--channel` of several."""
    command.add_argument(
        "--channel",
        dest=dest,
        type=natural,
        metavar="N",
        help=f"only this channel {where}, from 0 (those that hold the voice)",
    )


def add_settings(command: argparse.ArgumentParser) -> None:
    """`--settings` and `--set`."""
    command.add_argument(
        "--settings",
        metavar="FILE.toml",
        help="(~/.config/earmark/earmark.toml, or /etc/earmark/earmark.toml)",
    )
    command.add_argument(
        "--set",
        action="append",
        type=setting,
        metavar="KEY=VALUE",
        help="one setting; repeatable (mqtt.host=broker)",
    )


def add_mode(command: argparse.ArgumentParser) -> None:
    """`--mode`."""
    command.add_argument(
        "--mode",
        choices=MODES,
        help="only: known people wake (default); prefer: everyone wakes, known people by name; label: only name",
    )


def add_confirm(command: argparse.ArgumentParser) -> None:
    """`--confirm`."""
    command.add_argument(
        "--confirm",
        choices=CONFIRMS,
        help="label: say whose command follows a wake word; cancel: take the wake back where nobody known said it",
    )


def add_store(command: argparse.ArgumentParser) -> None:
    """`--store` and `--key-file`."""
    command.add_argument("--store", metavar="DIR", help="of the people (~/.local/share/earmark/people)")
    command.add_argument(
        "--key-file", metavar="FILE", help="key of an encrypted store; else EARMARK_PASSPHRASE, or it is asked for"
    )


def add_models(command: argparse.ArgumentParser) -> None:
    """`--models`."""
    command.add_argument(
        "--models", metavar="DIR", help="speaker network, head and cohort of your own, each with its card (built in)"
    )


def add_person(command: argparse.ArgumentParser, name: str = "name", metavar: str = "NAME", **options: Any) -> None:
    """Somebody who is enrolled."""
    command.add_argument(name, metavar=metavar, **options).completer = _people  # type: ignore[attr-defined]


# --- for argcomplete, which asks an option for its `completer`


def _wake_words(**_: Any) -> list[str]:
    from ...networks.card import builtin_keywords

    return list(builtin_keywords())


def _people(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from ...people.store import PersonStore
    from ...settings.reading import load

    return PersonStore(getattr(parsed_args, "store", None) or load().settings.people.store or None).names()

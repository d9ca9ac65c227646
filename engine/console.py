"""What the commands share: a detector made from the parsed arguments, and events printed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .audio import RATE_HZ
from .card import MODELS_DIR, load_card, load_manifest
from .detector import Detector
from .event import Event
from .keyword import KeywordNetwork
from .person import PersonStore
from .secret import secret_from
from .verifier import Verifier, load_people


def networks(arguments: argparse.Namespace) -> list[KeywordNetwork]:
    """The keyword networks that `--keyword` names, each once.

    Raises:
        KeywordError: one is unknown, or its manifest or network is not usable.
    """
    return [KeywordNetwork(load_manifest(name)) for name in dict.fromkeys(arguments.keyword)]


def models(arguments: argparse.Namespace) -> Path:
    """The folder of speaker network, head and cohort: that of `--models`, or the one that earmark carries."""
    return Path(arguments.models) if arguments.models else MODELS_DIR


def open_store(arguments: argparse.Namespace) -> PersonStore:
    """The people that `--store` and `--key-file` name; a terminal is asked for the passphrase when it is needed."""
    return PersonStore(arguments.store, secret_from(arguments.key_file, ask=True))


def make_detector(arguments: argparse.Namespace) -> Detector:
    """A detector as `--keyword`, `--store` and `--mode` say.

    Raises:
        EarmarkError: a wake word, a model or a person cannot be used.
    """
    keywords = networks(arguments)
    manifests = [network.manifest for network in keywords]
    folder = models(arguments)
    people = load_people(open_store(arguments), manifests, load_card("speaker", folder), load_card("head", folder))
    return Detector(keywords, Verifier(people, folder=folder), arguments.loaded.settings.policy())


def print_event(event: Event, source: str | None, as_json: bool) -> None:
    """One event, as a line on standard output."""
    if as_json:
        print(json.dumps(event.to_json(source), ensure_ascii=False), flush=True)
        return
    who = event.person or {"nobody_enrolled": "nobody is enrolled"}.get(event.reason, "nobody known")
    score = "" if event.speaker_score is None else f"  voice {event.speaker_score:.2f}"
    mark = "+" if event.type == "detection" else "-"
    time_s = event.sample / RATE_HZ
    print(
        f"{mark} {time_s:8.2f} s  {event.keyword} {event.keyword_score:.2f}  {who}{score}  ({event.reason})",
        flush=True,
    )

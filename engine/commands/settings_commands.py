"""`earmark settings`: what is set, and whether a file can be used."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path

from ..networks.head import SpeakerHead
from ..networks.keyword import KeywordNetwork
from ..networks.speaker import SpeakerNetwork
from ..settings.reading import as_toml, load
from ..settings.schema import keys
from ..sinks.dispatch import check as check_sinks


def show(arguments: argparse.Namespace) -> int:
    """All settings in force, as a TOML file that explains itself, or as JSON with where each is from."""
    loaded = load(Path(arguments.settings) if arguments.settings else None, os.environ, dict(arguments.set or []))
    if not arguments.json:
        print(as_toml(loaded), end="")
        return 0
    values = dataclasses.asdict(loaded.settings)
    for full, key in keys():
        section, name = full.split(".")
        line = {"key": full, "value": values[section][name], "from": loaded.origins.get(full, "default")}
        print(json.dumps({**line, "text": key.metadata["text"]}, ensure_ascii=False))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Whether the daemon would take these settings and what they name; exit 2 with the reason where it would not."""
    loaded = load(Path(arguments.file) if arguments.file else None)
    loaded.settings.policy()
    check_sinks(loaded.settings)
    for keyword in loaded.settings.wake.keywords:
        KeywordNetwork(keyword)
    if loaded.settings.people.models:
        folder = Path(loaded.settings.people.models)
        SpeakerNetwork(folder, loaded.settings.people.speaker_delegate)  # type: ignore[arg-type]
        SpeakerHead(folder)
    where = str(loaded.file) if loaded.file else "no file"
    if arguments.json:
        print(json.dumps({"file": loaded.file and str(loaded.file), "set": dict(loaded.origins)}, ensure_ascii=False))
    else:
        print(f"{where}: good, {len(loaded.origins)} settings differ from their defaults")
    return 0

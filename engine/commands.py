"""Commands that need only the engine. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .console import make_detector, print_event
from .errors import AudioError
from .files import FileSource
from .journal import open_journal
from .person import PersonStore
from .settings import COMMAND_LINE


def replay(arguments: argparse.Namespace) -> int:
    """Runs recordings through the detector; each file is a stream of its own."""
    detector = make_detector(arguments)
    failed = 0
    for path in arguments.files:
        detector.reset()
        if not arguments.json and len(arguments.files) > 1:
            print(path, flush=True)
        try:
            with FileSource(path) as source:
                for event in detector.run(source):
                    print_event(event, source.name, arguments.json)
        except AudioError as error:
            failed += 1
            print(f"earmark: {error}", file=sys.stderr)
    return AudioError.exit_code if failed else 0


def people_list(arguments: argparse.Namespace) -> int:
    """Everybody in the store."""
    store = PersonStore(arguments.store)
    names = store.names()
    for name in names:
        keywords = store.keywords(name)
        if arguments.json:
            print(json.dumps({"name": name, "keywords": keywords}, ensure_ascii=False))
        else:
            print(f"{name}  ({', '.join(keywords)})")
    if not names and not arguments.json:
        print(f"nobody is enrolled in {store.folder}", file=sys.stderr)
    return 0


def people_show(arguments: argparse.Namespace) -> int:
    """What is known of one person; the embeddings themselves are not shown."""
    store = PersonStore(arguments.store)
    for keyword in store.keywords(arguments.name):
        person = store.load(arguments.name, keyword)
        facts: dict[str, Any] = {
            "name": person.name,
            "keyword": person.keyword,
            "kind": person.kind,
            "threshold": round(person.threshold, 4),
            "takes": len(person.takes),
            "versions": store.versions(arguments.name, keyword),
            "report": dict(person.report),
        }
        if arguments.json:
            print(json.dumps(facts, ensure_ascii=False))
        else:
            print("\n".join(f"{key:10} {value}" for key, value in facts.items()))
    return 0


def people_remove(arguments: argparse.Namespace) -> int:
    """Erases a person, every version, and the journal's recordings of that voice.

    The journal is the settings'; a store that is named on the command line is another household's.
    """
    count = PersonStore(arguments.store).remove(arguments.name)
    journal, wakes = open_journal(arguments.loaded.settings.journal), 0
    if arguments.loaded.origins.get("people.store") != COMMAND_LINE:
        wakes = journal.forget_person(arguments.name)
    if arguments.json:
        report = {"removed": arguments.name, "versions": count, **({"wakes": wakes} if wakes else {})}
        print(json.dumps(report, ensure_ascii=False))
    else:
        text = f"{arguments.name}: erased, {count} version{'s' if count != 1 else ''}"
        print(f"{text}, and {wakes} of the journal's recordings" if wakes else text)
    return 0


def devices(arguments: argparse.Namespace) -> int:
    """The capture devices; exit 1 where there is none."""
    from .microphone import input_devices  # needs a system library that the other commands do without

    found = input_devices()
    for device in found:
        if arguments.json:
            print(json.dumps(device, ensure_ascii=False))
        else:
            mark = "*" if device["default"] else " "
            print(f"{mark} {device['name']}  ({device['channels']} channels, {device['rate_hz']} Hz)")
    if not found:
        print("earmark: no microphone: plug one in, or start the sound server", file=sys.stderr)
    return 0 if found else 1

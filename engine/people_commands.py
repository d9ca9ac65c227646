"""`earmark people`: what is theirs, to see, to move, to lock and to erase. Each returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import bundle, codec, rewrite
from .card import MODELS_DIR, load_card
from .console import open_store
from .errors import InputError
from .journal import open_journal
from .secret import new_secret_from
from .settings import COMMAND_LINE


def show_all(arguments: argparse.Namespace) -> int:
    """Everybody in the store."""
    store = open_store(arguments)
    names = store.names()
    for name in names:
        keywords = store.keywords(name)
        _say(arguments, {"name": name, "keywords": keywords}, f"{name}  ({', '.join(keywords)})")
    if not names and not arguments.json:
        print(f"nobody is enrolled in {store.folder}", file=sys.stderr)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """What is known of one person; the embeddings themselves are not shown."""
    store = open_store(arguments)
    for keyword in store.keywords(arguments.name):
        person = store.load(arguments.name, keyword)
        facts: dict[str, Any] = {
            "name": person.name,
            "keyword": person.keyword,
            "kind": person.kind,
            "threshold": round(person.threshold, 4),
            "takes": len(person.takes),
            "recordings": len(store.recordings(arguments.name, keyword)),
            "encrypted": store.encrypted,
            "versions": store.versions(arguments.name, keyword),
            "report": dict(person.report),
        }
        _say(arguments, facts, "\n".join(f"{key:10} {value}" for key, value in facts.items()))
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Erases a person, every version, and the journal's recordings of that voice; or only the recordings.

    The journal is the settings'; a store that is named on the command line is another household's.
    """
    store, name = open_store(arguments), arguments.name
    if arguments.only_recordings:
        count = rewrite.forget_recordings(store, name)
        report = {"name": name, "recordings": count}
        _say(arguments, report, f"{name}: {_counted(count, 'recording')} erased, the voiceprints stay")
        return 0
    count = store.remove(name)
    wakes = open_journal(arguments.loaded.settings.journal).forget_person(name) if _is_own(arguments) else 0
    text = f"{name}: erased, {_counted(count, 'version')}"
    _say(
        arguments,
        {"removed": name, "versions": count, **({"wakes": wakes} if wakes else {})},
        f"{text}, and {wakes} of the journal's recordings" if wakes else text,
    )
    return 0


def rename(arguments: argparse.Namespace) -> int:
    """Another name; what the journal and the settings call the person stays as it was, and is said."""
    store, name, new_name = open_store(arguments), arguments.name, arguments.new_name
    count = rewrite.rename(store, name, new_name)
    report: dict[str, Any] = {"renamed": name, "name": new_name, "versions": count}
    _say(arguments, report, f"{name} is {new_name} now, in {_counted(count, 'version')}")
    if name in arguments.loaded.settings.people.sensitivity_of:
        print(f"earmark: people.sensitivity_of has {name}: call it {new_name}", file=sys.stderr)
    wakes = open_journal(arguments.loaded.settings.journal).of(name) if _is_own(arguments) else []
    if wakes:
        numbers = " ".join(map(str, wakes))
        print(f"earmark: the journal calls the voice {name}: `earmark wakes forget {numbers}`", file=sys.stderr)
    return 0


def export(arguments: argparse.Namespace) -> int:
    """A person into one file, which is not encrypted."""
    store = open_store(arguments)
    tree = store.tree(arguments.name)
    if arguments.no_recordings:
        tree = {key: codec.without_recordings(files) for key, files in tree.items()}
    content = bundle.to_bytes(arguments.name, tree)
    bundle.write(Path(arguments.to), content)
    report = {"exported": arguments.name, "file": arguments.to, "versions": len(tree), "bytes": len(content)}
    _say(
        arguments, report, f"{arguments.to}: {arguments.name}, {_counted(len(tree), 'version')}, {len(content)} bytes"
    )
    if store.encrypted:
        print(f"earmark: {arguments.to} is not encrypted: whoever has it has the voice", file=sys.stderr)
    return 0


def import_file(arguments: argparse.Namespace) -> int:
    """An exported person into the store; nothing is written unless all of the file holds."""
    store = open_store(arguments)
    name, tree = bundle.read(Path(arguments.file))
    if arguments.new_name is not None and arguments.new_name != name:
        name, tree = arguments.new_name, rewrite.as_name(tree, arguments.new_name)
    rewrite.insert(store, name, tree, replace=arguments.replace)
    report = {"imported": name, "versions": len(tree), "keywords": sorted({keyword for keyword, _ in tree})}
    _say(arguments, report, f"{name}: {_counted(len(tree), 'version')} from {arguments.file}")
    for keyword in store.keywords(name):
        if store.load(name, keyword).binding.speaker != load_card("speaker", _models(arguments)).sha256:
            print(
                f"earmark: {name} ({keyword}) is of another speaker network than the one in use: "
                f"`earmark people retrain {name}`, or enrol again",
                file=sys.stderr,
            )
    return 0


def rollback(arguments: argparse.Namespace) -> int:
    """An earlier version, made the newest again; with several wake words the ones that are named."""
    store, name = open_store(arguments), arguments.name
    keywords = arguments.words or store.keywords(name)
    if len(keywords) > 1 and not arguments.words:
        raise InputError(f"{name!r} is enrolled for {', '.join(keywords)}: name one with --keyword")
    for keyword in keywords:
        copied, version = store.rollback(name, keyword, arguments.to)
        report = {"name": name, "keyword": keyword, "copied": copied, "version": version}
        _say(arguments, report, f"{name} ({keyword}): version {copied} counts again, as version {version}")
    return 0


def encrypt(arguments: argparse.Namespace) -> int:
    """Seals everybody, and all that is written from now on."""
    store = open_store(arguments)
    secret = new_secret_from(arguments.key_file)
    count = rewrite.encrypt(store, secret, _progress(arguments))
    report = {"encrypted": str(store.folder), "people": count}
    _say(arguments, report, f"{store.folder}: encrypted, {count} people. Without the key they must be enrolled again")
    return 0


def decrypt(arguments: argparse.Namespace) -> int:
    """Opens everybody, and forgets the key."""
    store = open_store(arguments)
    count = rewrite.decrypt(store, _progress(arguments))
    _say(arguments, {"decrypted": str(store.folder), "people": count}, f"{store.folder}: open, {count} people")
    return 0


def tidy(arguments: argparse.Namespace) -> int:
    """Finishes and deletes what killed processes left; every other change does so too."""
    store = open_store(arguments)
    left = store.leftovers()
    store.tidy()
    _say(arguments, {"tidied": left}, f"{store.folder}: {left} unfinished changes" if left else "nothing to tidy")
    return 0


def _is_own(arguments: argparse.Namespace) -> bool:
    """Whether the store is that of the settings, whose journal hears these people."""
    return bool(arguments.loaded.origins.get("people.store") != COMMAND_LINE)


def _models(arguments: argparse.Namespace) -> Path:
    folder = arguments.loaded.settings.people.models
    return Path(folder) if folder else MODELS_DIR


def _progress(arguments: argparse.Namespace) -> rewrite.OnPerson:
    def told(name: str, done: int, total: int) -> None:
        if not arguments.json:
            print(f"earmark: {done} of {total}: {name}", file=sys.stderr)

    return told


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _say(arguments: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    print(json.dumps(report, ensure_ascii=False) if arguments.json else text)

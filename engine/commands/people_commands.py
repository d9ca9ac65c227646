"""`earmark people`: what is theirs, to see, to move, to lock and to erase. Each returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..history import erasure, sealing
from ..history.journal import Journal, open_journal
from ..networks.trained.kinds import HEAD
from ..people import bundle, codec, operations
from ..people.keys import new_secret_from, secret_from
from ..people.loading import not_heard
from ..people.store import COSINE, TRAINED, PersonStore
from ..people.vault import wipe
from ..settings.edit import renamed_line
from ..storage.user_folders import SERVICE_FOLDER, sessions_folder
from .arguments import is_store_named, open_store, say_alike

KINDS = {COSINE: "plain cosine", TRAINED: "cosine and trained head"}
"""The kinds of score, for people to read."""


def kinds(trainer: str) -> dict[str, str]:
    """The kinds of score of whom a trainer trains, for people to read."""
    return KINDS if trainer == HEAD else {**KINDS, TRAINED: f"cosine and what {trainer} has trained"}


SERVICE_STORE = SERVICE_FOLDER / "people"


def show_all(arguments: argparse.Namespace) -> int:
    """Everybody in the store."""
    store = open_store(arguments)
    names = store.names()
    for name in names:
        keywords = store.keywords(name)
        _say(arguments, {"name": name, "keywords": keywords}, f"{name}  ({', '.join(keywords)})")
    if not names and not arguments.json:
        _tell_nobody(arguments, store)
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
            "trainer": person.trainer,
            "threshold": round(person.threshold, 4),
            "takes": len(person.takes),
            "learned": len(person.learned),
            "gate": person.loose_share,
            "recordings": len(store.recordings(arguments.name, keyword)),
            "encrypted": store.encrypted,
            "versions": store.versions(arguments.name, keyword),
            "report": dict(person.report),
        }
        _say(arguments, facts, _portrait(facts))
    return 0


def _portrait(facts: Mapping[str, Any]) -> str:
    """What `show` knows, for people to read; what an older version's report does not have is left out."""
    report, kind = facts["report"], facts["kind"]
    achieved = report.get("achieved", {}).get(kind, {})
    takes = [f"{facts['takes']}, and {facts['learned']} learned since"]
    if "takes_snr_db" in report:
        takes.append(f"{report['takes_snr_db']:.0f} dB above the noise")
    lines = {
        "takes": "; ".join(takes),
        "score": f"{kinds(facts['trainer'])[kind]}, from {facts['threshold']:.2f} on",
        "loose cutoff": "as for everybody"
        if facts["gate"] is None
        else f"{facts['gate']:.2f} of the wake word's cutoff",
    }
    if achieved:
        frr, far = achieved["frr"], achieved["far"]
        low, high = (100 * bound for bound in frr["ci95"])
        lines["own takes"] = f"{frr['rejected']} of {frr['of']} rejected when left out ({low:.0f} to {high:.0f} %)"
        if not frr["of"]:
            lines["own takes"] = "a single one says nothing of how many tries are rejected"
        lines["strangers"] = f"{far['accepted']} of {far['of']} let in ({100 * far['share']:.1f} %)" + (
            f", {100 * report['wanted_far']:g} % were asked for" if "wanted_far" in report else ""
        )
    lines["recordings"] = str(facts["recordings"] or "none are kept")
    lines["versions"] = ", ".join(map(str, facts["versions"]))
    lines["encrypted"] = "yes" if facts["encrypted"] else "no"
    return "\n".join([f"{facts['name']}: {facts['keyword']}", *(f"  {key:<12}{text}" for key, text in lines.items())])


def remove(arguments: argparse.Namespace) -> int:
    """Erases a person, every version, and what else is of that voice; or only the recordings."""
    store, name = open_store(arguments), arguments.name
    if arguments.only_recordings:
        count = operations.forget_recordings(store, name)
        report = {"name": name, "recordings": count}
        _say(arguments, report, f"{name}: {_counted(count, 'recording')} erased, the voiceprints stay")
        return 0
    erased = erasure.erase(store, journal_of(arguments, store), name)
    facts = {"removed": name, "versions": erased.versions, "waiting": erased.waiting, "wakes": erased.wakes}
    also = [f"{_counted(erased.wakes, 'recording')} of the journal"] if erased.wakes else []
    also += [f"{_counted(erased.waiting, 'wake')} that waited to be learned"] if erased.waiting else []
    _say(
        arguments,
        facts,
        f"{name}: erased, {_counted(erased.versions, 'version')}" + "".join(f", and {text}" for text in also),
    )
    if erased.everybodys and erased.waiting:
        _note(f"without the key nobody can tell whose voice waits: that of everybody was erased, {erased.waiting}")
    if not store.names() and not arguments.json:
        _tell_nobody(arguments, store)
    return 0


def rename(arguments: argparse.Namespace) -> int:
    """Another name, also in the journal and for what waits; what the settings call the person is said."""
    store, name, new_name = open_store(arguments), arguments.name, arguments.new_name
    say_alike(new_name, store, but=name)
    count, also = erasure.rename(store, journal_of(arguments, store), name, new_name)
    report: dict[str, Any] = {
        "renamed": name,
        "name": new_name,
        "versions": count,
        "waiting": len(also.waiting),
        "wakes": len(also.wakes),
    }
    _say(arguments, report, f"{name} is {new_name} now, in {_counted(count, 'version')}{also_text(also)}")
    tell_settings(arguments, name, new_name)
    return 0


def export(arguments: argparse.Namespace) -> int:
    """A person into one file, which is not encrypted."""
    store = open_store(arguments)
    tree = store.tree(arguments.name)
    if arguments.no_recordings:
        tree = {key: codec.without_recordings(files) for key, files in tree.items()}
    vault = store.vault()
    content = bundle.to_bytes(arguments.name, tree, vault)
    bundle.write(Path(arguments.to), content)
    signed_by = vault.sign(b"")[0] if vault is not None else None
    report = {"exported": arguments.name, "file": arguments.to, "versions": len(tree), "bytes": len(content)}
    text = f"{arguments.to}: {arguments.name}, {_counted(len(tree), 'version')}, {len(content)} bytes"
    _say(arguments, {**report, "signed_by": signed_by}, text + (f", signed with {signed_by}" if signed_by else ""))
    if store.encrypted:
        print(f"earmark: {arguments.to} is not encrypted: whoever has it has the voice", file=sys.stderr)
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
    """Seals everybody and what waits to be learned, and all that is written from now on."""
    store = open_store(arguments)
    secret = secret_from(arguments.key_file, ask=True)() if store.encrypted else new_secret_from(arguments.key_file)
    try:
        done = sealing.encrypt(store, secret, _progress(arguments))
    finally:
        wipe(secret)
    report = {"encrypted": str(store.folder), "people": done.people, "waiting": done.waiting}
    _say(
        arguments,
        report,
        f"{store.folder}: sealed, {_converted(done)}. Without the key everybody must be enrolled again: keep a copy",
    )
    journal = journal_of(arguments, store)
    sounds = journal.numbers() if journal is not None else []
    if journal is not None and sounds:
        _note(
            f"the journal is not sealed: {_counted(len(sounds), 'recording')} in {journal.folder}; "
            "`earmark wakes forget --all` erases them"
        )
    sessions = len(list(sessions_folder().glob("*.session")))
    if sessions:
        _note(
            f"takes of {_counted(sessions, 'broken-off enrolment')} are not sealed, in {sessions_folder()}: "
            "go on with `earmark enroll`, or delete them"
        )
    return 0


def decrypt(arguments: argparse.Namespace) -> int:
    """Opens everybody and what waits to be learned, and forgets the key."""
    store = open_store(arguments)
    done = sealing.decrypt(store, _progress(arguments))
    report = {"decrypted": str(store.folder), "people": done.people, "waiting": done.waiting}
    _say(arguments, report, f"{store.folder}: open, {_converted(done)}; the key opens nothing any more")
    return 0


def tidy(arguments: argparse.Namespace) -> int:
    """Finishes and deletes what killed processes left; every other change does so too."""
    store = open_store(arguments)
    left = store.leftovers()
    store.tidy()
    _say(
        arguments,
        {"tidied": left},
        f"{store.folder}: {_counted(left, 'unfinished change')}" if left else "nothing to tidy",
    )
    return 0


def journal_of(arguments: argparse.Namespace, store: PersonStore) -> Journal | None:
    """The journal that hears these people; None: a store that the command line names is another household's.

    Except the service's, which its people are asked to name: there the journal lies beside the people.
    """
    section = arguments.loaded.settings.journal
    if not is_store_named(arguments):
        return open_journal(section)
    if store.folder != SERVICE_STORE:
        return None
    return open_journal(section if section.folder else replace(section, folder=str(store.folder.parent / "wakes")))


def tell_settings(arguments: argparse.Namespace, name: str, new_name: str) -> None:
    """Says which line of the settings has a number for the old name; whoever keeps the file changes it."""
    loaded, numbers = arguments.loaded, arguments.loaded.settings.people.sensitivity_of
    if name not in numbers:
        return
    place = loaded.origins["people.sensitivity_of"]
    if new_name in numbers:
        _note(f"people.sensitivity_of ({place}) still has {name}, who is not there any more: take it out")
        return
    line = renamed_line(loaded.file, name, new_name) if loaded.file and place == str(loaded.file) else None
    what = (
        f"line {line[0]} of {place} must be:  {line[1]}" if line else f"call it so in people.sensitivity_of, {place}"
    )
    _note(f"{new_name} does not have the sensitivity of {name} yet: {what}")


def _progress(arguments: argparse.Namespace) -> sealing.OnPerson:
    def told(name: str, done: int, total: int) -> None:
        if not arguments.json:
            print(f"earmark: {done} of {total}: {name}", file=sys.stderr)

    return told


def also_text(also: erasure.Renamed) -> str:
    """Where else a name has changed, to go on with a sentence."""
    texts = [f"{_counted(len(also.wakes), 'wake')} of the journal"] if also.wakes else []
    texts += [f"{_counted(len(also.waiting), 'wake')} that wait to be learned"] if also.waiting else []
    return "".join(f", and {text}" for text in texts)


def _converted(done: sealing.Done) -> str:
    people = f"{done.people} {'person' if done.people == 1 else 'people'}"
    return people + (f" and {_counted(done.waiting, 'wake')} that wait to be learned" if done.waiting else "")


def _tell_nobody(arguments: argparse.Namespace, store: PersonStore) -> None:
    """That nobody is enrolled, and what to do."""
    for line in not_heard(store, arguments.loaded.settings.wake.keywords, is_store_named(arguments)):
        print(line, file=sys.stderr)


def _note(text: str) -> None:
    print(f"earmark: {text}", file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _say(arguments: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    print(json.dumps(report, ensure_ascii=False) if arguments.json else text)

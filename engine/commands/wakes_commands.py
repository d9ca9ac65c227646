"""`earmark wakes`: what woke the daemon and what nearly did, to look at, listen to, and say who it was."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

import numpy as np

from ..audio.samples import FULL_SCALE, RATE_HZ, Int16
from ..errors import InputError, StoreUnwritable, WakeDamaged, WakeError, WakeUnknown, did_you_mean, system_text_of
from ..history import vouched
from ..history.journal import Journal, open_journal
from ..history.journal_entry import AUDIO_FILE, Entry
from ..history.labels import NOISE, NOT_ME, check_label
from ..people.keys import secret_from
from ..people.store import PersonStore
from ..settings.reading import load
from ..settings.schema import Settings
from ..storage.atomic import make_folder, write_synced
from ..storage.names import look_alike
from .service.which_store import say_two_journals

ME = "me"
RESERVED = (ME, NOT_ME, NOISE)

Row = Union[Entry, tuple[int, WakeError]]
"""An entry, or the number of a damaged one and what is wrong."""


def wakes_list(arguments: argparse.Namespace) -> int:
    """The entries that pass the filters, oldest first; a damaged one is shown with what is wrong.

    No more of them is read than is shown, and of the sound only that it is there: `show` and `export` hear it whole.
    """
    journal = _journal_of(settings_of(arguments))
    newest_first = (row for row in _rows(journal) if not isinstance(row, Entry) or _passes(row, arguments))
    rows = list(itertools.islice(newest_first, arguments.last or None))[::-1]
    for row in rows:
        number, fault = (row.number, _fault(row)) if isinstance(row, Entry) else row
        if arguments.json:
            facts = row.to_json() if isinstance(row, Entry) else {"number": number}
            print(json.dumps({**facts, "damaged": fault and str(fault)}))
        elif isinstance(row, Entry) and fault is None:
            print(_line(row))
        elif fault is not None:
            print(f"{number:6}  {_plain(fault)}")
    if not rows and not arguments.json:
        print(
            f"nothing in {journal.folder}"
            if not journal.numbers()
            else f"no entry passes the filters{_near(arguments)}"
        )
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Everything about one entry."""
    entry, samples = find(arguments)
    facts = {**entry.to_json(), "seconds": len(samples) / RATE_HZ, "peak": _peak(samples)}
    if arguments.json:
        print(json.dumps(facts))
    else:
        facts["at"] = entry.at.isoformat(sep=" ", timespec="milliseconds")
        facts["confirmation"] = _command(entry) or None
        print(
            "\n".join(f"{_plain(key):14} {'-' if value is None else _plain(value)}" for key, value in facts.items())
        )
    return 0


def play(arguments: argparse.Namespace) -> int:
    """Plays the sound of one entry on the default output."""
    entry, samples = find(arguments)
    from ..audio.microphone import play as play_samples  # needs a system library that the other commands do without

    play_samples(samples)
    if arguments.json:
        print(json.dumps({"played": entry.number, "seconds": len(samples) / RATE_HZ}))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Copies sound and event out of the journal, all of the entries or none of them; overwrites nothing."""
    journal, folder = _journal_of(settings_of(arguments)), Path(arguments.to)
    files: dict[Path, bytes] = {}
    for number in dict.fromkeys(arguments.numbers):
        for name, content in journal.contents(number).items():
            files[folder / f"{number:06d}{Path(name).suffix}"] = content
    there = [str(path) for path in files if os.path.lexists(path)]
    if there:
        raise InputError(f"{', '.join(there)}: there already: nothing was copied; choose another folder with --to")
    written: list[Path] = []
    try:
        make_folder(folder)
        for path, content in files.items():
            written.append(path)
            write_synced(path, content)
    except OSError as error:
        if isinstance(error, FileExistsError) and written:
            written.pop()  # somebody else's, made meanwhile
        for path in written:
            path.unlink(missing_ok=True)
        raise StoreUnwritable(f"{folder}: cannot be written: {system_text_of(error)}; nothing was copied") from error
    for path in files:
        print(json.dumps({"file": str(path)}) if arguments.json else path)
    return 0


def forget(arguments: argparse.Namespace) -> int:
    """Erases entries."""
    if bool(arguments.numbers) == arguments.all:
        raise InputError("say which: `earmark wakes forget 3 4`, or `earmark wakes forget --all`")
    journal = _journal_of(settings_of(arguments))
    count = journal.forget(journal.numbers() if arguments.all else arguments.numbers)
    print(json.dumps({"forgotten": count}) if arguments.json else f"{count} erased")
    return 0


def label(arguments: argparse.Namespace) -> int:
    """Says who it was; `me` is whom the event named, or the only person who is enrolled."""
    settings = settings_of(arguments)
    journal = _journal_of(settings)
    entry = journal.read(arguments.number)
    store = PersonStore(settings.people.store or None, secret_from(settings.people.key_file, ask=True))
    people = store.names()
    said = next((word for word in RESERVED if look_alike(word, arguments.label)), arguments.label)
    who = _me(entry, people) if said == ME else check_label(said)
    entry, learned = vouched.label(journal, store, entry.number, who)
    if not learned:
        print("earmark: it is not learned: the people are encrypted, and their key is not at hand", file=sys.stderr)
    if arguments.json:
        print(json.dumps({**entry.to_json(), "enrolled": who in people}))
    else:
        known = "" if who in people or who in RESERVED else f"  (nobody of that name is enrolled: {_listed(people)})"
        print(f"{entry.number}: {who}{known}")
    return 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings in force, as the daemon would have them."""
    file = Path(arguments.settings) if arguments.settings else None
    return load(file, os.environ, dict(arguments.set or [])).settings


def find(arguments: argparse.Namespace) -> tuple[Entry, Int16]:
    """The entry that `N` names, and its sound.

    Raises:
        WakeError: there is none, or it is damaged.
    """
    journal = _journal_of(settings_of(arguments))
    return journal.read(arguments.number), journal.samples(arguments.number)


def _journal_of(settings: Settings) -> Journal:
    """The journal that the settings name; where they name none and this machine's service has another, it says so."""
    say_two_journals(settings)
    return open_journal(settings.journal)


def _rows(journal: Journal) -> Iterator[Row]:
    """Newest first."""
    for number in reversed(journal.numbers()):
        try:
            yield journal.read(number)
        except WakeUnknown:  # erased meanwhile
            continue
        except WakeError as error:
            yield number, error


def _passes(entry: Entry, arguments: argparse.Namespace) -> bool:
    named = (entry.event["person"], entry.confirmation and entry.confirmation["person"])
    return (
        arguments.type in (None, entry.event["type"])
        and (arguments.person is None or arguments.person in named)
        and arguments.label in (None, entry.label)
    )


def _fault(entry: Entry) -> WakeError | None:
    """What is wrong with an entry's sound, as far as that is seen without reading it."""
    path = entry.folder / AUDIO_FILE
    try:
        if stat.S_ISREG(path.lstat().st_mode):
            return None
        why = "its sound is no plain file"
    except OSError as error:
        why = f"its sound cannot be read: {system_text_of(error)}"
    return WakeDamaged(f"{entry.folder}: damaged: {why}; `earmark wakes forget {entry.number}` removes it")


def _line(entry: Entry) -> str:
    event, score = entry.event, entry.event["speaker_score"]
    voice = "" if score is None else f" {score:.2f}"
    cells = [
        f"{entry.number:6}",
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        f"{event['type']:9}",
        f"{_plain(event['keyword'])} {event['keyword_score']:.2f}",
        f"{_plain(event['person'] or 'nobody known')}{voice}",
        _plain(event["reason"]),
        f"command: {_command(entry)}" if entry.confirmation else "",
        f"= {_plain(entry.label)}" if entry.label else "",
    ]
    return "  ".join(cell for cell in cells if cell)


def _command(entry: Entry) -> str:
    """Whose command followed; empty: nobody asked."""
    said = entry.confirmation
    if said is None:
        return ""
    score = "" if said["speaker_score"] is None else f" {said['speaker_score']:.2f}"
    return f"{_plain(said['person'] or 'nobody known')}{score} ({_plain(said['reason'])})"


def _plain(value: object) -> str:
    """As a terminal may get it: what is in a damaged file could be meant for one."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _peak(samples: Int16) -> float:
    """The loudest sample, of full scale."""
    return round(float(np.abs(samples.astype(np.int32)).max(initial=0)) / FULL_SCALE, 4)


def _near(arguments: argparse.Namespace) -> str:
    """Who of the people may have been meant by a filter that nothing passes."""
    people = PersonStore(settings_of(arguments).people.store or None).names()
    wanted = ((arguments.person, people), (arguments.label, [*people, *RESERVED]))
    return "".join(did_you_mean(name, known) for name, known in wanted if name is not None and name not in known)


def _me(entry: Entry, people: list[str]) -> str:
    who: Any = entry.event["person"] or (people[0] if len(people) == 1 else None)
    if who is None:
        names = " or ".join(f"`earmark wakes label {entry.number} {name}`" for name in people)
        raise InputError(
            f"entry {entry.number} names nobody, and {_listed(people)}: who is `me`? Type "
            + (names or f"`earmark wakes label {entry.number} NAME`")
        )
    if who in RESERVED:
        raise InputError(f"a person called {who!r} cannot be told from the label {who!r}: enrol by another name")
    return check_label(who)


def _listed(people: list[str]) -> str:
    return f"enrolled are {', '.join(people)}" if people else "nobody is enrolled"

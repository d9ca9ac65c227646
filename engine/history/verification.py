"""Whether a store is as it should be: every file of it read, and where it is sealed compared with its index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EarmarkError, PersonError, StoreTampered, text_of
from ..people import codec, transaction
from ..people.index import PLAIN, WAITING_FOLDER, Index, Marks, survey
from ..people.store import PersonStore
from ..people.vault import MAGIC, SEALED_SUFFIX, Vault, is_encrypted
from ..storage.atomic import read_limited
from ..storage.names import name_of
from . import queued_wake
from .queue import SUFFIX
from .waiting_files import MAX_UNDONE_BYTES, UNDONE

GONE, NEW, ANOTHER, NOT_SEALED = "is gone", "is new", "is another one", "is not sealed"


@dataclass(frozen=True)
class Difference:
    """Something in a store that is not as it should be."""

    place: str
    """Inside the store: anna/okay_nabu/0003."""
    what: str


@dataclass(frozen=True)
class Verified:
    """What was found in a store."""

    sealed: bool
    counter: int | None
    """Of the index; None: there is none, or it cannot be believed."""
    people: int
    versions: int
    waiting: int
    """Wakes that wait to be learned, and the list of what was taken back."""
    differences: list[Difference] = field(default_factory=list)


def verify(store: PersonStore) -> Verified:
    """Reads every file of a store; again where something differs and the store has changed meanwhile.

    Raises:
        PersonLocked: it is sealed, and its key is not to be had.
        PersonError: it cannot be read at all.
    """
    while True:
        before = _state(store)
        found = _verified(store)
        if not found.differences or _state(store) == before:
            return found


def _state(store: PersonStore) -> object:
    """Another one after each change of a person, and while their folder is on its way."""
    try:
        people = transaction.people_in(store.folder)
        return store.fingerprint(), [transaction.whereabouts(store.folder, person) for person in people]
    except PersonError as error:  # `_verified` raises it too, or says more
        return text_of(error)


def _verified(store: PersonStore) -> Verified:
    differences, index = [], None
    try:
        sealed, vault = store.encrypted, store.vault()
        index = store.seal.index()
    except StoreTampered as error:
        differences.append(Difference(str(store.folder), text_of(error)))
        sealed = is_encrypted(store.folder)
        vault = store.vault() if sealed else None
    found = survey(store.folder)
    for folder, marks in found.items():
        for name, mark in marks.items():
            what = _fault(store.folder, vault, folder, name, mark, index)
            if what:
                differences.append(Difference(f"{folder}/{name}", what))
    if index is not None:
        differences += _compared(index, found)
    versions = sum(len(marks) for folder, marks in found.items() if folder != WAITING_FOLDER)
    people = len({folder.partition("/")[0] for folder in found} - {WAITING_FOLDER})
    waiting = len(found.get(WAITING_FOLDER, {}))
    counter = None if index is None else index.counter
    return Verified(sealed, counter, people, versions, waiting, sorted(differences, key=lambda one: one.place))


def accept(store: PersonStore) -> Verified:
    """Takes a store as it is: what is sealed with its key and whole is believed from now on; gives what is left.

    Where the keyring is gone, and nothing sealed is left, the store is one that is not sealed.

    Raises:
        PersonLocked: it is sealed, and its key is not to be had.
        StoreTampered: something is sealed, and there is no keyring.
        StoreUnwritable: it may not be written.
    """
    with store.changing("what is there could not be accepted", "make room or allow writing", erasing=True):
        if not is_encrypted(store.folder):
            store.seal.witness.forget()
            store.seal.require_keyring()
        vault = store.vault()
        if vault is not None:
            whole: dict[str, Marks] = {}
            for folder, marks in survey(store.folder).items():
                faults = {name: _fault(store.folder, vault, folder, name, mark, None) for name, mark in marks.items()}
                whole[folder] = {name: mark for name, mark in marks.items() if not faults[name]}
            store.seal.accept(vault, {folder: marks for folder, marks in whole.items() if marks})
    return verify(store)


def _compared(index: Index, found: Mapping[str, Marks]) -> list[Difference]:
    """What was added, taken away or exchanged; while something changes, both is right."""
    differences = []
    folders = {folder for folder in (*index.folders, *index.coming) if "/" in folder or folder == WAITING_FOLDER}
    for folder in folders | set(found):
        there, allowed = found.get(folder, {}), index.of(folder)
        if dict(there) in [dict(marks) for marks in allowed]:
            continue
        wanted = allowed[-1]
        for name in {*there, *wanted}:
            marks = index.marks(folder, name)
            what = NEW if not marks else GONE if name not in there else ANOTHER if there[name] not in marks else ""
            if what:
                differences.append(Difference(f"{folder}/{name}", what))
    return differences


def _fault(folder: Path, vault: Vault | None, inside: str, name: str, mark: str, index: Index | None) -> str:
    """Why something that is there cannot be read; empty: it can."""
    if vault is not None and mark.startswith(PLAIN) and (index is None or mark not in index.marks(inside, name)):
        return NOT_SEALED
    try:
        if inside == WAITING_FOLDER:
            _read_waiting(folder, vault, name)
        else:
            _read_version(folder, vault, inside, name)
    except EarmarkError as error:
        return text_of(error)
    except Exception as error:  # what json, zipfile and numpy raise on bytes made to harm is no closed list
        return f"damaged: {text_of(error)}"
    return ""


def _read_waiting(folder: Path, vault: Vault | None, name: str) -> None:
    content = read_limited(folder / WAITING_FOLDER / (name + SUFFIX), MAX_UNDONE_BYTES)
    if name != UNDONE:
        queued_wake.decode(content, name, vault)
    elif content.startswith(MAGIC):
        if vault is None:
            raise ValueError("it is sealed, and the store is not")
        vault.open(content, f"{WAITING_FOLDER}/{UNDONE}")


def _read_version(folder: Path, vault: Vault | None, inside: str, name: str) -> None:
    person, word = inside.split("/")
    base = transaction.place_of(folder, person)
    if base is None:
        raise ValueError("it is about to be erased")
    place = base / word / name
    files = {}
    for path in sorted(place.iterdir()):
        file, content = path.name, read_limited(path, codec.MAX_FILE_BYTES)
        if path.name.endswith(SEALED_SUFFIX):
            file = path.name.removesuffix(SEALED_SUFFIX)
            if vault is None:
                raise ValueError("it is sealed, and the store is not")
            content = vault.open(content, f"{inside}/{name}/{file}")
        if file in files:
            raise ValueError(f"{file} is there twice")
        files[file] = content
    voiceprint = codec.decode(files)
    codec.decode_recordings(files)
    if (voiceprint.name, voiceprint.keyword) != (name_of(person), name_of(word)):
        raise ValueError(f"it is of {voiceprint.name!r} for {voiceprint.keyword!r} and was copied here")
    more = set(files) - {codec.HEADER_FILE, codec.ARRAYS_FILE, *codec.recording_files(files[codec.HEADER_FILE])}
    if more:
        raise ValueError(f"{sorted(more)} do not belong there")
    if vault is not None and len({path.suffix == SEALED_SUFFIX for path in place.iterdir()}) > 1:
        raise ValueError("some of its files are sealed and some are not")

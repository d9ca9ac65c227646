"""The index of a sealed store, under its key: which files it has. And what is remembered of the store outside it.

`.index.sealed` has, for each folder of the store, a mark of each thing in it: of a version the nonce of its sealed
header, which has the checksums of its other files; of what waits to be learned the nonce of the entry. Whoever has
not the key cannot write another index, nor another file with the same mark. Each index has a higher counter than the
one before.

Outside the store, in the state folder, the counter is kept once more: an older index, with the older files that
belong to it, is recognised by it. So is a store that was sealed, and is not any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..errors import PersonError, PersonNewer, system_text_of, text_of
from ..storage.atomic import make_folder, read_limited, replace_synced
from ..storage.names import folder_name, folders_in, is_person_folder, is_version
from ..storage.owners import as_owner_of
from ..storage.user_folders import seals_folder
from . import transaction
from .codec import HEADER_FILE, MAX_FILE_BYTES
from .vault import MAGIC, SEALED_SUFFIX, Vault, as_written, mark_of

_LOG = logging.getLogger(__name__)

FORMAT = 1
INDEX_FILE = ".index.sealed"
MAX_INDEX_BYTES = 16 << 20  # 70 bytes a version: far more people than a machine can load
MAX_WITNESS_BYTES = 4096
PLAIN = "plain:"
"""Before the checksum of what is not sealed yet, or not any more, while a store is sealed or opened."""

WAITING_FOLDER, WAITING_SUFFIX = ".learning", ".json"
"""Of what waits to be learned (engine/history/queue.py)."""
Marks = Mapping[str, str]
"""Name of what is in a folder -> its mark."""
Coming = Mapping[str, Mapping[str, Optional[str]]]
"""Folder -> name -> the mark that it is about to have; None: it is about to go."""


@dataclass(frozen=True)
class Index:
    """What is in a store. While something changes, what was and what is to come hold both."""

    counter: int
    folders: Mapping[str, Marks]
    """Folder inside the store -> what is in it: anna/okay_nabu -> 0001 -> mark."""
    coming: Coming = field(default_factory=dict)

    def of(self, folder: str) -> list[Marks]:
        """What may be in a folder: what was, and while it changes what is to come."""
        was = self.folders.get(folder, {})
        return [was, _changed(was, self.coming[folder])] if folder in self.coming else [was]

    def marks(self, folder: str, name: str) -> set[str]:
        """The marks that something may have; none: it must not be there."""
        return {marks[name] for marks in self.of(folder) if name in marks}

    def settled(self, found: Mapping[str, Marks]) -> Index:
        """The index after a change that is done or was broken off: each thing as it is found, if it may be so."""
        folders = dict(self.folders)
        for folder, names in self.coming.items():
            there = found.get(folder, {})
            done = {name: mark for name, mark in names.items() if there.get(name) == mark}
            folders[folder] = _changed(folders.get(folder, {}), done)
        return Index(self.counter, {folder: marks for folder, marks in folders.items() if marks})

    def after(self) -> Index:
        """The index when what is to come has come."""
        return self.settled({folder: {n: m for n, m in names.items() if m} for folder, names in self.coming.items()})


def _changed(marks: Marks, coming: Mapping[str, str | None]) -> Marks:
    return {name: mark for name, mark in {**marks, **coming}.items() if mark is not None}


def plain_mark(content: bytes) -> str:
    """The mark of a file that is not sealed."""
    return PLAIN + hashlib.sha256(content).hexdigest()


def file_mark(content: bytes) -> str:
    """The mark of a file as it lies on the disk, sealed or not."""
    return mark_of(content) if content.startswith(MAGIC) else plain_mark(content)


def encode(index: Index, vault: Vault) -> bytes:
    """The content of the file."""
    values = {"format": FORMAT, "counter": index.counter, "folders": index.folders, "coming": index.coming}
    return vault.seal(json.dumps(values, separators=(",", ":")).encode(), INDEX_FILE)


def decode(content: bytes, vault: Vault) -> Index:
    """The index in a file.

    Raises:
        ValueError: its seal does not hold.
        PersonNewer: a later earmark wrote it.
    """
    values: dict[str, Any] = json.loads(vault.open(content, INDEX_FILE))
    if values["format"] != FORMAT:
        raise PersonNewer(
            f"{INDEX_FILE} is of format {values['format']}, this earmark knows {FORMAT}: install a newer"
        )
    return Index(values["counter"], values["folders"], values["coming"])


@dataclass(frozen=True)
class Remembered:
    """What is known of a store outside it."""

    id: str
    """Of its keyring."""
    counter: int
    """Of the newest index that was seen; -1: the store was opened with its key, and need not be sealed any more."""

    @property
    def sealed(self) -> bool:
        """Whether the store must be."""
        return self.counter >= 0


class Witness:
    """The file outside a store in which it is remembered that the store is sealed."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path: Path | None = None
        self._said = False

    @property
    def path(self) -> Path:
        """Where the file is, or would be.

        Raises:
            RuntimeError: this user has no folder for what is remembered.
        """
        if self._path is None:
            store = self._store.absolute()
            name = hashlib.sha256(os.fsencode(store)).hexdigest()[:32]
            self._path = seals_folder(store) / f"{name}.json"
        return self._path

    def read(self) -> Remembered | None:
        """What is remembered; None: nothing, or this user cannot read it, which is said once.

        Raises:
            PersonError: it is damaged.
        """
        try:
            values = json.loads(read_limited(self.path, MAX_WITNESS_BYTES))
            return Remembered(str(values["id"]), int(values["counter"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, RuntimeError) as error:
            self._say(error)
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PersonError(
                f"{self.path}: damaged: {text_of(error)}; `earmark people verify`, and if all is well delete it"
            ) from error

    def remember(self, remembered: Remembered) -> None:
        """Keeps it; where it cannot be kept, that is said once, and rollbacks are not noticed."""
        values = {"store": str(self._store.absolute()), "id": remembered.id, "counter": remembered.counter}
        try:
            with as_owner_of(self.path.parent):
                make_folder(self.path.parent)
                replace_synced(self.path, json.dumps(values, indent=1).encode() + b"\n")
        except (OSError, RuntimeError) as error:
            self._say(error)

    def forget(self) -> None:
        """From now on nothing is known of the store.

        Raises:
            PersonError: the file may not be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise PersonError(f"{self.path}: cannot be removed: {system_text_of(error)}") from error

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            why = system_text_of(error) if isinstance(error, OSError) else text_of(error)
            _LOG.warning(
                "%s: how far it is cannot be kept outside it: %s: an older copy is not noticed", self._store, why
            )


def survey(store: Path) -> dict[str, dict[str, str]]:
    """What is in a store: folder -> name -> mark; of what is sealed, and of what is not.

    Raises:
        PersonError: the store cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    for person in transaction.people_in(store):
        place = transaction.place_of(store, person)
        for word in folders_in(place) if place is not None else []:
            marks = {path.name: _header_mark(path) for path in folders_in(word) if is_version(path.name)}
            if marks and is_person_folder(word.name):
                found[f"{person}/{word.name}"] = marks
    waiting = store / WAITING_FOLDER
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(waiting.iterdir()):
            mark = _mark(path) if path.suffix == WAITING_SUFFIX and not path.name.startswith(".") else ""
            if mark:
                found.setdefault(WAITING_FOLDER, {})[path.stem] = mark
    return found


def _header_mark(version: Path) -> str:
    """Of the sealed header, else of the plain one, else none that anything could have."""
    return _mark(version / (HEADER_FILE + SEALED_SUFFIX)) or _mark(version / HEADER_FILE) or PLAIN


def _mark(path: Path) -> str:
    """Of a file, sealed or not; empty: it cannot be read."""
    try:
        content = read_limited(path, MAX_FILE_BYTES)
    except (OSError, ValueError):
        return ""
    return file_mark(content)


def sealed_marks(marks: Marks) -> dict[str, str]:
    """Those of them that are of sealed files."""
    return {name: mark for name, mark in marks.items() if not mark.startswith(PLAIN)}


def header_mark(written: Mapping[str, bytes]) -> str:
    """The mark of a version by its files as they are written."""
    return file_mark(written.get(HEADER_FILE) or written[HEADER_FILE + SEALED_SUFFIX])


def replaced(index: Index, people: Mapping[str, Mapping[str, Marks]]) -> Coming:
    """What is about to be where all that there is of people is replaced: person -> wake word -> version -> mark."""
    coming: dict[str, dict[str, str | None]] = {}
    for folder, marks in index.folders.items():
        if folder.partition("/")[0] in people:
            coming[folder] = dict.fromkeys(marks)
    for person, words in people.items():
        for word, marks in words.items():
            coming.setdefault(f"{person}/{word}", {}).update(marks)
    return coming


def all_written(
    trees: Mapping[str, Mapping[tuple[str, int], Mapping[str, bytes]]], vault: Vault | None
) -> tuple[dict[str, dict[str, bytes]], dict[str, dict[str, dict[str, str]]]]:
    """People as they are to lie on the disk: the files of each, and the marks of their versions.

    Args:
        trees: name -> wake word and number of the version -> its files.
        vault: what seals them; None: nothing does.

    Returns:
        By the names of their folders: path inside it -> content; and wake word -> version -> mark.
    """
    people: dict[str, dict[str, bytes]] = {}
    marks: dict[str, dict[str, dict[str, str]]] = {}
    for name, tree in trees.items():
        person = folder_name(name)
        files, words = people.setdefault(person, {}), marks.setdefault(person, {})
        for (keyword, version), contents in tree.items():
            word, number = folder_name(keyword), f"{version:04d}"
            written = as_written(contents, f"{person}/{word}/{number}", vault)
            files.update({f"{word}/{number}/{file}": content for file, content in written.items()})
            words.setdefault(word, {})[number] = header_mark(written)
    return people, marks

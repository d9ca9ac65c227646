"""Attacks on the store of people by who can write into it, and has not its key."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from attacking import attack
from helpers_store import KEY, opened, person, sound, unit, weak_keys

from earmark.engine.errors import EarmarkError
from earmark.engine.history import sealing, verification
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.people.index import INDEX_FILE
from earmark.engine.people.store import PersonStore
from earmark.engine.people.vault import KEYRING_FILE

Files = dict[str, bytes]
"""Path inside a folder -> content."""
Tamper = Callable[["Sealed", np.random.Generator], None]
NOW_S = 1_700_000_000.0


def wake(number: int, who: str | None, label: str | None = None) -> QueuedWake:
    """Something that waits to be learned."""
    row = unit(np.random.default_rng(number).standard_normal(192))
    kind = "rejection" if who is None else "detection"
    return QueuedWake(kind, "okay_nabu", who, 0.9, "mic", 16_000 * number, NOW_S + number, "s" * 64, row, label)


class Sealed:
    """A sealed store with a past: after each change all its files are kept, as a thief may have done."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "people"
        self.past: list[Files] = []
        store = PersonStore(self.folder)
        store.save(person("anna", 1), [sound(1)])
        store.save(person("bob", 2))
        LearningQueue(store).add(wake(1, "anna"))
        with weak_keys():
            sealing.encrypt(store, KEY)
        store = opened(self.folder)
        changes: list[Callable[[], object]] = [
            lambda: store.save(person("anna", 3), [sound(3), sound(4)]),
            lambda: LearningQueue(store).add(wake(2, None)),
            lambda: store.save(person("anna", 4, "alexa")),
            lambda: store.save(person("dora", 5)),
            lambda: LearningQueue(store).undo([wake(1, "anna").id]),
            lambda: store.save(person("anna", 6)),
            lambda: store.remove("dora"),
            lambda: store.remove("bob"),
            lambda: store.save(person("bob", 7)),
            lambda: LearningQueue(store).add(wake(3, "anna", "anna")),
            lambda: LearningQueue(store).undo([wake(3, "anna").id]),
            lambda: LearningQueue(store).add(wake(4, "anna")),
        ]
        self.past.append(self.files())
        for change in changes:
            change()
            self.past.append(self.files())
        self.now = self.past.pop()
        self.believed = self._believed()
        stranger = PersonStore(work / "stranger")
        stranger.save(person("anna", 66))
        stranger.save(person("mallory", 67))
        LearningQueue(stranger).add(wake(9, "anna", "anna"))
        self.stranger = {
            str(path.relative_to(stranger.folder)): path.read_bytes()
            for path in stranger.folder.rglob("*")
            if path.is_file()
        }

    def files(self) -> Files:
        """All that a thief would take, or exchange."""
        found = (
            path
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name not in (".lock", ".updated")
        )
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def put(self, files: Files) -> None:
        """The store has these files, and no others."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.add(files)

    def add(self, files: Files) -> None:
        """These files are in the store, too."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)

    def remove(self, names: list[str]) -> None:
        """These files and the folders that are empty then are gone."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            for parent in (self.folder / name).parents:
                if parent == self.folder:
                    break
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def fault(self) -> str:
        """What was not noticed, or is believed and must not be; empty: all is well."""
        try:
            noticed = bool(verification.verify(opened(self.folder)).differences)
        except EarmarkError:
            noticed = True
        if not noticed:
            return "it is not noticed"
        more = self._believed() - self.believed
        return f"it is believed: {sorted(more)}" if more else ""

    def _believed(self) -> set[str]:
        """The newest voiceprints and what waits, as far as a daemon would use them."""
        store, found = opened(self.folder), set()
        with contextlib.suppress(EarmarkError):
            for name in store.names():
                with contextlib.suppress(EarmarkError):
                    for word in store.keywords(name):
                        found.add(f"{name} {word} {store.load(name, word).takes.tobytes().hex()[:16]}")
        with contextlib.suppress(EarmarkError):
            found |= {f"{one.id} {one.label}" for one in LearningQueue(store).read()}
        return found


def pick(rng: np.random.Generator, some: list[str]) -> str:
    return some[int(rng.integers(len(some)))]


def older(sealed: Sealed, rng: np.random.Generator) -> Files:
    return sealed.past[int(rng.integers(len(sealed.past)))]


def roll_back(sealed: Sealed, rng: np.random.Generator) -> None:
    """All of it as it was once."""
    sealed.put(older(sealed, rng))


def roll_back_without_index(sealed: Sealed, rng: np.random.Generator) -> None:
    """All of it as it was once, but for the index and the keyring."""
    keep = {name: sealed.now[name] for name in (INDEX_FILE, KEYRING_FILE)}
    sealed.put({**older(sealed, rng), **keep})


def roll_back_a_part(sealed: Sealed, rng: np.random.Generator) -> None:
    """A folder or file as it was once: a person, a wake word, a version, an entry, the index."""
    past = older(sealed, rng)
    changed = [name for name in past if past[name] != sealed.now.get(name)]
    parts = pick(rng, changed).split("/")
    top = "/".join(parts[: int(rng.integers(1, len(parts) + 1))])
    sealed.remove([name for name in sealed.now if (name + "/").startswith(top + "/")])
    sealed.add({name: content for name, content in past.items() if (name + "/").startswith(top + "/")})


def restore(sealed: Sealed, rng: np.random.Generator) -> None:
    """What was there once and is not any more, beside all that is there."""
    gone = [name for past in sealed.past for name in past if name not in sealed.now]
    top = "/".join(pick(rng, gone).split("/")[:3])
    past = [past for past in sealed.past if any(name.startswith(top) for name in past)]
    files = past[int(rng.integers(len(past)))]
    sealed.add({name: content for name, content in files.items() if name.startswith(top) and name not in sealed.now})


def delete(sealed: Sealed, rng: np.random.Generator) -> None:
    """A file, or a folder with all that is in it."""
    parts = pick(rng, list(sealed.now)).split("/")
    top = "/".join(parts[: int(rng.integers(1, len(parts) + 1))])
    sealed.remove([name for name in sealed.now if (name + "/").startswith(top + "/")])


def delete_keyring_and_more(sealed: Sealed, rng: np.random.Generator) -> None:
    """The keyring, perhaps the index, perhaps all that is sealed, and perhaps plain files instead."""
    gone = [KEYRING_FILE, *([INDEX_FILE] if rng.integers(2) else [])]
    sealed.remove([*gone, *(list(sealed.now) if rng.integers(2) else [])])
    if rng.integers(2):
        sealed.add(sealed.stranger)


def add_plain(sealed: Sealed, rng: np.random.Generator) -> None:
    """A stranger as a version, a wake word, a person, or in place of the one who is there; and an entry."""
    version = {name.rsplit("/", 1)[1]: data for name, data in sealed.stranger.items() if name.startswith("anna/")}
    places = [
        "anna/okay_nabu/0004",
        "anna/okay_nabu/0003",
        "anna/alexa/0001",
        "anna/hey_jarvis/0001",
        "bob/alexa/0001",
    ]
    kind = int(rng.integers(4))
    if kind == 0:
        place = pick(rng, places)
        if rng.integers(2):
            sealed.remove([name for name in sealed.now if name.startswith(place)])
        sealed.add({f"{place}/{file}": data for file, data in version.items()})
    elif kind == 1:
        sealed.add({name: data for name, data in sealed.stranger.items() if name.startswith("mallory/")})
    elif kind == 2:
        sealed.add({name: data for name, data in sealed.stranger.items() if name.startswith(".learning/")})
    else:
        sealed.add({".learning/undone.json": b"[]"})


def plan(sealed: Sealed, rng: np.random.Generator) -> None:
    """A change that nobody began: people go, or a stranger comes in."""
    put, gone = [["mallory"], ["anna"], []][int(rng.integers(3))], ["bob"]
    sealed.add({f".pending/{name}": data for name, data in sealed.stranger.items() if name.split("/")[0] in put})
    text = f'{{"format": 1, "put": {put}, "remove": {gone}}}'.replace("'", '"')
    sealed.add({".pending/plan.json": text.encode()})


def swap(sealed: Sealed, rng: np.random.Generator) -> None:
    """Two files of one name in each other's places."""
    ending = pick(rng, ["header.json.sealed", "arrays.npz.sealed"])
    files = [name for name in sealed.now if name.endswith(ending)]
    one, other = rng.permutation(files)[:2]
    sealed.add({one: sealed.now[other], other: sealed.now[one]})


def flip(sealed: Sealed, rng: np.random.Generator) -> None:
    """A bit of any file."""
    name = pick(rng, list(sealed.now))
    data = bytearray(sealed.now[name])
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    if name != KEYRING_FILE:  # there a letter may become a capital one, and mean the same
        sealed.add({name: bytes(data)})
    else:
        sealed.remove([name])


TAMPERS: tuple[Tamper, ...] = (
    roll_back,
    roll_back_without_index,
    roll_back_a_part,
    restore,
    delete,
    delete_keyring_and_more,
    add_plain,
    plan,
    swap,
    flip,
)


def remembering(work: Path) -> contextlib.AbstractContextManager[object]:
    """What is kept outside a store is kept here."""
    return mock.patch.dict(os.environ, XDG_STATE_HOME=str(work / "state"))


def _tampered(tampers: Sequence[Tamper]) -> Callable[[Path, int], Iterator[str]]:
    def run(work: Path, cases: int) -> Iterator[str]:
        with remembering(work):
            sealed = Sealed(work)
            for number in range(cases):
                sealed.put(sealed.now)
                tamper = tampers[number % len(tampers)]
                tamper(sealed, np.random.default_rng(number))
                fault = sealed.fault()
                yield f"{tamper.__name__}, case {number}: {fault}" if fault else ""

    return run


attack("thief who writes", "sealed store: any of the following", 1000, 60)(_tampered(TAMPERS))
for one in TAMPERS:
    attack("thief who writes", f"sealed store: {one.__name__.replace('_', ' ')}", 500, 0)(_tampered([one]))


@attack("thief who writes", "sealed store: the honest one is believed", 20, 2)
def honest(work: Path, cases: int) -> Iterator[str]:
    """That the others find nothing only because nothing is ever believed."""
    with remembering(work):
        sealed = Sealed(work)
        for _ in range(cases):
            sealed.put(sealed.now)
            found = verification.verify(opened(sealed.folder))
            yield f"{found.differences}" if found.differences or not sealed.believed else ""


@attack("thief who writes", "sealed store: nothing is enrolled plain where the keyring is gone", 50, 3)
def enrol_without_keyring(work: Path, cases: int) -> Iterator[str]:
    with remembering(work):
        sealed = Sealed(work)
        for number in range(cases):
            sealed.put(sealed.now)
            delete_keyring_and_more(sealed, np.random.default_rng(number))
            before = sealed.files()
            store = PersonStore(sealed.folder) if number % 2 else opened(sealed.folder)
            try:
                store.save(replace(person("zoe", 8), name="zoe"))
                yield f"case {number}: zoe was saved"
            except EarmarkError:
                yield "" if sealed.files() == before else f"case {number}: something was written"

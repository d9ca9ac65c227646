"""Seals everybody and what waits to be learned, or opens it again; one person after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, PersonError, PersonLocked, PersonUnknown
from ..people.store import PersonStore, Tree
from ..people.vault import SEALED_SUFFIX, check_secret
from .queue import LearningQueue

OnPerson = Callable[[str, int, int], None]
"""Called with a person who is done, how many are, and of how many."""


@dataclass(frozen=True)
class Done:
    """What was sealed or opened."""

    people: int
    waiting: int
    """Wakes that wait to be learned."""


def encrypt(store: PersonStore, secret: bytes | bytearray, on_person: OnPerson | None = None) -> Done:
    """Seals everybody, one after the other, and what waits to be learned.

    From the first moment on what is written is sealed. Broken off, it is continued by the next call with the same
    secret: everything can be read meanwhile.

    Raises:
        InputError: the secret is too short, or too long.
        PersonLocked: the store is encrypted already, with another key; nothing has changed.
        PersonError: somebody cannot be read; all others are sealed.
        StoreUnwritable: the store may not be written.
        CryptographyMissing: the library is not installed.
    """
    check_secret(secret)
    opened = PersonStore(store.folder, lambda: bytearray(secret))
    with opened.changing("could not be encrypted", "make room or allow writing"):
        if opened.encrypted:
            opened.seal.renew_keyring(secret)
        else:
            opened.seal.begin(secret)
    opened.vault()
    opened.tidy()  # what was erased and is not deleted yet lies open
    people = _each(opened, "could not be encrypted", False, on_person)
    waiting = LearningQueue(opened)
    done = Done(people.count, waiting.seal())
    if people.fault is not None:
        raise people.fault
    left = [path.name for path in _files(store) if path.suffix != SEALED_SUFFIX]
    left += sorted(set(waiting.ids()) - set(waiting.sealed()))
    if left:
        raise InputError(f"{store.folder}: {left[0]} was written meanwhile and lies open: encrypt once more")
    return done


def decrypt(store: PersonStore, on_person: OnPerson | None = None) -> Done:
    """Opens everybody, one after the other, and what waits to be learned, and then forgets the key.

    Broken off, it is continued by the next call: everything can be read meanwhile.

    Raises:
        InputError: the store is not encrypted.
        PersonLocked: the key is wrong or not to be had; nothing has changed.
        PersonError: somebody cannot be read; all others are open, and the key is still there.
        StoreUnwritable: the store may not be written.
    """
    if not store.encrypted:
        raise InputError(f"{store.folder} is not encrypted")
    store.vault()
    waiting = LearningQueue(store)
    people = _each(store, "could not be decrypted", True, on_person)
    if people.fault is not None:
        raise people.fault
    with store.changing("could not be opened", "allow writing"):
        done = Done(people.count, waiting.unseal())
        if waiting.sealed() or any(path.suffix == SEALED_SUFFIX for path in _files(store)):
            raise InputError(f"{store.folder}: something was written meanwhile: decrypt once more")
        for name in store.names():
            store.tree(name)
        vault = store.vault()
        if vault is not None:
            store.seal.end(vault)
    return done


@dataclass(frozen=True)
class _Each:
    count: int
    fault: PersonError | None
    """Of the first who could not be written anew."""


def _each(store: PersonStore, what: str, plain: bool, on_person: OnPerson | None) -> _Each:
    """Writes everybody anew, one after the other."""
    names = store.names()
    done = 0
    fault: PersonError | None = None
    for number, name in enumerate(names, start=1):
        try:
            store.exchange(f"{name!r} {what}", functools.partial(_tree_of, store, name), plain=plain)
            done += 1
        except PersonUnknown:  # erased meanwhile: as wished
            pass
        except PersonLocked:
            raise
        except PersonError as error:
            fault = fault or type(error)(f"{error}; all others are done: mend this, and give the same command again")
        if on_person is not None:
            on_person(name, number, len(names))
    return _Each(done, fault)


def _tree_of(store: PersonStore, name: str) -> Mapping[str, Tree]:
    return {name: store.tree(name)}


def _files(store: PersonStore) -> Iterator[Path]:
    """All that lies in the folders of versions."""
    return store.folder.glob("[!.]*/*/*/*")

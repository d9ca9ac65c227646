"""Which people of a store can be asked about which wake words, with the networks in use."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import PersonError, PersonUnknown
from ..networks.card import Card, KeywordManifest
from .store import PersonStore
from .voiceprint import ANY_PHRASE, Binding, Voiceprint, check_binding


def open_people(store: PersonStore | str | os.PathLike[str] | None) -> PersonStore:
    """A store as it is; a folder as a store; None: the user's own, where nobody need be enrolled yet.

    Raises:
        PersonError: there is no such folder.
    """
    if isinstance(store, PersonStore):
        return store
    if store is not None and not Path(store).is_dir():
        raise PersonError(f"no store of people in {store}: `earmark.enrol(…).save({os.fspath(store)!r})` makes one")
    return PersonStore(store)


def binding_of(keyword_sha256: str, speaker: Card, head: Card) -> Binding:
    """The networks in use; `keyword_sha256` is empty for any phrase."""
    return Binding(keyword_sha256, speaker.sha256, head.sha256)


def usable_people(
    store: PersonStore, keywords: Iterable[KeywordManifest], speaker: Card, head: Card
) -> tuple[list[Voiceprint], list[PersonError]]:
    """The voiceprints of a store for the given wake words and for any phrase, and why others cannot be used."""
    keyword_sha256 = {manifest.name: manifest.model_sha256 for manifest in keywords}
    people: list[Voiceprint] = []
    faults: list[PersonError] = []
    for name in store.names():
        try:
            for keyword in store.keywords(name):
                if keyword == ANY_PHRASE or keyword in keyword_sha256:
                    voiceprint = store.load(name, keyword)
                    check_binding(voiceprint, binding_of(keyword_sha256.get(keyword, ""), speaker, head))
                    people.append(voiceprint)
        except PersonUnknown:  # erased since the names were read: as wished
            continue
        except PersonError as error:
            faults.append(error)
    return people, faults


def load_people(
    store: PersonStore, keywords: Iterable[KeywordManifest], speaker: Card, head: Card
) -> list[Voiceprint]:
    """As `usable_people`, where everybody must be usable.

    Raises:
        PersonDamaged: somebody does not hold the checksums.
        PersonMismatch: somebody belongs to other networks than those in use.
        PersonLocked: the store is encrypted, and its key is not to be had.
    """
    people, faults = usable_people(store, keywords, speaker, head)
    if faults:
        raise faults[0]
    return people

"""Changes of whole people: another name, no recordings any more, everything sealed or opened again.

Each takes everything of a person, makes it anew aside, and exchanges it in one step (`PersonStore.exchange`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import InputError, PersonError, PersonUnknown
from ..storage.names import check_new_name, folder_name
from . import codec
from .store import Contents, PersonStore, Tree


def rename(store: PersonStore, name: str, new_name: str) -> int:
    """Gives a person another name, in every version; returns how many versions that are.

    Raises:
        InputError: the new name cannot be used, or is somebody's.
        PersonError: there is nobody of that name, or a version cannot be read; nothing has changed.
        StoreUnwritable: the store may not be written; nothing has changed.
    """
    check_new_name(new_name)
    store.keywords(name)
    renamed: dict[str, Tree] = {}

    def put() -> Mapping[str, Tree]:
        require_free(store, new_name)
        renamed[new_name] = as_name(store.tree(name), new_name)
        return renamed

    store.exchange(f"{name!r} could not be renamed", put, [name])
    return len(renamed[new_name])


def forget_recordings(store: PersonStore, name: str) -> int:
    """Erases the recordings of a person from every version, and nothing else; returns how many there were.

    Raises:
        PersonError: there is nobody of that name, or a version cannot be read; nothing has changed.
        StoreUnwritable: the store may not be written; nothing has changed.
    """
    store.keywords(name)
    erased = 0

    def put() -> Mapping[str, Tree]:
        nonlocal erased
        tree = store.tree(name)
        erased = sum(len(codec.recording_files(files[codec.HEADER_FILE])) for files in tree.values())
        return {name: {key: codec.without_recordings(files) for key, files in tree.items()}} if erased else {}

    store.exchange(f"the recordings of {name!r} could not be erased", put)
    return erased


def insert(store: PersonStore, name: str, tree: Tree, replace: bool = False) -> None:
    """Puts everything of a person into the store.

    Args:
        store: to be written.
        name: of the person.
        tree: checked.
        replace: whether who is called so is erased.

    Raises:
        InputError: somebody is called so.
        StoreUnwritable: the store may not be written; nothing has changed.
    """
    check_new_name(name)

    def put() -> Mapping[str, Tree]:
        if not replace:
            require_free(store, name)
        return {name: tree}

    store.exchange(f"{name!r} could not be imported", put)


def require_free(store: PersonStore, name: str) -> None:
    """Refuses a name that somebody has.

    Raises:
        InputError: somebody has.
    """
    if name in store.names() or os.path.lexists(store.folder / folder_name(name)):
        raise InputError(f"{name!r} is in {store.folder} already: choose another name, or remove that person first")


def is_enrolled(store: PersonStore, name: str) -> bool:
    """Whether there is somebody of that name now; nobody where the store is no folder, as saving will say."""
    if not store.folder.is_dir():
        return False
    try:
        return bool(store.keywords(name))
    except PersonUnknown:
        return False


def require_enrolled(store: PersonStore, name: str) -> None:
    """Refuses to save more of somebody who was enrolled and is not any more; inside `changing`.

    Raises:
        PersonUnknown: the person was erased or renamed while something was computed.
    """
    if not is_enrolled(store, name):
        raise PersonUnknown(
            f"{name!r} was erased or renamed meanwhile, and stays so: nothing was saved; "
            f"`earmark enroll {name}` enrols anew"
        )


def require_unchanged(store: PersonStore, name: str, keyword: str, made_from: Contents) -> None:
    """Refuses to save what was computed from files that are not those of the newest version; inside `changing`.

    Raises:
        PersonUnknown: as `require_enrolled`.
        PersonError: there is another version by now, or its recordings were erased; or it cannot be read.
    """
    require_enrolled(store, name)
    if store.contents(name, keyword) != made_from:
        raise PersonError(f"{name!r} ({keyword}) has changed meanwhile: nothing was saved; run the command again")


def as_name(tree: Tree, name: str) -> dict[tuple[str, int], Contents]:
    """The same voiceprints as those of another person."""
    return {key: codec.renamed(files, name) for key, files in tree.items()}

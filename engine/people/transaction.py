"""Several people of a store replaced or erased at once: all of it or nothing, whenever the power goes.

What is to come is built aside, with a plan of what it replaces, and renamed to `.pending`; from this moment on the
change counts. Then the folders are put into their places one by one. Whoever reads meanwhile, or after a crash, reads
through the plan, and takes no lock: what several looks at the disk have found counts only if the person's folder was
in the same place before the first and after the last. The next one who changes something finishes it first::

    .pending/
      plan.json      which people it puts in place, and which it removes
      bob/           what is not in its place yet
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import PersonDamaged, PersonError, system_text_of, text_of
from ..storage.atomic import make_folder, put_in_place, read_limited, sync_folder, write_synced
from ..storage.locked import LockedFolder
from ..storage.names import folder_name, folders_in, is_person_folder, is_real, is_version, name_of
from ..storage.owners import refusal

_LOG = logging.getLogger(__name__)

PENDING, PLAN_FILE = ".pending", "plan.json"
FORMAT = 1
MAX_PLAN_BYTES = 1 << 20
LOOKS = 20  # a change moves a folder three times; nobody makes seven of them in the time of one look

_T = TypeVar("_T")

Files = Mapping[str, bytes]
"""A file's path inside a person's folder -> its content."""


@dataclass(frozen=True)
class Plan:
    """People by the names of their folders."""

    put: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


def read_plan(store: Path) -> Plan:
    """What is pending; an empty plan if nothing is.

    Raises:
        PersonDamaged: the plan is none.
        PersonError: it may not be read.
    """
    path = store / PENDING / PLAN_FILE
    try:
        if not stat.S_ISDIR(os.lstat(store / PENDING).st_mode):  # one look: it may be gone at the next
            raise ValueError("it is not in a folder")
        values = json.loads(read_limited(path, MAX_PLAN_BYTES))
        if not isinstance(values, dict) or set(values) != {"format", "put", "remove"} or values["format"] != FORMAT:
            raise ValueError(f"it must have put, remove and format {FORMAT}")
        for names in (values["put"], values["remove"]):
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{names!r:.80} must be a list of texts")
            if not all(is_person_folder(name) for name in names):
                raise ValueError(f"{names!r:.80} must be folders of people")
        return Plan(frozenset(values["put"]), frozenset(values["remove"]))
    except (FileNotFoundError, NotADirectoryError):
        return Plan()
    except OSError as error:
        raise PersonError(f"{path}: cannot be read: {refusal(error, path)}") from error
    except (ValueError, RecursionError) as error:
        raise PersonDamaged(
            f"{path}: damaged: {text_of(error)}; remove {path.parent} to drop the unfinished change"
        ) from error


def people_in(store: Path) -> list[str]:
    """The names of the folders of people, with the plan carried out; some may be erased while this looks.

    Somebody whose folder is between two places is in no listing, but in the plan; whoever is not in a plan that is
    read after the first listing is in the second, unless the next change has begun by then as well.

    Raises:
        PersonError: the store or its plan cannot be read.
    """
    first, plan, second = folders_in(store), read_plan(store), folders_in(store)
    found = {path.name for path in (*first, *second) if is_person_folder(path.name)}
    return sorted((found | plan.put) - plan.remove)


def looked(store: Path, folder: str, look: Callable[[Path | None], _T]) -> _T:
    """What `look` finds where a person's folder is; looked for again if it was moved meanwhile.

    Args:
        store: its folder.
        folder: the name of the person's.
        look: given the folder, which need not be there; None: the person is erased.

    Raises:
        PersonError: the plan cannot be read, or the folder was moved each time; what `look` raises.
    """
    before = whereabouts(store, folder)
    for _ in range(LOOKS):
        found = look(before[0])
        after = whereabouts(store, folder)
        if after == before:
            return found
        before = after
    raise PersonError(f"{store / folder}: was moved {LOOKS} times while it was looked at; try again")


def whereabouts(store: Path, folder: str) -> tuple[Path | None, int]:
    """Where a person's folder is, and which one it is: another one is in the same place after a change.

    Raises:
        PersonError: that cannot be seen.
    """
    place = place_of(store, folder)
    try:
        return place, os.lstat(place).st_ino if place is not None else 0
    except FileNotFoundError:
        return place, 0
    except OSError as error:
        raise PersonError(f"{place}: cannot be read: {refusal(error, store)}") from error


def place_of(store: Path, folder: str) -> Path | None:
    """Where a person's folder is to be read; None: it is erased. It need not be there.

    Raises:
        PersonError: the plan cannot be read.
    """
    plan = read_plan(store)
    waiting = store / PENDING / folder
    if folder in plan.put and _is_folder(waiting):
        return waiting
    return None if folder in plan.remove else store / folder


def keywords_in(store: Path, person: Path | None) -> list[str]:
    """The wake words of which a person's folder has a version.

    Raises:
        PersonError: a folder may not be read.
    """
    if person is None or not is_real(person, store):
        return []
    return sorted(
        name_of(path.name)
        for path in folders_in(person)
        if is_person_folder(path.name) and any(is_version(inner.name) for inner in folders_in(path))
    )


def versions_in(place: Path) -> list[int]:
    """The numbers of the versions in a wake word's folder, oldest first.

    Raises:
        PersonError: the folder may not be read.
    """
    return sorted(int(path.name) for path in folders_in(place) if is_version(path.name))


def newest_in(store: Path, person: Path | None) -> set[tuple[str, str, int, int]]:
    """Of each wake word the newest version: person, wake word, number, and which folder it is on the disk.

    Raises:
        PersonError: a folder may not be read.
    """
    found: set[tuple[str, str, int, int]] = set()
    if person is None:
        return found
    for keyword in keywords_in(store, person):
        place = Path(person, folder_name(keyword))
        for version in versions_in(place)[-1:]:
            with contextlib.suppress(FileNotFoundError):  # it has been moved
                inode = (place / f"{version:04d}").stat().st_ino
                found.add((name_of(person.name), keyword, version, inode))
    return found


def write_tree(root: Path, files: Files) -> None:
    """Files and their folders, on the disk when this returns; all of it is new."""
    folders = {root}
    for name, content in sorted(files.items()):
        path = root / name
        make_folder(path.parent)
        folders.update(parent for parent in path.parents if root in parent.parents)
        write_synced(path, content)
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        sync_folder(folder)


def exchange(store: LockedFolder, put: Mapping[str, Files], remove: Iterable[str] = ()) -> None:
    """Replaces people, and erases others, in one step; inside `changing`, when `finish` has been called.

    Raises:
        OSError: it cannot be written; nothing has changed.
    """
    plan = {"format": FORMAT, "put": sorted(put), "remove": sorted(set(remove) - set(put))}
    pending = store.path / PENDING
    with store.temporary() as name:
        temporary = Path(name)
        for folder, files in put.items():
            make_folder(temporary / folder)
            write_tree(temporary / folder, files)
        write_synced(temporary / PLAN_FILE, json.dumps(plan, indent=1).encode() + b"\n")
        sync_folder(temporary)
        put_in_place(temporary, pending)
    try:
        finish(store)
    except OSError as error:  # it counts already, and is read as if it were finished
        _LOG.warning("%s: %s: the change counts, the next one finishes it", pending, system_text_of(error))


def finish(store: LockedFolder) -> None:
    """Carries out what is pending; inside `changing`.

    Raises:
        OSError: something cannot be moved; what is pending stays so.
        PersonError: the plan cannot be read.
    """
    pending = store.path / PENDING
    if not os.path.lexists(pending):
        return
    plan = read_plan(store.path)
    for folder in sorted(plan.put):
        waiting = pending / folder
        if _is_folder(waiting):
            store.move_away(store.path / folder)
            waiting.rename(store.path / folder)
    for folder in sorted(plan.remove):
        store.move_away(store.path / folder)
    store.sync()
    store.move_away(pending)
    store.sync()


def _is_folder(path: Path) -> bool:
    """A link is none."""
    return path.is_dir() and not path.is_symlink()

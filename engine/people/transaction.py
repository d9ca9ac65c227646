"""Several people of a store replaced or erased at once: all of it or nothing, whenever the power goes.

What is to come is built aside, with a plan of what it replaces, and renamed to `.pending`; from this moment on the
change counts. Then the folders are put into their places one by one. Whoever reads meanwhile, or after a crash, reads
through the plan; the next one who changes something finishes it first::

    .pending/
      plan.json      which people it puts in place, and which it removes
      bob/           what is not in its place yet
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import PersonDamaged, PersonError, system_text_of, text_of
from ..storage.atomic import NEW_PREFIX, make_folder, read_limited, sync_folder, temporary_folder, write_synced
from ..storage.names import folders_in, is_person_folder

_LOG = logging.getLogger(__name__)

PENDING, PLAN_FILE, OLD_PREFIX = ".pending", "plan.json", ".old-"
FORMAT = 1
MAX_PLAN_BYTES = 1 << 20

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
        raise PersonError(f"{path}: cannot be read: {system_text_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise PersonDamaged(
            f"{path}: damaged: {text_of(error)}; remove {path.parent} to drop the unfinished change"
        ) from error


def people_in(store: Path) -> list[str]:
    """The names of the folders of people, with the plan carried out.

    Raises:
        PersonError: the store or its plan cannot be read.
    """
    plan = read_plan(store)
    found = {path.name for path in folders_in(store) if is_person_folder(path.name)}
    return sorted((found | plan.put) - plan.remove)


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


def exchange(store: Path, put: Mapping[str, Files], remove: Iterable[str] = ()) -> None:
    """Replaces people, and erases others, in one step; the caller holds the lock, and has called `finish` before.

    Raises:
        OSError: it cannot be written; nothing has changed.
    """
    plan = {"format": FORMAT, "put": sorted(put), "remove": sorted(set(remove) - set(put))}
    with temporary_folder(store) as name:
        temporary = Path(name)
        for folder, files in put.items():
            make_folder(temporary / folder)
            write_tree(temporary / folder, files)
        write_synced(temporary / PLAN_FILE, json.dumps(plan, indent=1).encode() + b"\n")
        sync_folder(temporary)
        temporary.rename(store / PENDING)
    try:
        sync_folder(store)
    except OSError:
        shutil.rmtree(store / PENDING, ignore_errors=True)
        raise
    try:
        finish(store)
    except OSError as error:  # it counts already, and is read as if it were finished
        _LOG.warning("%s: %s: the change counts, the next one finishes it", store / PENDING, error.strerror)


def finish(store: Path) -> None:
    """Carries out what is pending; the caller holds the lock.

    Raises:
        OSError: something cannot be moved; what is pending stays so.
        PersonError: the plan cannot be read.
    """
    if not os.path.lexists(store / PENDING):
        return
    plan = read_plan(store)
    for folder in sorted(plan.put):
        waiting = store / PENDING / folder
        if _is_folder(waiting):
            move_away(store / folder, store)
            waiting.rename(store / folder)
    for folder in sorted(plan.remove):
        move_away(store / folder, store)
    sync_folder(store)
    move_away(store / PENDING, store)
    sync_folder(store)


def _is_folder(path: Path) -> bool:
    """A link is none."""
    return path.is_dir() and not path.is_symlink()


def move_away(path: Path, store: Path) -> Path:
    """From now on it is not there, whatever becomes of its files; where they are is returned."""
    away = store / f"{OLD_PREFIX}{secrets.token_hex(8)}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)
    return away


def leftovers(store: Path) -> Iterator[Path]:
    """What was erased and is not deleted yet, and what was never finished."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(store) as entries:
        yield from (store / entry.name for entry in entries if entry.name.startswith((NEW_PREFIX, OLD_PREFIX)))


def sweep(store: Path) -> None:
    """Deletes the leftovers; the caller holds the lock.

    Raises:
        OSError: one of them cannot be deleted.
    """
    for path in list(leftovers(store)):
        if _is_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink()


def sweep_or_warn(store: Path) -> None:
    """Deletes the leftovers as far as it can: they do not count, and must not keep anybody from enrolling."""
    try:
        sweep(store)
    except OSError as error:
        _LOG.warning("%s: cannot be deleted: %s", error.filename, error.strerror)

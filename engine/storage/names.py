"""How the folders of a store are named and found: one a person, one a wake word, one a version."""

from __future__ import annotations

import contextlib
import os
import unicodedata
import urllib.parse
from pathlib import Path

from ..errors import InputError, PersonError
from .owners import refusal

MAX_NAME_BYTES = 200  # of the folder's name; file systems allow 255


def folder_name(name: str) -> str:
    """A person's name as the name of a folder: percent-encoded, so that no name can point elsewhere.

    Raises:
        InputError: it is empty, has control characters or outer spaces, or is too long.
    """
    if not name or name != name.strip() or not name.isprintable():
        raise InputError(f"name {name!r} must have printable characters and no space at its ends")
    quoted = urllib.parse.quote(unicodedata.normalize("NFC", name), safe="").replace(".", "%2E")
    if len(quoted) > MAX_NAME_BYTES:
        raise InputError(f"name {name!r} is too long: {len(quoted)} bytes when encoded, {MAX_NAME_BYTES} are allowed")
    return quoted


def name_of(folder: str) -> str:
    """The name that a folder stands for."""
    return urllib.parse.unquote(folder)


def is_person_folder(folder: str) -> bool:
    """Whether `folder_name` names folders so: what it did not name stands for nobody, and could point anywhere."""
    with contextlib.suppress(InputError):
        return folder_name(name_of(folder)) == folder
    return False


def is_version(folder: str) -> bool:
    """Whether a folder is called as a version is: a number of four digits or more."""
    return folder.isascii() and folder.isdigit() and len(folder) <= 18 and f"{int(folder):04d}" == folder


def is_real(folder: Path, store: Path) -> bool:
    """Whether nothing between a store and a folder inside it is a link, which could point anywhere."""
    between = folder.relative_to(store).parts
    with contextlib.suppress(PermissionError):  # who lists the folder will say so
        return not any(store.joinpath(*between[: n + 1]).is_symlink() for n in range(len(between)))
    return True


def folders_in(path: Path) -> list[Path]:
    """The real folders inside a folder, hidden ones and links left out; none where there is no such folder."""
    try:
        with os.scandir(path) as entries:
            return [
                path / entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PersonError(f"{path}: cannot be read: {refusal(error, path)}") from error

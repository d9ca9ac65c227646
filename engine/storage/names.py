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
TAKEN = {
    "me": "`earmark wakes label` calls so whom it named",
    "not-me": "`earmark wakes label` calls so a stranger",
    "noise": "`earmark wakes label` calls so what nobody said",
    "none": "Home Assistant shows so that nobody is known",
    "null": "JSON says so that nobody is known",
    "unknown": "Home Assistant shows so that nobody is known",
    "unavailable": "Home Assistant shows so that earmark is not running",
    "nobody": "earmark says so where there is no person",
    "nobody known": "earmark says so of a stranger",
    "nobody is enrolled": "earmark says so where there is no person",
    "somebody else": "Home Assistant shows so who is not known",
    "any-phrase": "earmark calls so a phrase that no wake word network hears",
    "free-speech": "earmark calls so what is said beside the wake word",
}
"""Names that mean something else -> who uses them."""
# Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 16, first and last of each range
_IGNORABLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_BLANK = ((0x2800, 0x2800), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159))  # Braille, Khitan and musical, drawn as nothing
INVISIBLE = (*_IGNORABLE, *_BLANK)
"""Code points of which the eye sees nothing."""
# Letters of other scripts that look like the Latin ones in those names, folded
_LOOKALIKES = str.maketrans(
    {
        **dict(zip("аеокмѕіуԁһ", "aeokmsiydh")),  # Cyrillic
        **dict(zip("αεικνορυ", "aeiknopu")),  # Greek
        "ӏ": "l",
        "ı": "i",
        "ß": "ss",
    }
)


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


def check_new_name(name: str) -> None:
    """What nobody may be called from now on; whoever is called so already stays.

    Raises:
        InputError: as `folder_name`; or a part of it is invisible; or it is, or looks like, a label or a state.
    """
    folder_name(name)
    for letter in name:
        if is_invisible(letter):
            called = unicodedata.name(letter, "no character yet")
            raise InputError(f"name {name!a} has U+{ord(letter):04X} ({called}), which nobody sees: leave it out")
    for taken, use in TAKEN.items():
        if look_alike(name, taken):
            raise InputError(f"nobody can be called {name!r}: {use}; choose another name")


def is_invisible(letter: str) -> bool:
    """Whether a character is drawn as nothing, so that two names with and without it are the same for the eye."""
    return any(first <= ord(letter) <= last for first, last in INVISIBLE)


def look_alike(name: str, other: str) -> bool:
    """Whether two names differ in nothing that a person minds."""
    return _look(name) == _look(other)


def _look(name: str) -> str:
    """Names that are told apart by nothing but case, width, spaces and punctuation, or look alike, give the same."""
    folded = unicodedata.normalize("NFKC", name).casefold().translate(_LOOKALIKES)
    return "".join(letter for letter in folded if letter.isalnum()) or name


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

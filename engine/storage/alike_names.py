"""Names that look alike: other alphabets have letters that no eye tells from ours, and one may pass for the other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from .names import is_invisible

# Letters of Cyrillic and Greek that are drawn as a Latin one (a part of Unicode's UTS #39, confusables.txt), and of
# Latin: alpha, j without a dot, and small capitals, which are drawn as capitals
_DRAWN = "авеԁһіјкӏмноԛрѕтуѵԝхьгɡıαβεικνορτυχωϲсϳηγпɑȷᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"
_AS = "abedhijklmhoqpstyvwxbrgiabeikvoptuxwccjnynajabcdefghijklmnoprstuvwyz"
_LATIN = str.maketrans(_DRAWN, _AS)


def skeleton(name: str) -> str:
    """What is left of a name for the eye: two names with the same one look alike.

    Case, accents, width, what is invisible, and the alphabet of letters that are drawn alike make no difference. Nor
    do `0` and `o`, or `1`, `l` and `i`, which many typefaces draw alike.
    """
    letters = unicodedata.normalize("NFKD", name).casefold()
    bare = "".join(letter for letter in letters if not (unicodedata.combining(letter) or is_invisible(letter)))
    bare = bare.translate(_LATIN)
    return bare.translate(str.maketrans("01l|", "oiii")).replace(" ", "")


def alphabets(name: str) -> set[str]:
    """The alphabets of its letters, as `LATIN` and `CYRILLIC`."""
    return {unicodedata.name(letter, "?").split()[0] for letter in name if letter.isalpha()}


def warnings(name: str, others: Iterable[str]) -> Iterator[str]:
    """What somebody should know who gives this name to a person.

    Args:
        name: new, or somebody's already.
        others: who is in the store.
    """
    found = sorted(alphabets(name))
    if len(found) > 1 and {"LATIN"} < set(found) <= {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}:
        odd = next(letter for letter in name if letter.isalpha() and not unicodedata.name(letter).startswith("LATIN"))
        yield f"{name!r} has letters of several alphabets: its {odd} is {unicodedata.name(odd)}"
    for other in sorted(others):
        if other != name and skeleton(other) == skeleton(name):
            yield f"{name!r} looks like {other!r}, who is somebody else in this store"

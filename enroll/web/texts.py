"""The texts of the page: one catalogue a language, English where a translation lacks a text.

A catalogue is a JSON file of the folder `texts`: key -> text, in which `{name}` stands for something. Whoever
translates the page writes such a file.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "texts"
DEFAULT = "en"
_MARK = re.compile(r"\{(\w+)\}")


class Texts:
    """One language.

    Args:
        language: as its file is called.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts: Mapping[str, str] = {**_read(DEFAULT), **_read(language)}

    def __call__(self, key: str, **values: object) -> str:
        """A text with what its marks stand for; names may have braces in them.

        Raises:
            KeyError: there is no such text.
        """
        return _MARK.sub(lambda mark: str(values.get(mark[1], mark[0])), self._texts[key])

    def has(self, key: str) -> bool:
        """Whether there is a text of this key."""
        return key in self._texts

    def of(self, *starts: str) -> dict[str, str]:
        """The texts whose keys begin so, for the browser."""
        return {key: text for key, text in self._texts.items() if key.startswith(starts)}


@functools.cache
def languages() -> tuple[str, ...]:
    """Those that there are."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@functools.cache
def texts(language: str) -> Texts:
    """The texts of a language that there is."""
    return Texts(language if language in languages() else DEFAULT)


def wanted(accept: str) -> Texts:
    """The first language of a header `Accept-Language` that there is."""
    for part in accept.split(",")[:20]:
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in languages():
            return texts(language)
    return texts(DEFAULT)


@functools.cache
def _read(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((FOLDER / f"{language}.json").read_text("utf-8"))
    return found

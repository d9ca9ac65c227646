"""Text files that a person edited, whatever mark of its encoding an editor has put at their beginning.

Windows' Notepad and others begin a file with a byte order mark: three bytes that nobody sees, of UTF-8, or two, of
UTF-16. Everything that a person may have edited is read here.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TypeVar

AnyBytes = TypeVar("AnyBytes", bytes, bytearray)
MARK = "\ufeff"
"""The mark, decoded."""


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or what its mark says; without the mark.

    Raises:
        UnicodeDecodeError: it is no text of that encoding.
    """
    marked_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16") if marked_16 else without_mark(content).decode("utf-8")


def edited_text(path: Path) -> str:
    """All of a file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: as `decoded`.
    """
    return decoded(path.read_bytes())


def without_mark(content: AnyBytes) -> AnyBytes:
    """A key or a passphrase without the mark of UTF-8; other bytes are a key as they are."""
    return content.removeprefix(codecs.BOM_UTF8)

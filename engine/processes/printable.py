"""Text that a terminal only shows: what would move its cursor, clear it or turn its text around is written as a code.

A file, a manifest, a name, a broker or a client of the network may hold any character, and many lines quote one.
"""

from __future__ import annotations

import re
from typing import Any, TextIO

# All control characters but tab and line feed, and what turns text around (Unicode, UAX #9) or ends a line
_ACTIVE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text with each such character as `\u001b`, which is what it is in JSON too."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Printable:
    """A text stream that writes only printable text; everything else is that of the stream behind it.

    Args:
        stream: as standard output.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def rich_proxied_file(self) -> TextIO:
        """The stream itself, for rich, which asks by this name: colours and bars are made of such characters."""
        return self._stream

    def write(self, text: str) -> int:
        """Writes it, and returns how many characters that were before."""
        self._stream.write(printable(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes them one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

"""Text that fits a terminal, however narrow it is and whatever people are called."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Sequence
from typing import TextIO

LEAST_COLUMNS = 20  # in less nothing can be read; a word still fits
GAP = 2  # cells between two columns of a table
COMMAND = "      "
"""Before what is to be typed: such a line stays whole, so that it can be copied."""
_QUOTED = re.compile(r" ?`((?:earmark|sudo) [^`]*)`[.;,:]? ?")


def columns_of(stream: TextIO) -> int | None:
    """How many columns the terminal has that a stream goes to; None: it is none, and lines may have any length.

    `COLUMNS` says it where it is set, as it does for other programs.
    """
    try:
        if not stream.isatty():
            return None
        with contextlib.suppress(ValueError):
            return max(int(os.environ.get("COLUMNS", "")), LEAST_COLUMNS)
        return max(os.get_terminal_size(stream.fileno()).columns or 80, LEAST_COLUMNS)
    except (OSError, ValueError):  # closed
        return None


def cells(text: str) -> int:
    """How many columns a text takes: two for a letter of Chinese, none for an accent."""
    return sum(map(_cells_of, text))


def wrapped(text: str, columns: int | None, first: str = "", rest: str | None = None) -> list[str]:
    """One paragraph as lines of at most so many columns; a word that is longer is cut.

    Args:
        text: without line ends.
        columns: `LEAST_COLUMNS` or more; None: one line.
        first: before the first line.
        rest: before the others; None: as many spaces as `first` takes.
    """
    if columns is None:
        return [first + text]
    rest = " " * cells(first) if rest is None else rest
    lines, line, is_empty = [], first, True
    for word in text.split(" "):
        while True:
            joined = line + word if is_empty else f"{line} {word}"
            if cells(joined) <= columns:
                line, is_empty = joined, False
                break
            if is_empty:
                fits = _fitting(word, columns - cells(line))
                lines.append(line + word[:fits])
                word = word[fits:]
            else:
                lines.append(line)
            line, is_empty = rest, True
    return [*lines, line]


def told(text: str, columns: int | None) -> list[str]:
    """Lines of text, each wrapped under where it begins, behind a `-` too.

    On a terminal each command, behind `COMMAND` or between backquotes, is whole on a line of its own, without them.
    """
    if columns is None:
        return text.splitlines()
    lines = []
    for line in text.splitlines():
        if line.startswith(COMMAND):
            lines.append(command_line(line.strip(" "), columns))
            continue
        bare = line.lstrip(" -")
        before = line[: len(line) - len(bare)]
        for number, part in enumerate(_QUOTED.split(bare)):
            if number % 2:
                lines.append(command_line(part, columns))
            elif part or not number:
                lines += wrapped(part, columns, " " * len(before) if number else before)
    return lines


def command_line(command: str, columns: int | None) -> str:
    """What is to be typed, whole; indented as far as it then fits."""
    indent = len(COMMAND) if columns is None else min(len(COMMAND), max(columns - cells(command), 0))
    return " " * indent + command


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None, indent: int = 2) -> list[str]:
    """A table where it fits; else each row as a block of lines `title: value`, under the row's first cell."""
    widths = [max(map(cells, column)) for column in zip(titles, *rows)]
    if columns is None or indent + sum(widths) + GAP * (len(widths) - 1) <= columns:
        return [
            (" " * indent + (" " * GAP).join(_filled(cell, width) for cell, width in zip(row, widths))).rstrip(" ")
            for row in (titles, *rows)
        ]
    lines = []
    for row in rows:
        lines += wrapped(row[0].strip(" "), columns, " " * indent)
        for title, cell in list(zip(titles, row))[1:]:
            lines += wrapped(f"{title}: {cell}", columns, " " * (indent + 2), " " * (indent + 4))
    return lines


def _cells_of(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _fitting(word: str, columns: int) -> int:
    """How many letters of a word fit; at least one."""
    fits = 1
    while fits < len(word) and cells(word[: fits + 1]) <= columns:
        fits += 1
    return fits


def _filled(text: str, columns: int) -> str:
    return text + " " * (columns - cells(text))

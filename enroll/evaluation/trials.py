"""Trial lists: CSV files with the columns `path,speaker,phrase,role`, as people and their programs write them."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from earmark.engine.errors import InputError, text_of
from earmark.engine.storage.edited import decoded

COLUMNS = {"path", "speaker", "phrase", "role"}
ROLES = ("enroll", "test", "negative")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}


@dataclass(frozen=True)
class TrialList:
    """What a list names."""

    people: dict[str, dict[str, dict[str, list[Path]]]]
    """phrase -> speaker -> role -> files."""
    negatives: list[Path] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Recordings that are named more than once, a line each."""

    def only(self, wanted: Callable[[str], bool]) -> TrialList:
        """The trials among those speakers whose name is wanted."""
        people = {
            phrase: {speaker: roles for speaker, roles in speakers.items() if wanted(speaker)}
            for phrase, speakers in self.people.items()
        }
        return TrialList(people, self.negatives, self.repeated)


class _Row(NamedTuple):
    line: int
    path: Path
    speaker: str
    phrase: str
    role: str

    @property
    def use(self) -> str:
        """What the recording is used for."""
        return self.role if self.role == "negative" else f"{self.role} of {self.speaker}, {self.phrase}"


def read_trials(path: Path) -> TrialList:
    """Reads a list: UTF-8, or UTF-16 with its mark; parted by commas, semicolons, tabs, bars or spaces.

    Names of columns and roles may be in any case. What stands in two rows for the same is counted once.

    Raises:
        InputError: it cannot be read, lacks a column, or has a row that breaks the rules.
    """
    people: dict[str, dict[str, dict[str, list[Path]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    negatives = []
    rows, repeated = _without_repeated(list(_rows(path)))
    for row in rows:
        if row.role == "negative":
            negatives.append(row.path)
        else:
            people[row.phrase][row.speaker][row.role].append(row.path)
    return TrialList(people, negatives, repeated)


def _rows(path: Path) -> Iterator[_Row]:
    text = _text(path)
    begin = 0
    lines = text.splitlines(keepends=True)
    while begin < len(lines) and (not lines[begin].strip() or lines[begin].lower().startswith("sep=")):
        begin += 1  # a line for Excel alone
    line = begin
    try:
        header, separator = _header(path, lines[begin] if begin < len(lines) else "")
        rest = io.StringIO("".join(lines[begin + 1 :]), newline="")
        reader = csv.reader(rest, delimiter=separator, skipinitialspace=True)
        for cells in reader:
            line = begin + 1 + reader.line_num
            values = [cell.strip() for cell in cells]
            if any(values):
                yield _row(path, line, header, values)
    except csv.Error as error:
        raise InputError(f"{path}: behind line {line}: {text_of(error)}") from error


def _row(path: Path, line: int, header: list[str], values: list[str]) -> _Row:
    while len(values) > len(header) and not values[-1]:
        values = values[:-1]  # a separator at the end of the line
    if len(values) > len(header):
        raise InputError(
            f"{path}: line {line}: {len(values)} values, the first line has {len(header)}: put what holds the "
            'separator between quotes, as "a, b.wav"'
        )
    named = dict(zip(header, [*values, *[""] * (len(header) - len(values))]))
    role = named["role"].lower()
    if role not in ROLES:
        raise InputError(f"{path}: line {line}: role={named['role']!r} must be one of {', '.join(ROLES)}")
    for column in ("path",) if role == "negative" else ("path", "speaker"):
        if not named[column]:
            raise InputError(f"{path}: line {line}: it has no {column}, which a row of the role {role} needs")
    return _Row(line, path.parent / named["path"], named["speaker"], named["phrase"], role)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {text_of(error)}") from error
    try:
        text = decoded(content)
        if "\0" in text:
            raise InputError(f"{path}: cannot be read: it has zero bytes: save the list as text, in UTF-8")
        return text
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: cannot be read: line {line} is not UTF-8: save the list as UTF-8") from error


def _header(path: Path, line: str) -> tuple[list[str], str]:
    """The names of the columns, and what parts them."""
    for separator in SEPARATORS:
        cells = [
            cell.strip().lower() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        ]
        if set(cells) >= COLUMNS:
            twice = [name for name, count in Counter(cells).items() if count > 1 and name in COLUMNS]
            if twice:
                raise InputError(f"{path}: its first line has the column {twice[0]} twice")
            return cells, separator
    raise InputError(
        f"{path}: a trial list has the columns {', '.join(sorted(COLUMNS))}, parted by "
        f"{', '.join(SEPARATORS.values())}; its first line is {line.strip()[:80]!r}"
    )


def _without_repeated(rows: list[_Row]) -> tuple[list[_Row], list[str]]:
    """The rows that count, and what is to be said of those whose recording stands in an earlier one too."""
    kept, repeated = [], []
    before: dict[str, _Row] = {}
    used: set[tuple[str, str]] = set()
    for row, key in zip(rows, _keys(rows)):
        first = before.setdefault(key, row)
        if first is not row:
            same = (key, row.use) in used
            repeated.append(
                f"line {row.line}: {row.path}: the same recording as in line {first.line} ({first.use}); "
                + ("it counts once" if same else f"here it is {row.use}, and counts as both: correct one line")
            )
            if same:
                continue
        used.add((key, row.use))
        kept.append(row)
    return kept, repeated


def _keys(rows: list[_Row]) -> Iterator[str]:
    """What is the same for the same recording: its real path, or its content where other files are as large."""
    real = [os.path.realpath(row.path) for row in rows]
    sizes = {path: _size(path) for path in real}
    counted = Counter(sizes.values())
    contents = {path: _digest(path) for path, size in sizes.items() if size is not None and counted[size] > 1}
    for path in real:
        yield contents.get(path, path)


def _size(path: str) -> int | None:
    """In bytes; None where it is no plain file, which is said when it is heard."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _digest(path: str) -> str:
    """SHA-256 of what a file holds; its path where it cannot be read, which is said when it is heard."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return path
    return digest.hexdigest()

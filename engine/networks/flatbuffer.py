"""Reads a flatbuffer that somebody else made: every field that a schema names, each within the file.

The runtime follows the offsets of a model's file without a look at where they point, and the process dies of it. Here
all of them are followed first, in Python, which cannot be made to read elsewhere. The format: a table begins with the
distance back to its vtable, which has the place of each field in it, or 0; what is larger than a number stands
elsewhere, and the field is the distance to it (the "Internals" page of FlatBuffers).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from ..errors import ModelError

MOST_TABLES = 100_000  # the shipped networks have up to 2,700
MOST_SHARES = 4  # how often the same bytes may be read: tables may be shared, and 100 kB could stand for gigabytes

Schema = Mapping[str, tuple[tuple[str, str], ...]]
"""table -> its fields in order, each (name, type).

A type is a code of `struct` for a number; `text`; `bytes`; `[i]`, a vector of numbers; `Name`, a table; `[Name]`, a
vector of tables; `any`, a table whose type another field says, which is not followed but kept as its place; or `-`
for what must not be there.
"""
Record = dict[str, Any]
"""field -> value; None where it is not there."""


class Flatbuffer:
    """The content of a file, bounds checked at each step.

    Args:
        content: of the file.
        schema: of its tables.
        name: of the file, for messages.
    """

    def __init__(self, content: bytes, schema: Schema, name: str) -> None:
        self._content, self._schema, self._name = content, schema, name
        self._tables_left, self._bytes_left = MOST_TABLES, MOST_SHARES * len(content)

    def root(self, table: str) -> Record:
        """The table that a file begins with, and all below it.

        Raises:
            ModelError: something points out of the file, or is not in the schema.
        """
        return self.read(table, self._target(0))

    def read(self, table: str, at: int) -> Record:
        """One table by its place, and all below it.

        Raises:
            ModelError: as for `root`.
        """
        self._tables_left -= 1
        if self._tables_left < 0:
            raise self.damaged(f"more than {MOST_TABLES} tables")
        vtable = at - self._number("i", at)
        vtable_bytes, table_bytes = self._number("H", vtable), self._number("H", vtable + 2)
        if vtable_bytes < 4 or vtable_bytes % 2 or table_bytes < 4:
            raise self.damaged(f"the table at {at} has no layout")
        self._require(vtable, vtable_bytes)
        self._require(at, table_bytes)
        places = struct.unpack_from(f"<{vtable_bytes // 2 - 2}H", self._content, vtable + 4)
        fields = self._schema[table]
        if any(places[len(fields) :]):
            raise self.damaged(f"{table} has fields of a later format")
        record: Record = dict.fromkeys(name for name, _ in fields)
        for place, (name, kind) in zip(places, fields):
            if place:
                width = struct.calcsize(kind) if len(kind) == 1 and kind != "-" else 4
                if place < 4 or place + width > table_bytes:
                    raise self.damaged(f"{table}.{name} is outside of its table")
                record[name] = self._value(f"{table}.{name}", kind, at + place)
        return record

    def damaged(self, what: str) -> ModelError:
        """What is wrong, as an error to raise."""
        return ModelError(f"{self._name}: no usable network: {what}: copy or download it again")

    def _value(self, name: str, kind: str, at: int) -> Any:
        if kind == "-":
            raise self.damaged(f"{name} is not allowed")
        if len(kind) == 1:
            return self._number(kind, at)
        target = self._target(at)
        if kind == "any":
            return target
        if kind in ("text", "bytes"):
            return self._vector(name, target, 1, kind == "text")
        if not kind.startswith("["):
            return self.read(kind, target)
        inner = kind[1:-1]
        if len(inner) == 1:
            content = self._vector(name, target, struct.calcsize(inner))
            return struct.unpack(f"<{len(content) // struct.calcsize(inner)}{inner}", content)
        count = len(self._vector(name, target, 4)) // 4
        return [self.read(inner, self._target(target + 4 + 4 * n)) for n in range(count)]

    def _vector(self, name: str, at: int, width: int, is_text: bool = False) -> bytes:
        size = self._number("I", at) * width
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise self.damaged(f"{name} and what is before it read the file more than {MOST_SHARES} times")
        if (at + 4) % min(width, 4):
            raise self.damaged(f"{name} is not aligned")
        self._require(at + 4, size + is_text)
        if is_text and self._content[at + 4 + size]:
            raise self.damaged(f"{name} has no end")
        return self._content[at + 4 : at + 4 + size]

    def _target(self, at: int) -> int:
        distance: int = self._number("I", at)
        return at + distance

    def _number(self, kind: str, at: int) -> Any:
        width = struct.calcsize(kind)
        self._require(at, width)
        if at % min(width, 4):
            raise self.damaged(f"what is at {at} is not aligned")
        return struct.unpack_from(f"<{kind}", self._content, at)[0]

    def _require(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self._content):
            raise self.damaged(f"truncated or damaged: it points to {at} of {len(self._content)} bytes")

"""Where a file's sound lies, and a view of the file in which its header says so."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

MAX_32 = 0xFFFFFFFF
MOST_CHUNKS = 10_000  # a file of nothing but empty ones would take minutes
ENDLESS = 1 << 40  # samples; a granule position that no recording reaches

Piece = Union[bytes, "tuple[int, int]"]
"""A part of a view: these bytes, or the file's from the first to before the second position."""


@dataclass(frozen=True)
class Extent:
    """Where a file's sound lies. None: the header does not say."""

    claimed_bytes: int | None = None
    """The header's length of the sound."""
    there_bytes: int = 0
    """The bytes of sound that are there."""
    claimed_frames: int | None = None
    """The header's length, where it counts frames."""
    view: tuple[Piece, ...] = ()
    """What libsndfile has to be shown instead of the file; empty: the file as it is."""
    cut: bool = False
    """It ends within something, and nothing says how much is missing."""
    unfinished: bool = False
    """It has no mark of its end, and may have had more."""
    counted: bool = True
    """Whether libsndfile's own count of frames is what the header promises."""

    @property
    def beyond(self) -> bool:
        """Whether there is more sound than the header says."""
        return self.claimed_bytes is not None and 0 <= self.claimed_bytes < self.there_bytes


class View(io.RawIOBase):
    """A file of which parts are replaced, read only."""

    def __init__(self, path: Path, pieces: tuple[Piece, ...]) -> None:
        super().__init__()
        self._file = io.FileIO(path)
        self._parts: list[tuple[int, int, Piece]] = []  # first position in the view, end, what is there
        self._at = end = 0
        for piece in pieces:
            length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._parts.append((end, end + length, piece))
            end += length
        self._end = end

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Like any file's."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence])
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fills the buffer as far as the view goes."""
        target, count = memoryview(buffer), 0
        for start, end, piece in self._parts:
            if start <= self._at < end and count < len(target):
                here = min(end - self._at, len(target) - count)
                got = self._part(piece, self._at - start, here)
                target[count : count + len(got)] = got
                count += len(got)
                self._at += len(got)
                if len(got) < here:  # the file has become shorter meanwhile
                    break
        return count

    def _part(self, piece: Piece, offset: int, length: int) -> bytes:
        if isinstance(piece, bytes):
            return piece[offset : offset + length]
        self._file.seek(piece[0] + offset)
        return self._file.read(length)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


def patched(extent: Extent, end: int, fields: dict[int, bytes]) -> Extent:
    """With a view of the file up to `end`, in which some fields are other ones."""
    pieces: list[Piece] = []
    at = 0
    for position, content in sorted(fields.items()):
        pieces += [(at, position), content]
        at = position + len(content)
    return replace(extent, view=(*pieces, (at, end)))


def bytes_at(file: io.FileIO, position: int, length: int) -> bytes:
    """So many bytes from there, or what there is of them."""
    if not 0 <= position < os.fstat(file.fileno()).st_size:  # file systems do not seek everywhere
        return b""
    file.seek(position)
    return file.read(length)

"""Reads the header of a file by the reader of its format."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable

from . import counted_bytes, counted_frames
from .extent import Extent, bytes_at

Reader = Callable[[io.FileIO, int], Extent]
_READERS: tuple[tuple[bytes, Reader], ...] = (
    (rb"RIFF|RIFX|RF64", counted_bytes.riff),
    (rb"riff\x2e\x91", counted_bytes.w64),
    (rb"FORM....AIF[FC]", counted_bytes.aiff),
    (rb"caff", counted_bytes.caf),
    (rb"\.snd|dns\.", counted_bytes.au),
    (rb"NIST_1A", counted_bytes.nist),
    (rb"Creative Voi", counted_bytes.voc),
    (rb"OggS", counted_frames.ogg),
    (rb"fLaC", counted_frames.flac),
    (rb"ID3", counted_frames.tagged),
    (rb"\xff[\xe0-\xff]", counted_frames.mp3),
    (rb".{8}\0\x02\0\0", counted_bytes.htk),
)


def read_header(file: io.FileIO) -> Extent:
    """What a file's header says. A format that is not known here, or a damaged header, says nothing."""
    size = file.seek(0, os.SEEK_END)
    first = bytes_at(file, 0, 12)
    for begins, reader in _READERS:
        if re.match(begins, first, re.DOTALL):
            return reader(file, size)
    return Extent()


def beginning(file: io.FileIO) -> bytes:
    """The first bytes of a file, by which its format is known."""
    return bytes_at(file, 0, 16)

"""Recordings of an enrolment, of any length: each is heard in pieces that are cut where it is quiet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np

from earmark.engine.audio.files import FileSource, read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import AudioError

from .takes.quality import Fault

# What is measured on a piece takes twenty times its own 2 MB. A recording that is no longer stays whole.
PIECE_SAMPLES = 60 * RATE_HZ
SEARCH_SAMPLES = (
    15 * RATE_HZ
)  # the last part of a piece, in which it may end: nobody speaks for so long without a pause
PAUSE_SAMPLES = RATE_HZ // 2  # where that much is quietest, a piece ends in the middle


@dataclass(frozen=True)
class Recording:
    """A recording of an enrolment that is in memory."""

    file: str
    samples: Int16
    """(n,) int16 at 16 kHz."""

    @classmethod
    def read(cls, file: str, channel: int | None = None) -> Recording:
        """Reads the whole of a file; takes and raises what `FileSource` does."""
        return cls(file, read_audio(file, channel))

    def pieces(self) -> Iterator[Int16]:
        """(n,) int16 each, at most a minute, in order."""
        return in_pieces([self.samples])


@dataclass(frozen=True)
class RecordedFile:
    """A recording of an enrolment that is read, a piece at a time, whenever it is heard."""

    file: str
    channel: int | None = None

    def pieces(self) -> Iterator[Int16]:
        """(n,) int16 each, at most a minute, in order; raises what `FileSource` does."""
        with FileSource(self.file, channel=self.channel) as source:
            yield from in_pieces(block.samples for block in source)


AnyRecording = Union[Recording, RecordedFile]


def read_recordings(
    files: Sequence[str], channel: int | None = None, most: int | None = None
) -> tuple[list[RecordedFile], list[Fault]]:
    """The recordings that can be read to their end, and the faults of the others.

    Args:
        files: their paths.
        channel: of several channels only this one; None: those that hold the voice.
        most: so many recordings are enough; None: all of them.
    """
    recordings: list[RecordedFile] = []
    faults = []
    for file in files:
        if len(recordings) == most:
            break
        try:
            with FileSource(file, channel=channel) as source:
                for _ in source:  # a file whose end is missing must not be used by half
                    pass
            recordings.append(RecordedFile(file, channel))
        except AudioError as error:
            faults.append(Fault(file, "unreadable", str(error).removeprefix(f"{file}: ")))
    return recordings, faults


def in_pieces(blocks: Iterable[Int16]) -> Iterator[Int16]:
    """(n,) int16 blocks of any length -> pieces of at most a minute, cut where the last quarter of each is quietest.

    There is one piece at least, an empty one of nothing.
    """
    waiting: list[Int16] = []
    length, first = 0, True
    for block in blocks:
        for start in range(0, len(block), PIECE_SAMPLES):
            waiting.append(block[start : start + PIECE_SAMPLES])
            length += len(waiting[-1])
            if length > PIECE_SAMPLES:
                joined = np.concatenate(waiting)
                end = _quietest(joined[:PIECE_SAMPLES])
                yield joined[:end]
                waiting, length, first = [joined[end:].copy()], length - end, False
    if first or length:
        yield waiting[0] if len(waiting) == 1 else np.concatenate([np.zeros(0, np.int16), *waiting])


def _quietest(piece: Int16) -> int:
    """Where (n,) int16 is to end: the middle of the quietest half second in its last part; an offset is no sound."""
    frames = piece[-SEARCH_SAMPLES:].reshape(-1, PAUSE_SAMPLES).astype(np.float64)
    return len(piece) - SEARCH_SAMPLES + int(np.argmin(frames.var(axis=1))) * PAUSE_SAMPLES + PAUSE_SAMPLES // 2

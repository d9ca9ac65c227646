"""Recordings of an enrolment: files that are read as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16
from earmark.engine.errors import AudioError

from .takes.quality import Fault


@dataclass(frozen=True)
class Recording:
    """One file of an enrolment."""

    file: str
    samples: Int16
    """(n,) int16 at 16 kHz."""

    @classmethod
    def read(cls, file: str, channel: int | None = None) -> Recording:
        """Reads a file; takes and raises what `FileSource` does."""
        return cls(file, read_audio(file, channel))


def read_recordings(files: Sequence[str], channel: int | None = None) -> tuple[list[Recording], list[Fault]]:
    """The recordings, and the faults of those that cannot be read; of several channels only that one."""
    recordings, faults = [], []
    for file in files:
        try:
            recordings.append(Recording.read(file, channel))
        except AudioError as error:
            faults.append(Fault(file, "unreadable", str(error).removeprefix(f"{file}: ")))
    return recordings, faults

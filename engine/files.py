"""Recordings as a source: whatever libsndfile reads, converted to 16 kHz mono."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .audio import AudioFormat, Converter, Float32, Int16
from .errors import AudioError
from .sources import BLOCK_SAMPLES, Source


class FileSource(Source):
    """A WAV, FLAC, Ogg or other file that libsndfile reads; any width, rate and number of channels.

    Memory is flat in the file's length. A truncated file delivers what it has and then raises AudioError, so that
    nothing readable is lost and nobody takes it for a whole one.

    Raises:
        AudioError: the path is missing, a folder, not readable, not audio or empty; while iterating: the file is
            truncated or damaged, or has NaN samples.
    """

    def __init__(self, path: str | os.PathLike[str], block_frames: int = BLOCK_SAMPLES) -> None:
        self.name = os.fspath(path)
        self._block_frames = block_frames
        self._file = _open_audio(Path(path))
        self._promised_frames = _promised_frames(Path(path), self._file)
        try:
            self._converter = Converter(AudioFormat(self._file.samplerate, self._file.channels))
        except AudioError as error:
            self.close()
            raise AudioError(f"{self.name}: {error}") from error

    def _pieces(self) -> Iterator[Int16]:
        self._file.seek(0)
        self._converter.reset()
        read_frames = 0
        while True:
            frames = self._read()
            if not len(frames):
                break
            read_frames += len(frames)
            try:
                yield self._converter.push(frames)
            except AudioError as error:
                raise AudioError(f"{self.name}: {error}") from error
        yield self._converter.finish()
        if read_frames < self._promised_frames:
            raise AudioError(
                f"{self.name}: truncated: the header promises {self._promised_frames} frames, the file holds "
                f"{read_frames}; record or copy it again"
            )

    def _read(self) -> Float32:
        try:
            frames: Float32 = self._file.read(self._block_frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.name}: damaged: {error}") from error
        return frames

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_audio(path: str | os.PathLike[str]) -> Int16:
    """The whole of a file as (n,) int16 at 16 kHz mono; raises what `FileSource` raises."""
    with FileSource(path) as source:
        return np.concatenate([block.samples for block in source])


def _open_audio(path: Path) -> Any:
    try:
        with path.open("rb") as probe:  # libsndfile says "System error" for all of these
            if not probe.read(1):
                raise AudioError(f"{path}: empty: 0 bytes")
    except OSError as error:
        reason = {errno.ENOENT: "no such file", errno.EISDIR: "a folder, not a file", errno.EACCES: "no permission"}
        raise AudioError(f"{path}: {reason.get(error.errno or 0, error.strerror)}") from error
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not audio that can be read ({error}); WAV, FLAC and Ogg can") from error
    if file.frames == 0:
        file.close()
        raise AudioError(f"{path}: empty: no samples behind its header")
    return file


def _promised_frames(path: Path, file: Any) -> int:
    """How many frames the header promises.

    libsndfile silently shortens a truncated WAV, so the length is read from the `data` chunk itself. Zero and
    0xFFFFFFFF stand there when a recorder wrote to a pipe and could not know: then the promise is what there is.
    """
    if file.format not in ("WAV", "WAVEX"):
        return int(file.frames)
    bits = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}.get(file.subtype)
    size = _wav_data_bytes(path)
    if bits is None or size in (0, 0xFFFFFFFF) or size >= 0x7FFFFF00:
        return int(file.frames)
    return int(size * 8 // (bits * file.channels))


def _wav_data_bytes(path: Path) -> int:
    """The size that the `data` chunk claims; 0 where there is none."""
    with path.open("rb") as file:
        file.seek(12)  # RIFF, size, WAVE
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"data":
                return int(size)
            file.seek(size + size % 2, os.SEEK_CUR)  # chunks are padded to even length
    return 0

"""Recordings as a source: whatever libsndfile reads, converted to 16 kHz mono."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import AudioError, text_of
from .samples import RATE_HZ, AudioFormat, Converter, Int16
from .sources import BLOCK_SAMPLES, Source

UNKNOWN_LENGTH_BYTES = 0x7FFFF000  # what sox writes into a pipe; arecord and ffmpeg write more


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
        self._handle, self._file, self._promised_frames = _open_audio(Path(path))
        # What is in our format already needs no conversion: a quarter of what a replay costs
        self._as_it_is = (self._file.samplerate, self._file.channels, self._file.subtype) == (RATE_HZ, 1, "PCM_16")
        try:
            self._converter = Converter(AudioFormat(self._file.samplerate, self._file.channels))
        except AudioError as error:
            self.close()
            raise AudioError(f"{self.name}: {error}") from error

    def _pieces(self) -> Iterator[Int16]:
        self._rewind()
        self._converter.reset()
        read_frames = 0
        while True:
            frames = self._read("int16" if self._as_it_is else "float32")
            if not len(frames):
                break
            read_frames += len(frames)
            try:
                yield frames[:, 0] if self._as_it_is else self._converter.push(frames)
            except AudioError as error:
                raise AudioError(f"{self.name}: {error}") from error
        yield self._converter.finish()
        if read_frames < self._promised_frames:
            raise AudioError(
                f"{self.name}: truncated: the header promises {self._promised_frames} frames, the file holds "
                f"{read_frames}; record or copy it again"
            )

    def _rewind(self) -> None:
        try:
            if self._file.seekable():  # GSM is not: it can be read once
                self._file.seek(0)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.name}: damaged: {text_of(error)}") from error

    def _read(self, dtype: str) -> Any:
        """(n, channels) of that type."""
        try:
            frames = self._file.read(self._block_frames, dtype=dtype, always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.name}: damaged: {text_of(error)}") from error
        return frames

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._handle.close()


def read_audio(path: str | os.PathLike[str]) -> Int16:
    """The whole of a file as (n,) int16 at 16 kHz mono; raises what `FileSource` raises."""
    with FileSource(path) as source:
        return np.concatenate([np.zeros(0, np.int16), *(block.samples for block in source)])


class _Unclosed(io.FileIO):
    """A WAV whose recorder never came back to write the length: the 0 there reads as "up to the end"."""

    def __init__(self, path: Path, size_at: int) -> None:
        super().__init__(path)
        self._size_at = size_at

    def readinto(self, buffer: Any) -> int:
        """Like FileIO's, with the four bytes of the length replaced."""
        start = self.tell()
        count = super().readinto(buffer) or 0
        for at in range(max(self._size_at, start), min(self._size_at + 4, start + count)):
            memoryview(buffer)[at - start : at - start + 1] = b"\xff"
        return count


def _open_audio(path: Path) -> tuple[io.FileIO, Any, int]:
    """The file, the same as audio, and how many frames it promises; whoever calls closes both."""
    handle = _open(path)
    try:
        size_at, data_bytes = _wav_data(handle)
        unclosed = size_at > 0 and data_bytes == 0 and handle.seek(0, os.SEEK_END) > size_at + 4
        if unclosed:  # libsndfile would take the samples for the next chunk
            handle.close()
            handle = _Unclosed(path, size_at)
        handle.seek(0)
        file = soundfile.SoundFile(handle if unclosed else handle.fileno(), closefd=False)
        if file.frames == 0:
            file.close()
            raise AudioError(f"{path}: empty: no samples behind its header")
    except soundfile.LibsndfileError as error:
        handle.close()
        raise AudioError(
            f"{path}: not audio that can be read ({error.error_string}); WAV, FLAC and Ogg can"
        ) from error
    except AudioError:
        handle.close()
        raise
    return handle, file, _promised_frames(data_bytes, file)


def _open(path: Path) -> io.FileIO:
    """The file, not empty; libsndfile says "System error" for everything that is wrong here."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise AudioError(f"{path}: a pipe, not a file: `earmark listen -` takes raw audio from one")
        handle = io.FileIO(path)
    except OSError as error:
        reason = {errno.ENOENT: "no such file", errno.EISDIR: "a folder, not a file", errno.EACCES: "no permission"}
        raise AudioError(f"{path}: {reason.get(error.errno or 0, error.strerror)}") from error
    if not handle.seek(0, os.SEEK_END):
        handle.close()
        raise AudioError(f"{path}: empty: 0 bytes")
    return handle


def _promised_frames(data_bytes: int, file: Any) -> int:
    """How many frames the header promises.

    libsndfile silently shortens a truncated WAV, so the length is read from the `data` chunk itself. Zero or about
    2 or 4 GB stand there when a recorder wrote to a pipe and could not know: then the promise is what there is.
    """
    bits = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}.get(file.subtype)
    unknown = data_bytes == 0 or data_bytes >= UNKNOWN_LENGTH_BYTES
    if file.format not in ("WAV", "WAVEX") or bits is None or unknown:
        return int(file.frames)
    return int(data_bytes * 8 // (bits * file.channels))


def _wav_data(file: io.FileIO) -> tuple[int, int]:
    """Where the size of the `data` chunk stands, and what it claims; zeros where there is none."""
    file.seek(0)
    order = {b"RIFF": "<", b"RIFX": ">"}.get(file.read(4))
    if order is None:
        return 0, 0
    file.seek(12)  # RIFF, size, WAVE
    while len(header := file.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", header)
        if name == b"data":
            return file.tell() - 4, int(size)
        file.seek(size + size % 2, os.SEEK_CUR)  # chunks are padded to even length
    return 0, 0

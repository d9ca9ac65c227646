"""Recordings as a source: whatever libsndfile reads, converted to 16 kHz mono."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import AudioError, text_of
from .channels import Covariance, Mono, choose, one_channel
from .headers.extent import Extent, View
from .headers.reading import beginning, read_header
from .quiet_stderr import silenced
from .samples import FULL_RANGE, RATE_HZ, AudioFormat, Converter, Int16
from .sources import BLOCK_SAMPLES, Source

_LOG = logging.getLogger(__name__)

LITTLE_MISSING_S = 0.05  # no word is lost with it, and a header that counts itself promises less than that too much
GSM_BYTES, GSM_FRAMES = 33, 160  # of a block; WAV has two in 65 bytes
NO_COUNT = 1 << 62  # libsndfile's frames of a stream without an end

_BITS = {  # of a sample, where each has as many
    **{"PCM_S8": 8, "PCM_U8": 8, "ULAW": 8, "ALAW": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32},
    **{"FLOAT": 32, "DOUBLE": 64},
}
_IN_THE_LOG = {  # where libsndfile's log says what the header promises: a pattern, and whether it counts bytes
    "AVR": (r"Frames\s*: (\d+)", False),
    "MAT4": (r"Cols\s*: (\d+)", False),
    "MAT5": (r"Cols\s*: (\d+)", False),
    "MPC2K": (r"Frames\s*: (\d+)", False),
    "SVX": (r"BODY : (\d+)", True),
    "WVE": (r"Data length (\d+)", True),
}
_OTHER_FORMATS = {  # how files begin that libsndfile does not read -> what they are
    rb".{4}ftyp": "M4A or MP4",
    rb"\x1a\x45\xdf\xa3": "WebM or Matroska",
    rb"#!AMR": "AMR",
    rb"\x30\x26\xb2\x75": "WMA",
    rb"wvpk": "WavPack",
    rb"MAC ": "Monkey's Audio",
    rb"\xff[\xf0\xf1\xf8\xf9]": "AAC",
    rb"\.ra\xfd|\.RMF": "RealAudio",
}


@dataclass
class _Opened:
    """An open file; whoever opened it closes it."""

    handle: Any
    audio: Any
    extent: Extent

    def close(self) -> None:
        self.audio.close()
        self.handle.close()


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Read from its beginning to its end only: a seek, as after each read, fails where the length is not known."""

    def seekable(self) -> bool:
        return False


class FileSource(Source):
    """A WAV, FLAC, Ogg or other file that libsndfile reads; any width, rate and number of channels.

    All the sound that there is is delivered, whatever the header says of its length (`headers`). A file that is
    truncated by more than 50 ms then raises AudioError, so that nobody takes it for a whole one. Of several channels
    those are mixed that hold the voice (`channels`), for which the file is read twice. Memory is flat in its length.

    Args:
        path: of the file.
        block_frames: so many are read at once.
        channel: only this one, from 0; None: those that hold the voice.

    Raises:
        AudioError: the path is missing, a folder, not readable, not audio or empty, or there is no such channel;
            while iterating: the file is truncated or damaged, or has NaN samples.
    """

    def __init__(
        self, path: str | os.PathLike[str], block_frames: int = BLOCK_SAMPLES, channel: int | None = None
    ) -> None:
        self.name = os.fspath(path)
        self._path, self._block_frames = Path(path), block_frames
        self._opened: _Opened | None = _open_audio(self._path)
        audio = self._opened.audio
        # What is in our format already needs no conversion: a quarter of what a replay costs
        self._as_it_is = (audio.samplerate, audio.channels, audio.subtype) == (RATE_HZ, 1, "PCM_16")
        self._mix: Mono | None = None
        self._said: set[str] = set()
        try:
            self._format = AudioFormat(audio.samplerate, audio.channels)
            if channel is not None:
                self._mix = one_channel(channel, audio.channels)
        except AudioError as error:
            self.close()
            raise AudioError(f"{self.name}: {error}") from error

    def _pieces(self) -> Iterator[Int16]:
        if self._mix is None and self._format.channels > 1:
            covariance = Covariance(self._format.channels)
            with self._from_its_beginning() as reading:
                for frames in reading.frames("float32"):
                    covariance.push(frames)
            self._mix = mix = choose(covariance.matrix())
            for remark in mix.remarks:
                self._say(remark)
        converter = Converter(self._format, self._mix)
        with self._from_its_beginning() as reading:
            for frames in reading.frames("int16" if self._as_it_is else "float32"):
                try:
                    yield frames[:, 0] if self._as_it_is else converter.push(frames)
                except AudioError as error:
                    raise AudioError(f"{self.name}: {error}") from error
            yield converter.finish()
            for remark in reading.remarks():
                self._say(remark)

    @contextlib.contextmanager
    def _from_its_beginning(self) -> Iterator[_Reading]:
        opened, self._opened = self._opened or _open_audio(self._path), None
        try:
            yield _Reading(opened, self.name, self._block_frames)
        finally:
            opened.close()

    def _say(self, remark: str) -> None:
        if remark not in self._said:
            self._said.add(remark)
            _LOG.warning("%s: %s", self.name, remark)

    def close(self) -> None:
        """Closes the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


class _Reading:
    """One pass over a file."""

    def __init__(self, opened: _Opened, name: str, block_frames: int) -> None:
        self._opened, self._name, self._block_frames = opened, name, block_frames
        self._read_frames = 0
        self._loudest = 0.0
        self._damage = ""

    def frames(self, dtype: str) -> Iterator[Any]:
        """(n, channels) of that type, up to the end or to what is damaged."""
        audio = self._opened.audio
        floats = audio.subtype in ("FLOAT", "DOUBLE")
        most = _most_frames(audio, self._opened.extent)
        while not self._damage and self._read_frames < most:
            frames = self._next(dtype, min(self._block_frames, most - self._read_frames))
            if not len(frames):
                break
            self._read_frames += len(frames)
            if floats:
                self._loudest = max(self._loudest, float(np.abs(frames).max()))
            yield frames

    def _next(self, dtype: str, count: int) -> Any:
        """The next frames; none at the end."""
        audio = self._opened.audio
        frames = np.empty((count, audio.channels), dtype)
        quiet = silenced() if audio.format == "MP3" else contextlib.nullcontext()  # libmpg123 says what it thinks
        with quiet:
            try:
                return audio.read(count, dtype=dtype, always_2d=True, out=frames)
            except soundfile.LibsndfileError as error:
                self._damage = text_of(error)
            with contextlib.suppress(soundfile.LibsndfileError):  # what was read before the damage counts
                return frames[: max(0, audio.tell() - self._read_frames)]
        return frames[:0]

    def remarks(self) -> Iterator[str]:
        """What is to be said of a file that was read to its end.

        Raises:
            AudioError: more is missing, or damaged, than can be let pass.
        """
        audio, extent = self._opened.audio, self._opened.extent
        promised = self._promised_frames()
        missing_s = 0.0 if promised is None else (promised - self._read_frames) / audio.samplerate
        there = f"the header promises {promised} frames, the file holds {self._read_frames}"
        if not self._read_frames and not promised and not self._damage:
            raise AudioError(f"{self._name}: empty: no samples behind its header")
        if missing_s > LITTLE_MISSING_S:
            reason = f" ({self._damage})" if self._damage else ""
            raise AudioError(f"{self._name}: truncated: {there}{reason}; record or copy it again")
        if extent.cut or (self._damage and promised is None):
            reason = self._damage or "it ends within a page"
            raise AudioError(
                f"{self._name}: truncated or damaged: {reason} behind {self._read_frames} frames; record or copy it "
                "again"
            )
        if missing_s > 0:
            yield f"{there}: {1000 * missing_s:.3g} ms are missing at its end"
        if missing_s < -LITTLE_MISSING_S:
            yield f"{there}: all of it is heard"
        if extent.unfinished:
            yield "it has no mark of its end: if it was copied, more may have come"
        if self._loudest > FULL_RANGE:
            yield (
                f"float samples up to {self._loudest:.4g}: full scale is 1.0, and what is beyond it is clipped; "
                "divide by 32768 what was int16"
            )

    def _promised_frames(self) -> int | None:
        """How many frames the header promises; None: it does not say."""
        audio, extent = self._opened.audio, self._opened.extent
        if extent.claimed_frames is not None:
            return extent.claimed_frames
        claimed_bytes = extent.claimed_bytes
        if claimed_bytes is None and audio.format in _IN_THE_LOG:
            pattern, in_bytes = _IN_THE_LOG[audio.format]
            found = re.findall(pattern, audio.extra_info)
            if found and not in_bytes:
                return int(found[-1])
            claimed_bytes = int(found[-1]) if found else None
        if claimed_bytes is not None:
            if audio.subtype in _BITS:
                return int(claimed_bytes * 8 // (_BITS[audio.subtype] * audio.channels))
            return round(self._read_frames * claimed_bytes / max(extent.there_bytes, 1))  # as many bits a second
        return int(audio.frames) if extent.counted and audio.frames < NO_COUNT else None


MOST_WHOLE_S = 3600
"""Of a recording that is taken as a whole: 115 MB."""


def read_audio(path: str | os.PathLike[str], channel: int | None = None) -> Int16:
    """The whole of a file as (n,) int16 at 16 kHz mono; takes and raises what `FileSource` does.

    Raises:
        AudioError: it has more than an hour: of silence, 2 MB of FLAC hold ten hours, which are gigabytes here.
    """
    pieces, count = [np.zeros(0, np.int16)], 0
    with FileSource(path, channel=channel) as source:
        for block in source:
            pieces.append(block.samples)
            count += len(block.samples)
            if count > MOST_WHOLE_S * RATE_HZ:
                raise AudioError(
                    f"{path}: has more than {MOST_WHOLE_S // 60} minutes of sound: cut out what is needed, as with "
                    "`ffmpeg -ss START -t SECONDS -i FILE PART.wav`; `earmark replay` takes any length"
                )
    return np.concatenate(pieces)


def _open_audio(path: Path) -> _Opened:
    """The file, the same as audio, and what its header says."""
    handle: Any = _open(path)
    try:
        extent = read_header(handle)
        begins = beginning(handle)
        if extent.view:
            handle.close()
            handle = View(path, extent.view)
        handle.seek(0)
        with silenced() if begins.startswith((b"ID3", b"\xff")) else contextlib.nullcontext():  # libmpg123 again
            audio = _SoundFile(handle if extent.view else handle.fileno(), closefd=False)
    except soundfile.LibsndfileError as error:
        handle.close()
        raise AudioError(f"{path}: {_unreadable(error, begins)}") from error
    opened = _Opened(handle, audio, extent)
    if audio.frames == 0:
        opened.close()
        raise AudioError(f"{path}: empty: no samples behind its header")
    return opened


def _unreadable(error: Any, begins: bytes) -> str:
    for pattern, kind in _OTHER_FORMATS.items():
        if re.match(pattern, begins, re.DOTALL):
            return (
                f"not audio that can be read: it looks like {kind}; WAV, FLAC and Ogg can: "
                "`ffmpeg -i FILE -ar 16000 -ac 1 FILE.wav` makes one"
            )
    return f"not audio that can be read ({error.error_string}); record it again as WAV, FLAC or Ogg"


def _open(path: Path) -> Any:
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


def _most_frames(audio: Any, extent: Extent) -> int:
    """How many frames may be read: behind a cut end, MIDI sample dumps repeat their last block, and GSM is silent."""
    if audio.format == "SDS" and (found := re.search(r"^Frames\s*: (\d+)", audio.extra_info, re.MULTILINE)):
        return int(found[1])
    if extent.there_bytes and audio.subtype == "GSM610":
        return -(-extent.there_bytes // GSM_BYTES) * GSM_FRAMES
    return NO_COUNT

"""What comes out of a pipe that should be raw audio, and is something else."""

from __future__ import annotations

import re
import struct

import numpy as np

from ..errors import AudioError
from .samples import RATE_HZ, Int16

MAGIC_BYTES = 12
MOST_HEADER_BYTES = 1 << 16  # a WAV whose sound begins later is no recorder's
PCM, EXTENSIBLE = 1, 0xFFFE  # of a WAV's `fmt `
_KINDS = {  # how recordings in a format of their own begin; four bytes at least, which raw audio hardly ever has
    rb"RIFF....WAVE|RF64....WAVE|RIFX....WAVE": "a WAV",
    rb"fLaC": "a FLAC",
    rb"OggS": "an Ogg",
    rb"ID3[\x02-\x04]\0": "an MP3",
    rb"FORM....AIF[FC]": "an AIFF",
    rb"\.snd\0\0": "an AU",
    rb"caff\0\x01": "a CAF",
    rb"riff\x2e\x91\xcf\x11": "a W64",
    rb"NIST_1A\n": "a NIST",
    rb"....ftyp": "an M4A or MP4",
    rb"\x1a\x45\xdf\xa3": "a WebM or Matroska",
    rb"#!AMR": "an AMR",
    rb"wvpk": "a WavPack",
}
_RAW = "`ffmpeg -i FILE -f s16le -ar 16000 -ac 1 - | earmark listen -` makes it raw"


def is_too_short(begin: bytes) -> bool:
    """Whether more is needed to tell what it is: some bytes, or all of a WAV's header."""
    if len(begin) < MAGIC_BYTES:
        return True
    return (
        begin.startswith(b"RIFF")
        and begin[8:12] == b"WAVE"
        and len(begin) < MOST_HEADER_BYTES
        and _sound_of(begin) is None
    )


def sound_at(begin: bytes, channels: int) -> int:
    """Where the sound begins: 0, or behind the header of a WAV with 16 bits at 16 kHz and so many channels.

    Raises:
        AudioError: it is a recording in another format.
    """
    kind = next((name for pattern, name in _KINDS.items() if re.match(pattern, begin, re.DOTALL)), None)
    if kind is None:
        return 0
    found = _sound_of(begin) if begin.startswith(b"RIFF") else None
    if found is None:
        raise AudioError(f"standard input is {kind} file, not raw audio: `earmark replay FILE` reads one, and {_RAW}")
    at, form = found
    if form != (PCM, channels, RATE_HZ, 16):
        coding, has, rate_hz, bits = form
        what = "PCM" if coding == PCM else f"coding {coding}"
        raise AudioError(
            f"standard input is a WAV with {what}, channels: {has}, {rate_hz} Hz, {bits} bits; it must be PCM, "
            f"channels: {channels} (audio.channels), 16000 Hz, 16 bits: {_RAW}"
        )
    return at


def _sound_of(begin: bytes) -> tuple[int, tuple[int, int, int, int]] | None:
    """Where the sound of a WAV begins, and coding, channels, rate and bits; None: not within these bytes."""
    at, form = 12, (0, 0, 0, 0)
    while len(begin) >= at + 8:
        name, length = struct.unpack_from("<4sI", begin, at)
        if name == b"data":
            return at + 8, form
        if name == b"fmt " and len(begin) >= at + 24:
            coding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", begin, at + 8)
            if coding == EXTENSIBLE and len(begin) >= at + 34:
                (coding,) = struct.unpack_from("<H", begin, at + 32)
            form = (coding, channels, rate_hz, bits)
        at += 8 + length + length % 2
    return None


class FloatsInPipe:
    """Notices floats that are taken for int16.

    The upper half of a float of 2^-31 to 2^16 as an int16 is within ±(0x3000…0x4700), which real audio never keeps to
    in every second sample (32 bits) or every fourth (64 bits).
    """

    MOST = 20_000  # samples that are not zero: more than a second of them tell nothing new
    FEWEST = 1_000

    def __init__(self) -> None:
        self._seen = np.zeros(4, np.int64)
        self._high = np.zeros(4, np.int64)
        self._position = 0
        self._done = False

    def found(self, samples: Int16) -> bool:
        """(n,) int16; True once, when it is sure."""
        if self._done or not samples.any():  # zeros tell nothing, but where what follows them lies
            self._position += len(samples)
            return False
        places = (self._position + np.arange(len(samples))) % 4
        self._position += len(samples)
        magnitude = samples.view(np.uint16) & 0x7FFF
        high = (magnitude >= 0x3000) & (magnitude <= 0x4700)
        self._seen += np.bincount(places[samples != 0], minlength=4)
        self._high += np.bincount(places[high], minlength=4)
        odd, last = [1, 3], [3]
        sure = any(
            self._seen[upper].sum() >= self.FEWEST
            and self._high[upper].sum() > 0.99 * self._seen[upper].sum()
            and self._high[lower].sum() <= 0.5 * self._seen[lower].sum()
            for upper, lower in ((odd, [0, 2]), (last, [0, 1, 2]))
        )
        self._done = sure or bool(self._seen.sum() > self.MOST)
        return sure

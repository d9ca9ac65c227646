"""The world a try is made in: noise, a room, a telephone, another distance. For measuring, not for training."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features.speech import locate_speech

from ..training.augment import DIRECT_TO_REVERBERANT_DB, in_room, mixed

TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712: the band of a telephone line
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class Conditions:
    """What is done to a try before it is judged, in this order: room, noise, telephone, gain."""

    room_rt60_s: float | None = None
    noises: Sequence[Int16] = ()
    """Recordings of noise, (n,) int16 each; a try gets a random piece of one."""
    snr_db: float = 10.0
    """Of the speech, not of the silence around it."""
    telephone: bool = False
    gain_db: float = 0.0

    def apply(self, samples: Int16, key: str) -> Int16:
        """(n,) int16 -> the same length, heard in these conditions; chance is drawn from `key`, so that it repeats.

        A recording in which nothing is said stays as it is.
        """
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        try:
            start, end = locate_speech(samples)
        except AudioError:
            return samples
        heard = to_float(samples)
        if self.room_rt60_s is not None:
            heard = in_room(heard, self.room_rt60_s, rng.uniform(*DIRECT_TO_REVERBERANT_DB), rng)
        if self.noises:
            noise = _piece(self.noises[int(rng.integers(len(self.noises)))], len(heard), rng)
            heard = mixed(heard, noise, self.snr_db, start, end)
        if self.telephone:
            band = butter(4, TELEPHONE_HZ, "bandpass", fs=RATE_HZ, output="sos")
            heard = sosfilt(band, heard).astype(np.float32)
        return to_int16(heard * np.float32(10 ** (self.gain_db / 20)))


def read_noises(folder: Path) -> list[Int16]:
    """All recordings under a folder, in the order of their names.

    Raises:
        InputError: there is none, or one is silent.
        AudioError: one cannot be read.
    """
    noises = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES):
        noise = read_audio(path)
        if not np.any(noise):
            raise InputError(f"{path}: it is silent: take it out of the noises")
        noises.append(noise)
    if not noises:
        raise InputError(f"{folder}: no recording in it: noise is read from {', '.join(AUDIO_SUFFIXES)} files")
    return noises


def _piece(noise: Int16, length: int, rng: np.random.Generator) -> Float32:
    """(length,) float32 cut at random; a shorter recording is repeated. Not from a stretch without any sound."""
    source = np.resize(noise, max(length, len(noise)))
    loudest = float(np.abs(source.astype(np.int32)).max())
    for _ in range(100):
        start = int(rng.integers(len(source) - length + 1))
        piece = to_float(source[start : start + length])
        if np.abs(piece).max() * 32768 > loudest / 100:  # within 40 dB of the loudest: not a pause of the recording
            break
    return piece

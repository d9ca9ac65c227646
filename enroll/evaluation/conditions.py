"""The world a try is made in: noise, a room, a telephone, another distance. For measuring, not for training."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from earmark.engine.audio.files import FileSource
from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features.speech import locate_speech

from ..training.augment import DIRECT_TO_REVERBERANT_DB, in_room, mixed

_LOG = logging.getLogger(__name__)

TELEPHONE_HZ = (300.0, 3400.0)  # ITU-T G.712: the band of a telephone line
MAX_NOISE_SAMPLES = 15 * 60 * RATE_HZ  # 29 MB
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
    """All recordings under a folder, in the order of their names, without their offsets.

    Of more than 15 minutes together each gives its beginning, at most an equal share, and that is logged.

    Raises:
        InputError: there is none, or one is silent.
        AudioError: one cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no recording in it: noise is read from {', '.join(AUDIO_SUFFIXES)} files")
    lengths = [_length(path) for path in paths]
    most = max(lengths) if sum(lengths) <= MAX_NOISE_SAMPLES else MAX_NOISE_SAMPLES // len(paths)
    if most < max(lengths):
        _LOG.warning(
            "%s: %.0f min of noise: of each recording the first %.0f s are used",
            folder,
            sum(lengths) / RATE_HZ / 60,
            most / RATE_HZ,
        )
    return [_beginning(path, min(length, most)) for path, length in zip(paths, lengths)]


def _length(path: Path) -> int:
    """In samples; the recording is read to its end, so that a damaged one is told."""
    loud, length = False, 0
    with FileSource(path) as source:
        for block in source:
            loud |= bool(np.any(block.samples))
            length += len(block.samples)
    if not loud:
        raise InputError(f"{path}: it is silent: take it out of the noises")
    return length


def _beginning(path: Path, length: int) -> Int16:
    """The first (length,) int16, without an offset."""
    samples, at = np.zeros(length, np.int16), 0
    with FileSource(path) as source:
        for block in source:
            piece = block.samples[: length - at]
            samples[at : at + len(piece)] = piece
            at += len(piece)
            if at == length:
                break
    return without_offset(samples)[0]


def _piece(noise: Int16, length: int, rng: np.random.Generator) -> Float32:
    """(length,) float32 cut at random; a shorter recording is repeated. Not from a stretch without any sound."""
    source = noise if len(noise) >= length else np.resize(noise, length)
    loudest = float(max(int(source.max()), -int(source.min())))
    for _ in range(100):
        start = int(rng.integers(len(source) - length + 1))
        piece = to_float(source[start : start + length])
        if np.abs(piece).max() * 32768 > loudest / 100:  # within 40 dB of the loudest: not a pause of the recording
            break
    return piece

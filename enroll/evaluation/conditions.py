"""The world a try is made in: a room, noise, talkers, a microphone, a telephone. For measuring, not for training."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.engine.audio.files import FileSource
from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features.speech import locate_speech

from ..training import telephone
from ..training.augment import DIRECT_TO_REVERBERANT_DB, in_room, mixed
from . import channels

_LOG = logging.getLogger(__name__)

ANY_MICROPHONE = "any"  # another one for each try, drawn by its key
MAX_NOISE_SAMPLES = 15 * 60 * RATE_HZ  # 29 MB
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")


@dataclass(frozen=True)
class Conditions:
    """What is done to a recording before it is heard, in the order of the fields; any of them together."""

    first_part: float = 1.0
    """Share of the word that is said, 0…1; what comes after it is cut off."""
    room_rt60_s: float | None = None
    direct_to_reverberant_db: float | None = None
    """In that room; None: drawn between -3 and 8 dB."""
    noises: Sequence[Int16] = ()
    """Recordings of noise, (n,) int16 each; a try gets a random piece of one."""
    snr_db: float = 10.0
    """Of the speech, not of the silence around it; to the noise, and to the talkers together."""
    voices: Sequence[Int16] = ()
    """Recordings of speech, (n,) int16 each, of other people."""
    talkers: int = 1
    """How many of them speak at once; four and more are babble."""
    microphone: str | None = None
    """One of `channels.MICROPHONES`, or `any`."""
    clipped_db: float = 0.0
    """By so much the loudest sample would lie over full scale."""
    telephone: str | None = None
    """A line of 8 kHz with one of `telephone.CODECS`."""
    gain_db: float = 0.0

    def apply(self, samples: Int16, key: str) -> Int16:
        """(n,) int16 -> heard in these conditions; chance is drawn from `key`, so that it repeats.

        It is as long as it was, but for `first_part`. A recording in which nothing is said stays as it is.
        """
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        try:
            start, end = locate_speech(samples)
        except AudioError:
            return samples
        heard = to_float(samples)
        if self.first_part < 1:
            heard = channels.first_part(heard, (start, end), self.first_part)
            end = min(end, len(heard))
        if self.room_rt60_s is not None:
            direct_db = self.direct_to_reverberant_db
            direct_db = rng.uniform(*DIRECT_TO_REVERBERANT_DB) if direct_db is None else direct_db
            heard = in_room(heard, self.room_rt60_s, direct_db, rng)
        if self.noises:
            noise = piece_of(self.noises[int(rng.integers(len(self.noises)))], len(heard), rng)
            heard = mixed(heard, noise, self.snr_db, start, end)
        if self.voices:
            heard = channels.beside(heard, self.voices, self.snr_db, (start, end), rng, self.talkers)
        if self.microphone is not None:
            names = list(channels.MICROPHONES)
            drawn = names[int(rng.integers(len(names)))]
            heard = channels.microphone(heard, drawn if self.microphone == ANY_MICROPHONE else self.microphone)
        if self.clipped_db:
            heard = telephone.clipped(heard, self.clipped_db)
        if self.telephone is not None:
            heard = telephone.line(heard, self.telephone)
        return to_int16(heard * np.float32(10 ** (self.gain_db / 20)))


def read_noises(folder: Path, what: str = "noise") -> list[Int16]:
    """All recordings under a folder, in the order of their names, without their offsets.

    Of more than 15 minutes together each gives its beginning, at most an equal share, and that is logged.

    Args:
        folder: of the recordings.
        what: they are, for messages.

    Raises:
        InputError: there is none, or one is silent.
        AudioError: one cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no recording in it: {what} is read from {', '.join(AUDIO_SUFFIXES)} files")
    lengths = [_length(path, what) for path in paths]
    most = max(lengths) if sum(lengths) <= MAX_NOISE_SAMPLES else MAX_NOISE_SAMPLES // len(paths)
    if most < max(lengths):
        _LOG.warning(
            "%s: %.0f min of %s: of each recording the first %.0f s are used",
            folder,
            sum(lengths) / RATE_HZ / 60,
            what,
            most / RATE_HZ,
        )
    return [_beginning(path, min(length, most)) for path, length in zip(paths, lengths)]


def _length(path: Path, what: str) -> int:
    """In samples; the recording is read to its end, so that a damaged one is told."""
    loud, length = False, 0
    with FileSource(path) as source:
        for block in source:
            loud |= bool(np.any(block.samples))
            length += len(block.samples)
    if not loud:
        raise InputError(f"{path}: it is silent: take it out of the {what}")
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


def piece_of(noise: Int16, length: int, rng: np.random.Generator) -> Float32:
    """(length,) float32 cut at random; a shorter recording is repeated. Not from a stretch without any sound."""
    source = noise if len(noise) >= length else np.resize(noise, length)
    loudest = float(max(int(source.max()), -int(source.min())))
    for _ in range(100):
        start = int(rng.integers(len(source) - length + 1))
        piece = to_float(source[start : start + length])
        if np.abs(piece).max() * 32768 > loudest / 100:  # within 40 dB of the loudest: not a pause of the recording
            break
    return piece

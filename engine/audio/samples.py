"""Samples: the one format of the inside, the conversions to it, and the streaming resampler.

Inside earmark all audio is 16 kHz, mono, signed 16-bit, and every position is a count of samples since the
stream began. Floats mean full scale = 1.0, and 32768 is the only scale factor in the project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ..errors import AudioError

RATE_HZ = 16_000
FULL_SCALE = 32_768  # of int16: -1.0 is exactly -32768, and the largest positive value is 32767/32768
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000  # beyond these a header is damaged rather than unusual
FULL_RANGE = 2.0  # 6 dB over full scale: a resampler overshoots by 1 dB, speech in the range of int16 by 60
_LOUDEST = 1e3  # 60 dB over full scale, which ends as full scale anyway; larger floats would overflow on the way

Int16 = npt.NDArray[np.int16]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """A piece of a stream."""

    samples: Int16
    """(n,) int16 at 16 kHz, any n ≥ 0."""
    first_sample: int
    """Position of samples[0] in the stream."""


@dataclass(frozen=True)
class AudioFormat:
    """What a source delivers before it is converted."""

    rate_hz: int
    """Frames per second, 4000 to 384000."""
    channels: int
    """1 or more; they become one."""

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise AudioError(
                f"sample rate {self.rate_hz} Hz is outside {MIN_RATE_HZ}…{MAX_RATE_HZ} Hz: "
                "convert the recording to 16000 Hz"
            )
        if self.channels < 1:
            raise AudioError(f"channels={self.channels} must be 1 or more")


def to_float(samples: Int16) -> Float32:
    """int16 (n,) -> float32 (n,) in [-1, 1)."""
    scaled: Float32 = samples.astype(np.float32) / np.float32(FULL_SCALE)
    return scaled


def to_int16(samples: npt.NDArray[np.floating[Any]]) -> Int16:
    """Float (n,) -> int16 (n,): scaled, rounded, clipped to the range of int16.

    Raises:
        AudioError: a sample is NaN or infinite.
    """
    _require_finite(samples)
    limited = np.clip(samples, -1, 1) * FULL_SCALE
    scaled: Int16 = np.minimum(np.rint(limited), FULL_SCALE - 1).astype(np.int16)
    return scaled


def checked(samples: Any, floats: bool = False) -> Int16:
    """Audio as somebody gives it -> (n,) int16, or an error that says what is wrong with it.

    Args:
        samples: (n,) int16 at 16 kHz, any n ≥ 0.
        floats: they are (n,) floats instead, full scale = 1.0. What lies a little beyond, as after resampling, is
            clipped; beyond twice full scale it must be another scale.

    Raises:
        AudioError: another type or shape, a float that was not told or is NaN, infinite or of another scale.
    """
    if not isinstance(samples, np.ndarray):
        raise AudioError(f"samples are a {type(samples).__name__}, they must be a numpy array (n,) of int16")
    if samples.ndim != 1:
        raise AudioError(f"samples have the shape {samples.shape}, it must be (n,): one channel, as samples[:, 0]")
    if samples.dtype == np.int16 and not floats:
        return samples
    if floats and samples.dtype.kind == "f":
        _require_finite(samples)
        loudest = float(np.abs(samples).max(initial=0))
        if loudest > FULL_RANGE:
            raise AudioError(
                f"a float sample of {loudest:g} is far beyond full scale, 1.0: divide by 32768 what was int16"
            )
        return to_int16(samples)
    wanted = "floats, for floats=True says so" if floats else "int16; of floats in -1…1 say so with floats=True"
    raise AudioError(f"samples are {samples.dtype}, they must be {wanted}")


def from_pcm(content: bytes, width: int, channels: int) -> Float32:
    """Interleaved little-endian PCM, as WAV files have it -> (n, channels) float32 in [-1, 1].

    Args:
        content: whole frames.
        width: bytes a sample, 1 (unsigned) to 4.
        channels: 1 or more.
    """
    if width == 1:
        samples = (np.frombuffer(content, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
    elif width == 2:
        samples = to_float(np.frombuffer(content, "<i2"))
    else:
        if width == 3:  # as 32 bits of which the lowest 8 are zero
            padded = np.zeros((len(content) // 3, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            content = padded.tobytes()
        samples = np.frombuffer(content, "<i4").astype(np.float32) / np.float32(2**31)
    frames: Float32 = samples.reshape(-1, channels)
    return frames


def _require_finite(samples: npt.NDArray[np.floating[Any]], before: int = 0) -> None:
    """(n,) or (n, channels): raises AudioError with the position of the first that is NaN or infinite.

    `before` samples of the stream came before them.
    """
    if not np.isfinite(samples).all():
        bad = tuple(np.argwhere(~np.isfinite(samples))[0])
        raise AudioError(f"sample {before + bad[0]} is {samples[bad]}: every sample must be a finite number")


def _mean(frames: Float32) -> Float32:
    averaged: Float32 = frames.mean(axis=1, dtype=np.float32)
    return averaged


class Converter:
    """Interleaved float frames of any format -> int16 mono at 16 kHz, as a stream.

    Channels are averaged, or mixed by `mix` (`channels`). Another rate than 16 kHz goes through soxr's high-quality
    streaming filter (linear phase, pass band to 0.91 of the lower Nyquist frequency); what the filter still holds
    comes out at `finish`.
    The output does not depend on how the input is cut.
    """

    def __init__(self, audio_format: AudioFormat, mix: Callable[[Float32], Float32] | None = None) -> None:
        self._format = audio_format
        self._mix = mix or _mean
        self.reset()

    def reset(self) -> None:
        """Forgets all audio pushed so far."""
        rate_hz = self._format.rate_hz
        self._pushed = 0
        self._resampler = None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32")

    def push(self, frames: Float32) -> Int16:
        """float32 (n, channels) -> int16 (m,); m follows the input with the filter's delay.

        Raises:
            AudioError: a sample is NaN or infinite.
        """
        _require_finite(frames, self._pushed)  # before the filter smears it over its whole length
        self._pushed += len(frames)
        return self._convert(self._mix(np.clip(frames, -_LOUDEST, _LOUDEST)), last=False)

    def finish(self) -> Int16:
        """What the resampler still holds; the stream is over, `reset` begins another."""
        return self._convert(np.zeros(0, np.float32), last=True)

    def _convert(self, mono: Float32, last: bool) -> Int16:
        if self._resampler is None:
            return to_int16(mono)
        return to_int16(self._resampler.resample_chunk(mono, last=last))

"""A voice as a telephone line would bring it, for whoever is known by telephone alone."""

from __future__ import annotations

import numpy as np

from ..audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from . import mel

LINE_RATE_HZ = 8_000
LINE_HZ = (300.0, 3400.0)  # ITU-T G.712: the band of a telephone line
LINE_ORDER = 6  # of the Butterworth responses at its two edges; no phase is turned
MU = 255.0  # ITU-T G.711


def through_line(crop: Int16) -> Int16:
    """(n,) int16 at 16 kHz, n ≥ 2 -> the same length: 8 kHz, 300…3400 Hz, 8 bits by the mu-law.

    At the level that the speaker network hears, whatever the recording's.
    """
    samples = mel.to_level(to_float(crop))
    half = len(samples) // 2
    spectrum = np.fft.rfft(samples[: 2 * half])[: half // 2 + 1]
    bins_hz = np.arange(len(spectrum)) * (RATE_HZ / max(1, 2 * half))
    with np.errstate(divide="ignore"):
        low, high = ((bins_hz / edge_hz) ** (2 * LINE_ORDER) for edge_hz in LINE_HZ)
        gain = 1 / np.sqrt((1 + high) * (1 + 1 / low))
    narrow = np.fft.irfft(spectrum * gain, half) / 2
    coded = _coded(np.clip(narrow, -1, 1))
    wide = np.zeros(len(samples))
    wide[: 2 * half] = 2 * np.fft.irfft(np.pad(np.fft.rfft(coded), (0, half - half // 2)), 2 * half)
    return to_int16(wide.astype(np.float32))


def _coded(samples: Float32) -> Float32:
    """What eight bits by the mu-law leave of samples in -1…1."""
    size = np.log1p(MU * np.abs(samples)) / np.log1p(MU)
    steps = np.round(size * 127) / 127
    return np.asarray(np.sign(samples) * np.expm1(steps * np.log1p(MU)) / MU, np.float32)

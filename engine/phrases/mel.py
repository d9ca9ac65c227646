"""Log mel of the phrase network: 32 mels of 60 to 3800 Hz, every 10 ms.

That is what Google's speech embedding was trained on: magnitudes of 25 ms under a Hann window, 512 bins, HTK's mels,
and the logarithm of their sums plus 0.001 (models/phrase_net.py says where the network is from).
"""

from __future__ import annotations

import functools

import numpy as np

from ..audio.samples import RATE_HZ, Float32, Int16, to_float
from ..features.mel import HOP_SAMPLES, WINDOW_SAMPLES

MELS = 32
FFT_SAMPLES = 512
LOWEST_HZ, HIGHEST_HZ = 60.0, 3800.0
FLOOR = np.float32(1e-3)  # added before the logarithm
SILENCE = float(np.log(FLOOR))
"""Each mel of digital silence."""

_HTK_MEL, _HTK_HZ = 1127.0, 700.0  # S. Young et al., "The HTK Book": 1127 ln(1 + f / 700 Hz)


@functools.lru_cache(maxsize=1)
def filters() -> Float32:
    """(257, 32) triangles of height 1, whose sides are straight in mel; the bin of 0 Hz is in none."""
    lowest, highest = (_HTK_MEL * np.log1p(hz / _HTK_HZ) for hz in (LOWEST_HZ, HIGHEST_HZ))
    corners = np.linspace(lowest, highest, MELS + 2)
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    bins_hz = np.arange(FFT_SAMPLES // 2 + 1)[:, None] * RATE_HZ / FFT_SAMPLES
    bins = _HTK_MEL * np.log1p(bins_hz / _HTK_HZ)
    triangles = np.maximum(np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)), 0)
    triangles[0] = 0
    filters: Float32 = triangles.astype(np.float32)
    return filters


@functools.lru_cache(maxsize=1)
def _window() -> Float32:
    """(400,) periodic Hann window."""
    window: Float32 = (0.5 - 0.5 * np.cos(np.arange(WINDOW_SAMPLES) * 2 * np.pi / WINDOW_SAMPLES)).astype(np.float32)
    return window


def log_mel(samples: Int16) -> Float32:
    """(240 + 160 n,) int16, n ≥ 1 -> (n, 32) float32; frame k sees the samples from 160 k to 160 k + 400."""
    frames = np.lib.stride_tricks.sliding_window_view(to_float(samples), WINDOW_SAMPLES)[::HOP_SAMPLES]
    magnitudes = np.abs(np.fft.rfft(frames * _window(), FFT_SAMPLES, axis=1)).astype(np.float32)
    mel: Float32 = np.log(magnitudes @ filters() + FLOOR)
    return mel

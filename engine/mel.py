"""The speaker network's features: linear power mel, in numpy alone.

Equal to `librosa.feature.melspectrogram(y, sr=16000, n_fft=400, hop_length=160, n_mels=40)` with its defaults
(Slaney mels, centred frames padded with zeros) to 1e-6 of the largest value; no log. librosa itself would cost the
daemon 100 MB.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from .audio import RATE_HZ, Float32

FFT_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
MELS = 40
LEVEL_DBFS = -30.0  # RMS of the speech the network was trained on (Resemblyzer's hyper-parameters)
PARAMETERS = {
    "rate_hz": RATE_HZ,
    "fft_samples": FFT_SAMPLES,
    "hop_samples": HOP_SAMPLES,
    "mels": MELS,
    "level_dbfs": LEVEL_DBFS,
}
"""What a speaker network's card must ask for."""

# M. Slaney, "Auditory Toolbox", 1998: linear below 1000 Hz, 200/3 Hz a mel; above, 27 mels for a factor of 6.4
_LINEAR_HZ_PER_MEL = 200 / 3
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ_PER_MEL, logarithmic)


@functools.lru_cache(maxsize=1)
def filters() -> Float32:
    """(201, 40) triangles over the FFT bins 0…8000 Hz, each of unit area in Hz (Slaney's normalisation)."""
    highest_mel = _BREAK_MEL + np.log(RATE_HZ / 2 / _BREAK_HZ) / _LOG_STEP
    corners_hz = _mel_to_hz(np.linspace(0, highest_mel, MELS + 2))
    lower, centre, upper = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    bins_hz = np.arange(FFT_SAMPLES // 2 + 1)[:, None] * RATE_HZ / FFT_SAMPLES
    triangles = np.minimum((bins_hz - lower) / (centre - lower), (upper - bins_hz) / (upper - centre))
    return (np.maximum(triangles, 0) * 2 / (upper - lower)).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _window() -> Float32:
    """(400,) periodic Hann window."""
    phase = np.arange(FFT_SAMPLES, dtype=np.float64) * 2 * np.pi / FFT_SAMPLES
    window: Float32 = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return window


def power_mel(samples: Float32) -> Float32:
    """float32 (n,) at 16 kHz, n ≥ 1 -> (1 + n // 160, 40) float32, linear power."""
    padded = np.pad(samples, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel: Float32 = power @ filters()
    return mel


def gain_to_level(samples: Float32, level_dbfs: float = LEVEL_DBFS) -> np.float32:
    """What brings float32 (n,) to an RMS of `level_dbfs`; 1 for silence.

    Linear mels make the network depend on gain: +6 dB alone moves an embedding to cosine 0.89 with itself.
    """
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    gain: float = 10 ** (level_dbfs / 20) / rms if rms > 0 else 1.0
    rounded: np.float32 = np.float32(gain)
    return rounded


def to_level(samples: Float32, level_dbfs: float = LEVEL_DBFS) -> Float32:
    """Scales float32 (n,) up or down to an RMS of `level_dbfs`; silence stays silence."""
    levelled: Float32 = samples * gain_to_level(samples, level_dbfs)
    return levelled

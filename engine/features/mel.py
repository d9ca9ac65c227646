"""Linear power mel of speech, in numpy alone: what speech is located in, and the speaker network's features.

Equal to `librosa.feature.melspectrogram` with centred frames padded with zeros, to 1e-6 of the largest value; no log:

* `WORD`: `n_fft=400, hop_length=160, n_mels=40` (Slaney's mels), GE2E's features (Resemblyzer's hyper-parameters);
* `VOICE`: `n_fft=512, win_length=400, hop_length=160, n_mels=80, fmin=20, htk=True, norm=None`, those of most newer
  speaker networks, which take them from Kaldi. Theirs lose the mean of each frame and high frequencies are raised
  before; both vanish with the mean over time, which such a network subtracts from the logarithm.

librosa itself would cost the daemon 100 MB.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..audio.samples import RATE_HZ, Float32

WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
LEVEL_DBFS = -30.0  # RMS of the speech the network is given (Resemblyzer's hyper-parameters)


class Bands(NamedTuple):
    """Which power mel: as a speaker network's card asks for it."""

    mels: int
    fft_samples: int
    scale: str
    """`slaney` or `htk`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What the card of a network that hears these bands says."""
        return {"rate_hz": RATE_HZ, "hop_samples": HOP_SAMPLES, "level_dbfs": LEVEL_DBFS, **self._asdict()}


WORD = Bands(mels=40, fft_samples=WINDOW_SAMPLES, scale="slaney")
VOICE = Bands(mels=80, fft_samples=512, scale="htk")  # the lowest of so many are narrower than a 400th of 16 kHz

# M. Slaney, "Auditory Toolbox", 1998: linear below 1000 Hz, 200/3 Hz a mel; above, 27 mels for a factor of 6.4
_LINEAR_HZ_PER_MEL = 200 / 3
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27

# S. Young et al., "The HTK Book": 1127 ln(1 + f / 700 Hz)
_HTK_MEL, _HTK_HZ, _HTK_LOWEST_HZ = 1127.0, 700.0, 20.0


def _slaney_corners_hz(mels: int) -> npt.NDArray[np.float64]:
    highest_mel = _BREAK_MEL + np.log(RATE_HZ / 2 / _BREAK_HZ) / _LOG_STEP
    corners = np.linspace(0, highest_mel, mels + 2)
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(corners, _BREAK_MEL) - _BREAK_MEL))
    return np.where(corners < _BREAK_MEL, corners * _LINEAR_HZ_PER_MEL, logarithmic)


def _htk_corners_hz(mels: int) -> npt.NDArray[np.float64]:
    lowest, highest = (_HTK_MEL * np.log1p(hz / _HTK_HZ) for hz in (_HTK_LOWEST_HZ, RATE_HZ / 2))
    return np.asarray(_HTK_HZ * np.expm1(np.linspace(lowest, highest, mels + 2) / _HTK_MEL))


@functools.lru_cache(maxsize=2)
def filters(bands: Bands = WORD) -> Float32:
    """(1 + fft_samples // 2, mels) triangles over the FFT bins 0…8000 Hz.

    Slaney's have unit area in Hz, HTK's unit height.
    """
    corners_hz = (_slaney_corners_hz if bands.scale == "slaney" else _htk_corners_hz)(bands.mels)
    lower, centre, upper = corners_hz[:-2], corners_hz[1:-1], corners_hz[2:]
    bins_hz = np.arange(bands.fft_samples // 2 + 1)[:, None] * RATE_HZ / bands.fft_samples
    triangles = np.maximum(np.minimum((bins_hz - lower) / (centre - lower), (upper - bins_hz) / (upper - centre)), 0)
    return (triangles * 2 / (upper - lower) if bands.scale == "slaney" else triangles).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _window() -> Float32:
    """(400,) periodic Hann window."""
    phase = np.arange(WINDOW_SAMPLES, dtype=np.float64) * 2 * np.pi / WINDOW_SAMPLES
    window: Float32 = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    return window


def power_mel(samples: Float32, bands: Bands = WORD) -> Float32:
    """float32 (n,) at 16 kHz, n ≥ 1 -> (1 + n // 160, mels) float32, linear power."""
    padded = np.pad(samples, WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    spectrum = np.fft.rfft(frames * _window(), bands.fft_samples, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel: Float32 = power @ filters(bands)
    return mel


def gain_to_level(samples: Float32, level_dbfs: float = LEVEL_DBFS) -> np.float32:
    """What brings float32 (n,) to an RMS of `level_dbfs`; 1 for silence.

    The shipped network hardly hears a gain: speech 6 dB above the level has a cosine of 0.9998 to itself at the
    level. At 40 dB below it much falls under the floor of the network's logarithm, and the cosine is 0.94 (medians of
    tests/engine/networks/test_speaker.py).
    """
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    gain: float = 10 ** (level_dbfs / 20) / rms if rms > 0 else 1.0
    rounded: np.float32 = np.float32(gain)
    return rounded


def to_level(samples: Float32, level_dbfs: float = LEVEL_DBFS) -> Float32:
    """Scales float32 (n,) up or down to an RMS of `level_dbfs`; silence stays silence."""
    levelled: Float32 = samples * gain_to_level(samples, level_dbfs)
    return levelled

"""Channels that a voice may come through, for measuring: other talkers, far rooms, other microphones.

Everything takes and gives float32 (n,) at 16 kHz, full scale 1.0, of the same length. What the training of the
speaker network does to its rows is in models/degrade.py, drawn anew for each row; what stands here is fixed, and the
curves of the microphones are in no training.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float
from earmark.engine.errors import InputError

from ..training.augment import in_room, mixed

BABBLE_VOICES = 4
FAR_RT60_S, FAR_DIRECT_DB = 0.6, -3.0  # a living room, three metres away
_FFT_SAMPLES = 4096

# Gains in dB at frequencies in Hz, in between linear over the logarithm of the frequency. Drawn after what data
# sheets and measurements of such microphones look like: none is a measurement of one device.
MICROPHONES: dict[str, Sequence[tuple[float, float]]] = {
    "MEMS, open": ((50, -8), (100, -3), (200, 0), (3000, 0), (6000, 4), (8000, 7)),
    "MEMS, long port": ((50, -9), (100, -3), (300, 0), (2500, 1), (4500, 9), (5200, 11), (6500, 3), (8000, -8)),
    "MEMS under a cover": ((50, -4), (200, 0), (1500, 0), (2600, 5), (3200, 7), (4200, -2), (6000, -7), (8000, -12)),
    "electret headset": ((50, -14), (120, -6), (300, -1), (1000, 0), (2500, 4), (4000, 7), (6500, 3), (8000, 0)),
    "laptop": ((50, -30), (150, -14), (300, -4), (800, 0), (2000, 2), (4000, 8), (5500, 4), (8000, -3)),
    "web camera": ((50, -24), (150, -8), (400, 0), (1200, 3), (2200, -3), (3500, 2), (5000, -4), (8000, -9)),
    "speakerphone": ((50, -26), (200, -10), (500, -3), (1500, 0), (3000, 3), (6000, 0), (8000, -6)),
    "telephone handset": (
        (50, -40),
        (200, -16),
        (400, -5),
        (1000, 0),
        (2200, 6),
        (3000, 5),
        (3600, -10),
        (8000, -40),
    ),
    "studio, near": ((50, 6), (100, 8), (200, 4), (500, 0), (3000, 0), (5000, 2), (8000, 3)),
    "dynamic": ((50, -12), (100, -4), (250, 0), (1500, 0), (4000, 5), (6000, 6), (8000, 1)),
    "tablet": ((50, -22), (200, -6), (700, 0), (1600, 2), (2300, -9), (3200, 3), (5000, -6), (8000, -4)),
    "behind cloth": ((50, 0), (200, 2), (700, 3), (1500, 0), (3000, -6), (5000, -12), (8000, -18)),
    "lapel under a coat": ((50, 2), (150, 4), (400, 5), (800, 3), (1500, -3), (3000, -10), (5000, -16), (8000, -24)),
}


def babble(voices: Sequence[Int16], length: int, rng: np.random.Generator, count: int = BABBLE_VOICES) -> Float32:
    """(length,): `count` pieces of recordings of speech at once, each as loud as the others; 1 is a talker."""
    parts = []
    for _ in range(count):
        voice = to_float(voices[int(rng.integers(len(voices)))])
        voice = np.resize(voice, max(length, len(voice)))
        start = int(rng.integers(len(voice) - length + 1))
        piece = voice[start : start + length]
        parts.append(piece / max(float(np.sqrt(np.mean(piece**2))), 1e-4))
    return np.asarray(np.sum(parts, axis=0), np.float32)


def beside(
    samples: Float32,
    voices: Sequence[Int16],
    snr_db: float,
    bounds: tuple[int, int],
    rng: np.random.Generator,
    count: int,
) -> Float32:
    """With so many talkers at `snr_db` between the bounds of the speech."""
    return mixed(samples, babble(voices, len(samples), rng, count), snr_db, *bounds)


def far(samples: Float32, rng: np.random.Generator) -> Float32:
    """From the other end of a living room: RT60 0.6 s, direct to reverberant -3 dB."""
    return in_room(samples, FAR_RT60_S, FAR_DIRECT_DB, rng)


def first_part(samples: Float32, bounds: tuple[int, int], share: float) -> Float32:
    """The first `share` of what is said between the bounds, and nothing after it: shorter than what came in."""
    start, end = bounds
    return samples[: start + int(share * (end - start))]


def microphone(samples: Float32, name: str) -> Float32:
    """As a microphone of `MICROPHONES` hears it.

    Raises:
        InputError: no such microphone.
    """
    require_microphone(name)
    return np.asarray(fftconvolve(samples, _response(name))[: len(samples)], np.float32)


def require_microphone(name: str) -> None:
    """Raises InputError where `MICROPHONES` has no such one."""
    if name not in MICROPHONES:
        raise InputError(f"no microphone {name!r}: there are {'; '.join(MICROPHONES)}")


@functools.lru_cache(maxsize=len(MICROPHONES))
def _response(name: str) -> npt.NDArray[np.float64]:
    """(2048,) impulse response of minimum phase with a microphone's gains.

    Through the real cepstrum (A. Oppenheim, R. Schafer, "Discrete-Time Signal Processing", section 12.3): what lies
    at negative times is folded onto the positive ones.
    """
    hertz, gain_db = np.array(MICROPHONES[name], np.float64).T
    bins_hz = np.fft.rfftfreq(_FFT_SAMPLES, 1 / RATE_HZ)
    gains_db = np.interp(np.log(np.maximum(bins_hz, hertz[0])), np.log(hertz), gain_db)
    cepstrum = np.fft.irfft(gains_db * np.log(10) / 20, _FFT_SAMPLES)
    half = _FFT_SAMPLES // 2
    fold = np.concatenate([[1.0], np.full(half - 1, 2.0), [1.0], np.zeros(half - 1)])
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum * fold)), _FFT_SAMPLES)[:half]

"""Variations of a take: what the same utterance would sound like elsewhere. Seeded, so that enrolment repeats."""

from __future__ import annotations

import numpy as np
import soxr
from scipy.signal import fftconvolve

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.features.speech import Analysis

GAIN_DB = (-12.0, 6.0)
SNR_DB = (5.0, 20.0)
NOISE_SLOPE = (0.0, 2.0)  # power falls with frequency to this power: white, pink, brown
RT60_S = (0.15, 0.5)
DIRECT_TO_REVERBERANT_DB = (-3.0, 8.0)
SPEED = (0.96, 1.04)  # ± 0.7 semitones: a voice varies so much by itself
START_SHIFT_MS, END_SHIFT_MS = (-80.0, 30.0), (-30.0, 80.0)  # how far a located crop's edges stray


def augmented(take: Analysis, rng: np.random.Generator) -> Int16:
    """One utterance with a little around it -> a variation of it, (n,) int16 of a similar length.

    Crop jitter, speed, a room, noise and gain, each drawn from its range above.

    Raises:
        AudioError: there is no speech in the take.
    """
    speech = to_float(_jittered(take, rng))
    speech = soxr.resample(speech, RATE_HZ, RATE_HZ * rng.uniform(*SPEED))
    speech = in_room(speech, rng.uniform(*RT60_S), rng.uniform(*DIRECT_TO_REVERBERANT_DB), rng)
    speech = with_noise(speech, rng.uniform(*SNR_DB), rng.uniform(*NOISE_SLOPE), rng)
    return to_int16(speech * 10 ** (rng.uniform(*GAIN_DB) / 20))


def in_room(samples: Float32, rt60_s: float, direct_to_reverberant_db: float, rng: np.random.Generator) -> Float32:
    """float32 (n,) -> the same length, through a synthetic room.

    The room is Polack's: a direct impulse and noise that decays by 60 dB in `rt60_s` (J.-D. Polack, "La transmission
    de l'énergie sonore dans les salles", 1988).
    """
    length = int(rt60_s * RATE_HZ)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    response = np.concatenate([[1.0], tail])
    heard: Float32 = fftconvolve(samples, response)[: len(samples)].astype(np.float32)
    return heard


def with_noise(samples: Float32, snr_db: float, slope: float, rng: np.random.Generator) -> Float32:
    """float32 (n,) plus stationary noise whose power falls as frequency ** -slope, at `snr_db` over the whole."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    bins = np.maximum(np.arange(len(spectrum)), len(samples) * 50 / RATE_HZ)  # flat below 50 Hz
    noise = np.fft.irfft(spectrum * bins ** (-slope / 2), len(samples)).astype(np.float32)
    return mixed(samples, noise, snr_db, 0, len(samples))


def mixed(samples: Float32, noise: Float32, snr_db: float, start: int, end: int) -> Float32:
    """float32 (n,) plus noise, at `snr_db` between `start` and `end`; noise that is silent there stays as it is."""
    power, noise_power = np.mean(samples[start:end] ** 2), np.mean(noise[start:end] ** 2)
    scale = np.sqrt(power / noise_power) * 10 ** (-snr_db / 20) if noise_power > 0 else 1.0
    noisy: Float32 = (samples + scale * noise).astype(np.float32)
    return noisy


def _jittered(take: Analysis, rng: np.random.Generator) -> Int16:
    start, end = take.bounds
    start += int(rng.uniform(*START_SHIFT_MS) * RATE_HZ / 1000)
    end += int(rng.uniform(*END_SHIFT_MS) * RATE_HZ / 1000)
    return take.samples[max(0, start) : min(len(take.samples), end)]

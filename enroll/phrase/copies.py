"""A take as it would be said once more: copies of it, with where the phrase begins and ends in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soxr

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.features.speech import Analysis

from ..training.augment import GAIN_DB, NOISE_SLOPE, RT60_S, in_room, mixed, with_noise

COPIES = 12  # of each take, the take itself among them
SPEED = (0.92, 1.08)
SNR_DB = (3.0, 20.0)
DIRECT_TO_REVERBERANT_DB = (-3.0, 8.0)
ROOM_SHARE, QUIET_SHARE = 0.5, 0.25  # of the copies
AROUND_SAMPLES = RATE_HZ // 10  # of the recording, kept on both sides of the phrase
LEAD_SAMPLES, TAIL_SAMPLES = RATE_HZ, 2 * RATE_HZ // 5  # of a quiet room, before and after
QUIET = 1e-4  # -80 dBFS
MARGIN_SAMPLES = RATE_HZ // 20  # that `Analysis.bounds` keeps on both sides of what is said


class Copy(NamedTuple):
    """One of them."""

    samples: Int16
    start: int
    """Where the phrase begins."""
    end: int
    """Where it ends."""


def copies_of(take: Analysis, seed: Sequence[int], count: int = COPIES) -> list[Copy]:
    """The take in a quiet room, and `count` - 1 variations of it, each from a random stream of its own.

    Raises:
        AudioError: there is no speech in the take.
    """
    first, last = take.bounds
    first, last = first + MARGIN_SAMPLES, max(last - MARGIN_SAMPLES, first + 2 * MARGIN_SAMPLES)
    cut = max(0, first - AROUND_SAMPLES)
    speech = to_float(take.samples[cut : last + AROUND_SAMPLES])
    plain = (speech, first - cut, last - cut)
    made = [_in_quiet(*plain, np.random.default_rng([*seed, 0]))]
    return made + [_varied(*plain, np.random.default_rng([*seed, number])) for number in range(1, count)]


def _varied(speech: Float32, start: int, end: int, rng: np.random.Generator) -> Copy:
    speed = rng.uniform(*SPEED)
    speech = soxr.resample(speech, RATE_HZ, RATE_HZ / speed)
    if rng.random() < ROOM_SHARE:
        tail = np.zeros(int(0.15 * RATE_HZ), np.float32)
        speech = in_room(
            np.concatenate([speech, tail]), rng.uniform(*RT60_S), rng.uniform(*DIRECT_TO_REVERBERANT_DB), rng
        )
    snr_db, slope, gain_db = rng.uniform(*SNR_DB), rng.uniform(*NOISE_SLOPE), rng.uniform(*GAIN_DB)
    quiet = _in_quiet(speech, int(start / speed), int(end / speed), rng)
    samples = to_float(quiet.samples)
    if rng.random() >= QUIET_SHARE:
        noise = with_noise(np.full(len(samples), QUIET, np.float32), -60.0, slope, rng)  # nothing but noise is left
        samples = mixed(samples, noise, snr_db, quiet.start, quiet.end)
    return quiet._replace(samples=to_int16(samples * 10 ** (gain_db / 20)))


def _in_quiet(speech: Float32, start: int, end: int, rng: np.random.Generator) -> Copy:
    room = QUIET * rng.standard_normal(LEAD_SAMPLES + len(speech) + TAIL_SAMPLES).astype(np.float32)
    room[LEAD_SAMPLES : LEAD_SAMPLES + len(speech)] += speech
    return Copy(to_int16(room), LEAD_SAMPLES + start, LEAD_SAMPLES + end)

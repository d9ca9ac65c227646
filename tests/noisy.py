"""Recordings with noise in them."""

from __future__ import annotations

import numpy as np

from earmark.engine.audio.samples import Int16, to_float, to_int16
from earmark.engine.features.speech import locate_speech
from earmark.enroll.training.augment import mixed, with_noise


def in_noise(samples: Int16, wanted_db: float, rng: np.random.Generator) -> Int16:
    """(n,) int16 of which the speech has an SNR of `wanted_db`."""
    start, end = locate_speech(samples)
    hiss = with_noise(np.zeros(len(samples), np.float32) + 1e-6, -60.0, 1.0, rng)
    return to_int16(mixed(to_float(samples), hiss, wanted_db, start, end))

"""A take as it would come through another channel: what the prototypes by condition are made of."""

from __future__ import annotations

import numpy as np

from earmark.engine.audio.samples import Int16, to_float, to_int16
from earmark.engine.features.speech import Analysis

from . import telephone
from .augment import NOISE_SLOPE, in_room, with_noise

NOISE_DB = 3.0  # speech to noise, over the whole take
LINE_NOISE_DB, LINE_NOISE_SLOPE = 6.0, 1.0
FAR_RT60_S, FAR_DIRECT_DB = 0.5, -2.0
CLIPPED_DB = 12.0


def through(take: Analysis, condition: str, rng: np.random.Generator) -> Int16:
    """One utterance with a little around it -> the same length, in one of `CONDITIONS`.

    Raises:
        KeyError: there is no such condition.
    """
    speech = to_float(take.samples)
    made = {
        "noise": lambda: with_noise(speech, NOISE_DB, rng.uniform(*NOISE_SLOPE), rng),
        "far": lambda: in_room(speech, FAR_RT60_S, FAR_DIRECT_DB, rng),
        "clipped": lambda: telephone.clipped(speech, CLIPPED_DB),
        "line": lambda: telephone.line(speech),
        "gsm": lambda: telephone.line(speech, "gsm"),
        "noisy line": lambda: telephone.line(with_noise(speech, LINE_NOISE_DB, LINE_NOISE_SLOPE, rng)),
    }
    return to_int16(made[condition]())

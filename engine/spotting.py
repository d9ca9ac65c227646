"""The keyword half of the main path on a whole recording: for enrolment, pictures and recipes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .audio.samples import RATE_HZ, Float32, Int16
from .decision import Candidate, KeywordDecision
from .features.frontend import Frontend, frame_end
from .networks.keyword import KeywordNetwork
from .networks.speaker import CROP_SAMPLES


@dataclass(frozen=True)
class Wakes:
    """What a keyword network heard in a recording."""

    candidates: list[Candidate]
    crops: list[Int16]
    """What the detector would give to the speaker network, one for each candidate."""
    mean_scores: Float32
    """(m,) mean probability after each inference; 0 during warm-up."""
    seconds: npt.NDArray[np.float64]
    """(m,) when, counted from the start of the recording."""


def find_wakes(samples: Int16, network: KeywordNetwork, cutoff: float | None = None) -> Wakes:
    """Runs (n,) int16 through frontend, network and decision, from a fresh state; None: at the published cutoff."""
    network.reset()
    probabilities = network.push(Frontend().push(samples))
    decision = KeywordDecision.of(network)
    if cutoff is not None:
        decision.set_cutoffs(cutoff, None)
    candidates = decision.push(probabilities)
    window = network.manifest.sliding_window_size
    means = np.convolve(probabilities, np.full(window, 1 / window))[: len(probabilities)]
    means[: window - 1] = 0
    return Wakes(
        candidates,
        [samples[max(0, c.sample - CROP_SAMPLES) : c.sample] for c in candidates],
        means.astype(np.float32),
        frame_end(np.arange(1, len(means) + 1) * network.stride - 1) / RATE_HZ,
    )

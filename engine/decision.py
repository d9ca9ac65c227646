"""From probabilities to candidates: pure arithmetic in samples; no audio, no model, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .audio import RATE_HZ
from .frontend import frame_end
from .keyword import KeywordNetwork

REFRACTORY_SAMPLES = RATE_HZ  # 1 s: longer than any shipped wake word, shorter than saying it twice


@dataclass(frozen=True)
class Candidate:
    """A wake word was heard; whose voice it is, is not known yet."""

    keyword: str
    sample: int
    """Position behind the last sample that the network had seen when the score crossed the cutoff."""
    score: float
    """Mean probability at that moment, 0…1."""


class KeywordDecision:
    """Mean of the last probabilities above the cutoff, once an utterance.

    Warm-up: nothing fires before `window` probabilities exist. After a candidate the next one needs the mean to
    have fallen to the cutoff again, and `refractory_samples` to have passed since the last one::

        mean    ..../‾‾‾‾\\../‾\\.......................
        fires       ^         (refractory: not again)

    Args:
        keyword: name that goes into the candidates.
        cutoff: 0…1; the mean must be above it.
        window: how many probabilities are averaged.
        stride: feature frames per probability.
    """

    def __init__(
        self, keyword: str, cutoff: float, window: int, stride: int, refractory_samples: int = REFRACTORY_SAMPLES
    ) -> None:
        self._keyword, self._cutoff, self._window, self._stride = keyword, cutoff, window, stride
        self._refractory_samples = refractory_samples
        self.reset()

    @classmethod
    def of(cls, network: KeywordNetwork) -> KeywordDecision:
        """The decision that a network's manifest asks for."""
        manifest = network.manifest
        return cls(manifest.name, manifest.probability_cutoff, manifest.sliding_window_size, network.stride)

    def reset(self) -> None:
        """Forgets the stream."""
        self._last: deque[float] = deque(maxlen=self._window)
        self._count = 0
        self._armed = True
        self._ready_at = 0

    def push(self, probabilities: npt.NDArray[np.float32]) -> list[Candidate]:
        """(n,) probabilities in order -> the candidates that they complete, mostly none."""
        candidates = []
        for probability in probabilities.tolist():
            self._last.append(probability)
            self._count += 1
            if len(self._last) < self._window:
                continue
            score = sum(self._last) / self._window
            sample = frame_end(self._count * self._stride - 1)
            if score <= self._cutoff:
                self._armed = True
            elif self._armed and sample >= self._ready_at:
                candidates.append(Candidate(self._keyword, sample, score))
                self._armed = False
                self._ready_at = sample + self._refractory_samples
        return candidates

"""From probabilities to candidates: pure arithmetic in samples; no audio, no model, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .audio.samples import RATE_HZ
from .features.frontend import HOP_SAMPLES, frame_end
from .networks.keyword import KeywordNetwork

REFRACTORY_SAMPLES = RATE_HZ  # 1 s: longer than any shipped wake word, shorter than saying it twice
LOOSE_SHARE = (
    0.6  # of the published cutoff: the loose cutoff for voices that are known; measured by scripts/studies/gates.py
)
# A word's first probabilities are mostly higher, and so are 4 to 6 in 100 of other words. A lower limit costs
# more pieces, with a higher one more decisions come late (not repeatable: no script here does it).
STIR_PROBABILITY = 0.03
# So long a peak waits for a higher mean or the fall. The ring of 4 s must still hold the 1.2 s before it when it is
# judged, and one push may run 1 s ahead: that leaves 0.8 s, less one inference. In real and synthetic wake words
# the mean fell to the loose cutoff within 0.54 s of its peak, and rose above an earlier peak at most 0.36 s after it
# (not repeatable: no script here does it).
PEAK_WAIT_SAMPLES = 3 * RATE_HZ // 5


@dataclass(frozen=True)
class Candidate:
    """A wake word was heard; whose voice it is, is not known yet."""

    keyword: str
    sample: int
    """Position behind the last sample that the network had seen when the score crossed the cutoff, or peaked."""
    score: float
    """Mean probability at that moment, 0…1."""
    weak: bool = False
    """It passed the loose cutoff and not the cutoff: a wake only if the voice is known."""
    waited_samples: int = 0
    """How much later it was decided: where it is weak, for a peak is known by what follows; and where several
    probabilities come at once."""


class KeywordDecision:
    """Mean of the last probabilities above the cutoff, once an utterance.

    Warm-up: nothing fires before `window` probabilities exist. After a candidate the next one needs the mean to
    have fallen to the cutoff again, and `refractory_samples` to have passed since the last one::

        mean    ..../‾‾‾‾\\../‾\\.......................
        fires       ^         (refractory: not again)

    With a loose cutoff there are weak candidates too, and the others are the same. An excursion of the mean over the
    loose cutoff that never passes the cutoff gives one, at its peak, when the mean has fallen to it or the peak
    is `PEAK_WAIT_SAMPLES` old. None has its peak in the refractory time.

    Args:
        keyword: name that goes into the candidates.
        cutoff: 0…1; the mean must be above it.
        window: how many probabilities are averaged.
        stride: feature frames per probability.
        loose_cutoff: 0…cutoff; None: no weak candidates.
        first_frame: number of the stream's feature frame that the first probability begins with.
        block: how many probabilities come at once, decided when the last of them is known.
    """

    def __init__(
        self,
        keyword: str,
        cutoff: float,
        window: int,
        stride: int,
        refractory_samples: int = REFRACTORY_SAMPLES,
        loose_cutoff: float | None = None,
        first_frame: int = 0,
        block: int = 1,
    ) -> None:
        self._keyword, self._window, self._stride, self._block = keyword, window, stride, block
        self._refractory_samples = refractory_samples
        self.reset()
        self.set_cutoffs(cutoff, loose_cutoff)
        self._first_frame = first_frame

    @classmethod
    def of(cls, network: KeywordNetwork, loose: bool = False) -> KeywordDecision:
        """The decision that a network's manifest asks for; `loose` adds the loose cutoff."""
        manifest, cutoff = network.manifest, network.manifest.probability_cutoff
        loose_cutoff = LOOSE_SHARE * cutoff if loose else None
        return cls(manifest.name, cutoff, manifest.sliding_window_size, network.stride, loose_cutoff=loose_cutoff)

    def reset(self) -> None:
        """Forgets the stream; the next one begins with its frame 0."""
        self._first_frame = 0
        self._last: deque[float] = deque(maxlen=self._window)
        self._count = 0
        self._highest = 0.0
        self._armed = True
        self._ready_at = 0
        self._peak: Candidate | None = None
        self._spent = False  # the excursion has given its candidate, or passed the cutoff

    def set_cutoffs(self, cutoff: float, loose_cutoff: float | None) -> None:
        """Changes the cutoffs from the next probability on; the stream goes on."""
        self._cutoff, self._loose_cutoff = cutoff, loose_cutoff
        if loose_cutoff is None:  # nobody is left for whom a peak could wait; the next gate may come an hour later
            self._peak = None

    def skip(self, frames: int) -> None:
        """So many frames were left out of the stream; the probabilities go on behind them."""
        self._first_frame += frames

    @property
    def score(self) -> float:
        """The highest mean of the last push, 0…1; where nothing stirred the last one, and 0 before there is one."""
        now = sum(self._last) / self._window if len(self._last) == self._window else 0.0
        return max(now, self._highest)

    @property
    def stirs(self) -> bool:
        """Whether one of the last probabilities may be the beginning of a word."""
        return max(self._last, default=0.0) > STIR_PROBABILITY or self._peak is not None

    @property
    def earliest_sample(self) -> int:
        """No candidate is decided before the stream has come so far, whatever the network says until then.

        From the probabilities that the mean still has: so many ones must follow before it can pass a cutoff.
        """
        least = self._fewest_to_pass(self._cutoff)
        if self._loose_cutoff is not None and self._peak is None:  # a weak one is decided when the mean has fallen
            least = min(least, self._fewest_to_pass(self._loose_cutoff) + 1)
        if self._peak is not None:
            least = 1
        return frame_end(self._first_frame + (self._count + least) * self._stride - 1)

    def _fewest_to_pass(self, cutoff: float) -> int:
        """How many probabilities must follow at least, 1 to `window`, for a mean above a cutoff."""
        last, least = list(self._last), self._window
        while least > max(1, self._window - len(last)):
            kept = sum(last[len(last) - self._window + least - 1 :])  # of those that the mean has now
            if kept + least - 1 <= cutoff * self._window:
                break
            least -= 1
        return least

    def push(self, probabilities: npt.NDArray[np.float32]) -> list[Candidate]:
        """(n,) probabilities in order -> the candidates that they complete, mostly none."""
        candidates = []
        values: list[float] = probabilities.tolist()
        self._highest = 0.0
        if self._stays_idle(values):
            return []
        for probability in values:
            self._last.append(probability)
            self._count += 1
            if len(self._last) < self._window:
                continue
            score = sum(self._last) / self._window
            self._highest = max(score, self._highest)
            sample = frame_end(self._first_frame + self._count * self._stride - 1)
            if score <= self._cutoff:
                self._armed = True
            elif self._armed and sample >= self._ready_at:
                waited_samples = -self._count % self._block * self._stride * HOP_SAMPLES
                candidates.append(Candidate(self._keyword, sample, score, waited_samples=waited_samples))
                self._armed = False
                self._ready_at = sample + self._refractory_samples
            if self._loose_cutoff is not None:
                peak = self._ended_peak(score, sample, self._loose_cutoff)
                if peak is not None and peak.sample >= self._ready_at:
                    candidates.append(replace(peak, waited_samples=sample - peak.sample))
        return candidates

    def _stays_idle(self, values: list[float]) -> bool:
        """Takes them in at once where no mean can pass a cutoff; by far the most of all audio is such."""
        lowest = self._cutoff if self._loose_cutoff is None else self._loose_cutoff
        full = len(self._last) == self._window
        if not (full and values and self._peak is None and max(values) <= lowest and max(self._last) <= lowest):
            return False
        self._last.extend(values)
        self._count += len(values)
        self._armed, self._spent = True, False
        return True

    def _ended_peak(self, score: float, sample: int, loose_cutoff: float) -> Candidate | None:
        """Follows the excursion over the loose cutoff; its peak, if it is over now."""
        if score > self._cutoff:
            self._peak, self._spent = None, True
        elif score > loose_cutoff and not self._spent and (self._peak is None or score > self._peak.score):
            self._peak = Candidate(self._keyword, sample, score, weak=True)
        fallen, peak = score <= loose_cutoff, self._peak
        if fallen or (peak is not None and sample - peak.sample >= PEAK_WAIT_SAMPLES):
            self._peak, self._spent = None, not fallen
            return peak
        return None

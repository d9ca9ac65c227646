"""The audio frontend: the keyword networks' features, and the last seconds of raw audio for the speaker network."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pymicro_features import MicroFrontend

from .audio import RATE_HZ, Int16

HOP_SAMPLES = 160  # 10 ms
WINDOW_SAMPLES = 480  # 30 ms
CHANNELS = 40  # mel channels, 125 to 7500 Hz
RING_SAMPLES = 3 * RATE_HZ  # the longest wake word with what is said before it
_HOP_BYTES = 2 * HOP_SAMPLES

Frame = TypeVar("Frame", int, npt.NDArray[np.int_])


class Ring:
    """The last samples of a stream, addressed by their position in it."""

    def __init__(self, capacity_samples: int = RING_SAMPLES) -> None:
        self._samples = np.zeros(capacity_samples, np.int16)
        self.end = 0
        """Position behind the newest sample."""

    def push(self, samples: Int16) -> None:
        """Appends (n,) int16, n ≥ 0; what is older than the capacity is gone."""
        capacity = len(self._samples)
        kept = samples[-capacity:]
        self.end += len(samples)
        self._samples[np.arange(self.end - len(kept), self.end) % capacity] = kept

    def last(self, start: int, end: int) -> Int16:
        """A copy of the samples [start, end); what lies before the stream or is gone already is left out."""
        start = max(start, 0, self.end - len(self._samples))
        at = np.arange(start, min(end, self.end)) % len(self._samples)
        samples: Int16 = self._samples[at]
        return samples


class Frontend:
    """16 kHz int16 in, feature frames out: the micro_speech frontend of TFLite Micro.

    A 30 ms window every 10 ms, 40 mel channels, noise suppression, PCAN gain control and log, as float32 in 0…26
    (pymicro-features; the networks' own `feature_step_size`). Noise suppression is why these features carry next
    to nothing of the speaker. Frame k ends at sample `WINDOW_SAMPLES + k * HOP_SAMPLES`; what is left of a hop
    waits for the next push.
    """

    def __init__(self) -> None:
        self._features = MicroFrontend()
        self.reset()

    def reset(self) -> None:
        """Forgets the stream: noise estimate, partial window and frame count."""
        self._features.reset()
        self._rest = b""
        self.frames = 0
        """How many frames have come out so far."""

    def push(self, samples: Int16) -> npt.NDArray[np.float32]:
        """(n,) int16, any n ≥ 0 -> (frames, 40) float32, all frames that became whole."""
        data = self._rest + samples.tobytes()
        whole = len(data) - len(data) % _HOP_BYTES
        self._rest = data[whole:]
        process = self._features.process_samples
        outputs = [process(data[at : at + _HOP_BYTES]).features for at in range(0, whole, _HOP_BYTES)]
        frames = [features for features in outputs if features]  # the first two hops only fill the window
        self.frames += len(frames)
        return np.array(frames, np.float32).reshape(-1, CHANNELS)


def frame_end(frame: Frame) -> Frame:
    """Position behind the last sample that frame number `frame` (0, 1, …), or each of an array, has seen."""
    return WINDOW_SAMPLES + frame * HOP_SAMPLES

"""The audio frontend: the keyword networks' features, and the last seconds of raw audio for the speaker network."""

from __future__ import annotations

import struct
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from micro_features_cpp import create_frontend, process_samples, reset_frontend  # what pymicro_features wraps

from ..audio.samples import RATE_HZ, Int16

HOP_SAMPLES = 160  # 10 ms
WINDOW_SAMPLES = 480  # 30 ms
CHANNELS = 40  # mel channels, 125 to 7500 Hz
RING_SAMPLES = 4 * RATE_HZ  # a push of 1 s, and 2.6 s before it that the gate may want to hear after all
_HOP_BYTES = 2 * HOP_SAMPLES
_pack = struct.Struct(f"{CHANNELS}f").pack  # floats of Python -> float32

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
        at = (self.end - len(kept)) % capacity
        first = kept[: capacity - at]  # up to the end of the array; what is left goes to its start
        self._samples[at : at + len(first)] = first
        self._samples[: len(kept) - len(first)] = kept[len(first) :]

    def last(self, start: int, end: int) -> Int16:
        """A copy of the samples [start, end); what lies before the stream or is gone already is left out."""
        capacity = len(self._samples)
        start = max(start, 0, self.end - capacity)
        count = max(0, min(end, self.end) - start)
        at = start % capacity
        first = self._samples[at : at + count]
        return np.concatenate([first, self._samples[: count - len(first)]])


class Frontend:
    """16 kHz int16 in, feature frames out: the micro_speech frontend of TFLite Micro.

    A 30 ms window every 10 ms, 40 mel channels, noise suppression, PCAN gain control and log, as float32 in 0…26
    (pymicro-features; the networks' own `feature_step_size`). Noise suppression is why these features carry next
    to nothing of the speaker. Frame k ends at sample `WINDOW_SAMPLES + k * HOP_SAMPLES`; what is left of a hop
    waits for the next push.
    """

    def __init__(self) -> None:
        self._features = create_frontend()
        self.reset()

    def reset(self) -> None:
        """Forgets the stream: noise estimate, partial window and frame count."""
        reset_frontend(self._features)
        self._rest = b""
        self.frames = 0
        """Number of the next frame: how many have come out so far, or would have without those left out."""

    def push(self, samples: Int16) -> npt.NDArray[np.float32]:
        """(n,) int16, any n ≥ 0 -> (frames, 40) float32, all frames that became whole; nobody may write into them."""
        data = self._rest + samples.tobytes()
        whole = len(data) - len(data) % _HOP_BYTES
        self._rest = data[whole:]
        state = self._features
        # one call a hop: the binding stops at the first frame, and takes nothing but bytes
        outputs = [process_samples(state, data[at : at + _HOP_BYTES])[0] for at in range(0, whole, _HOP_BYTES)]
        if self.frames == 0:
            outputs = [features for features in outputs if features]  # the first two hops only fill the window
        self.frames += len(outputs)
        packed = b"".join([_pack(*features) for features in outputs])  # np.array takes three times as long
        return np.frombuffer(packed, np.float32).reshape(-1, CHANNELS)

    def skip(self, hops: int) -> None:
        """Counts `hops` hops, 0 or more, that were left out of the stream: the next frames are that much later."""
        self.frames += hops


def frame_end(frame: Frame) -> Frame:
    """Position behind the last sample that frame number `frame` (0, 1, …), or each of an array, has seen."""
    return WINDOW_SAMPLES + frame * HOP_SAMPLES

"""When an utterance is over: by its level over the room's, counted in samples."""

from __future__ import annotations

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Int16

from .measure import dbfs

FRAME_SAMPLES = RATE_HZ * 30 // 1000
ABOVE_ROOM_DB = 8.0  # a frame that much louder than the room is speech: a soft one is still ten
MIN_SPEECH_FRAMES = 4  # 120 ms: a click is shorter
PAUSE_SAMPLES = RATE_HZ * 7 // 10  # after it nothing more comes; within "hey … jarvis" people pause for 0.3 s
MAX_SAMPLES = 5 * RATE_HZ  # whoever has not spoken by then is asked again


class Endpoint:
    """Follows one recording.

    Args:
        room_dbfs: level of the room while nobody spoke.
        max_samples: it is over then in any case.
    """

    def __init__(self, room_dbfs: float, max_samples: int = MAX_SAMPLES) -> None:
        self._floor_dbfs, self._max_samples = room_dbfs + ABOVE_ROOM_DB, max_samples
        self._rest = np.zeros(0, np.int16)
        self._count = self._speech_frames = self._silent = 0

    def push(self, samples: Int16) -> bool:
        """(n,) int16, any n ≥ 0 -> whether the recording is over."""
        pending = np.concatenate([self._rest, samples])
        whole = len(pending) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = pending[whole:]
        self._count += len(samples)
        for frame in pending[:whole].reshape(-1, FRAME_SAMPLES):
            loud = dbfs(frame) > self._floor_dbfs
            self._speech_frames += loud
            self._silent = 0 if loud else self._silent + FRAME_SAMPLES
        spoken = self._speech_frames >= MIN_SPEECH_FRAMES and self._silent >= PAUSE_SAMPLES
        return spoken or self._count >= self._max_samples

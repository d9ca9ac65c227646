"""Recipe: the rows that the speaker network learns from, each clip of a pack at three speeds (`speech_pack.py`)."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16

from .corpora import fold_of_owner
from .speech_pack import AROUND_SAMPLES, Clip

Ints = npt.NDArray[np.intp]

# Another speed is another voice: both pitch and formants move by more than 0.96…1.04, within which it stays the same
# (enroll/training/augment.py). The corpora have 1,200 speakers; this makes three times as many.
FASTER, SLOWER = (0.82, 0.93), (1.08, 1.20)  # of the length
SPEEDS = ("", "faster", "slower")

MAX_SPEECH_SAMPLES = 13 * RATE_HZ // 10  # as engine/networks/speaker.py, which needs a TFLite runtime
BUFFER_SAMPLES = MAX_SPEECH_SAMPLES + 2 * AROUND_SAMPLES  # 1.8 s
LEVEL = 0.1  # RMS, -20 dBFS


class Labels(NamedTuple):
    """Who says what in the rows, (n,) each."""

    phrase: npt.NDArray[np.str_]
    """set/phrase."""
    identity: npt.NDArray[np.str_]
    """Whose voice it is to the training: somebody at one speed."""
    fold: Ints
    """Of the speaker; -1 where no figure is measured on him."""

    @classmethod
    def of(cls, clips: list[Clip]) -> Labels:
        """Of the rows that `rows_of` makes of the clips, one after the other."""
        folds = (fold_of_owner(clip.speaker) for clip in clips for _ in SPEEDS)
        return cls(
            np.array([clip.phrase for clip in clips for _ in SPEEDS]),
            np.array([f"{clip.voice} {name}" for clip in clips for name in SPEEDS]),
            np.array([-1 if fold is None else fold for fold in folds]),
        )


def speed_factors(speaker: str) -> dict[str, float]:
    """How much longer somebody's clips become, by name of SPEEDS: the same for all his clips."""
    rng = np.random.default_rng(zlib.crc32(speaker.encode()))
    return {"": 1.0, "faster": rng.uniform(*FASTER), "slower": rng.uniform(*SLOWER)}


def rows_of(clip: Clip) -> list[tuple[Int16, int, int]]:
    """The clip at three speeds: (BUFFER_SAMPLES,) at 16 kHz, start and end of the speech in it, 1.3 s at most."""
    rows = []
    for factor in speed_factors(clip.speaker).values():
        samples = clip.samples
        if factor != 1.0:
            samples = to_int16(soxr.resample(to_float(samples), RATE_HZ, RATE_HZ * factor))
        start, end = int(clip.start * factor), int(clip.end * factor)
        before = min(start, AROUND_SAMPLES)
        at = AROUND_SAMPLES - before
        buffer = np.zeros(BUFFER_SAMPLES, np.int16)
        part = samples[start - before : start - before + BUFFER_SAMPLES - at]
        buffer[at : at + len(part)] = part
        length = min(end - start, MAX_SPEECH_SAMPLES)
        rows.append((buffer, AROUND_SAMPLES, AROUND_SAMPLES + length))
    return rows


def levelled(samples: Int16) -> Int16:
    """At -20 dBFS, so that voices mix evenly."""
    rms = float(np.sqrt(np.mean(to_float(samples) ** 2)))
    return to_int16(to_float(samples) * (LEVEL / max(rms, 1e-5)))

"""Which of a person's prototypes a try may be compared with: what is measured of the try says it.

A prototype of another condition gives strangers one more chance. So it is asked only where the try shows the sign of
its condition, and it has a handicap: the score that strangers' tries of that condition gain by it
(docs/research/channels.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.samples import Float32
from .speaker import Utterance

CONDITIONS = ("noise", "far", "clipped", "line", "gsm", "noisy line")
"""What takes are put through, to have a prototype of each; the files of a person count on the order."""
Open = npt.NDArray[np.bool_]
"""(1 + len(CONDITIONS),): the takes as they are, then each condition."""

NOISY_DB = 22.0  # SNR: nine in ten clean recordings have more, tries in noise at 10 dB all less
NARROW_DB = -45.0  # of `Analysis.high_db`: a line of 8 kHz has less, nearly all microphones more
TELEPHONE_DB = -60.0  # what lines that do not overload have less than; the dullest of the microphones has -53
CLIPPED_SHARE = 0.01  # of the samples: clean recordings have a tenth of it
HANDICAPS: Mapping[str, float] = {
    "noise": -0.02,
    "far": 0.01,
    "clipped": 0.04,
    "line": 0.005,
    "gsm": 0.02,
    "noisy line": 0.08,
}


def is_by_telephone(high_db: float) -> bool:
    """Whether what has such an `Analysis.high_db` came by telephone beyond doubt: no microphone is so dull."""
    return high_db < TELEPHONE_DB


def open_to(heard: Utterance) -> Open:
    """What a try may be compared with."""
    return _open(heard.snr_db < NOISY_DB, heard.high_db < NARROW_DB, heard.clipped_share > CLIPPED_SHARE)


def handicaps() -> Float32:
    """(1 + len(CONDITIONS),) taken off the scores."""
    return np.array([0.0, *(HANDICAPS[name] for name in CONDITIONS)], np.float32)


def _open(noisy: bool, narrow: bool, clipped: bool) -> Open:
    signs: dict[str, Any] = {
        "noise": noisy,
        "far": True,  # reverberation is not measured
        "clipped": clipped,
        "line": narrow,
        "gsm": narrow,
        "noisy line": narrow and noisy,
    }
    return np.array([True, *(signs[name] for name in CONDITIONS)])


PLAIN = _open(False, False, False)
"""Of a clean try."""
ANYWHERE = _open(True, True, True)
"""Of a try of which nobody knows how it was heard: whoever could pass somewhere, passes."""

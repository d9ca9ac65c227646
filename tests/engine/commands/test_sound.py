"""The doctor's second at the microphone names a constant offset, and measures the level without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.audio.sources import ArraySource
from earmark.engine.commands.diagnosis import sound


@pytest.mark.parametrize(
    ("offset", "says"), [(0, ""), (1049, "; it has a constant offset of 3.2 %"), (-4000, "take another microphone")]
)
def test_the_doctor_names_an_offset_and_measures_without_it(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, offset: int, says: str
) -> None:
    microphone = pytest.importorskip("earmark.engine.audio.microphone")
    heard = np.rint(rng.normal(offset, 33, RATE_HZ)).astype(np.int16)

    def opened(*_: Any, **__: Any) -> ArraySource:
        return ArraySource(heard, 320, "mic")

    monkeypatch.setattr(microphone, "MicrophoneSource", opened)
    told = sound.record(None, None)
    assert told.startswith("mic: 1.0 s, at -60 dBFS")
    assert says in told
    assert ("offset" in told) == bool(offset)

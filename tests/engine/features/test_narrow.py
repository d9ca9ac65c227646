"""A line that whoever is known by telephone alone is heard through."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Read, Takes

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.features.narrow import through_line
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import is_by_telephone


@pytest.fixture(scope="module")
def voice(takes: Takes, read: Read) -> Int16:
    return read(takes("slt", "okay_nabu", "test")[0])


def tone(hertz: float, length: int = RATE_HZ, size: float = 0.3) -> Int16:
    return to_int16((size * np.sin(2 * np.pi * hertz * np.arange(length) / RATE_HZ)).astype(np.float32))


def level(samples: Int16) -> float:
    return float(np.sqrt(np.mean(to_float(samples)[800:-800] ** 2)))


@pytest.mark.parametrize("length", [2, 3, 1600, 1601, 1602, 1603, 19_200])
def test_it_is_as_long_as_before(length: int) -> None:
    assert len(through_line(tone(1000, length))) == length


def test_only_the_band_of_a_line_is_left() -> None:
    rng = np.random.default_rng(0)
    noise = to_int16(rng.normal(0, 0.1, RATE_HZ).astype(np.float32))
    power = np.abs(np.fft.rfft(to_float(through_line(noise)))) ** 2  # of a second: a bin a hertz
    passed = power[600:3000].mean()
    assert power[4010:].mean() < 1e-5 * passed
    assert power[3900:3950].mean() < 0.3 * passed
    assert power[:150].mean() < 1e-2 * passed


def test_a_voice_counts_as_a_call_afterwards(voice: Int16) -> None:
    assert not is_by_telephone(Analysis(voice).high_db)
    assert is_by_telephone(Analysis(through_line(voice)).high_db)


@pytest.mark.parametrize("size", [0.9, 0.3, 0.01])
def test_eight_bits_are_left_of_the_samples_however_loud_they_were(size: float) -> None:
    """The error of the mu-law lies 38 dB below a tone (ITU-T G.712); no phase is turned."""
    heard = to_float(through_line(tone(1000, size=size)))[800:-800]
    wanted = to_float(tone(1000))[800:-800]
    wanted = wanted * float(heard @ wanted / (wanted @ wanted))
    error_db = 10 * np.log10(np.mean((heard - wanted) ** 2) / np.mean(wanted**2))
    assert -45 < error_db < -30


def test_silence_stays_silent() -> None:
    assert not through_line(np.zeros(1600, np.int16)).any()

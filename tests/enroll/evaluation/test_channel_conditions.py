"""The channels of the measurements: each does what its name says, and no more."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from earmark.engine.audio.samples import RATE_HZ, Float32
from earmark.engine.errors import InputError
from earmark.enroll.evaluation import channels
from earmark.enroll.training import telephone

SECONDS = 1.0


@pytest.fixture
def noise(rng: np.random.Generator) -> Float32:
    """White, at -20 dBFS."""
    white: Float32 = (0.1 * rng.standard_normal(int(SECONDS * RATE_HZ))).astype(np.float32)
    return white


def band_db(samples: Float32, low_hz: float, high_hz: float) -> float:
    """Power of a band."""
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(10 * np.log10(power[(hertz >= low_hz) & (hertz < high_hz)].mean() + 1e-20))


def tone(hertz: float) -> Float32:
    wave: Float32 = (0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    return wave


@pytest.mark.parametrize("codec", [None, "mu-law"])
def test_a_telephone_line_keeps_its_band_alone(noise: Float32, codec: str | None) -> None:
    heard = telephone.line(noise, codec)
    assert heard.shape == noise.shape
    assert heard.dtype == np.float32
    assert band_db(heard, 500, 3000) == pytest.approx(band_db(noise, 500, 3000), abs=0.5)
    assert band_db(heard, 60, 150) < band_db(noise, 60, 150) - 25
    assert band_db(heard, 4300, 8000) < band_db(noise, 4300, 8000) - 50


def test_mu_law_leaves_a_noise_that_follows_the_voice_and_gsm_more_of_it() -> None:
    """G.711 has a signal-to-noise ratio of some 38 dB at all levels; GSM does not keep the wave."""

    def snr_db(codec: str, gain: float) -> float:
        plain, coded = telephone.line(gain * tone(997), None), telephone.line(gain * tone(997), codec)
        inner = slice(2000, -2000)
        return float(10 * np.log10(np.mean(plain[inner] ** 2) / np.mean((coded - plain)[inner] ** 2)))

    assert 33 < snr_db("mu-law", 1.0) < 42
    assert 30 < snr_db("mu-law", 0.03) < 42
    assert snr_db("gsm", 1.0) < 30


def test_gsm_comes_back_as_long_as_it_went_and_as_loud(noise: Float32) -> None:
    heard = telephone.line(noise[:12345], "gsm")
    assert heard.shape == (12345,)
    assert 0.2 < np.sqrt(np.mean(heard**2)) / np.sqrt(np.mean(telephone.line(noise[:12345], None) ** 2)) < 2


def test_an_unknown_codec_or_microphone_is_named(noise: Float32) -> None:
    with pytest.raises(InputError, match="no codec 'mp3': there are mu-law, gsm"):
        telephone.line(noise, "mp3")
    with pytest.raises(InputError, match="no microphone 'carbon': there are MEMS"):
        channels.microphone(noise, "carbon")


def test_there_are_a_dozen_microphones_or_more_and_each_hears_otherwise() -> None:
    assert len(channels.MICROPHONES) >= 12
    spectra = [np.abs(np.fft.rfft(channels._response(name))) for name in channels.MICROPHONES]
    levels = [20 * np.log10(spectrum[13:1000]) for spectrum in spectra]  # 100…7800 Hz
    for number, level in enumerate(levels):
        for other in levels[:number]:
            assert np.std(level - other) > 1.0


@pytest.mark.parametrize("name", list(channels.MICROPHONES))
def test_a_microphone_has_its_curve(noise: Float32, name: str) -> None:
    spectrum = np.abs(np.fft.rfft(channels._response(name), 4096))
    for hertz, gain_db in channels.MICROPHONES[name]:
        if 90 <= hertz < 8000:  # below a bin's width away from zero the curve is held
            assert 20 * np.log10(spectrum[round(hertz * 4096 / RATE_HZ)]) == pytest.approx(gain_db, abs=1.5)
    heard = channels.microphone(noise, name)
    assert heard.shape == noise.shape
    assert heard.dtype == np.float32


@pytest.mark.parametrize("name", list(channels.MICROPHONES))
def test_a_microphone_answers_at_once(name: str) -> None:
    """Minimum phase: no zero lies outside the unit circle, where each would turn the phase by half a turn."""

    def turns(response: npt.NDArray[np.float64]) -> float:
        phase = np.unwrap(np.angle(np.fft.rfft(response, 1 << 16)))
        return float(abs(phase[-1] - phase[0]) / np.pi)

    response = channels._response(name)
    assert turns(response) < 0.5
    assert turns(np.pad(response[::-1], (3, 0))) > 100


def test_babble_is_of_so_many_voices_and_as_loud_as_asked(rng: np.random.Generator) -> None:
    voices = [
        (8000 * np.sin(2 * np.pi * hertz * np.arange(3 * RATE_HZ) / RATE_HZ)).astype(np.int16) for hertz in (300, 900)
    ]
    both = channels.babble(voices, RATE_HZ, rng, 8)
    assert band_db(both, 250, 350) > -20
    assert band_db(both, 850, 950) > -20
    one = channels.babble(voices, RATE_HZ, rng, 1)
    assert min(band_db(one, 250, 350), band_db(one, 850, 950)) < -20
    bounds = 4000, 12000
    speech = tone(500)
    mixed = channels.beside(speech, voices, 5.0, bounds, rng, 1)
    extra = (mixed - speech)[slice(*bounds)]
    assert 10 * np.log10(np.mean(speech[slice(*bounds)] ** 2) / np.mean(extra**2)) == pytest.approx(5.0, abs=0.01)


def test_the_far_room_is_more_reverberation_than_voice(rng: np.random.Generator) -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[0] = 1
    heard = channels.far(click, rng)
    direct_db = 10 * np.log10(heard[0] ** 2 / np.sum(heard[1:] ** 2))
    assert direct_db == pytest.approx(channels.FAR_DIRECT_DB, abs=1.5)
    assert np.sum(heard[int(0.5 * RATE_HZ) :] ** 2) < 1e-3


def test_clipping_cuts_at_the_limit_and_leaves_the_rest() -> None:
    speech = tone(200)
    heard = telephone.clipped(speech, 6.0)
    limit = np.abs(speech).max() * 10 ** (-6 / 20)
    assert np.abs(heard).max() == pytest.approx(limit)
    quiet = np.abs(speech) < limit
    np.testing.assert_array_equal(heard[quiet], speech[quiet])
    np.testing.assert_array_equal(telephone.clipped(speech, 0.0), speech)


def test_of_a_word_its_first_part_is_left() -> None:
    speech = tone(200)
    heard = channels.first_part(speech, (1000, 11000), 0.7)
    np.testing.assert_array_equal(heard, speech[:8000])

"""Where speech is found in a recording, how far it stands above the noise, and that both are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Read
from noisy import in_noise

from earmark.engine.audio.samples import RATE_HZ, to_float
from earmark.engine.errors import AudioError
from earmark.engine.features import mel
from earmark.engine.features.speech import Analysis, locate_speech, noise_of


def test_what_is_said_is_found_in_silence_and_in_noise(audio_dir: Path, read: Read, rng: np.random.Generator) -> None:
    word = read(audio_dir / "slt_alexa_test_1.flac")
    start, end = locate_speech(word)
    word = word[start:end]
    padded = np.concatenate([np.zeros(RATE_HZ, np.int16), word, np.zeros(RATE_HZ, np.int16)])
    assert locate_speech(padded) == pytest.approx((RATE_HZ, RATE_HZ + len(word)), abs=RATE_HZ // 12)
    scale = np.sqrt(np.mean(np.square(word, dtype=np.float64)) / 10)  # 10 dB below the word
    noisy = (padded + scale * rng.standard_normal(len(padded))).astype(np.int16)
    assert locate_speech(noisy) == pytest.approx((RATE_HZ, RATE_HZ + len(word)), abs=RATE_HZ // 5)


def test_a_drawn_out_vowel_is_speech_and_a_click_is_not() -> None:
    """A tone never gets quiet: what is subtracted as noise would be all of it."""
    tone = (8000 * np.sin(2 * np.pi * 200 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    start, end = locate_speech(tone)
    assert end - start > 0.9 * RATE_HZ
    click = np.zeros(RATE_HZ, np.int16)
    click[RATE_HZ // 2 : RATE_HZ // 2 + 200] = 20_000
    with pytest.raises(AudioError, match="nothing said"):
        locate_speech(click)
    with pytest.raises(AudioError, match="0 ms of sound"):
        locate_speech(np.zeros(RATE_HZ, np.int16))


@pytest.mark.parametrize("samples", [1, 2, 159, 400, 1600])
def test_a_crop_of_any_length_is_judged(samples: int, rng: np.random.Generator) -> None:
    try:
        start, end = locate_speech((rng.standard_normal(samples) * 1000).astype(np.int16))
    except AudioError:
        return
    assert 0 <= start < end <= samples


def test_the_same_is_measured_of_a_recording_whoever_asks(
    audio_dir: Path, read: Read, rng: np.random.Generator
) -> None:
    noisy = in_noise(np.pad(read(audio_dir / "slt_alexa_test_1.flac"), RATE_HZ // 4), 10.0, rng)
    analysis = Analysis(noisy)
    np.testing.assert_array_equal(analysis.power, mel.power_mel(to_float(noisy)))
    np.testing.assert_array_equal(analysis.noise, noise_of(analysis.power))
    assert analysis.bounds == locate_speech(noisy)
    assert 7 <= analysis.snr_db <= 16
    assert analysis.snr_db > Analysis(in_noise(noisy, 0.0, rng)).snr_db + 5


@pytest.mark.parametrize("first", [lambda it: it.snr_db, lambda it: it.bounds, lambda it: it.noise])
def test_the_mel_is_computed_once_whatever_is_asked_first(
    first: Callable[[Analysis], object], audio_dir: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = Analysis(read(audio_dir / "slt_alexa_test_1.flac"))
    found = first(analysis)
    monkeypatch.setattr(mel, "power_mel", None)
    assert first(analysis) is found
    assert (analysis.bounds, analysis.snr_db > 30, len(analysis.noise)) == (analysis.bounds, True, 40)


def test_where_nothing_is_said_there_is_no_snr_either() -> None:
    silence = Analysis(np.zeros(RATE_HZ, np.int16))
    for _ in range(2):
        with pytest.raises(AudioError, match="nothing said"):
            _ = silence.snr_db

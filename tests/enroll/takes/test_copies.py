"""One take that is given again in another coding, rate or level is one take; a second take is another."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from conftest import MakeNetwork, Read, Takes
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16, to_float
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.takes.measure import likeness

CODINGS = (
    ("MP3", "MPEG_LAYER_III", 16_000, 1.0),
    ("MP3", "MPEG_LAYER_III", 44_100, 0.5),
    ("OGG", "OPUS", 16_000, 1.0),
    ("OGG", "OPUS", 8_000, 0.7),
    ("OGG", "VORBIS", 16_000, 0.3),
    ("FLAC", "PCM_24", 48_000, 1.0),
    ("WAV", "ULAW", 8_000, 1.0),
    ("WAV", "GSM610", 8_000, 1.0),
    ("WAV", "IMA_ADPCM", 16_000, 1.0),
    ("WAV", "PCM_16", 22_050, -0.2),
)


def coded(samples: Int16, folder: Path, container: str, coding: str, rate_hz: int, gain: float) -> Int16:
    """(n,) int16 as they come back from a file."""
    path = folder / f"{coding}_{rate_hz}.{container.lower()}"
    resampled = soxr.resample(to_float(samples), RATE_HZ, rate_hz)
    soundfile.write(path, gain * resampled, rate_hz, format=container, subtype=coding)
    return read_audio(path)


@pytest.mark.parametrize("word", [None, "okay_nabu"])
def test_one_take_in_many_codings_is_one_take(
    word: str | None,
    takes: Takes,
    read: Read,
    speaker: SpeakerNetwork,
    make_network: MakeNetwork,
    tmp_path: Path,
) -> None:
    take = read(takes("slt", "okay_nabu", "enroll")[0])
    hearing = Hearing(speaker, make_network(word) if word else None)
    assert hearing.files([take], "take").takes == (0,)
    for coding in CODINGS:
        heard = hearing.files([coded(take, tmp_path, *coding)], str(coding))
        assert heard.takes == (0,)
        (fault,) = heard.faults
        assert fault.reason in ("same_take_twice", *(("keyword_not_heard",) if word and coding[2] == 8_000 else ()))


def test_takes_of_one_voice_are_not_copies_of_each_other(takes: Takes, read: Read) -> None:
    for voice in ("slt", "kal16", "rp_f3"):
        words = [read(path) for path in takes(voice, "okay_nabu", "enroll")]
        assert max(likeness(one, other) for one, other in itertools.combinations(words, 2)) < 0.92


@given(gain=st.floats(0.05, 1.0), negative=st.booleans(), shift=st.integers(0, 4000))
@settings(max_examples=20)
def test_neither_level_nor_sign_nor_a_shift_makes_another_take(
    takes: Takes, read: Read, gain: float, negative: bool, shift: int
) -> None:
    take = read(takes("slt", "okay_nabu", "enroll")[0])
    changed = np.rint(take[shift:] * (-gain if negative else gain)).astype(np.int16)
    assert likeness(take, changed) > 0.99
    assert likeness(changed, take) > 0.99


def test_nothing_and_silence_are_like_nothing() -> None:
    silence, sound = np.zeros(20_000, np.int16), np.arange(20_000).astype(np.int16)
    for one, other in ((silence, sound), (sound[:0], sound), (sound[:100], sound), (silence, silence)):
        assert likeness(one, other) == 0.0

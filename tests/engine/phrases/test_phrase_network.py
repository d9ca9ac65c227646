"""The phrase network: it is Google's, and no cut of a stream changes what it makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Read, Takes, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import Int16
from earmark.engine.errors import ModelError
from earmark.engine.phrases import mel
from earmark.engine.phrases.network import FEATURES, PhraseNetwork

# An embedding begins with frame 4 of eight: where a window is to begin with a stream's first sample, four hops of
# silence must come before it. The nine before it have not heard a whole window.
AHEAD_SAMPLES, NOT_WHOLE = 4 * 160, 9


@pytest.fixture(scope="module")
def network() -> PhraseNetwork:
    return PhraseNetwork()


@pytest.fixture(scope="module")
def speech(takes: Takes, read: Read) -> Int16:
    return read(takes("slt", "okay_nabu", "test")[0])


@pytest.mark.parametrize("source", ["one_pass", "windows"])
def test_its_embeddings_are_those_of_the_network_that_google_published(
    network: PhraseNetwork, speech: Int16, golden_dir: Path, source: str
) -> None:
    with np.load(golden_dir / "phrase.npz") as golden:
        wanted = golden[source]
    network.reset()
    found = network.embed(np.pad(speech, (AHEAD_SAMPLES, 5_000)))[NOT_WHOLE:][: len(wanted)]
    assert found.shape == wanted.shape
    assert len(wanted) > 10
    cosines = np.sum(found * wanted, axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() >= 0.9999


@settings(max_examples=15)
@given(st.data())
def test_any_cut_of_a_stream_gives_the_same_features_bit_for_bit(
    network: PhraseNetwork, speech: Int16, data: st.DataObject
) -> None:
    network.reset()
    whole = network.push(speech)
    network.reset()
    pieces = [network.push(piece) for piece in cut(speech, data.draw(cut_points(len(speech))))]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.shape == ((len(speech) - 240) // 2560 * 2, FEATURES)


def test_features_have_unit_length_and_a_reset_forgets_the_stream(network: PhraseNetwork, speech: Int16) -> None:
    network.reset()
    first = network.push(speech)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
    assert not np.array_equal(network.push(speech)[:4], first[:4])
    network.reset()
    assert np.array_equal(network.push(speech), first)


def test_before_the_stream_it_has_heard_silence(network: PhraseNetwork) -> None:
    network.reset()
    features = network.push(np.zeros(16_000, np.int16))
    assert np.allclose(features, features[0], atol=1e-5)


def test_a_mel_of_silence_is_the_floor_and_a_tone_is_loudest_in_its_own_band() -> None:
    assert np.allclose(mel.log_mel(np.zeros(560, np.int16)), mel.SILENCE)
    tone = (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(560) / 16_000)).astype(np.int16)
    loudest = int(mel.log_mel(tone)[0].argmax())
    assert mel.filters()[32, loudest] > 0.3  # bin 32 is 1000 Hz


def test_a_folder_without_the_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"phrase\.json"):
        PhraseNetwork(tmp_path)

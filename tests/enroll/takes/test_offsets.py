"""A constant offset, as of a PDM microphone, changes nothing: verdicts, embeddings, others, a guided session."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import pytest
from conftest import MakeNetwork, Read, Takes
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16
from earmark.engine.audio.sources import ArraySource
from earmark.engine.errors import DeviceError
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.guided.conversation import Guide
from earmark.enroll.guided.microphones import MicrophoneOfSession
from earmark.enroll.guided.screen import Answers, Screen
from earmark.enroll.takes import others, quality
from earmark.enroll.takes.quality import Fault, Take

OFFSETS = st.integers(-FULL_SCALE // 10, FULL_SCALE // 10)
THREE_PER_CENT = 983


def shifted(samples: Int16, offset: int) -> Int16:
    return np.clip(samples.astype(np.int32) + offset, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


@pytest.fixture(scope="module")
def word(takes: Takes, read: Read) -> Int16:
    """A take in a quiet room, 6 dB below what would clip with an offset of a tenth."""
    samples = np.pad(read(takes("slt", "okay_nabu", "enroll")[0]), RATE_HZ).astype(np.float64)
    noise = np.random.default_rng(3).normal(0, 6, len(samples))
    said: Int16 = np.rint(samples * 14_000 / np.abs(samples).max() + noise).astype(np.int16)
    return said


@pytest.fixture(scope="module")
def network(make_network: MakeNetwork) -> KeywordNetwork:
    return make_network("okay_nabu")


def as_it_is(word: Int16) -> Int16:
    return word


def far_too_quiet(word: Int16) -> Int16:
    return (word // 40).astype(np.int16)


def in_noise(word: Int16) -> Int16:
    return np.rint(word + np.random.default_rng(4).normal(0, 700, len(word))).astype(np.int16)


def overdriven(word: Int16) -> Int16:
    return np.clip(word.astype(np.int32) * 12, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def cut_off(word: Int16) -> Int16:
    loud = np.flatnonzero(np.abs(word) > 5000)
    return word[: loud[len(loud) * 4 // 5]]


def a_quiet_room(word: Int16) -> Int16:
    return word[: RATE_HZ // 2]


def nothing_but_zeros(word: Int16) -> Int16:
    return np.zeros_like(word)


KINDS: dict[Callable[[Int16], Int16], str] = {
    as_it_is: "",
    far_too_quiet: "too_quiet",
    in_noise: "keyword_not_heard",
    overdriven: "clipped",
    cut_off: "cut_off",
    a_quiet_room: "nothing_said",
    nothing_but_zeros: "nothing_said",
}


@pytest.mark.parametrize("any_phrase", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=8)
@given(offset=OFFSETS)
def test_any_offset_gives_the_same_verdict_and_the_same_crop(
    word: Int16,
    network: KeywordNetwork,
    speaker: SpeakerNetwork,
    kind: Callable[[Int16], Int16],
    any_phrase: bool,
    offset: int,
) -> None:
    samples, keyword = kind(word), None if any_phrase else network
    expected = quality.only_take(samples, "take", keyword)
    if keyword:
        assert (expected.reason if isinstance(expected, Fault) else "") == KINDS[kind]
    found = quality.only_take(shifted(samples, offset), "take", keyword)
    if isinstance(expected, Fault):
        assert isinstance(found, Fault)
        assert found.reason == expected.reason
    else:
        assert found == expected
        assert isinstance(found, Take)
        np.testing.assert_array_equal(found.crop, expected.crop)
        assert float(speaker.embed(found.crop) @ speaker.embed(expected.crop)) >= 0.999


def test_what_an_offset_drives_into_clipping_is_clipped(word: Int16, network: KeywordNetwork) -> None:
    """Half of the peaks reach full scale, from which the offset is a tenth away: still full scale."""
    loud = np.rint(word * (30_500 / 14_000)).astype(np.int16)
    assert isinstance(quality.only_take(loud, "take", network), Take)
    driven = shifted(np.rint(loud * 2.4).clip(-FULL_SCALE, 29_491).astype(np.int16), FULL_SCALE // 10)
    found = quality.only_take(driven, "take", network)
    assert isinstance(found, Fault)
    assert found.reason == "clipped"


@given(offset=OFFSETS)
@settings(max_examples=10)
def test_any_offset_leaves_the_same_crops_of_other_people(word: Int16, network: KeywordNetwork, offset: int) -> None:
    expected, found = (others.other_crops(samples, "file", network) for samples in (word, shifted(word, offset)))
    assert isinstance(expected, list)
    assert isinstance(found, list)
    assert [crop.samples.tolist() for crop in found] == [crop.samples.tolist() for crop in expected]


def looked_at(screen: Screen, audio: Int16) -> MicrophoneOfSession:
    return MicrophoneOfSession(screen, "mic", lambda _: ArraySource(audio, 320), lambda: [])


def session(word: Int16, offset: int, enroller: Enroller, network: KeywordNetwork) -> str:
    """What a conversation says in which one take is heard before the audio ends."""
    room = np.rint(np.random.default_rng(6).normal(0, 5, 9 * RATE_HZ)).astype(np.int16)
    audio = np.concatenate([room[:RATE_HZ], word, room, word, room[: 3 * RATE_HZ]])
    shown = io.StringIO()
    screen = Screen(Answers(), shown)
    microphone = looked_at(screen, shifted(audio, offset))
    guide = Guide("anna", enroller, network, Options(), screen, microphone, None)
    with pytest.raises(DeviceError, match="the audio has ended"):
        guide.run()
    return shown.getvalue()


@pytest.mark.parametrize("offset", [-1500, 40])
def test_a_guided_session_says_the_same_with_an_offset(
    word: Int16, enroller: Enroller, network: KeywordNetwork, offset: int
) -> None:
    said = session(word, offset, enroller, network)
    named = [line for line in said.splitlines(keepends=True) if "constant offset" in line]
    assert len(named) == (abs(offset) > 1000)
    assert "✓ Take 1 of 5 is good" in said
    assert said.replace("".join(named), "") == session(word, 0, enroller, network)


@pytest.mark.parametrize("offset", [0, THREE_PER_CENT, -4000])
def test_a_guided_session_names_an_offset_when_it_looks_at_the_level(word: Int16, offset: int) -> None:
    shown = io.StringIO()
    with contextlib.suppress(DeviceError):
        looked_at(Screen(Answers(), shown), shifted(np.tile(word, 4), offset))
    expected = {
        0: None,
        THREE_PER_CENT: "constant offset of 3.0 % of full scale, as many PDM and I2S microphones have: it is taken",
        -4000: "constant offset of 12.2 % of full scale, which leaves too little of the range",
    }[offset]
    assert ("constant offset" in shown.getvalue()) == (expected is not None)
    assert (expected or "") in shown.getvalue()

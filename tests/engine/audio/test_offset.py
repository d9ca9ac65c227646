"""A constant offset: taken off recordings and streams, so that nothing of it is left."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Read, Takes, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.offset import OffsetRemover, offset_of, remark_on, without_offset
from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16

TENTH = FULL_SCALE // 10
OFFSETS = st.integers(-TENTH, TENTH)


def shifted(samples: Int16, offset: int) -> Int16:
    return np.clip(samples.astype(np.int32) + offset, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def streamed(samples: Int16, points: list[int]) -> Int16:
    remover = OffsetRemover()
    return np.concatenate([*(remover.push(piece) for piece in cut(samples, points)), remover.finish()])


@pytest.fixture(scope="module")
def talk(takes: Takes, read: Read) -> Int16:
    """Three takes with pauses, none of it within a tenth of full scale."""
    said = [np.pad(read(path), (0, RATE_HZ // 2)) for path in takes("slt", "okay_nabu", "enroll")[:3]]
    noise = np.random.default_rng(5).normal(0, 6, sum(map(len, said)))
    return (np.concatenate(said) * 0.5 + noise).astype(np.int16)


@given(offset=OFFSETS)
def test_any_offset_of_a_recording_leaves_the_same_bits(talk: Int16, offset: int) -> None:
    expected, own = without_offset(talk)
    cleaned, found = without_offset(shifted(talk, offset))
    assert found == own + offset
    np.testing.assert_array_equal(cleaned, expected)


@given(offset=OFFSETS, data=st.data())
@settings(max_examples=30)
def test_any_offset_and_any_cut_of_a_stream_give_the_same_bits(talk: Int16, offset: int, data: st.DataObject) -> None:
    expected = streamed(talk, [])
    assert len(expected) == len(talk)
    points = data.draw(cut_points(len(talk)))
    np.testing.assert_array_equal(streamed(shifted(talk, offset), points), expected)


@given(silent=st.integers(0, 40), value=st.integers(-TENTH, TENTH), data=st.data())
@settings(max_examples=60)
def test_what_a_device_gives_before_it_hears_is_silence_however_it_is_cut(
    talk: Int16, silent: int, value: int, data: st.DataObject
) -> None:
    """Zeros before sound with an offset are no step; fewer than 16 may be sound."""
    stream = np.concatenate([np.full(silent, value, np.int16), shifted(talk[:20_000], 1000)])
    whole = streamed(stream, [])
    if silent >= 16:
        assert not whole[:silent].any()
        np.testing.assert_array_equal(whole[silent:], streamed(stream[silent:], []))
    np.testing.assert_array_equal(streamed(stream, data.draw(cut_points(60))), whole)


def test_silence_around_a_recording_with_an_offset_stays_silence(talk: Int16) -> None:
    cleaned, offset = without_offset(np.pad(shifted(talk, 1500), (RATE_HZ, 2 * RATE_HZ)))
    assert offset == pytest.approx(1500, abs=8)
    assert not cleaned[:RATE_HZ].any()
    assert not cleaned[-2 * RATE_HZ :].any()
    assert abs(int(cleaned[RATE_HZ : RATE_HZ + 1600].mean())) <= 20


@given(offset=st.integers(-FULL_SCALE, FULL_SCALE - 1), value=st.integers(-FULL_SCALE, FULL_SCALE - 1))
def test_what_would_leave_the_range_stays_at_its_end(offset: int, value: int) -> None:
    quiet = np.full(40_000, offset, np.int16)
    quiet[::7] += 1 if offset < FULL_SCALE - 1 else -1
    quiet[20_000] = value
    cleaned, found = without_offset(quiet)
    assert cleaned[20_000] == np.clip(value - found, -FULL_SCALE, FULL_SCALE - 1)


def test_a_recording_without_an_offset_is_not_even_copied(rng: np.random.Generator) -> None:
    samples = np.rint(rng.normal(0, 5, RATE_HZ)).astype(np.int16)
    assert without_offset(samples)[0] is samples


def test_a_stream_whose_offset_changes_is_followed_and_speech_is_not(talk: Int16) -> None:
    """A microphone that settles after it was opened: 3 s later nothing of it is left."""
    remover = OffsetRemover()
    cleaned = remover.push(np.concatenate([shifted(talk, 2000), shifted(talk, -1000), shifted(talk, -1000)]))
    quiet = offset_of(cleaned[-RATE_HZ:])
    assert abs(quiet) <= 10
    assert remover.offset == pytest.approx(-1000, abs=10)


def test_a_stream_does_not_follow_rumble(rng: np.random.Generator) -> None:
    """A lorry of 0.2 Hz, which is louder than any offset that would be found in it."""
    at_s = np.arange(20 * RATE_HZ) / RATE_HZ
    rumble = 100 * np.sin(2 * np.pi * 0.2 * at_s) + rng.normal(0, 300, len(at_s))
    remover, found = OffsetRemover(), set()
    for start in range(0, len(at_s), 1600):
        remover.push(np.rint(rumble[start : start + 1600]).astype(np.int16))
        found.add(remover.offset)
    assert len(found - {0}) == 1


def test_a_stream_is_kept_back_for_half_a_second_and_no_longer(talk: Int16) -> None:
    remover = OffsetRemover()
    assert len(remover.push(talk[:7999])) == 0
    assert remover.held_samples == 7999
    assert len(remover.push(talk[7999:8000])) == 8000
    for at in range(8000, 20_000, 7):
        assert len(remover.push(talk[at : at + 7])) == 7
    assert remover.held_samples == 0


@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 1599, 1600, 1601])
def test_recordings_and_streams_of_any_length_come_out_as_long(length: int, rng: np.random.Generator) -> None:
    samples = rng.integers(900, 1100, length).astype(np.int16)
    cleaned, offset = without_offset(samples)
    assert len(cleaned) == len(streamed(samples, [])) == length
    assert offset == 0 if length == 0 else 900 <= offset <= 1100


def test_an_offset_is_named_with_what_to_do_from_half_a_per_cent_on() -> None:
    assert remark_on(163) is None
    assert "0.5 % of full scale" in str(remark_on(-164))
    assert "3.2 % of full scale, as many PDM" in str(remark_on(1049))
    assert "nothing is to be done" in str(remark_on(3276))
    assert "take another microphone" in str(remark_on(-3400))

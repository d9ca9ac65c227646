"""Conversion of samples: exact at the edges, and independent of how a stream is cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from conftest import cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import RATE_HZ, AudioFormat, Converter, Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError

STEP = 2.0**-15  # one step of int16

FLOAT_TO_INT16 = [
    (-1.0 - STEP, -32768),
    (-1.0, -32768),
    (-1.0 + STEP, -32767),
    (-1.5 * STEP, -2),
    (-STEP, -1),
    (-0.75 * STEP, -1),
    (-0.5 * STEP, 0),  # ties go to the even neighbour
    (-0.0, 0),
    (0.25 * STEP, 0),
    (0.5 * STEP, 0),
    (1.5 * STEP, 2),
    (0.5, 16384),
    (1.0 - STEP, 32767),
    (1.0 - 0.5 * STEP, 32767),
    (1.0, 32767),  # the only value in [-1, 1] that int16 lacks
    (2.0, 32767),
    (-3e38, -32768),
    (3e38, 32767),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sample", "expected"), FLOAT_TO_INT16)
def test_float_to_int16_rounds_and_clips(sample: float, expected: int, dtype: npt.DTypeLike) -> None:
    converted = to_int16(np.array([sample], dtype))
    assert (converted.tolist(), converted.dtype.name) == ([expected], "int16")


def test_every_int16_survives_the_way_to_float_and_back() -> None:
    everything = np.arange(-32768, 32768).astype(np.int16)
    floats = to_float(everything)
    assert (floats.dtype.name, floats.min(), floats.max()) == ("float32", -1.0, 1.0 - STEP)
    np.testing.assert_array_equal(to_int16(floats), everything)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused_with_its_position(bad: float) -> None:
    samples = np.zeros(10, np.float32)
    samples[[3, 7]] = bad
    with pytest.raises(AudioError, match=f"sample 3 is {bad}"):
        to_int16(samples)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
@pytest.mark.parametrize("frame", [(np.nan, 0.0), (0.0, np.inf), (np.inf, -np.inf)])
def test_one_bad_channel_is_enough_to_refuse(rate_hz: int, frame: tuple[float, float]) -> None:
    frames = np.zeros((10, 2), np.float32)
    frames[3] = frame
    with pytest.raises(AudioError, match=r"sample 3 is (nan|inf)"):
        Converter(AudioFormat(rate_hz, 2)).push(frames)


def test_the_position_counts_from_the_start_of_the_stream() -> None:
    converter = Converter(AudioFormat(48_000, 1))
    converter.push(np.zeros((1000, 1), np.float32))
    with pytest.raises(AudioError, match="sample 1002 is nan"):
        converter.push(np.array([[0], [0], [np.nan]], np.float32))
    converter.reset()
    with pytest.raises(AudioError, match="sample 0 is nan"):
        converter.push(np.array([[np.nan]], np.float32))


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
def test_absurdly_loud_floats_clip(rate_hz: int) -> None:
    loud = whole_conversion(np.full((rate_hz // 10, 2), 3e38, np.float32), rate_hz)
    assert (loud[200:-200] == 32767).all()


def test_channels_are_averaged() -> None:
    left_right = to_float(np.array([[1000, 3000], [-200, 200], [32767, 32767], [7, -8]], np.int16))
    assert Converter(AudioFormat(RATE_HZ, 2)).push(left_right).tolist() == [2000, 0, 32767, 0]


@pytest.mark.parametrize(("rate_hz", "channels"), [(3_999, 1), (384_001, 1), (0, 1), (16_000, 0)])
def test_a_format_that_cannot_be_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(AudioError, match=str(channels if rate_hz == RATE_HZ else rate_hz)):
        AudioFormat(rate_hz, channels)


def whole_conversion(frames: Float32, rate_hz: int) -> Int16:
    converter = Converter(AudioFormat(rate_hz, frames.shape[1]))
    return np.concatenate([converter.push(frames), converter.finish()])


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000, 44_100, 8_000])
@given(data=st.data())
@settings(max_examples=25)
def test_any_cut_equals_the_whole(rate_hz: int, data: st.DataObject) -> None:
    frames = np.random.default_rng(1).uniform(-1, 1, (rate_hz // 4, 2)).astype(np.float32)
    converter = Converter(AudioFormat(rate_hz, 2))
    pieces = [converter.push(piece) for piece in cut(frames, data.draw(cut_points(len(frames))))]
    np.testing.assert_array_equal(np.concatenate([*pieces, converter.finish()]), whole_conversion(frames, rate_hz))


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
def test_reset_forgets_what_was_pushed(rate_hz: int, rng: np.random.Generator) -> None:
    frames = rng.uniform(-1, 1, (5000, 1)).astype(np.float32)
    converter = Converter(AudioFormat(rate_hz, 1))
    converter.push(frames[::-1])
    converter.reset()
    again = np.concatenate([converter.push(frames), converter.finish()])
    np.testing.assert_array_equal(again, whole_conversion(frames, rate_hz))


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> Float32:
    """(n, 1), amplitude 0.5."""
    phase = 2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz
    wave: Float32 = (0.5 * np.sin(phase)).astype(np.float32)
    return wave[:, None]


def level_db(samples: Int16) -> float:
    """RMS against that of a sine of amplitude 0.5, without the filter's ends."""
    middle = to_float(samples[1000:-1000]).astype(np.float64)
    return float(10 * np.log10(np.mean(middle**2) / 0.125 + 1e-30))


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000, 44_100, 8_000])
def test_a_1_khz_sine_keeps_level_and_place(rate_hz: int) -> None:
    """Within 0.01 dB, and sample by sample within one step of int16: no delay, no other frequency."""
    out = whole_conversion(sine(1000, rate_hz), rate_hz)
    assert abs(level_db(out)) < 0.01
    ideal = to_int16(sine(1000, RATE_HZ)[:, 0])
    middle = slice(1000, 15_000)
    assert np.abs(out[middle].astype(int) - ideal[middle]).max() <= 1


@pytest.mark.parametrize(("rate_hz", "frequency_hz"), [(48_000, 12_000), (48_000, 8_500), (44_100, 12_000)])
def test_what_16_khz_cannot_hold_does_not_fold_back(rate_hz: int, frequency_hz: float) -> None:
    assert level_db(whole_conversion(sine(frequency_hz, rate_hz), rate_hz)) < -60


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000, 44_100, 8_000, 22_050, 96_000])
@pytest.mark.parametrize("frames", [0, 1, 100, 44_100])
def test_the_length_follows_the_rate(rate_hz: int, frames: int) -> None:
    out = whole_conversion(np.zeros((frames, 1), np.float32), rate_hz)
    assert abs(len(out) - frames * RATE_HZ / rate_hz) <= 1

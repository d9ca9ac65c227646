"""The feature frames and the raw ring: positions, state, and independence of the block size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Read, Takes, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st
from pymicro_wakeword import MicroWakeWordFeatures

from earmark.engine.audio.samples import Int16
from earmark.engine.features.frontend import CHANNELS, HOP_SAMPLES, WINDOW_SAMPLES, Frontend, Ring, frame_end


@pytest.fixture(scope="module")
def speech(takes: Takes, read: Read) -> Int16:
    return read(takes("slt", "okay_nabu", "test")[0])


@given(data=st.data())
@settings(max_examples=200)
def test_the_ring_holds_the_end_of_the_stream(data: st.DataObject) -> None:
    stream = np.arange(1, 101).astype(np.int16)  # 100 samples through 16 places: round six times
    ring, capacity = Ring(16), 16
    pushed = 0
    for piece in cut(stream, data.draw(cut_points(len(stream)))):
        ring.push(piece)
        pushed += len(piece)
        start, end = data.draw(st.integers(-20, 120)), data.draw(st.integers(-20, 120))
        expected = stream[max(0, pushed - capacity, start) : max(0, min(pushed, end))]
        assert ring.end == pushed
        np.testing.assert_array_equal(ring.last(start, end), expected)


def test_the_ring_gives_nothing_before_the_stream() -> None:
    ring = Ring(16)
    ring.push(np.array([5, 6], np.int16))
    assert ring.last(-10, 1).tolist() == [5]
    assert ring.last(0, 10).tolist() == [5, 6]
    assert ring.last(-10, -5).tolist() == []


def test_the_ring_gives_copies() -> None:
    ring = Ring(16)
    ring.push(np.ones(16, np.int16))
    kept = ring.last(0, 16)
    ring.push(np.zeros(16, np.int16))
    assert kept.all()


@given(data=st.data())
@settings(max_examples=30)
def test_any_cut_gives_the_same_frames(speech: Int16, data: st.DataObject) -> None:
    frontend = Frontend()
    pieces = [frontend.push(piece) for piece in cut(speech, data.draw(cut_points(len(speech))))]
    np.testing.assert_array_equal(np.concatenate(pieces), Frontend().push(speech))


def test_the_frames_are_those_the_networks_were_made_for(speech: Int16) -> None:
    theirs = [frame.ravel() for frame in MicroWakeWordFeatures().process_streaming(speech.tobytes())]
    np.testing.assert_array_equal(Frontend().push(speech), np.array(theirs, np.float32))


def test_state_matters_and_reset_restores_it(speech: Int16) -> None:
    frontend = Frontend()
    first = frontend.push(speech)
    second = frontend.push(speech)
    frontend.reset()
    third = frontend.push(speech)
    assert not np.array_equal(first, second[-len(first) :]), "the noise estimate must go on"
    np.testing.assert_array_equal(first, third)


def test_two_frontends_do_not_share_state(speech: Int16) -> None:
    one, other = Frontend(), Frontend()
    expected = Frontend().push(speech)
    other.push(speech[::-1].copy())
    np.testing.assert_array_equal(one.push(speech), expected)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (479, 0), (480, 1), (639, 1), (640, 2), (16_000, 98), (16_159, 98), (16_160, 99)]
)
def test_the_first_frame_comes_at_30_ms_and_one_each_10_ms(speech: Int16, samples: int, frames: int) -> None:
    frontend = Frontend()
    out = frontend.push(np.resize(speech, samples))
    assert (out.shape, out.dtype.name, frontend.frames) == ((frames, CHANNELS), "float32", frames)
    assert frames == 0 or frame_end(frames - 1) <= samples < frame_end(frames)


def test_a_frame_sees_no_sample_beyond_its_end(speech: Int16) -> None:
    frame = 40
    end = frame_end(frame)
    assert end == WINDOW_SAMPLES + frame * HOP_SAMPLES

    def frames_with_noise_from(start: int) -> npt.NDArray[np.float32]:
        changed = speech.copy()
        changed[start : start + HOP_SAMPLES] = np.random.default_rng(0).integers(-20_000, 20_000, HOP_SAMPLES)
        return Frontend().push(changed)

    clean = Frontend().push(speech)
    np.testing.assert_array_equal(frames_with_noise_from(end)[: frame + 1], clean[: frame + 1])
    earlier = frames_with_noise_from(end - HOP_SAMPLES)
    np.testing.assert_array_equal(earlier[:frame], clean[:frame])
    assert not np.array_equal(earlier[frame], clean[frame])


def test_silence_is_zeros() -> None:
    assert not Frontend().push(np.zeros(16_000, np.int16)).any()

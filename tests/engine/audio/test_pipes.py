"""A pipe that gives something else than raw audio, nothing, or several channels."""

from __future__ import annotations

import io
import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.pipes import FloatsInPipe
from earmark.engine.audio.samples import Int16
from earmark.engine.audio.sources import PolledPipe, StdinSource
from earmark.engine.errors import AudioError

RATE_HZ = 16_000


class Pieces(io.RawIOBase):
    """A pipe that gives its content in pieces of a size, and has nothing yet before each."""

    def __init__(self, content: bytes, size: int = 3200) -> None:
        self._content, self._size, self._waits = content, size, True

    def read1(self, size: int, /) -> bytes | None:
        """Nothing yet, or the next piece."""
        self._waits = not self._waits
        if not self._waits:
            return None
        size = min(size, self._size)
        piece, self._content = self._content[:size], self._content[size:]
        return piece


def heard(content: bytes, size: int = 3200, **more: Any) -> Int16:
    source = StdinSource(Pieces(content, size), **more)
    return np.concatenate([np.zeros(0, np.int16), *(block.samples for block in source)])


@pytest.fixture
def samples(rng: np.random.Generator) -> Int16:
    return np.asarray(3000 * rng.standard_normal(2 * RATE_HZ)).astype(np.int16)


def as_file(samples: npt.NDArray[Any], container: str, rate_hz: int = RATE_HZ, subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format=container, subtype=subtype)
    return content.getvalue()


@pytest.mark.parametrize("container", ["FLAC", "OGG", "AIFF", "AU", "CAF", "W64", "RF64", "NIST"])
@pytest.mark.parametrize("size", [1, 3200])
def test_a_recording_in_a_pipe_is_named_with_what_to_do(samples: Int16, container: str, size: int) -> None:
    named = rf"standard input is an? {container.title() if container == 'OGG' else '[A-Z0-9]+'} file, not raw audio: "
    with pytest.raises(AudioError, match=named + "`earmark replay FILE`.*`ffmpeg -i FILE -f s16le") as raised:
        heard(as_file(samples, container)[:5000], size)
    assert {"RF64": "WAV"}.get(container, container) in str(raised.value).upper()


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"ID3\x04\0\0\0\0\0\0", "an MP3"), (b"\0\0\0\x20ftypM4A ", "an M4A"), (b"\x1a\x45\xdf\xa3\1\0\0\0", "a WebM")],
    ids=["mp3", "m4a", "webm"],
)
def test_other_recordings_in_a_pipe_are_named(content: bytes, kind: str) -> None:
    with pytest.raises(AudioError, match=f"standard input is {kind}"):
        heard(content + bytes(1000))


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("size", [1, 7, 3200])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_header_of_a_wav_in_our_format_is_passed_over(
    samples: Int16, container: str, size: int, channels: int
) -> None:
    """As `arecord -t wav` gives it."""
    content = as_file(np.repeat(samples[:4000, None], channels, axis=1), container)
    np.testing.assert_array_equal(heard(content, size, channels=channels), samples[:4000])


@pytest.mark.parametrize(
    ("rate_hz", "channels", "subtype", "has"),
    [
        (48_000, 1, "PCM_16", "PCM, channels: 1, 48000 Hz, 16 bits"),
        (16_000, 2, "PCM_16", "PCM, channels: 2, 16000 Hz, 16 bits"),
        (16_000, 1, "PCM_24", "PCM, channels: 1, 16000 Hz, 24 bits"),
        (16_000, 1, "FLOAT", "coding 3, channels: 1, 16000 Hz, 32 bits"),
    ],
)
def test_a_wav_in_another_format_is_refused(
    samples: Int16, rate_hz: int, channels: int, subtype: str, has: str
) -> None:
    content = as_file(np.repeat(samples[:, None], channels, axis=1), "WAV", rate_hz, subtype)
    with pytest.raises(AudioError, match=f"standard input is a WAV with {has}; it must be PCM"):
        heard(content)


@given(begin=st.sampled_from([b"RI", b"RIFF", b"RIFFabcdWAVX", b"fLa0", b"OggT"]), more=st.integers(0, 20))
def test_audio_that_begins_nearly_like_a_recording_is_audio(begin: bytes, more: int) -> None:
    content = begin + b"\1\1" * more
    np.testing.assert_array_equal(heard(content, 1), np.frombuffer(content, "<i2"))


def test_a_pipe_that_ends_at_once_is_an_error() -> None:
    for content in (b"", b"\1"):
        with pytest.raises(AudioError, match="the pipe ended after 0 s: did the program before it start"):
            heard(content)


def test_a_pipe_that_ends_soon_is_said(samples: Int16, caplog: pytest.LogCaptureFixture) -> None:
    heard(samples[:1600].tobytes())
    assert "the pipe ended after 0.1 s" in caplog.text
    caplog.clear()
    heard(samples.tobytes())
    assert caplog.text == ""


# --- floats


@pytest.mark.parametrize("form", ["<f4", "<f8"])
@pytest.mark.parametrize("scale", [1 / 32_768, 1 / 3_000_000, 1.0], ids=["loud", "quiet", "as int16"])
@pytest.mark.parametrize("lead", [0, 40_000])
def test_floats_in_a_pipe_are_named_once(
    samples: Int16, caplog: pytest.LogCaptureFixture, form: str, scale: float, lead: int
) -> None:
    floats = np.concatenate([np.zeros(lead), samples * scale]).astype(form)
    heard(floats.tobytes(), 1002)
    assert caplog.text.count("it looks like floats, not 16-bit integers") == 1


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["noise", "tone", "constant", "square", "clipped", "pairs"]),
    level=st.integers(1, 32_767),
    seed=st.integers(0, 9),
)
def test_integers_are_never_taken_for_floats(kind: str, level: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 24_000
    sound = {
        "noise": level * rng.standard_normal(count),
        "tone": level * np.sin(np.arange(count) * (0.01 + 0.3 * rng.random())),
        "constant": np.full(count, level),
        "square": level * np.sign(np.sin(np.arange(count) * 0.05)),
        "clipped": 10 * level * rng.standard_normal(count),
        "pairs": np.repeat(level * rng.standard_normal(count // 2), 2),
    }[kind]
    samples = np.clip(sound, -32_768, 32_767).astype(np.int16)
    detector = FloatsInPipe()
    assert sum(detector.found(piece) for piece in np.array_split(samples, 17)) == 0


# --- channels


def test_channels_of_a_pipe_are_mixed_or_one_is_chosen(samples: Int16, caplog: pytest.LogCaptureFixture) -> None:
    frames = np.stack([samples, -samples, np.zeros_like(samples)], axis=1).astype("<i2").tobytes()
    for number, expected in enumerate((samples, -samples, np.zeros_like(samples))):
        np.testing.assert_array_equal(heard(frames, 1001, channels=3, channel=number), expected)
    assert caplog.text == ""
    found = heard(frames, 1001, channels=3)
    np.testing.assert_array_equal(found[1600:], samples[1600:])
    assert "standard input: channel 1 is the other way round than channel 0" in caplog.text
    assert "standard input: channel 2 is dead and left out" in caplog.text


def test_a_channel_that_a_pipe_has_not_got_is_refused() -> None:
    with pytest.raises(AudioError, match=r"standard input: there is no channel 1: .*; audio\.channels says how many"):
        StdinSource(io.BytesIO(b""), channel=1)


class Rested(PolledPipe):
    """A pipe in which so much comes while it is let rest."""

    def __init__(self, come: list[bytes]) -> None:
        reading, self._writing = os.pipe()
        super().__init__(reading, 0.0)
        self._come, self.rests_s = come, list[float]()

    def give(self, content: bytes) -> None:
        os.write(self._writing, content)

    def rest(self, wait_s: float) -> None:
        self.rests_s.append(wait_s)
        self.give(self._come.pop(0))

    def close(self) -> None:
        os.close(self._writing)


def test_a_pipe_that_keeps_time_rests_for_what_is_gathered(samples: Int16) -> None:
    content = np.resize(samples, 16_000).astype("<i2").tobytes()
    pipe = Rested([content[1000:7400], content[7400:7800]])
    pipe.give(content[:1000])
    source = StdinSource(pipe)
    blocks = iter(source)
    assert len(next(blocks).samples) == 500
    source.gather(4000)
    assert [len(next(blocks).samples) for _ in range(2)] == [3200, 200]
    assert pipe.rests_s == [0.25, 0.25]
    source.gather(0)
    pipe.give(content[:1000])
    assert len(next(blocks).samples) == 500
    assert pipe.rests_s == [0.25, 0.25]
    pipe.close()


def test_a_pipe_that_is_ahead_of_time_is_not_waited_for(samples: Int16) -> None:
    content = np.resize(samples, 24_000).astype("<i2").tobytes()
    pipe = Rested([content[3200:]])
    pipe.give(content[:3200])
    source = StdinSource(pipe)
    blocks = iter(source)
    found = [next(blocks).samples]
    source.gather(1600)
    while sum(map(len, found)) < 24_000:
        found.append(next(blocks).samples)
    assert pipe.rests_s == [0.1], "once, before it was known"
    assert np.concatenate(found).astype("<i2").tobytes() == content
    pipe.close()


def test_a_pipe_that_was_closed_does_not_rest() -> None:
    reading, writing = os.pipe()
    pipe = PolledPipe(reading, 0.0)
    os.close(writing)
    pipe.rest(3600)
    assert pipe.read1(10) == b""
    os.close(reading)


def test_half_a_frame_at_the_end_is_dropped(samples: Int16, caplog: pytest.LogCaptureFixture) -> None:
    content = np.stack([samples, samples], axis=1).tobytes() + struct.pack("<h", 1)
    np.testing.assert_array_equal(heard(content, channels=2), samples)
    assert "half a sample" in caplog.text

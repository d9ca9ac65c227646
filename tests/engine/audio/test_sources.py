"""Where audio comes from: any file that should be read is read whole, any that should not says why."""

from __future__ import annotations

import ctypes.util
import io
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from helpers_store import earmark, environment
from hypothesis import example, given
from hypothesis import strategies as st

from earmark.engine.audio.files import FileSource, read_audio
from earmark.engine.audio.pipes import sound_at
from earmark.engine.audio.samples import FULL_SCALE, Block, Int16
from earmark.engine.audio.sources import ArraySource, Source, StdinSource
from earmark.engine.errors import AudioError

RATE_HZ = 16_000
SECONDS = 2
SUBTYPES = {  # of a WAV -> error allowed in units of int16
    "PCM_U8": 256,
    "PCM_16": 0,
    "PCM_24": 0,
    "PCM_32": 0,
    "FLOAT": 0,
    "DOUBLE": 0,
}


def gathered(source: Source) -> tuple[Int16, list[Block]]:
    """All samples of a source, whose blocks must be numbered without a gap."""
    blocks = list(source)
    position = 0
    for block in blocks:
        assert block.first_sample == position
        assert block.samples.dtype == np.int16
        assert len(block.samples) > 0
        position += len(block.samples)
    return np.concatenate([np.zeros(0, np.int16), *(block.samples for block in blocks)]), blocks


def tone(rate_hz: int = RATE_HZ, seconds: float = SECONDS) -> npt.NDArray[np.float64]:
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz))


def refusal(path: Path) -> str:
    """The message with which a file is refused, without the name that it begins with."""
    with pytest.raises(AudioError) as raised, FileSource(path) as source:
        list(source)
    name, _, fault = str(raised.value).partition(": ")
    assert name == str(path)
    return fault


@pytest.fixture
def samples(rng: np.random.Generator) -> Int16:
    """Two seconds that hold the extremes of int16."""
    noise = rng.integers(-32768, 32768, SECONDS * RATE_HZ).astype(np.int16)
    noise[:4] = (-32768, 32767, 0, -1)
    return noise


@pytest.fixture
def wav(tmp_path: Path, samples: Int16) -> Path:
    """A plain 16-bit WAV with its 44 bytes of header."""
    path = tmp_path / "plain.wav"
    soundfile.write(path, samples, RATE_HZ)
    return path


# --- files that are read


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_a_wav_of_any_width_gives_its_samples(tmp_path: Path, samples: Int16, container: str, subtype: str) -> None:
    path = tmp_path / "any.wav"
    soundfile.write(path, samples / FULL_SCALE, RATE_HZ, format=container, subtype=subtype)
    with FileSource(path) as source:
        found, _ = gathered(source)
    assert len(found) == len(samples)
    assert np.abs(found.astype(int) - samples).max() <= SUBTYPES[subtype]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_flac_gives_its_samples(tmp_path: Path, samples: Int16, subtype: str) -> None:
    path = tmp_path / "any.flac"
    soundfile.write(path, samples / FULL_SCALE, RATE_HZ, subtype=subtype)
    np.testing.assert_array_equal(read_audio(path), samples)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_gives_its_length_and_sound(tmp_path: Path, subtype: str) -> None:
    if not soundfile.check_format("OGG", subtype):
        pytest.skip(f"this libsndfile has no Ogg/{subtype}")
    path = tmp_path / "any.ogg"
    soundfile.write(path, tone(), RATE_HZ, subtype=subtype)
    found = read_audio(path)
    assert len(found) == SECONDS * RATE_HZ
    assert np.corrcoef(found, tone())[0, 1] > 0.99


def test_the_ending_of_the_name_means_nothing(tmp_path: Path, wav: Path, samples: Int16) -> None:
    for name in ("a.raw", "a.flac", "a", "\udcff.wav"):  # the last is not UTF-8
        np.testing.assert_array_equal(read_audio(wav.rename(tmp_path / name)), samples)
        wav = tmp_path / name


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right = np.array([1000, -32768, 5], np.int16), np.array([3000, -32768, -5], np.int16)
    soundfile.write(path, np.stack([left, right], axis=1), RATE_HZ)
    np.testing.assert_array_equal(read_audio(path), [2000, -32768, 0])


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_other_rates_keep_duration_and_sound(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "rate.wav"
    soundfile.write(path, np.repeat(tone(rate_hz)[:, None], channels, axis=1), rate_hz)
    with FileSource(path) as source:
        found, _ = gathered(source)
    assert abs(len(found) - SECONDS * RATE_HZ) <= 1
    inner = slice(RATE_HZ // 10, -RATE_HZ // 10)  # the filter rings at the ends
    error = found[inner] / FULL_SCALE - tone()[: len(found)][inner]
    assert np.abs(error).max() < 1e-3


@pytest.mark.parametrize("claimed", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(
    tmp_path: Path, samples: Int16, subtype: str, claimed: int
) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.stack([samples, samples], axis=1) / FULL_SCALE, RATE_HZ, subtype=subtype)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", claimed)
    content[4:8] = struct.pack("<I", min(claimed + at - 4, 0xFFFFFFFF))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_audio(path), samples)


def test_a_source_can_be_read_twice(wav: Path, samples: Int16) -> None:
    with FileSource(wav) as source:
        for _ in range(2):
            np.testing.assert_array_equal(gathered(source)[0], samples)


@pytest.mark.parametrize("size", [0, 1, 26, 27, 4097])
def test_chunks_before_the_audio_are_passed_over(wav: Path, samples: Int16, size: int) -> None:
    content = wav.read_bytes()
    chunk = b"LIST" + struct.pack("<I", size) + bytes(size + size % 2)
    content = content[:12] + chunk + content[12:36] + chunk + content[36:]
    wav.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    np.testing.assert_array_equal(read_audio(wav), samples)
    os.truncate(wav, wav.stat().st_size - 2000)
    assert refusal(wav).startswith("truncated: the header promises 32000 frames, the file holds 31000")


def test_chunks_behind_the_audio_are_not_heard(wav: Path, samples: Int16) -> None:
    wav.write_bytes(wav.read_bytes() + b"LIST" + struct.pack("<I", 100) + b"\x7f" * 100)
    np.testing.assert_array_equal(read_audio(wav), samples)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_single_frame_is_audio(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "one.wav"
    soundfile.write(path, np.zeros(1), rate_hz)
    assert len(read_audio(path)) <= 2


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([1.5, -7.0, 3e38, -3e38]), RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path), [32767, -32768, 32767, -32768])


def test_ten_minutes_take_no_more_memory_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(np.ones(RATE_HZ, np.int16))
    tracemalloc.start()
    try:
        with FileSource(path) as source:
            total = largest = 0
            for block in source:
                assert block.first_sample == total
                total += len(block.samples)
                largest = max(largest, len(block.samples))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 600 * RATE_HZ
    assert largest <= 16_000
    assert peak < 2_000_000  # the samples are 19 MB


# --- files that are not


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is text\n" * 50,
        np.random.default_rng(0).bytes(5000),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(500),
        b"RIFF",
        b"RIFF\x24\0\0\0WAVE",
        b"RIFF\x24\0\0\0WAVEdata\0\0\0\0" + bytes(500),
        b"fLaC" + bytes(500),
        b"OggS" + bytes(500),
        b"\0",
    ],
    ids=lambda content: repr(content[:8]),
)
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    assert refusal(path).startswith("not audio that can be read (")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert refusal(path) == "empty: 0 bytes"


@pytest.mark.parametrize("ending", ["wav", "aiff"])
def test_a_header_without_samples_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"header.{ending}"
    soundfile.write(path, np.zeros(0, np.int16), RATE_HZ)
    assert refusal(path) == "empty: no samples behind its header"


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_truncated_wav_delivers_what_it_has_and_then_says_so(tmp_path: Path, samples: Int16, subtype: str) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, samples / FULL_SCALE, RATE_HZ, subtype=subtype)
    whole = read_audio(path)
    os.truncate(path, path.stat().st_size * 2 // 3)
    heard: list[Int16] = []
    message = "truncated: the header promises 32000 frames"
    with pytest.raises(AudioError, match=message) as raised, FileSource(path) as source:
        heard.extend(block.samples for block in source)
    found = np.concatenate(heard)
    assert 0.6 * len(whole) < len(found) < 0.7 * len(whole)
    np.testing.assert_array_equal(found, whole[: len(found)])
    assert f"the file holds {len(found)};" in str(raised.value)


def test_a_truncated_flac_is_refused(tmp_path: Path, samples: Int16) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, samples, RATE_HZ)
    size = path.stat().st_size
    for share in (0.9, 0.5, 0.1):
        os.truncate(path, int(size * share))
        assert refusal(path).startswith(("truncated: ", "damaged: ", "not audio"))


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, samples: Int16, rng: np.random.Generator, ending: str
) -> None:
    path = tmp_path / f"damaged.{ending}"
    soundfile.write(path, samples[:8000], RATE_HZ)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for number in range(200):
        damaged = content.copy()
        where = rng.integers(0, len(content) if number % 2 else 100, rng.integers(1, 10))
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        try:
            read_audio(path)
        except AudioError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  whether it is refused is not the question
            refused += 1
    assert refused > 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_sample_that_is_no_number_is_named(tmp_path: Path, bad: float, subtype: str, rate_hz: int) -> None:
    path = tmp_path / "nan.wav"
    values = np.zeros((30_000, 2))
    values[20_123, 1] = bad
    soundfile.write(path, values, rate_hz, subtype=subtype)
    assert refusal(path) == f"sample 20123 is {bad}: every sample must be a finite number"


@pytest.mark.parametrize("rate_hz", [100, 1_000_000])
def test_a_rate_that_no_recorder_has_is_refused(wav: Path, rate_hz: int) -> None:
    content = wav.read_bytes()
    wav.write_bytes(content[:24] + struct.pack("<II", rate_hz, 2 * rate_hz) + content[32:])
    assert refusal(wav).startswith(f"sample rate {rate_hz} Hz is outside")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.wav") == "no such file"
    assert refusal(tmp_path) == "a folder, not a file"
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    assert refusal(tmp_path / "pipe").startswith("a pipe, not a file")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop").startswith("Too many levels of symbolic links")


NOT_ROOT = """
import os, sys
from earmark.engine.errors import AudioError
from earmark.engine.audio.files import FileSource
os.setgid(65534)
os.setuid(65534)
try:
    FileSource(sys.argv[1])
except AudioError as error:
    print(error)
"""


def test_a_file_of_somebody_else_is_refused(wav: Path) -> None:
    wav.chmod(0)
    if os.getuid() != 0:
        assert refusal(wav) == "no permission"
        return
    run = [sys.executable, "-c", NOT_ROOT, str(wav)]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == f"{wav}: no permission\n"


# --- arrays and pipes


@given(length=st.integers(0, 100), block_samples=st.integers(1, 120))
def test_an_array_comes_in_blocks_of_any_size(length: int, block_samples: int) -> None:
    samples = np.arange(length, dtype=np.int16)
    found, blocks = gathered(ArraySource(samples, block_samples))
    np.testing.assert_array_equal(found, samples)
    assert all(len(block.samples) == block_samples for block in blocks[:-1])


def test_blocks_of_nothing_are_refused() -> None:
    with pytest.raises(AudioError, match="block_samples=0 must be 1 or more"):
        ArraySource(np.zeros(5, np.int16), 0)


class Pieces(io.RawIOBase):
    """A pipe that gives its content in given pieces."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content, self._sizes = content, sizes

    def read1(self, size: int, /) -> bytes:
        """The next piece."""
        size = min(size, self._sizes.pop(0) if self._sizes else size)
        piece, self._content = self._content[:size], self._content[size:]
        return piece


def begins_as_a_file(content: bytes) -> bool:
    """Which a pipe refuses; hypothesis tries it, because it reads the constants of what it tests."""
    try:
        return sound_at(content, 1) > 0
    except AudioError:
        return True


@given(content=st.binary(min_size=2, max_size=200), sizes=st.lists(st.integers(1, 9), max_size=60))
@example(content=b"fLaC", sizes=[])
def test_a_pipe_may_give_pieces_of_any_size(content: bytes, sizes: list[int]) -> None:
    if begins_as_a_file(content):
        with pytest.raises(AudioError, match="not raw audio"):
            gathered(StdinSource(Pieces(content, sizes)))
        return
    found, _ = gathered(StdinSource(Pieces(content, sizes)))
    np.testing.assert_array_equal(found, np.frombuffer(content[: len(content) & ~1], "<i2"))


def test_half_a_sample_at_the_end_is_dropped_and_said(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = gathered(StdinSource(io.BytesIO(b"\x01\x02\x03\x04\x05")))
    np.testing.assert_array_equal(found, [0x0201, 0x0403])
    assert "half a sample" in caplog.text


# --- microphones


NO_DEVICES = "pcm.none { type hw card 99 }\n"  # instead of the system's ALSA configuration


def test_without_a_microphone_it_is_said_what_to_do(tmp_path: Path) -> None:
    if not ctypes.util.find_library("portaudio"):
        pytest.skip("PortAudio is not installed: apt install libportaudio2")
    (tmp_path / "alsa.conf").write_text(NO_DEVICES)
    env = environment(ALSA_CONFIG_PATH=str(tmp_path / "alsa.conf"), JACK_NO_START_SERVER="1")
    run = earmark("devices", code=1, env=env)
    assert run.out == ""
    assert "earmark: no microphone: " in run.err
    for arguments, name in (([], "default"), (["--device", "usb"], "usb")):
        run = earmark("listen", *arguments, "--store", tmp_path / "people", "--json", code=1, env=env)
        assert run.out == ""
        assert f"earmark: microphone '{name}' cannot be opened: " in run.err
        assert "`earmark devices` lists what there is, and `earmark listen -` takes audio from a pipe" in run.err


def test_without_portaudio_it_is_said_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    env = environment(PYTHONPATH=str(tmp_path))
    for arguments in (["devices"], ["listen", "--store", tmp_path / "people"]):
        run = earmark(*arguments, code=1, env=env)
        assert "PortAudio library not found: install PortAudio (`apt install libportaudio2`)" in run.err
    pipe = earmark("listen", "-", "--store", tmp_path / "people", stdin=bytes(32_000), env=env)
    assert pipe.out == ""  # a pipe needs none

"""Headers that lie: all the sound that there is is heard, and what is missing is said."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers_store import environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.engine.audio.files import FileSource, read_audio
from earmark.engine.audio.headers.extent import Piece, View
from earmark.engine.audio.headers.reading import read_header
from earmark.engine.audio.samples import Int16
from earmark.engine.errors import AudioError

RATE_HZ = 16_000
FRAMES = 16_000
NO_LENGTH = {"IRCAM", "PAF", "PVF", "XI"}  # formats in whose headers no length stands
NOT_FILES = {"RAW", "SD2"}  # without a header; in two files
LITTLE = RATE_HZ // 20


def kinds() -> Iterator[tuple[str, str]]:
    """Every format and coding that this libsndfile writes and reads."""
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            if container not in NOT_FILES:
                yield container, subtype


def written(container: str, subtype: str) -> tuple[bytes, int] | None:
    """A second of a tone with some noise as such a file, and its rate; None: it cannot be written."""
    noise = np.random.default_rng(1).standard_normal(FRAMES)
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(FRAMES) / RATE_HZ) + 0.01 * noise
    for rate_hz in (RATE_HZ, 8_000):
        content = io.BytesIO()
        try:
            soundfile.write(content, sound, rate_hz, format=container, subtype=subtype)
        except soundfile.LibsndfileError:
            continue
        if len(content.getvalue()) > 1000:
            return content.getvalue(), rate_hz
    return None


def heard(path: Path) -> tuple[Int16, str]:
    """What a file delivers, and the error that it ends with."""
    pieces: list[Int16] = [np.zeros(0, np.int16)]
    try:
        with FileSource(path) as source:
            for block in source:
                pieces.append(block.samples)
    except AudioError as error:
        return np.concatenate(pieces), str(error)
    return np.concatenate(pieces), ""


WRITTEN = {kind: made for kind in kinds() if (made := written(*kind))}
IDS = [f"{container}-{subtype}" for container, subtype in WRITTEN]


@pytest.fixture
def samples(rng: np.random.Generator) -> Int16:
    return rng.integers(-9000, 9000, FRAMES).astype(np.int16)


def put(content: bytes, at: int, form: str, value: int) -> bytes:
    field = struct.pack(form, value)
    return content[:at] + field + content[at + len(field) :]


def as_file(samples: Int16, container: str, subtype: str = "PCM_16") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE_HZ, format=container, subtype=subtype)
    return content.getvalue()


# --- cut anywhere


@pytest.mark.parametrize("kind", WRITTEN, ids=IDS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 1.0))
def test_a_file_that_is_cut_anywhere_gives_what_it_has_and_says_so(
    tmp_path: Path, kind: tuple[str, str], share: float
) -> None:
    content, _ = WRITTEN[kind]
    whole_at, path = tmp_path / "whole", tmp_path / "cut"
    whole_at.write_bytes(content)
    whole, error = heard(whole_at)
    assert error == ""
    path.write_bytes(content[: int(share * len(content))])
    found, error = heard(path)
    noise = 4096 if kind[1].startswith("ALAC") else 3 * LITTLE  # a coding that overlaps or pads may end with noise
    sure = max(0, min(len(found), len(whole)) - noise)
    if kind[1] != "OPUS" or error.count("promises"):  # what begins anew on its last page is decoded differently
        np.testing.assert_allclose(found[:sure], whole[:sure], atol=2)
    missing = len(whole) - len(found)
    if missing > LITTLE and kind[0] not in NO_LENGTH:
        assert error


@pytest.mark.parametrize("share", [0.95, 0.7])
@pytest.mark.parametrize("kind", WRITTEN, ids=IDS)
def test_nothing_that_is_there_is_lost(tmp_path: Path, kind: tuple[str, str], share: float) -> None:
    """But a block of the coding, a frame of FLAC or ALAC, or a page of Ogg Vorbis whose packets span pages."""
    content, _ = WRITTEN[kind]
    path = tmp_path / "cut"
    path.write_bytes(content)
    whole, _ = heard(path)
    path.write_bytes(content[: int(share * len(content))])
    found, _ = heard(path)
    block = 9_000 if kind[0] in ("OGG", "MP3", "CAF") else 4_200
    assert len(found) > share * len(whole) - block


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "SVX", "VOC", "FLAC"])
@pytest.mark.parametrize("missing", [1, LITTLE])
def test_up_to_50_ms_missing_are_a_note(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture, container: str, missing: int
) -> None:
    path = tmp_path / "cut"
    content = as_file(samples, container)
    if container == "FLAC":
        path.write_bytes(put(content, 22, ">I", FRAMES + missing))
    else:
        tail = content.index(samples[-4:].astype("<i2" if samples_are_little(container) else ">i2").tobytes()) + 8
        path.write_bytes(content[: tail - 2 * missing])
    found, error = heard(path)
    assert error == ""
    kept = FRAMES if container == "FLAC" else FRAMES - missing
    np.testing.assert_array_equal(found, samples[:kept])
    assert f"the file holds {kept}: {1000 * missing / RATE_HZ:.3g} ms are missing at its end" in caplog.text


@pytest.mark.parametrize("claimed", [-1, 0, 1 << 30, 1 << 62, -(1 << 40)])
def test_a_w64_in_gsm_of_unknown_length_ends(tmp_path: Path, claimed: int) -> None:
    """Blocks of silence would come without end."""
    content, _ = WRITTEN["W64", "GSM610"]
    path = tmp_path / "a.w64"
    path.write_bytes(content)
    whole = read_audio(path)
    path.write_bytes(put(content, content.index(b"data") + 16, "<q", claimed))
    np.testing.assert_array_equal(read_audio(path), whole)


def samples_are_little(container: str) -> bool:
    return container in ("WAV", "RF64", "W64", "NIST", "VOC")


def test_a_frame_more_than_50_ms_is_an_error(tmp_path: Path, samples: Int16) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(as_file(samples, "WAV")[: -2 * LITTLE - 2])
    assert heard(path)[1].endswith(
        f"truncated: the header promises {FRAMES} frames, the file holds {FRAMES - LITTLE - 1}; "
        "record or copy it again"
    )


# --- length unknown


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
@pytest.mark.parametrize("frames", [1, 4095, 4096, 16_000, 35_201])
def test_a_flac_from_a_pipe_is_read_to_its_last_sample(
    tmp_path: Path, rng: np.random.Generator, rate_hz: int, frames: int
) -> None:
    samples = rng.integers(-9000, 9000, frames).astype(np.int16)
    content = io.BytesIO()
    soundfile.write(content, samples, rate_hz, format="FLAC")
    known, unknown = tmp_path / "known.flac", tmp_path / "unknown.flac"
    known.write_bytes(content.getvalue())
    unknown.write_bytes(put(put(content.getvalue(), 21, "B", content.getvalue()[21] & 0xF0), 22, ">I", 0))
    with FileSource(unknown) as source:
        for _ in range(2):
            found = np.concatenate([np.zeros(0, np.int16), *(block.samples for block in source)])
            np.testing.assert_array_equal(found, read_audio(known))
    unknown.write_bytes(unknown.read_bytes() + b"TAG" + bytes(125))  # ID3v1
    np.testing.assert_array_equal(read_audio(unknown), read_audio(known))


def test_a_flac_of_unknown_length_that_is_cut_within_a_frame_says_so(tmp_path: Path, samples: Int16) -> None:
    path = tmp_path / "cut.flac"
    path.write_bytes(put(as_file(samples, "FLAC"), 22, ">I", 0)[:-100])
    found, error = heard(path)
    np.testing.assert_array_equal(found, samples[: len(found)])
    assert len(found) == 12_288  # three frames of 4096
    assert "truncated or damaged: " in error


def test_a_flac_that_goes_on_behind_its_count_is_heard_whole(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "more.flac"
    path.write_bytes(put(as_file(samples, "FLAC"), 22, ">I", FRAMES // 2))
    np.testing.assert_array_equal(heard(path)[0], samples)
    assert f"the header promises {FRAMES // 2} frames, the file holds {FRAMES}: all of it is heard" in caplog.text


def last_page(content: bytes) -> int:
    return content.rindex(b"OggS")


def summed(content: bytes, at: int) -> bytes:
    """The page that begins there and goes to the end, with the sum that belongs to it, bit by bit."""
    content = put(content, at + 22, "<I", 0)
    value = 0
    for byte in content[at:]:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return put(content, at + 22, "<I", value)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_the_mark_of_its_end_is_read_to_its_last_sample(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtype: str
) -> None:
    content, _ = WRITTEN["OGG", subtype]
    path = tmp_path / "a.ogg"
    path.write_bytes(content)
    whole = read_audio(path)
    at = last_page(content)
    path.write_bytes(summed(put(content, at + 5, "B", content[at + 5] & ~4), at))
    np.testing.assert_array_equal(read_audio(path), whole)
    assert "it has no mark of its end" in caplog.text


def test_an_ogg_whose_last_page_says_no_position_is_read_to_its_end(tmp_path: Path) -> None:
    content, _ = WRITTEN["OGG", "VORBIS"]
    at = last_page(content)
    path = tmp_path / "a.ogg"
    path.write_bytes(summed(put(content, at + 6, "<q", -1), at))
    assert FRAMES <= len(read_audio(path)) < FRAMES + 2048


# --- headers of bytes that are wrong

WORDS = {  # container -> where its length stands, behind what, its form, and what it counts besides the sound
    "WAV": (b"data", 4, "<I", 0),
    "RF64": (b"ds64", 16, "<q", 0),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
    "CAF": (b"data", 4, ">q", 4),
    "W64": (b"data", 16, "<q", 24),
}


def claiming(samples: Int16, container: str, claimed: int) -> bytes:
    content = as_file(samples, container)
    name, behind, form, besides = WORDS[container]
    return put(content, content.index(name) + behind, form, claimed + besides if claimed >= 0 else claimed)


@pytest.mark.parametrize("container", WORDS)
@pytest.mark.parametrize("claimed", [1 << 30, 10**9, (1 << 30) - 44, 0, -1])
def test_a_placeholder_for_the_length_means_up_to_the_end(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture, container: str, claimed: int
) -> None:
    path = tmp_path / "a"
    if claimed < 0 and WORDS[container][2].endswith("I"):
        claimed = 0xFFFFFFFF - WORDS[container][3]
    path.write_bytes(claiming(samples, container, claimed))
    found, error = heard(path)
    assert error == ""
    sound = slice(0, FRAMES)
    np.testing.assert_array_equal(found[sound], samples)
    assert len(found) - FRAMES in (0, 2048) or container != "CAF"
    assert caplog.text == ""


@pytest.mark.parametrize("container", [*WORDS, "NIST"])
@pytest.mark.parametrize("claimed", [FRAMES, 2, 2 * FRAMES - 4000], ids=["samples", "one", "less"])
def test_sound_beyond_the_header_is_heard_and_said(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture, container: str, claimed: int
) -> None:
    path = tmp_path / "a"
    if container == "NIST":
        path.write_bytes(
            as_file(samples, "NIST").replace(b"sample_count -i 16000", b"sample_count -i %05d" % (claimed // 2))
        )
    else:
        path.write_bytes(claiming(samples, container, claimed))
    found, error = heard(path)
    assert error == ""
    np.testing.assert_array_equal(found, samples)
    assert f"the header promises {claimed // 2} frames, the file holds {FRAMES}: all of it is heard" in caplog.text


@pytest.mark.parametrize("bytes_more", [44, 36, 80])
def test_a_length_that_counts_the_header_is_no_truncation(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture, bytes_more: int
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(claiming(samples, "WAV", 2 * FRAMES + bytes_more))
    np.testing.assert_array_equal(heard(path)[0], samples)
    assert "are missing at its end" in caplog.text


def test_recordings_put_behind_each_other_are_all_heard(tmp_path: Path, samples: Int16) -> None:
    path = tmp_path / "three.wav"
    path.write_bytes(3 * as_file(samples, "WAV"))
    found, error = heard(path)
    assert error == ""
    assert len(found) == 3 * FRAMES + 2 * 22  # the headers between them are a click
    np.testing.assert_array_equal(found[-FRAMES:], samples)


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0",
        b"LIST\x03\0\0\0abc\0id3 \x08\0\0\0" + bytes(8),
        b"LIST\xff\0\0\0cut",
        b"TAG" + b"x" * 125,
        bytes(3000),
        b"bext\x02\0\0\0ab",
        b"abc",
    ],
    ids=lambda behind: repr(behind[:6]),
)
def test_what_is_no_sound_behind_the_sound_is_not_heard(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture, behind: bytes
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(as_file(samples, "WAV") + behind)
    np.testing.assert_array_equal(heard(path)[0], samples)
    assert caplog.text == ""


def test_a_chunk_behind_the_sound_of_a_w64_is_not_heard(tmp_path: Path, samples: Int16) -> None:
    path = tmp_path / "a.w64"
    content = as_file(samples, "W64")
    guid = content[content.index(b"data") + 4 :][:12]
    path.write_bytes(content + b"levl" + guid + struct.pack("<q", 424) + b"\x7f" * 400)
    np.testing.assert_array_equal(heard(path)[0], samples)


@pytest.mark.parametrize("claimed", [0x1000, 0xFFFFFFFF, 0])
def test_more_than_4_gb_are_heard_behind_a_length_of_32_bits(tmp_path: Path, samples: Int16, claimed: int) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(claiming(samples, "WAV", claimed))
    wrapped = (1 << 32) + 0x1000
    with path.open("r+b") as file:
        file.truncate(44 + wrapped)  # a hole
        file.seek(-2 * FRAMES, io.SEEK_END)
        file.write(samples.tobytes())
    with path.open("rb", buffering=0) as raw:
        extent = read_header(raw)
    assert extent.there_bytes == wrapped
    shown = soundfile.SoundFile(View(path, extent.view))
    with shown as file:
        assert file.frames == wrapped // 2
        np.testing.assert_array_equal(file.read(FRAMES, dtype="int16"), samples)
        file.seek(-FRAMES, io.SEEK_END)
        np.testing.assert_array_equal(file.read(FRAMES, dtype="int16"), samples)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_mp3_that_does_not_count_its_frames_is_read_to_its_end(tmp_path: Path, rate_hz: int, channels: int) -> None:
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate_hz) / rate_hz)
    sound[:rate_hz] = 0  # the first frames are small, from which a length would be guessed too long, …
    for content in (sound, sound[::-1]):  # … or too short
        counted, path = tmp_path / "counted.mp3", tmp_path / "a.mp3"
        soundfile.write(counted, np.repeat(content[:, None], channels, axis=1), rate_hz)
        coded = counted.read_bytes()
        tag = coded.index(b"Xing") if b"Xing" in coded else coded.index(b"Info")
        first = coded.index(coded[:2], tag)
        path.write_bytes(coded[first:])
        found, error = heard(path)
        assert error == ""
        assert abs(len(found) - 3 * RATE_HZ) < 2000 * RATE_HZ / rate_hz  # delay and padding of the encoder


def test_a_mp3_that_goes_on_behind_its_count_is_heard_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, _ = WRITTEN["MP3", "MPEG_LAYER_III"]
    path = tmp_path / "two.mp3"
    path.write_bytes(2 * content)
    assert len(heard(path)[0]) > 1.9 * FRAMES
    assert "all of it is heard" in caplog.text


# --- said by name


def test_floats_in_the_range_of_int16_are_named(
    tmp_path: Path, samples: Int16, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, samples.astype(np.float32), RATE_HZ, subtype="FLOAT")
    read_audio(path)
    assert "full scale is 1.0, and what is beyond it is clipped; divide by 32768 what was int16" in caplog.text
    caplog.clear()
    soundfile.write(path, samples / 32768 * 4, RATE_HZ, subtype="FLOAT")  # loud, and no other scale
    read_audio(path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A or MP4"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "WebM or Matroska"),
        (b"#!AMR\n" + bytes(100), "AMR"),
    ],
    ids=["m4a", "webm", "amr"],
)
def test_a_format_that_is_not_read_is_named_with_what_to_do(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    error = heard(path)[1]
    assert f"it looks like {kind}; WAV, FLAC and Ogg can: `ffmpeg -i FILE -ar 16000 -ac 1 FILE.wav`" in error


def test_the_mp3_library_writes_nothing_to_standard_error(tmp_path: Path) -> None:
    content, _ = WRITTEN["MP3", "MPEG_LAYER_III"]
    path = tmp_path / "cut.mp3"
    middle = len(content) // 2
    path.write_bytes(content[: middle // 2] + b"\xff\xe3" + bytes(range(256)) * 8 + content[middle // 2 : middle])
    program = "import sys\nfrom earmark.engine.audio.files import read_audio\nread_audio(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment(), capture_output=True, text=True, check=False
    )
    assert run.stderr.startswith("Traceback")
    assert "truncated" in run.stderr


# --- a view


@given(
    content=st.binary(max_size=60),
    cuts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.binary(max_size=9)), max_size=4),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_view_reads_as_its_pieces_do(
    tmp_path: Path, content: bytes, cuts: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    pieces: list[Piece] = []
    expected = b""
    for start, end, put_in in cuts:
        start, end = sorted((min(start, len(content)), min(end, len(content))))
        pieces += [(start, end), put_in]
        expected += content[start:end] + put_in
    with View(path, tuple(pieces)) as view:
        found = b""
        for size in itertools.cycle(sizes):
            piece = view.read(size)
            if not piece:
                break
            found += piece
        assert found == expected
        assert view.seek(0, io.SEEK_END) == len(expected)
        view.seek(len(expected) // 2)
        assert view.read(1000) == expected[len(expected) // 2 :]

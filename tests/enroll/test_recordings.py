"""Recordings of any length: heard in pieces of at most a minute, cut where it is quiet, in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MakeNetwork, Read, Takes, cut
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation import conditions
from earmark.enroll.evaluation.conditions import read_noises
from earmark.enroll.recordings import PIECE_SAMPLES, RecordedFile, Recording, in_pieces, read_recordings
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.takes.others import MAX_PIECES, Others
from earmark.enroll.takes.quality import Fault

MB = 1 << 20


def write_long(path: Path, minutes: int) -> Path:
    """Noise that is 20 dB louder in every other second, as a WAV that is written a minute at a time."""
    rng = np.random.default_rng(1)
    minute = rng.normal(0, 3000, (60, RATE_HZ)) * np.resize([1.0, 0.1], 60)[:, None]
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(np.rint(minute).astype(np.int16).ravel())
    return path


@pytest.fixture
def peak_mb() -> Callable[[Callable[[], object]], float]:
    def measured(run: Callable[[], object]) -> float:
        """MB that a call has at most, beside what there was before; numpy counts its arrays."""
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            run()
            return (tracemalloc.get_traced_memory()[1] - before) / MB
        finally:
            tracemalloc.stop()

    return measured


# --- pieces


@given(
    points=st.lists(st.integers(0, 7 * PIECE_SAMPLES // 2), max_size=6), length=st.integers(0, 7 * PIECE_SAMPLES // 2)
)
@settings(max_examples=15)
def test_pieces_are_the_recording_however_it_comes(points: list[int], length: int) -> None:
    whole = np.resize(np.random.default_rng(2).integers(-9, 9, 100_003), length).astype(np.int16)
    expected = list(in_pieces([whole]))
    assert max(map(len, expected)) <= PIECE_SAMPLES
    np.testing.assert_array_equal(np.concatenate(expected), whole)
    found = list(in_pieces(cut(whole, sorted(min(point, length) for point in points))))
    assert [piece.tobytes() for piece in found] == [piece.tobytes() for piece in expected]


def test_a_recording_of_a_minute_stays_whole() -> None:
    (piece,) = Recording("a", np.ones(PIECE_SAMPLES, np.int16)).pieces()
    assert len(piece) == PIECE_SAMPLES
    assert [len(piece) for piece in Recording("a", np.zeros(0, np.int16)).pieces()] == [0]


@pytest.mark.parametrize("offset", [0, 2000])
def test_pieces_end_in_the_middle_of_a_pause(offset: int) -> None:
    samples = np.random.default_rng(3).normal(offset, 1000, 100 * RATE_HZ)
    samples[50 * RATE_HZ : 51 * RATE_HZ] = offset
    first, _ = in_pieces([samples.astype(np.int16)])
    assert 50 * RATE_HZ < len(first) < 51 * RATE_HZ


# --- enrolled from them


@pytest.fixture(scope="module")
def long_talk(takes: Takes, read: Read) -> Int16:
    """Two and a half minutes of a quiet room with five takes, one of them across the end of a minute."""
    rng = np.random.default_rng(4)
    talk: Int16 = np.rint(rng.normal(0, 6, 150 * RATE_HZ)).astype(np.int16)
    for path, at_s in zip(takes("slt", "okay_nabu", "enroll"), (3.0, 59.2, 70.0, 119.0, 146.0)):
        take, start = read(path), int(at_s * RATE_HZ)
        talk[start : start + len(take)] += take
    return talk


def test_all_takes_of_a_long_recording_are_found_and_its_quiet_minutes_are_no_faults(
    long_talk: Int16, speaker: SpeakerNetwork, make_network: MakeNetwork
) -> None:
    hearing = Hearing(speaker, make_network("okay_nabu"))
    heard = hearing.files(Recording("talk", long_talk).pieces(), "talk")
    assert (len(heard.takes), heard.faults) == (5, ())


def test_a_long_recording_without_the_wake_word_has_one_fault(
    long_talk: Int16, speaker: SpeakerNetwork, make_network: MakeNetwork
) -> None:
    (fault,) = Hearing(speaker, make_network("alexa")).files(Recording("talk", long_talk).pieces(), "talk").faults
    assert fault.reason == "keyword_not_heard"
    (fault,) = Hearing(speaker, None).files(Recording("talk", long_talk).pieces(), "talk").faults
    assert (fault.reason, fault.detail) == ("too_long", "more than a minute, which cannot be one phrase")


def test_of_a_long_recording_of_others_pieces_from_everywhere_are_heard(
    scene: Int16, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six minutes give as many crops as four, and the last minute has its share."""
    monkeypatch.setattr("earmark.enroll.enrolment.MAX_PIECES", 40)
    nobody = np.zeros(enroller.speaker.embedding_size, np.float32)
    found = enroller.hear_others(Recording("tv", np.resize(scene, 6 * 60 * RATE_HZ)), nobody, None)
    assert isinstance(found, Others)
    assert found.recordings == 1
    assert 20 <= len(found.embeddings) <= 40 < MAX_PIECES
    silent = enroller.hear_others(Recording("tv", np.zeros(3 * PIECE_SAMPLES, np.int16)), nobody, None)
    assert isinstance(silent, Fault)
    assert silent.reason == "nothing_said"


def test_a_file_that_is_cut_is_not_used_by_half(long_talk: Int16, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", long_talk, RATE_HZ)
    content = (tmp_path / "talk.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) * 2 // 3])
    files = [str(tmp_path / name) for name in ("talk.wav", "cut.wav", "missing.wav", "talk.wav")]
    read, faults = read_recordings(files)
    assert [recording.file for recording in read] == [files[0], files[3]]
    assert [(fault.file, fault.reason) for fault in faults] == [(file, "unreadable") for file in files[1:3]]
    assert len(read_recordings(files, most=1)[0]) == 1


# --- memory


def test_reading_a_long_file_takes_no_more_memory_than_a_short_one(
    tmp_path: Path, peak_mb: Callable[[Callable[[], object]], float]
) -> None:
    """Ten minutes are 18 MB, and were held twice."""
    path = str(write_long(tmp_path / "long.wav", 10))
    assert peak_mb(lambda: read_recordings([path])) < 2
    assert peak_mb(lambda: [len(piece) for piece in RecordedFile(path).pieces()]) < 10


def test_hearing_a_long_recording_takes_no_more_memory_than_a_minute(
    tmp_path: Path,
    speaker: SpeakerNetwork,
    make_network: MakeNetwork,
    peak_mb: Callable[[Callable[[], object]], float],
) -> None:
    network = make_network("okay_nabu")

    def hear(minutes: int) -> float:
        path = str(write_long(tmp_path / f"{minutes}.wav", minutes))
        return peak_mb(lambda: Hearing(speaker, network).files(RecordedFile(path).pieces(), "long"))

    assert hear(4) < 1.1 * hear(2) + 2


def test_of_much_noise_an_equal_share_of_each_recording_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    peak_mb: Callable[[Callable[[], object]], float],
) -> None:
    write_long(tmp_path / "a.wav", 8)
    write_long(tmp_path / "b.wav", 1)
    assert [len(noise) for noise in read_noises(tmp_path)] == [8 * PIECE_SAMPLES, PIECE_SAMPLES]
    assert caplog.text == ""
    monkeypatch.setattr(conditions, "MAX_NOISE_SAMPLES", 3 * PIECE_SAMPLES)
    found: list[Int16] = []
    assert peak_mb(lambda: found.extend(read_noises(tmp_path))) < 12
    assert [len(noise) for noise in found] == [3 * PIECE_SAMPLES // 2, PIECE_SAMPLES]
    assert "9 min of noise: of each recording the first 90 s are used" in caplog.text

"""Enrolment from recordings that are not all good: each bad one is named with its reason, the good ones are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from conftest import Enrolled, Takes

from earmark.cli import main
from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16, to_float, to_int16
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.people.store import PersonStore
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.takes.quality import Fault
from earmark.enroll.takes.words import WORDS
from earmark.enroll.training.augment import in_room
from earmark.enroll.training.train import TrainPlan

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_enroller")]

RATE_HZ = 16_000
SECONDS_OF_PAUSE = 1.0


def write(path: Path, samples: npt.NDArray[Any]) -> Path:
    soundfile.write(path, np.clip(np.rint(samples), -32768, 32767).astype(np.int16), RATE_HZ)
    return path


def at_level(samples: Int16, level_dbfs: float) -> npt.NDArray[np.float64]:
    """The recording with its speech at an RMS level."""
    start, end = locate_speech(samples)
    rms = np.sqrt(np.mean(samples[start:end].astype(float) ** 2)) / 32768
    scaled: npt.NDArray[np.float64] = samples * 10 ** (level_dbfs / 20) / rms
    return scaled


class Enrol:
    """Runs `earmark enroll` in this process: the same code, without half a second of start-up."""

    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = PersonStore(store)
        self._capsys = capsys

    def __call__(self, *files: Path, options: str = "", code: int = 0) -> dict[str, Any]:
        """The JSON object that it prints, of an enrolment or of a refusal."""
        names = [str(file) for file in files]
        line = ["enroll", "anna", "--from", *names, "--store", str(self.store.folder), "--json", *options.split()]
        found = main(line)
        out, err = self._capsys.readouterr()
        assert found == code, err
        assert (err == "") == (code == 0)
        (printed,) = out.splitlines()
        result: dict[str, Any] = json.loads(printed)
        assert result["type"] == ("enrolled" if code == 0 else "refused")
        return result


@pytest.fixture
def enrol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Enrol:
    return Enrol(tmp_path / "people", capsys)


@pytest.fixture
def good(takes: Takes) -> list[Path]:
    return takes("rms", "okay_nabu", "enroll")


def reasons(result: dict[str, Any]) -> dict[str, str]:
    """File name -> why it, or something in it, was not used."""
    assert all(fault["reason"] in WORDS and fault["detail"] for fault in result["faults"])
    return {Path(fault["file"]).name: fault["reason"] for fault in result["faults"]}


def test_every_bad_recording_is_named_and_the_good_ones_are_used(
    enrol: Enrol, good: list[Path], takes: Takes, tmp_path: Path
) -> None:
    take = read_audio(good[0])
    loud = takes("rms", "okay_nabu", "test")
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    cut = write(tmp_path / "truncated.wav", take)
    cut.write_bytes(cut.read_bytes()[:-2000])
    bad = {
        write(tmp_path / "silence.wav", np.zeros(RATE_HZ)): "nothing_said",
        write(tmp_path / "one_frame.wav", np.zeros(1)): "nothing_said",
        write(tmp_path / "clipped.wav", at_level(read_audio(loud[1]), 5)): "clipped",
        write(tmp_path / "quiet.wav", at_level(read_audio(loud[1]), -66)): "too_quiet",
        takes("rms", "alexa", "enroll")[0]: "keyword_not_heard",
        takes("rms", "okay maybe", "other")[0]: "keyword_not_heard",
        write(tmp_path / "copy.wav", take): "same_take_twice",
        write(tmp_path / "softer_copy.wav", read_audio(good[1]) * 0.5): "same_take_twice",
        takes("rp_f3", "okay_nabu", "enroll")[1]: "other_voice",
        tmp_path / "text.wav": "unreadable",
        tmp_path / "empty.wav": "unreadable",
        tmp_path / "missing.wav": "unreadable",
        tmp_path: "unreadable",
        cut: "unreadable",
    }
    result = enrol(*good, *bad)
    assert reasons(result) == {path.name: reason for path, reason in bad.items()}
    assert result["takes"] == len(good)
    again = [fault["file"] for fault in result["faults"] if "record it again as WAV" in str(Fault(**fault))]
    assert again == [str(tmp_path / "text.wav")]  # a path that is wrong is not mended by it
    alone = enrol(*good)
    assert (alone["version"], alone["faults"]) == (2, [])
    assert {**alone, "version": 1, "faults": []} == {**result, "faults": []}  # the bad ones left no trace


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize(
    ("voice", "stranger"), [("rms", "rp_f3"), ("rp_f3", "rms"), ("slt", "rp_f3"), ("rp_f3", "slt")]
)
def test_a_very_different_voice_among_five_is_found(
    enrol: Enrol, takes: Takes, voice: str, stranger: str, place: int
) -> None:
    """Only very different ones: the limit is set by real people, and voices as near as rms and awb pass."""
    files = takes(voice, "okay_nabu", "enroll")
    files[place] = takes(stranger, "okay_nabu", "enroll")[place]
    result = enrol(*files, options="--min-takes 5", code=3)
    assert reasons(result) == {files[place].name: "other_voice"}


@pytest.mark.parametrize(("voice", "other"), [("rms", "slt"), ("awb", "kal16"), ("rp_f3", "slt")])
def test_takes_that_two_people_share_are_refused(enrol: Enrol, takes: Takes, voice: str, other: str) -> None:
    """Three of one and two of another: nobody knows who is meant."""
    files = [*takes(voice, "okay_nabu", "enroll")[:3], *takes(other, "okay_nabu", "enroll")[3:]]
    result = enrol(*files, code=3)
    assert {file: reason for file, reason in reasons(result).items() if file.startswith(other)} == {
        path.name: "other_voice" for path in files[3:]
    }
    assert set(reasons(result)) <= {path.name for path in files[3:]}


@pytest.mark.parametrize("voice", ["slt", "rms", "awb", "kal16", "rp_f3"])
def test_five_takes_of_one_voice_are_all_taken(enrol: Enrol, takes: Takes, voice: str) -> None:
    result = enrol(*takes(voice, "okay_nabu", "enroll"), options="--min-takes 6", code=3)
    assert result["faults"] == []


def test_too_few_good_takes_are_refused_and_not_written(enrol: Enrol, good: list[Path], tmp_path: Path) -> None:
    silence = write(tmp_path / "silence.wav", np.zeros(RATE_HZ))
    result = enrol(*good[:2], silence, good[0], code=3)
    assert reasons(result) == {"silence.wav": "nothing_said", good[0].name: "same_take_twice"}
    assert not enrol.store.folder.exists()
    assert enrol(*good[:2], silence, good[0], options="--min-takes 2")["takes"] == 2


def test_an_enrolment_that_is_refused_keeps_the_one_before(enrol: Enrol, good: list[Path]) -> None:
    enrol(*good[:3])
    enrol(*good[:2], code=3)
    assert enrol.store.versions("anna", "okay_nabu") == [1]
    assert len(enrol.store.load("anna", "okay_nabu").takes) == 3


def test_one_take_is_enough_where_it_is_wanted(enrol: Enrol, good: list[Path]) -> None:
    result = enrol(good[0], options="--min-takes 1")
    assert (result["takes"], result["kind"]) == (1, "cosine")


def test_one_long_recording_with_five_wakes_is_five_takes(
    enrol: Enrol, enrolled: Enrolled, good: list[Path], rng: np.random.Generator, tmp_path: Path
) -> None:
    pause = rng.normal(0, 3, int(SECONDS_OF_PAUSE * RATE_HZ))
    pieces = [piece for path in good for piece in (pause, read_audio(path))]
    long = write(tmp_path / "long.wav", np.concatenate([*pieces, pause]))
    result = enrol(long)
    assert (result["takes"], result["faults"]) == (5, [])
    separate = enrolled("rms", "okay_nabu").voiceprint
    assert result["threshold"] == pytest.approx(separate.threshold, abs=0.05)


def test_any_phrase_needs_no_wake_word(enrol: Enrol, takes: Takes, tmp_path: Path) -> None:
    sentences = [read_audio(path) for path in takes("rms", "please turn the lights off in the kitchen", "other")]
    bad = {
        write(tmp_path / "click.wav", np.r_[np.zeros(8000), [20_000.0, -20_000.0], np.zeros(8000)]): "nothing_said",
        write(tmp_path / "quiet.wav", at_level(sentences[0], -70)): "too_quiet",
        write(tmp_path / "story.wav", np.concatenate(sentences * 3)): "too_long",
    }
    result = enrol(*takes("rms", "alexa", "enroll"), *bad, options="--any-phrase")
    assert (result["keyword"], result["takes"]) == ("any-phrase", 5)
    assert reasons(result) == {path.name: reason for path, reason in bad.items()}


def test_more_takes_than_the_head_has_rows_are_cut_short(
    enroller: Enroller, head: SpeakerHead, good: list[Path], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.enroll.takes.varied.CONDITIONS", ())  # six more embeddings of each are not looked at
    takes = [read_audio(path) for path in good]
    count = head.take_rows + 5
    recordings = []
    for number in range(count):  # each a little faster or slower, in another room: no two are copies
        take = to_float(soxr.resample(takes[number % 5], RATE_HZ, int(RATE_HZ * (0.9 + 0.2 * number / count))))
        recordings.append(Recording(str(number), to_int16(in_room(take, rng.uniform(0.1, 0.3), 10.0, rng))))
    enrolment = enroller.enrol("anna", recordings, None, Options(plan=TrainPlan(steps=1)))
    assert len(recordings) - len(enrolment.faults) > head.take_rows
    assert len(enrolment.voiceprint.takes) == head.take_rows

"""Other people at the same microphone: enrolment hears them in files of any length, and trains against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import Enrolled, MakeNetwork, Read, Takes

from earmark.cli import main
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.speaker import CROP_SAMPLES, Utterance
from earmark.engine.people.store import COSINE, TRAINED, PersonStore, Voiceprint
from earmark.engine.spotting import find_wakes
from earmark.engine.verifier import Verifier
from earmark.enroll import enrolment
from earmark.enroll.enrolment import Enroller, Enrolment, Options, Recording
from earmark.enroll.takes import others, quality
from earmark.enroll.takes.others import Others
from earmark.enroll.takes.quality import PAD_SAMPLES, Fault
from earmark.enroll.training import cohort

SENTENCE = "please turn the lights off in the kitchen"


def read_all(files: list[Path]) -> list[Recording]:
    return [Recording.read(str(path)) for path in files]


def enrol(enroller: Enroller, make_network: MakeNetwork, files: list[Path], others: list[Path]) -> Enrolment:
    return enroller.enrol("anna", read_all(files), make_network("okay_nabu"), others=read_all(others))


def margins(
    enroller: Enroller, person: Voiceprint, files: list[Path], make_network: MakeNetwork
) -> npt.NDArray[np.float32]:
    """Score less threshold of the wake word in each file."""
    network = make_network("okay_nabu")
    crops = [find_wakes(np.pad(recording.samples, RATE_HZ // 2), network).crops[0] for recording in read_all(files)]
    embeddings = np.array([enroller.speaker.embed(crop) for crop in crops])
    return Verifier([], enroller.speaker, enroller.head).margin(person, embeddings)


# --- the owner among them

CENTROID: Float32 = np.eye(192, dtype=np.float32)[0]


def toward(cosine: float) -> Float32:
    """A unit vector of that cosine to the mean of the takes."""
    row = np.zeros(192, np.float32)
    row[:2] = cosine, np.sqrt(1 - cosine**2)
    return row


def test_a_crop_is_the_owners_from_a_cosine_of_68_hundredths_on() -> None:
    edge = np.float32(0.68)
    below = float(np.nextafter(edge, np.float32(0)))
    cosines = (1.0, 0.7, float(edge), below, 0.6, -1.0)
    found = others.own_crops(np.array([toward(cosine) for cosine in cosines]), CENTROID)
    assert found.tolist() == [True, True, True, False, False, False]


class Crops:
    """A speaker network for which crop number n has the n-th embedding, and an enrolment that asks it."""

    def __init__(self, head: SpeakerHead, monkeypatch: pytest.MonkeyPatch) -> None:
        self._embeddings: list[Float32] = []
        network: Any = self
        self._enroller = Enroller(network, head, cohort.load())
        monkeypatch.setattr(enrolment, "other_crops", self._crops)

    def _crops(self, _samples: Int16, _file: str, _keyword: object) -> list[Analysis]:
        return [Analysis(np.array([number], np.int16)) for number in range(len(self._embeddings))]

    def hear_analysed(self, crop: Analysis) -> Utterance:
        return Utterance(self._embeddings[int(crop.samples[0])], 60.0)

    def heard(self, *cosines: float) -> Others | Fault:
        """What comes of a recording whose crops have these cosines to the owner."""
        self._embeddings = [toward(cosine) for cosine in cosines]
        return self._enroller.hear_others(Recording("tv.wav", np.zeros(9, np.int16)), CENTROID, None)


@pytest.fixture
def crops(head: SpeakerHead, monkeypatch: pytest.MonkeyPatch) -> Crops:
    return Crops(head, monkeypatch)


@pytest.mark.parametrize("cosines", [(0.9,), (0.9, 0.1), (0.1, 0.9), (0.9, 0.1, 0.8, 0.2), (0.9, 0.9, 0.1)])
def test_a_recording_of_which_half_or_more_is_the_owner_is_refused(crops: Crops, cosines: tuple[float, ...]) -> None:
    fault = crops.heard(*cosines)
    assert isinstance(fault, Fault)
    assert (fault.file, fault.reason) == ("tv.wav", "sounds_like_owner")
    own = sum(cosine > 0.68 for cosine in cosines)
    assert fault.detail == f"{own} of {len(cosines)} crops resemble the takes as the owner does"


@pytest.mark.parametrize("cosines", [(0.1,), (0.1, 0.9, 0.2), (0.9, 0.1, 0.8, 0.2, 0.3)])
def test_of_fewer_than_half_the_owners_crops_are_left_out(crops: Crops, cosines: tuple[float, ...]) -> None:
    found = crops.heard(*cosines)
    assert isinstance(found, Others)
    rest = [cosine for cosine in cosines if cosine < 0.68]
    assert (found.recordings, found.own_crops) == (1, len(cosines) - len(rest))
    np.testing.assert_array_equal(found.embeddings, [toward(cosine) for cosine in rest])


def test_several_recordings_are_counted_together(crops: Crops) -> None:
    one, other = crops.heard(0.1, 0.9, 0.2), crops.heard(0.3)
    assert isinstance(one, Others)
    assert isinstance(other, Others)
    both = Others.nobody(192).and_also(one).and_also(other)
    assert (both.recordings, both.own_crops) == (2, 1)
    np.testing.assert_array_equal(both.embeddings, [toward(cosine) for cosine in (0.1, 0.2, 0.3)])


# --- enrolled with others


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "other"), [("rms", "awb"), ("awb", "rms")])
def test_a_voice_of_the_home_falls_and_the_owner_stays(
    enrolled: Enrolled, enroller: Enroller, make_network: MakeNetwork, takes: Takes, owner: str, other: str
) -> None:
    """The two voices that resemble each other; what counts are tries which nobody was given."""
    own = takes(owner, "okay_nabu", "enroll")
    alone = enrolled(owner, "okay_nabu").voiceprint
    given = enrol(enroller, make_network, own, takes(other, "okay_nabu", "enroll")).voiceprint
    assert (alone.kind, given.kind) == (TRAINED, TRAINED)
    tries = takes(other, "okay_nabu", "test")
    before, after = (margins(enroller, person, tries, make_network) for person in (alone, given))
    assert np.mean(after) < np.mean(before) - 0.03, (before, after)
    assert np.all(margins(enroller, given, takes(owner, "okay_nabu", "test"), make_network) >= 0)
    assert given.report["others"] == {"recordings": 5, "crops": 5, "own_crops": 0, "trained": 5, "let_in": 0}
    assert "others" not in alone.report


@pytest.mark.slow
def test_the_owner_in_a_recording_of_the_room_is_left_out(
    enroller: Enroller, make_network: MakeNetwork, takes: Takes, audio_dir: Path
) -> None:
    """In the scene the enrolled voice says the wake word too; trained against it, the head would be worthless."""
    enrolment = enrol(enroller, make_network, takes("slt", "okay_nabu", "enroll"), [audio_dir / "scene.flac"])
    report = enrolment.voiceprint.report["others"]
    assert enrolment.voiceprint.kind == TRAINED
    assert report["own_crops"] >= 2
    assert report["crops"] >= 15
    assert np.all(margins(enroller, enrolment.voiceprint, takes("slt", "okay_nabu", "test")[:3], make_network) >= 0)


def test_a_single_take_learns_nothing_of_others(enroller: Enroller, make_network: MakeNetwork, takes: Takes) -> None:
    own, network = read_all(takes("rms", "okay_nabu", "enroll")[:1]), make_network("okay_nabu")
    others = read_all(takes("awb", "okay_nabu", "enroll"))
    given, alone = (
        enroller.enrol("anna", own, network, Options(min_takes=1), others=each).voiceprint for each in (others, [])
    )
    assert (given.kind, given.report["others"]["trained"]) == (COSINE, 0)
    assert given.threshold == alone.threshold


@pytest.mark.slow
def test_any_phrase_and_any_words_will_do(enroller: Enroller, make_network: MakeNetwork, takes: Takes) -> None:
    own, others = takes("rms", "alexa", "enroll"), takes("awb", SENTENCE, "other")
    for keyword in (None, make_network("alexa")):
        person = enroller.enrol("anna", read_all(own), keyword, others=read_all(others)).voiceprint
        assert person.report["others"]["crops"] >= 2


def test_a_long_recording_is_cut_where_something_is_said(
    scene: Int16, make_network: MakeNetwork, rng: np.random.Generator
) -> None:
    network = make_network("okay_nabu")
    found = others.other_crops(scene, "scene", network)
    assert isinstance(found, list)
    assert 15 <= len(found) <= 40
    assert max(len(crop.samples) for crop in found) <= others.MAX_UTTERANCE_SAMPLES
    wakes = find_wakes(np.pad(scene, PAD_SAMPLES), network).crops
    assert all(any(np.array_equal(wake, crop.samples) for crop in found) for wake in wakes)
    padded = np.r_[rng.normal(0, 2, 20 * RATE_HZ).astype(np.int16), scene]
    longer = others.other_crops(padded, "scene", None)
    assert isinstance(longer, list)
    assert len(longer) <= len(scene) / CROP_SAMPLES + 1, "of twenty seconds of silence nothing comes"
    hours = others.other_crops(np.tile(scene, 12), "scene", None)
    assert isinstance(hours, list)
    assert len(hours) <= others.MAX_PIECES


def test_a_short_recording_stays_whole(takes: Takes, read: Read) -> None:
    samples = read(takes("rms", "alexa", "enroll")[0])
    found = others.other_crops(samples, "file", None)
    assert isinstance(found, list)
    assert [len(crop.samples) for crop in found] == [len(samples)]


def test_silence_noise_and_whispers_are_no_others(takes: Takes, read: Read, rng: np.random.Generator) -> None:
    word = read(takes("rms", "alexa", "enroll")[0]).astype(np.float64)
    cases = {
        "zeros": (np.zeros(RATE_HZ), "nothing_said"),
        "one sample": (np.ones(1), "nothing_said"),
        "hiss": (rng.normal(0, 300, 10 * RATE_HZ), "nothing_said"),
        "hum": (3000 * np.sin(np.arange(5 * RATE_HZ) * 2 * np.pi * 50 / RATE_HZ), "nothing_said"),
        "far away": (word / np.abs(word).max() * 40, "too_quiet"),
    }
    for name, (samples, reason) in cases.items():
        found = others.other_crops(np.rint(samples).astype(np.int16), name, None)
        assert isinstance(found, Fault), name
        assert found.reason == reason, name


class HomeImpostors:
    """Runs `earmark enroll` for the voice `rms` with files of others."""

    def __init__(self, folder: Path, own: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
        self.store = PersonStore(folder / "people")
        self._own, self._capsys = own, capsys

    def __call__(self, *others: Path, code: int = 0) -> dict[str, Any]:
        """The JSON object that it prints."""
        line = ["enroll", "rms", "--json", "--store", str(self.store.folder), "--from", *map(str, self._own)]
        assert main([*line, "--others", *map(str, others)]) == code
        (printed,) = self._capsys.readouterr().out.splitlines()
        result: dict[str, Any] = json.loads(printed)
        return result

    def said(self, *others: Path) -> str:
        """What it says to people who ask for figures."""
        line = ["enroll", "rms", "-v", "--store", str(self.store.folder), "--from", *map(str, self._own)]
        assert main([*line, "--others", *map(str, others)]) == 0
        return str(self._capsys.readouterr().out)


@pytest.fixture
def home(one_enroller: None, tmp_path: Path, takes: Takes, capsys: pytest.CaptureFixture[str]) -> HomeImpostors:  # noqa: ARG001
    return HomeImpostors(tmp_path, takes("rms", "okay_nabu", "enroll"), capsys)


@pytest.mark.slow
def test_others_who_cannot_be_used_are_refused_with_their_reasons(
    home: HomeImpostors, takes: Takes, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE_HZ, np.int16), RATE_HZ)
    (tmp_path / "text.wav").write_text("no audio")
    own = takes("rms", "okay_nabu", "test")[0]
    bad = {tmp_path / "silence.wav": "nothing_said", own: "sounds_like_owner", tmp_path / "text.wav": "unreadable"}
    for files in (list(bad), [tmp_path / "text.wav"]):
        refused = home(*files, code=3)
        assert refused["type"] == "refused"
        assert {Path(fault["file"]): fault["reason"] for fault in refused["faults"]} == {
            file: bad[file] for file in files
        }
    assert not home.store.folder.exists()
    good = takes("awb", "okay_nabu", "enroll")
    mixed, alone = home(*bad, *good), home(*good)
    assert {Path(fault["file"]): fault["reason"] for fault in mixed["faults"]} == bad
    assert mixed["threshold"] == alone["threshold"]
    assert {**mixed["report"]["others"], "own_crops": 0} == alone["report"]["others"]


@pytest.mark.slow
def test_nothing_of_the_others_is_stored_but_their_number(
    home: HomeImpostors, takes: Takes, enroller: Enroller, make_network: MakeNetwork
) -> None:
    files = takes("awb", "okay_nabu", "enroll")
    result = home(*files)
    assert set(result["report"]["others"]) == {"recordings", "crops", "own_crops", "trained", "let_in"}
    person = home.store.load("rms", "okay_nabu")
    network = make_network("okay_nabu")
    for recording in read_all(files):
        (crop,) = quality.crops(recording.samples, network)
        assert float(np.max(person.takes @ enroller.speaker.embed(crop))) < 0.95
    assert len(person.takes) == 5
    assert "5 crops of 5 recordings: trained against 5; 0 would be let in" in home.said(*files)

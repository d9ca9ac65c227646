"""`import earmark`: what a program gets at the door, and what it is told when it comes in wrongly."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Enrolled, Read, Takes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_imports import HEAVY

import earmark
from earmark.engine import errors
from earmark.engine.audio.samples import RATE_HZ, Int16, checked, to_float
from earmark.engine.people.codec import encode
from earmark.enroll import front_door
from earmark.enroll.enrolment import Recording

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_enroller")]

door: Any = earmark  # as a program without types sees it


@pytest.fixture
def five(takes: Takes) -> list[Path]:
    return takes("slt", "okay_nabu", "enroll")


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's people are."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "earmark" / "people"


def test_the_three_lines_of_the_readme(own_store: Path, five: list[Path], audio_dir: Path) -> None:
    earmark.enrol("slt", five).save()
    assert [path.name for path in own_store.iterdir() if not path.name.startswith(".")] == ["slt"]
    events = [*earmark.Detector.load("okay_nabu").run(audio_dir / "slt_okay_nabu_test_1.flac")]
    assert [(event.type, event.person) for event in events] == [("detection", "slt")]
    assert events[0].time_ms == events[0].to_json(None)["time_ms"]


def test_importing_loads_nothing() -> None:
    program = "import sys; before = set(sys.modules); import earmark; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in ast.literal_eval(done.stdout)}
    assert "earmark" in loaded
    assert loaded & (HEAVY | {"numpy", "soxr", "argparse", "asyncio"}) == set()


@pytest.mark.parametrize("name", earmark.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(earmark, name) is getattr(earmark, name)
    assert name in dir(earmark)


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        earmark.Detektor  # noqa: B018


def test_every_error_at_the_door_is_one_of_the_tree() -> None:
    named = [name for name in earmark.__all__ if name.endswith(("Error", "Refused"))]
    assert len(named) >= 9
    for name in named:
        assert getattr(earmark, name) is getattr(errors, name)
        assert issubclass(getattr(earmark, name), earmark.EarmarkError)


def test_python_m_earmark_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "earmark", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == f"earmark {earmark.__version__}"


@pytest.mark.parametrize("documented", [front_door, earmark.Detector], ids=["enrol", "Detector"])
def test_the_examples_of_the_docstrings_are_true(
    documented: Any, own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    examples = [test for test in finder.find(documented, globs={"earmark": earmark}) if test.examples]
    assert examples
    for example in examples:
        assert runner.run(example).failed == 0, example.name
    assert not own_store.exists()


# --- enrolling


def test_files_recordings_and_arrays_give_the_same_voiceprint(five: list[Path], read: Read) -> None:
    three = five[:3]  # they are enrolled five times
    samples = [read(path) for path in three]
    ways: list[Any] = [
        [str(path) for path in three],
        tuple(three),
        [Recording(f"take {number}", each) for number, each in enumerate(samples)],
        samples,
    ]
    once, *others = (encode(earmark.enrol("slt", way).voiceprint, ()) for way in ways)
    assert all(other == once for other in others)
    floats = earmark.enrol("slt", [to_float(each) for each in samples], floats=True)
    assert encode(floats.voiceprint, ()) == once


def test_one_recording_with_all_takes_is_enough(five: list[Path], read: Read) -> None:
    whole = np.concatenate([read(path) for path in five])
    assert len(earmark.enrol("slt", whole).voiceprint.takes) == 5


def test_other_people_are_trained_against(five: list[Path], takes: Takes) -> None:
    report = earmark.enrol("slt", five, others=takes("rms", "okay_nabu", "enroll")).voiceprint.report
    assert report["others"]["recordings"] == 5


def test_what_cannot_be_read_is_a_fault(five: list[Path], tmp_path: Path) -> None:
    enrolment = earmark.enrol("slt", [*five, tmp_path / "none.wav"])
    assert [(fault.reason, fault.detail) for fault in enrolment.faults] == [("unreadable", "no such file")]


def test_a_store_may_be_a_folder_or_the_people(enrolled: Enrolled, tmp_path: Path) -> None:
    enrolment = enrolled("slt", "okay_nabu")
    enrolment.save(tmp_path / "a")
    enrolment.save(str(tmp_path / "b"))
    people = earmark.People(tmp_path / "c")
    assert enrolment.save(people) == tmp_path / "c" / "slt" / "okay_nabu" / "0001"
    for store in (tmp_path / "a", str(tmp_path / "b"), people):
        (person,) = earmark.Detector.load("okay_nabu", store)._verifier.people
        assert person.name == "slt"


WRONG_ENROLMENTS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "no takes": (lambda _: door.enrol("slt", []), earmark.EnrolmentRefused, "at least 3 are needed"),
    "one take": (lambda five: door.enrol("slt", five[0]), earmark.EnrolmentRefused, "1 good takes"),
    "no name": (lambda five: door.enrol("", five), earmark.InputError, "printable"),
    "a number": (lambda _: door.enrol("slt", [5]), earmark.AudioError, "recording 1: audio is a int"),
    "stereo": (lambda _: door.enrol("slt", np.zeros((9, 2), np.int16)), earmark.AudioError, r"\(9, 2\)"),
    "floats": (lambda _: door.enrol("slt", np.zeros(9, np.float32)), earmark.AudioError, "floats=True"),
    "rate": (lambda _: door.enrol("slt", np.zeros(9, np.int16), rate_hz=1), earmark.AudioError, "4000"),
    "word": (lambda five: door.enrol("slt", five, "okay_nab"), earmark.KeywordError, "did you mean okay_nabu"),
    "words": (lambda five: door.enrol("slt", five, ["alexa"]), earmark.KeywordError, "not a list"),
    "others": (lambda five: door.enrol("slt", five, others="none.wav"), earmark.EnrolmentRefused, "no such file"),
    "models": (lambda five: door.enrol("slt", five, models="none"), earmark.ModelError, "none"),
}


@pytest.mark.parametrize("case", WRONG_ENROLMENTS)
def test_a_wrong_enrolment_is_refused_where_it_enters(case: str, five: list[Path]) -> None:
    call, error, message = WRONG_ENROLMENTS[case]
    with pytest.raises(error, match=message):
        call(five)


# --- hearing


def facts(events: list[earmark.Event]) -> list[tuple[str, int, str | None]]:
    return [(event.type, event.sample, event.person) for event in events]


def test_a_path_a_source_and_an_array_are_the_same_stream(slt_store: Path, audio_dir: Path, read: Read) -> None:
    path = audio_dir / "slt_okay_nabu_test_1.flac"
    samples = read(path)
    detector = earmark.Detector.load("okay_nabu", slt_store)
    once = facts([*detector.run(str(path))])
    assert [(type_, person) for type_, _, person in once] == [("detection", "slt")]
    ways: list[Any] = [path, earmark.FileSource(path), samples, earmark.ArraySource(samples, 999)]
    for way in ways:  # each a stream of its own: positions begin again
        assert facts([*detector.run(way)]) == once
    assert facts([*detector.run(to_float(samples), floats=True)]) == once


def test_an_array_of_another_rate_is_converted(slt_store: Path, audio_dir: Path, read: Read) -> None:
    import soxr

    samples = read(audio_dir / "slt_okay_nabu_test_1.flac")
    fast = soxr.resample(to_float(samples), RATE_HZ, 44_100)
    detector = earmark.Detector.load("okay_nabu", slt_store)
    ((type_, sample, person),) = facts([*detector.run(fast, rate_hz=44_100, floats=True)])
    ((_, expected, _),) = facts([*detector.run(samples)])
    assert (type_, person) == ("detection", "slt")
    assert abs(sample - expected) <= 480


def test_floats_are_pushed_as_int16_are(slt_store: Path, audio_dir: Path, read: Read) -> None:
    samples = read(audio_dir / "slt_okay_nabu_test_1.flac")
    found = []
    for pieces, floats in ((samples, False), (to_float(samples), True)):
        detector = earmark.Detector.load("okay_nabu", slt_store)
        events = [e for at in range(0, len(pieces), 777) for e in detector.push(pieces[at : at + 777], floats=floats)]
        found.append(facts([*events, *detector.finish()]))
    assert len(found[0]) == 1
    assert found[0] == found[1]


def test_several_words_each_once(slt_store: Path) -> None:
    detector = earmark.Detector.load(["alexa", "okay_nabu", "alexa"], slt_store)
    assert [network.manifest.name for network, _ in detector._channels] == ["alexa", "okay_nabu"]


WRONG_HEARINGS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "list": (lambda d: d.push([0, 1]), earmark.AudioError, "a list, they must be a numpy array"),
    "bytes": (lambda d: d.push(b"\0\0"), earmark.AudioError, "a bytes"),
    "float32": (lambda d: d.push(np.zeros(9, np.float32)), earmark.AudioError, "float32, .*floats=True"),
    "int32": (lambda d: d.push(np.zeros(9, np.int32)), earmark.AudioError, "int32, they must be int16"),
    "int16 as floats": (lambda d: d.push(np.zeros(9, np.int16), floats=True), earmark.AudioError, "must be floats"),
    "stereo": (lambda d: d.push(np.zeros((9, 2), np.int16)), earmark.AudioError, r"shape \(9, 2\)"),
    "NaN": (lambda d: d.push(np.full(9, np.nan), floats=True), earmark.AudioError, "sample 0 is nan"),
    "scale": (lambda d: d.push(np.full(9, 9000.0), floats=True), earmark.AudioError, "divide by 32768"),
    "no file": (lambda d: d.run("none.wav"), earmark.AudioError, "no such file"),
    "number": (lambda d: d.run(5), earmark.AudioError, "audio is a int"),
    "float run": (lambda d: d.run(np.zeros(9)), earmark.AudioError, "float64"),
    "rate": (lambda d: d.run(np.zeros(9, np.int16), rate_hz=0), earmark.AudioError, "4000"),
    "word": (lambda _: door.Detector.load("alexia"), earmark.KeywordError, "did you mean alexa"),
    "no word": (lambda _: door.Detector.load([]), earmark.KeywordError, "no wake word"),
    "None": (lambda _: door.Detector.load(None), earmark.KeywordError, "not a NoneType"),
    "mode": (lambda _: door.Detector.load("alexa", mode="all"), earmark.InputError, "one of only"),
    "store": (lambda _: door.Detector.load("alexa", "none"), earmark.PersonError, "no store of people in none"),
}


@pytest.mark.parametrize("case", WRONG_HEARINGS)
def test_wrong_audio_is_refused_where_it_enters(case: str, slt_store: Path) -> None:
    call, error, message = WRONG_HEARINGS[case]
    detector = earmark.Detector.load("okay_nabu", slt_store)
    with pytest.raises(error, match=message):
        call(detector)


@given(arrays.arrays(np.int16, st.integers(0, 50)))
def test_good_samples_pass_as_they_are(samples: Int16) -> None:
    assert checked(samples) is samples
    np.testing.assert_array_equal(checked(to_float(samples), floats=True), samples)


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_a_float_is_audio_or_refused(value: float) -> None:
    """What lies a little beyond full scale is clipped, what is far beyond has another scale."""
    samples = np.array([0.5, value], np.float32)
    if np.isfinite(value) and abs(value) <= 2:
        assert checked(samples, floats=True).tolist() == [
            16_384,
            int(np.clip(np.rint(value * 32_768), -32_768, 32_767)),
        ]
    else:
        with pytest.raises(earmark.AudioError):
            checked(samples, floats=True)


def test_programs_written_before_the_rooms_go_on(five: list[Path], audio_dir: Path) -> None:
    """The example that the README showed until then."""
    from earmark.engine.card import load_manifest
    from earmark.engine.detector import Detector
    from earmark.engine.files import FileSource
    from earmark.engine.keyword import KeywordNetwork
    from earmark.engine.verifier import Verifier
    from earmark.enroll.enrolment import Enroller, Recording

    keyword = KeywordNetwork(load_manifest("okay_nabu"))
    recordings = [Recording.read(str(file)) for file in five]
    enrolment = Enroller.load().enrol("slt", recordings, keyword)
    detector = Detector([keyword], Verifier([enrolment.voiceprint]))
    with FileSource(str(audio_dir / "slt_okay_nabu_test_1.flac")) as source:
        assert [(event.type, event.person) for event in detector.run(source)] == [("detection", "slt")]


@pytest.mark.usefixtures("own_store")
def test_speech_is_learned_in_one_call(five: list[Path], audio_dir: Path, read: Read) -> None:
    person = earmark.enrol("slt", five)
    talk = [path for path in sorted(audio_dir.glob("slt_*_other_1.flac")) if "turn_the" not in path.name]
    more = [read(path) for path in sorted(audio_dir.glob("slt_alexa_enroll_*.flac"))]
    missing = audio_dir / "none.flac"
    made = earmark.enrol_speech(person.voiceprint, [*talk, *more, missing])
    assert [fault.reason for fault in made.faults] == ["unreadable"]
    person.save()
    made.save()
    command = [read(audio_dir / f"slt_{what}_1.flac") for what in ("okay_nabu_test", "please_turn_the_lights_other")]
    detector = earmark.Detector.load("okay_nabu", confirm="label")
    said = [(event.type, event.reason) for event in detector.run(np.concatenate(command))]
    assert said == [("detection", "known_voice"), ("confirmation", "confirmed")]
    with pytest.raises(earmark.EnrolmentRefused, match="half a minute"):
        earmark.enrol_speech(person.voiceprint, [])

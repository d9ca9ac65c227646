"""The conditions of a try, and a trial list through the real enrolment."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, MakeNetwork, Read, Takes
from conftest import Enrolled as Enrolled_
from helpers_store import earmark
from turns import mine

from earmark import cli
from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, to_float
from earmark.engine.commands import parser
from earmark.engine.errors import InputError
from earmark.engine.event import Event
from earmark.engine.features.speech import locate_speech
from earmark.enroll.commands import evaluate_command
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation import error_rates
from earmark.enroll.evaluation.conditions import Conditions, read_noises
from earmark.enroll.evaluation.evaluate import (
    HEAD,
    Enrolled,
    Setup,
    TrialList,
    enrol,
    evaluate,
    measure,
    read_trials,
)
from earmark.enroll.options import as_they_are
from earmark.enroll.training import cohort, telephone

VOICES = ("slt", "rms", "kal16")


def test_noise_is_mixed_at_the_snr_of_the_speech(audio_dir: Path, read: Read, rng: np.random.Generator) -> None:
    clean = read(audio_dir / "slt_alexa_test_1.flac")
    padded = np.concatenate([np.zeros(RATE_HZ, np.int16), clean // 2, np.zeros(RATE_HZ, np.int16)])
    noise = (rng.standard_normal(5 * RATE_HZ) * 3000).astype(np.int16)
    start, end = locate_speech(padded)
    for snr_db in (10.0, 0.0):
        noisy = Conditions(noises=[noise], snr_db=snr_db).apply(padded, "key")
        added = to_float(noisy)[start:end] - to_float(padded)[start:end]
        power_db = 10 * np.log10(np.mean(to_float(padded)[start:end] ** 2) / np.mean(added**2))
        assert power_db == pytest.approx(snr_db, abs=0.3)


def test_conditions_repeat_with_the_key_and_change_with_it(audio_dir: Path, read: Read) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    room = Conditions(room_rt60_s=0.4)
    np.testing.assert_array_equal(room.apply(samples, "a"), room.apply(samples, "a"))
    assert np.any(room.apply(samples, "a") != room.apply(samples, "b"))
    np.testing.assert_array_equal(Conditions().apply(samples, "a"), samples)


def test_each_condition_changes_a_recording_and_all_together_are_one_more(
    audio_dir: Path, read: Read, rng: np.random.Generator
) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    other = read(audio_dir / "rms_alexa_test_1.flac")
    noise = (rng.standard_normal(2 * RATE_HZ) * 3000).astype(np.int16)
    fields: dict[str, Any] = {
        "first_part": 0.7,
        "room_rt60_s": 0.6,
        "noises": [noise],
        "voices": [other],
        "microphone": "laptop",
        "clipped_db": 10.0,
        "telephone": "gsm",
        "gain_db": -6.0,
    }
    heard = [Conditions(**{name: value}).apply(samples, "key") for name, value in fields.items()]
    heard += [samples, Conditions(**fields).apply(samples, "key")]
    for number, one in enumerate(heard):
        for other_ in heard[:number]:
            assert len(one) != len(other_) or np.any(one != other_)
    assert {len(one) for one in heard[1:-1]} == {len(samples)}


def test_a_far_room_is_as_far_as_asked(audio_dir: Path, read: Read) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    added_db = []
    for direct_db in (10.0, -3.0):
        room = Conditions(room_rt60_s=0.6, direct_to_reverberant_db=direct_db).apply(samples, "key")
        added = to_float(room) - to_float(samples)
        added_db.append(10 * np.log10(np.mean(added**2) / np.mean(to_float(samples) ** 2)))
    assert added_db[1] - added_db[0] == pytest.approx(13.0, abs=0.5)


def test_any_microphone_is_another_one_for_each_try(audio_dir: Path, read: Read) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    heard = {Conditions(microphone="any").apply(samples, str(key)).tobytes() for key in range(20)}
    assert len(heard) > 5


def test_the_command_line_names_the_codecs_that_there_are() -> None:
    assert set(parser.CODECS) == set(telephone.CODECS)


def test_gain_is_in_decibels(audio_dir: Path, read: Read) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac") // 8
    louder = Conditions(gain_db=12.0).apply(samples, "a")
    assert np.abs(louder).max() / np.abs(samples).max() == pytest.approx(10 ** (12 / 20), rel=0.01)


def test_silence_stays_silence() -> None:
    silence = np.zeros(RATE_HZ, np.int16)
    np.testing.assert_array_equal(Conditions(room_rt60_s=0.5).apply(silence, "a"), silence)


def test_a_folder_of_noise_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recording in it"):
        read_noises(tmp_path)


@pytest.fixture(scope="module")
def trial_list(takes: Takes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three voices enrolled, a fourth as a stranger only."""
    rows = ["path,speaker,phrase,role"]
    for voice in VOICES:
        rows += [f"{path},{voice},okay_nabu,enroll" for path in takes(voice, "okay_nabu", "enroll")]
        rows += [f"{path},{voice},okay_nabu,test" for path in takes(voice, "okay_nabu", "test")[:3]]
    rows += [f"{path},stranger,okay_nabu,test" for path in takes("scot", "okay_nabu", "test")]
    file = tmp_path_factory.mktemp("list") / "trials.csv"
    file.write_text("\n".join(rows) + "\n", "utf-8")
    return file


@pytest.mark.slow
def test_a_trial_list_of_distinct_voices_has_few_errors(enroller: Enroller, trial_list: Path) -> None:
    trials = read_trials(trial_list)
    setup = Setup(enroller, None)
    results = evaluate(trials, setup)
    values = results.to_json()
    assert values["trials"] == {"target": 9, "impostor": 3 * (2 * 3 + 2)}
    assert values["refused"] == values["not_used"] == values["repeated"] == []
    assert not any(values["unreadable"].values())
    assert values["false_accepts_per_hour"] is None
    for system in (HEAD, "cosine", "logistic"):
        rates = values["systems"][system]
        assert rates["eer"] <= 0.1, system
        assert rates["far_at_enrolled"] <= 0.1, system
        assert rates["frr_at_enrolled"] <= 2 / 9, system
        assert set(rates["ci95"]) == set(rates) - {"ci95"}

    enrolled = enrol(trials, replace(setup, takes=2))
    assert {len(person.takes) for person in enrolled} == set()  # three are the least that enrolment takes
    assert len(enrolled.refused) == len(VOICES)
    assert "at least 3 are needed" in enrolled.refused[0]
    with pytest.raises(InputError, match="no trial of an enrolled person's own"):
        measure(trials, enrolled, setup)


@pytest.mark.slow
def test_the_command_writes_what_is_promised(
    trial_list: Path, audio_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the keyword network, in noise, with speech in which the wake word is not said."""
    with trial_list.open("a", encoding="utf-8") as file:
        negatives = sorted(audio_dir.glob("*other*.flac"))[:3] or sorted(audio_dir.glob("scene.flac"))
        file.writelines(f"{path},,,negative\n" for path in negatives)
        file.write(f"{tmp_path}/missing.flac,slt,okay_nabu,test\n")
    noise = tmp_path / "noise"
    noise.mkdir()
    (noise / "scene.flac").write_bytes((audio_dir / "scene.flac").read_bytes())
    out = tmp_path / "out.json"
    command = ["evaluate", str(trial_list), "--keyword", "okay_nabu", "--takes", "4", "--noise", str(noise)]
    command += ["--snr-db", "25", "--room", "0.2", "--gain-db", "-6", "--json", str(out), "--per-person"]
    assert cli.main(command) == 2  # a row could not be read
    values = json.loads(out.read_text("utf-8"))
    assert values["trials"]["target"] == 9
    assert values["unreadable"] == {"enroll": [], "test": [f"{tmp_path}/missing.flac: no such file"], "negative": []}
    for person in values["people"]:
        own = [one for one in person["tries"] if one["speaker"] == person["name"]]
        assert len(own) == person["own"]["tries"] == 3
        assert person["own"]["rejected"] == sum(not one["accepted"] for one in own)
        assert all(one["accepted"] == ((one["score"] or -1) >= person["threshold"]) for one in person["tries"])
    assert values["false_accepts_per_hour"] == 0
    assert {"eer", "frr_at_far_0.01", "frr_at_far_0.001", "frr_at_enrolled", "far_at_enrolled", "ci95"} <= set(
        values["systems"]["head"]
    )
    printed = capsys.readouterr()
    assert "EER" in printed.out
    assert "okay_nabu/slt: " in printed.out
    assert f"left out (test): {tmp_path}/missing.flac: no such file" in printed.err
    assert "1 row could not be read and count" in printed.err


# --- rows that cannot be read


@pytest.fixture(scope="module")
def three(enrolled: Enrolled_) -> Enrolled:
    people = [enrolled(voice, "okay_nabu").voiceprint for voice in VOICES]
    return Enrolled({"okay_nabu": people}, [])


@pytest.fixture(scope="module")
def tries(takes: Takes) -> dict[str, list[Path]]:
    return {voice: takes(voice, "okay_nabu", "test")[:2] for voice in (*VOICES, "scot")}


def as_list(tries: dict[str, list[Path]], negatives: Sequence[Path] = ()) -> TrialList:
    return TrialList({"okay_nabu": {voice: {"test": paths} for voice, paths in tries.items()}}, list(negatives))


def test_test_rows_that_cannot_be_read_count_for_nothing(
    three: Enrolled, tries: dict[str, list[Path]], enroller: Enroller, tmp_path: Path
) -> None:
    """Neither as rejections of the own voice nor as strangers who were kept out."""
    setup = Setup(enroller, None)
    (tmp_path / "empty.wav").touch()
    missing = [tmp_path / f"missing_{number}.flac" for number in range(5)]
    more = {**tries, "slt": [*tries["slt"], missing[0]], "stranger": [*missing[1:], tmp_path / "empty.wav"]}
    honest, found = measure(as_list(tries), three, setup), measure(as_list(more), three, setup)
    assert found.systems.keys() == honest.systems.keys()
    for name, trials in found.systems.items():
        np.testing.assert_array_equal(np.sort(trials.scores), np.sort(honest.systems[name].scores))
        assert trials.rates() == honest.systems[name].rates()
    reasons = [f"{path}: no such file" for path in missing] + [f"{tmp_path}/empty.wav: empty: 0 bytes"]
    assert found.unreadable == {"enroll": [], "test": reasons, "negative": []}


def test_enroll_rows_that_cannot_be_read_are_listed_and_others_take_their_place(
    takes: Takes, tries: dict[str, list[Path]], enroller: Enroller, tmp_path: Path
) -> None:
    paths = takes("slt", "okay_nabu", "enroll")
    rows = {"enroll": [paths[0], tmp_path / "gone.flac", *paths[1:4]], "test": tries["slt"]}
    trials = TrialList({"okay_nabu": {"slt": rows, "rms": {"test": tries["rms"]}}})
    options = as_they_are()
    setup = Setup(enroller, None, replace(options, plan=replace(options.plan, steps=1, copies=1)), takes=3)
    enrolled = enrol(trials, setup)
    assert [len(person.takes) for person in enrolled] == [3]
    assert enrolled.unreadable == [f"{tmp_path}/gone.flac: no such file"]
    assert measure(trials, enrolled, setup).unreadable["enroll"] == enrolled.unreadable


def test_takes_by_telephone_are_another_voiceprint(
    takes: Takes, tries: dict[str, list[Path]], enroller: Enroller
) -> None:
    rows = {"enroll": takes("slt", "okay_nabu", "enroll")[:1], "test": tries["slt"]}
    trials = TrialList({"okay_nabu": {"slt": rows}})
    setup = Setup(enroller, None, replace(as_they_are(), min_takes=1))
    by_line = replace(setup, take_conditions=Conditions(telephone="mu-law"))
    clean, telephone = (next(iter(enrol(trials, each))).centroid for each in (setup, by_line))
    assert float(clean @ telephone) < 0.95


def test_a_negative_row_that_cannot_be_read_leaves_the_work_and_the_other_rows(
    three: Enrolled,
    tries: dict[str, list[Path]],
    enroller: Enroller,
    make_network: MakeNetwork,
    audio_dir: Path,
    tmp_path: Path,
) -> None:
    setup = Setup(enroller, make_network("okay_nabu"))
    negatives = [tmp_path / "gone.flac", audio_dir / "slt_okay_nabu_test_1.flac"]
    cut = tmp_path / "cut.flac"
    cut.write_bytes((audio_dir / "scene.flac").read_bytes()[:400_000])
    found = measure(as_list(tries, [*negatives, cut]), three, setup)
    assert found.false_accepts_per_hour == pytest.approx(3600 * 16_000 / len(read_audio(negatives[1])))
    assert [line.split(": ")[0] for line in found.unreadable["negative"]] == [str(negatives[0]), str(cut)]
    assert measure(as_list(tries, [tmp_path / "gone.flac"]), three, setup).false_accepts_per_hour is None


def test_what_leaves_nothing_to_measure_is_named(three: Enrolled, enroller: Enroller, tmp_path: Path) -> None:
    trials = as_list({"slt": [tmp_path / "gone.flac"]})
    with pytest.raises(InputError, match=r"no trial of an enrolled person's own(?s:.)*gone.flac: no such file"):
        measure(trials, three, Setup(enroller, None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "{folder}"], "is a folder"),
        (["--json", "{folder}/none/out.json"], "there is no folder"),
        (["--plot", "{folder}/none/det.png"], "there is no folder"),
        (["--plot", "{folder}/det.wav"], "wav is none of"),
        (["--plot", "{folder}/det.svg", "--json", "{folder}/det.svg"], "name the same file"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_the_work(
    options: list[str], message: str, trial_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_command, "read_trials", None)  # not even the list is read
        code = cli.main(["evaluate", str(trial_list), *(one.format(folder=tmp_path) for one in options)])
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_trade_off_is_drawn(tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from earmark.enroll.evaluation import plots

    scores, own = np.r_[rng.normal(1, 0.5, 50), rng.normal(0, 0.5, 200)], np.arange(250) < 50
    number = np.zeros(250, np.intp)
    trials = error_rates.Trials(scores, own, scores >= 0.5, number, number + ~own)
    plots.det(
        {"head": trials, "cosine": error_rates.Trials(scores > 0.5, own, own, number, number + ~own)},
        str(tmp_path / "det.png"),
    )
    assert (tmp_path / "det.png").read_bytes().startswith(b"\x89PNG")


def test_the_working_folder_says_nothing_about_pictures(audio_dir: Path, tmp_path: Path) -> None:
    """It may be somebody else's: with `text.usetex`, lines of theirs would be handed to TeX."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\ntext.latex.preamble: \\oops\nno such line\n", "utf-8")
    (tmp_path / "s").mkdir()
    take = audio_dir / "slt_okay_nabu_test_1.flac"
    run = earmark("plot", take, "--out", "picture.png", "--store", "s", cwd=tmp_path)
    assert "matplotlibrc" not in run.err
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG"), "the folder is the same afterwards"


@pytest.mark.parametrize("name", ["picture.png", "picture.svg", "picture"])
def test_a_picture_is_for_its_owner_alone(tmp_path: Path, name: str) -> None:
    """It shows who was heard when, or how a voice scores; all pictures are written by one function."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from earmark.enroll.evaluation import plots

    before = os.umask(0)
    try:
        plots.costs([("frontend", 20.0)], str(tmp_path / name))
    finally:
        os.umask(before)
    (picture,) = tmp_path.iterdir()
    assert picture.name == (name if "." in name else f"{name}.png")
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    assert Path(plots.__file__).read_text("utf-8").count("savefig(") == 1


@pytest.mark.parametrize(
    "name", ["$x^{$", r"$\mathrm{berta}$", "$" + r"\sqrt{" * 25 + "x" + "}" * 25 + "$", r"\input{x}", "_"]
)
def test_a_name_in_a_picture_is_text(make_network: MakeNetwork, tmp_path: Path, name: str) -> None:
    """And neither mathematics nor TeX: bundles and journals bring names that somebody else has chosen."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from earmark.enroll.evaluation import plots

    event = Event("detection", "okay_nabu", 8_000, 0.9, name, None, "known_voice")
    plots.picture(np.zeros(16_000, np.int16), [make_network("okay_nabu")], [event], str(tmp_path / "picture.svg"))
    drawn = (tmp_path / "picture.svg").read_text("utf-8")
    assert f"<!-- {plots._short(name)} -->" in drawn


@pytest.mark.parametrize("kind", ["pgf", "ps", "eps", "svgz", "raw", "tif"])
def test_a_picture_is_of_a_kind_that_runs_nothing(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from earmark.enroll.evaluation import plots

    for write in (plots.require_picture, lambda out: plots.costs([("frontend", 20.0)], out)):
        with pytest.raises(InputError, match=f".{kind} is none of jpg, pdf, png, svg, webp"):
            write(str(tmp_path / f"picture.{kind}"))
    assert list(tmp_path.iterdir()) == []


def test_a_list_without_its_columns_or_with_an_unknown_role_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trials.csv"
    file.write_text("path,speaker\n", "utf-8")
    with pytest.raises(InputError, match="columns path, phrase, role, speaker"):
        read_trials(file)
    file.write_text("path,speaker,phrase,role\na.wav,anna,hello,tset\n", "utf-8")
    with pytest.raises(InputError, match=r"line 2: role='tset' must be one of"):
        read_trials(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_trials(tmp_path / "missing.csv")


def test_the_folds_of_the_study_share_no_speaker() -> None:
    """The cohorts that measure a fold hold none of its speakers."""
    from earmark.models.fold import FOLDS, fold_of  # the recipes are no part of the tool

    for fold in FOLDS:
        shipped = cohort.load(REPOSITORY / "models" / "folds" / str(fold))
        names = [name.split("/", 1) for name in shipped.speaker.tolist()]
        labelled = [pair for pair in names if pair[0] in ("asc", "dsp", "gsc", "wuw")]
        assert labelled
        assert {fold_of(*pair) for pair in labelled} == {1 - fold}


@pytest.mark.slow
def test_real_people_whom_nothing_has_heard_are_told_apart(speech_data: Path, tmp_path: Path) -> None:
    """A word each of two groups of people of fold 0, by what was trained without them: scripts/studies/study.py has
    the figures."""
    from earmark.models.fold import fold_of

    enroller = Enroller.load(REPOSITORY / "models" / "folds" / "0")
    rows = []
    for name, phrase in mine((("dsp", "speaker"), ("asc", "forward"))):
        with (speech_data / f"trials_{name}.csv").open(newline="") as file:
            found = [row for row in csv.DictReader(file) if row["phrase"] == phrase]
        rows += [
            f"{speech_data / row['path']},{row['speaker']},{phrase},{row['role']}"
            for row in found
            if fold_of(name, row["speaker"]) == 0
        ]
    (tmp_path / "trials.csv").write_text("\n".join(["path,speaker,phrase,role", *rows]) + "\n", "utf-8")
    rates = evaluate(read_trials(tmp_path / "trials.csv"), Setup(enroller, None)).systems[HEAD].rates()
    assert rates["eer"] <= 0.08
    assert rates["far_at_enrolled"] <= 0.05
    assert rates["frr_at_enrolled"] <= 0.25

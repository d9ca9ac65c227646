"""The conditions of a try, and a trial list through the real enrolment."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Read, Takes

from earmark import cli
from earmark.engine.audio.samples import RATE_HZ, Int16, to_float
from earmark.engine.errors import InputError
from earmark.engine.features.speech import locate_speech
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation import error_rates
from earmark.enroll.evaluation.conditions import Conditions, read_noises
from earmark.enroll.evaluation.evaluate import HEAD, Setup, enrol, evaluate, measure, read_trials
from earmark.enroll.training import cohort

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


def test_a_telephone_passes_only_its_band(rng: np.random.Generator) -> None:
    samples: Int16 = (rng.standard_normal(RATE_HZ) * np.hanning(RATE_HZ) * 8000).astype(np.int16)
    heard = Conditions(telephone=True).apply(samples, "a")
    power = np.abs(np.fft.rfft(heard.astype(np.float64))) ** 2 / np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(RATE_HZ, 1 / RATE_HZ)
    inside, outside = (hertz > 500) & (hertz < 3000), (hertz < 100) | (hertz > 6000)
    assert np.median(power[inside]) == pytest.approx(1, abs=0.1)
    assert np.median(power[outside]) < 0.01


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
    assert values["refused"] == values["unreadable"] == []
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
    command += ["--snr-db", "25", "--room", "0.2", "--gain-db", "-6", "--json", str(out)]
    assert cli.main(command) == 0
    values = json.loads(out.read_text("utf-8"))
    assert values["trials"]["target"] == 10
    assert any("missing.flac" in line for line in values["unreadable"])
    assert values["false_accepts_per_hour"] == 0
    assert {"eer", "frr_at_far_0.01", "frr_at_far_0.001", "frr_at_enrolled", "far_at_enrolled", "ci95"} <= set(
        values["systems"]["head"]
    )
    printed = capsys.readouterr()
    assert "EER" in printed.out
    assert "missing.flac" in printed.err


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
    """Two words of people of fold 0, measured by what was trained without them; scripts/studies/study.py has the
    figures."""
    from earmark.models.fold import fold_of

    enroller = Enroller.load(REPOSITORY / "models" / "folds" / "0")
    rows = []
    for name, phrase in (("dsp", "speaker"), ("asc", "forward")):
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

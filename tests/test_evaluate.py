"""Error rates: the arithmetic by hand, and a trial list through the real enrolment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Takes

from earmark.engine.errors import InputError
from earmark.engine.head import SpeakerHead
from earmark.engine.speaker import SpeakerNetwork
from earmark.enroll import cohort, metrics
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.evaluate import evaluate, read_trials

VOICES = ("slt", "rms", "kal16")


def test_equal_error_rate_of_overlapping_scores() -> None:
    targets = np.array([0.9, 0.8, 0.7, 0.3])
    impostors = np.array([0.1, 0.2, 0.4, 0.75])
    assert metrics.eer(targets, impostors) == pytest.approx(0.25)
    assert metrics.eer(targets, targets) == pytest.approx(0.5, abs=0.13)
    assert metrics.eer(np.array([1.0]), np.array([0.0])) == 0


def test_frr_at_a_far_counts_what_falls_below_the_quantile() -> None:
    impostors = np.linspace(0, 1, 101)
    assert metrics.frr_at_far(np.array([0.5, 0.995, 0.985]), impostors, 0.01) == pytest.approx(2 / 3)


def test_a_trial_list_of_distinct_voices_has_few_errors(
    speaker: SpeakerNetwork, head: SpeakerHead, takes: Takes, tmp_path: Path
) -> None:
    rows = ["path,speaker,phrase,role"]
    for voice in VOICES:
        rows += [f"{path},{voice},okay_nabu,enroll" for path in takes(voice, "okay_nabu", "enroll")]
        rows += [f"{path},{voice},okay_nabu,test" for path in takes(voice, "okay_nabu", "test")[:3]]
    rows += [f"{path},stranger,okay_nabu,test" for path in takes("scot", "okay_nabu", "test")]
    (tmp_path / "trials.csv").write_text("\n".join(rows) + "\n", "utf-8")

    trials = read_trials(tmp_path / "trials.csv")
    results = evaluate(trials, Enroller(speaker, head, cohort.load()), None, Options())

    assert results["trials"] == {"target": 9, "impostor": 3 * (2 * 3 + 2)}
    assert results["refused"] == []
    for system in ("head", "cosine"):
        rates = results["systems"][system]
        assert rates["eer"] <= 0.1
        assert rates["frr_at_enrolled"] <= 1 / 9
        assert rates["far_at_enrolled"] <= 0.1


def test_a_list_without_its_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("path,speaker\n", "utf-8")
    with pytest.raises(InputError, match="columns path, phrase, role, speaker"):
        read_trials(tmp_path / "trials.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_trials(tmp_path / "missing.csv")

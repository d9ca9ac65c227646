"""A speaker network of one's own, of another size: tests/models, made by scripts/studies/make_tiny_models.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY, Takes

from earmark import cli
from earmark.engine.errors import ModelError
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.people.store import PersonStore
from earmark.enroll.enrolment import Enroller

TINY = REPOSITORY / "tests" / "models"


def test_a_voice_is_enrolled_and_known_by_it(
    takes: Takes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path), "--json"]
    own = ["--models", str(TINY), *store]
    files = [str(path) for path in takes("slt", "okay_nabu", "enroll")]
    assert cli.main(["enroll", "anna", "--from", *files, *own]) == 0
    person = PersonStore(tmp_path).load("anna", "okay_nabu")
    assert person.centroid.shape == (64,)
    capsys.readouterr()

    test = [str(path) for path in takes("slt", "okay_nabu", "test")[:1]]
    assert cli.main(["replay", *test, *own]) == 0
    event, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert (end["type"], end["error"]) == ("file", None)
    assert event["speaker_score"] is not None

    assert cli.main(["replay", *test, *store]) != 0, "with the shipped network her numbers mean nothing"
    assert "enrolled with another speaker and head network" in capsys.readouterr().err


def test_models_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for path in TINY.glob("*.*"):
        shutil.copy(path, tmp_path)
    for name in ("head.json", "head.tflite"):
        shutil.copy(MODELS_DIR / name, tmp_path)
    with pytest.raises(ModelError, match=r"embedding sizes .* differ"):
        Enroller.load(tmp_path)


def test_a_network_that_wants_another_mel_is_refused(tmp_path: Path) -> None:
    for path in TINY.glob("*.*"):
        shutil.copy(path, tmp_path)
    card = json.loads((tmp_path / "speaker.json").read_text("utf-8"))
    card["parameters"]["mels"] = 80
    (tmp_path / "speaker.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match="its card asks for"):
        Enroller.load(tmp_path)

"""Byte order marks: wherever a person may have edited a file, an editor's mark at its beginning changes nothing."""

from __future__ import annotations

import ast
import codecs
import json
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.errors import ModelError, SettingsError
from earmark.engine.networks.card import MODELS_DIR, builtin_keywords, load_card, load_manifest
from earmark.engine.people.keys import secret_from
from earmark.engine.settings.edit import renamed_line
from earmark.engine.settings.reading import load
from earmark.engine.sinks.mqtt.checks import read_password
from earmark.engine.storage.edited import decoded, edited_text, without_mark
from earmark.enroll.evaluation.trials import read_trials

MARKS = {  # encoding -> what an editor begins such a file with
    "utf-8": b"",
    "utf-8, marked": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}
EVERY = pytest.mark.parametrize("encoding", MARKS)

READS_WHAT_A_PERSON_EDITED = {
    "engine/networks/card.py",
    "engine/people/keys.py",
    "engine/settings/edit.py",
    "engine/settings/reading.py",
    "engine/sinks/mqtt/checks.py",
    "enroll/evaluation/trials.py",
}
READS_SOMETHING_ELSE = {
    "engine/audio/microphone.py": "/proc",
    "engine/commands/diagnosis/report.py": "/proc and /etc",
    "engine/commands/service/lock.py": "the lock, which earmark ships",
    "engine/commands/service/steps.py": "units, which earmark writes",
    "engine/commands/service/unit.py": "units, which earmark writes",
    "engine/commands/versions.py": "networks",
    "engine/daemon/kept.py": "what was set from outside, which earmark writes",
    "engine/sinks/wyoming/followers.py": "/etc/machine-id, which systemd writes",
    "engine/history/journal.py": "what the daemon wrote",
    "engine/networks/trial.py": "networks",
    "engine/history/verification.py": "what earmark wrote",
    "engine/history/waiting_files.py": "what the daemon wrote",
    "engine/people/bundle.py": "what earmark exported",
    "engine/people/index.py": "what earmark wrote",
    "engine/people/seal.py": "what earmark wrote",
    "engine/people/transaction.py": "what earmark wrote",
    "engine/people/vault.py": "what earmark wrote",
    "engine/sinks/wyoming/announcement.py": "/etc/machine-id",
    "engine/storage/atomic.py": "reads for the others",
    "engine/storage/edited.py": "reads for the others",
    "enroll/commands/bench.py": "/proc",
    "enroll/commands/live.py": "/proc, and what strace wrote",
    "enroll/evaluation/kept.py": "what earmark wrote, recordings, and this program",
    "enroll/fleet/consent.py": "what earmark wrote",
    "enroll/fleet/ledger.py": "what earmark wrote",
    "enroll/fleet/signed.py": "what a fleet's server signed",
    "enroll/fleet/starts.py": "networks, and the card that earmark wrote",
    "enroll/fleet/trial.py": "numbers that a fleet's server made",
    "enroll/guided/kept.py": "what earmark wrote",
    "enroll/training/trainers/flat.py": "checkpoints, which earmark writes",
    "enroll/web/access.py": "what earmark wrote",
    "enroll/web/certificate.py": "what earmark wrote",
    "enroll/web/changes.py": "what earmark wrote",
    "enroll/web/hearing.py": "what the page says on standard input",
    "enroll/web/house.py": "what earmark wrote",
    "enroll/web/pages.py": "what earmark ships",
    "enroll/web/texts.py": "what earmark ships",
}
HELPERS = {"decoded", "edited_text", "without_mark"}
READERS = {"read_text", "read_bytes", "read_limited"}


def written(text: str, encoding: str) -> bytes:
    return MARKS[encoding] + text.encode(encoding.partition(",")[0])


@given(st.text().filter(lambda text: not text.startswith("\ufeff")), st.sampled_from(sorted(MARKS)))
def test_a_text_is_the_same_whatever_its_mark(text: str, encoding: str) -> None:
    if encoding == "utf-8":
        assert decoded(text.encode()) == text
    assert decoded(written(text, encoding)) == text


@given(st.binary(max_size=64))
def test_a_key_without_a_mark_stays_as_it_is(key: bytes) -> None:
    if not key.startswith(codecs.BOM_UTF8):
        assert without_mark(key) == key
    assert without_mark(codecs.BOM_UTF8 + key) == key


@EVERY
def test_settings(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_bytes(written('[wake]\nmode = "prefer"\n[people]\nsensitivity_of = { "Zoë" = 0.6 }\n', encoding))
    loaded = load(file, {})
    assert loaded.settings.wake.mode == "prefer"
    line = renamed_line(file, "Zoë", "berta")
    assert line is not None
    assert line[0] == 4


def test_the_first_line_of_an_environment_file() -> None:
    assert load(None, {"\ufeffEARMARK_WAKE_MODE": "label", "EARMARK_SETTINGS": ""}).settings.wake.mode == "label"


@EVERY
def test_a_manifest(encoding: str, tmp_path: Path) -> None:
    source = builtin_keywords()["okay_nabu"]
    shutil.copy(source.with_suffix(".tflite"), tmp_path)
    file = tmp_path / "own.json"
    file.write_bytes(written(json.dumps(json.loads(source.read_text("utf-8"))), encoding))
    assert load_manifest(file).wake_word == load_manifest("okay_nabu").wake_word


@EVERY
def test_a_card(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "head.json").write_bytes(written((MODELS_DIR / "head.json").read_text("utf-8"), encoding))
    assert load_card("head", tmp_path) == load_card("head")


@EVERY
def test_a_password_file(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(written("geheim ß\r\nand a note\r\n", encoding))
    assert read_password(str(file)) == "geheim ß"


def test_a_key_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(codecs.BOM_UTF8 + b"correct horse\n")
    assert secret_from(str(tmp_path / "key"), {})() == b"correct horse"


@EVERY
def test_a_trial_list(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "trials.csv"
    file.write_bytes(written("path,speaker,phrase,role\r\na.wav,Zoë,forward,enroll\r\n", encoding))
    assert read_trials(file).people["forward"]["Zoë"]["enroll"] == [tmp_path / "a.wav"]


def test_what_is_no_text_is_told_by_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match="card cannot be read"):
        load_card("head", tmp_path)
    (tmp_path / "earmark.toml").write_bytes(b"\xffwake")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "earmark.toml", {})
    (tmp_path / "password").write_bytes(codecs.BOM_UTF16_LE + b"x")
    with pytest.raises(SettingsError, match="password_file"):
        read_password(str(tmp_path / "password"))
    with pytest.raises(FileNotFoundError):
        edited_text(tmp_path / "none")


def reads(path: Path) -> tuple[bool, bool]:
    """Whether a module reads files, and whether by what minds marks."""
    files = minds = False
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        minds |= name in HELPERS
        if name == "open":
            said = ast.unparse(node)
            is_file = isinstance(node.func, ast.Name) or ast.unparse(node.func).startswith(
                ("path.", "file.", "Path(")
            )
            files |= is_file and "'w" not in said and "'a" not in said
        files |= name in READERS
    return files, minds


def test_every_place_that_reads_a_file_minds_marks_or_reads_what_nobody_edits() -> None:
    """A new reader is put into one of the two lists above, after a thought."""
    sources = [*(REPOSITORY / "engine").rglob("*.py"), *(REPOSITORY / "enroll").rglob("*.py"), REPOSITORY / "cli.py"]
    found = {path.relative_to(REPOSITORY).as_posix(): reads(path) for path in sources}
    minding = {name for name, (_, minds) in found.items() if minds} - {"engine/storage/edited.py"}
    reading = {name for name, (files, _) in found.items() if files}
    assert minding >= READS_WHAT_A_PERSON_EDITED
    assert reading - minding - set(READS_SOMETHING_ELSE) == set()
    assert set(READS_SOMETHING_ELSE) - reading == set(), "nothing is read there any more"

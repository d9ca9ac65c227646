"""`earmark enroll --phrase`: a wake word of one's own from the command line, and what speaks against one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Takes

from earmark import cli
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.enroll.phrase.learn import PhraseTools
from earmark.enroll.summary import summary

Said = pytest.CaptureFixture[str]
PHRASE = "phrase:okay_nabu"


pytestmark = pytest.mark.usefixtures("one_enroller")


@pytest.fixture(autouse=True)
def at_home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    phrase_tools: PhraseTools,
) -> None:
    """Whatever this user has is not seen, and networks are opened once."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in [name for name in os.environ if name.startswith("EARMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(PhraseTools, "load", lambda: phrase_tools)


def run(said: Said, *words: str | Path, code: int = 0) -> tuple[str, str]:
    """Standard output and standard error of a command, which ends with the code."""
    assert cli.main([*map(str, words)]) == code
    found = said.readouterr()
    return found.out, found.err


def test_enrolled_from_files_it_is_heard_in_a_recording(takes: Takes, tmp_path: Path, capsys: Said) -> None:
    store = ["--store", str(tmp_path / "people")]
    files = takes("slt", "okay_nabu", "enroll")
    out, err = run(capsys, "enroll", "anna", "--plain", "--phrase", "Okay, Nabu", "--from", *files, *store)
    assert f"anna: enrolled for {PHRASE} from 5 takes" in out
    assert out.splitlines()[-1] == f"anna can now wake it. Try: `earmark listen --store {tmp_path / 'people'}`"
    assert "This phrase is like the wake word okay_nabu." in " ".join(out.split())
    out, err = run(capsys, "replay", takes("slt", "okay_nabu", "test")[0], "--json", *store)
    events = [json.loads(line) for line in out.splitlines()]
    woken = [(event["keyword"], event["person"]) for event in events if event["type"] == "detection"]
    assert woken == [(PHRASE, "anna")]
    assert "enrolled for a phrase" not in err
    out, _ = run(capsys, "people", "list", *store)
    assert PHRASE in out


def test_takes_of_different_words_are_no_phrase(takes: Takes, tmp_path: Path, capsys: Said) -> None:
    files = [takes("slt", word, "enroll")[0] for word in ("okay_nabu", "alexa")]
    line: list[str | Path] = ["enroll", "anna", "--plain", "--phrase", "ahoy house", "--min-takes", "2", "--from"]
    _, err = run(capsys, *line, *files, "--store", tmp_path / "people", code=3)
    assert "'anna' was not enrolled: 1 of 2 takes are of one phrase, at least 2 must be (five are better)" in err
    assert PersonStore(tmp_path / "people").names() == []


@pytest.mark.parametrize("text", ["", "…"])
def test_what_is_no_phrase_is_refused_before_anything_is_heard(takes: Takes, capsys: Said, text: str) -> None:
    files = takes("slt", "okay_nabu", "enroll")
    _, err = run(capsys, "enroll", "anna", "--phrase", text, "--from", *files, code=2)
    assert f"phrase {text!r} must have letters" in err


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("short", "three syllables or more"),
        ("common", "like what is said all day"),
        ("hey_jarvis", "earmark enroll slt --keyword hey_jarvis"),
    ],
)
def test_what_speaks_against_a_phrase_is_said_with_what_to_do(slt_phrase: Voiceprint, reason: str, told: str) -> None:
    report = {**slt_phrase.report, "phrase": {**slt_phrase.report["phrase"], "against": [reason]}}
    assert told in " ".join(" ".join(summary(replace(slt_phrase, report=report), 1)).split())

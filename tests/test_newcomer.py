"""What somebody writes who has read docs/library.md: a short program, from nothing but recordings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, Takes

pytestmark = pytest.mark.slow

PROGRAM = REPOSITORY / "docs" / "examples" / "who_speaks.py"
MOST_LINES = 20
ENROLLED = ("slt", "rms")
SOMEBODY_ELSE = "somebody else"
LATE_S = 0.5  # after the word's end the network still fires


@pytest.fixture(scope="module")
def told(takes: Takes, audio_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, str]]:
    """What the program printed of the scene, with two people enrolled: seconds, who."""
    people = [f"{name}=" + ",".join(map(str, takes(name, "okay_nabu", "enroll"))) for name in ENROLLED]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(audio_dir / "scene.flac"), *people],
        cwd=tmp_path_factory.mktemp("newcomer"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = [re.fullmatch(r" *(\d+\.\d) s  (.+)", line) for line in done.stdout.splitlines()]
    assert all(found), done.stdout
    return [(float(match[1]), match[2]) for match in found if match]


@pytest.fixture(scope="module")
def said(audio_dir: Path) -> list[tuple[float, float, str, str | None]]:
    """What is said in the scene: from, to (seconds), by whom (as the program calls them), which wake word."""
    lines = json.loads((audio_dir / "scene.json").read_text("utf-8"))
    return [
        (
            line["start_ms"] / 1000,
            line["end_ms"] / 1000 + LATE_S,
            line["voice"] if line["voice"] in ENROLLED else SOMEBODY_ELSE,
            line["keyword"],
        )
        for line in lines
    ]


def test_the_program_is_as_short_as_promised() -> None:
    assert len(PROGRAM.read_text("utf-8").splitlines()) <= MOST_LINES


def test_every_wake_word_of_the_scene_is_told_with_who_said_it(
    told: list[tuple[float, str]], said: list[tuple[float, float, str, str | None]]
) -> None:
    wakes = [(begin, end, who) for begin, end, who, word in said if word]
    assert len(wakes) == 7
    for begin, end, who in wakes:
        assert [name for at, name in told if begin <= at <= end] == [who]


def test_nobody_is_named_while_somebody_else_speaks(
    told: list[tuple[float, str]], said: list[tuple[float, float, str, str | None]]
) -> None:
    """A known voice that says what resembles the wake word may wake it too (docs/research/gates.md); no other may."""
    for at, name in told:
        assert [who for begin, end, who, _ in said if begin <= at <= end] == [name]

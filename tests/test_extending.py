"""docs/extending.md, done word by word: what it adds is added to a copy of the tree, what it runs is run."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, Read, Takes

from earmark.engine.networks.card import builtin_keywords

pytestmark = pytest.mark.slow

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "extending.md").read_text("utf-8")
PACKAGE = ("__init__.py", "__main__.py", "cli.py", "engine", "enroll", "models")
NOT_SHIPPED = shutil.ignore_patterns("folds", "speaker_weights.npz", "__pycache__")
STEP = re.compile(
    r"^(?:New file|In) `([^`]+)`(?:, (above|below) `([^`]+)`)?:?\n\n```python\n(.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)


def section(title: str) -> str:
    """The text below a heading, to the next one of its level."""
    level = re.search(rf"^(#+) {title}$", PAGE, flags=re.MULTILINE)
    assert level, title
    return re.split(rf"^#{{1,{len(level[1])}}} ", PAGE[level.end() :], flags=re.MULTILINE)[0]


def commands(title: str) -> list[list[str]]:
    """The indented lines of a section, as a shell splits them."""
    return [
        shlex.split(line) for line in re.findall(r"^ {4}((?:earmark|python) .*)$", section(title), flags=re.MULTILINE)
    ]


def block(title: str) -> str:
    """The first program of a section."""
    found = re.search(r"^```python\n(.*?)^```", section(title), flags=re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def steps(title: str, tree: Path) -> list[str]:
    """Does what a section says to a tree; the files that it touched."""
    touched = []
    for name, where, anchor, code in STEP.findall(section(title)):
        file = tree / name
        if not where:
            assert not file.exists(), name
            file.write_text(code, "utf-8")
        else:
            lines = file.read_text("utf-8").splitlines(keepends=True)
            (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(anchor)]
            while where == "above" and lines[at - 1].startswith("@"):  # a decorator belongs to what it decorates
                at -= 1
            at += where == "below"
            file.write_text("".join([*lines[:at], code, *lines[at:]]), "utf-8")
        touched.append(name)
    return touched


def run(words: list[str], folder: Path, tree: Path | None = None) -> str:
    """A command of the page, run in a folder, by the package as it is or by a changed tree; its standard output."""
    source = None
    if "<" in words:
        words, source = words[: words.index("<")], words[-1]
    if words[0] == "earmark":
        words = ["python", "-m", "earmark", *words[1:]]
    environment = dict(os.environ)
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.parent)
    with (folder / source if source else Path(os.devnull)).open("rb") as given:
        done = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=folder,
            env=environment,
            stdin=given,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with everything that the page adds to it."""
    folder = tmp_path_factory.mktemp("tree") / "earmark"
    folder.mkdir()
    for name in PACKAGE:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=NOT_SHIPPED)
        elif (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, folder)
    assert len(steps("In the daemon", folder)) == 4
    assert steps("A command", folder) == ["engine/commands/words.py", "engine/commands/parser.py"]
    return folder


@pytest.fixture
def folder(slt_store: Path, takes: Takes, read: Read, tmp_path: Path) -> Path:
    """Where the page's commands are typed: recordings under the names it gives them, and a store with slt."""
    for number, take in enumerate(takes("slt", "okay_nabu", "enroll"), 1):
        for ending in ("wav", "flac"):  # what a file holds decides, not its name
            shutil.copy(take, tmp_path / f"take{number}.{ending}")
    (test,) = takes("slt", "okay_nabu", "test")[:1]
    shutil.copy(test, tmp_path / "evening.flac")
    samples = read(test)
    samples.astype("<i2").tofile(tmp_path / "scene.raw")
    np.save(tmp_path / "evening.npy", samples)
    for name in ("docs", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    assert slt_store == tmp_path / "people"
    return tmp_path


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.reader(opened))


def test_the_page_shows_the_example_as_it_is() -> None:
    assert block("In a program of your own") == (DOCS / "examples" / "csv_sink.py").read_text("utf-8")


def test_a_program_of_ones_own_appends_to_a_csv(folder: Path) -> None:
    (typed,) = commands("In a program of your own")
    run(typed, folder)
    lines = rows(folder / "heard.csv")
    assert {(person, word) for _, person, word, _ in lines} == {("slt", "okay_nabu"), ("", "okay_nabu")}
    run(typed, folder)
    assert rows(folder / "heard.csv") == lines * 2, "appended, not written anew"


def test_the_daemon_appends_to_a_csv(folder: Path, tree: Path) -> None:
    (typed,) = commands("In the daemon")
    run(typed, folder, tree)
    ((_, person, word, kind),) = rows(folder / "heard.csv")
    assert (person, word, kind) == ("slt", "okay_nabu", "detection")


def test_the_settings_explain_the_new_sink(folder: Path, tree: Path) -> None:
    shown = run(["earmark", "settings", "show"], folder, tree)
    assert "[csv]" in shown
    assert "the file, appended to; empty: no file" in shown


def test_a_source_of_ones_own_is_heard(folder: Path) -> None:
    (folder / "source.py").write_text(block("A source"), "utf-8")
    (heard,) = run(["python", "source.py", "evening.npy", "people"], folder).splitlines()
    assert heard.split()[0] == "slt"


def test_the_new_command_says_what_it_shall(folder: Path, tree: Path) -> None:
    (typed,) = commands("A command")
    assert [json.loads(line)["keyword"] for line in run(typed, folder, tree).splitlines()] == [*builtin_keywords()]
    assert "wake words that are built in" in run(["earmark", "--help"], folder, tree)


def test_a_wake_word_of_ones_own_is_learned_and_heard(folder: Path) -> None:
    manifest = builtin_keywords()["okay_nabu"]
    shutil.copy(manifest, folder / "hey_house.json")
    shutil.copy(manifest.parent / json.loads(manifest.read_text("utf-8"))["model"], folder)
    (typed,) = commands("A wake word")
    run([*typed, "--store", "own"], folder)
    heard = run(
        ["earmark", "replay", "evening.flac", "--keyword", "hey_house.json", "--store", "own", "--json"], folder
    )
    assert json.loads(heard.splitlines()[0])["person"] == "anna"


def test_a_speaker_network_of_ones_own_is_used(folder: Path) -> None:
    enrol, replay = commands("A speaker network")
    run(enrol, folder)
    shutil.rmtree(folder / "people" / "slt")  # she was enrolled with the shipped network
    assert json.loads(run([*replay, "--json"], folder).splitlines()[0])["speaker_score"] is not None

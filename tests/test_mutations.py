"""The table of mutations fits the code, and what tries them leaves nothing behind."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts" / "studies"))

import mutations
from mutation_table import MUTATIONS, Mutation
from mutations import Outcome, Trial, failure, mutated, place_of, table

IDS = [f"{Path(one.file).name}-{one.what}" for one in MUTATIONS]
EXAMPLE = Mutation("file.py", "a < b", "a <= b", "the edge counts", ("test_file.py",))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=IDS)
def test_every_mutation_changes_one_place_and_is_still_a_program(mutation: Mutation) -> None:
    place_of(mutation)
    text = (REPOSITORY / mutation.file).read_text("utf-8")
    changed = text.replace(mutation.old, mutation.new)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


def test_the_tests_that_should_notice_are_there() -> None:
    there = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    wanted = {name for one in MUTATIONS for name in one.tests}
    assert [name for name in sorted(wanted) if there.count(name) != 1] == []
    assert all(one.tests for one in MUTATIONS)


def test_there_are_fifty_or_more_and_none_twice() -> None:
    assert len({(one.file, one.old, one.new) for one in MUTATIONS}) == len(MUTATIONS) >= 50


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.py"
    path.write_text("if a < b:\n    é = 1\n", "utf-8")
    return path


def test_a_file_is_changed_and_then_what_it_was_whatever_happens(file: Path) -> None:
    before = file.read_bytes()
    with mutated(EXAMPLE, file.parent):
        assert file.read_text("utf-8") == "if a <= b:\n    é = 1\n"
    assert file.read_bytes() == before
    with pytest.raises(KeyboardInterrupt), mutated(EXAMPLE, file.parent):
        raise KeyboardInterrupt
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"), [("a < b, a < b", "occurs 2 times"), ("a > b", "occurs 0 times"), (None, "no such file")]
)
def test_a_text_that_is_not_there_once_is_said(file: Path, text: str | None, says: str) -> None:
    file.unlink()
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=f"file.py: .*{says}"):
        place_of(EXAMPLE, file.parent)


SUMMARY = "..F\n=== short test summary info ===\n{}\n1 failed in 0.1s\n"


def test_the_first_failure_is_named() -> None:
    assert failure(SUMMARY.format("FAILED tests/test_a.py::test_b[1-x] - assert 0")) == "tests/test_a.py::test_b[1-x]"
    assert failure(SUMMARY.format("ERROR tests/test_a.py - ImportError: no")) == "tests/test_a.py"
    assert failure("tests\nSegmentation fault\n\n") is None


class Scripted:
    """Instead of a copy: what pytest says is written down before; what it is asked, while it runs."""

    def __init__(self, root: Path, *said: tuple[int | None, str]) -> None:
        self.root, self._said = root, list(said)
        self.asked: list[tuple[bool, str]] = []
        """Whether the file was changed then, and the last argument."""

    def tests(self, _names: object) -> list[str]:
        return ["tests/test_file.py"]

    def pytest(self, arguments: list[str], _limit_s: float) -> tuple[int | None, str]:
        self.asked.append(("<=" in (self.root / "file.py").read_text("utf-8"), arguments[-1]))
        return self._said.pop(0)


FAILED = (1, SUMMARY.format("FAILED tests/test_file.py::test_b[1] - assert 0"))
NONE_FAILED = (0, "1 passed")


def tried(file: Path, likely_only: bool, *said: tuple[int | None, str]) -> tuple[str | None, str, Scripted]:
    copy: Any = Scripted(file.parent, *said)
    found = Trial(likely_only)(copy, EXAMPLE)
    assert "<=" not in file.read_text("utf-8")
    return found.tier, found.test, copy


def test_a_test_has_noticed_a_change_if_it_fails_with_it_alone(file: Path) -> None:
    tier, test, copy = tried(file, True, FAILED, NONE_FAILED)
    assert (tier, test) == ("likely", "tests/test_file.py::test_b")
    assert copy.asked == [(True, "tests/test_file.py"), (False, "tests/test_file.py::test_b[1]")]


def test_a_test_that_fails_in_any_case_is_left_out_and_the_others_are_asked(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tier, _, copy = tried(file, True, FAILED, FAILED, NONE_FAILED)
    assert tier is None
    assert copy.asked[-1] == (True, "--deselect=tests/test_file.py::test_b[1]")
    assert "it fails unchanged: tests/test_file.py::test_b[1]" in capsys.readouterr().err


def test_the_tiers_follow_each_other_until_somebody_notices(file: Path) -> None:
    assert tried(file, False, NONE_FAILED, NONE_FAILED, (None, ""))[:2] == ("rest", "stopped after 5400 s")
    assert tried(file, False, NONE_FAILED, (-11, "Segmentation fault\n"))[:2] == ("fast", "Segmentation fault")
    assert tried(file, False, NONE_FAILED, (5, "no tests ran"), NONE_FAILED)[:2] == (None, "")


def test_the_table_counts_who_was_noticed_where_and_explains_the_rest() -> None:
    strange = replace(EXAMPLE, old="a | `b`", new="", equivalent_because="it is the same")
    text = table(
        [
            Outcome(EXAMPLE, mutations.LIKELY, "tests/test_a.py::test_b", 1.0),
            Outcome(EXAMPLE, mutations.REST, "tests/test_c.py::test_d", 9.0),
            Outcome(EXAMPLE, None, "", 9.0),
            Outcome(strange, None, "", 9.0),
        ]
    )
    assert "**2 of 4 changes are noticed (50 %)**: 1 likely, 0 fast, 1 rest." in text
    assert "| `file.py` | the edge counts | `a < b` → `a <= b` | likely: `tests/test_a.py::test_b` |" in text
    assert "| `a < b` → `a <= b` | **survived**: not explained |" in text
    assert "| `` a \\| `b` `` → nothing | **survived**: it is the same |" in text

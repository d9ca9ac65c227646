"""The threat model names what holds each promise: that is there, and nothing of the attacks is left out."""

from __future__ import annotations

import ast
import re

import pytest
from attacking import ATTACKERS, listed
from conftest import REPOSITORY
from test_documents import MOST_WORDS, sentences, words

SECURITY = REPOSITORY / "SECURITY.md"
PAGE = REPOSITORY / "docs" / "threat_model.md"
TEXT = PAGE.read_text("utf-8")
ROWS = re.findall(r"^\| (?!promised|---)(.*?) \| (.*) \|$", TEXT, re.MULTILINE)


def promised_by() -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


def promised_by_attacks() -> set[str]:
    """What stands in italics in the second column."""
    return {name for _, held in ROWS for name in re.findall(r"\*([^*]+)\*", held)}


@pytest.mark.parametrize("path", sorted({path for path, _ in promised_by()}))
def test_every_test_that_holds_a_promise_is_there(path: str) -> None:
    tree = ast.parse((REPOSITORY / path).read_text("utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for named, name in promised_by() if named == path} - there == set()


def test_every_attack_that_is_tried_is_named_and_no_other() -> None:
    assert promised_by_attacks() == {one.name for one in listed()}


def test_every_promise_is_held_by_something() -> None:
    assert len(ROWS) > 40
    assert [promise for promise, held in ROWS if "::" not in held and not re.search(r"\*[^*]+\*", held)] == []


def test_every_attacker_has_a_chapter_that_says_what_is_not_promised() -> None:
    chapters = re.split(r"^## The ", TEXT, flags=re.MULTILINE)[1:]
    assert {chapter.split("\n", 1)[0] for chapter in chapters} == {*ATTACKERS, "fleet", "supplier"}
    assert all("**Not promised.**" in chapter for chapter in chapters)
    for one in listed():  # in the chapter of the one who tries it
        chapter = next(each for each in chapters if each.startswith(one.attacker + "\n"))
        assert f"*{one.name}*" in chapter, one.name


def test_the_short_page_leads_to_the_long_one_and_says_how_to_report() -> None:
    text = SECURITY.read_text("utf-8")
    assert "## How to report" in text
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (REPOSITORY / target).is_file(), target
    assert [each for each in sentences(text) if words(each) > MOST_WORDS] == []
    assert "](SECURITY.md)" in (REPOSITORY / "README.md").read_text("utf-8")
    index = (REPOSITORY / "docs" / "index.md").read_text("utf-8")
    assert "](../SECURITY.md)" in index
    assert "](threat_model.md)" in index

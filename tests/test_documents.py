"""The documents for users: short sentences, links that lead somewhere, commands that parse, messages that exist."""

from __future__ import annotations

import argparse
import ast
import doctest
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

from earmark.engine.commands.parser import command_line

README, DOCS = REPOSITORY / "README.md", REPOSITORY / "docs"
USER_PAGES = [
    README,
    *(
        DOCS / f"{name}.md"
        for name in (
            "index",
            "start_here",
            "enrolment",
            "home_assistant",
            "service",
            "library",
            "people",
            "learning",
            "troubleshooting",
            "glossary",
        )
    ),
]
EXPLAINING_PAGES = sorted({*USER_PAGES, *DOCS.glob("*.md")})
LINKED_PAGES = sorted({README, REPOSITORY / "CHANGELOG.md", *DOCS.rglob("*.md")})
MOST_LINES = 150  # of the README: what is read before somebody decides
MOST_WORDS = 35  # of a sentence: it is understood when read once
NICKNAMES = ("asc", "dsp", "gsc", "wuw")  # of corpora, in docs/research/
RATES = {"EER": "equal error rate", "FAR": "false acceptance rate", "FRR": "false rejection rate"}
NOT_COMMANDS = {"earmark people remove"}  # named in general: what it does with whomever
LEAST_PIECE = 10  # characters of a quoted message: fewer are found anywhere


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


def without_code(text: str) -> str:
    """Markdown without comments, code blocks and tables; what is left is prose."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines, in_code, before = [], False, ""
    for line in text.splitlines():
        in_code = line.startswith("    ") and (in_code or not before.strip())
        if not in_code and not line.lstrip().startswith("|"):
            lines.append(line)
        before = line if line.strip() or not in_code else ""
    return "\n".join(lines)


def sentences(text: str) -> Iterator[str]:
    """The sentences of Markdown's prose; an item of a list begins a new one, a piece of code is one word."""
    prose = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", without_code(text))
    prose = re.sub(r"`[^`]*`", "code", prose, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|^#.*$|^ *(?:\*|-|\d+\.) ", prose, flags=re.MULTILINE):
        for sentence in re.split(r"(?<=[.!?])[*_\"”)]*\s+(?=[\"“*_(]*[A-Z0-9a-z])", " ".join(block.split())):
            if re.search(r"\w", sentence):
                yield sentence


def words(sentence: str) -> int:
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def commands(text: str) -> Iterator[str]:
    """Every `earmark …` of code spans and code blocks, as it would be typed."""
    text = re.sub(r"\\\n\s*", " ", text)  # a line that goes on
    blocks = re.findall(r"^```(?!python).*?^```", text, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4,}(.*)", rest, flags=re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", rest)
    lines = [line for block in blocks for line in block.splitlines()] + indented + spans
    for line in lines:
        typed = " ".join(re.sub(r"\s+# .*$", "", line.strip().removeprefix("$ ")).split())
        for part in re.split(r"\s*(?:\||&&|;)\s+", typed):
            found = re.match(r"(?:sudo .*(?=/\S+/earmark )|sudo )?(?:/\S+/)?(earmark [a-z-].*)$", part)
            if found:
                yield found[1]


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def parser() -> argparse.ArgumentParser:
    return command_line()


def said_by_the_program() -> set[str]:
    """The constant pieces of every text in the source, and the lines of what installs."""
    pieces: set[str] = set()
    files = [
        REPOSITORY / "cli.py",
        *(path for room in ("engine", "enroll") for path in (REPOSITORY / room).rglob("*.py")),
    ]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                pieces.update(re.split(r"%\S*[a-z]|\n", node.value))
    pieces.update((REPOSITORY / "scripts" / "install_pi").read_text("utf-8").splitlines())
    return pieces


def test_the_readme_has_150_lines_at_most() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", EXPLAINING_PAGES, ids=ids(EXPLAINING_PAGES))
def test_no_sentence_has_more_than_35_words(page: Path) -> None:
    long = {sentence: words(sentence) for sentence in sentences(page.read_text("utf-8"))}
    assert not {sentence: count for sentence, count in long.items() if count > MOST_WORDS}


@pytest.mark.parametrize("page", LINKED_PAGES, ids=ids(LINKED_PAGES))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists() or (anchor and anchor not in slugs(path)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", USER_PAGES, ids=ids(USER_PAGES))
def test_every_command_that_is_shown_parses(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    for command in commands(page.read_text("utf-8")):
        if command in NOT_COMMANDS:
            continue
        try:
            parser().parse_args(shlex.split(command)[1:])
        except SystemExit as end:  # --version and --help end well
            if end.code:
                wrong[command] = capsys.readouterr().err.splitlines()[-1]
    assert not wrong


def test_the_documents_show_commands_of_every_kind() -> None:
    """Else the test above could pass by finding none."""
    shown = {command.split()[1] for page in USER_PAGES for command in commands(page.read_text("utf-8"))}
    assert shown >= {
        "enroll",
        "replay",
        "listen",
        "evaluate",
        "people",
        "wakes",
        "learn",
        "settings",
        "service",
        "status",
    }


@pytest.mark.parametrize("page", USER_PAGES, ids=ids(USER_PAGES))
def test_no_user_page_calls_a_corpus_by_its_nickname(page: Path) -> None:
    text = re.sub(r"\]\([^)]*\)", "]", page.read_text("utf-8"))
    assert not re.findall(rf"\b(?:{'|'.join(NICKNAMES)})\b", text, flags=re.IGNORECASE)


@pytest.mark.parametrize("short", RATES)
def test_the_readme_spells_a_rate_out_where_it_first_uses_it(short: str) -> None:
    text = " ".join(README.read_text("utf-8").split())
    first = re.search(rf"\b{short}\b", text)
    assert first is not None
    assert text[: first.start()].endswith(f"{RATES[short]} (")


def shares_a_piece(quoted: str, said: set[str]) -> bool:
    """Whether ten characters in a row of a quoted message are also in the source, or all where it has less."""
    for part in filter(None, (part.strip(" :;,()") for part in quoted.split("…"))):
        size = min(LEAST_PIECE, len(part))
        pieces = [part[start : start + size] for start in range(len(part) - size + 1)]
        if len(part) < LEAST_PIECE and part in said:
            return True
        if len(part) >= LEAST_PIECE and any(piece in text for text in said for piece in pieces):
            return True
    return False


def test_every_message_of_troubleshooting_is_one_that_the_program_says() -> None:
    said = said_by_the_program()
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text("utf-8"), flags=re.MULTILINE)
    quoted = list(itertools.chain.from_iterable(re.findall(r"`([^`]+)`", row) for row in rows))
    assert len(quoted) > 40
    assert not [message for message in quoted if not shares_a_piece(message, said)]


@pytest.mark.slow
def test_the_examples_of_the_library_page_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    result = doctest.testfile(str(DOCS / "library.md"), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0

"""No message says nothing: an exception without a text shows its type, wherever it is put into a message."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

from earmark.engine import errors
from earmark.engine.errors import system_text_of, text_of

SOURCES = sorted(
    [*(REPOSITORY / "engine").rglob("*.py"), *(REPOSITORY / "enroll").rglob("*.py"), REPOSITORY / "cli.py"]
)
OURS = {name for name, value in vars(errors).items() if isinstance(value, type)}  # these always have a text
SPEAKING = {"_Lost"}  # of engine/audio/microphone.py, which gives it one


def bare(source: str) -> Iterator[str]:
    """Where an exception of somebody else stands in a message as it is."""
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None or handler.type is None:
            continue
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if {ast.unparse(one).rpartition(".")[2] for one in types} <= OURS | SPEAKING:
            continue
        for node in ast.walk(handler):
            if isinstance(node, ast.FormattedValue) and ast.unparse(node.value) in (
                handler.name,
                f"{handler.name}.strerror",
            ):
                yield f"line {node.lineno}: {ast.unparse(node)}"
            if isinstance(node, ast.Call) and handler.name in map(ast.unparse, node.args):
                called = ast.unparse(node.func)
                if called == "str" or called.startswith("_LOG."):
                    yield f"line {node.lineno}: {called}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_an_exception_of_somebody_else_is_put_into_words_by_text_of(path: Path) -> None:
    assert list(bare(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "use", ['f"failed: {error}"', "str(error)", '_LOG.warning("failed: %s", error)', 'f"failed: {error.strerror}"']
)
def test_an_exception_in_a_message_is_found(use: str) -> None:
    lines = "try:\n    pass\nexcept {} as error:\n    print({})\n"
    assert len(list(bare(lines.format("(OSError, ModelError)", use)))) == 1
    assert list(bare(lines.format("(PersonError, ModelError)", use))) == []


def test_an_exception_without_a_text_shows_its_type() -> None:
    assert text_of(TimeoutError()) == system_text_of(TimeoutError()) == "TimeoutError"
    assert text_of(ValueError("no number")) == "no number"
    assert system_text_of(FileNotFoundError(2, "No such file or directory", "/x")) == "No such file or directory"
    assert system_text_of(OSError("a text of its own")) == "a text of its own"

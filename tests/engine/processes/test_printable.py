"""Nothing that a terminal obeys comes out of a command, whoever chose it."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from pathlib import Path

import pytest
from helpers_store import earmark
from hypothesis import given
from hypothesis import strategies as st

from earmark import cli
from earmark.engine.processes.printable import Printable, printable

ACTIVE = "\x1b]0;title\x07\x1b[2J\x9b31m\r\x7f\u202eevil\u2066"


@given(st.text())
def test_what_is_printable_has_nothing_active_and_is_the_same_to_json(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(letter) == "Cc" and letter not in "\t\n" for letter in shown)
    assert not any(
        unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI") for letter in shown
    )
    assert printable(shown) == shown
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_names_and_lines_stay_as_they_are() -> None:
    text = "Zoë, Анна and 安娜\t😀\nnext\n"
    assert printable(text) == text


def test_a_stream_counts_what_was_given_and_keeps_its_other_ways() -> None:
    behind = io.StringIO()
    stream = Printable(behind)
    assert stream.write("a\x1b") == 2
    stream.writelines(["b\r", "c"])
    assert behind.getvalue() == "a\\u001bb\\u000dc"
    assert stream.rich_proxied_file is behind
    assert stream.isatty() is False


@pytest.mark.parametrize("command", ["replay", "settings", "enroll", "keyword"])
def test_whatever_a_file_is_called_it_comes_out_as_text(tmp_path: Path, command: str) -> None:
    hostile = tmp_path / f"a{ACTIVE}.wav"
    hostile.write_bytes(b"nothing")
    run = {
        "replay": lambda: earmark("replay", "--store", tmp_path, hostile, code=2),
        "settings": lambda: earmark("settings", "check", hostile, code=2),
        "enroll": lambda: earmark("enroll", "anna", "--store", tmp_path / "p", "--from", hostile, code=3),
        "keyword": lambda: earmark("replay", "--keyword", f"{hostile}.json", "x.wav", code=2),
    }[command]()
    assert "\\u001b" in run.out + run.err
    assert printable(run.out + run.err) == run.out + run.err


def test_the_streams_are_what_they_were_when_the_command_has_ended(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import sys

    before = sys.stdout, sys.stderr
    assert cli.main(["settings", "check", str(tmp_path / f"{ACTIVE}.toml")]) == 2
    assert (sys.stdout, sys.stderr) == before
    assert "\\u001b" in capsys.readouterr().err
    logging.getLogger().handlers.clear()

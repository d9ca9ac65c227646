"""What the command line tells who does not know it: lists, examples, suggestions, completion, the man page."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY
from helpers_store import environment, save_cosine
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.commands.parser import command_line
from earmark.engine.commands.parsing.base import Parser
from earmark.engine.commands.parsing.examples import EXAMPLES
from earmark.engine.errors import did_you_mean

GROUPS = ("people", "settings", "service", "mqtt", "wakes", "learn", "fleet")


def parsers(parser: Parser) -> Iterator[Parser]:
    """A parser with all below it."""
    yield parser
    found = parser.commands()
    for inner in found.choices.values() if found else ():
        yield from parsers(inner)


EVERY = {parser.prog: parser for parser in parsers(command_line())}
LEAVES = [leaf.prog for leaf in command_line().leaves()]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """What is said of words that do nothing: standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        command_line().parse_args(words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    return said.out, said.err


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_group_alone_lists_what_there_is_to_do(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, *group.split())
    assert out == ""
    found = EVERY[f"earmark {group}".strip()].commands()
    assert found is not None
    for name, parser in found.choices.items():
        assert f"\n    {name}" in err
        assert parser.description.rstrip(".")[1:] in " ".join(err.split())
    assert "error: " not in err


def test_every_group_of_the_parser_is_tested_here() -> None:
    assert {prog for prog, parser in EVERY.items() if parser.commands()} == {
        "earmark",
        *(f"earmark {group}" for group in GROUPS),
    }


def mistyped(word: str) -> st.SearchStrategy[str]:
    """A letter more, one less, one other, or two exchanged."""
    places = st.integers(0, len(word) - 1)
    letters = st.sampled_from("aeinorst")
    return st.one_of(
        st.builds(lambda at, letter: word[:at] + letter + word[at:], places, letters),
        st.builds(lambda at: word[:at] + word[at + 1 :], places),
        st.builds(lambda at, letter: word[:at] + letter + word[at + 1 :], places, letters),
        st.builds(lambda at: word[:at] + word[at : at + 2][::-1] + word[at + 2 :], places),
    )


@given(st.data())
def test_a_mistyped_command_gets_the_right_one(data: st.DataObject) -> None:
    leaf = data.draw(st.sampled_from(sorted(set(EVERY) - {"earmark"})))
    *group, word = leaf.split()[1:]
    parser = EVERY[" ".join(["earmark", *group])]
    found = parser.commands()
    assert found is not None
    typed = data.draw(mistyped(word).filter(lambda text: text not in found.choices and len(word) > 4))
    with pytest.raises(argparse.ArgumentError, match=f"no command {parser.prog} .*did you mean .*{word}"):
        parser._check_value(found, typed)


@given(st.data())
def test_a_mistyped_option_gets_the_right_one(data: st.DataObject) -> None:
    parser = EVERY[data.draw(st.sampled_from(LEAVES))]
    option = data.draw(st.sampled_from([name for name in parser._option_string_actions if name.startswith("--")]))
    typed = "--" + data.draw(mistyped(option[2:]).filter(lambda text: len(text) > 3 and text[0] != "-"))
    if typed not in parser._option_string_actions:
        assert option in parser.meant(typed + "=3"), typed


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("enrol anna", "did you mean enroll?"),
        ("remove anna", "did you mean `earmark people remove`?"),
        ("help", "did you mean `earmark --help`?"),
        ("xyzzy", "`earmark` lists what there is"),
        ("people xyzzy", "`earmark people` lists what there is"),
        ("enroll anna --form x.wav", "did you mean --from"),
        ("enroll anna --xyzzy x.wav", "unrecognized arguments: --xyzzy x.wav\n"),
        ("--json status", "--json belongs behind `earmark status`"),
        ("replay x.wav --mode lable", "did you mean label?"),
        ("wakes list --type detecton", "did you mean detection"),
    ],
)
def test_who_mistypes_is_told_what_may_be_meant(line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in told(capsys, *line.split())[1]


def test_what_is_far_from_everything_suggests_nothing() -> None:
    assert did_you_mean("xyzzy", ["anna", "berta"]) == ""
    assert did_you_mean("ana", ["anna", "berta"]) == ": did you mean anna?"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path or "earmark")
def test_every_example_can_be_typed(path: str) -> None:
    text = EVERY[f"earmark {path}".strip()].format_help()
    for line, what in EXAMPLES[path]:
        assert f"  {line}" in text
        assert what in text
        words = shlex.split(line.rpartition("|")[2].strip().removeprefix("sudo "))
        assert words[0] == "earmark"
        arguments = command_line().parse_args(words[1:])
        assert arguments.parser.prog.startswith(f"earmark {path}".strip())


def test_what_a_newcomer_needs_has_examples() -> None:
    assert {"", "enroll", "replay", "listen", "doctor", *GROUPS} <= set(EXAMPLES)


# --- the man page


def test_the_man_page_is_what_the_parser_says(tmp_path: Path) -> None:
    """`scripts/parts/man_page.py` writes it; its date is that of the changes, and no clock's."""
    script = REPOSITORY / "scripts" / "parts" / "man_page.py"
    run = [sys.executable, str(script), str(tmp_path / "earmark.1")]
    done = subprocess.run(run, capture_output=True, text=True, env=environment(COLUMNS="40"), check=False)
    assert done.returncode == 0, done.stderr
    committed = (REPOSITORY / "engine" / "commands" / "parsing" / "earmark.1").read_text("utf-8")
    assert (tmp_path / "earmark.1").read_text("utf-8") == committed, f"run python {script}"
    for leaf in LEAVES:
        assert f".SS {leaf}\n" in committed
    assert "EARMARK_PASSPHRASE" in committed
    assert r".B mqtt.host" in committed


# --- completion


def completed(line: str, tmp_path: Path) -> set[str]:
    """What a shell is offered behind a line."""
    if not line.startswith("earmark"):
        raise ValueError(line)
    answer = tmp_path / "answer"
    program = (
        "import os, sys; os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 8); "
        "os.dup2(1, 9); sys.argv = ['earmark']; from earmark.__main__ import main; main()"
    )
    shell = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": "bash",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "XDG_DATA_HOME": str(tmp_path),
    }
    subprocess.run(
        [sys.executable, "-c", program, str(answer)], env=environment(**shell), capture_output=True, check=False
    )
    return {word.strip() for word in answer.read_text("utf-8").split("\n") if word.strip()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("earmark en", {"enroll"}),
        ("earmark people re", {"remove", "rename", "retrain"}),
        ("earmark replay --keyword hey_", {"hey_jarvis", "hey_mycroft"}),
        ("earmark replay --mode ", {"only", "prefer", "label"}),
        ("earmark people show ", {"anna", "berta"}),
        ("earmark wakes list --person a", {"anna"}),
    ],
)
def test_a_shell_completes_commands_people_and_wake_words(line: str, offered: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    for name in ("anna", "berta"):
        save_cosine(tmp_path / "earmark" / "people", name)
    assert offered <= completed(line, tmp_path)


def test_the_place_where_completion_looks_is_marked() -> None:
    """argcomplete's global completion reads the first kilobyte of the file that the console script names."""
    assert b"PYTHON_ARGCOMPLETE_OK" in (REPOSITORY / "__main__.py").read_bytes()[:1024]


def test_without_the_library_a_command_runs_as_ever() -> None:
    program = (
        "import sys; sys.modules['argcomplete'] = None; sys.argv[1:] = ['--help']; "
        "from earmark.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(_ARGCOMPLETE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("usage: earmark"), done.stderr


def test_every_option_that_is_a_number_refuses_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence, and before anything is done: what is beyond 64 bits, negative, or no number."""
    found = 0
    for leaf in command_line().leaves():
        for action in leaf._actions:
            if getattr(action.type, "__name__", "") not in ("natural", "positive"):
                assert action.type is not int
                continue
            found += 1
            for value in (10**22, 2**63, -1, "1" * 5000, "many", "1.5", ""):
                with pytest.raises(SystemExit) as ended:
                    leaf.parse_args(
                        [f"{action.option_strings[-1]}={value}"] if action.option_strings else ["--", f"{value}"]
                    )
                assert ended.value.code == 2
                assert "must be" in capsys.readouterr().err
    assert found >= 12

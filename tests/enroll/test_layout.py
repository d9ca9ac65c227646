"""Text in a terminal: no line is wider, nothing gets lost, however narrow it is and whatever is in it."""

from __future__ import annotations

import io
import os
import pty
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark.enroll.layout import COMMAND, LEAST_COLUMNS, cells, columns_of, table, told, wrapped

COLUMNS = st.integers(LEAST_COLUMNS, 120)
LETTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
TEXTS = st.text(LETTERS, max_size=200)


def squeezed(text: str) -> str:
    return re.sub(r" +", "", text)


@given(TEXTS, COLUMNS, st.sampled_from(["", "✗ ", "  ", "  - "]))
@example("安娜" * 30, 21, "✗ ")
@example("a" * 300, 20, "  - ")
def test_a_paragraph_fits_and_loses_nothing(text: str, columns: int, first: str) -> None:
    lines = wrapped(text, columns, first)
    assert all(cells(line) <= columns for line in lines)
    assert squeezed("".join(lines)) == squeezed(first + text)
    assert all(line.startswith(" " * cells(first)) for line in lines[1:])


def test_words_stay_whole_where_they_fit() -> None:
    assert wrapped("nobody speaks in the kitchen now", 20, "✗ ") == ["✗ nobody speaks in", "  the kitchen now"]


def test_without_a_terminal_a_paragraph_is_one_line() -> None:
    assert wrapped("word " * 100, None, "  ") == ["  " + "word " * 100]


@given(st.lists(st.lists(TEXTS.filter(str.strip), min_size=3, max_size=3), min_size=1, max_size=4), COLUMNS)
def test_a_table_fits_or_is_a_list_and_every_cell_is_in_it(rows: list[list[str]], columns: int) -> None:
    lines = table(("who", "how often", "where"), rows, columns)
    assert all(cells(line) <= columns for line in lines)
    shown = squeezed("".join(lines))
    assert all(squeezed(cell) in shown for row in rows for cell in row)


def test_columns_of_a_table_stand_under_each_other_also_with_wide_letters() -> None:
    lines = table(("name", "takes"), [("安娜", "5"), ("Zoë", "12")], 40)
    assert lines == ["  name  takes", "  安娜  5", "  Zoë   12"]
    assert table(("name", "takes"), [("安娜" * 9, "5")], 40)[-1] == "    takes: 5"


@given(TEXTS, COLUMNS)
def test_a_command_stays_whole_so_that_it_can_be_copied(text: str, columns: int) -> None:
    command = f"earmark enroll {squeezed(text)}x".replace("`", "")
    for shown in (f"Try this.\n{COMMAND}{command}", f"Try this: `{command}`", f"Try `{command}`."):
        line = told(shown, columns)[-1]
        assert line.strip(" ") == command
        assert cells(line) == min(len(COMMAND) + cells(command), max(columns, cells(command))), "indented as it fits"


def test_a_command_within_a_sentence_gets_a_line_of_its_own_on_a_terminal_only() -> None:
    text = "note: the new version counts; `earmark people rollback anna` goes back"
    wanted = ["note: the new version counts;", f"{COMMAND}earmark people rollback anna", "goes back"]
    assert told(text, 40) == wanted
    assert told(text, None) == [text]
    assert told("  - `x` is no command", 40) == ["  - `x` is no command"]


def test_items_of_a_list_are_indented_under_their_text() -> None:
    assert told("  - turn off what makes the noise", 20) == ["  - turn off what", "    makes the noise"]


def test_a_terminal_says_how_wide_it_is_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    monkeypatch.delenv("COLUMNS", raising=False)
    assert columns_of(io.StringIO()) is None
    master, slave = pty.openpty()
    try:
        with os.fdopen(slave, "w") as terminal:
            for columns, found in ((43, 43), (3, LEAST_COLUMNS), (0, 80)):
                fcntl.ioctl(terminal.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                assert columns_of(terminal) == found
            monkeypatch.setenv("COLUMNS", "61")
            assert columns_of(terminal) == 61
            monkeypatch.setenv("COLUMNS", "many")
            assert columns_of(terminal) == 80
        assert columns_of(terminal) is None, "it is closed"
    finally:
        os.close(master)

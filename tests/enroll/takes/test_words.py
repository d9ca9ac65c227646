"""What is said of takes: in words of people, for every reason, without a figure and without a code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.commands.parser import command_line
from earmark.enroll.guided.refusal import OTHERS, WHY, refusal
from earmark.enroll.guided.session import Phase, Session
from earmark.enroll.layout import COMMAND, LEAST_COLUMNS, cells, told
from earmark.enroll.takes import rules
from earmark.enroll.takes.quality import Fault
from earmark.enroll.takes.words import WORDS, spoken

NAMES = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=30)
CODE = re.compile(r"\w_\w|\d+\.\d|dBFS|\bdB\b|--?[a-z_]*_")


def test_every_rule_has_words_and_every_reason_too() -> None:
    assert {rule.reason for rule in rules.ALL} <= set(WORDS)
    assert set(WHY) - set(OTHERS) == set(WORDS) - {"unreadable", "sounds_like_owner"}  # no take at a microphone is


@pytest.mark.parametrize("reason", WORDS)
def test_no_code_and_no_figure_is_said(reason: str) -> None:
    words = WORDS[reason]
    for text in (words.live, words.file, *(tip.text for tip in words.tips)):
        assert not CODE.search(text), text
        assert not re.search(r"\{(?!word\}|name\}|other\})", text), "an unknown mark"
    assert words.live[0].isupper()
    assert words.live.endswith(".")


@pytest.mark.parametrize("reason", sorted({*WORDS} - {"unreadable"}))
def test_of_a_recording_the_words_are_said_and_the_figures_are_not(reason: str) -> None:
    fault = Fault("take1.wav", reason, "okay_nabu scored 0.10 at best")
    for text in (str(fault), fault.told('"Okay Nabu"', "anna")):
        assert text.startswith("take1.wav: ")
        assert "0.10" not in text
        assert reason not in text
    assert fault.figures() == f"{reason}: okay_nabu scored 0.10 at best"


def test_of_a_recording_that_cannot_be_read_it_is_said_why() -> None:
    assert str(Fault("take1.wav", "unreadable", "no such file")) == "take1.wav: no such file"


def test_the_wake_word_and_the_person_are_named_where_they_are_known() -> None:
    fault = Fault("a.wav", "keyword_not_heard", "…")
    assert 'it is not "Okay Nabu"' in fault.told('"Okay Nabu"')
    assert "it is not the wake word" in str(fault)
    assert "only anna may speak" in Fault("a.wav", "other_voice", "…").told(name="anna")


@given(NAMES)
def test_whatever_somebody_is_called_stays_as_it_is(name: str) -> None:
    assert spoken("{name} says {word} {x}", "{name}", name) == f"{name} says {{name}} {{x}}"


@given(st.sampled_from(sorted(WHY)), NAMES, st.integers(LEAST_COLUMNS, 120))
def test_a_refusal_fits_says_why_and_what_to_try_and_its_commands_can_be_typed(
    why: str, name: str, columns: int
) -> None:
    text = refusal(name, '"Okay Nabu"', "alexa", Session(Phase.GIVEN_UP, why=why))
    assert not CODE.search(text.replace(name, ""))
    assert text.startswith(f"{name} was not enrolled. ")
    assert "What you can try:\n  - " in text
    lines = told(text, columns)
    commands = [line for line in text.splitlines() if line.startswith(COMMAND)]
    typed = [command.strip(" ") for command in commands]
    assert all(cells(line) <= columns for line in lines if line.strip(" ") not in typed)
    for command in commands:
        assert command.strip(" ") in [line.strip(" ") for line in lines]
        command_line().parse_args([name if word == name else word for word in command.split()[1:]])


def test_a_refusal_says_the_bad_news_then_what_is_kept_then_what_to_do() -> None:
    session = Session(Phase.GIVEN_UP, why="too_quiet")
    first, second, third, *_ = refusal("anna", '"Okay Nabu"', "alexa", session, "2 good takes are kept").splitlines()
    assert first.startswith("anna was not enrolled.")
    assert (second, third) == ("2 good takes are kept", "What you can try:")


def test_where_no_other_wake_word_is_known_none_is_offered() -> None:
    session = Session(Phase.GIVEN_UP, why="keyword_not_heard")
    assert "--keyword alexa" in refusal("anna", '"Okay Nabu"', "alexa", session)
    assert "--keyword" not in refusal("anna", '"Okay Nabu"', "", session)
    assert "earmark enroll 'Anna Maria' --keyword" in refusal("Anna Maria", "x", "alexa", session)

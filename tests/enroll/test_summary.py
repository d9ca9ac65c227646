"""What an enrolment says at its end: one sentence first, figures only for who asks, and no line too wide."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import Enrolled, Takes
from helpers_store import earmark, make_voiceprint
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.people.store import COSINE, TRAINED, Voiceprint
from earmark.enroll.layout import COMMAND, LEAST_COLUMNS, cells
from earmark.enroll.summary import promise, summary, warnings
from earmark.enroll.training.achieved import Achieved
from earmark.enroll.training.alike import Alike
from earmark.enroll.training.report import of_others

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60)
SCORES = np.array([0.4, 0.8, 0.8, 0.9, 0.95], np.float32)


def person(
    rejected: int = 0, takes: int = 5, far: float = 0.01, name: str = "anna", let_in: int | None = None
) -> Voiceprint:
    """As if of so many takes so many had been rejected."""
    own = np.where(np.arange(takes if takes > 1 else 0) < rejected, 0.4, 0.9).astype(np.float32)
    achieved = {
        kind: Achieved(0.6, own, np.linspace(0, 0.5, 1367, dtype=np.float32), own).to_json()
        for kind in (COSINE, TRAINED)
    }
    report: dict[str, Any] = {
        "wanted_far": far,
        "achieved": achieved,
        "expected_frr": achieved[TRAINED]["frr"],
        "leave_one_out": {TRAINED: {"own": own.tolist(), "margin": 1.0}},
    }
    if let_in is not None:
        report["others"] = of_others(1, 0, 4, np.where(np.arange(4) < let_in, 1.0, 0.0).astype(np.float32), 0.6)
    made = make_voiceprint(name)
    return replace(made, report=report, takes=made.takes[:1].repeat(takes, axis=0))


def in_100(sentence: str) -> int:
    found = re.search(r"heard about (\d+) times in 100; a stranger gets in about once in \d+\.$", sentence)
    assert found is not None, sentence
    return int(found[1])


def test_the_first_line_says_in_one_sentence_what_it_means() -> None:
    assert re.fullmatch(
        r"You will be heard about 9\d times in 100; a stranger gets in about once in 100\.",
        summary(person(), 1, is_you=True)[0],
    )
    assert summary(person(), 1)[0].startswith("anna will be heard about 9")


def test_a_real_enrolment_promises_what_real_people_got(enrolled: Enrolled) -> None:
    voiceprint = enrolled("rms", "okay_nabu").voiceprint
    assert 95 <= in_100(promise(voiceprint)) <= 99  # docs/research/accuracy.md: 1.7 to 6.6 % of tries are rejected


@pytest.mark.parametrize(("far", "once_in"), [(0.01, 100), (0.001, 1000), (0.05, 20), (0.3, 3), (0.03, 33)])
def test_the_stranger_is_as_rare_as_was_asked_for(far: float, once_in: int) -> None:
    assert promise(person(far=far)).endswith(f"a stranger gets in about once in {once_in}.")


def test_fewer_strangers_more_rejected_takes_and_fewer_takes_promise_less() -> None:
    best = in_100(promise(person()))
    assert in_100(promise(person(far=0.001))) < best
    assert in_100(promise(person(rejected=1))) < best
    assert in_100(promise(person(rejected=2))) < in_100(promise(person(rejected=1)))
    counts = [in_100(promise(person(takes=takes))) for takes in (1, 2, 3, 5, 8)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[3]


def test_the_sentence_is_said_as_counts_too_with_whether_that_is_good_and_whom_it_is_about() -> None:
    you = " ".join(summary(person(), 1, is_you=True))
    heard = in_100(promise(person()))
    assert f"of 100 times that you say the wake word, {heard} are heard; of 100 times that a stranger says it" in you
    assert "one is taken for you. That is good. In noise, or with a cold, you will be heard less often." in you
    assert "of 100 times that anna says the wake word" in " ".join(summary(person(), 1))
    assert "of 1000 times that a stranger says it" in " ".join(summary(person(far=0.001), 1))
    for rejected, verdict in ((1, "That is enough"), (3, "That is little")):
        assert verdict in " ".join(summary(person(rejected), 1))


def test_who_shares_the_promise_with_others_is_told_what_that_costs() -> None:
    alone, of_eight = (in_100(promise(person(), people=people)) for people in (1, 8))
    assert of_eight == in_100(promise(person(far=0.01 / 8))) < alone
    told = " ".join(summary(person(), 1, people=8))
    assert f"{of_eight} are heard; of 100 times that a stranger says it, one is taken for somebody who is" in told
    assert "8 people are enrolled for okay_nabu: a stranger must not pass as any of them" in told
    assert f"Alone anna would be heard {alone} times." in told
    assert "people are enrolled" not in " ".join(summary(person(), 1))


def test_a_version_is_named_only_where_there_was_one_before() -> None:
    assert "anna: enrolled for okay_nabu from 5 takes" in summary(person(), 1)
    assert any("(version 2: it counts instead of the one before)" in line for line in summary(person(), 2))


@given(
    st.integers(1, 9).flatmap(lambda takes: st.tuples(st.just(takes), st.integers(0, max(takes - 1, 0)))),
    st.floats(1e-4, 0.5),
)
def test_a_promise_is_never_all_and_never_nothing(counts: tuple[int, int], far: float) -> None:
    takes, rejected = counts
    assert 1 <= in_100(promise(person(rejected, takes, far))) <= 99


def test_figures_are_there_only_with_verbose() -> None:
    for one in (person(), person(rejected=1), person(takes=1), person(let_in=2)):
        brief = "\n".join(summary(one, 1))
        assert not re.search(r"\d\.\d|%|threshold|cosine", brief.replace("--far 0.001", ""))
        full = "\n".join(summary(one, 1, verbose=True))
        assert full.startswith(brief)
        assert re.search(r"\* cosine and trained head +0\.60 ", full)
        assert "95 % confidence" in full or one.report["expected_frr"]["of"] == 0


def test_what_makes_it_worse_is_said_with_what_to_do() -> None:
    assert "unlike the rest" not in " ".join(summary(person(), 1))
    assert "5 takes make it better." in summary(person(takes=3), 1)
    assert f"{COMMAND}earmark enroll anna" in summary(person(rejected=1), 1)
    assert f"{COMMAND}earmark enroll 'anna maria'" in summary(person(rejected=1, name="anna maria"), 1, 80)
    assert f"{COMMAND}earmark enroll anna --far 0.001" in summary(person(let_in=1), 1)
    assert f"{COMMAND}earmark enroll anna --store x --far 0.001" in summary(
        person(let_in=1), 1, again="earmark enroll anna --store x"
    )
    assert not any("--far" in line for line in summary(person(let_in=0), 1))


@given(NAMES, st.integers(LEAST_COLUMNS, 120), st.booleans(), st.integers(0, 2), st.integers(1, 6))
def test_no_line_is_wider_than_the_terminal_and_no_table_is_broken(
    name: str, columns: int, verbose: bool, rejected: int, takes: int
) -> None:
    one = person(min(rejected, max(takes - 1, 0)), takes, name=name, let_in=1)
    lines = summary(one, 1, columns, verbose)
    assert [line for line in lines if cells(line) > columns and "earmark enroll" not in line] == []
    joined = "".join("".join(lines).split())
    assert "".join(f"{name}: enrolled for okay_nabu".split()) in joined
    if verbose:
        for cell in ("cosineandtrainedhead", "0.60", "0of1367(0.0%)"):
            assert cell in joined


def test_who_sounds_alike_is_named_in_words_and_counted_for_who_asks() -> None:
    other = Alike("berta", 3, 5, 1, 5)
    (said,) = warnings(person(), [other])
    assert said.startswith(
        "warning: it cannot tell anna apart from berta: one may be taken for the other. Enrol both"
    )
    assert "3 of 5" not in said
    commands = [line.strip() for line in said.splitlines() if line.startswith(COMMAND)]
    assert commands == ["earmark enroll anna", "earmark enroll berta", "earmark enroll anna --far 0.001"]
    assert "(3 of 5 takes of berta, 1 of 5 the other way round)" in warnings(person(), [other], verbose=True)[0]


@pytest.mark.slow
def test_files_end_with_the_sentence_too_and_a_bad_one_is_named_in_words(takes: Takes, tmp_path: Any) -> None:
    files = [*takes("rms", "okay_nabu", "enroll"), takes("rms", "alexa", "enroll")[0]]
    run = earmark("enroll", "anna", "--store", tmp_path / "people", "--from", *files)
    assert run.out.startswith("anna will be heard about 9")
    assert run.out.endswith(f"anna can now wake it. Try: `earmark listen --store {tmp_path / 'people'}`\n")
    assert "threshold" not in run.out
    assert f"not used: {files[-1]}: it is not the wake word, or not clearly; say it once" in run.err
    assert "keyword_not_heard" not in run.err
    assert "loss" not in run.err
    told = earmark("enroll", "anna", "--store", tmp_path / "people", "--from", *files, "-v")
    assert "own takes rejected" in told.out
    assert "keyword_not_heard: okay_nabu scored" in told.err


@pytest.mark.slow
def test_files_that_are_refused_are_named_in_words(takes: Takes, tmp_path: Any) -> None:
    files = takes("rms", "alexa", "enroll")
    run = earmark("enroll", "anna", "--store", tmp_path / "people", "--from", *files, code=3)
    assert "'anna' was not enrolled: 0 good takes, at least 3 are needed" in run.err
    assert run.err.count('it is not "Okay Nabu", or not clearly') == 5
    assert "keyword_not_heard" not in run.err
    told = earmark("enroll", "anna", "--store", tmp_path / "people", "--from", *files, "-v", code=3)
    assert told.err.count("keyword_not_heard: okay_nabu scored") == 5

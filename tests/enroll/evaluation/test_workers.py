"""Whoever measures a list, the same comes out: threads, processes of any executor, and enrolments that were kept."""

from __future__ import annotations

import importlib
import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Takes

from earmark import cli
from earmark.engine.errors import InputError
from earmark.engine.people.store import Voiceprint
from earmark.enroll.commands import evaluate_shards
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation.asking import Setup, ToEnrol, enrol_one
from earmark.enroll.evaluation.conditions import Conditions
from earmark.enroll.evaluation.evaluate import TrialList, evaluate
from earmark.enroll.evaluation.workers import Threads
from earmark.enroll.options import as_they_are

VOICES = ("slt", "rms", "kal16")
TINY = REPOSITORY / "tests" / "models"


class Elsewhere(Executor):
    """What goes to another process and comes back is pickled, as every executor with processes does it."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        there, given, more = pickle.loads(pickle.dumps((call, arguments, named)))
        done.set_result(pickle.loads(pickle.dumps(there(*given, **more))))
        return done


@pytest.fixture(scope="module")
def setup() -> Setup:
    options = as_they_are()
    return Setup(Enroller.load(TINY), None, replace(options, plan=replace(options.plan, steps=2, copies=1)))


@pytest.fixture(scope="module")
def trials(takes: Takes, tmp_path_factory: pytest.TempPathFactory) -> TrialList:
    gone = tmp_path_factory.mktemp("list") / "gone.flac"
    roles = {
        voice: {"enroll": takes(voice, "okay_nabu", "enroll")[:3], "test": takes(voice, "okay_nabu", "test")[:2]}
        for voice in VOICES
    }
    roles["rms"]["test"] = [gone, *roles["rms"]["test"]]
    return TrialList({"okay_nabu": roles, "alexa": {"slt": {"enroll": [gone]}}})


def test_several_threads_find_what_one_finds(trials: TrialList, setup: Setup) -> None:
    alone = evaluate(trials, setup).to_json(per_person=True)
    assert alone["trials"] == {"target": 6, "impostor": 12}
    assert len(alone["refused"]) == 1
    assert evaluate(trials, setup, Threads(3)).to_json(per_person=True) == alone


def test_threads_work_at_the_same_time_each_with_networks_of_its_own(setup: Setup) -> None:
    """Each waits for the other: one thread alone would never come back."""
    both = threading.Barrier(2, timeout=60)

    def work(mine: Setup, item: int) -> tuple[int, int]:
        both.wait()
        return item, id(mine.enroller.speaker)

    told: list[int] = []
    answers = Threads(2).map("hearing", work, [0, 1], replace(setup, on_progress=lambda *at: told.append(at[1])))
    assert [item for item, _ in answers] == [0, 1]
    assert len({network for _, network in answers}) == 2
    assert told == [1, 2]


def test_an_error_ends_the_work_and_what_waits_is_not_begun(setup: Setup) -> None:
    """Whether the work fails, or somebody ends it meanwhile."""
    begun: list[int] = []

    def fail(_: Setup, item: int) -> int:
        raise InputError(f"item {item}")

    def work(_: Setup, item: int) -> int:
        begun.append(item)
        return sum(range(20_000))  # half a millisecond

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InputError, match="item 0"):
        Threads(1).map("hearing", fail, range(10), setup)
    with pytest.raises(KeyboardInterrupt):
        Threads(1).map("hearing", work, range(2000), replace(setup, on_progress=end))
    assert len(begun) < 2000


@pytest.mark.slow
def test_shards_elsewhere_give_the_same_to_the_last_digit(
    takes: Takes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["path,speaker,phrase,role"]
    for voice in VOICES:
        rows += [f"{path},{voice},okay_nabu,enroll" for path in takes(voice, "okay_nabu", "enroll")[:1]]
        rows += [f"{path},{voice},okay_nabu,test" for path in takes(voice, "okay_nabu", "test")[:2]]
    file = tmp_path / "trials.csv"
    file.write_text("\n".join(rows) + "\n", "utf-8")
    options = [str(file), "--any-phrase", "--models", str(TINY), "--telephone", "mu-law", "--per-person"]
    assert cli.main(["evaluate", *options, "--json", "-", "--threads", "1"]) == 0
    alone = json.loads(capsys.readouterr().out)
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "studies")
    shards = importlib.import_module("shards")
    monkeypatch.setattr(evaluate_shards, "SHARD", 2)
    monkeypatch.setattr(shards, "ProcessPoolExecutor", lambda *_: Elsewhere())
    monkeypatch.setattr("sys.argv", ["shards.py", *options, "--json", "-"])
    assert shards.main() == 0
    assert json.loads(capsys.readouterr().out) == alone


# --- enrolments that are kept


def same(one: Voiceprint, other: Voiceprint) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("takes", "centroid", "prototype", "elsewhere", "offsets", "threshold", "name", "keyword")
    ) and np.array_equal(one.weights.projection, other.weights.projection)


def test_who_was_enrolled_is_not_enrolled_again(
    trials: TrialList, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = replace(setup, kept=tmp_path / "kept")
    alone = evaluate(trials, setup).to_json(per_person=True)
    assert evaluate(trials, keeping).to_json(per_person=True) == alone
    monkeypatch.setattr(Enroller, "enrol", None)
    people = {"okay_nabu": trials.people["okay_nabu"]}  # nobody of the other phrase can be enrolled at all
    again = evaluate(TrialList(people), keeping).to_json(per_person=True)
    assert again["systems"] == alone["systems"]
    assert again["people"] == alone["people"]


def test_another_take_condition_or_option_is_another_enrolment(takes: Takes, setup: Setup, tmp_path: Path) -> None:
    first, second, *_ = takes("slt", "okay_nabu", "enroll")
    keeping = replace(setup, kept=tmp_path)
    noise = [np.arange(16_000, dtype=np.int16)]
    asked = [
        (keeping, [first]),
        (keeping, [second]),
        (replace(keeping, options=replace(setup.options, far=0.001)), [first]),
        (replace(keeping, take_conditions=Conditions(gain_db=-3.0)), [first]),
        (replace(keeping, take_conditions=Conditions(noises=noise)), [first]),
        (replace(keeping, take_conditions=Conditions(noises=[-noise[0]])), [first]),
    ]
    found = [enrol_one(each, ToEnrol("word", "anna", files)).voiceprint for each, files in asked]
    assert len([*tmp_path.iterdir()]) == len(asked)
    again = enrol_one(keeping, ToEnrol("word", "bob", [first])).voiceprint
    assert again is not None
    assert found[0] is not None
    assert same(again, replace(found[0], name="bob"))
    assert len([*tmp_path.iterdir()]) == len(asked)


def test_what_is_kept_is_for_its_owner_alone_and_what_is_damaged_is_named(
    takes: Takes, setup: Setup, tmp_path: Path
) -> None:
    one = ToEnrol("word", "a/b: no name in a store", takes("slt", "okay_nabu", "enroll")[:1])
    keeping = replace(setup, kept=tmp_path / "kept")
    made, again = (enrol_one(keeping, one).voiceprint for _ in range(2))
    assert made is not None
    assert again is not None
    assert same(made, again)
    (folder,) = (tmp_path / "kept").iterdir()
    assert {path.stat().st_mode & 0o077 for path in (folder.parent, folder, *folder.iterdir())} == {0}
    (folder / "arrays.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"damaged: .*: remove it, and it is made anew"):
        enrol_one(keeping, one)


def test_where_nothing_can_be_kept_it_is_said(takes: Takes, setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = ToEnrol("word", "anna", takes("slt", "okay_nabu", "enroll")[:1])
    with pytest.raises(InputError, match="cannot be written"):
        enrol_one(replace(setup, kept=tmp_path / "file"), one)

"""The table of rules for takes: every limit of every rule from both sides, and the order in which they count."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from earmark.enroll.takes import rules
from earmark.enroll.takes.figures import Figures
from earmark.enroll.takes.hearing import Pair
from earmark.enroll.takes.measure import Sound
from earmark.enroll.takes.quality import Unheard
from earmark.enroll.takes.rules import ALL, AS_THEY_ARE, RULES, Limits, Rule, first_broken
from earmark.enroll.takes.words import WORDS

GOOD: dict[str, Any] = {
    "clipped_share": 0.0,
    "clipped_percent": 0.0,
    "level_dbfs": -20.0,
    "worst_snr_db": 30.0,
    "voicing": 0.95,
    "above_room_db": None,
    "steady_db": 30.0,
    "phrase_s": 0.8,
    "spoken_s": 0.8,
    "length_share": 1.0,
    "active_share": 1.0,
    "edge_db": -70.0,
    "quieter_edge_db": -75.0,
    "edge_above_floor_db": 0.0,
    "distance_ms": 500.0,
    "end": "begins",
    "score": 0.6,
    "cosine": 0.8,
    "likeness": 0.3,
    "name": "okay_nabu",
    "cutoff": 0.97,
    "file": "take 1",
}
"""The figures of a good take."""

FIRES: dict[str, dict[str, tuple[float, float]]] = {
    "clipped": {"clipped_share": (0.031, 0.03)},
    "short_and_loud_at_an_end": {"edge_db": (-11.9, -12.0), "active_share": (1.09, 1.1)},
    "short_and_not_faded_out": {
        "active_share": (0.89, 0.9),
        "distance_ms": (0.0, 10.0),
        "edge_db": (-29.9, -30.0),
        "edge_above_floor_db": (12.1, 12.0),
    },
    "shorter_and_at_an_end": {
        "length_share": (0.79, 0.8),
        "distance_ms": (30.0, 40.0),
        "edge_db": (-59.9, -60.0),
        "active_share": (1.09, 1.1),
    },
    "cut_in_a_stop": {
        "length_share": (0.64, 0.65),
        "active_share": (0.64, 0.65),
        "distance_ms": (100.0, 110.0),
        "edge_db": (-59.9, -60.0),
    },
    "only_the_room": {"worst_snr_db": (8.9, 9.0), "above_room_db": (4.9, 5.0)},
    "only_steady_noise": {"worst_snr_db": (8.9, 9.0), "steady_db": (2.9, 3.0)},
    "noise": {"worst_snr_db": (8.9, 9.0)},
    "quiet_without_a_voice": {"level_dbfs": (-42.1, -42.0), "voicing": (0.49, 0.5)},
    "quiet": {"level_dbfs": (-42.1, -42.0)},
    "sentence_of_any_phrase": {"phrase_s": (4.01, 4.0)},
    "noise_over_the_vowels": {"worst_snr_db": (14.9, 15.0), "voicing": (0.74, 0.75)},
    "loud_at_both_ends": {"quieter_edge_db": (-14.9, -15.0)},
    "more_than_a_word_and_loud_at_an_end": {"active_share": (1.26, 1.25), "edge_db": (-11.9, -12.0)},
    "far_more_than_a_word": {"active_share": (2.21, 2.2), "edge_db": (-24.9, -25.0)},
    "more_than_a_word_without_clear_vowels": {
        "active_share": (1.41, 1.4),
        "edge_db": (-24.9, -25.0),
        "voicing": (0.89, 0.9),
    },
    "loud_at_an_end": {"edge_db": (-11.9, -12.0)},
    "shorter_at_an_end_though_louder": {
        "length_share": (0.79, 0.8),
        "distance_ms": (30.0, 40.0),
        "edge_db": (-59.9, -60.0),
    },
    "unheard_and_not_faded_out": {
        "distance_ms": (0.0, 10.0),
        "edge_db": (-29.9, -30.0),
        "edge_above_floor_db": (20.1, 20.0),
    },
    "noise_louder_than_the_word": {"worst_snr_db": (-0.1, 0.0)},
    "unlike_the_word": {"score": (0.149, 0.15)},
    "sentence_around_the_word": {"spoken_s": (3.01, 3.0), "worst_snr_db": (9.0, 8.9)},
    "copy": {"cosine": (0.9981, 0.998)},
    "coded_copy": {"likeness": (0.921, 0.92)},
}
"""Rule -> figure -> just beyond its limit, and just on the other side of it."""

BY_NAME = {rule.name: rule for rule in ALL}


def figures(**changed: float | str | None) -> Any:
    return SimpleNamespace(**{**GOOD, **changed})


def test_every_rule_has_a_case_for_each_of_its_limits() -> None:
    assert {rule.name: [one.figure for one in rule.conditions] for rule in ALL} == {
        name: list(case) for name, case in FIRES.items()
    }
    assert len(BY_NAME) == len(ALL)


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_is_broken_beyond_all_of_its_limits_and_not_on_the_other_side_of_one(name: str) -> None:
    rule, case = BY_NAME[name], FIRES[name]
    beyond = {figure: values[0] for figure, values in case.items()}
    assert rule.broken(figures(**beyond))
    for figure, (_, inside) in case.items():
        assert not rule.broken(figures(**{**beyond, figure: inside})), figure
        assert not rule.broken(figures(**{**beyond, figure: None})), f"{figure} is unknown"
    assert not rule.broken(figures())


@pytest.mark.parametrize("name", FIRES)
def test_a_rule_says_why_it_is_there_where_it_was_measured_and_what_tries_it_with_sound(name: str) -> None:
    rule = BY_NAME[name]
    assert rule.reason in WORDS
    assert re.fullmatch(r".{30,}\.", rule.why), "one sentence"
    assert all(one.unit for one in rule.conditions)
    assert f"| {rule.row}" in (REPOSITORY / "docs" / "research" / "quality.md").read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in (REPOSITORY / "tests" / "enroll" / "takes").glob("test_*.py"))
    assert f"def {rule.test}(" in tests


def test_every_figure_that_a_rule_looks_at_is_there(rng: np.random.Generator) -> None:
    """The figures of the table are strings: a wrong one would be seen only by the take that gets so far."""
    sound = Sound(rng.normal(0, 3000, 16000).astype(np.int16), np.ones(40, np.float32))
    of_sound = Figures(sound, "ends", (True, True), True, (1.0, 1.0))
    for rule in ALL:
        pair = Pair(0.5, "f", 0.3)
        other: dict[str, Any] = {"unlike_the_word": Unheard("w", 0.5, 0.9), "copy": pair, "coded_copy": pair}
        judged = other.get(rule.name, of_sound)
        assert [
            one.figure for one in rule.conditions if not isinstance(getattr(judged, one.figure), (float, int))
        ] in (
            [],
            ["steady_db"],  # a room is known, which says more
        )
        assert rule.told(judged)
    assert {one.field for rule in ALL for one in rule.conditions} - {""} <= {each.name for each in fields(Limits)}


# --- the order


def reason(limits: Limits | None = None, **changed: float | str | None) -> str | None:
    found = first_broken([figures(**changed)], limits or Limits())
    return found[0] if found else None


@pytest.mark.parametrize(
    ("wins", "changed"),
    [
        ("clipped", {"clipped_share": 0.5, "edge_db": -5.0, "worst_snr_db": 0.0, "level_dbfs": -60.0}),
        ("cut_off", {"edge_db": -5.0, "active_share": 0.5, "worst_snr_db": 0.0, "level_dbfs": -60.0}),
        ("nothing_said", {"worst_snr_db": 0.0, "above_room_db": 1.0, "level_dbfs": -60.0, "phrase_s": 9.0}),
        ("nothing_said", {"worst_snr_db": 0.0, "steady_db": 1.0, "level_dbfs": -60.0, "phrase_s": 9.0}),
        ("too_noisy", {"worst_snr_db": 0.0, "above_room_db": 9.0, "level_dbfs": -60.0, "phrase_s": 9.0}),
        ("nothing_said", {"level_dbfs": -60.0, "voicing": 0.1, "phrase_s": 9.0}),
        ("too_quiet", {"level_dbfs": -60.0, "phrase_s": 9.0, "edge_db": -5.0, "active_share": 1.2}),
        ("too_long", {"phrase_s": 9.0, "worst_snr_db": 12.0, "voicing": 0.6, "quieter_edge_db": -5.0}),
        ("too_noisy", {"worst_snr_db": 12.0, "voicing": 0.6, "edge_db": -5.0, "active_share": 1.2}),
        ("too_noisy", {"quieter_edge_db": -5.0, "edge_db": -5.0, "active_share": 1.2}),
        ("too_noisy", {"edge_db": -5.0, "active_share": 1.3}),
        ("cut_off", {"edge_db": -5.0, "active_share": 1.2}),
        ("cut_off", {"edge_db": -5.0, "active_share": None}),
        (None, {}),
    ],
)
def test_of_several_faults_the_cause_wins(wins: str | None, changed: dict[str, Any]) -> None:
    assert reason(**changed) == wins


def test_either_end_may_be_cut_and_is_named() -> None:
    whole, cut = figures(), figures(edge_db=-5.0, end="ends")
    for both in ((whole, cut), (cut, whole)):
        assert first_broken(both, Limits()) == ("cut_off", "the recording ends within the word")


def test_limits_that_are_given_count_instead_of_those_of_the_table() -> None:
    strict = Limits(clipped_share=0.01, quiet_dbfs=-30.0, min_snr_db=20.0)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"clipped_share": 0.02, "clipped_percent": 2.0}, "clipped"),
        ({"level_dbfs": -35.0}, "too_quiet"),
        ({"worst_snr_db": 18.0}, "too_noisy"),
    )
    for changed, found in cases:
        assert (reason(**changed), reason(strict, **changed)) == (None, found)
    told = first_broken([figures(worst_snr_db=18.04)], strict)
    assert told == ("too_noisy", "the speech is 18.0 dB above the noise, at least 20 needed")


def test_where_takes_are_used_as_they_are_nothing_around_them_counts() -> None:
    around = [rule for rule in RULES if rule.around]
    assert {rule.reason for rule in around} == {"cut_off", "too_noisy"}
    for rule in RULES:
        beyond = figures(**{figure: values[0] for figure, values in FIRES[rule.name].items()})
        assert rule.broken(beyond, replace(Limits(), cut=False)) == (not rule.around), rule.name
    assert reason(AS_THEY_ARE, worst_snr_db=-10.0, edge_db=-5.0, level_dbfs=-59.0) is None
    assert reason(AS_THEY_ARE, level_dbfs=-61.0) == "too_quiet"


def test_the_order_told_is_the_order_of_the_table() -> None:
    told = re.findall(r"^\d\. \*\*(\w+)", str(rules.__doc__), re.M)
    assert told == ["clipped", "cut_off", "nothing_said", "too_noisy", "too_long", "too_noisy", "cut_off"]
    table = [rule.reason for rule in RULES]
    first = list(dict.fromkeys(table))
    assert first == ["clipped", "cut_off", "nothing_said", "too_noisy", "too_quiet", "too_long"]
    assert table[table.index("too_long") + 1 :] == ["too_noisy"] * 5 + ["cut_off"] * 2


def test_a_rule_cannot_be_changed_by_whoever_reads_it() -> None:
    assert isinstance(RULES[0], Rule)
    rule: Any = RULES[0]
    with pytest.raises(AttributeError):
        rule.reason = "other"

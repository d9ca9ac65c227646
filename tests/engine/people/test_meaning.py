"""A voiceprint with right checksums is believed only where its numbers can be what they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers_learning import with_learned
from helpers_store import make_voiceprint, unit
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.errors import PersonDamaged
from earmark.engine.networks.card import Card, load_card
from earmark.engine.people import codec, meaning
from earmark.engine.people.loading import check_networks
from earmark.engine.people.store import COSINE, TRAINED, Voiceprint
from earmark.engine.people.voiceprint import Binding

ODD = st.none() | st.booleans() | st.sampled_from([-1, 10**400, 1e308, float("nan"), "x", [], {}, [[1]]])


def voiceprint() -> Voiceprint:
    made = with_learned(make_voiceprint("anna", kind=TRAINED), 2)
    copies = unit(np.random.default_rng(1).standard_normal((5, 6, 192))).astype(np.float16).astype(np.float32)
    far = {"accepted": 0, "of": 9, "share": 0.0}
    frr = {"rejected": 0, "of": 5, "ci95": [0.0, 0.5]}
    achieved = {kind: {"threshold": 0.6, "frr": frr, "far": far} for kind in (COSINE, TRAINED)}
    report = {"seed": 0, "wanted_far": 0.01, "kept": TRAINED, "impostors": 9, "cosine_threshold": 0.6}
    report.update(expected_frr=frr, achieved=achieved, takes_snr_db=20.0, home_impostors=3, home_said=0)
    return replace(made, copies=copies, report={**report, "leave_one_out": {TRAINED: {"own": [0.5], "margin": 1.0}}})


def test_an_honest_one_passes_and_comes_back() -> None:
    assert codec.decode(codec.encode(voiceprint())).learned == voiceprint().learned


@pytest.mark.parametrize("array", ["takes", "centroid", "prototype", "copies"])
@pytest.mark.parametrize("factor", [3000.0, 1e6, 1.002, 0.998, 0.0, 1e-20])
def test_rows_that_are_not_of_unit_length_are_refused(array: str, factor: float) -> None:
    person = voiceprint()
    with pytest.raises(ValueError, match=rf"row \d+ of {array} has the length .*, it must be 1"):
        meaning.check(replace(person, **{array: getattr(person, array) * np.float32(factor)}))


def test_one_row_of_many_is_enough() -> None:
    takes = voiceprint().takes.copy()
    takes[3] *= 2
    with pytest.raises(ValueError, match="row 3 of takes has the length 2, it must be 1"):
        meaning.check(replace(voiceprint(), takes=takes))


def test_the_rounding_of_the_files_passes() -> None:
    person = voiceprint()
    for factor in (1.0009, 0.9991):
        meaning.check(replace(person, centroid=person.centroid * np.float32(factor)))


@pytest.mark.parametrize("threshold", [-1.0, -0.1, 0.0, 1.01, float("nan"), float("inf")])
def test_a_threshold_that_half_of_all_voices_pass_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold=.* must be above 0 and at most 1"):
        meaning.check(replace(voiceprint(), threshold=threshold))


def test_a_projection_that_tells_nobody_apart_is_refused() -> None:
    person = voiceprint()
    weights = replace(person.weights, projection=np.zeros_like(person.weights.projection))
    with pytest.raises(ValueError, match="projection is all zero"):
        meaning.check(replace(person, weights=weights))


@pytest.mark.parametrize("key", sorted(meaning._REPORT))
@given(odd=ODD)
def test_a_figure_of_the_report_is_what_it_is_called_or_the_voiceprint_is_refused(key: str, odd: Any) -> None:
    """Nothing that a command prints or computes with is of another kind; what may be is an empty list of figures."""
    person = voiceprint()
    may_be = {"achieved": {}, "leave_one_out": {}, "cosine_threshold": -1, "takes_snr_db": -1, "takes_high_db": -1}
    if key in may_be and type(odd) is type(may_be[key]) and odd == may_be[key]:
        return
    with pytest.raises(ValueError, match=rf"report: {key}=.* cannot be"):
        meaning.check(replace(person, report={**person.report, key: odd}))


@pytest.mark.parametrize("key", sorted({*meaning._FACTS, *meaning._LEARNED}))
@given(odd=ODD)
def test_a_fact_of_what_was_learned_is_what_it_is_called_or_the_voiceprint_is_refused(key: str, odd: Any) -> None:
    person = voiceprint()
    may_be = {"type": str, "keyword": str, "source": str, "speaker_sha256": str}
    if isinstance(odd, may_be.get(key, tuple)) or (odd is None and key in ("score", "label", "person")):
        return
    if (odd == "x" and key in ("person", "label")) or (odd == -1 and key == "score"):
        return
    with pytest.raises(ValueError, match="cannot be"):
        meaning.check(replace(person, learned=({**person.learned[0], key: odd}, person.learned[1])))


@pytest.mark.parametrize("key", sorted(meaning._FACTS))
def test_a_fact_that_is_missing_is_said(key: str) -> None:
    facts = {name: value for name, value in voiceprint().learned[0].items() if name != key}
    with pytest.raises(ValueError, match=rf"what was learned must have .*{key}"):
        meaning.check(replace(voiceprint(), learned=(facts,)))


def fitting() -> tuple[Voiceprint, Card, Card]:
    speaker, head = load_card("speaker"), load_card("head")
    return replace(voiceprint(), binding=Binding("k", speaker.sha256, head.sha256)), speaker, head


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("takes", lambda person: replace(person, takes=person.takes[:, :96])),
        ("projection", lambda p: replace(p, weights=replace(p.weights, projection=p.weights.projection[:, :64]))),
        ("bias", lambda p: replace(p, weights=replace(p.weights, bias=np.zeros(2, np.float32)))),
    ],
)
def test_who_claims_to_be_of_the_networks_in_use_must_be_of_their_sizes(
    array: str, change: Callable[[Voiceprint], Voiceprint]
) -> None:
    person, speaker, head = fitting()
    check_networks(person, "k", speaker, head)
    with pytest.raises(PersonDamaged, match=f"'anna' .* cannot be of these networks: {array} has"):
        check_networks(change(person), "k", speaker, head)

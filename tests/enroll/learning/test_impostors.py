"""Who of those that were rejected at home is a stranger: plain vectors at the edges of both conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_store import make_voiceprint

from earmark.engine.audio.samples import Float32
from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.learning.impostors import HomeImpostors, impostors, unit_rows

AXES = np.eye(6, dtype=np.float32)
FAR = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
AT_HALF = (0.0, 0.5, 0.5, 0.5, 0.5, 0.0)
"""A cosine of exactly 0.5 to the second axis, and 0 to the first."""


def rows(*vectors: tuple[float, ...]) -> Float32:
    return np.array(vectors, np.float32)


def person(threshold: float = 0.7, name: str = "anna", keyword: str = "okay_nabu") -> Voiceprint:
    """Two takes, both along the first axis, and no variations."""
    made = make_voiceprint(name, keyword, COSINE, threshold=threshold)
    return replace(made, takes=AXES[[0, 0]], centroid=AXES[0], copies=np.zeros((2, 0, 6), np.float32))


def strangers(found: Float32, *people: Voiceprint) -> list[bool]:
    """Which of (n, 6) rows are impostors."""
    return [len(impostors(row[None], people, Verifier([]))) == 1 for row in found]


def test_who_is_far_below_the_threshold_is_a_stranger() -> None:
    assert strangers(rows(FAR), person()) == [True]
    assert strangers(rows((1.0, 0.0, 0.0, 0.0, 0.0, 0.0)), person()) == [False]


def test_so_far_below_is_more_than_two_tenths() -> None:
    """The score is 0: at a threshold of 0.2 exactly it is in doubt, a little above that it is not."""
    assert strangers(rows(FAR), person(0.2)) == [False]
    assert strangers(rows(FAR), person(0.201)) == [True]
    assert strangers(rows(FAR), person(0.199)) == [False]


def test_far_below_the_threshold_but_near_a_single_take_is_none() -> None:
    """One take in another voice, as of a cold: the mean hardly knows it."""
    hoarse = replace(person(), takes=AXES[[0, 0, 0, 0, 1]])
    like_it = rows((0.0, 0.9, 0.0, 0.0, 0.0, np.sqrt(1 - 0.81)))
    assert strangers(like_it, person()) == [True]
    assert strangers(like_it, hoarse) == [False]


def test_far_below_the_threshold_but_near_a_single_variation_is_none() -> None:
    """Variations lie in the store as float16, so their length need not be 1."""
    copies = np.zeros((2, 3, 6), np.float32)
    copies[:, :, 0] = 1
    for length in (1.0, 0.3, 3.0):
        copies[1, 2] = length * AXES[1]
        varied = replace(person(), copies=copies)
        assert strangers(rows(AT_HALF, (0.0, 0.49, *AT_HALF[2:])), varied) == [False, True]


def test_near_is_a_cosine_of_one_half_or_more() -> None:
    hoarse = replace(person(), takes=AXES[[0, 1]])
    less = (0.0, float(np.nextafter(np.float32(0.5), np.float32(0))), *AT_HALF[2:])
    assert strangers(rows(AT_HALF, less), hoarse) == [False, True]


def test_everybody_who_is_enrolled_has_a_say() -> None:
    """Also for another wake word, in whatever order."""
    bert = replace(person(name="bert", keyword="alexa"), takes=AXES[[1, 1]], centroid=AXES[1])
    found = rows(FAR, tuple(AXES[0]), tuple(AXES[1]))
    assert strangers(found, person()) == [True, False, True]
    assert strangers(found, person(), bert) == strangers(found, bert, person()) == [True, False, False]
    assert strangers(found) == [True] * 3


def test_the_strangers_come_back_as_they_were_in_their_order() -> None:
    found = rows(FAR, tuple(AXES[0]), tuple(AXES[3]), tuple(AXES[2]))
    np.testing.assert_array_equal(impostors(found, [person()], Verifier([])), found[[0, 2, 3]])
    assert impostors(found[:0], [person()], Verifier([])).shape == (0, 6)


def test_who_was_said_to_be_a_stranger_comes_first() -> None:
    home = HomeImpostors(rows(FAR), rows(tuple(AXES[1])))
    np.testing.assert_array_equal(home.everybody, rows(tuple(AXES[1]), FAR))
    assert HomeImpostors.nobody(6).everybody.shape == (0, 6)


def test_rows_get_unit_length_again() -> None:
    np.testing.assert_allclose(unit_rows(rows((3.0, 4.0), (0.0, 0.0))), [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    assert unit_rows(np.zeros((0, 6), np.float32)).shape == (0, 6)


@pytest.mark.parametrize("shape", [(0, 0, 0), (2, 0, 6)])
def test_who_has_no_variations_is_asked_by_the_takes(shape: tuple[int, ...]) -> None:
    bare = replace(person(), copies=np.zeros(shape, np.float32))
    assert strangers(rows(FAR, tuple(AXES[0])), bare) == [True, False]

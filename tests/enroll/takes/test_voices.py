"""Which of several takes is another voice's, on plain vectors."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.audio.samples import Float32
from earmark.enroll.takes import voices

ONE = (1.0, 0.0, 0.0, 0.0)
AT_HALF = (0.5, 0.5, 0.5, 0.5)  # a cosine of exactly 0.5 to ONE
OTHER = (0.0, 0.0, 0.0, 1.0)


def rows(*vectors: tuple[float, ...]) -> Float32:
    return np.array(vectors, np.float32)


def turned(cosine: float) -> tuple[float, ...]:
    """A unit vector of that cosine to ONE."""
    return (cosine, float(np.sqrt(1 - cosine**2)), 0.0, 0.0)


def test_of_two_takes_the_later_one_is_odd() -> None:
    assert voices.odd(rows(ONE, OTHER)) == {1: 0.0}
    assert voices.odd(rows(OTHER, ONE)) == {1: 0.0}


def test_the_limit_itself_is_the_same_voice() -> None:
    assert voices.odd(rows(ONE, AT_HALF)) == {}
    (number,) = voices.odd(rows(ONE, turned(0.499)))
    assert number == 1


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("count", [3, 4, 5])
def test_of_three_or_more_the_one_least_like_the_others_is_odd(count: int, place: int) -> None:
    place = min(place, count - 1)
    vectors = [turned(1 - 0.01 * number) for number in range(count)]
    vectors[place] = OTHER
    found = voices.odd(rows(*vectors))
    assert found == {place: pytest.approx(0, abs=1e-6)}


def test_of_three_takes_that_all_differ_one_is_odd_and_no_more() -> None:
    """Two against one is a majority; one against one is none."""
    assert list(voices.odd(rows(ONE, (0.0, 1.0, 0.0, 0.0), OTHER))) == [0]


def test_of_five_takes_that_all_differ_two_are_odd_and_no_more() -> None:
    """Three of five are a majority, whoever they are."""
    assert len(voices.odd(np.eye(5, dtype=np.float32))) == 2
    assert len(voices.odd(np.eye(7, dtype=np.float32))) == 3
    assert len(voices.odd(np.eye(4, dtype=np.float32))) == 2


def test_two_of_five_may_be_odd_and_their_voices_are_named_worst_first() -> None:
    found = voices.odd(rows(turned(0.1), ONE, turned(0.99), turned(0.98), OTHER))
    assert list(found) == [4, 0]
    assert found[0] > found[4]


def test_fewer_takes_than_asked_for_are_of_one_voice() -> None:
    three = rows(ONE, turned(0.99), OTHER)
    assert voices.odd(three, least=4) == {}
    assert list(voices.odd(three, least=3)) == [2]
    assert voices.odd(rows(ONE)) == voices.odd(rows(ONE)[:0]) == {}


def test_a_score_is_the_cosine_to_the_mean_of_the_others() -> None:
    np.testing.assert_allclose(
        voices.scores(rows(ONE, (0.0, 1.0, 0.0, 0.0), (0.6, 0.8, 0.0, 0.0))),
        [0.6 / np.hypot(0.6, 1.8), 0.8 / np.hypot(1.6, 0.8), 1.4 / np.sqrt(2)],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(voices.scores(rows(ONE, (-1.0, 0.0, 0.0, 0.0))), [-1, -1])


@pytest.mark.parametrize(("takes", "limit"), [(2, 0.50), (3, 0.52), (4, 0.53), (5, 0.54), (40, 0.54)])
def test_the_limit_rises_with_the_takes(takes: int, limit: float) -> None:
    assert voices.limit(takes) == limit


def voice(seed: int, count: int, spread: float) -> Float32:
    """Takes of one voice: (count, 192) unit rows, about their own mean."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(192)
    takes = centre / np.linalg.norm(centre) + spread * rng.standard_normal((count, 192)) / np.sqrt(192)
    unit: Float32 = (takes / np.linalg.norm(takes, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 6), st.randoms(use_true_random=False))
def test_two_people_who_share_the_takes_are_told_apart_in_any_order(
    seed: int, first: int, second: int, order: random.Random
) -> None:
    shuffled = list(range(first + second))
    order.shuffle(shuffled)
    both = np.concatenate([voice(seed, first, 0.5), voice(seed + 1, second, 0.5)])[shuffled]
    groups = voices.two_groups(both)
    assert groups is not None
    assert len(groups[0]) <= len(groups[1])
    parted = [sorted(shuffled[number] for number in group) for group in groups]
    assert sorted(parted) == [list(range(first)), list(range(first, first + second))]


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.01, 0.7))
def test_the_takes_of_one_person_are_one_group(seed: int, count: int, spread: float) -> None:
    assert voices.two_groups(voice(seed, count, spread)) is None


def test_two_takes_that_are_like_nothing_are_no_second_person() -> None:
    one = voice(1, 5, 0.4)
    assert voices.two_groups(np.concatenate([one, voice(2, 1, 0.4), voice(3, 1, 0.4)])) is None
    assert voices.two_groups(np.concatenate([one, voice(2, 2, 0.4)])) is not None


def test_one_take_of_somebody_else_is_left_to_the_other_rule() -> None:
    assert voices.two_groups(np.concatenate([voice(1, 4, 0.4), voice(2, 1, 0.4)])) is None
    assert list(voices.odd(np.concatenate([voice(1, 4, 0.4), voice(2, 1, 0.4)]))) == [4]

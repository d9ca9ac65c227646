"""Takes from elsewhere in the files of a person: format 2, and format 1 where there are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers_store import make_voiceprint, unit

from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.people.codec import HEADER_FILE, decode, encode
from earmark.engine.people.voiceprint import Voiceprint

SIZE = 192


@pytest.fixture(scope="module")
def person() -> Voiceprint:
    rows = unit(np.random.default_rng(1).standard_normal((5, len(CONDITIONS), SIZE)))
    offsets = np.linspace(-0.04, 0.1, 1 + len(CONDITIONS)).astype(np.float32)
    return replace(make_voiceprint(), elsewhere=rows.astype(np.float16).astype(np.float32), offsets=offsets)


def test_they_come_back_as_they_were(person: Voiceprint) -> None:
    files = encode(person)
    found = decode(files)
    np.testing.assert_array_equal(found.elsewhere, person.elsewhere)
    np.testing.assert_array_equal(found.offsets, person.offsets)
    assert encode(found) == files
    assert json.loads(files[HEADER_FILE])["format"] == 2


def test_without_them_the_files_are_those_of_before(person: Voiceprint) -> None:
    bare = replace(person, elsewhere=person.elsewhere[:0], offsets=person.offsets[:0])
    assert json.loads(encode(bare)[HEADER_FILE])["format"] == 1
    assert encode(bare) == encode(make_voiceprint())


def test_of_fewer_conditions_as_many_prototypes_are_there(person: Voiceprint) -> None:
    """Whoever adds a condition adds it at the end: who has fewer keeps them."""
    fewer = decode(encode(replace(person, elsewhere=person.elsewhere[:, :2], offsets=person.offsets[:3])))
    np.testing.assert_allclose(fewer.prototypes, person.prototypes[:3], atol=1e-6)


def test_a_prototype_is_the_mean_of_the_takes_in_a_condition(person: Voiceprint) -> None:
    np.testing.assert_array_equal(person.prototypes[0], person.centroid)
    np.testing.assert_allclose(person.prototypes[2], unit(person.elsewhere[:, 1].mean(axis=0)), atol=1e-6)
    np.testing.assert_array_equal(make_voiceprint().prototypes, make_voiceprint().centroid[None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: {"offsets": one.offsets[:-1]}, "offsets has"),
        (lambda one: {"offsets": one.offsets * np.float32(np.nan)}, "must be finite float32"),
        (lambda one: {"offsets": one.offsets - np.float32(1)}, "must be within"),
        (lambda one: {"elsewhere": one.elsewhere[:4]}, "5 enrolled takes, elsewhere of 4"),
        (lambda one: {"elsewhere": one.elsewhere * np.float32(1.1)}, r"row \d+ of elsewhere has the length"),
        (lambda one: {"elsewhere": one.elsewhere[..., :100]}, "elsewhere has rows of 100"),
        (
            lambda one: {
                "elsewhere": np.tile(one.elsewhere, (1, 2, 1)),
                "offsets": np.zeros(1 + 2 * len(CONDITIONS), np.float32),
            },
            "12 conditions, there are 6",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    person: Voiceprint, change: Callable[[Voiceprint], dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decode(encode(replace(person, **change(person))))

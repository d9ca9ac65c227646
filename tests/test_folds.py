"""Who is measured by the networks of a fold: only people of whom they have heard nothing."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from earmark.models.fold import FOLDS, fold_of

sys.path.insert(0, str(REPOSITORY / "scripts" / "studies"))

import folds


@given(ids=st.dictionaries(st.integers(0, 20), st.integers(0, 5), min_size=1))
def test_whoever_called_as_several_is_one_person_of_one_fold(
    ids: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The folders of wuw are of calls, and `speaker` is the person."""
    data = tmp_path_factory.mktemp("data")
    rows = [("wuw", f"wuw/w{number}/{take}.flac", f"p{person}") for number, person in ids.items() for take in (1, 2)]
    with (data / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("set", "path", "speaker"), *rows, ("asc", "asc/w1/1.flac", "q1")])
    measured = [folds.unheard(data, "wuw", fold) for fold in FOLDS]
    assert measured[0] | measured[1] == {f"p{person}" for person in ids.values()}
    assert all(fold_of("wuw", speaker) == fold for fold in FOLDS for speaker in measured[fold])


def test_the_lists_share_nobody_between_the_folds(speech_data: Path) -> None:
    for name in folds.SETS:
        people = [folds.unheard(speech_data, name, fold) for fold in FOLDS]
        assert all(people)
        assert not people[0] & people[1]

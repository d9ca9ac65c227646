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
def test_nobody_is_measured_by_networks_that_heard_him_by_another_name(
    ids: dict[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    rows = [("wuw", f"wuw/w{number}/{take}.flac", f"p{person}") for number, person in ids.items() for take in (1, 2)]
    with (data / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("set", "path", "speaker"), *rows, ("asc", "asc/w1/1.flac", "p1")])
    for fold in FOLDS:
        measured = folds.unheard(data, "wuw", fold)
        heard = {f"p{person}" for number, person in ids.items() if fold_of("wuw", f"w{number}") != fold}
        assert measured == {f"p{person}" for person in ids.values()} - heard


def test_the_lists_share_nobody_between_the_folds(speech_data: Path) -> None:
    for name in folds.SETS:
        people = [folds.unheard(speech_data, name, fold) for fold in FOLDS]
        assert all(people)
        assert not people[0] & people[1]

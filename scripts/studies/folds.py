"""What the long studies share: the trial lists, each speaker measured by networks and a cohort that never met him.

`models/folds/0` holds a speaker network, a head and a cohort made without the speakers of fold 0, `models/folds/1`
without those of fold 1 (`python -m earmark.models.export --fold K --out models/folds/K …`). A trial is between two
speakers of the same fold, so neither was in any training.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation.evaluate import Setup, TrialList, read_trials
from earmark.enroll.options import as_they_are
from earmark.models.fold import FOLDS, fold_of

FOLDS_DIR = Path(__file__).parents[2] / "models" / "folds"
SETS = {
    "asc": "18 people, 12 Arabic words, same session, 5 takes",
    "dsp": "24 students, 6 English words, web recorder, same session, 5 takes",
    "gsc": "Speech Commands: bed, cat, happy; 49 people enrolled, 1087 speak; same session, 3 takes",
    "wuw": "5 English phrases by telephone, other day and line, 1 to 3 takes",
}


def parts(data: Path, name: str, takes: int | None = None) -> Iterator[tuple[TrialList, Setup]]:
    """For each fold the trials among its speakers and what to measure them with."""
    trials = read_trials(data / f"trials_{name}.csv")
    for fold in FOLDS:
        yield trials.only(unheard(data, name, fold).__contains__), Setup(enroller(fold), None, as_they_are(), takes)


def unheard(data: Path, name: str, fold: int) -> frozenset[str]:
    """The speakers of a set of whom the networks and the cohort of that fold have heard no recording."""
    with (data / "index.csv").open(newline="", encoding="utf-8") as file:
        speakers = {row["speaker"] for row in csv.DictReader(file) if row["set"] == name}
    return frozenset(speaker for speaker in speakers if fold_of(name, speaker) == fold)


@functools.lru_cache(maxsize=len(FOLDS))
def enroller(fold: int) -> Enroller:
    """The networks and the cohort without a fold's speakers."""
    return Enroller.load(FOLDS_DIR / str(fold))


def without_set(setup: Setup, name: str) -> Setup:
    """The same with a cohort that has never heard the measured corpus, as it has never heard a user's microphone."""
    enroller = replace(setup.enroller, cohort=setup.enroller.cohort.without_set(name))
    return replace(setup, enroller=enroller)

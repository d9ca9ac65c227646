"""Error rates on other channels: `python scripts/studies/channels.py DATA CACHE` prints the tables of channels.md.

DATA is a folder with the trial lists, the recordings of index.csv, noise and speech. Takes and tries are heard once
and kept in CACHE (heard.py). All else, from the training of the head to the threshold, is the real enrolment. The
names of tables after CACHE print these alone.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import folds
import numpy as np
import numpy.typing as npt
from heading import FOLD_NETWORKS, heading
from heard import Heard, Tries

from earmark.engine.networks.conditions import CONDITIONS, HANDICAPS
from earmark.engine.people.voiceprint import Voiceprint
from earmark.engine.verifier import DECADE, Verifier
from earmark.enroll.evaluation import error_rates
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Addition, Learner
from earmark.enroll.options import as_they_are

EVERY = {"asc": 4, "dsp": 2}  # every so many phrases of a set: it takes long enough
OTHER_DAYS = "wuw"
BY_TELEPHONE = ("telephone, mu-law", "telephone, GSM")
TAKES = (*BY_TELEPHONE, "noise 10 dB")
SEVEN = ("clean", "noise 10 dB in a room", *BY_TELEPHONE, "telephone and noise 10 dB", "far room", "clipped by 10 dB")
HOMES = ("clean", "noise 10 dB", "telephone, mu-law")
UNHEARD = -10.0  # less the threshold: nothing was heard in a try


class Row(NamedTuple):
    """Somebody who is enrolled, and the tries of a phrase."""

    person: Voiceprint
    fold: int
    phrase: str
    margins: npt.NDArray[np.float32]
    """(n,) scores less the threshold."""
    speaker: npt.NDArray[np.str_]
    """(n,)."""


class Study:
    """Enrols people once for each kind of takes."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._people: dict[tuple[str, str, int | None], list[tuple[int, str, Voiceprint]]] = {}

    def people(self, name: str, takes: str = "clean", most: int | None = None) -> list[tuple[int, str, Voiceprint]]:
        """Fold, phrase and voiceprint of everybody, from takes in a condition, at most so many."""
        key = (name, takes, most)
        if key not in self._people:
            self._people[key] = [
                (fold, phrase, enrolled)
                for fold, phrase in self._heard.phrases(name, EVERY.get(name, 1))
                for enrolled in self._enrolled(name, fold, phrase, takes, most)
            ]
        return self._people[key]

    def _enrolled(self, name: str, fold: int, phrase: str, condition: str, most: int | None) -> Iterator[Voiceprint]:
        for who in self._heard.takes(name, fold, phrase, condition):
            snr_db = float(np.median(who.snr_db[:most]))
            made = folds.enroller(fold).enrol_takes(
                who.speaker, who.takes[:most], None, as_they_are(), takes_snr_db=snr_db
            )
            yield made.voiceprint

    def rows(
        self,
        name: str,
        tries: str,
        takes: str = "clean",
        most: int | None = None,
        change: Callable[[Voiceprint], Voiceprint] = lambda person: person,
    ) -> Iterator[Row]:
        """Everybody's scores of everybody's tries in a condition; `change` is made to each voiceprint first."""
        for fold, phrase, person in self.people(name, takes, most):
            heard = self.tries(name, fold, phrase, tries)
            changed = change(person)
            yield Row(changed, fold, phrase, self.margins(fold, changed, heard), heard.everybody)

    def tries(self, name: str, fold: int, phrase: str, condition: str) -> Tries:
        """As of `Heard`."""
        return self._heard.tries(name, fold, phrase, condition)

    def margins(self, fold: int, person: Voiceprint, heard: Tries) -> npt.NDArray[np.float32]:
        """(n,) scores less the threshold, those of tries in which nothing was heard last."""
        enroller = folds.enroller(fold)
        rows, may = heard.by_telephone if person.by_telephone else (heard.embeddings, heard.may)
        margins = Verifier([], enroller.speaker, enroller.head).margin(person, rows, may)
        return np.concatenate([margins, np.full(len(heard.unheard), UNHEARD, np.float32)])


def rates(rows: Iterator[Row] | list[Row]) -> dict[str, float]:
    """`error_rates.Trials.rates` of both folds together, in %."""
    parts = []
    for row in rows:
        own = row.speaker == row.person.name
        parts.append((row.margins, own, np.full(len(own), row.person.name), row.speaker))
    margins, own, person, speaker = (np.concatenate(column) for column in zip(*parts))
    _, number = np.unique(np.r_[person, speaker], return_inverse=True)
    trials = error_rates.Trials(margins.astype(np.float64), own, margins >= 0, number[: len(own)], number[len(own) :])
    return {key: 100 * value for key, value in trials.rates().items()}


def told(found: dict[str, float]) -> str:
    """EER / FRR at 1 % FAR / FAR, FRR at the enrolled threshold."""
    keys = ("eer", "frr_at_far_0.01", "far_at_enrolled", "frr_at_enrolled")
    eer, wanted, far, frr = (f"{found[key]:.1f}" for key in keys)
    return f"{eer} / {wanted} / {far}, **{frr}**"


def clean_takes(study: Study, conditions: list[str]) -> None:
    """Enrolled from five clean takes, or one."""
    print(f"| try | {' | '.join(EVERY)} |\n|---|{'---|' * len(EVERY)}")
    for condition in conditions:
        print(
            f"| {condition} | {' | '.join(told(rates(study.rows(name, condition))) for name in EVERY)} |", flush=True
        )
    cells = [told(rates(study.rows(name, "clean", most=1))) for name in EVERY]
    print(f"| clean, enrolled from one take | {' | '.join(cells)} |", flush=True)
    days = study.rows(OTHER_DAYS, "clean")
    print(f"\n{OTHER_DAYS}, other days and lines: {told(rates(days))}\n", flush=True)


def by_number_of_takes(study: Study) -> None:
    """FRR of clean tries, at the enrolled threshold and a decade above, of whom no own take was rejected."""
    columns = " | ".join(f"{name}, 1 % | {name}, 0.1 %" for name in EVERY)
    print(f"| takes | {columns} |\n|---|{'---|---|' * len(EVERY)}")
    for takes in (1, 2, 3, 5):
        cells = []
        for name in EVERY:
            rows = [
                row
                for row in study.rows(name, "clean", most=takes)
                if not row.person.report["expected_frr"]["rejected"]
            ]
            for decades in (0, 1):
                own = [
                    row.margins[row.speaker == row.person.name] < decades * DECADE[row.person.kind] for row in rows
                ]
                cells.append(f"{100 * float(np.mean(np.concatenate(own))):.1f}")
        print(f"| {takes} | {' | '.join(cells)} |", flush=True)


def other_takes(study: Study) -> None:
    """Takes in a condition; tries clean, in the same condition and, of telephones, by another."""
    print(f"| takes | tries | {' | '.join(EVERY)} |\n|---|---|{'---|' * len(EVERY)}")
    for takes in TAKES:
        for tries in dict.fromkeys(("clean", takes, *(BY_TELEPHONE if takes in BY_TELEPHONE else ()))):
            cells = [told(rates(study.rows(name, tries, takes))) for name in EVERY]
            print(f"| {takes} | {'the same' if tries == takes else tries} | {' | '.join(cells)} |", flush=True)


def homes(study: Study) -> None:
    """Everybody of a fold and phrase in one home, and the promise one of all together, or each one's own."""
    print("| a home of | try | strangers taken for anybody | owners rejected or taken for another | each alone |")
    print("|---|---|---|---|---|")
    for condition in HOMES:
        for name in EVERY:
            rows = list(study.rows(name, condition))
            together, alone = home(rows, 1.0), home(rows, 0.0)
            cells = f"{together[0]:.1f} | {together[1]:.1f} | {alone[0]:.1f}, {alone[1]:.1f}"
            print(f"| {together[2]:.0f} ({name}) | {condition} | {cells} |", flush=True)


def home(rows: list[Row], share: float) -> tuple[float, float, float]:
    """Strangers taken for anybody, owners rejected or taken for another, in %; how many are enrolled, on average.

    A stranger is each of them in turn, who is then not enrolled.

    Args:
        rows: of everybody.
        share: of the decades by which a home raises the thresholds.
    """
    let_in, rejected, sizes = [], [], []
    for at in dict.fromkeys((row.fold, row.phrase) for row in rows):
        here = [row for row in rows if (row.fold, row.phrase) == at]
        names = np.array([row.person.name for row in here])
        decade = share * np.array([DECADE[row.person.kind] for row in here])
        margins = np.array([row.margins for row in here])
        for number, speaker in enumerate(here[0].speaker):
            others = names != speaker
            let_in.append(np.max((margins[:, number] - decade * math.log10(others.sum()))[others]) >= 0)
            sizes.append(others.sum())
            if not others.all():
                every = margins[:, number] - decade * math.log10(len(names))
                best = int(every.argmax())
                rejected.append(every[best] < 0 or names[best] != speaker)
    return 100 * float(np.mean(let_in)), 100 * float(np.mean(rejected)), float(np.mean(sizes))


def what_brings_what(study: Study) -> None:
    """Parts of the score left out: the mean over seven tries of FRR and FAR, the highest FAR, and clean tries."""
    print("| score | asc: FRR, FAR, highest | dsp: FRR, FAR, highest | clean FRR: asc, dsp |\n|---|---|---|---|")
    for title, change, handicaps in variants():
        cells, clean = [], []
        with mock.patch.dict(HANDICAPS, handicaps):
            for name in EVERY:
                found = {condition: rates(study.rows(name, condition, change=change)) for condition in SEVEN}
                frr, far = ([each[f"{key}_at_enrolled"] for each in found.values()] for key in ("frr", "far"))
                cells.append(f"{np.mean(frr):.1f}, {np.mean(far):.1f}, {max(far):.1f}")
                clean.append(f"{found['clean']['frr_at_enrolled']:.1f}")
        print(f"| {title} | {' | '.join(cells)} | {', '.join(clean)} |", flush=True)


def variants() -> Iterator[tuple[str, Callable[[Voiceprint], Voiceprint], dict[str, float]]]:
    """Title, what is done to a voiceprint, and other handicaps."""

    def mean_alone(person: Voiceprint) -> Voiceprint:
        return dataclasses.replace(person, elsewhere=person.elsewhere[:, :0], offsets=person.offsets[:1])

    def without_offsets(person: Voiceprint) -> Voiceprint:
        return dataclasses.replace(person, offsets=np.zeros_like(person.offsets))

    def whole_offsets(person: Voiceprint) -> Voiceprint:
        return dataclasses.replace(person, offsets=2 * person.offsets)

    never = 9.0
    yield "as built in", lambda person: person, {}
    yield "the mean of the takes alone", mean_alone, {}
    for name in CONDITIONS:
        yield f"without the prototype of {name}", lambda person: person, {name: never}
    yield "no handicaps", lambda person: person, dict.fromkeys(CONDITIONS, 0.0)
    yield "no offsets", without_offsets, {}
    yield "whole offsets", whole_offsets, {}


def learning(study: Study) -> None:
    """What wakes by telephone bring who enrolled clean: half of the own tries may be learned, the rest is scored."""
    print("| set | learned by | learned of | FRR before, after | FAR before, after | clean FRR before, after |")
    print("|---|---|---|---|---|---|")
    for name in EVERY:
        for condition in BY_TELEPHONE:
            (before, after, clean_before, clean_after), learned = _learned(study, name, condition)
            cells = [
                f"{one[key]:.1f}, {other[key]:.1f}"
                for one, other, key in (
                    (before, after, "frr_at_enrolled"),
                    (before, after, "far_at_enrolled"),
                    (clean_before, clean_after, "frr_at_enrolled"),
                )
            ]
            print(f"| {name} | {condition} | {learned} | {' | '.join(cells)} |", flush=True)


def _learned(study: Study, name: str, condition: str) -> tuple[list[dict[str, float]], str]:
    parts: tuple[list[Row], ...] = ([], [], [], [])
    learned, offered = 0, 0
    for fold, phrase, person in study.people(name):
        heard, clean = (study.tries(name, fold, phrase, each) for each in (condition, "clean"))
        enroller = folds.enroller(fold)
        learner, nobody = Learner(enroller), HomeImpostors.nobody(enroller.speaker.embedding_size)
        own = np.flatnonzero(heard.speaker == person.name)
        own = own[: len(own) // 2]
        scores = study.margins(fold, person, heard) + person.threshold
        additions = [
            Addition(heard.embeddings[number], {"id": str(number), "label": None})
            for number in own
            if scores[number] >= person.threshold
            and learner.wide(person, heard.embeddings[number], float(scores[number]))
        ]
        outcome = learner.learn(person, additions, nobody, [], most=len(own))
        now = outcome.voiceprint or person
        learned, offered = learned + len(outcome.added), offered + len(own)
        rest = np.setdiff1d(np.arange(len(heard.everybody)), own)
        all_of_them = np.arange(len(clean.everybody))
        for rows, who, tries, kept in zip(
            parts, (person, now, person, now), (heard, heard, clean, clean), (rest, rest, all_of_them, all_of_them)
        ):
            rows.append(Row(who, fold, phrase, study.margins(fold, who, tries)[kept], tries.everybody[kept]))
    return [rates(rows) for rows in parts], f"{learned} of {offered}"


def main() -> int:
    """Measures and prints."""
    heard = Heard(Path(sys.argv[1]), Path(sys.argv[2]))
    wanted = sys.argv[3:]
    study, conditions = Study(heard), list(heard.conditions)
    print(heading("Other channels", __file__, FOLD_NETWORKS, head=True, corpora=True))
    tables: dict[str, Callable[[], None]] = {
        "clean": lambda: clean_takes(study, conditions),
        "count": lambda: by_number_of_takes(study),
        "takes": lambda: other_takes(study),
        "homes": lambda: homes(study),
        "parts": lambda: what_brings_what(study),
        "learning": lambda: learning(study),
    }
    for name, table in tables.items():
        if not wanted or name in wanted:
            table()
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())

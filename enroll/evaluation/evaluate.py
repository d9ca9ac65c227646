"""Trial lists -> error rates, through the real enrolment.

A list is a CSV file with the columns `path,speaker,phrase,role`; paths are relative to it. Every speaker of a phrase
with `enroll` rows is enrolled; every `test` row of that phrase is scored against everybody who is. `negative` rows,
any audio, are replayed with everybody enrolled: what wakes the detector there is a false accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.files import FileSource
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.detector import FLUSH_SAMPLES, Detector
from earmark.engine.errors import AudioError, InputError
from earmark.engine.people.store import Voiceprint
from earmark.engine.verifier import Verifier

from ..training import calibrate
from . import error_rates
from .asking import HEAD, REJECTED, Scores, Setup, ToEnrol, ToHear, Tries, Try, ask_one, enrol_one, hear_one
from .comparators import COMPARATORS
from .trials import TrialList, read_trials
from .workers import Threads, Workers

__all__ = ["HEAD", "Enrolled", "Results", "Setup", "TrialList", "enrol", "evaluate", "measure", "read_trials"]

ALONE = Threads(1)


@dataclass(frozen=True)
class Enrolled:
    """Everybody of a list whom enrolment took."""

    people: dict[str, list[Voiceprint]]
    """phrase -> voiceprints."""
    refused: list[str]
    """`phrase/speaker: why` of the others."""
    unreadable: list[str] = field(default_factory=list)
    """`path: why` of `enroll` rows."""
    not_used: list[str] = field(default_factory=list)
    """`phrase/speaker: path: why` of what can be read and is no good take, of people who are enrolled."""

    def __iter__(self) -> Iterator[Voiceprint]:
        return (person for people in self.people.values() for person in people)


@dataclass(frozen=True)
class Person:
    """What was measured of one person."""

    name: str
    phrase: str
    threshold: float
    takes: int
    tried: list[tuple[str, str]]
    """Path and speaker of everybody's tries, the same list for all who are asked about them."""
    scores: Scores
    """(n,) of each, less the threshold; `REJECTED`: nothing was heard in it."""

    @property
    def tries(self) -> list[dict[str, Any]]:
        """Of everybody's: `path`, `speaker`, `score` (None: nothing was heard in it) and `accepted`."""
        return [
            {
                "path": path,
                "speaker": speaker,
                "score": round(score + self.threshold, 4) if score != REJECTED else None,
                "accepted": score >= 0,
            }
            for (path, speaker), score in zip(self.tried, self.scores.tolist())
        ]

    def to_json(self) -> dict[str, Any]:
        """Scores and rates; a rate is None where there is no such try."""
        tries = self.tries
        own = [not one["accepted"] for one in tries if one["speaker"] == self.name]
        strangers = [bool(one["accepted"]) for one in tries if one["speaker"] != self.name]
        return {
            "name": self.name,
            "phrase": self.phrase,
            "threshold": round(self.threshold, 4),
            "takes": self.takes,
            "own": {"tries": len(own), "rejected": sum(own), "frr": sum(own) / len(own) if own else None},
            "strangers": {
                "tries": len(strangers),
                "accepted": sum(strangers),
                "far": sum(strangers) / len(strangers) if strangers else None,
            },
            "tries": tries,
        }


@dataclass(frozen=True)
class Results:
    """What was found."""

    systems: dict[str, error_rates.Trials]
    refused: list[str]
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    """Role -> `path: why` of the rows that were left out."""
    announced: float | None = None
    """Share of the people of whose tries as many are rejected as their enrolment announced, within 95 %."""
    false_accepts_per_hour: float | None = None
    """None without `negative` rows that can be read, or without a keyword network."""
    not_used: list[str] = field(default_factory=list)
    """As of `Enrolled`."""
    repeated: list[str] = field(default_factory=list)
    """As of `TrialList`."""
    people: list[Person] = field(default_factory=list)

    def to_json(self, per_person: bool = False) -> dict[str, Any]:
        """As `earmark evaluate` writes it; rates are fractions of 1."""
        own = int(self.systems[HEAD].own.sum())
        return {
            "trials": {"target": own, "impostor": len(self.systems[HEAD].own) - own},
            "refused": self.refused,
            "unreadable": self.unreadable,
            "not_used": self.not_used,
            "repeated": self.repeated,
            "systems": {name: error_rates.to_json(trials) for name, trials in self.systems.items()},
            "frr_inside_announced": self.announced,
            "false_accepts_per_hour": self.false_accepts_per_hour,
            **({"people": [person.to_json() for person in self.people]} if per_person else {}),
        }


def evaluate(trials: TrialList, setup: Setup, workers: Workers = ALONE) -> Results:
    """Error rates of what enrolment would really use, and of the comparators on the same takes.

    The results are the same to the last digit, whoever does the work.

    Raises:
        InputError: there is no trial of an own voice, or none of a stranger's.
    """
    return measure(trials, enrol(trials, setup, workers), setup, workers)


def enrol(trials: TrialList, setup: Setup, workers: Workers = ALONE) -> Enrolled:
    """Everybody with `enroll` rows, each phrase by itself."""
    wanted = [
        ToEnrol(phrase, speaker, roles["enroll"])
        for phrase, speakers in trials.people.items()
        for speaker, roles in speakers.items()
        if roles.get("enroll")
    ]
    people: dict[str, list[Voiceprint]] = {phrase: [] for phrase in trials.people}
    taken = workers.map("enrolling", enrol_one, wanted, setup)
    for one in taken:
        if one.voiceprint is not None:
            people[one.phrase].append(one.voiceprint)
    refused, unreadable, not_used = (
        [line for one in taken for line in getattr(one, what)] for what in ("refused", "unreadable", "not_used")
    )
    return Enrolled(people, refused, unreadable, not_used)


def measure(trials: TrialList, enrolled: Enrolled, setup: Setup, workers: Workers = ALONE) -> Results:
    """Scores every try of a phrase against everybody who is enrolled for it.

    Raises:
        InputError: there is no trial of an own voice, or none of a stranger's.
    """
    unreadable: dict[str, list[str]] = {"enroll": enrolled.unreadable, "test": [], "negative": []}
    tries = _hear_tries(trials, enrolled, setup, workers, unreadable["test"])
    asked = [(person, tries[phrase]) for phrase, people in enrolled.people.items() for person in people]
    scores = workers.map("measuring", ask_one, asked, setup)
    systems = _collect(asked, scores)
    if not systems[HEAD].own.any() or systems[HEAD].own.all():
        left_out = [*enrolled.refused, *(line for lines in unreadable.values() for line in lines)]
        listed = "".join(f"\n  {line}" for line in left_out[:10])
        raise InputError(f"the list has no trial of an enrolled person's own, or none of a stranger's{listed}")
    tried = {phrase: [(str(each.path), each.speaker) for each in one.every] for phrase, one in tries.items()}
    phrases = [phrase for phrase, people in enrolled.people.items() for _ in people]
    people = [
        Person(person.name, phrase, person.threshold, len(person.takes), tried[phrase], each[HEAD])
        for phrase, (person, _), each in zip(phrases, asked, scores)
    ]
    held = [_as_announced(person, one) for (person, _), one in zip(asked, people)]
    return Results(
        systems,
        enrolled.refused,
        unreadable,
        float(np.mean([inside for inside in held if inside is not None])),
        _false_accepts_per_hour(trials.negatives, setup, list(enrolled), unreadable["negative"]),
        enrolled.not_used,
        trials.repeated,
        people,
    )


def _hear_tries(
    trials: TrialList, enrolled: Enrolled, setup: Setup, workers: Workers, unreadable: list[str]
) -> dict[str, Tries]:
    """The `test` rows of each phrase; what cannot be read is no try, and said in `unreadable`."""
    by_telephone = {
        phrase: any(person.by_telephone for person in people) for phrase, people in enrolled.people.items()
    }
    wanted = [
        ToHear(phrase, speaker, path, by_telephone[phrase])
        for phrase, speakers in trials.people.items()
        for speaker, roles in speakers.items()
        for path in roles.get("test", ())
    ]
    every: dict[str, list[Try]] = {phrase: [] for phrase in trials.people}
    for row, heard in zip(wanted, workers.map("hearing", hear_one, wanted, setup)):
        if isinstance(heard, Try):
            every[row.phrase].append(heard)
        else:
            unreadable.append(heard)
    return {phrase: Tries(one) for phrase, one in every.items()}


def _as_announced(person: Voiceprint, measured: Person) -> bool | None:
    """Whether as many own tries are rejected as the enrolment announced; None: there is no own try."""
    own = [s < 0 for s, (_, who) in zip(measured.scores.tolist(), measured.tried) if who == person.name]
    if not own:
        return None
    expected = person.report["expected_frr"]
    low, high = calibrate.predicted_count(expected["rejected"], expected["of"], len(own))
    return bool(low <= sum(own) <= high)


def _collect(
    asked: Sequence[tuple[Voiceprint, Tries]], scores: Sequence[dict[str, Scores]]
) -> dict[str, error_rates.Trials]:
    """What each system said of everybody."""
    names = sorted({name for person, tries in asked for name in (person.name, *tries.speakers)})
    numbers = {name: number for number, name in enumerate(names)}
    of_speakers: dict[int, npt.NDArray[np.intp]] = {}  # of each phrase once
    for _, tries in asked:
        if id(tries) not in of_speakers:
            of_speakers[id(tries)] = np.array([numbers[name] for name in tries.speakers], np.intp)
    speaker = _joined([of_speakers[id(tries)] for _, tries in asked], np.intp)
    person = np.repeat(
        np.array([numbers[person.name] for person, _ in asked], np.intp), [len(tries.every) for _, tries in asked]
    )
    own, systems = person == speaker, {}
    for system in (HEAD, *COMPARATORS):
        joined = _joined([each[system] for each in scores], np.float64)
        systems[system] = error_rates.Trials(joined, own, joined >= 0, person, speaker)
    return systems


def _joined(parts: list[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *parts])


def _false_accepts_per_hour(
    negatives: list[Path], setup: Setup, people: list[Voiceprint], unreadable: list[str]
) -> float | None:
    """Detections an hour in speech that holds no wake word, with everybody enrolled."""
    if not negatives or setup.keyword is None:
        return None
    detector = Detector([setup.keyword], Verifier(people, setup.enroller.speaker, setup.enroller.head), "only")
    accepts, samples = 0, 0
    for number, path in enumerate(negatives):
        try:
            with FileSource(path, channel=setup.channel) as source:
                events = list(detector.run(source))
        except AudioError as error:
            unreadable.append(str(error))
        else:
            accepts += sum(event.type == "detection" for event in events)
            samples += detector.samples - FLUSH_SAMPLES
        setup.told("negative", number + 1, len(negatives))
    return accepts / (samples / RATE_HZ / 3600) if samples else None

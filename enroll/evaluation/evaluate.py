"""Trial lists -> error rates, through the real enrolment.

A list is a CSV file with the columns `path,speaker,phrase,role`; paths are relative to it. Every speaker of a phrase
with `enroll` rows is enrolled; every `test` row of that phrase is scored against everybody who is. `negative` rows,
any audio, are replayed with everybody enrolled: what wakes the detector there is a false accept.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.audio.sources import ArraySource
from earmark.engine.detector import Detector
from earmark.engine.errors import AudioError, EnrolmentRefused, InputError, text_of
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import Utterance
from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import Verifier, allowance

from ..enrolment import Enroller, Options
from ..recordings import read_recordings
from ..takes import quality
from ..training import calibrate
from . import error_rates
from .comparators import COMPARATORS
from .conditions import Conditions

COLUMNS = {"path", "speaker", "phrase", "role"}
ROLES = ("enroll", "test", "negative")
HEAD = "head"
"""What enrolment would really use; the other systems are the comparators."""
REJECTED = -np.inf  # score of a try in which no speech or no wake word was found: it is rejected at any threshold


@dataclass(frozen=True)
class TrialList:
    """What a list names."""

    people: dict[str, dict[str, dict[str, list[Path]]]]
    """phrase -> speaker -> role -> files."""
    negatives: list[Path] = field(default_factory=list)

    def only(self, wanted: Callable[[str], bool]) -> TrialList:
        """The trials among those speakers whose name is wanted."""
        people = {
            phrase: {speaker: roles for speaker, roles in speakers.items() if wanted(speaker)}
            for phrase, speakers in self.people.items()
        }
        return TrialList(people, self.negatives)


@dataclass(frozen=True)
class Enrolled:
    """Everybody of a list whom enrolment took."""

    people: dict[str, list[Voiceprint]]
    """phrase -> voiceprints."""
    refused: list[str]
    """`phrase/speaker: why` of the others."""

    def __iter__(self) -> Iterator[Voiceprint]:
        return (person for people in self.people.values() for person in people)


@dataclass(frozen=True)
class Results:
    """What was found."""

    systems: dict[str, error_rates.Trials]
    refused: list[str]
    unreadable: list[str] = field(default_factory=list)
    announced: float | None = None
    """Share of the people of whose tries as many are rejected as their enrolment announced, within 95 %."""
    false_accepts_per_hour: float | None = None
    """None without `negative` rows, or without a keyword network."""

    def to_json(self) -> dict[str, Any]:
        """As `earmark evaluate` writes it; rates are fractions of 1."""
        own = int(self.systems[HEAD].own.sum())
        return {
            "trials": {"target": own, "impostor": len(self.systems[HEAD].own) - own},
            "refused": self.refused,
            "unreadable": self.unreadable,
            "systems": {name: error_rates.to_json(trials) for name, trials in self.systems.items()},
            "frr_inside_announced": self.announced,
            "false_accepts_per_hour": self.false_accepts_per_hour,
        }


class _Row(NamedTuple):
    """One trial of one system."""

    score: float
    """Less the threshold."""
    accepted: bool
    person: str
    speaker: str


@dataclass(frozen=True)
class Setup:
    """How to measure."""

    enroller: Enroller
    keyword: KeywordNetwork | None
    """None: any phrase."""
    options: Options = field(default_factory=Options)
    takes: int | None = None
    """At most so many `enroll` rows of each person."""
    conditions: Conditions = field(default_factory=Conditions)
    """Of the test rows."""
    channel: int | None = None
    """Of all recordings, from 0; None: those that hold the voice."""
    on_progress: Callable[[str, int, int], None] | None = None
    """Told a stage's name, how much of it is done, and of how much."""

    def told(self, stage: str, done: int, total: int) -> None:
        """Passes progress on."""
        if self.on_progress is not None:
            self.on_progress(stage, done, total)


def read_trials(path: Path) -> TrialList:
    """Reads a list.

    Raises:
        InputError: it cannot be read, lacks a column, or has a role that there is not.
    """
    people: dict[str, dict[str, dict[str, list[Path]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    negatives = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= COLUMNS:
                raise InputError(f"{path}: a trial list has the columns {', '.join(sorted(COLUMNS))}")
            for row in reader:
                if row["role"] not in ROLES:
                    raise InputError(
                        f"{path}: line {reader.line_num}: role={row['role']!r} must be one of {', '.join(ROLES)}"
                    )
                if row["role"] == "negative":
                    negatives.append(path.parent / row["path"])
                else:
                    people[row["phrase"]][row["speaker"]][row["role"]].append(path.parent / row["path"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {text_of(error)}") from error
    return TrialList(people, negatives)


def evaluate(trials: TrialList, setup: Setup) -> Results:
    """Error rates of what enrolment would really use, and of the comparators on the same takes.

    Raises:
        InputError: there is no trial of an own voice, or none of a stranger's.
    """
    return measure(trials, enrol(trials, setup), setup)


def enrol(trials: TrialList, setup: Setup) -> Enrolled:
    """Everybody with `enroll` rows, each phrase by itself."""
    people: dict[str, list[Voiceprint]] = {phrase: [] for phrase in trials.people}
    refused: list[str] = []
    wanted = [
        (phrase, speaker, roles["enroll"])
        for phrase, speakers in trials.people.items()
        for speaker, roles in speakers.items()
        if roles.get("enroll")
    ]
    for number, (phrase, speaker, files) in enumerate(wanted):
        recordings, faults = read_recordings([str(path) for path in files[: setup.takes]], setup.channel)
        try:
            enrolment = setup.enroller.enrol(speaker, recordings, setup.keyword, setup.options, faults=faults)
            people[phrase].append(enrolment.voiceprint)
        except EnrolmentRefused as error:
            refused.append(f"{phrase}/{speaker}: {error}")
        setup.told("enrolling", number + 1, len(wanted))
    return Enrolled(people, refused)


def measure(trials: TrialList, enrolled: Enrolled, setup: Setup) -> Results:
    """Scores every try of a phrase against everybody who is enrolled for it.

    Raises:
        InputError: there is no trial of an own voice, or none of a stranger's.
    """
    rows: dict[str, list[_Row]] = {name: [] for name in (HEAD, *COMPARATORS)}
    unreadable: list[str] = []
    held = []
    for number, (phrase, speakers) in enumerate(trials.people.items()):
        tries = [
            (speaker, _hear_try(path, setup, unreadable))
            for speaker, roles in speakers.items()
            for path in roles.get("test", ())
        ]
        for person in enrolled.people[phrase]:
            scored = _score(setup.enroller, person, tries)
            for system, values in scored.items():
                rows[system] += values
            own = [not row.accepted for row in scored[HEAD] if row.speaker == row.person]
            expected = person.report["expected_frr"]
            if own:
                low, high = calibrate.predicted_count(expected["rejected"], expected["of"], len(own))
                held.append(low <= sum(own) <= high)
        setup.told("measuring", number + 1, len(trials.people))
    systems = {system: _collect(values) for system, values in rows.items()}
    if not systems[HEAD].own.any() or systems[HEAD].own.all():
        listed = "".join(f"\n  {line}" for line in enrolled.refused[:10])
        raise InputError(f"the list has no trial of an enrolled person's own, or none of a stranger's{listed}")
    return Results(
        systems,
        enrolled.refused,
        unreadable,
        float(np.mean(held)),
        _false_accepts_per_hour(trials.negatives, setup, list(enrolled)),
    )


def _hear_try(path: Path, setup: Setup, unreadable: list[str]) -> Utterance | None:
    """What is heard, or None where the detector would not have got so far."""
    try:
        samples = read_audio(path, setup.channel)
    except AudioError as error:
        unreadable.append(str(error))
        return None
    heard = setup.conditions.apply(samples, f"{path.parent.name}/{path.name}")
    return hear_first(setup.enroller, heard, setup.keyword)


def hear_first(enroller: Enroller, samples: Any, keyword: KeywordNetwork | None) -> Utterance | None:
    """The first utterance in (n,) int16 that the detector would find; None: there is none."""
    for crop in quality.crops(samples, keyword):
        try:
            return enroller.speaker.hear(crop)
        except AudioError:
            continue
    return None


def _score(
    enroller: Enroller, person: Voiceprint, tries: list[tuple[str, Utterance | None]]
) -> dict[str, list[_Row]]:
    """What every system says of all tries against one person."""
    heard = [each for _, each in tries if each is not None]
    known = np.array([each.embedding for each in heard], np.float32)
    known = known.reshape(len(known), enroller.speaker.embedding_size)
    allowed = np.array([allowance(person, each.snr_db) for each in heard], np.float32)
    margins = {HEAD: Verifier([], enroller.speaker, enroller.head).margin(person, known)}
    for name, comparator in COMPARATORS.items():
        margins[name] = comparator(enroller, person, known)
    for system in (HEAD, COSINE):  # log odds are on another scale
        margins[system] = margins[system] + allowed
    rows = {}
    for system, values in margins.items():
        left = iter(values.tolist())
        scores = [REJECTED if each is None else next(left) for _, each in tries]
        rows[system] = [_Row(score, score >= 0, person.name, speaker) for (speaker, _), score in zip(tries, scores)]
    return rows


def _collect(rows: list[_Row]) -> error_rates.Trials:
    _, number = np.unique([row.person for row in rows] + [row.speaker for row in rows], return_inverse=True)
    person, speaker = number[: len(rows)], number[len(rows) :]
    return error_rates.Trials(
        np.array([row.score for row in rows], np.float64),
        person == speaker,
        np.array([row.accepted for row in rows], bool),
        person,
        speaker,
    )


def _false_accepts_per_hour(negatives: list[Path], setup: Setup, people: list[Voiceprint]) -> float | None:
    """Detections an hour in speech that holds no wake word, with everybody enrolled."""
    if not negatives or setup.keyword is None:
        return None
    detector = Detector([setup.keyword], Verifier(people, setup.enroller.speaker, setup.enroller.head), "only")
    accepts, samples = 0, 0
    for number, path in enumerate(negatives):
        audio = read_audio(path, setup.channel)
        detector.reset()
        accepts += sum(event.type == "detection" for event in detector.run(ArraySource(audio)))
        samples += len(audio)
        setup.told("negative", number + 1, len(negatives))
    return accepts / (samples / RATE_HZ / 3600)

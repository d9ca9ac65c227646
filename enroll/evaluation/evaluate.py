"""Trial lists -> error rates, through the real enrolment.

A list is a CSV file with the columns `path,speaker,phrase,role`; paths are relative to it. Every speaker of a phrase
with `enroll` rows is enrolled; every `test` row of that phrase is scored against everybody who is. `negative` rows,
any audio, are replayed with everybody enrolled: what wakes the detector there is a false accept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.files import FileSource
from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.detector import FLUSH_SAMPLES, Detector
from earmark.engine.errors import AudioError, EnrolmentRefused, InputError
from earmark.engine.networks.conditions import PLAIN, open_to
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import Utterance
from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import Verifier, allowance, by_line

from ..enrolment import Enroller, Options
from ..recordings import AnyRecording, RecordedFile, Recording, read_recordings
from ..takes import quality
from ..training import calibrate
from . import error_rates
from .comparators import COMPARATORS
from .conditions import Conditions
from .trials import TrialList, read_trials

__all__ = ["HEAD", "Enrolled", "Results", "Setup", "TrialList", "enrol", "evaluate", "measure", "read_trials"]

HEAD = "head"
"""What enrolment would really use; the other systems are the comparators."""
Scores = npt.NDArray[np.float64]
REJECTED = -np.inf  # score of a try in which no speech or no wake word was found: it is rejected at any threshold


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


class _Try(NamedTuple):
    """One `test` row that can be read."""

    speaker: str
    path: Path
    heard: Utterance | None
    """None: the detector would not have got so far."""
    lined: Utterance | None
    """The same through a line, where somebody is known by telephone alone; else as it was heard."""


class _Asked(NamedTuple):
    """One person, asked about everybody's tries."""

    person: str
    speakers: list[str]
    """(n,) who spoke; the same list for all of a phrase."""
    scores: dict[str, Scores]
    """System -> (n,) scores less the threshold."""


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
    take_conditions: Conditions | None = None
    """Of the enroll rows; None: as they are."""
    channel: int | None = None
    """Of all recordings, from 0; None: those that hold the voice."""
    on_progress: Callable[[str, int, int], None] | None = None
    """Told a stage's name, how much of it is done, and of how much."""

    def told(self, stage: str, done: int, total: int) -> None:
        """Passes progress on."""
        if self.on_progress is not None:
            self.on_progress(stage, done, total)


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
    unreadable: list[str] = []
    not_used: list[str] = []
    wanted = [
        (phrase, speaker, roles["enroll"])
        for phrase, speakers in trials.people.items()
        for speaker, roles in speakers.items()
        if roles.get("enroll")
    ]
    for number, (phrase, speaker, files) in enumerate(wanted):
        recordings, faults = read_recordings([str(path) for path in files], setup.channel, setup.takes)
        unreadable += [f"{fault.file}: {fault.detail}" for fault in faults]
        said = [_said(recording, setup.take_conditions) for recording in recordings]
        try:
            enrolment = setup.enroller.enrol(speaker, said, setup.keyword, setup.options, faults=faults)
            people[phrase].append(enrolment.voiceprint)
            found = [fault for fault in enrolment.faults if fault.reason != "unreadable"]
            not_used += [f"{phrase}/{speaker}: {fault}" for fault in found]
        except EnrolmentRefused as error:
            refused.append(f"{phrase}/{speaker}: {error}")
        setup.told("enrolling", number + 1, len(wanted))
    return Enrolled(people, refused, unreadable, not_used)


def _said(recording: RecordedFile, conditions: Conditions | None) -> AnyRecording:
    """What an `enroll` row is in the conditions of the takes."""
    if conditions is None:
        return recording
    samples = without_offset(np.concatenate([*recording.pieces()]))[0]
    return Recording(recording.file, conditions.apply(samples, _key(Path(recording.file))))


def _key(path: Path) -> str:
    """What chance is drawn from: the same wherever the data lies."""
    return f"{path.parent.name}/{path.name}"


def measure(trials: TrialList, enrolled: Enrolled, setup: Setup) -> Results:
    """Scores every try of a phrase against everybody who is enrolled for it.

    Raises:
        InputError: there is no trial of an own voice, or none of a stranger's.
    """
    asked = []
    unreadable: dict[str, list[str]] = {"enroll": enrolled.unreadable, "test": [], "negative": []}
    held = []
    people = []
    for number, (phrase, speakers) in enumerate(trials.people.items()):
        by_telephone = any(person.by_telephone for person in enrolled.people[phrase])
        tries = _hear_tries(speakers, setup, by_telephone, unreadable["test"])
        speakers_of_tries = [each.speaker for each in tries]
        tried = [(str(each.path), each.speaker) for each in tries]
        for person in enrolled.people[phrase]:
            scores = _score(setup.enroller, person, tries)
            asked.append(_Asked(person.name, speakers_of_tries, scores))
            own = [s < 0 for s, who in zip(scores[HEAD].tolist(), speakers_of_tries) if who == person.name]
            expected = person.report["expected_frr"]
            if own:
                low, high = calibrate.predicted_count(expected["rejected"], expected["of"], len(own))
                held.append(low <= sum(own) <= high)
            people.append(Person(person.name, phrase, person.threshold, len(person.takes), tried, scores[HEAD]))
        setup.told("measuring", number + 1, len(trials.people))
    systems = {system: _collect(asked, system) for system in (HEAD, *COMPARATORS)}
    if not systems[HEAD].own.any() or systems[HEAD].own.all():
        left_out = [*enrolled.refused, *(line for lines in unreadable.values() for line in lines)]
        listed = "".join(f"\n  {line}" for line in left_out[:10])
        raise InputError(f"the list has no trial of an enrolled person's own, or none of a stranger's{listed}")
    return Results(
        systems,
        enrolled.refused,
        unreadable,
        float(np.mean(held)),
        _false_accepts_per_hour(trials.negatives, setup, list(enrolled), unreadable["negative"]),
        enrolled.not_used,
        trials.repeated,
        people,
    )


def _hear_tries(
    speakers: dict[str, dict[str, list[Path]]], setup: Setup, by_telephone: bool, unreadable: list[str]
) -> list[_Try]:
    """The `test` rows of a phrase; what cannot be read is no try, and said in `unreadable`."""
    tries = []
    for speaker, roles in speakers.items():
        for path in roles.get("test", ()):
            try:
                tries.append(_Try(speaker, path, *_hear_try(path, setup, by_telephone)))
            except AudioError as error:
                unreadable.append(str(error))
    return tries


def _hear_try(path: Path, setup: Setup, by_telephone: bool) -> tuple[Utterance | None, Utterance | None]:
    """What is heard, and through a line, or None where the detector would not have got so far; raises AudioError."""
    key = _key(path)
    for number, piece in enumerate(RecordedFile(str(path), setup.channel).pieces()):
        samples = setup.conditions.apply(without_offset(piece)[0], f"{key}/{number}" if number else key)
        for crop, heard in _utterances(setup.enroller, samples, setup.keyword):
            return heard, by_line(setup.enroller.speaker, crop, heard) if by_telephone else heard
    return None, None


def hear_first(enroller: Enroller, samples: Int16, keyword: KeywordNetwork | None) -> Utterance | None:
    """The first utterance in (n,) int16 that the detector would find; None: there is none."""
    return next((heard for _, heard in _utterances(enroller, samples, keyword)), None)


def _utterances(
    enroller: Enroller, samples: Int16, keyword: KeywordNetwork | None
) -> Iterator[tuple[Int16, Utterance]]:
    """The crops of (n,) int16 in which something is said, and what."""
    for crop in quality.crops(samples, keyword):
        try:
            yield crop, enroller.speaker.hear(crop)
        except AudioError:
            continue


def _score(enroller: Enroller, person: Voiceprint, tries: list[_Try]) -> dict[str, Scores]:
    """System -> (n,) what it says of all tries against one person, less the threshold."""
    each_heard = [each.lined if person.by_telephone else each.heard for each in tries]
    heard = [each for each in each_heard if each is not None]
    known = np.array([each.embedding for each in heard], np.float32)
    known = known.reshape(len(known), enroller.speaker.embedding_size)
    allowed = np.array([allowance(person, each.snr_db) for each in heard], np.float32)
    may = np.array([open_to(each) for each in heard], bool).reshape(len(heard), len(PLAIN))
    margins = {HEAD: enroller.verifier.margin(person, known, may)}
    for name, comparator in COMPARATORS.items():
        margins[name] = comparator(enroller, person, known)
    for system in (HEAD, COSINE):  # log odds are on another scale
        margins[system] = margins[system] + allowed
    is_heard = np.array([each is not None for each in each_heard], bool)
    scores = {system: np.full(len(tries), REJECTED) for system in margins}
    for system, values in margins.items():
        scores[system][is_heard] = values
    return scores


def _collect(asked: list[_Asked], system: str) -> error_rates.Trials:
    """What a system said of everybody."""
    names = sorted({one.person for one in asked}.union(*(one.speakers for one in asked)))
    numbers = {name: number for number, name in enumerate(names)}
    of_speakers: dict[int, npt.NDArray[np.intp]] = {}  # of each phrase once
    for one in asked:
        if id(one.speakers) not in of_speakers:
            of_speakers[id(one.speakers)] = np.array([numbers[name] for name in one.speakers], np.intp)
    speaker = _joined([of_speakers[id(one.speakers)] for one in asked], np.intp)
    person = np.repeat(
        np.array([numbers[one.person] for one in asked], np.intp), [len(one.speakers) for one in asked]
    )
    scores = _joined([one.scores[system] for one in asked], np.float64)
    return error_rates.Trials(scores, person == speaker, scores >= 0, person, speaker)


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

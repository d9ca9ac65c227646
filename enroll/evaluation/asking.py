"""What is done for a row of a trial list, by whoever has networks: enrols a person, hears a try, asks a person.

Each function takes one item and gives one answer, and remembers nothing. So it makes no difference who does which, in
which order, or on which machine (workers.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.networks.conditions import PLAIN, Open, open_to
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import Utterance
from earmark.engine.networks.trained.kinds import HEARING
from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import allowance, by_line

from ..enrolment import Enroller, Options
from ..recordings import AnyRecording, RecordedFile, Recording, read_recordings
from ..takes import quality
from . import kept
from .comparators import COMPARATORS
from .conditions import Conditions

HEAD = "head"
"""What enrolment would really use; the other systems are the comparators."""
Scores = npt.NDArray[np.float32]
REJECTED = -np.inf  # score of a try in which no speech or no wake word was found: it is rejected at any threshold


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
    kept: Path | None = None
    """Folder of enrolments that were made before, and are not made again (kept.py); None: everybody is enrolled."""

    def told(self, stage: str, done: int, total: int) -> None:
        """Passes progress on."""
        if self.on_progress is not None:
            self.on_progress(stage, done, total)

    def twin(self) -> Setup:
        """The same with networks of its own, for another thread."""
        keyword = self.keyword and KeywordNetwork(self.keyword.manifest)
        return replace(self, enroller=self.enroller.twin(), keyword=keyword)


# --- a person


class ToEnrol(NamedTuple):
    """Somebody with `enroll` rows."""

    phrase: str
    speaker: str
    files: list[Path]


class Taken(NamedTuple):
    """What became of them."""

    phrase: str
    voiceprint: Voiceprint | None
    refused: list[str]
    """`phrase/speaker: why`."""
    unreadable: list[str]
    """`path: why`."""
    not_used: list[str]
    """`phrase/speaker: path: why`."""


def enrol_one(setup: Setup, one: ToEnrol) -> Taken:
    """Enrols somebody, or takes the enrolment that was kept."""
    who = f"{one.phrase}/{one.speaker}"
    recordings, faults = read_recordings([str(path) for path in one.files], setup.channel, setup.takes)
    unreadable = [f"{fault.file}: {fault.detail}" for fault in faults]
    place = setup.kept and setup.kept / _of_what(setup, recordings)
    if place and place.exists():
        voiceprint, not_used = kept.read(place, one.speaker)
        return Taken(one.phrase, voiceprint, [], unreadable, [f"{who}: {line}" for line in not_used])
    takes = [said(recording, setup.take_conditions) for recording in recordings]
    try:
        enrolment = setup.enroller.enrol(one.speaker, takes, setup.keyword, setup.options, faults=faults)
    except EnrolmentRefused as error:
        return Taken(one.phrase, None, [f"{who}: {error}"], unreadable, [])
    not_used = [str(fault) for fault in enrolment.faults if fault.reason != "unreadable"]
    if place:
        kept.write(place, enrolment.voiceprint, not_used)
    return Taken(one.phrase, enrolment.voiceprint, [], unreadable, [f"{who}: {line}" for line in not_used])


def _of_what(setup: Setup, recordings: Sequence[RecordedFile]) -> str:
    """The name of an enrolment: another one, whenever something that it is made of has changed."""
    enroller, keyword = setup.enroller, setup.keyword
    networks = (enroller.speaker.card.sha256, enroller.head.card.sha256, keyword and keyword.manifest.model_sha256)
    return kept.name_of(
        [recording.file for recording in recordings],
        [*networks, asdict(enroller.cohort), asdict(setup.options), setup.channel],
        setup.take_conditions and asdict(setup.take_conditions),
    )


def said(recording: RecordedFile, conditions: Conditions | None) -> AnyRecording:
    """What an `enroll` row is in the conditions of the takes."""
    if conditions is None:
        return recording
    samples = without_offset(np.concatenate([*recording.pieces()]))[0]
    return Recording(recording.file, conditions.apply(samples, key_of(Path(recording.file))))


def key_of(path: Path) -> str:
    """What chance is drawn from: the same wherever the data lies."""
    return f"{path.parent.name}/{path.name}"


# --- a try


class ToHear(NamedTuple):
    """One `test` row."""

    phrase: str
    speaker: str
    path: Path
    by_telephone: bool
    """Whether it is to be heard through a line, too: somebody is known by telephone alone."""


class Try(NamedTuple):
    """One `test` row that can be read."""

    speaker: str
    path: Path
    heard: Utterance | None
    """None: the detector would not have got so far."""
    lined: Utterance | None
    """The same through a line, where somebody is known by telephone alone; else as it was heard."""


def hear_one(setup: Setup, one: ToHear) -> Try | str:
    """What is heard, or why the row cannot be read."""
    try:
        heard = [*_heard(setup, one)]
    except AudioError as error:
        return str(error)
    if setup.options.trainer not in HEARING:
        heard = [each and each._replace(mel=None) for each in heard]  # 40 kB a try that nobody asks for
    return Try(one.speaker, one.path, *heard)


def _heard(setup: Setup, one: ToHear) -> tuple[Utterance | None, Utterance | None]:
    key = key_of(one.path)
    for number, piece in enumerate(RecordedFile(str(one.path), setup.channel).pieces()):
        samples = setup.conditions.apply(without_offset(piece)[0], f"{key}/{number}" if number else key)
        for crop, heard in _utterances(setup.enroller, samples, setup.keyword):
            return heard, by_line(setup.enroller.speaker, crop, heard) if one.by_telephone else heard
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


# --- a person and all tries


@dataclass(frozen=True)
class Tries:
    """All of a phrase, in arrays that are made once for everybody who is asked."""

    every: list[Try]

    @functools.cached_property
    def speakers(self) -> list[str]:
        """Who spoke each."""
        return [each.speaker for each in self.every]

    @functools.cached_property
    def plain(self) -> Heard:
        """As they came."""
        return _in_arrays([each.heard for each in self.every])

    @functools.cached_property
    def lined(self) -> Heard:
        """As they would have come by telephone."""
        return _in_arrays([each.lined for each in self.every])


class Heard(NamedTuple):
    """Of n tries those k in which something was heard."""

    at: npt.NDArray[np.intp]
    """(k,) their numbers."""
    embeddings: Float32
    """(k, embedding size); (0, 0) of none."""
    may: Open
    """(k, 1 + conditions), by `open_to`."""
    snr_db: list[float]
    mels: list[Float32 | None]
    """Of each, where the trainer hears tries."""


def _in_arrays(tries: list[Utterance | None]) -> Heard:
    heard = {number: each for number, each in enumerate(tries) if each is not None}
    if not heard:
        return Heard(np.zeros(0, np.intp), np.zeros((0, 0), np.float32), np.zeros((0, len(PLAIN)), bool), [], [])
    embeddings = np.array([each.embedding for each in heard.values()], np.float32)
    may = np.array([open_to(each) for each in heard.values()])
    snr_db, mels = ([getattr(each, name) for each in heard.values()] for name in ("snr_db", "mel"))
    return Heard(np.array([*heard]), embeddings, may, snr_db, mels)


def ask_one(setup: Setup, one: tuple[Voiceprint, Tries]) -> dict[str, Scores]:
    """System -> (n,) what it says of all tries against one person, less the threshold."""
    person, tries = one
    enroller, heard = setup.enroller, tries.lined if person.by_telephone else tries.plain
    scores = {system: np.full(len(tries.every), REJECTED, np.float32) for system in (HEAD, *COMPARATORS)}
    if len(heard.at):
        allowed = np.array([allowance(person, snr_db) for snr_db in heard.snr_db], np.float32)
        scores[HEAD][heard.at] = enroller.verifier.margin(person, heard.embeddings, heard.may, heard.mels) + allowed
        for name, comparator in COMPARATORS.items():
            margins = comparator(enroller, person, heard.embeddings)
            # log odds are on another scale
            scores[name][heard.at] = margins + allowed if name == COSINE else margins
    return scores

"""Trial lists -> error rates, through the real enrolment.

A list is a CSV file with the columns `path,speaker,phrase,role`; paths are relative to it. Every speaker of a phrase
with `enroll` rows is enrolled; every `test` row of that phrase is scored against everybody who is.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio import Float32
from earmark.engine.errors import AudioError, EnrolmentRefused, InputError
from earmark.engine.files import read_audio
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.person import COSINE, Voiceprint
from earmark.engine.verifier import Verifier

from . import metrics, quality
from .enrolment import Enroller, Options, Recording

COLUMNS = {"path", "speaker", "phrase", "role"}
REJECTED = -1.0  # score of a try in which no speech or no wake word was found: it is rejected at any threshold
FARS = (0.01, 0.001)
Roles = dict[str, list[Path]]


@dataclass(frozen=True)
class Scores:
    """What one system said of all trials."""

    targets: Float32
    impostors: Float32
    target_accepted: Float32
    """1 where the enrolled threshold let the person in, else 0."""
    impostor_accepted: Float32

    def rates(self) -> dict[str, float]:
        """EER, FRR at fixed FAR, and both errors at the enrolled thresholds."""
        fixed = {f"frr_at_far_{far:g}": metrics.frr_at_far(self.targets, self.impostors, far) for far in FARS}
        return {
            "eer": metrics.eer(self.targets, self.impostors),
            **fixed,
            "frr_at_enrolled": 1 - float(self.target_accepted.mean()),
            "far_at_enrolled": float(self.impostor_accepted.mean()),
        }


def read_trials(path: Path) -> dict[str, dict[str, Roles]]:
    """phrase -> speaker -> role -> files.

    Raises:
        InputError: it cannot be read, or lacks a column.
    """
    trials: dict[str, dict[str, Roles]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not set(reader.fieldnames or ()) >= COLUMNS:
                raise InputError(f"{path}: a trial list has the columns {', '.join(sorted(COLUMNS))}")
            for row in reader:
                trials[row["phrase"]][row["speaker"]][row["role"]].append(path.parent / row["path"])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return trials


def evaluate(
    trials: dict[str, dict[str, Roles]],
    enroller: Enroller,
    keyword: KeywordNetwork | None,
    options: Options,
    takes: int | None = None,
    set_name: str = "",
    on_phrase: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Error rates of what enrolment would really use (`head`) and of the plain cosine of the same takes (`cosine`).

    Args:
        takes: at most so many `enroll` rows of each person.
        set_name: the corpus's name in the cohort; its speakers are left out of the cohort one and all.
        on_phrase: told how many phrases are done, and of how many.
    """
    if set_name:
        enroller = without_set(enroller, set_name)
    trial_rows: dict[str, list[tuple[bool, float, bool]]] = {"head": [], "cosine": []}
    refused = []
    for number, (phrase, people) in enumerate(trials.items()):
        tests = {
            speaker: [embed_try(enroller, path, keyword) for path in roles["test"]]
            for speaker, roles in people.items()
        }
        for speaker, roles in people.items():
            if not roles["enroll"]:
                continue
            try:
                person = enrol_files(enroller, speaker, roles["enroll"][:takes], keyword, options)
            except EnrolmentRefused:
                refused.append(f"{phrase}/{speaker}")
                continue
            for system, values in _score(enroller, person, tests):
                trial_rows[system] += values
        if on_phrase is not None:
            on_phrase(number + 1, len(trials))
    systems = {system: _collect(rows).rates() for system, rows in trial_rows.items()}
    own = sum(target for target, _, _ in trial_rows["head"])
    counts = {"target": own, "impostor": len(trial_rows["head"]) - own}
    return {"trials": counts, "refused": refused, "systems": systems}


def without_set(enroller: Enroller, set_name: str) -> Enroller:
    """The same, with no clip of one corpus in the cohort."""
    cohort = enroller.cohort
    return replace(enroller, cohort=cohort.pick(~np.char.startswith(cohort.speaker, f"{set_name}/")))


def enrol_files(
    enroller: Enroller, name: str, files: list[Path], keyword: KeywordNetwork | None, options: Options
) -> Voiceprint:
    """Enrols from those of the files that can be read; raises EnrolmentRefused."""
    recordings = []
    for path in files:
        try:
            recordings.append(Recording.read(str(path)))
        except AudioError:
            continue
    return enroller.enrol(name, recordings, keyword, options).voiceprint


def embed_try(enroller: Enroller, path: Path, keyword: KeywordNetwork | None) -> Float32 | None:
    """(512,), or None where the detector would not have got so far."""
    for found in quality.find_takes(read_audio(path), str(path), keyword):
        if isinstance(found, quality.Take):
            return enroller.speaker.embed(found.crop)
    return None


def _score(
    enroller: Enroller, person: Voiceprint, tests: dict[str, list[Float32 | None]]
) -> Iterator[tuple[str, list[tuple[bool, float, bool]]]]:
    """For both systems: whether it is a target, the score, and whether the threshold lets it in."""
    verifier = Verifier([], enroller.speaker, enroller.head)
    rows = [(speaker == person.name, embedding) for speaker, tries in tests.items() for embedding in tries]
    known = np.array([embedding for _, embedding in rows if embedding is not None], np.float32).reshape(-1, 512)
    plain = person.report["cosine_threshold"]
    for system, scores, threshold in (
        ("head", verifier.score(person, known), person.threshold),
        ("cosine", known @ person.centroid, person.threshold if person.kind == COSINE else plain),
    ):
        left = iter(scores.tolist())
        values = [REJECTED if embedding is None else next(left) for _, embedding in rows]
        yield system, [(own, value, value >= threshold) for (own, _), value in zip(rows, values)]


def _collect(rows: list[tuple[bool, float, bool]]) -> Scores:
    own, scores, accepted = (np.array(column) for column in zip(*rows))
    own = own.astype(bool)
    scores, accepted = scores.astype(np.float32), accepted.astype(np.float32)
    return Scores(scores[own], scores[~own], accepted[own], accepted[~own])

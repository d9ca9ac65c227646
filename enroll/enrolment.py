"""Recordings in, a voiceprint out: find the takes, judge them, embed, augment, train, choose, calibrate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio import Float32, Int16
from earmark.engine.card import MODELS_DIR
from earmark.engine.errors import AudioError, EnrolmentRefused, ModelError
from earmark.engine.files import read_audio
from earmark.engine.head import HeadWeights, SpeakerHead
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.person import ANY_PHRASE, COSINE, TRAINED, Voiceprint
from earmark.engine.speaker import SpeakerNetwork, snr_db
from earmark.engine.verifier import binding_of

from . import calibrate, quality
from .augment import augmented
from .cohort import Cohort
from .cohort import load as load_cohort
from .quality import Fault, Take
from .train import Progress, TakeEmbeddings, TrainPlan, train

MAX_OTHERS = 64  # crops of other people who train: half of the head's rows are left to the shipped cohort
MIN_PHRASE_COHORT = 100  # impostors saying the very phrase: from so many on, the others are left out of the threshold

OnStage = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Recording:
    """One file of an enrolment."""

    file: str
    samples: Int16
    """(n,) int16 at 16 kHz."""

    @classmethod
    def read(cls, file: str) -> Recording:
        """Reads a file; raises what `FileSource` raises."""
        return cls(file, read_audio(file))


def read_recordings(files: Sequence[str]) -> tuple[list[Recording], list[Fault]]:
    """The recordings, and the faults of those that cannot be read."""
    recordings, faults = [], []
    for file in files:
        try:
            recordings.append(Recording.read(file))
        except AudioError as error:
            faults.append(Fault(file, "unreadable", str(error).removeprefix(f"{file}: ")))
    return recordings, faults


@dataclass(frozen=True)
class Options:
    """What the person enrolling may choose."""

    seed: int = 0
    far: float = 0.01
    """Wanted share of accepted impostors, 0…1."""
    min_takes: int = 3
    plan: TrainPlan = field(default_factory=TrainPlan)


@dataclass(frozen=True)
class _Others:
    """Other people at the same microphone."""

    recordings: int
    """Those that could be used."""
    own_crops: int
    """How many crops were left out because they sound like the owner."""
    embeddings: Float32
    """(m, 512), one a crop."""


@dataclass(frozen=True)
class Enrolment:
    """What came of it."""

    voiceprint: Voiceprint
    faults: list[Fault]


@dataclass(frozen=True)
class Enroller:
    """The networks and impostors of an enrolment; they serve any number of people."""

    speaker: SpeakerNetwork
    head: SpeakerHead
    cohort: Cohort

    @classmethod
    def load(cls, folder: Path = MODELS_DIR) -> Enroller:
        """With the networks and the cohort of a folder; by default those that earmark carries.

        Raises:
            ModelError: one is damaged, or they do not belong together.
        """
        enroller = cls(SpeakerNetwork(folder), SpeakerHead(folder), load_cohort(folder))
        sizes = {
            "speaker": enroller.speaker.embedding_size,
            "head": enroller.head.embedding_size,
            "cohort": enroller.cohort.embeddings.shape[1],
        }
        if len(set(sizes.values())) > 1:
            raise ModelError(f"{folder}: embedding sizes {sizes} differ: build head and cohort for this network")
        return enroller

    def enrol(
        self,
        name: str,
        recordings: Sequence[Recording],
        keyword: KeywordNetwork | None,
        options: Options | None = None,
        on_stage: OnStage | None = None,
        on_step: Progress | None = None,
        faults: Sequence[Fault] = (),
        others: Sequence[Recording] = (),
    ) -> Enrolment:
        """Makes a voiceprint; nothing is written.

        Args:
            keyword: None accepts any phrase.
            on_stage: told how far each stage is.
            on_step: told each training step's loss.
            faults: of files that could not even be read; they are listed with those found here.
            others: other people, or the television, at the same microphone, saying the wake word or anything else;
                what trains, trains against them too. Neither they nor their embeddings are in the voiceprint.

        Raises:
            EnrolmentRefused: too few takes are left, or none of `others`; the message lists why.
        """
        options, on_stage = options or Options(), on_stage or _untold
        takes, faults = self._takes(recordings, keyword, on_stage, list(faults))
        if len(takes) < options.min_takes:
            raise EnrolmentRefused(_refusal(name, len(takes), options.min_takes, faults), faults)
        takes = takes[: self.head.take_rows]  # the head has no more rows, and nobody needs so many
        heard = self._others(others, np.array([clean for _, clean in takes]), keyword, on_stage, faults)
        if others and not heard.recordings:
            listed = "".join(f"\n  {fault}" for fault in faults)
            raise EnrolmentRefused(f"{name!r} was not enrolled: none of the others can be used{listed}", faults)
        embedded = self._embed(takes, options, on_stage)
        phrase, sha256 = (keyword.manifest.name, keyword.manifest.model_sha256) if keyword else (ANY_PHRASE, "")
        voiceprint = self._make(name, embedded, heard, phrase, sha256, options, on_step)
        noisy = _rounded(float(np.median([snr_db(take.crop) for take, _ in takes])))
        voiceprint = replace(voiceprint, report={**voiceprint.report, "takes_snr_db": noisy})
        return Enrolment(voiceprint, faults)

    def remake(
        self,
        name: str,
        takes: Float32,
        phrase: str,
        keyword_sha256: str,
        options: Options | None = None,
        on_step: Progress | None = None,
    ) -> Voiceprint:
        """Makes a voiceprint from embeddings alone, where there is no sound of the takes any more.

        Nothing can be varied then: the head is trained with the takes as they are.

        Args:
            name: of the person.
            takes: (n, embedding size) of this speaker network, unit rows; n ≥ 1.
            phrase: name of the wake word, or `any-phrase`.
            keyword_sha256: of its network; empty for `any-phrase`.
            options: seed and plan say nothing here but the steps of the training.
            on_step: told each training step's loss.
        """
        options = options or Options()
        options = replace(options, plan=replace(options.plan, copies=0))
        none = np.zeros((0, takes.shape[1]), np.float32)
        embedded = [TakeEmbeddings(take, none) for take in takes[: self.head.take_rows]]
        return self._make(name, embedded, _Others(0, 0, none), phrase, keyword_sha256, options, on_step)

    def _takes(
        self,
        recordings: Sequence[Recording],
        keyword: KeywordNetwork | None,
        on_stage: OnStage,
        faults: list[Fault],
    ) -> tuple[list[tuple[Take, Float32]], list[Fault]]:
        """The good takes with their embeddings, and the faults of the others."""
        good: list[tuple[Take, Float32]] = []
        for number, recording in enumerate(recordings):
            for found in quality.find_takes(recording.samples, recording.file, keyword):
                if isinstance(found, Fault):
                    faults.append(found)
                else:
                    good.append((found, self.speaker.embed(found.crop)))
            on_stage("listening", number + 1, len(recordings))
        embeddings = np.array([embedding for _, embedding in good])
        copies = dict(quality.repeated(embeddings)) if good else {}
        others = quality.other_voices(embeddings, copies) if good else {}
        for later, earlier in copies.items():
            faults.append(Fault(good[later][0].file, "same_take_twice", f"it is {good[earlier][0].file}"))
        for number, cosine in others.items():
            detail = f"resembles the other takes by {cosine:.2f} only, they each other by more"
            faults.append(Fault(good[number][0].file, "other_voice", detail))
        return [pair for number, pair in enumerate(good) if number not in copies and number not in others], faults

    def _others(
        self,
        recordings: Sequence[Recording],
        takes: Float32,
        keyword: KeywordNetwork | None,
        on_stage: OnStage,
        faults: list[Fault],
    ) -> _Others:
        """The crops of those recordings that are of others; the faults of the rest are appended to `faults`."""
        centroid = calibrate.unit_mean(takes)
        used, own = [np.zeros((0, takes.shape[1]), np.float32)], 0
        for number, recording in enumerate(recordings):
            found = quality.other_crops(recording.samples, recording.file, keyword)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                embeddings = np.array([self.speaker.embed(crop) for crop in found])
                like_owner = quality.own_crops(embeddings, centroid)
                own += int(like_owner.sum())
                if 2 * like_owner.sum() < len(found):
                    used.append(embeddings[~like_owner])
                else:
                    detail = f"{like_owner.sum()} of {len(found)} crops resemble the takes as the owner does"
                    faults.append(Fault(recording.file, "sounds_like_owner", detail))
            on_stage("others", number + 1, len(recordings))
        return _Others(len(used) - 1, own, np.concatenate(used))

    def _embed(self, takes: list[tuple[Take, Float32]], options: Options, on_stage: OnStage) -> list[TakeEmbeddings]:
        """The takes with their augmented copies, each copy from a random stream of its own."""
        copies = min(options.plan.copies, self.head.take_rows // len(takes) - 1)
        embedded = []
        for number, (take, clean) in enumerate(takes):
            rows = []
            for copy in range(copies):
                rng = np.random.default_rng([options.seed, number, copy])
                try:
                    rows.append(self.speaker.embed(augmented(take.crop, rng)))
                except AudioError:  # the jitter cut a very short word too short: the take itself is copied instead
                    rows.append(clean)
            embedded.append(TakeEmbeddings(clean, np.array(rows, np.float32).reshape(copies, len(clean))))
            on_stage("varying", number + 1, len(takes))
        return embedded

    def _make(
        self,
        name: str,
        takes: list[TakeEmbeddings],
        others: _Others,
        phrase: str,
        keyword_sha256: str,
        options: Options,
        on_step: Progress | None,
    ) -> Voiceprint:
        mean = calibrate.centroid(takes)
        to_train, to_measure = self.cohorts(phrase, mean)
        at_home = others.embeddings[np.argsort(-(others.embeddings @ mean), kind="stable")[:MAX_OTHERS]]
        to_train = np.concatenate([at_home, to_train])[: self.head.cohort_rows]
        trials = calibrate.leave_one_out(self.head, takes, to_measure, to_train, options.plan)
        kind = calibrate.better_kind(trials)
        trained = train(self.head, takes, to_train, options.plan, on_step) if kind == TRAINED else None
        thresholds = {}
        for each in {COSINE, kind}:
            impostors = calibrate.kind_scores(each, self.head, trained, mean, to_measure)
            thresholds[each] = calibrate.threshold(each, impostors, len(takes), options.far)
        report = _report(trials, kind, thresholds, len(to_measure), options)
        if others.recordings:
            scores = calibrate.kind_scores(kind, self.head, trained, mean, others.embeddings)
            report["others"] = {
                "recordings": others.recordings,
                "crops": len(scores),
                "own_crops": others.own_crops,
                "trained": len(at_home) if kind == TRAINED else 0,
                "let_in": int(np.sum(scores >= thresholds[kind])),
            }
        none = np.zeros(0, np.float32)
        return Voiceprint(
            name=name,
            keyword=phrase,
            kind=kind,
            threshold=thresholds[kind],
            binding=binding_of(keyword_sha256, self.speaker.card, self.head.card),
            takes=np.array([take.clean for take in takes]),
            centroid=mean,
            prototype=trained.prototype if trained else none,
            weights=trained.weights if trained else HeadWeights(none.reshape(0, 0), none),
            report=report,
        )

    def cohorts(self, phrase: str, mean: Float32) -> tuple[Float32, Float32]:
        """Impostors to train against and, other people, to measure with: the phrase's own where there are enough."""
        same = self.cohort.pick(self.cohort.phrase == phrase)
        halves = (same if len(same) >= MIN_PHRASE_COHORT else self.cohort).halves()
        return halves[0].nearest(mean, self.head.cohort_rows).embeddings, halves[1].embeddings


def _report(
    trials: dict[str, calibrate.Trial], kind: str, thresholds: dict[str, float], impostors: int, options: Options
) -> dict[str, Any]:
    """What was measured, for people and for `earmark evaluate`."""
    own = trials[kind].own if kind in trials else np.zeros(0, np.float32)
    rejected = int(np.sum(own < thresholds[kind]))
    return {
        "seed": options.seed,
        "wanted_far": options.far,
        "kept": kind,
        "impostors": impostors,
        "cosine_threshold": _rounded(thresholds[COSINE]),
        "expected_frr": {
            "rejected": rejected,
            "of": len(own),
            "ci95": [_rounded(bound) for bound in calibrate.share_interval(rejected, len(own))],
        },
        "leave_one_out": {
            name: {"own": [_rounded(score) for score in trial.own], "margin": _rounded(trial.margin())}
            for name, trial in trials.items()
        },
    }


def _untold(_stage: str, _done: int, _total: int) -> None:
    """For callers who do not want to be told."""


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _refusal(name: str, good: int, wanted: int, faults: Sequence[Fault]) -> str:
    reasons = "".join(f"\n  {fault}" for fault in faults)
    return f"{name!r} was not enrolled: {good} good takes, at least {wanted} are needed (five are better){reasons}"

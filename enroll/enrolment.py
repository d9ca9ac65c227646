"""Recordings in, a voiceprint out: find the takes, judge them, embed, augment, train, choose, calibrate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import EnrolmentRefused, InputError, ModelError
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.head import SpeakerHead, no_weights
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.networks.trained.kinds import HEARING
from earmark.engine.people.loading import binding_of
from earmark.engine.people.store import ANY_PHRASE, COSINE, TRAINED, PersonStore, Voiceprint
from earmark.engine.verifier import HEAD_SHARE, HEAD_SHARE_WITHOUT_ELSEWHERE, Verifier

from .guided.session import Ended, Phase, advance, for_files
from .options import SILENT, Options, Watcher
from .phrase.own import OwnPhrase
from .recordings import AnyRecording, Recording
from .refusals import refusal, require_one_voice
from .takes.hearing import AcceptedTake, Hearing
from .takes.others import MAX_PIECES, Others, other_crops, own_crops
from .takes.quality import Fault
from .takes.varied import varied
from .training import calibrate, loose_cutoff
from .training.achieved import Achieved
from .training.cohort import Cohort
from .training.cohort import load as load_cohort
from .training.report import of_others, report, rounded
from .training.train import TakeEmbeddings, median_high_db
from .training.trainers.base import Lesson, Trainer, Voices
from .training.trainers.registry import trainer_of

__all__ = ["Enroller", "Enrolment", "Options", "Recording"]

MIN_AGREEING = 4  # of fewer takes the score of one left out says too little
MAX_OTHERS = 64  # crops of other people who train: half of the head's rows are left to the shipped cohort
MIN_PHRASE_COHORT = 100  # impostors saying the very phrase: from so many on, the others are left out of the threshold


@dataclass(frozen=True)
class Enrolment:
    """What came of it."""

    voiceprint: Voiceprint
    faults: list[Fault]
    achieved: dict[str, Achieved]
    """Of each kind of score that there is; `voiceprint.kind` was kept."""

    def save(self, store: PersonStore | str | os.PathLike[str] | None = None) -> Path:
        """Writes the voiceprint as the newest version of this person; returns the version's folder.

        Args:
            store: the people, or their folder, which is made where there is none; None: the user's own store.

        Raises:
            PersonLocked: the store is encrypted, and the key is wrong or not to be had.
            StoreUnwritable: the disk is full, or the folder may not be written; nothing has changed.
        """
        people = store if isinstance(store, PersonStore) else PersonStore(store)
        return people.save(self.voiceprint)


@dataclass(frozen=True)
class Enroller:
    """The networks and impostors of an enrolment; they serve any number of people."""

    speaker: SpeakerNetwork
    head: SpeakerHead
    cohort: Cohort
    folder: Path = MODELS_DIR
    """Of the networks."""

    @classmethod
    def load(cls, folder: Path = MODELS_DIR) -> Enroller:
        """With the networks and the cohort of a folder; by default those that earmark carries.

        Raises:
            ModelError: one is damaged, or they do not belong together.
        """
        enroller = cls(SpeakerNetwork(folder, "on"), SpeakerHead(folder), load_cohort(folder), folder)
        sizes = {
            "speaker": enroller.speaker.embedding_size,
            "head": enroller.head.embedding_size,
            "cohort": enroller.cohort.embeddings.shape[1],
        }
        if len(set(sizes.values())) > 1:
            raise ModelError(f"{folder}: embedding sizes {sizes} differ: build head and cohort for this network")
        return enroller

    def twin(self) -> Enroller:
        """The same with networks of its own: a network serves one thread at a time."""
        return replace(self, speaker=self.speaker.twin(), head=self.head.twin())

    def enrol(
        self,
        name: str,
        recordings: Sequence[AnyRecording],
        keyword: KeywordNetwork | str | None,
        options: Options | None = None,
        *,
        others: Sequence[AnyRecording] = (),
        faults: Sequence[Fault] = (),
        watcher: Watcher = SILENT,
        phrase: OwnPhrase | None = None,
    ) -> Enrolment:
        """Makes a voiceprint; nothing is written.

        Args:
            keyword: a network, or the name of a wake word; None accepts any phrase.
            options: what the person may choose; None: nothing was chosen.
            others: other people, or the television, at the same microphone, saying the wake word or anything else;
                what trains, trains against them too. Neither they nor their embeddings are in the voiceprint.
            faults: of files that could not even be read; they are listed with those found here.
            watcher: told how far it is.
            phrase: without a keyword, what the takes are of, where it is to be a wake word of its own.

        Raises:
            EnrolmentRefused: too few takes are left, or none of `others`; the message lists why.
            InputError: there are `others`, and the trainer hears the sound of its own strangers alone.
        """
        options = options or Options()
        if others and options.trainer in HEARING:
            raise InputError(f"{options.trainer!r} does not train against others: leave them out, or the trainer")
        keyword = KeywordNetwork(keyword) if isinstance(keyword, str) else keyword
        hearing, session = self.hearing(keyword, options), for_files(options.min_takes)
        for number, recording in enumerate(recordings):
            session = advance(session, hearing.files(recording.pieces(), recording.file))
            watcher.stage("listening", number + 1, len(recordings))
        session = advance(advance(session, hearing.settle()), Ended())
        faults = [*faults, *session.faults]
        if options.refuse_disagreeing:
            every = hearing.heard.values()
            embeddings = np.array([take.embedding for take in every], np.float32)
            require_one_voice(name, embeddings, [take.take.file for take in every], faults)
        if session.phase is Phase.GIVEN_UP:
            raise EnrolmentRefused(refusal(name, len(session.takes), options.min_takes, faults, keyword), faults)
        numbers = session.takes[: self.head.take_rows]  # the head has no more rows, and nobody needs so many
        takes = [hearing.heard[number] for number in numbers]
        takes = takes if phrase is None else phrase.of_the_phrase(name, takes, options.min_takes, faults)
        centroid = calibrate.unit_mean(np.array([take.embedding for take in takes]))
        heard = self._others(others, centroid, keyword, watcher, faults)
        if others and not heard.recordings:
            listed = "".join(f"\n  {fault}" for fault in faults)
            raise EnrolmentRefused(f"{name!r} was not enrolled: none of the others can be used{listed}", faults)
        embedded = []
        for number, take in enumerate(takes):
            embedded.append(self.vary(take, number, len(takes), keyword, options))
            watcher.stage("varying", number + 1, len(takes))
        noisy = float(np.median([take.crop_snr_db for take in takes]))
        made = self.enrol_takes(
            name, embedded, keyword, options, others=heard, faults=faults, takes_snr_db=noisy, watcher=watcher
        )
        if phrase is None:
            return made
        said = [take.take.analysis for take in takes]
        return replace(made, voiceprint=phrase.added_to(made.voiceprint, said, options.seed))

    @property
    def verifier(self) -> Verifier:
        """Asks voiceprints with the same networks; it knows nobody."""
        return Verifier([], self.speaker, self.head, self.folder)

    def hearing(self, keyword: KeywordNetwork | None, options: Options) -> Hearing:
        """What judges the recordings of one person."""
        return Hearing(self.speaker, keyword, limits=options.limits)

    def remake(
        self,
        name: str,
        takes: Float32,
        phrase: str,
        keyword_sha256: str,
        options: Options | None = None,
        copies: Float32 | None = None,
        through: Float32 | None = None,
        high_db: float | None = None,
        watcher: Watcher = SILENT,
    ) -> Voiceprint:
        """Makes a voiceprint from embeddings alone, where there is no sound of the takes any more.

        Nothing can be varied then: without the variations of the enrolment the head is trained with the takes as they
        are, and in noise it rejects its owner half as often again.

        Args:
            name: of the person.
            takes: (n, embedding size) of this speaker network, unit rows; n ≥ 1.
            phrase: name of the wake word, or `any-phrase`.
            keyword_sha256: of its network; empty for `any-phrase`.
            options: seed and plan say nothing here but the steps of the training.
            copies: (n, c, embedding size) variations of the takes; None: there are none.
            through: (n, k, embedding size) the takes from elsewhere; None: there are none.
            high_db: `Analysis.high_db` of the takes; None: nobody knows.
            watcher: told each training step's loss.
        """
        options = options or Options()
        none = np.zeros((0, takes.shape[1]), np.float32)
        varied, away = (
            rows if rows is not None and len(rows) == len(takes) else [none] * len(takes)
            for rows in (copies, through)
        )
        embedded = [
            TakeEmbeddings(take, rows, elsewhere=others, high_db=high_db)
            for take, rows, others in zip(takes[: self.head.take_rows], varied, away)
        ]
        nobody = Others.nobody(takes.shape[1])
        return self._make(name, embedded, nobody, phrase, keyword_sha256, options, watcher).voiceprint

    def _others(
        self,
        recordings: Sequence[AnyRecording],
        centroid: Float32,
        keyword: KeywordNetwork | None,
        watcher: Watcher,
        faults: list[Fault],
    ) -> Others:
        """The crops of those recordings that are of others; the faults of the rest are appended to `faults`."""
        heard = Others.nobody(len(centroid))
        for number, recording in enumerate(recordings):
            found = self.hear_others(recording, centroid, keyword)
            if isinstance(found, Fault):
                faults.append(found)
            else:
                heard = heard.and_also(found)
            watcher.stage("others", number + 1, len(recordings))
        return heard

    def hear_others(
        self, recording: AnyRecording, centroid: Float32, keyword: KeywordNetwork | None
    ) -> Others | Fault:
        """What is said by others in one recording; a fault where it is mostly the owner of the (192,) centroid."""
        rows: list[Float32] = []
        faults: list[Fault] = []
        number, every = 0, 1
        for piece in recording.pieces():
            found = other_crops(piece, recording.file, keyword)
            if isinstance(found, Fault):
                faults.append(found)
                continue
            for crop in found:
                if number % every == 0:
                    rows.append(self.speaker.hear_analysed(crop).embedding)
                number += 1
                if len(rows) > MAX_PIECES:  # of a long one every second, fourth … is enough
                    rows, every = rows[::2], 2 * every
        if not rows:
            return faults[0]
        embeddings = np.array(rows)
        like_owner = own_crops(embeddings, centroid)
        if 2 * like_owner.sum() < len(rows):
            return Others(1, int(like_owner.sum()), embeddings[~like_owner])
        detail = f"{like_owner.sum()} of {len(rows)} crops resemble the takes as the owner does"
        return Fault(recording.file, "sounds_like_owner", detail)

    def vary(
        self, heard: AcceptedTake, number: int, of: int, keyword: KeywordNetwork | None, options: Options
    ) -> TakeEmbeddings:
        """A take with its augmented copies, each copy from a random stream of its own, and how each is heard.

        Args:
            heard: the take.
            number: of the take, 0, 1, …: part of the random streams' seed.
            of: how many takes there will be: of more than the head has rows for, fewer copies are made.
            keyword: the network that is to hear them; None: any phrase.
            options: their plan and seed.
        """
        copies = min(options.plan.copies, self.head.take_rows // of - 1)
        seed = [options.seed, number]
        return varied(self.speaker, heard.take.analysis, heard.embedding, seed, copies, keyword, heard.mel)

    def enrol_takes(
        self,
        name: str,
        takes: Sequence[TakeEmbeddings],
        keyword: KeywordNetwork | None,
        options: Options,
        *,
        others: Others | None = None,
        faults: Sequence[Fault] = (),
        takes_snr_db: float | None = None,
        watcher: Watcher = SILENT,
        phrase: str = ANY_PHRASE,
    ) -> Enrolment:
        """Makes a voiceprint of takes that were found and varied before; nothing is written.

        `takes_snr_db` is the median over the takes, of `Analysis.snr_db`; None: nobody knows. `phrase` is what they
        are of where there is no keyword network.

        Raises:
            EnrolmentRefused: it would not work: most of the takes, each left out in turn, would be rejected; or they
                are of two people.
        """
        if options.refuse_disagreeing:
            embeddings = np.array([take.clean for take in takes], np.float32)
            require_one_voice(name, embeddings, [f"take {number + 1}" for number in range(len(takes))], faults)
        nobody = Others.nobody(self.speaker.embedding_size)
        phrase, sha256 = (keyword.manifest.name, keyword.manifest.model_sha256) if keyword else (phrase, "")
        made = self._make(name, list(takes), others or nobody, phrase, sha256, options, watcher)
        rejected, of = (made.voiceprint.report["expected_frr"][key] for key in ("rejected", "of"))
        if options.refuse_disagreeing and of >= MIN_AGREEING and 2 * rejected > of:
            raise EnrolmentRefused(
                f"{name!r} was not enrolled: {rejected} of {of} takes do not sound like the others: let one "
                "person say all of them, at one microphone, in a quieter room",
                faults,
            )
        if takes_snr_db is not None:
            report = {**made.voiceprint.report, "takes_snr_db": rounded(takes_snr_db)}
            made = replace(made, voiceprint=replace(made.voiceprint, report=report))
        return replace(made, faults=list(faults))

    def _make(
        self,
        name: str,
        takes: list[TakeEmbeddings],
        others: Others,
        phrase: str,
        keyword_sha256: str,
        options: Options,
        watcher: Watcher,
    ) -> Enrolment:
        mean = calibrate.centroid(takes)
        trainer = trainer_of(options.trainer, self.head, self.folder)
        at_home = others.embeddings[np.argsort(-(others.embeddings @ mean), kind="stable")[:MAX_OTHERS]]
        to_train, to_measure, everybody = self._strangers(trainer, phrase, mean, at_home)
        away = _all_or_none(takes)
        high_db = median_high_db(takes)
        lined = calibrate.offsets_by_telephone(mean, away, high_db)
        share = HEAD_SHARE if away.size else HEAD_SHARE_WITHOUT_ELSEWHERE
        trials = calibrate.leave_one_out(trainer, takes, to_measure, to_train, options.plan, share)
        kind = calibrate.better_kind(trials)
        lesson = Lesson(takes, to_train, to_measure, options.plan, watcher.step)
        learned = trainer.train(lesson) if kind == TRAINED else None
        achieved = {}
        for each in sorted({COSINE, kind, *trials}):
            if each in (COSINE, kind):
                rows = [everybody, to_measure, Voices(others.embeddings)]
                every, impostors, home = (calibrate.kind_scores(each, learned, mean, some, share) for some in rows)
            else:  # it lost, and was trained on all takes but one only
                every = impostors = trials[each].others.mean(axis=0)
                home = np.zeros(0, np.float32)
            off = lined[0] if len(lined) else calibrate.offset(every) if away.size else 0.0
            threshold = calibrate.threshold(each, len(takes), options.far, bool(away.size), trainer.name)
            own = trials[each].own if each in trials else np.zeros(0, np.float32)
            achieved[each] = Achieved(threshold, *(np.clip(scores - off, -1, 1) for scores in (own, impostors, home)))
            if each == COSINE:
                cosine_limit = threshold + off
        limit = achieved[kind].threshold
        measured = {
            "seed": options.seed,
            "wanted_far": options.far,
            **report(trials, kind, achieved, len(to_measure.embeddings)),
            "cosine_threshold": rounded(cosine_limit),
        }
        if high_db is not None:
            measured["takes_high_db"] = rounded(high_db)
        if others.recordings:
            trained_on = len(at_home) if kind == TRAINED else 0
            scores = achieved[kind].others
            measured["others"] = of_others(others.recordings, others.own_crops, trained_on, scores, limit)
        voiceprint = Voiceprint(
            name=name,
            keyword=phrase,
            kind=kind,
            threshold=limit,
            binding=binding_of(keyword_sha256, self.speaker.card, self.head.card),
            takes=np.array([take.clean for take in takes]),
            centroid=mean,
            prototype=np.zeros(0, np.float32),
            weights=no_weights(),
            report=measured,
            copies=np.array([take.copies for take in takes]),
            elsewhere=away,
            loose_share=loose_cutoff.loose_share([share for take in takes for share in take.heard]),
            trainer=trainer.name,
        )
        voiceprint = replace(voiceprint, **(learned.fields() if learned is not None else {}))
        off_all = calibrate.offsets(voiceprint, self.head, everybody, self.verifier)
        return Enrolment(replace(voiceprint, offsets=off_all), [], achieved)

    def _strangers(
        self, trainer: Trainer, phrase: str, mean: Float32, at_home: Float32
    ) -> tuple[Voices, Voices, Voices]:
        """Who trains, who measures, and everybody."""
        own = trainer.strangers()
        if own is not None:
            one, other = own
            both = Voices(np.concatenate([one.embeddings, other.embeddings]), (*one.mels, *other.mels))
            return one, other, both
        to_train, to_measure = self.cohorts(phrase, mean)
        to_train = np.concatenate([at_home, to_train])[: self.head.cohort_rows]
        return Voices(to_train), Voices(to_measure), Voices(self.cohort.embeddings)

    def cohorts(self, phrase: str, mean: Float32) -> tuple[Float32, Float32]:
        """Impostors to train against and, other people, to measure with: the phrase's own where there are enough."""
        same = self.cohort.pick(self.cohort.phrase == phrase)
        halves = (same if len(same) >= MIN_PHRASE_COHORT else self.cohort).halves()
        return halves[0].nearest(mean, self.head.cohort_rows).embeddings, halves[1].embeddings


def _all_or_none(takes: Sequence[TakeEmbeddings]) -> Float32:
    """(n, k, d) of all takes from elsewhere; (0, 0, 0) where one has none, or others than the rest."""
    if len({take.elsewhere.shape for take in takes}) > 1 or not takes[0].elsewhere.size:
        return np.zeros((0, 0, 0), np.float32)
    return np.array([take.elsewhere for take in takes], np.float32)

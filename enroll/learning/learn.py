"""Learning on: one more accepted wake word in a voiceprint, where the enrolment's own takes allow it.

What an update may do is bounded twice. Learned takes together never weigh more than the enrolled ones, so that
whatever slips in, half of the voiceprint is what the person said when enrolling. And the guard asks what nobody has
to be believed for: the enrolled takes alone must accept it, and on them, each left out in turn, on the cohort, the
home's own impostors and the other people the voiceprint must do no worse than without anything learned, so that many
small steps lead no farther than a single one may.

What resembles the prototype of another condition more than the mean of the takes, a telephone or a far room, moves
that prototype and not the mean (docs/research/channels.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import LearningError
from earmark.engine.networks.conditions import ANYWHERE, PLAIN, Open
from earmark.engine.networks.trained.kinds import HEAD, HEARING
from earmark.engine.people.store import TRAINED, Voiceprint
from earmark.engine.verifier import DECADE, Verifier, fused, head_share

from ..enrolment import MAX_OTHERS, Enroller, Options
from ..takes.rules import SAME_COSINE
from ..training import calibrate
from ..training.train import TakeEmbeddings, TrainPlan, rows_of
from ..training.trainers.base import Lesson, Voices
from ..training.trainers.registry import trainer_of
from .impostors import HomeImpostors

# So many utterances Apple keeps for "Personalized Hey Siri" (Machine Learning Journal, 2018).
MOST_TAKES = 40
WIDE_DECADES = 1.0  # a margin is wide where the wake would also have been accepted at a tenth of the wanted FAR
# Of scores, in the guard: so much lower may the enrolled takes score after all that was learned. It is a ninth of a
# decade of the trained head, and hardly more than a single take of another voice costs (docs/research/learning.md).
TOLERANCE = 0.01
TRIES = 3  # so many may be refused in one update
FAR_ENOUGH = 0.2  # so far below the threshold nobody's takes matter: enroll/learning/impostors.py says who lies there


@dataclass(frozen=True)
class Addition:
    """What might be learned."""

    embedding: Float32
    """(d,), unit length."""
    facts: Mapping[str, Any]
    """Where it is from; goes into the voiceprint."""


@dataclass(frozen=True)
class Figures:
    """How a voiceprint does on takes that are beyond doubt."""

    own: Float32
    """(e,) scores less the threshold, of the enrolled takes, each left out in turn; (0,) where there is only one."""
    strangers_in: int
    """Of the cohort and of the home's impostors, how many reach the threshold."""
    nearest: float
    """Highest score less the threshold, of the enrolled takes of the other people; -2 where there is nobody."""
    elsewhere: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))
    """(k,) cosines, of the enrolled takes in each condition to the prototype, each left out: their means."""

    def worse_than(self, before: Figures) -> str | None:
        """Why a voiceprint with those figures must not become one with these; None: it may."""
        rejected, were = int(np.sum(self.own < 0)), int(np.sum(before.own < 0))
        lost = float(before.own.mean() - self.own.mean()) if len(self.own) else 0.0
        if rejected > were:
            return f"{rejected} of {len(self.own)} enrolled takes would be rejected, {were} were"
        if lost > TOLERANCE:
            return f"the enrolled takes would score {lost:.3f} less"
        lost_elsewhere = float((before.elsewhere - self.elsewhere).max(initial=0.0))
        if lost_elsewhere > TOLERANCE:
            return f"the enrolled takes would score {lost_elsewhere:.3f} less in another condition"
        if self.strangers_in > before.strangers_in:
            return f"{self.strangers_in} strangers would be let in, {before.strangers_in} were"
        if self.nearest > max(before.nearest, -FAR_ENOUGH) + TOLERANCE:
            return f"another person would come nearer, from {before.nearest:+.3f} to {self.nearest:+.3f}"
        return None


@dataclass(frozen=True)
class Outcome:
    """What came of an update."""

    voiceprint: Voiceprint | None
    """None: nothing was learned."""
    added: tuple[Addition, ...]
    refused: tuple[tuple[Addition, str], ...]
    """What was tried and must not be, and why."""


@dataclass(frozen=True)
class Learner:
    """Makes voiceprints anew from embeddings, and compares them."""

    enroller: Enroller
    plan: TrainPlan = field(default_factory=TrainPlan)

    def wide(self, person: Voiceprint, embedding: Float32, score: float | None = None) -> bool:
        """Whether it is the person beyond the doubt that the threshold leaves.

        The embedding says nothing of how it was heard. So where it is only near the prototype of a condition that
        not every try may be compared with, the `score` that the daemon gave must say so, too.
        """
        wide = WIDE_DECADES * DECADE[person.kind]
        if float(self._margin(person, embedding[None])[0]) >= wide:
            return True
        told = -1.0 if score is None else score - person.threshold
        return min(told, self._as_heard(person, embedding)) >= wide

    def in_order(self, person: Voiceprint, additions: Sequence[Addition]) -> list[Addition]:
        """From the middle of their scores outwards: the highest say nothing new, the lowest are in doubt."""
        if not additions:
            return []
        scores = np.array([self._as_heard(person, one.embedding) for one in additions])
        distance = np.abs(scores - np.median(scores))
        return [additions[number] for number in np.argsort(distance, kind="stable")]

    def learn(
        self,
        person: Voiceprint,
        additions: Sequence[Addition],
        home: HomeImpostors,
        others: Sequence[Voiceprint],
        most: int = 1,
        guard: bool = True,
    ) -> Outcome:
        """Takes at most `most` of the additions in, each only if the guard allows it.

        Args:
            person: as it is.
            additions: in the order in which they are tried.
            home: its impostors.
            others: everybody else who is enrolled for the same wake word.
            most: how many may be taken in.
            guard: only scripts/studies/home.py goes without, to see what it is worth.

        What somebody said to be the person's (`label` in its facts) need not be accepted by the enrolled takes.
        """
        guard = guard and bool(additions)
        now, home = self.at_home(person, home, others) if guard else (person, home)
        anchor = self.with_takes(person, [], home) if guard and person.learned else now
        before = self.figures(anchor, home, others) if guard else None
        added: list[Addition] = []
        refused: list[tuple[Addition, str]] = []
        for addition in additions[: most + TRIES - 1]:
            if len(added) == most:
                break
            if float((now.takes @ addition.embedding).max()) > SAME_COSINE:
                refused.append((addition, "it is in the voiceprint already"))
                continue
            if guard and not addition.facts.get("label") and self._as_heard(anchor, addition.embedding) < 0:
                refused.append((addition, "the enrolled takes alone would reject it"))
                continue
            condition = self._verifier.condition(anchor, addition.embedding)
            if condition is not None:
                addition = replace(addition, facts={**addition.facts, "condition": condition})
            after = self.with_takes(now, [*learned_of(now), addition], home)
            if before is not None:
                reason = self.figures(after, home, others).worse_than(before)
                if reason is not None:
                    refused.append((addition, reason))
                    continue
            now = after
            added.append(addition)
        return Outcome(now if added else None, tuple(added), tuple(refused))

    def at_home(
        self, person: Voiceprint, home: HomeImpostors, others: Sequence[Voiceprint]
    ) -> tuple[Voiceprint, HomeImpostors]:
        """The person trained against the home's impostors, and these; or as it is, and only those that were said.

        The second where the impostors would cost the enrolled takes too much.
        """
        if not len(home.everybody):
            return person, home
        after = self.with_takes(person, learned_of(person), home)
        if self.figures(after, home, others).worse_than(self.figures(person, home, others)) is None:
            return after, home
        return person, replace(home, impostors=home.impostors[:0])

    def with_takes(self, person: Voiceprint, learned: Sequence[Addition], home: HomeImpostors) -> Voiceprint:
        """The person from the enrolled takes and these learned ones, trained anew.

        Args:
            person: as it is; the kind of score and the wanted FAR stay.
            learned: all that are to be in it; beyond `MOST_TAKES` the oldest are left out, never an enrolled one.
            home: its impostors train too; who is said to be a stranger raises the threshold, by a decade at most.

        Raises:
            LearningError: the person's trainer needs the sound, and of what was learned there are embeddings only.
        """
        if person.kind == TRAINED and person.trainer in HEARING:
            raise LearningError(
                f"what {person.trainer!r} has trained learns from recordings alone: enrol {person.name!r} again with "
                "more takes, or with another trainer"
            )
        learned = list(learned)[max(0, len(learned) - max(0, MOST_TAKES - person.enrolled_takes)) :]
        takes, in_mean = _material(person, learned, self.plan)
        mean = _weighted_mean(takes, in_mean)
        to_train, to_measure = map(Voices, self._cohorts(person, mean, home))
        head = self.enroller.head
        trainer = trainer_of(person.trainer, head, self.enroller.folder)
        lesson = Lesson(takes, to_train, to_measure, self.plan)
        learned_now = trainer.train(lesson) if person.kind == TRAINED else None
        # The rule's term for few takes stays that of the enrolment, which it was fitted to, but for one or two takes.
        count = person.enrolled_takes if person.kind == TRAINED else max(person.enrolled_takes, min(3, sum(in_mean)))
        far = float(person.report.get("wanted_far", Options().far))
        threshold = calibrate.threshold(person.kind, count, far, bool(person.elsewhere.size), person.trainer)
        made = replace(
            person,
            threshold=threshold,
            takes=np.array([take.clean for take in takes], np.float32),
            centroid=mean,
            learned=tuple(one.facts for one in learned),
            **(learned_now.fields() if learned_now is not None else {}),
        )
        everybody = Voices(self.enroller.cohort.embeddings)
        made = replace(made, offsets=calibrate.offsets(made, head, everybody, self._verifier))
        if len(home.strangers):
            highest = float(self._margin(made, home.strangers, ANYWHERE).max()) + threshold
            made = replace(made, threshold=max(threshold, min(highest + TOLERANCE, threshold + DECADE[person.kind])))
        return made

    def figures(self, person: Voiceprint, home: HomeImpostors, others: Sequence[Voiceprint]) -> Figures:
        """What the guard compares.

        Left out is a take, with its variations, of the mean and of the prototype. The projection is not trained anew
        without it: it moves little, both sides of the comparison are alike in it, and a Pi has six times less to do.
        A single take cannot be left out: then there are only the others to compare with.
        """
        takes, in_mean = _material(person, learned_of(person), self.plan)
        own = np.empty(person.enrolled_takes if person.enrolled_takes > 1 else 0, np.float32)
        rows, weight, take_of_row = rows_of(takes, self.plan, self.enroller.head.take_rows)
        by_head = person.kind == TRAINED and person.trainer == HEAD
        if by_head:
            self.enroller.head.set_weights(person.weights)
            projected = self.enroller.head.project(rows)
        for number in range(len(own)):
            score = takes[number].clean @ _weighted_mean(takes, [*in_mean[:number], False, *in_mean[number + 1 :]])
            if person.kind == TRAINED and not by_head:
                both = self._verifier.resembled(person, takes[number].clean[None])[0, 0]
                cosine = takes[number].clean @ person.centroid
                score += both - cosine  # what the trained part adds, which is not trained anew
            elif by_head:
                prototype = (weight * (take_of_row != number)) @ projected
                clean = projected[int(np.flatnonzero(take_of_row == number)[0])]
                score = fused(score, clean @ prototype / np.linalg.norm(prototype), head_share(person))
            own[number] = score - person.offsets[:1].sum() - person.threshold
        strangers = np.concatenate([self._cohorts(person, person.centroid, home)[1], home.everybody])
        near = [other.takes[: other.enrolled_takes] for other in others if other.binding == person.binding]
        nearest = float(self._margin(person, np.concatenate(near), ANYWHERE).max()) if near else -2.0
        strangers_in = int(np.sum(self._margin(person, strangers, ANYWHERE) >= 0))
        return Figures(own, strangers_in, nearest, _agreeing(person))

    def _cohorts(self, person: Voiceprint, mean: Float32, home: HomeImpostors) -> tuple[Float32, Float32]:
        """Impostors to train against, those of the home first, and to measure with."""
        to_train, to_measure = self.enroller.cohorts(person.keyword, mean)
        heard = home.everybody
        nearest = heard[np.argsort(-(heard @ mean), kind="stable")[:MAX_OTHERS]]
        return np.concatenate([nearest, to_train])[: self.enroller.head.cohort_rows], to_measure

    def _as_heard(self, person: Voiceprint, embedding: Float32) -> float:
        """A score less the threshold, as if it was heard in the condition that it comes nearest to."""
        may = PLAIN if self._verifier.condition(person, embedding) is None else ANYWHERE
        return float(self._margin(person, embedding[None], may)[0])

    def _margin(self, person: Voiceprint, embeddings: Float32, may: Open = PLAIN) -> Float32:
        return self._verifier.margin(person, embeddings, may)

    @property
    def _verifier(self) -> Verifier:
        return self.enroller.verifier


def _agreeing(person: Voiceprint) -> Float32:
    """(k,) `Figures.elsewhere`; (0,) where nothing can be left out."""
    count = person.enrolled_takes
    if not person.elsewhere.size or count < 2:
        return np.zeros(0, np.float32)
    kept = np.arange(count)
    scores = np.empty((count, person.elsewhere.shape[1]), np.float32)
    for number in kept:
        takes = np.delete(person.takes, number, axis=0)
        rest = replace(person, takes=takes, elsewhere=person.elsewhere[kept != number])
        scores[number] = np.einsum("kd,kd->k", person.elsewhere[number], rest.prototypes[1:])
    return np.asarray(scores.mean(axis=0), np.float32)


def learned_of(person: Voiceprint) -> list[Addition]:
    """What a person has learned so far, oldest first."""
    return [Addition(*pair) for pair in zip(person.takes[person.enrolled_takes :], person.learned)]


def _material(
    person: Voiceprint, learned: Sequence[Addition], plan: TrainPlan
) -> tuple[list[TakeEmbeddings], list[bool]]:
    """The enrolled takes with their variations, and the learned ones; and which of them the mean is of.

    Learned ones together weigh no more than the enrolled; those that were heard in another condition train like the
    variations, and are not in the mean.
    """
    count = person.enrolled_takes
    none = np.zeros((0, person.takes.shape[1]), np.float32)
    copies, away = (rows if len(rows) == count else [none] * count for rows in (person.copies, person.elsewhere))
    plain = ["condition" not in one.facts for one in learned]
    share = min(1.0, count / max(1, sum(plain)))
    share_elsewhere = plan.copy_weight * min(1.0, count / max(1, len(plain) - sum(plain)))
    takes = [
        TakeEmbeddings(take, rows, elsewhere=others) for take, rows, others in zip(person.takes[:count], copies, away)
    ]
    for one, is_plain in zip(learned, plain):
        takes.append(TakeEmbeddings(one.embedding, none, share if is_plain else share_elsewhere))
    return takes, [True] * count + plain


def _weighted_mean(takes: Sequence[TakeEmbeddings], in_mean: Sequence[bool]) -> Float32:
    rows = [take.weight * take.clean for take, counts in zip(takes, in_mean) if counts]
    return calibrate.unit_mean(np.array(rows, np.float32))

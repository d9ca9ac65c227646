"""Learning on: one more accepted wake word in a voiceprint, where the enrolment's own takes allow it.

What an update may do is bounded twice. Learned takes together never weigh more than the enrolled ones, so that
whatever slips in, half of the voiceprint is what the person said when enrolling. And the guard compares the
voiceprint before and after on what nobody has to be believed for: the enrolled takes, each left out in turn, the
cohort, the home's own impostors and the other people (docs/learning.md has what both are worth).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from earmark.engine.audio import Float32
from earmark.engine.person import TRAINED, Voiceprint
from earmark.engine.verifier import DECADE, Verifier

from . import calibrate
from .enrolment import MAX_OTHERS, Enroller
from .quality import SAME_COSINE
from .train import TakeEmbeddings, TrainPlan, train

MOST_TAKES = (
    40  # so many has Apple's personalised trigger ("Personalized Hey Siri", 2018); half of the head's 80 rows
)
WIDE_DECADES = 1.0  # a margin is wide where the wake would also have been accepted at a tenth of the wanted FAR
# Of the guard, in units of score. The mean of five left-out takes moves by this much from the seed of the variations
# alone; less is no finding.
TOLERANCE = 0.005
TRIES = 3  # so many may be refused in one update: each costs a leave-one-out


FAR_ENOUGH = 0.2  # so far below the threshold nobody's takes matter: enroll/home.py says who lies there


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
    """(e,) scores less the threshold, of the enrolled takes, each left out in turn."""
    strangers_in: int
    """Of the cohort and of the home's impostors, how many reach the threshold."""
    nearest: float
    """Highest score less the threshold, of the takes of the other people; -2 where there is nobody."""

    @property
    def rejected(self) -> int:
        """How many of the own takes."""
        return int(np.sum(self.own < 0))

    def worse_than(self, before: Figures) -> str | None:
        """Why an update from those figures to these must not be; None: it may."""
        if self.rejected > before.rejected:
            return f"{self.rejected} enrolled takes would be rejected, {before.rejected} were"
        if float(self.own.mean()) < float(before.own.mean()) - TOLERANCE:
            return f"enrolled takes would score {before.own.mean() - self.own.mean():.3f} less"
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

    def wide(self, person: Voiceprint, embedding: Float32) -> bool:
        """Whether it is the person beyond the doubt that the threshold leaves."""
        return float(self._margin(person, embedding[None])[0]) >= WIDE_DECADES * DECADE[person.kind]

    def with_takes(
        self, person: Voiceprint, learned: Sequence[Addition], home: Float32, left_out: int | None = None
    ) -> Voiceprint:
        """The person from the enrolled takes and these learned ones, trained anew.

        Args:
            person: as it is; the kind of score and the wanted FAR stay.
            learned: all that are to be in it; the oldest are left out beyond `MOST_TAKES`.
            home: (m, d) impostors heard at home.
            left_out: an enrolled take to do without.
        """
        enrolled = [
            TakeEmbeddings(
                take, person.copies[number] if len(person.copies) else np.zeros((0, len(take)), np.float32)
            )
            for number, take in enumerate(person.takes[: person.enrolled_takes])
            if number != left_out
        ]
        room = max(0, MOST_TAKES - len(enrolled))
        learned = list(learned)[max(0, len(learned) - room) :]
        rows = np.array([one.embedding for one in learned], np.float32).reshape(len(learned), person.takes.shape[1])
        share = min(1.0, len(enrolled) / max(1, len(learned)))
        mean = calibrate.unit_mean(
            np.concatenate([[take.clean for take in enrolled], share * rows]).astype(np.float32)
        )
        to_train, to_measure = self._cohorts(person, mean, home)
        takes = enrolled + [TakeEmbeddings(row, np.zeros((0, len(row)), np.float32), share) for row in rows]
        head = self.enroller.head
        trained = train(head, takes, to_train, self.plan) if person.kind == TRAINED else None
        impostors = calibrate.kind_scores(person.kind, head, trained, mean, to_measure)
        count = len(enrolled) if person.kind == TRAINED else max(len(enrolled), min(3, len(enrolled) + len(learned)))
        return replace(
            person,
            threshold=calibrate.threshold(person.kind, impostors, count, float(person.report["wanted_far"])),
            takes=np.concatenate([[take.clean for take in enrolled], rows]).astype(np.float32),
            centroid=mean,
            prototype=trained.prototype if trained else person.prototype,
            weights=trained.weights if trained else person.weights,
            learned=tuple(one.facts for one in learned),
        )

    def figures(
        self, person: Voiceprint, learned: Sequence[Addition], home: Float32, others: Sequence[Voiceprint]
    ) -> Figures:
        """Leave-one-out over the enrolled takes, and who else would be let in.

        A single enrolled take cannot be left out: it is scored as it is.
        """
        own = []
        for number in range(person.enrolled_takes):
            rest = person if person.enrolled_takes == 1 else self.with_takes(person, learned, home, number)
            own.append(float(self._margin(rest, person.takes[number][None])[0]))
        strangers = np.concatenate([self._cohorts(person, person.centroid, home[:0])[1], home])
        takes = [other.takes[: other.enrolled_takes] for other in others if other.binding == person.binding]
        nearest = float(self._margin(person, np.concatenate(takes)).max()) if takes else -2.0
        return Figures(np.array(own, np.float32), int(np.sum(self._margin(person, strangers) >= 0)), nearest)

    def learn(
        self,
        person: Voiceprint,
        additions: Sequence[Addition],
        home: Float32,
        others: Sequence[Voiceprint],
        most: int = 1,
        guard: bool = True,
    ) -> Outcome:
        """Takes at most `most` of the additions in, each only if the guard allows it.

        Args:
            person: as it is.
            additions: in the order in which they are tried.
            home: (m, d) impostors heard at home.
            others: everybody else who is enrolled for the same wake word.
            most: how many may be taken in.
            guard: only scripts/home.py goes without, to see what it is worth.
        """
        learned = learned_of(person)
        added: list[Addition] = []
        refused: list[tuple[Addition, str]] = []
        now = person
        before = self.figures(person, learned, home, others) if guard and additions else None
        for addition in additions[: most + TRIES - 1]:
            if len(added) == most:
                break
            if float((now.takes @ addition.embedding).max()) > SAME_COSINE:
                refused.append((addition, "it is in the voiceprint already"))
                continue
            after = self.with_takes(now, [*learned, addition], home)
            if before is not None:
                figures = self.figures(after, [*learned, addition], home, others)
                reason = figures.worse_than(before)
                if reason is not None:
                    refused.append((addition, reason))
                    continue
                before = figures
            now, learned = after, [*learned, addition]
            added.append(addition)
        return Outcome(now if added else None, tuple(added), tuple(refused))

    def margins(self, person: Voiceprint, additions: Sequence[Addition]) -> Float32:
        """(n,) scores of n additions less the person's threshold."""
        rows = np.array([one.embedding for one in additions], np.float32)
        return self._margin(person, rows.reshape(len(additions), person.takes.shape[1]))

    def _cohorts(self, person: Voiceprint, mean: Float32, home: Float32) -> tuple[Float32, Float32]:
        """Impostors to train against, those of the home first, and to measure with."""
        to_train, to_measure = self.enroller.cohorts(person.keyword, mean)
        nearest = home[np.argsort(-(home @ mean), kind="stable")[:MAX_OTHERS]]
        return np.concatenate([nearest, to_train])[: self.enroller.head.cohort_rows], to_measure

    def _margin(self, person: Voiceprint, embeddings: Float32) -> Float32:
        return Verifier([], self.enroller.speaker, self.enroller.head).margin(person, embeddings)


def in_order(additions: Sequence[Addition], learner: Learner, person: Voiceprint) -> list[Addition]:
    """From the middle of their scores outwards: the highest say nothing new, the lowest are in doubt."""
    scores = learner.margins(person, additions)
    middle = float(np.median(scores)) if additions else 0.0
    return [additions[number] for number in np.argsort(np.abs(scores - middle), kind="stable")]


def learned_of(person: Voiceprint) -> list[Addition]:
    """What a person has learned so far, oldest first."""
    rows = person.takes[person.enrolled_takes :]
    return [Addition(row, facts) for row, facts in zip(rows, person.learned)]

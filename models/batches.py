"""Recipe: what each step of the speaker network's training learns from, rows of the same phrase by several people."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .speech_rows import Ints, Labels

Flags = npt.NDArray[np.bool_]

PHRASES, IDENTITIES, ROWS = 9, 16, 2  # of a step: phrases, people of each, rows of each of a person's two clips
CROSS = 0.15  # chance that somebody's second clip says another phrase of the same set: a voice is no word
CLEAN_CHANCE = 0.25  # of a row; the first of each clip …
FIRST_CLEAN_CHANCE = 0.5
CODED_CHANCE = 0.1  # of a row that is not clean: through GSM


class Batch(NamedTuple):
    """One step's rows, (b,) each."""

    clips: Ints
    """Which rows of the bank."""
    group: Ints
    """Which phrase of the step."""
    person: Ints
    """Number of the identity in the whole step."""
    alone: Flags
    """Whether there is no other clip of the identity."""
    clean: Flags
    coded: Flags


class Batches:
    """Draws what each step learns from, among the speakers that are not left out.

    Args:
        labels: of all rows.
        fold: whose speakers are left out; None for nobody.
        phrases: of a step.
    """

    def __init__(self, labels: Labels, fold: int | None, phrases: int = PHRASES) -> None:
        self._phrases_each = phrases
        self._takes: dict[str, dict[str, list[int]]] = {}
        for clip in np.flatnonzero(np.ones(len(labels.fold), bool) if fold is None else labels.fold != fold).tolist():
            people = self._takes.setdefault(str(labels.phrase[clip]), {})
            people.setdefault(str(labels.identity[clip]), []).append(clip)
        # Who cannot be told from anybody is no lesson
        self._takes = {phrase: people for phrase, people in self._takes.items() if len(people) > 1}
        self._phrases = list(self._takes)
        self._people = {phrase: list(people) for phrase, people in self._takes.items()}
        # More speakers teach more, but not in proportion: three words of Speech Commands would be nearly everything
        weight = np.array([len(people) ** 0.5 for people in self._people.values()])
        self._chances = weight / weight.sum()

    @property
    def most_rows(self) -> int:
        """That a step may have; fewer where a phrase has fewer people."""
        return self._phrases_each * IDENTITIES * 2 * ROWS

    def draw(self, rng: np.random.Generator) -> Batch:
        """Some phrases times up to IDENTITIES times two clips times ROWS."""
        clips, group, person, alone = [], [], [], []
        numbers: dict[str, int] = {}
        for number, phrase in enumerate(rng.choice(self._phrases, self._phrases_each, p=self._chances).tolist()):
            people = self._people[phrase]
            for who in rng.choice(len(people), min(IDENTITIES, len(people)), replace=False).tolist():
                identity = people[who]
                takes = self._takes[phrase][identity]
                pair = rng.choice(takes, 2, replace=len(takes) < 2).tolist()
                if rng.random() < CROSS:
                    pair[1] = self._other(phrase, identity, pair[1], rng)
                for clip in pair:
                    clips += [clip] * ROWS
                    group += [number] * ROWS
                    alone += [pair[0] == pair[1]] * ROWS
                    person += [numbers.setdefault(identity, len(numbers))] * ROWS
        count = len(clips)
        first = np.arange(count) % ROWS == 0
        clean = rng.random(count) < np.where(first, FIRST_CLEAN_CHANCE, CLEAN_CHANCE)
        coded = ~clean & (rng.random(count) < CODED_CHANCE)
        return Batch(np.array(clips), np.array(group), np.array(person), np.array(alone), clean, coded)

    def _other(self, phrase: str, identity: str, clip: int, rng: np.random.Generator) -> int:
        """A clip of the same person that says something else of the same set; the same where there is none."""
        corpus = phrase.split("/")[0]
        others = [
            other for other in self._phrases if other.split("/")[0] == corpus and identity in self._takes[other]
        ]
        return int(rng.choice(self._takes[str(rng.choice(others))][identity])) if others else clip

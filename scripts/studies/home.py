"""Weeks in a home, with learning on: `python scripts/studies/home.py DATA`, the tables of docs/research/learning.md.

DATA is a folder with the trial lists and noise. Nobody is measured by networks or a cohort that have heard him (see
`scripts/studies/folds.py`). Everything is done by the parts that `earmark learn now` uses, on embeddings. An hour on
one core; `--cache FILE` keeps the embeddings for the next run.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import folds
import numpy as np
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.people.store import ANY_PHRASE, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.evaluation.conditions import Conditions
from earmark.enroll.evaluation.evaluate import TrialList
from earmark.enroll.learning.impostors import HomeImpostors as Heard
from earmark.enroll.learning.impostors import impostors
from earmark.enroll.learning.learn import Addition, Learner, learned_of
from earmark.enroll.training.augment import augmented
from earmark.enroll.training.train import TakeEmbeddings
from earmark.models.corpora import TEST_NOISES

STEPS = {"wuw": 1, "asc": 6, "dsp": 3}  # every so manieth phrase of a set: two of asc and dsp, all of wuw
DAYS, OWN_A_DAY, OTHERS_A_DAY, HOME = 14, 3, 2, 3
POISON_WAKES, POISON_OF, POISON_A_DAY = 200, 20, 5  # one in twenty of two hundred is the impostor's
ORDERS = 4  # of a caller's calls, for they are few
OTHER_WORDS = 4  # of each person, for the question what a room's speech would be taken for
DOSES = 4  # wakes of each kind, one at a time, for the guard's own table
POISON_STEP, WORSE_STEP = 2, 6  # every so manieth person; and of those to whom worse is done
WORSE = {  # title of a row -> `guarded` and `first` of `poisoned`
    "after 200 wakes, the impostor's tried first": (True, True),
    "the same, without wide margins and guard": (False, True),
}
TITLES = ("clean", "noise, 10 dB", "noise, 10 dB, in a room", "room, RT60 0.4 s")
Draw = tuple[Path, str, int]
"""A recording, a condition, and which draw of it."""


def conditions(data: Path) -> dict[str, Conditions]:
    """What wakes and tries go through; the noises were never trained on."""
    noises = [read_audio(path) for path in sorted((data / "noise").rglob("*.flac")) if path.stem in TEST_NOISES]
    return {
        TITLES[0]: Conditions(),
        TITLES[1]: Conditions(noises=noises),
        TITLES[2]: Conditions(room_rt60_s=0.4, noises=noises),
        TITLES[3]: Conditions(room_rt60_s=0.4),
    }


def chance(*of: object) -> np.random.Generator:
    """The same for the same names, everywhere."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, of)).encode()))


class Ear:
    """Embeds recordings in conditions, each once."""

    def __init__(self, data: Path, cache: Path | None) -> None:
        self._conditions, self._cache = conditions(data), cache
        self._known: dict[str, Float32] = {}
        if cache is not None and cache.is_file():
            with np.load(cache) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["rows"]))

    def hear(self, fold: int, draw: Draw) -> Float32:
        """(d,) unit length; zeros where nothing was understood, which is like nobody."""
        path, title, number = draw
        key = f"{fold}/{path.parent.name}/{path.name}/{title}/{number}"
        if key not in self._known:
            heard = self._conditions[title].apply(read_audio(path), f"{path.parent.name}/{path.name}/{number}")
            self._known[key] = self._embed(fold, heard)
        return self._known[key]

    def take(self, fold: int, path: Path, number: int) -> TakeEmbeddings:
        """An enrolment take with its variations, as enrolment makes them."""
        copies = []
        for copy in range(6):
            key = f"{fold}/{path.parent.name}/{path.name}/{number}/{copy}"
            if key not in self._known:
                self._known[key] = self._embed(
                    fold, augmented(Analysis(read_audio(path)), np.random.default_rng([0, number, copy]))
                )
            copies.append(self._known[key])
        return TakeEmbeddings(self.hear(fold, (path, TITLES[0], 0)), np.array(copies))

    def keep(self) -> None:
        """For the next run."""
        if self._cache is not None:
            np.savez(self._cache, keys=np.array([*self._known]), rows=np.array([*self._known.values()]))

    def _embed(self, fold: int, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> Float32:
        speaker = folds.enroller(fold).speaker
        try:
            return speaker.embed(samples)
        except AudioError:
            return np.zeros(speaker.embedding_size, np.float32)


@dataclass
class Sums:
    """Tries of one row of a table: scores less the threshold."""

    own: list[Float32] = field(default_factory=list)
    strangers: list[Float32] = field(default_factory=list)
    third: list[Float32] = field(default_factory=list)
    """Of the home's others, or of the impostor."""

    def add(self, margins: Sequence[Float32]) -> None:
        """One person's own tries, the strangers', and the third ones'."""
        for rows, values in zip((self.own, self.strangers, self.third), margins):
            rows.append(values)

    def cells(self) -> list[str]:
        """The own tries; in % FRR and FAR at the threshold, FRR at 1 % FAR, and how many of the third get in."""
        own, strangers, third = (np.concatenate(rows) for rows in (self.own, self.strangers, self.third))
        at_one = np.quantile(strangers, 0.99)
        values = (np.mean(own < 0), np.mean(strangers >= 0), np.mean(own < at_one), np.mean(third >= 0))
        return [str(len(own)), *(f"{100 * value:.1f}" for value in values)]


@dataclass(frozen=True)
class HomeImpostors:
    """A person, the three others, and the strangers of one phrase."""

    order: int
    """Which of several orders of the calls."""

    name: str
    fold: int
    phrase: str
    person: Voiceprint
    wakes: list[Draw]
    tries: list[Draw]
    others_wakes: list[Draw]
    others_tries: list[Draw]
    strangers_tries: list[Draw]
    nearest: tuple[list[Draw], list[Draw]]
    """Wakes and tries of the stranger who is nearest to the person's takes: the impostor."""
    other_words: list[Draw]
    """The person saying something else: what a room hears all day."""


def draws(paths: Sequence[Path], titles: Sequence[str] = TITLES, count: int = 1) -> list[Draw]:
    """Every recording in every condition."""
    return [(path, title, number) for path in paths for title in titles for number in range(count)]


def homes(ear: Ear, data: Path, name: str, quick: bool) -> Iterator[HomeImpostors]:
    """Everybody of a set for some of its phrases; of those with enough recordings."""
    for fold, (trials, setup) in enumerate(folds.parts(data, name)):
        for phrase in sorted(trials.people)[:: STEPS[name] * (3 if quick else 1)]:
            for speaker in sorted(trials.people[phrase])[:: 6 if quick else 1]:
                for order in range(ORDERS if name == "wuw" else 1):
                    found = _home(ear, trials, setup.enroller, name, fold, phrase, speaker, order)
                    if found is not None:
                        yield found


def _home(
    ear: Ear, trials: TrialList, enroller: Enroller, name: str, fold: int, phrase: str, speaker: str, order: int
) -> HomeImpostors | None:
    people = trials.people[phrase]
    by_calls = name == "wuw"  # no conditions: every recording is another day and line
    enrolled, wakes, tries = _parted(people[speaker], by_calls, chance(speaker, order))
    if not enrolled or not wakes or not tries:
        return None
    titles = TITLES[:1] if by_calls else TITLES
    takes = [ear.take(fold, path, number) for number, path in enumerate(enrolled)]
    if not all(np.any(take.clean) for take in takes):
        return None
    clean, copies = np.array([take.clean for take in takes]), np.array([take.copies for take in takes])
    person = enroller.remake(speaker, clean, ANY_PHRASE, "", Options(), copies=copies)
    rest = sorted({*people} - {speaker})
    at_home = list(chance(phrase, speaker).permutation(rest)[:HOME])
    strangers = [other for other in rest if other not in at_home]
    near = max(
        strangers, key=lambda other: float(ear.hear(fold, (_said(people[other])[0], TITLES[0], 0)) @ person.centroid)
    )
    halves = {other: _halves(_said(people[other])) for other in rest}
    return HomeImpostors(
        order,
        speaker,
        fold,
        phrase,
        person,
        draws(wakes, titles),
        draws(tries, titles),
        [draw for other in at_home for draw in draws(halves[other][0], titles)],
        [draw for other in at_home for draw in draws(halves[other][1], titles)],
        [draw for other in strangers for draw in draws(halves[other][1], titles)],
        (draws(halves[near][0], titles), draws(halves[near][1], titles)),
        draws(
            [
                path
                for other, speakers in sorted(trials.people.items())
                if other != phrase and speaker in speakers
                for path in _said(speakers[speaker])[:1]
            ][:OTHER_WORDS],
            TITLES[:1],
        ),
    )


def _said(roles: dict[str, list[Path]]) -> list[Path]:
    return sorted(roles.get("test", []) or roles.get("enroll", []))


def _halves(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """What is heard in the weeks and what is measured; of a single recording both."""
    middle = (len(paths) + 1) // 2
    return paths[:middle], paths[middle:] or paths


def _parted(
    roles: dict[str, list[Path]], by_calls: bool, rng: np.random.Generator
) -> tuple[list[Path], list[Path], list[Path]]:
    """Takes, wakes and tries."""
    if not by_calls:
        wakes, tries = _halves(sorted(roles.get("test", [])))
        return (roles.get("enroll", []), wakes, tries) if len(roles.get("test", [])) > 1 else ([], [], [])
    calls = sorted([*roles.get("enroll", []), *roles.get("test", [])])
    calls = [calls[index] for index in rng.permutation(len(calls))]
    takes = 3 if len(calls) >= 6 else 1
    if len(calls) < takes + 2:
        return [], [], []
    wakes, tries = _halves(calls[takes:])
    return calls[:takes], wakes, tries


def margins(ear: Ear, home: HomeImpostors, person: Voiceprint, third: Sequence[Draw]) -> list[Float32]:
    """Scores less the threshold: own tries, strangers', third ones'."""
    enroller = folds.enroller(home.fold)
    verifier = Verifier([], enroller.speaker, enroller.head)
    return [
        verifier.margin(person, np.array([ear.hear(home.fold, draw) for draw in group]))
        for group in (home.tries, home.strangers_tries, third)
    ]


@dataclass
class Counts:
    """What the rules for learning let through."""

    offered: int = 0
    learned: int = 0
    refused: int = 0
    own_rejected: int = 0
    own_as_impostor: int = 0
    others_rejected: int = 0
    others_as_impostor: int = 0


def weeks(ear: Ear, home: HomeImpostors, counts: Counts, with_cohort: bool, labelled: bool = False) -> Voiceprint:
    """The person after `DAYS` days of wakes; `labelled`: somebody says of every own wake whose it was."""
    enroller = folds.enroller(home.fold)
    verifier, learner = Verifier([], enroller.speaker, enroller.head), Learner(enroller)
    rng, person = chance("weeks", home.phrase, home.name, home.order), home.person
    own = [home.wakes[index] for index in rng.permutation(len(home.wakes))]
    rejected: list[Float32] = []
    waiting: list[Float32] = []
    for _ in range(DAYS):
        today, own = own[:OWN_A_DAY], own[OWN_A_DAY:]
        picked = rng.choice(len(home.others_wakes), OTHERS_A_DAY * HOME)
        heard = [(True, draw) for draw in today] + [(False, home.others_wakes[index]) for index in picked]
        for is_own, draw in heard:
            embedding = ear.hear(home.fold, draw)
            if (labelled and is_own) or float(verifier.margin(person, embedding[None])[0]) >= 0:
                waiting.append(embedding)
                continue
            rejected.append(embedding)
            taken = len(impostors(embedding[None], [person], verifier))
            if is_own:
                counts.own_rejected += 1
                counts.own_as_impostor += taken
            else:
                counts.others_rejected += 1
                counts.others_as_impostor += taken
        size = enroller.speaker.embedding_size
        cohort = impostors(np.array(rejected, np.float32).reshape(-1, size), [person], verifier)
        facts = {"label": home.name} if labelled else {}
        additions = [Addition(row, facts) for row in waiting if labelled or learner.wide(person, row)]
        outcome = learner.learn(
            person,
            learner.in_order(person, additions),
            Heard(cohort if with_cohort else cohort[:0], cohort[:0]),
            [],
            most=len(additions) if labelled else 1,
        )
        counts.offered += bool(waiting)
        counts.learned += len(outcome.added)
        counts.refused += len(outcome.refused)
        gone = [*(one.embedding for one in outcome.added), *(one.embedding for one, _ in outcome.refused)]
        waiting = [row for row in waiting if not any(row is other for other in gone)]
        person = outcome.voiceprint or person
        if not own and not waiting:
            break
    return person


def poisoned(ear: Ear, home: HomeImpostors, guarded: bool, first: bool) -> tuple[Voiceprint, int, int]:
    """The person after two hundred accepted wakes of which ten are the impostor's, and how many of those got in.

    They are taken for accepted, whatever their score.

    Args:
        ear: hears.
        home: of the person.
        guarded: only wide margins are learned, and what the guard allows.
        first: the impostor's wakes are tried before all others of the day; else in the order of `Learner`.
    """
    enroller = folds.enroller(home.fold)
    learner, person = Learner(enroller), home.person
    rng = chance("poison", home.phrase, home.name)
    own = _many(home.wakes, POISON_WAKES, rng)
    others = _many(home.nearest[0], POISON_WAKES // POISON_OF, rng)
    heard = [
        (
            others[number // POISON_OF] if number % POISON_OF == POISON_OF // 2 else draw,
            number % POISON_OF == POISON_OF // 2,
        )
        for number, draw in enumerate(own)
    ]
    waiting: list[Addition] = []
    for day in range(POISON_WAKES // POISON_A_DAY):
        for draw, is_poison in heard[day * POISON_A_DAY : (day + 1) * POISON_A_DAY]:
            waiting.append(Addition(ear.hear(home.fold, draw), {"poison": is_poison}))
        wide = [one for one in waiting if learner.wide(person, one.embedding)] if guarded else list(waiting)
        nobody = Heard.nobody(enroller.speaker.embedding_size)
        ordered = learner.in_order(person, wide)
        if first:
            ordered.sort(key=lambda one: not one.facts["poison"])
        outcome = learner.learn(person, ordered, nobody, [], guard=guarded)
        person = outcome.voiceprint or person
        waiting = []  # the next day has others
    taken = [one for one in learned_of(person) if one.facts["poison"]]
    return person, len(taken), len(person.learned)


def single_doses(ear: Ear, home: HomeImpostors) -> tuple[list[bool], list[bool]]:
    """Whether one own wide wake, and one of the nearest stranger's wakes, would be refused, each by itself.

    The stranger's is taken for the person's by somebody's word, so that only the comparison of figures can refuse it.
    """
    enroller = folds.enroller(home.fold)
    learner, nobody = Learner(enroller), Heard.nobody(enroller.speaker.embedding_size)
    answers: tuple[list[bool], list[bool]] = ([], [])
    for group, answer in zip((home.wakes, home.nearest[0]), answers):
        for draw in group[:DOSES]:
            row = ear.hear(home.fold, draw)
            if group is home.wakes and not learner.wide(home.person, row):
                continue
            outcome = learner.learn(home.person, [Addition(row, {"label": home.name})], nobody, [])
            answer.append(outcome.voiceprint is None)
    return answers


def _many(pool: Sequence[Draw], count: int, rng: np.random.Generator) -> list[Draw]:
    """So many different draws from the same recordings and conditions."""
    return [(*pool[int(rng.integers(len(pool)))][:2], 1 + number) for number in range(count)]


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description="Simulate weeks in a home with learning on.")
    parser.add_argument("data", type=Path, help="folder with the trial lists")
    parser.add_argument("--cache", type=Path, metavar="FILE.npz", help="keep the embeddings there")
    parser.add_argument("--quick", action="store_true", help="few people: to see it run")
    parser.add_argument("--only", choices=[*STEPS], help="one set")
    parser.add_argument("--weeks", action="store_true", help="only the first table")
    parser.add_argument("--impostor", action="store_true", help="only the second table")
    arguments = parser.parse_args()
    ear = Ear(arguments.data, arguments.cache)
    print(heading("Learning on", __file__, FOLD_NETWORKS, head=True, corpora=True))
    head = "| set | homes | | own tries | FRR | FAR | FRR at 1 % FAR | {} |\n|---|---|---|---|---|---|---|---|"
    everybody = {
        name: list(homes(ear, arguments.data, name, arguments.quick))
        for name in ([arguments.only] if arguments.only else STEPS)
    }
    if not arguments.impostor:
        print(head.format("others of the home in"), flush=True)
        all_counts = {name: _weeks_rows(ear, name, found) for name, found in everybody.items()}
    if not arguments.weeks:
        print(f"\n{head.format('impostor in')}", flush=True)
        for name, found in everybody.items():
            if name != "wuw":
                _poison_rows(ear, name, found[::POISON_STEP], {"after 200 wakes": (True, False)})
                _poison_rows(ear, name, found[::WORSE_STEP], WORSE)
    if not (arguments.weeks or arguments.impostor):
        _rules(ear, everybody, all_counts)
    ear.keep()
    return 0


def _rules(ear: Ear, everybody: dict[str, list[HomeImpostors]], all_counts: dict[str, Counts]) -> None:
    """Prints what the rules take for whose."""
    print(
        "\n| set | own wakes rejected, of which impostors | others rejected, of which impostors | learned, refused |"
    )
    print("|---|---|---|---|")
    for name, counts in all_counts.items():
        print(
            f"| {name} | {counts.own_rejected}, {counts.own_as_impostor} | {counts.others_rejected}, "
            f"{counts.others_as_impostor} | {counts.learned}, {counts.refused} |"
        )
    print(
        "\n| set | own other words taken for a stranger's | strangers' tries taken for a stranger's |\n|---|---|---|"
    )
    for name, found in everybody.items():
        own = [taken for home in found for taken in _taken(ear, home, home.other_words)]
        strangers = [taken for home in found for taken in _taken(ear, home, home.strangers_tries)]
        print(f"| {name} | {sum(own)} of {len(own)} | {sum(strangers)} of {len(strangers)} |")
    print("\n| set | own wide wakes refused | nearest stranger's refused |\n|---|---|---|")
    for name, found in everybody.items():
        doses = [single_doses(ear, home) for home in found]
        cells = [[one for answer in doses for one in answer[kind]] for kind in (0, 1)]
        print(f"| {name} | {' | '.join(f'{sum(cell)} of {len(cell)}' for cell in cells)} |", flush=True)


def _taken(ear: Ear, home: HomeImpostors, group: Sequence[Draw]) -> list[bool]:
    """Whether each would be an impostor of the home, had it been a rejected wake."""
    enroller = folds.enroller(home.fold)
    verifier = Verifier([], enroller.speaker, enroller.head)
    return [len(impostors(ear.hear(home.fold, draw)[None], [home.person], verifier)) > 0 for draw in group]


def _weeks_rows(ear: Ear, name: str, found: Sequence[HomeImpostors]) -> Counts:
    """Prints the rows of a set; what was counted with the home's impostors."""
    titles = ("enrolled", "learned", "learned, and the home's impostors", "learned, every own wake labelled")
    rows = {title: Sums() for title in titles}
    counts = Counts()
    for number, home in enumerate(found):
        people = (
            home.person,
            weeks(ear, home, Counts(), False),
            weeks(ear, home, counts, True),
            weeks(ear, home, Counts(), False, labelled=True),
        )
        for sums, person in zip(rows.values(), people):
            sums.add(margins(ear, home, person, home.others_tries))
        print(f"\r{name}: {number + 1} of {len(found)} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for title, sums in rows.items():
        print(f"| {name} | {len(found)} | {title} | {' | '.join(sums.cells())} |", flush=True)
    ear.keep()
    return counts


def _poison_rows(
    ear: Ear, name: str, chosen: Sequence[HomeImpostors], variants: dict[str, tuple[bool, bool]]
) -> None:
    """Prints the rows of a set; `variants`: title -> what `poisoned` takes."""
    titles = ("enrolled", *variants)
    sums, taken = {title: Sums() for title in titles}, {title: [0, 0] for title in titles}
    for number, home in enumerate(chosen):
        for title in titles:
            person = home.person
            if title != titles[0]:
                person, bad, good = poisoned(ear, home, *variants[title])
                taken[title] = [taken[title][0] + bad, taken[title][1] + good]
            sums[title].add(margins(ear, home, person, home.nearest[1]))
        print(f"\r{name}, poisoned: {number + 1} of {len(chosen)} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    ear.keep()
    for title in titles:
        bad, good = taken[title]
        text = title if title == titles[0] else f"{title}: of {good} learned {bad} are the impostor's"
        print(f"| {name} | {len(chosen)} | {text} | {' | '.join(sums[title].cells())} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())

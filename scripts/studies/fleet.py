"""What a fleet brings: `scripts/studies/fleet DATA CACHE` writes fleet.md in docs/research. Needs .venv-fleet.

Homes and unseen speakers are those of `fleet_data.py`. A home's change is what its agent would compute. Strategies
are Flower's own, fed as its server feeds them. CACHE keeps the embeddings and the scores. A third word, the number of
a fold, only fills the cache with it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import fleet_data
import folds
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, Strategy
from flwr.supercore.task_identity import TaskIdentity
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.samples import Float32
from earmark.engine.verifier import HEAD_SHARE_WITHOUT_ELSEWHERE, fused
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation.error_rates import Trials
from earmark.enroll.fleet import trial
from earmark.enroll.fleet.agent import Terms
from earmark.enroll.fleet.contribution import trained_from
from earmark.enroll.fleet.privacy import clipped, mu_for
from earmark.enroll.training.calibrate import centroid
from earmark.enroll.training.train import TakeEmbeddings

DOCS = Path(__file__).parents[2] / "docs" / "research"
MOST_HOMES, MOST_PEOPLE = 110, 50  # of a fold: so that it is done in minutes
ROUNDS = 3
POOLED_STEP = 0.1  # of each home's change, one home after the other
EPSILONS = (1.0, 2.0, 8.0)
FLEETS = (10_000, 100_000, 1_000_000)  # judged but for the first, which is only counted
POISONED = (0.0, 0.1, 0.2)
MEASURED = (50, 200)
POISON_LENGTH = 10.0  # of an attacker's change against an honest one's, and against its direction
FOLDS = (0, 1)
TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # without a run Flower makes no messages


class Row(NamedTuple):
    """One start, judged."""

    group: str
    name: str
    folds: list[Trials]
    """By the score that decides: two parts of the cosine and one of the head."""
    head: list[Trials]
    """By the head alone."""


def home_changes(enroller: Enroller, homes: Float32, start: Float32) -> Float32:
    """(h, 192, 128): what each home's training makes of a start."""
    changes = []
    for home in homes:
        takes = [TakeEmbeddings(rows[0], rows[1:]) for rows in home]
        negatives, _ = enroller.cohorts("any-phrase", centroid(takes))
        changes.append(trained_from(enroller.head, start, takes, negatives) - start)
    return np.array(changes)


def strategies(count: int, malicious: float) -> dict[str, Strategy]:
    """Flower's, told how many may be malicious."""
    common = {"min_train_nodes": count, "min_available_nodes": count}
    return {
        "mean": FedAvg(**common),
        "median": FedMedian(**common),
        "trimmed mean": FedTrimmedAvg(beta=max(malicious, 0.05), **common),
        "Krum": Krum(num_malicious_nodes=round(malicious * count), **common),
    }


def aggregated(strategy: Strategy, starts: Sequence[Float32]) -> Float32:
    """What a strategy of Flower makes of the homes' answers."""
    replies = []
    for number, numbers in enumerate(starts):
        asked = Message(content=RecordDict(), dst_node_id=number + 1, message_type="train")
        content = RecordDict({"arrays": ArrayRecord([numbers]), "metrics": MetricRecord({"num-examples": 1})})
        replies.append(Message(content=content, reply_to=asked))
    arrays, _ = strategy.aggregate_train(1, replies)
    assert arrays is not None
    (made,) = arrays.to_numpy_ndarrays()
    rounded: Float32 = made.astype(np.float32)
    return rounded


def starts_of(enroller: Enroller, homes: Float32, seed: int) -> Iterator[tuple[str, str, Float32]]:
    """Group, name and numbers of every start that is judged."""
    rng = np.random.default_rng(seed)
    built_in = enroller.head.start()
    assert built_in is not None
    start = built_in[0]
    yield "no fleet", "the shipped start", start
    pooled = start
    for number in rng.permutation(len(homes)):
        (change,) = home_changes(enroller, homes[number : number + 1], pooled)
        pooled = pooled + np.float32(POOLED_STEP) * change
    yield "no fleet", "pooled: all takes in one place", pooled
    changes = home_changes(enroller, homes, start)
    clip = Terms().clip
    kept = np.array([clipped(change, clip) for change in changes])
    current, moved = start + kept.mean(axis=0), kept
    yield "federated", "1 round", current
    for _ in range(1, ROUNDS):
        moved = np.array([clipped(change, clip) for change in home_changes(enroller, homes, current)])
        current = current + moved.mean(axis=0)
    yield "federated", f"{ROUNDS} rounds", current
    for wanted in EPSILONS:
        deviation = 2 * clip / mu_for(wanted)
        for count in (len(homes), *FLEETS[1:]):
            noise = rng.standard_normal(start.shape) * deviation / np.sqrt(count)
            which = f"{count:,} homes" + ("" if count == len(homes) else ", the noise of so many")
            yield f"1 round, ε = {wanted:g} a home", which, (start + kept.mean(axis=0) + noise).astype(np.float32)
    for share in POISONED:
        bad = round(share * len(homes))
        sent = [start + change for change in kept]
        for number in range(bad):
            sent[number] = (start - POISON_LENGTH * kept[number]).astype(np.float32)
        for name, strategy in strategies(len(homes), share).items():
            yield f"1 round, {share:.0%} poisoned", name, aggregated(strategy, sent)


def some_of(data: Path, cache: Path, fold: int) -> fleet_data.Speakers:
    """The first homes and people of a fold, with their tries."""
    homes, unseen = fleet_data.load(data, cache, fold)
    kept = unseen.speaker < MOST_PEOPLE
    people = unseen.takes[:MOST_PEOPLE], unseen.copies[:MOST_PEOPLE]
    return fleet_data.Speakers(homes[:MOST_HOMES], trial.TrialList(*people, unseen.tries[kept], unseen.speaker[kept]))


def judge_fold(data: Path, cache: Path, fold: int) -> Path:
    """Every start on the unseen speakers of a fold: their scores, in a folder of the cache. It can be broken off."""
    folder = cache / f"fleet-scores-{fold}"
    folder.mkdir(exist_ok=True)
    if (folder / "done").is_file():
        return folder
    enroller, speakers = folds.enroller(fold), some_of(data, cache, fold)
    for number, (group, name, start) in enumerate(starts_of(enroller, speakers.homes, fold)):
        path = folder / f"{number:03d}.npz"
        if path.is_file():
            continue
        cosine, head = trial.scores(enroller, start, speakers.unseen)
        name = name.replace(f"{len(speakers.homes):,} homes", "as many homes as there are")
        np.savez(path, name=np.array([group, name]), cosine=cosine, head=head)
        print(fold, group, name, file=sys.stderr, flush=True)
    (folder / "done").touch()
    return folder


def judge(data: Path, cache: Path) -> tuple[list[Row], list[str]]:
    """Every start, on the unseen speakers of both folds; and what was counted besides."""
    rows: dict[tuple[str, str], Row] = {}
    notes = []
    for fold in FOLDS:
        speakers = some_of(data, cache, fold)
        for path in sorted(judge_fold(data, cache, fold).glob("*.npz")):
            with np.load(path) as kept:
                group, name = map(str, kept["name"])
                cosine, head = kept["cosine"], kept["head"]
            row = rows.setdefault((group, name), Row(group, name, [], []))
            score = fused(cosine, head, HEAD_SHARE_WITHOUT_ELSEWHERE)
            row.folds.append(trial.trials(score, speakers.unseen))
            row.head.append(trial.trials(head, speakers.unseen))
        people, tries = len(speakers.unseen.takes), len(speakers.unseen.tries)
        notes.append(f"fold {fold}: {len(speakers.homes)} homes, {people} unseen people, {tries} tries")
    return list(rows.values()), notes


def rate(now: list[Trials], base: list[Trials], what: Callable[..., float]) -> str:
    """Mean over the folds, in %, and the difference from the base with its interval over people."""
    value = np.mean([what(found) for found in now])
    if now is base:
        return f"{100 * value:.2f}"
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(200):
        difference = []
        for ours, theirs in zip(now, base):
            people = int(ours.person.max()) + 1
            weight = np.bincount(rng.integers(0, people, people), minlength=people)[ours.person].astype(np.float64)
            difference.append(what(ours, weight) - what(theirs, weight))
        drawn.append(float(np.mean(difference)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    moved = value - np.mean([what(found) for found in base])
    return f"{100 * value:.2f} ({100 * moved:+.2f}; {100 * low:+.2f} to {100 * high:+.2f})"


def eer(found: Trials, weight: np.ndarray | None = None) -> float:  # type: ignore[type-arg]
    """Equal error rate."""
    return found.det(weight).eer()


def frr(found: Trials, weight: np.ndarray | None = None) -> float:  # type: ignore[type-arg]
    """FRR at 1 % FAR."""
    return found.det(weight).frr_at_far(0.01)


def costs() -> Iterator[str]:
    """Processor seconds of each strategy, measured, and what they would be for large fleets."""
    rng = np.random.default_rng(0)
    yield "| strategy | " + " | ".join(f"{count} homes" for count in MEASURED) + " | 10,000 | 100,000 | 1,000,000 |"
    yield "|---" * (len(MEASURED) + 4) + "|"
    sent = [rng.standard_normal((192, 128)).astype(np.float32) for _ in range(MEASURED[-1])]
    for name in strategies(MEASURED[0], 0.1):
        seconds = []
        for count in MEASURED:
            began_s = time.process_time()
            aggregated(strategies(count, 0.1)[name], sent[:count])
            seconds.append(time.process_time() - began_s)
        power = 2 if name == "Krum" else 1  # distances of all pairs; the others look at each home once
        far = [seconds[-1] * (count / MEASURED[-1]) ** power for count in FLEETS]
        yield (
            f"| {name} | "
            + " | ".join(f"{value:.2f} s" for value in seconds)
            + " | "
            + " | ".join(map(duration, far))
            + " |"
        )


def duration(seconds: float) -> str:
    """In the unit that reads best."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def table(rows: list[Row]) -> Iterator[str]:
    """A line a start."""
    base = rows[0]
    yield "| | start | EER | FRR at 1 % FAR | EER of the head alone |\n|---|---|---|---|---|"
    for row in rows:
        rates = rate(row.folds, base.folds, eer), rate(row.folds, base.folds, frr), rate(row.head, base.head, eer)
        yield f"| {row.group} | {row.name} | " + " | ".join(rates) + " |"


def verdict(rows: list[Row]) -> str:
    """How many starts are better than the shipped one beyond doubt."""
    base, better = rows[0], 0
    for row in rows[1:]:
        told = rate(row.folds, base.folds, eer), rate(row.folds, base.folds, frr)
        better += any(float(each.rsplit(" ", 1)[1].rstrip(")")) < 0 for each in told)
    return f"Of {len(rows) - 1} starts, {better or 'none'} beat the shipped one with an interval that lies below 0."


def main() -> None:
    """Writes the page."""
    data, cache = Path(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:  # one fold alone, into the cache
        judge_fold(data, cache, int(sys.argv[3]))
        return
    rows, notes = judge(data, cache)
    title, script = "A fleet, and what it brings", "scripts/studies/fleet.py"
    lines = [
        heading(title, script, FOLD_NETWORKS, head=True),
        TEXT.format(notes="; ".join(notes), verdict=verdict(rows)),
        *table(rows),
    ]
    lines += [AT_THE_SERVER, *costs(), END]
    (DOCS / "fleet.md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")


TEXT = """\
Homes and unseen people are speakers of Speech Commands whom the networks, the head and the cohort that
judge them have never heard. There were {notes}.
A home has one person, three takes and two variations of each. An unseen person has three takes, and his tries come
through a synthetic room with noise; everybody else's tries are strangers.

**{verdict}** So a published start stays off unless a device finds it better on its own takes. The start has little
say: each person's own training moves the head as far as a fleet would, and the cosine is most of the score. What
the noise of a hundred homes does shows in the head alone.

Each person is trained from the start for 40 steps, as enrolment does it. The score is two parts of the cosine and
one of the head, as where there is no sound of the takes any more. Rates are in %, means of the two folds. In
brackets stands the difference from the shipped start, with its 95 % interval over unseen people, drawn anew 200
times.

* **pooled**: all takes in one place, one home's training after another moving the start by a tenth of its change.
* **federated**: each home's change is clipped to length 1, and the mean of all is added in each round. No noise.
* **ε**: one round. Each home adds its own noise, for this ε at δ = 1e-5. For fleets that are larger than ours,
  the clipped changes are those of our homes, and the noise of the mean is that of so many homes: an
  extrapolation.
* **poisoned**: such a share of the homes sends its change turned round and ten times as long. An agent clips what
  it sends, and an attacker has no agent. No noise. The strategies are told the true share.
"""
AT_THE_SERVER = """
## At the server

A start has 98,304 bytes, and so has a home's change. So a round is 2 GB for 10,000 homes, 20 GB for 100,000 and
197 GB for a million, both ways together, without Flower's own part. A strategy of Flower has all answers in
memory at once: 1, 10 and 98 GB, and the median and the trimmed mean twice that, for they stack them. So one
process carries some ten thousand homes.

Processor seconds to aggregate a round. Those of 50 and 200 homes are measured, on a busy machine; the others are
extrapolated, Krum with the square of the homes:
"""
END = """
What was not tried: more than one SuperLink, a database other than SQLite, and Flower's adaptive clipping. Beyond
ten thousand homes each needs to be.

Flower's own simulation was tried once (`scripts/studies/fleet_simulation.py`): a hundred homes in one round gave the
mean that numpy gives, to 2e-7. The homes above are computed one after the other without it, because starting its
workers, which are Ray's, takes longer than all the training.
"""

if __name__ == "__main__":
    main()

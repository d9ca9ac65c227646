"""Which score to use, and the threshold: by takes the model has not seen and impostors it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from earmark.engine.audio import Float32
from earmark.engine.head import SpeakerHead
from earmark.engine.person import COSINE, TRAINED
from earmark.engine.verifier import fused

from .train import TakeEmbeddings, Trained, TrainPlan, train

MIN_GUARDED_TAKES = 4  # below, leaving one out leaves too little to train on: nothing can be said about the head


@dataclass(frozen=True)
class Rule:
    """The threshold for 1 % of strangers, as a sum; fitted by `scripts/study` on people of both folds."""

    constant: float
    own: float
    """Share of the mean of the own takes, each left out."""
    others: float
    """Share of the score which a share `far` of the cohort reaches."""
    one_take: float
    """Divided by the number of takes: a mean of few takes is farther from the next one."""
    typical_own: float
    """Stands for the mean of the own takes where there is only one."""
    decade: float
    """Added for each tenth of the FAR."""


RULES = {
    COSINE: Rule(constant=0.1, own=0.6, others=0.25, one_take=-0.05, typical_own=0.9, decade=0.06),
    TRAINED: Rule(constant=0.1, own=0.6, others=0.25, one_take=-0.05, typical_own=0.8, decade=0.06),
}


@dataclass(frozen=True)
class Trial:
    """Scores of one kind: of the person's own takes, each left out of what it is measured against, and of others."""

    own: Float32
    """(n,)."""
    others: Float32
    """(n, k): fold by fold, the cohort against the same model as the take left out."""

    def margin(self) -> float:
        """How far the own takes lie above the impostors' 99 % quantile, in the impostors' standard deviations."""
        deviation = self.others.std(axis=1) + 1e-6
        return float(np.mean((self.own - np.quantile(self.others, 0.99, axis=1)) / deviation))


def leave_one_out(
    head: SpeakerHead,
    takes: Sequence[TakeEmbeddings],
    cohort: Float32,
    negatives: Float32,
    plan: TrainPlan,
) -> dict[str, Trial]:
    """What each kind of score would have said of every take, had it not been there.

    Args:
        takes: n of them; with a single one there is nothing to leave out, and no trial.
        cohort: (k, 512) impostors who score.
        negatives: (j, 512) impostors who train; other speakers than those of `cohort`.
    """
    own: dict[str, list[float]] = {COSINE: [], TRAINED: []}
    others: dict[str, list[Float32]] = {COSINE: [], TRAINED: []}
    for left_out, take in enumerate(takes if len(takes) > 1 else ()):
        rest = [other for number, other in enumerate(takes) if number != left_out]
        probe = np.concatenate([take.clean[None], cohort])
        scores = {COSINE: probe @ centroid(rest)}
        if len(takes) >= 2:
            trained = train(head, rest, negatives, plan)
            scores[TRAINED] = fused(scores[COSINE], head.score(probe, trained.prototype))
        for kind, values in scores.items():
            own[kind].append(float(values[0]))
            others[kind].append(values[1:])
    return {kind: Trial(np.array(own[kind], np.float32), np.array(others[kind])) for kind in own if own[kind]}


def better_kind(trials: dict[str, Trial]) -> str:
    """The trained head, unless leave-one-out says that the plain cosine is better."""
    if not trials or len(trials[COSINE].own) < MIN_GUARDED_TAKES:
        return TRAINED
    return TRAINED if trials[TRAINED].margin() > trials[COSINE].margin() else COSINE


def threshold(kind: str, others: Float32, own: Float32 | None, takes: int, far: float) -> float:
    """The score from which on it is the person.

    Args:
        kind: of the score.
        others: (k,) scores of impostors from the cohort.
        own: (n,) scores of the own takes, each left out in turn; None: there is a single take.
        takes: their number.
        far: the wanted share of accepted strangers.
    """
    rule = RULES[kind]
    mean = rule.typical_own if own is None or not len(own) else float(own.mean())
    return (
        rule.constant
        + rule.own * mean
        + rule.others * float(np.quantile(others, 0.99))
        + rule.one_take / takes
        + rule.decade * float(np.log10(0.01 / far))
    )


def halfway(others: Float32, own: Float32 | None, far: float) -> float:
    """Between the score that a share `far` of the (k,) impostors reaches and the mean of the own takes left out.

    A rule without constants, for a score of any scale.
    """
    quantile = float(np.quantile(others, 1 - far))
    return quantile if own is None else (quantile + max(quantile, float(own.mean()))) / 2


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share of which `count` of `total` were seen (C. Clopper and E. Pearson, 1934)."""
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high


def centroid(takes: Sequence[TakeEmbeddings]) -> Float32:
    """The mean of the takes as they were said, (512,) of unit length."""
    mean: Float32 = np.mean([take.clean for take in takes], axis=0, dtype=np.float32)
    return mean / np.float32(np.linalg.norm(mean))


def kind_scores(kind: str, head: SpeakerHead, trained: Trained | None, mean: Float32, rows: Float32) -> Float32:
    """(n,) scores of (n, 512) embeddings as the detector will compute them; `head` has the trained weights in it."""
    cosine: Float32 = rows @ mean
    if kind == COSINE or trained is None:
        return cosine
    return fused(cosine, head.score(rows, trained.prototype))

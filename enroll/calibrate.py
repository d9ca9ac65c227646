"""Which score to use, and the threshold: by takes the model has not seen and impostors it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earmark.engine.audio import Float32
from earmark.engine.head import SpeakerHead
from earmark.engine.person import COSINE, TRAINED
from earmark.engine.verifier import fused

from .train import TakeEmbeddings, Trained, TrainPlan, train

MIN_TRAINED_TAKES = 4  # below five takes training was no gain (speaker-disjoint study), and leave-one-out needs three


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
        takes: n ≥ 2 of them.
        cohort: (k, 512) impostors who score.
        negatives: (j, 512) impostors who train; other speakers than those of `cohort`.
    """
    own: dict[str, list[float]] = {COSINE: [], TRAINED: []}
    others: dict[str, list[Float32]] = {COSINE: [], TRAINED: []}
    for left_out, take in enumerate(takes):
        rest = [other for number, other in enumerate(takes) if number != left_out]
        probe = np.concatenate([take.clean[None], cohort])
        scores = {COSINE: probe @ centroid(rest)}
        if len(takes) >= MIN_TRAINED_TAKES:
            trained = train(head, rest, negatives, plan)
            scores[TRAINED] = fused(scores[COSINE], head.score(probe, trained.prototype))
        for kind, values in scores.items():
            own[kind].append(float(values[0]))
            others[kind].append(values[1:])
    return {kind: Trial(np.array(own[kind], np.float32), np.array(others[kind])) for kind in own if own[kind]}


def better_kind(trials: dict[str, Trial]) -> str:
    """The trained head, only where leave-one-out says that it is better than the plain cosine."""
    if TRAINED not in trials or trials[TRAINED].margin() <= trials[COSINE].margin():
        return COSINE
    return TRAINED


def threshold(others: Float32, trial: Trial | None, far: float) -> float:
    """The score from which on it is the person.

    Halfway between the score that a share `far` of the (k,) impostors reaches and the mean of the own takes, each
    left out in turn. The impostors alone are not enough: recorded elsewhere, they score too low, and a wanted FAR of
    1 % became 16 % on speakers of another corpus; halfway it was 1.4 % at 8 % FRR (docs/architecture.md,
    "Thresholds"). A single take (`trial=None`) leaves only the impostors.
    """
    quantile = float(np.quantile(others, 1 - far))
    if trial is None:
        return quantile
    return (quantile + max(quantile, float(trial.own.mean()))) / 2


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

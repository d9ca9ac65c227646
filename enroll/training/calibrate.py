"""Which score to use, and the threshold: by takes the model has not seen and impostors it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, betabinom

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.conditions import CONDITIONS, is_by_telephone
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.trained.kinds import HEAD
from earmark.engine.people.store import COSINE, TRAINED, Voiceprint
from earmark.engine.verifier import DECADE, HEAD_SHARE_WITHOUT_ELSEWHERE, Verifier, fused

from .train import TakeEmbeddings, TrainPlan
from .trainers.base import Learned, Lesson, Trainer, Voices

MIN_TRAINED_TAKES = 2  # of a single one nothing can be left out
LEAST_GAIN = 1e-4  # of a margin; less is rounding: a mean of cosines to all takes ranks as the cosine does
NEAREST_SHARE = 0.06  # of the cohort: about a hundred strangers, who resemble a prototype most
USUAL_SCORE = 0.32  # of these; so what is taken off is about 0
LOWEST_OFFSET = -0.04  # of the people measured, one in a hundred; a cohort that is far from everything says little
OFFSET_SHARE = 0.5  # of how much nearer they come: more than half moves the sets apart (docs/research/channels.md)

# What is taken off where the takes came by telephone: of their mean, and of their prototypes beyond the handicap.
# docs/research/channels.md, "Takes by telephone", has what each was found by
TAKES_BY_LINE, TAKES_BY_GSM = 0.055, 0.09
MORE_FAR, MORE_AGAIN = 0.03, 0.01  # the latter where they go through their own codec once more
AS_GSM_LEAVES_IT = 0.965  # cosine: of takes by GSM nineteen in twenty have more than 0.971, of others less than 0.957


@dataclass(frozen=True)
class Rule:
    """The threshold as a sum (docs/research/thresholds.md, docs/research/channels.md)."""

    constant: float
    one_take: float
    """Divided by the number of takes: a mean of few takes is farther from the next one."""
    decade: float
    """Added for each tenth of the FAR."""


RULES = {
    COSINE: Rule(constant=0.635, one_take=-0.05, decade=DECADE[COSINE]),
    TRAINED: Rule(constant=0.664, one_take=-0.06, decade=DECADE[TRAINED]),
}
RULES_WITHOUT_ELSEWHERE = {  # where there is no sound of the takes any more, and so no prototype by condition
    COSINE: Rule(constant=0.69, one_take=-0.045, decade=DECADE[COSINE]),
    TRAINED: Rule(constant=0.665, one_take=-0.035, decade=DECADE[TRAINED]),
}


@dataclass(frozen=True)
class Trial:
    """Scores of one kind: of the person's own takes, each left out of what it is measured against, and of others."""

    own: Float32
    """(n,)."""
    varied: Float32
    """(n,): the mean over each take's variations, left out with it; as `own` where there are none."""
    others: Float32
    """(n, k): fold by fold, the cohort against the same model as the take left out."""

    def margin(self) -> float:
        """How far the own takes and their variations lie above the impostors' 99 % quantile, both with the same
        weight, in the impostors' standard deviations."""
        deviation = self.others.std(axis=1) + 1e-6
        own = (self.own + self.varied) / 2
        return float(np.mean((own - np.quantile(self.others, 0.99, axis=1)) / deviation))


def leave_one_out(
    trainer: Trainer,
    takes: Sequence[TakeEmbeddings],
    cohort: Voices,
    negatives: Voices,
    plan: TrainPlan,
    share: float = HEAD_SHARE_WITHOUT_ELSEWHERE,
) -> dict[str, Trial]:
    """What each kind of score would have said of every take, had it not been there.

    Args:
        trainer: which takes it leaves out together is its own choice.
        takes: n of them; with a single one there is nothing to leave out, and no trial.
        cohort: k impostors who score.
        negatives: impostors who train; other speakers than those of `cohort`.
        plan: of the training.
        share: of what is trained in the score.
    """
    own: dict[str, dict[int, float]] = {COSINE: {}, TRAINED: {}}
    varied: dict[str, dict[int, float]] = {COSINE: {}, TRAINED: {}}
    others: dict[str, dict[int, Float32]] = {COSINE: {}, TRAINED: {}}
    for group in trainer.left_out(len(takes)) if len(takes) > 1 else ():
        rest = [other for number, other in enumerate(takes) if number not in group]
        learned = trainer.train(Lesson(rest, negatives, cohort, plan)) if len(takes) >= MIN_TRAINED_TAKES else None
        for left_out in group:
            take = takes[left_out]
            probe = np.concatenate([take.clean[None], take.copies, cohort.embeddings])
            scores = {COSINE: probe @ centroid(rest)}
            if learned is not None:
                mels = (*take.mels[: 1 + len(take.copies)], *cohort.mels)
                scores[TRAINED] = fused(scores[COSINE], learned.score(Voices(probe, mels)), share)
            for kind, values in scores.items():
                copies = values[1 : 1 + len(take.copies)]
                own[kind][left_out] = float(values[0])
                varied[kind][left_out] = float(copies.mean() if len(copies) else values[0])
                others[kind][left_out] = values[1 + len(take.copies) :]
    return {
        kind: Trial(*(np.array([of[kind][n] for n in range(len(takes))], np.float32) for of in (own, varied, others)))
        for kind in own
        if own[kind]
    }


def better_kind(trials: dict[str, Trial]) -> str:
    """The trained head, only where there is one and leave-one-out says that it is better than the plain cosine."""
    if TRAINED not in trials or trials[TRAINED].margin() <= trials[COSINE].margin() + LEAST_GAIN:
        return COSINE
    return TRAINED


def offset(scores: Float32) -> float:
    """What is taken off the scores of a prototype, of the (n,) scores of the cohort.

    Whom strangers resemble more has to be nearer to be known (F. Bimbot et al., "A tutorial on text-independent
    speaker verification", 2004: zero normalisation, here of half).
    """
    count = max(1, round(NEAREST_SHARE * len(scores)))
    return max(LOWEST_OFFSET, OFFSET_SHARE * (float(np.sort(scores)[-count:].mean()) - USUAL_SCORE))


def threshold(kind: str, takes: int, far: float, elsewhere: bool, trainer: str = HEAD) -> float:
    """The score from which on it is the person.

    The own takes have no say: how well they agree depends on whether they were said in one go or on five days, and
    a threshold that follows them let five times as many strangers in where they were not
    (docs/research/thresholds.md).

    Args:
        kind: of the score.
        takes: how many the person has.
        far: the wanted share of accepted strangers, 0…1.
        elsewhere: whether there are prototypes by condition.
        trainer: what it trained is on the scale of the cosine, but for the head, which has a rule of its own.
    """
    rule = (RULES if elsewhere else RULES_WITHOUT_ELSEWHERE)[kind if trainer == HEAD else COSINE]
    decades = float(np.log10(0.01 / far))
    return float(np.clip(rule.constant + rule.one_take / takes + rule.decade * decades, -1, 1))


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


def predicted_count(count: int, total: int, tries: int) -> tuple[int, int]:
    """In 95 % so few and so many of `tries` will be, where `count` of `total` were (H. Jeffreys' prior, 1946)."""
    spread = betabinom(tries, count + 0.5, total - count + 0.5)
    return int(spread.ppf(0.025)), int(spread.ppf(0.975))


def centroid(takes: Sequence[TakeEmbeddings]) -> Float32:
    """The mean of the takes as they were said, (192,) of unit length."""
    return unit_mean(np.array([take.clean for take in takes]))


def unit_mean(embeddings: Float32) -> Float32:
    """(n, 192) -> (192,), of unit length."""
    mean: Float32 = np.mean(embeddings, axis=0, dtype=np.float32)
    mean /= np.float32(np.linalg.norm(mean))
    return mean


def kind_scores(
    kind: str,
    learned: Learned | None,
    mean: Float32,
    rows: Voices,
    share: float = HEAD_SHARE_WITHOUT_ELSEWHERE,
) -> Float32:
    """(n,) scores of n people by the mean of the takes; what was learned last is asked."""
    cosine: Float32 = rows.embeddings @ mean
    if kind == COSINE or learned is None:
        return cosine
    return fused(cosine, learned.score(rows), share)


def offsets_by_telephone(mean: Float32, elsewhere: Float32, high_db: float | None) -> Float32:
    """(1 + k,) where the takes came by telephone; (0,) where they did not.

    Voices who call are nearer to such takes, and all tries are heard as calls. How much nearer, the cohort does
    not say: whom it has of callers came by other lines. What GSM has coded, it codes the same once more: so takes
    that it leaves as they are came by it.

    Args:
        mean: (d,) of the takes.
        elsewhere: (n, k, d) them through each of the first k `CONDITIONS`; (0, 0, 0): nobody knows.
        high_db: `Analysis.high_db` of the takes; None: nobody knows.
    """
    if high_db is None or not is_by_telephone(high_db) or elsewhere.shape[1] < len(CONDITIONS):
        return np.zeros(0, np.float32)
    by_gsm = float(unit_mean(elsewhere[:, CONDITIONS.index("gsm")]) @ mean) > AS_GSM_LEAVES_IT
    more = {"far": MORE_FAR, "gsm" if by_gsm else "line": MORE_AGAIN}
    plain = TAKES_BY_GSM if by_gsm else TAKES_BY_LINE
    return np.array([plain, *(more.get(name, 0.0) for name in CONDITIONS)], np.float32)


def offsets(person: Voiceprint, head: SpeakerHead, cohort: Voices, verifier: Verifier) -> Float32:
    """(1 + k,) of a person's prototypes, by the cohort; (0,) where there is none by condition."""
    if not person.elsewhere.size:
        return np.zeros(0, np.float32)
    lined = offsets_by_telephone(person.centroid, person.elsewhere, person.report.get("takes_high_db"))
    if len(lined):
        return lined
    prototypes = person.prototypes
    scores = cohort.embeddings @ prototypes.T
    if person.kind == TRAINED and person.trainer != HEAD:
        scores = verifier.resembled(person, cohort.embeddings, cohort.mels or None)
    elif person.kind == TRAINED:
        head.set_weights(person.weights)
        own = np.concatenate([person.prototype[None], head.project(prototypes[1:])])
        scores = fused(scores, head.project(cohort.embeddings) @ own.T)
    return np.array([offset(column) for column in scores.T], np.float32)

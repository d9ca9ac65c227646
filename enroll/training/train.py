"""The training loop: forty gradient steps inside the TFLite runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.head import HeadWeights, SpeakerHead, TrainBatch, TrainLoss

Progress = Callable[[int, TrainLoss], None]
"""Called after each step with its number (1, 2, …) and the loss before it."""


@dataclass(frozen=True)
class TrainPlan:
    """How to train; the values were found on speakers kept apart (docs/research/head.md)."""

    steps: int = 40
    learning_rate: float = 3e-4
    pull: float = 0.01
    """Weight of the squared distance from the shipped projection."""
    copies: int = 6
    """Augmented copies of each take."""
    copy_weight: float = 0.2
    """Of a copy, against 1 of the take itself; 0.5 was worse."""


@dataclass(frozen=True)
class TakeEmbeddings:
    """One take: what was said, and variations of it."""

    clean: Float32
    """(192,)."""
    copies: Float32
    """(c, 192); c may differ from take to take, and be 0."""
    weight: float = 1.0
    """Of all its rows, against 1 of an enrolled one."""
    heard: tuple[float, ...] = ()
    """How well the keyword network hears the copies, as shares of its cutoff; () for any phrase (own_gate.py)."""
    elsewhere: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(k, 192) through the first k `CONDITIONS` (elsewhere.py); (0, 0): there is no sound of it any more."""
    high_db: float | None = None
    """`Analysis.high_db`: whether it came by telephone; None: nobody knows."""
    mels: tuple[Float32, ...] = ()
    """(frames, mels) power mels of the take, its copies, and it elsewhere, 1 + c + k of them; (): there is no sound
    of it any more. Only who trains more than a layer on embeddings asks for them."""


def median_high_db(takes: Sequence[TakeEmbeddings]) -> float | None:
    """`Analysis.high_db` of the takes together; None: of one nobody knows it."""
    known = [take.high_db for take in takes if take.high_db is not None]
    return float(np.median(known)) if len(known) == len(takes) else None


@dataclass(frozen=True)
class Trained:
    """What came out."""

    weights: HeadWeights
    """The projection holds float16 values: that is what a voiceprint stores."""
    prototype: Float32
    """(128,), unit length."""
    losses: tuple[TrainLoss, ...]


def train(
    head: SpeakerHead,
    takes: Sequence[TakeEmbeddings],
    cohort: Float32,
    plan: TrainPlan,
    progress: Progress | None = None,
) -> Trained:
    """Moves the head from its shipped start towards telling these takes from a (k, 192) cohort.

    The head is left with the person's weights in it.
    """
    embeddings, weight, take_of_row = rows_of(takes, plan, head.take_rows)
    batch = TrainBatch(embeddings, weight, take_of_row, cohort[: head.cohort_rows])
    head.initialize()
    losses = []
    for step in range(plan.steps):
        losses.append(head.train(batch, plan.learning_rate, plan.pull))
        if progress is not None:
            progress(step + 1, losses[-1])
    weights = head.get_weights()
    stored = HeadWeights(weights.projection.astype(np.float16).astype(np.float32), weights.bias)
    head.set_weights(stored)
    return Trained(stored, prototype(head, embeddings, weight), tuple(losses))


def prototype(head: SpeakerHead, embeddings: Float32, weight: Float32) -> Float32:
    """The weighted mean of (n, 192) embeddings, once projected: (128,) of unit length."""
    mean = weight @ head.project(embeddings)
    unit: Float32 = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit


def rows_of(
    takes: Sequence[TakeEmbeddings], plan: TrainPlan, limit: int
) -> tuple[Float32, Float32, np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """Embeddings, weights and take numbers; with many takes fewer variations of each fit into `limit` rows."""
    varied = sum(len(take.copies) + len(take.elsewhere) > 0 for take in takes)
    most = (limit - len(takes)) // max(1, varied)
    embeddings: list[Float32] = []
    weight: list[float] = []
    take_of_row: list[int] = []
    for number, take in enumerate(takes):
        rows = [take.clean, *[*take.copies[: plan.copies], *take.elsewhere][:most]]
        embeddings += rows
        weight += [take.weight, *([take.weight * plan.copy_weight] * (len(rows) - 1))]
        take_of_row += [number] * len(rows)
    return np.array(embeddings, np.float32), np.array(weight, np.float32), np.array(take_of_row, np.int32)

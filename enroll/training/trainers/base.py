"""What every way of learning a voice is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from earmark.engine.audio.samples import Float32

from ..train import Progress, TakeEmbeddings, TrainPlan

LEAST_SLOPE, MOST_SLOPE = 1e-3, 100.0  # where strangers are so close together, or so far, nothing was learned


class Voices(NamedTuple):
    """Utterances, of anybody."""

    embeddings: Float32
    """(n, d), unit rows."""
    mels: tuple[Float32, ...] = ()
    """n power mels, `Utterance.mel`; (): there is no sound of them."""


class Lesson(NamedTuple):
    """What a trainer learns from."""

    takes: Sequence[TakeEmbeddings]
    """Of the person; at least one."""
    strangers: Voices
    """Who train."""
    measured: Voices
    """Other strangers, who only say where strangers score: `onto_cosine`."""
    plan: TrainPlan
    """Steps, rates and weights, for those who take steps."""
    progress: Progress | None = None
    """Told each step."""


class Learned(Protocol):
    """What came of one training: a score, until the next training of the same trainer begins."""

    def score(self, tries: Voices) -> Float32:
        """(n,) how much n tries resemble the mean of the takes, on the scale of a cosine."""

    def fields(self) -> dict[str, Any]:
        """Of a `Voiceprint`: what is stored."""


class Trainer(Protocol):
    """One way to learn a voice."""

    name: str
    """Of `engine/networks/trained/kinds.py`."""

    def strangers(self) -> tuple[Voices, Voices] | None:
        """Who train and who measure, where it has its own; None: the cohort."""

    def left_out(self, takes: int) -> list[list[int]]:
        """Which of the takes are left out together, to see what training brings; each is left out once."""

    def train(self, lesson: Lesson) -> Learned:
        """Learns to tell the takes from the strangers.

        Raises:
            InputError: there is no sound of the takes, and this trainer hears it.
            ModelError: a network failed.
            TrainerMissing: a library is not installed.
        """


def each_alone(takes: int) -> list[list[int]]:
    """`left_out` of who trains in milliseconds."""
    return [[number] for number in range(takes)]


def onto_cosine(trained: Float32, cosine: Float32) -> tuple[float, float]:
    """Slope and shift that put strangers' trained scores where their cosines are.

    A trained score has a scale of its own, and the rule of the threshold is one of cosines. So the median and the
    95 % quantile of strangers, who did not train, are brought to those of their cosines to the mean of the takes.

    Args:
        trained: (k,) scores of strangers.
        cosine: (k,) of the same.
    """
    middle, high = np.quantile(trained, (0.5, 0.95))
    wanted_middle, wanted_high = np.quantile(cosine, (0.5, 0.95))
    slope = float(np.clip((wanted_high - wanted_middle) / max(high - middle, 1e-6), LEAST_SLOPE, MOST_SLOPE))
    return slope, float(wanted_middle - slope * middle)


def mean_of(takes: Sequence[TakeEmbeddings]) -> Float32:
    """(d,) of unit length: the cosine of a voiceprint is to it."""
    mean: Float32 = np.mean([take.clean for take in takes], axis=0, dtype=np.float32)
    mean /= np.float32(np.linalg.norm(mean))
    return mean

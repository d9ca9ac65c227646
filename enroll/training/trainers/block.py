"""`block`: the speaker network's last layers, trained for one person by back-propagation inside the TFLite runtime.

What the frozen layers say of each utterance is computed once. Each of the steps then draws some rows of the person
and some strangers. What training has added to the layers is stored as products of two thin matrices: a person stays
small, and what is stored is what the guard has judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.trained.kinds import BLOCK
from earmark.engine.networks.trained.last_layers import LastLayers, Trunk, embed

from ..train import TakeEmbeddings
from . import impostors
from .base import Learned, Lesson, Voices, mean_of, onto_cosine
from .flat import Batch, FlatNetwork

# Of {40 steps at 1e-4, 20 at 2e-5}, on one word of 18 people: the former lost twice as many clean tries
LEARNING_RATE = 2e-5
PULL = 0.01
STEPS = 20
COPY_WEIGHT = 1.0  # of a variation, against 1 of the take itself
OWN_ROWS = 14  # of the rows of a step; the others are strangers'
RANK = 32  # of what training has added to each kernel
SEED = 0
HALVES = 2  # the takes are left out in so many groups: a training takes seconds

Model = dict[str, Any]


class BlockTrainer:
    """Trains the last layers.

    Args:
        folder: of the models.
    """

    name = BLOCK

    def __init__(self, folder: Path = MODELS_DIR) -> None:
        self._trunk = Trunk(folder, "on")
        self._network = FlatNetwork("block", folder)
        self._strangers = impostors.load(folder)
        self._known: dict[int, tuple[Float32, Float32]] = {}  # id of a mel -> the mel, which keeps its id, and

    def strangers(self) -> tuple[Voices, Voices] | None:
        """As of `Trainer`: those whose sound ships."""
        return self._strangers

    def left_out(self, takes: int) -> list[list[int]]:
        """As of `Trainer`."""
        return [[*range(first, takes, HALVES)] for first in range(min(HALVES, takes))]

    def train(self, lesson: Lesson) -> Learned:
        """As of `Trainer`.

        Raises:
            InputError: there is no sound of a take.
        """
        own, take_of_row, weight = self._rows_of(lesson.takes)
        others = [self.activations(mel) for mel in lesson.strangers.mels]
        rng = np.random.default_rng(SEED)
        start = flat(self._trunk.start)
        self._network.initialize(start)
        for _ in range(STEPS):
            mine = _drawn(len(own), min(OWN_ROWS, len(own)), weight, rng)
            theirs = rng.permutation(len(others))[: self._network.rows - len(mine)]
            x, valid = fitted([own[n] for n in mine] + [others[n] for n in theirs], self._network.frames)
            is_take = (np.arange(len(x)) < len(mine)).astype(np.float32)
            each = np.concatenate([weight[mine], np.ones(len(theirs), np.float32)])
            take = np.concatenate([take_of_row[mine], np.full(len(theirs), -1, np.int32)])
            self._network.step(Batch(x, valid, each, take, is_take), LEARNING_RATE, PULL)
        model = added(self._trunk.start, unflat(self._network.theta, self._trunk.start))
        return self._learned(model, lesson)

    def activations(self, mel: Float32) -> Float32:
        """(frames, mels) -> (frames / 2, i), what the frozen layers say of it; computed once for each mel."""
        known = self._known.get(id(mel))
        if known is None:
            known = self._known[id(mel)] = (mel, self._trunk.activations(mel))
        return known[1]

    def embed(self, model: Model, mel: Float32) -> Float32:
        """What a person's layers make of an utterance, (d,) of unit length."""
        return embed(self._trunk.start, self.activations(mel), model)

    def _learned(self, model: Model, lesson: Lesson) -> LearnedBlock:
        counts = {len(take.elsewhere) for take in lesson.takes}
        away = min(counts) if len(counts) == 1 else 0
        clean, copies, elsewhere = [], [], []
        for take in lesson.takes:
            rows = [self.embed(model, mel) for mel in take.mels]
            clean.append(rows[0])
            copies += rows[1 : 1 + len(take.copies)]
            elsewhere.append(rows[len(rows) - away :])
        mean = np.sum(clean, axis=0) + lesson.plan.copy_weight * np.sum(copies, axis=0)
        means = np.array([mean, *(np.mean(elsewhere, axis=0) if away else ())], np.float32)
        model["own"] = means / np.linalg.norm(means, axis=1, keepdims=True)
        strangers = np.array([self.embed(model, mel) for mel in lesson.measured.mels]) @ model["own"][0]
        cosine = lesson.measured.embeddings @ mean_of(lesson.takes)
        model["onto_cosine"] = np.array(onto_cosine(strangers, cosine), np.float32)
        return LearnedBlock(self, model)

    def _rows_of(self, takes: Any) -> tuple[list[Float32], Any, Float32]:
        """Activations of all takes and their variations, which take each is of, and its weight."""
        rows: list[Float32] = []
        take_of_row: list[int] = []
        weight: list[float] = []
        for number, take in enumerate(takes):
            _require_sound(take)
            rows += [self.activations(mel) for mel in take.mels]
            take_of_row += [number] * len(take.mels)
            weight += [take.weight, *[take.weight * COPY_WEIGHT] * (len(take.mels) - 1)]
        return rows, np.array(take_of_row, np.int32), np.array(weight, np.float32)


class LearnedBlock:
    """A person's last layers."""

    def __init__(self, trainer: BlockTrainer, model: Model) -> None:
        self._trainer, self._model = trainer, model

    def score(self, tries: Voices) -> Float32:
        """As of `Learned`."""
        slope, shift = self._model["onto_cosine"]
        own: Float32 = self._model["own"][0]
        rows = np.array([self._trainer.embed(self._model, mel) for mel in tries.mels], np.float32)
        scores: Float32 = slope * (rows.reshape(len(rows), len(own)) @ own) + shift
        return scores

    def fields(self) -> dict[str, Any]:
        """As of `Learned`."""
        return {"model": self._model}


def flat(layers: LastLayers) -> Float32:
    """All weights in the order of the recipe (`models/block_net.py`)."""
    return np.concatenate([np.ravel(values) for values in layers])


def unflat(theta: Float32, like: LastLayers) -> LastLayers:
    """The same, back."""
    ends = np.cumsum([values.size for values in like])
    return LastLayers(*(part.reshape(values.shape) for part, values in zip(np.split(theta, ends[:-1]), like)))


def added(start: LastLayers, now: LastLayers) -> Model:
    """What training has added, in few numbers, as float16 holds them."""
    model: Model = {}
    for name in ("transit", "dense"):
        model[f"{name}_left"], model[f"{name}_right"] = thin(getattr(now, name) - getattr(start, name), RANK)
        moved = getattr(now, f"{name}_bias") - getattr(start, f"{name}_bias")
        model[f"{name}_bias"] = moved.astype(np.float16).astype(np.float32)
    return model


def thin(matrix: Float32, rank: int) -> tuple[Float32, Float32]:
    """(n, m) -> (n, r) and (r, m), whose product is the nearest of that rank (C. Eckart and G. Young, 1936)."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    root = np.sqrt(values[:rank])
    parts = (left[:, :rank] * root, root[:, None] * right[:rank])
    return parts[0].astype(np.float16).astype(np.float32), parts[1].astype(np.float16).astype(np.float32)


def fitted(rows: list[Float32], frames: int) -> tuple[Float32, Float32]:
    """Activations (f, i) of any lengths -> (n, frames, i) and (n, frames) which count; of longer ones some."""
    x = np.zeros((len(rows), frames, rows[0].shape[1]), np.float32)
    valid = np.zeros((len(rows), frames), np.float32)
    for number, row in enumerate(rows):
        some = row if len(row) <= frames else row[np.linspace(0, len(row) - 1, frames).round().astype(int)]
        x[number, : len(some)], valid[number, : len(some)] = some, 1
    return x, valid


def _drawn(rows: int, count: int, weight: Float32, rng: np.random.Generator) -> Any:
    """So many of the rows, none twice, those of more weight sooner."""
    return rng.choice(rows, count, replace=False, p=weight / weight.sum())


def _require_sound(take: TakeEmbeddings) -> None:
    if not take.mels:
        raise InputError(
            "the trainer `block` hears the takes, and of one there is only an embedding: enrol from recordings in "
            "one go, or with another trainer"
        )

"""The trainable head: the only module that knows the names of the training signatures.

A linear projection of the speaker embedding that starts as the shipped one and is moved a little, by gradient steps
inside the TFLite runtime, towards what tells one person from a cohort. `models/head_net.py` has the network and the
formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..audio.samples import Float32
from ..errors import ModelError
from . import runtime
from .admission import admit
from .card import MODELS_DIR, load_card, read_model

SIGNATURES = ("initialize", "train", "infer", "get_weights", "set_weights")


@dataclass(frozen=True)
class HeadWeights:
    """What training changes."""

    projection: Float32
    """(192, 128)."""
    bias: Float32
    """(1,): cosine at which the cohort term begins to push."""


def no_weights() -> HeadWeights:
    """Of whom the head was not trained for."""
    return HeadWeights(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class TrainBatch:
    """What one training step sees; it is the same in every step."""

    takes: Float32
    """(n, 192) embeddings of the person, n ≤ the head's take rows."""
    take_weight: Float32
    """(n,) ≥ 0."""
    take_of_row: npt.NDArray[np.int32]
    """(n,) which take a row stems from: an utterance and its augmented copies have one number."""
    cohort: Float32
    """(k, 192) embeddings of other people, k ≤ the head's cohort rows."""


@dataclass(frozen=True)
class TrainLoss:
    """The parts of the loss before a step."""

    total: float
    take: float
    cohort: float
    pull: float


class SpeakerHead:
    """The head's interpreter.

    A fresh interpreter and `initialize` both mean the shipped projection; the weights of a person live in its file
    and come in by `set_weights`.

    Raises:
        ModelError: the head is damaged, or lacks one of its signatures.
    """

    def __init__(self, folder: Path = MODELS_DIR) -> None:
        self._folder = folder
        self.card = load_card("head", folder)
        self.embedding_size = int(self.card.parameters["embedding_size"])
        self.projection_size = int(self.card.parameters["projection_size"])
        self.take_rows = int(self.card.parameters["take_rows"])
        self.cohort_rows = int(self.card.parameters["cohort_rows"])
        self._infer_rows = int(self.card.parameters["infer_rows"])
        model = admit(read_model(self.card, folder), self.card.sha256, self.card.file, "head")
        self._call = runtime.Signatures(runtime.open_model(model), SIGNATURES, self.card.file)
        self.initialize()

    def twin(self) -> SpeakerHead:
        """Another one like it, with the shipped projection, for another thread."""
        return SpeakerHead(self._folder)

    def initialize(self) -> None:
        """Back to the shipped projection, with a fresh optimiser."""
        self._call("initialize")

    def train(self, batch: TrainBatch, learning_rate: float, pull: float) -> TrainLoss:
        """One Adam step.

        Raises:
            ModelError: more rows than the head has, or a loss that is not finite.
        """
        if len(batch.takes) > self.take_rows or len(batch.cohort) > self.cohort_rows:
            raise ModelError(
                f"{len(batch.takes)} take rows and {len(batch.cohort)} cohort rows do not fit into "
                f"{self.take_rows} and {self.cohort_rows}"
            )
        values = self._call(
            "train",
            takes=runtime.padded(batch.takes, self.take_rows),
            take_weight=runtime.padded(batch.take_weight, self.take_rows),
            take_of_row=runtime.padded(batch.take_of_row, self.take_rows),
            cohort=runtime.padded(batch.cohort, self.cohort_rows),
            cohort_weight=runtime.padded(np.ones(len(batch.cohort), np.float32), self.cohort_rows),
            learning_rate=np.array([learning_rate], np.float32),
            pull=np.array([pull], np.float32),
        )
        loss = TrainLoss(*(float(values[name][0]) for name in ("loss", "take_loss", "cohort_loss", "pull_loss")))
        if not np.isfinite(loss.total):
            raise ModelError(f"{self.card.file}: the training loss became {loss.total}: `earmark doctor`")
        return loss

    def project(self, embeddings: Float32) -> Float32:
        """(n, 192) -> (n, 128), rows of unit length."""
        return self._infer(embeddings, np.zeros(self.projection_size, np.float32))[1]

    def score(self, embeddings: Float32, prototype: Float32) -> Float32:
        """Cosines, in -1…1, of (n, 192) embeddings, once projected, with a (128,) prototype: (n,)."""
        return self._infer(embeddings, prototype)[0]

    def get_weights(self) -> HeadWeights:
        """The weights as they are now."""
        values = self._call("get_weights")
        return HeadWeights(values["projection"].copy(), values["bias"].copy())

    def start(self) -> tuple[Float32, Float32] | None:
        """The shipped projection, (192, 128), and the centre that is taken off before it, (192,).

        None: this head projects in another way. It is as after `initialize`.
        """
        self.initialize()
        values = self._call("get_weights")
        projection = values["projection"].copy()
        centre = values.get("centre", projection[:, 0]).reshape(-1).copy()
        rows = np.eye(2, self.embedding_size, dtype=np.float32)
        projected = (rows - centre) @ projection
        projected /= np.linalg.norm(projected, axis=1, keepdims=True)
        return (projection, centre) if np.allclose(self.project(rows), projected, atol=1e-4) else None

    def set_weights(self, weights: HeadWeights) -> None:
        """Puts weights in; the optimiser starts afresh."""
        self._call("set_weights", projection=weights.projection, bias=weights.bias)

    def _infer(self, embeddings: Float32, prototype: Float32) -> tuple[Float32, Float32]:
        count = len(embeddings)
        scores = np.empty(count, np.float32)
        projected = np.empty((count, self.projection_size), np.float32)
        for start in range(0, count, self._infer_rows):
            rows = embeddings[start : start + self._infer_rows]
            values = self._call("infer", embeddings=runtime.padded(rows, self._infer_rows), prototype=prototype[None])
            scores[start : start + len(rows)] = values["score"][: len(rows)]
            projected[start : start + len(rows)] = values["projected"][: len(rows)]
        return scores, projected

"""The shipped impostors: embeddings of people who are not the one being enrolled.

They are the negatives of the training and the measure of the threshold. No audio is in them, and no name.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import ModelError, text_of
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model


@dataclass(frozen=True)
class Cohort:
    """Impostor embeddings with what is known of each."""

    embeddings: Float32
    """(n, embedding size), unit rows."""
    phrase: npt.NDArray[np.str_]
    """(n,) what is said: a wake word's name where a network knows it, else the corpus's own word."""
    speaker: npt.NDArray[np.str_]
    """(n,) corpus and speaker, for keeping people apart; a clip without a label counts as a speaker of its own."""

    def __len__(self) -> int:
        return len(self.embeddings)

    def pick(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Cohort:
        """The cohort with only some of its rows."""
        return Cohort(self.embeddings[rows], self.phrase[rows], self.speaker[rows])

    def without_set(self, name: str) -> Cohort:
        """The cohort without a whole corpus: as little as it has heard a user's microphone."""
        return self.pick(~np.char.startswith(self.speaker, f"{name}/"))

    def halves(self) -> tuple[Cohort, Cohort]:
        """Two cohorts without a common speaker: one to train against, one to set the threshold with."""
        _, number = np.unique(self.speaker, return_inverse=True)
        return self.pick(number % 2 == 0), self.pick(number % 2 == 1)

    def nearest(self, centroid: Float32, count: int) -> Cohort:
        """The `count` rows that resemble a centroid most: the impostors who matter."""
        order = np.argsort(-(self.embeddings @ centroid), kind="stable")
        return self.pick(order[:count])


@functools.lru_cache(maxsize=2)
def load(folder: Path = MODELS_DIR) -> Cohort:
    """The cohort of a folder of models; by default the one that earmark carries.

    Raises:
        ModelError: it is damaged or does not fit its card.
    """
    card = load_card("cohort", folder)
    try:
        with np.load(io.BytesIO(read_model(card, folder)), allow_pickle=False) as arrays:
            rows = arrays["embeddings"].astype(np.float32)  # kept as int8 or float16, at any length
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            cohort = Cohort(rows / np.maximum(lengths, 1e-9), arrays["phrase"], arrays["speaker"])
    except (ValueError, KeyError) as error:
        raise ModelError(f"{card.file}: not a cohort ({text_of(error)}): install earmark again") from error
    if not len(cohort.embeddings) == len(cohort.phrase) == len(cohort.speaker):
        raise ModelError(f"{card.file}: its columns differ in length: install earmark again")
    return cohort

"""The trainable gate of a phrase: the only module that knows the names of its training signatures.

`models/phrase_head_net.py` has the formulas.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.networks import runtime
from earmark.engine.networks.admission import admit
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model
from earmark.engine.phrases.model import WINDOW
from earmark.engine.phrases.network import FEATURES

SIGNATURES = ("initialize", "train", "get_weights")


class Examples(NamedTuple):
    """What one training step sees; it is the same in every step."""

    windows: Float32
    """(n, 256), n ≤ the gate's rows: eight features, the oldest first."""
    is_phrase: Float32
    """(n,) 1 where the phrase ends, else 0."""
    weight: Float32
    """(n,) ≥ 0."""


class PhraseGate:
    """The gate's interpreter.

    Args:
        folder: of `phrase_head.json` and the file that it names.

    Raises:
        ModelError: it is damaged, or has other signatures.
    """

    def __init__(self, folder: Path = MODELS_DIR) -> None:
        self.card = load_card("phrase_head", folder)
        model = admit(read_model(self.card, folder), self.card.sha256, self.card.file, "head")
        interpreter = runtime.open_model(model, delegate=False)  # which cannot train
        self._call = runtime.Signatures(interpreter, SIGNATURES, self.card.file)
        self.rows = self._call.shape("train", "windows")[0]

    def initialize(self) -> None:
        """All weights are zero, and the optimiser starts afresh."""
        self._call("initialize")

    def train(self, examples: Examples, learning_rate: float, pull: float) -> float:
        """One step of Adam; the loss before it."""
        values = self._call(
            "train",
            windows=runtime.padded(examples.windows, self.rows),
            is_phrase=runtime.padded(examples.is_phrase, self.rows),
            weight=runtime.padded(examples.weight, self.rows),
            learning_rate=np.array([learning_rate], np.float32),
            pull=np.array([pull], np.float32),
        )
        return float(values["loss"][0])

    def get_weights(self) -> tuple[Float32, float]:
        """(8, 32) weights and the bias, as they are now."""
        values = self._call("get_weights")
        return values["weights"].reshape(WINDOW, FEATURES).copy(), float(values["bias"][0])

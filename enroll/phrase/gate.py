"""The trainable gate of a phrase: the only module that knows the names of its training signatures.

`models/phrase_head_net.py` has the formulas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import ModelError, text_of
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
        self._interpreter = runtime.open_model(model, delegate=False)  # which cannot train
        if not set(SIGNATURES) <= set(self._interpreter.get_signature_list()):
            raise ModelError(f"{self.card.file}: it must have the signatures {', '.join(SIGNATURES)}")
        self._run = {name: self._interpreter.get_signature_runner(name) for name in SIGNATURES}
        self.rows = int(self._run["train"].get_input_details()["windows"]["shape"][0])

    def initialize(self) -> None:
        """All weights are zero, and the optimiser starts afresh."""
        self._call("initialize")

    def train(self, examples: Examples, learning_rate: float, pull: float) -> float:
        """One step of Adam; the loss before it."""
        values = self._call(
            "train",
            windows=_padded(examples.windows, self.rows),
            is_phrase=_padded(examples.is_phrase, self.rows),
            weight=_padded(examples.weight, self.rows),
            learning_rate=np.array([learning_rate], np.float32),
            pull=np.array([pull], np.float32),
        )
        return float(values["loss"][0])

    def get_weights(self) -> tuple[Float32, float]:
        """(8, 32) weights and the bias, as they are now."""
        values = self._call("get_weights")
        return values["weights"].reshape(WINDOW, FEATURES).copy(), float(values["bias"][0])

    def _call(self, signature: str, **inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        try:
            values: dict[str, npt.NDArray[Any]] = self._run[signature](**inputs)
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self.card.file}: {signature} fails under {runtime.version()}: {text_of(error)}"
            ) from error
        return values


def _padded(rows: Float32, count: int) -> Float32:
    """Zero rows appended up to `count`: their weight is zero too, so they change nothing."""
    padded = np.zeros((count, *rows.shape[1:]), np.float32)
    padded[: len(rows)] = rows
    return padded

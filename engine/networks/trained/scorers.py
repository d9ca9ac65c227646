"""What the trained part of a voiceprint says of tries, whichever trainer made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ...audio.samples import Float32
from ..card import MODELS_DIR
from ..runtime import Delegate
from .kinds import HEARING
from .last_layers import Trunk, embed

Model = Mapping[str, npt.NDArray[Any]]
"""The arrays of `kinds.LAYOUTS`."""
Mels = Optional[Sequence[Optional[Float32]]]
"""`Utterance.mel` of n tries; None: that one is not known, or none is."""


class Scorers:
    """Asks trained models; what they need of the networks is opened when it is needed.

    Args:
        folder: of the models.
        delegate: as of the speaker network.
    """

    def __init__(self, folder: Path = MODELS_DIR, delegate: Delegate = "off") -> None:
        self._folder, self._delegate = folder, delegate
        self._trunk: Trunk | None = None

    @property
    def trunk(self) -> Trunk:
        """The layers that `block` leaves as they are.

        Raises:
            ModelError: they cannot be opened, or `block` is not made for this speaker network.
        """
        self._trunk = self._trunk or Trunk(self._folder, self._delegate)
        return self._trunk

    def scores(self, trainer: str, model: Model, embeddings: Float32, mels: Mels, cosine: Float32) -> Float32:
        """(n, m) scores of n tries and m prototypes, on the scale of a cosine.

        Args:
            trainer: that made the model, any but the head.
            model: of the person.
            embeddings: (n, d) of the tries.
            mels: of the tries.
            cosine: (n, m) their cosines to the prototypes: it stands for what a model that hears tries cannot say.

        Raises:
            ModelError: the networks fail.
            ValueError: the model has numbers of another size than the networks.
        """
        if trainer not in HEARING:
            linear = embeddings @ model["direction"].T + model["shift"]
            return np.broadcast_to(linear, cosine.shape).astype(np.float32)
        scores = cosine.copy()
        slope, shift = model["onto_cosine"]
        for row, mel in enumerate(mels or ()):
            if mel is not None:
                own = embed(self.trunk.start, self.trunk.activations(mel), model)
                scores[row] = (slope * (model["own"] @ own) + shift)[: cosine.shape[1]]
        return scores

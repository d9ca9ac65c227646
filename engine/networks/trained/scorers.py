"""What the trained part of a voiceprint says of tries, whichever trainer made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...audio.samples import Float32

Model = Mapping[str, npt.NDArray[Any]]
"""The arrays of `kinds.LAYOUTS`."""


def scores(model: Model, embeddings: Float32, cosine: Float32) -> Float32:
    """(n, m) scores of n tries and m prototypes, on the scale of a cosine.

    Args:
        model: of the person.
        embeddings: (n, d) of the tries.
        cosine: (n, m) their cosines to the prototypes.

    Raises:
        ValueError: the model has numbers of another size than the networks.
    """
    linear = embeddings @ model["direction"].T + model["shift"]
    return np.broadcast_to(linear, cosine.shape).astype(np.float32)

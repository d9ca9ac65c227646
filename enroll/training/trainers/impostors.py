"""Impostors with their sound, for trainers that hear it; half of them train, the others say where strangers score."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np

from earmark.engine.errors import ModelError, text_of
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model

from .base import Voices


@functools.lru_cache(maxsize=2)
def load(folder: Path = MODELS_DIR) -> tuple[Voices, Voices]:
    """Who trains, and who measures.

    Raises:
        ModelError: they are not there, damaged, or do not fit their card.
    """
    card = load_card("impostors", folder)
    lowest, step = (float(card.parameters[name]) for name in ("lowest", "step"))
    try:
        with np.load(io.BytesIO(read_model(card, folder)), allow_pickle=False) as arrays:
            rows = arrays["embeddings"].astype(np.float32)
            rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
            logs = lowest + step * arrays["mels"].astype(np.float32)
            mels = np.split(np.exp(logs), np.cumsum(arrays["frames"])[:-1])
    except (ValueError, KeyError) as error:
        raise ModelError(f"{card.file}: no impostors ({text_of(error)}): install earmark again") from error
    if len(rows) != len(mels):
        raise ModelError(f"{card.file}: {len(rows)} embeddings of {len(mels)} mels: install earmark again")
    half = len(rows) // 2
    return Voices(rows[:half], tuple(mels[:half])), Voices(rows[half:], tuple(mels[half:]))

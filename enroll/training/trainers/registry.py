"""All trainers by their names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from earmark.engine.errors import InputError, did_you_mean
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.trained.kinds import BLOCK, HEAD, LOGISTIC, REFERENCES, SVM

from .base import Trainer
from .block import BlockTrainer
from .head import HeadTrainer
from .linear import Linear, References, by_logistic, by_svm

OF_EMBEDDINGS: Mapping[str, Trainer] = {
    REFERENCES: References(),
    SVM: Linear(SVM, by_svm),
    LOGISTIC: Linear(LOGISTIC, by_logistic),
}
"""Who needs no network."""
NAMES = (HEAD, *OF_EMBEDDINGS, BLOCK)


def trainer_of(name: str, head: SpeakerHead, folder: Path) -> Trainer:
    """The trainer of a name.

    Args:
        name: of `NAMES`.
        head: of the folder of models in use; who trains it leaves the person's weights in it.
        folder: of these models.

    Raises:
        InputError: there is none.
        ModelError: its network is damaged, or made for another speaker network.
    """
    if name == HEAD:
        return HeadTrainer(head)
    if name == BLOCK:
        return _block(folder)
    if name not in OF_EMBEDDINGS:
        raise InputError(f"no trainer {name!r}{did_you_mean(name, NAMES)}: choose one of {', '.join(NAMES)}")
    return OF_EMBEDDINGS[name]


_block = functools.lru_cache(maxsize=2)(BlockTrainer)
"""Opened once: it serves any number of people."""

"""All trainers by their names."""

from __future__ import annotations

from collections.abc import Mapping

from earmark.engine.errors import InputError, did_you_mean
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.trained.kinds import HEAD, LOGISTIC, REFERENCES, SVM

from .base import Trainer
from .head import HeadTrainer
from .linear import Linear, References, by_logistic, by_svm

OF_EMBEDDINGS: Mapping[str, Trainer] = {
    REFERENCES: References(),
    SVM: Linear(SVM, by_svm),
    LOGISTIC: Linear(LOGISTIC, by_logistic),
}
"""Who needs no network."""
NAMES = (HEAD, *OF_EMBEDDINGS)


def trainer_of(name: str, head: SpeakerHead) -> Trainer:
    """The trainer of a name.

    Args:
        name: of `NAMES`.
        head: of the folder of models in use; who trains it leaves the person's weights in it.

    Raises:
        InputError: there is none.
    """
    if name == HEAD:
        return HeadTrainer(head)
    if name not in OF_EMBEDDINGS:
        raise InputError(f"no trainer {name!r}{did_you_mean(name, NAMES)}: choose one of {', '.join(NAMES)}")
    return OF_EMBEDDINGS[name]

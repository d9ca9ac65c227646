"""The default: a projection of the embeddings, moved by gradient steps inside the TFLite runtime."""

from __future__ import annotations

from typing import Any

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.trained.kinds import HEAD

from ..train import Trained, train
from .base import Learned, Lesson, Voices, each_alone


class LearnedHead:
    """The head with a person's weights in it."""

    def __init__(self, head: SpeakerHead, trained: Trained) -> None:
        self._head, self._trained = head, trained

    def score(self, tries: Voices) -> Float32:
        """As of `Learned`."""
        return self._head.score(tries.embeddings, self._trained.prototype)

    def fields(self) -> dict[str, Any]:
        """As of `Learned`."""
        return {"prototype": self._trained.prototype, "weights": self._trained.weights}


class HeadTrainer:
    """Trains the shipped head (`models/head_net.py`)."""

    name = HEAD

    def __init__(self, head: SpeakerHead) -> None:
        self._head = head

    def strangers(self) -> tuple[Voices, Voices] | None:
        """As of `Trainer`."""
        return None

    def left_out(self, takes: int) -> list[list[int]]:
        """As of `Trainer`."""
        return each_alone(takes)

    def train(self, lesson: Lesson) -> Learned:
        """As of `Trainer`; a cosine is on its own scale already."""
        strangers = lesson.strangers.embeddings
        return LearnedHead(self._head, train(self._head, lesson.takes, strangers, lesson.plan, lesson.progress))

"""What a person who enrols may choose, and who is told how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from earmark.engine.networks.head import TrainLoss
from earmark.engine.networks.trained.kinds import HEAD

from .takes.rules import AS_THEY_ARE, Limits
from .training.train import TrainPlan


@dataclass(frozen=True)
class Options:
    """What the person enrolling may choose."""

    seed: int = 0
    far: float = 0.01
    """Wanted share of accepted impostors, 0…1."""
    min_takes: int = 3
    refuse_disagreeing: bool = True
    """Refuse takes of which most, each left out in turn, would be rejected; not where people are measured."""
    limits: Limits = field(default_factory=Limits)
    """That takes must keep to."""
    plan: TrainPlan = field(default_factory=TrainPlan)
    trainer: str = HEAD
    """Of `enroll/training/trainers/registry.py`: how the voice is learned."""


def as_they_are(far: float = 0.01) -> Options:
    """For measuring people from lists: one take is enough, and what can be used is."""
    return Options(far=far, min_takes=1, refuse_disagreeing=False, limits=AS_THEY_ARE)


class Watcher:
    """Is told how far an enrolment is; this one keeps it to itself."""

    def stage(self, name: str, done: int, total: int) -> None:
        """`done` of `total` of a stage are done: `listening`, `others` or `varying`."""

    def step(self, number: int, loss: TrainLoss) -> None:
        """A training step is done: 1, 2, …, and the loss before it."""


SILENT = Watcher()

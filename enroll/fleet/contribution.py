"""What a home would change about the head's start: the mean of how its people's own trainings move it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.head import HeadWeights, SpeakerHead, TrainBatch
from earmark.engine.people.voiceprint import Voiceprint

from ..enrolment import Enroller
from ..training.train import TakeEmbeddings, TrainPlan, rows_of

LEAST_TAKES = 2  # of one take there is no other to be near to
PLAN = TrainPlan()


def takes_of(person: Voiceprint) -> list[TakeEmbeddings]:
    """The enrolled takes with their variations, as they were stored."""
    count = person.enrolled_takes
    none = np.zeros((0, person.takes.shape[1]), np.float32)

    def rows(stored: Float32) -> Sequence[Float32]:
        return list(stored) if len(stored) == count else [none] * count

    found = zip(person.takes[:count], rows(person.copies), rows(person.elsewhere))
    return [TakeEmbeddings(take, copies, elsewhere=elsewhere) for take, copies, elsewhere in found]


def change(
    enroller: Enroller, people: Iterable[Voiceprint], start: Float32, plan: TrainPlan = PLAN
) -> Float32 | None:
    """The change of a (192, 128) start that the training of these people makes, as a mean; None: nobody can be.

    Each begins at the start, as an enrolment does, and nothing pulls him back to it.

    Raises:
        ModelError: the training did not stay finite.
    """
    changes = []
    for person in people:
        takes = takes_of(person)
        if len(takes) >= LEAST_TAKES and person.binding.speaker == enroller.speaker.card.sha256:
            negatives, _ = enroller.cohorts(person.keyword, person.centroid)
            changes.append(trained_from(enroller.head, start, takes, negatives, plan) - start)
    return np.mean(changes, axis=0, dtype=np.float32) if changes else None


def trained_from(
    head: SpeakerHead, start: Float32, takes: Sequence[TakeEmbeddings], negatives: Float32, plan: TrainPlan = PLAN
) -> Float32:
    """The (192, 128) projection after a person's training from a start; it is left in the head."""
    head.initialize()
    bias = head.get_weights().bias
    head.set_weights(HeadWeights(start, bias))
    embeddings, weight, take_of_row = rows_of(takes, plan, head.take_rows)
    batch = TrainBatch(embeddings, weight, take_of_row, negatives[: head.cohort_rows])
    for _ in range(plan.steps):
        head.train(batch, plan.learning_rate, pull=0.0)
    return head.get_weights().projection

"""A published start on this device: tried on the takes of its own people, and made a folder of models that has it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.engine.errors import FleetError
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.people.store import TRAINED, Voiceprint
from earmark.engine.storage.atomic import make_folder, put_in_place, sync_folder, temporary_folder, write_synced

from ..enrolment import Enroller
from ..training.calibrate import leave_one_out
from ..training.trainers.base import Voices
from ..training.trainers.head import HeadTrainer
from .contribution import PLAN, takes_of
from .signed import Start

MODELS = ("speaker", "head", "cohort")
LEAST_PEOPLE = 1


@dataclass(frozen=True)
class Tried:
    """Margins of each voiceprint, in the impostors' standard deviations (`Trial.margin`): with what is in use, and
    with the new start."""

    names: Sequence[str]
    now: Sequence[float]
    then: Sequence[float]

    @property
    def is_better(self) -> bool:
        """On average, and for no less than half of them."""
        better = sum(new > old for old, new in zip(self.now, self.then))
        return float(np.mean(self.then)) > float(np.mean(self.now)) and 2 * better >= len(self.names)


def make_models(start: Start, folder: Path, base: Path) -> Path:
    """A copy of the models whose head begins at a start; returns its folder.

    The head's file holds its start as a constant, so only these numbers change: no code comes from elsewhere.

    Args:
        start: whose signature held.
        folder: in which it is made, under the first digits of its checksum.
        base: the models in use.

    Raises:
        FleetError: it is a start of another head.
        ModelError: a model is damaged.
    """
    head = SpeakerHead(base)
    built_in = head.start()
    if start.card.get("head_sha256") != head.card.sha256 or built_in is None:
        raise FleetError(
            f"the start is of the head {str(start.card.get('head_sha256'))[:12]}…, and {head.card.sha256[:12]}… is "
            "in use: ask for one of this release"
        )
    old = built_in[0].astype("<f4").tobytes()
    new = np.ascontiguousarray(start.numbers, "<f4").tobytes()
    content = (base / head.card.file).read_bytes()
    if len(new) != len(old) or old not in content:
        raise FleetError(f"the start has the shape {start.numbers.shape}, and the head's has {built_in[0].shape}")
    target = folder / f"models-{start.card['sha256'][:16]}"
    if target.is_dir():
        return target
    make_folder(folder)
    with temporary_folder(folder) as made:
        place = Path(made)
        for model in MODELS:
            card = json.loads((base / f"{model}.json").read_text("utf-8"))
            if model == "head":
                content = content.replace(old, new)
                card["sha256"] = hashlib.sha256(content).hexdigest()
                write_synced(place / card["file"], content)
            else:
                shutil.copyfile(base / card["file"], place / card["file"])
            write_synced(place / f"{model}.json", json.dumps(card, indent=1).encode() + b"\n")
        write_synced(
            place / "start.json", json.dumps(dict(start.card), indent=1, ensure_ascii=False).encode() + b"\n"
        )
        sync_folder(place)
        put_in_place(made, target)
    return target


def tried(now: Path, then: Path, people: Sequence[Voiceprint]) -> Tried:
    """How well each person is told from strangers with either folder of models, each take left out in turn.

    Raises:
        FleetError: nobody has two takes: nobody can say whether it is better.
    """
    tried_on = [person for person in people if person.enrolled_takes > 1]
    if len(tried_on) < LEAST_PEOPLE:
        raise FleetError("nobody here has two takes to try a start on: enrol somebody first")
    margins = [[_margin(Enroller.load(folder), person) for person in tried_on] for folder in (now, then)]
    return Tried([person.name for person in tried_on], *margins)


def _margin(enroller: Enroller, person: Voiceprint) -> float:
    to_train, to_measure = enroller.cohorts(person.keyword, person.centroid)
    trainer = HeadTrainer(enroller.head)
    trials = leave_one_out(trainer, takes_of(person), Voices(to_measure), Voices(to_train), PLAN)
    return trials[TRAINED].margin()

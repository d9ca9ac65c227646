"""The homes and the unseen speakers of the fleet's study: `scripts/studies/fleet_data.py DATA CACHE`.

Everybody is of Speech Commands, and of a fold that the speaker network, the head and the cohort of that fold have
never heard (`folds.py`). Half of the speakers are homes, the other half is only measured. A home has three takes,
each with two variations. Who is measured has three takes, and every other recording as tries, through a room and
noise.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import folds
import numpy as np
import numpy.typing as npt

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.enroll.fleet.trial import TrialList
from earmark.enroll.training.augment import augmented

TAKES, VARIATIONS = 3, 2
SET = "gsc"
Floats = npt.NDArray[np.float32]


class Speakers(NamedTuple):
    """Of one fold."""

    homes: Float32
    """(h, 3, 1 + 2, d): takes, each followed by its variations."""
    unseen: TrialList


def recordings(data: Path, fold: int) -> dict[str, list[Path]]:
    """Speaker -> recordings, of the speakers of a fold, in a fixed order."""
    found: dict[str, list[Path]] = defaultdict(list)
    unheard = folds.unheard(data, SET, fold)
    with (data / "index.csv").open(newline="", encoding="utf-8") as file:
        for row in sorted(csv.DictReader(file), key=lambda row: row["path"]):
            if row["set"] == SET and row["speaker"] in unheard:
                found[row["speaker"]].append(data / row["path"])
    return dict(sorted(found.items()))


def embed(data: Path, fold: int) -> Speakers:
    """Embeds everybody of a fold with the network of that fold."""
    network = folds.enroller(fold).speaker
    homes: list[Floats] = []
    takes: list[Floats] = []
    tries: list[Float32] = []
    speaker: list[int] = []
    for number, paths in enumerate(recordings(data, fold).values()):
        is_home = number % 2 == 0
        if len(paths) < TAKES + (not is_home):
            continue
        rng = np.random.default_rng([fold, number])
        try:
            heard = [Analysis(read_audio(path)) for path in paths]
            rows = [
                [network.embed(take.samples), *(network.embed(augmented(take, rng)) for _ in range(VARIATIONS))]
                for take in heard[:TAKES]
            ]
            later = [] if is_home else [network.embed(augmented(take, rng)) for take in heard[TAKES:]]
        except AudioError:  # nothing is said in one of them
            continue
        (homes if is_home else takes).append(np.array(rows, np.float32))
        tries += later
        speaker += [len(takes) - 1] * len(later)
    measured = np.array(takes)
    unseen = TrialList(measured[:, :, 0], measured[:, :, 1:], np.array(tries), np.array(speaker, np.intp))
    return Speakers(np.array(homes), unseen)


def load(data: Path, cache: Path, fold: int) -> Speakers:
    """From the cache, where they are."""
    path = cache / f"fleet-{fold}.npz"
    if not path.is_file():
        made = embed(data, fold)
        np.savez(path, homes=made.homes, **vars(made.unseen))
    with np.load(path) as arrays:
        return Speakers(
            arrays["homes"], TrialList(*(arrays[name] for name in ("takes", "copies", "tries", "speaker")))
        )


if __name__ == "__main__":
    for fold in (0, 1):
        found = load(Path(sys.argv[1]), Path(sys.argv[2]), fold)
        print(fold, found.homes.shape, found.unseen.takes.shape, found.unseen.tries.shape)

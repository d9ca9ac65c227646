"""Recipe of the head's start: the directions in which people differ more than one person from take to take.

Linear discriminant analysis (C. R. Rao, 1948) of labelled speakers' embeddings, each clip as it is and in two
variations (room, noise, gain, speed, crop), so that what a channel does counts as being the same person. The
covariance within a person is shrunk towards a multiple of the identity (J. Friedman, 1989).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.training.augment import augmented

from .corpora import LABELLED_SETS
from .fold import fold_of

Array = npt.NDArray[Any]

TAKES = 3  # of a speaker and phrase at most
GSC_SPEAKERS = 3  # every third of the thousand: enough, and the recipe takes minutes instead of half an hour
VARIATIONS = 2  # of each clip
SHRINKAGE = 0.8  # of {0.3, 0.8, 0.95}; 0.3 was worse in noise on speakers of both folds
SEED = 0


def build(data: Path, folder: Path, count: int, fold: int | None) -> tuple[Array, Array]:
    """A projection (d, count) and the centre (d,), float32, for the speaker network of a folder."""
    network = SpeakerNetwork(folder)
    rows, speakers = [], []
    for number, (speaker, samples) in enumerate(_clips(data, fold)):
        rng, take = np.random.default_rng([SEED, number]), Analysis(samples)
        try:
            for version in (samples, *(augmented(take, rng) for _ in range(VARIATIONS))):
                rows.append(network.embed(version))
                speakers.append(speaker)
        except AudioError:  # nothing is said in it
            continue
    return discriminants(np.array(rows, np.float64), np.array(speakers), count)


def discriminants(rows: Array, speakers: Array, count: int) -> tuple[Array, Array]:
    """(n, d) embeddings and (n,) labels -> (d, count) directions, best first, and the mean (d,), as float32.

    The sign of a direction is arbitrary: its largest component is made positive, so that the result is the same on
    every machine up to rounding.
    """
    centre = rows.mean(axis=0)
    _, label = np.unique(speakers, return_inverse=True)
    sizes = np.bincount(label)
    means = np.stack([np.bincount(label, column) for column in rows.T], axis=1) / sizes[:, None]
    inner = rows - means[label]
    within = inner.T @ inner / len(rows)
    between = ((means - centre).T * sizes) @ (means - centre) / len(rows)
    size = len(centre)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / size * np.eye(size)
    _, vectors = eigh(between, within)
    axes = vectors[:, ::-1][:, :count]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])
    axes /= np.linalg.norm(axes, axis=0).mean()  # Adam's steps are sized for columns of about unit length
    return axes.astype(np.float32), centre.astype(np.float32)


def _clips(data: Path, fold: int | None) -> Iterator[tuple[str, Int16]]:
    """Set and speaker, and the samples, of the clips that enter, in a fixed order."""
    taken: dict[tuple[str, ...], int] = defaultdict(int)
    with (data / "index.csv").open(newline="") as file:
        rows = sorted(
            (row for row in csv.DictReader(file) if row["set"] in LABELLED_SETS), key=lambda row: row["path"]
        )
    gsc = sorted({row["speaker"] for row in rows if row["set"] == "gsc"})[::GSC_SPEAKERS]
    for row in rows:
        key = (row["set"], row["speaker"], row["phrase"])
        if fold is not None and fold_of(row["set"], row["speaker"]) == fold:
            continue
        if (row["set"] == "gsc" and row["speaker"] not in gsc) or taken[key] == TAKES:
            continue
        taken[key] += 1
        yield "/".join(key[:2]), read_audio(data / row["path"])

"""Recipe of the impostors whose sound ships: for trainers that hear it (`block`), and need more than embeddings.

One word of each of some people, as the speaker network hears it: logarithms of power mels, in steps of a tenth of a
neper, with the embedding. They are the detector's own crops. The data is the folder that `corpora.py` describes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.files import read_audio
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.speaker import SpeakerNetwork

from . import corpora
from .build_cohort import LARGEST
from .fold import fold_of

PEOPLE = 128  # half of them train, half say where strangers score; 7 kB each
MOST = {"asc": 18, "dsp": 24, "wuw": 43, "gsc": PEOPLE}  # of each set; the last fills what is left
LOWEST, STEP = -15.9424, 0.1  # of a logarithm: the network's floor, 2 ** -23, and up to 9.5

Array = npt.NDArray[Any]


def build(data: Path, folder: Path = MODELS_DIR, fold: int | None = None) -> bytes:
    """The content of impostors.npz: mels (frames of all, 80) uint8, frames (n,), embeddings (n, d) int8, speaker.

    Args:
        data: folder of the speech.
        folder: of the speaker network.
        fold: whose speakers are left out.
    """
    network = SpeakerNetwork(folder)
    mels: list[Array] = []
    embeddings: list[Array] = []
    speakers: list[str] = []
    for row in _chosen(data, fold):
        try:
            heard = network.hear_analysed(Analysis(read_audio(data / row["path"])))
        except AudioError:  # nothing is said in it
            continue
        assert heard.mel is not None
        mels.append(to_bytes(heard.mel))
        embeddings.append(np.rint(LARGEST * heard.embedding / np.abs(heard.embedding).max()).astype(np.int8))
        speakers.append(f"{row['set']}/{row['speaker']}")
        if len(mels) == PEOPLE:
            break
    order = np.random.default_rng(0).permutation(len(mels))  # so that each half has some of every set
    content = io.BytesIO()
    np.savez_compressed(
        content,
        mels=np.concatenate([mels[n] for n in order]),
        frames=np.array([len(mels[n]) for n in order], np.int32),
        embeddings=np.array([embeddings[n] for n in order]),
        speaker=np.array([speakers[n] for n in order]),
    )
    return content.getvalue()


def to_bytes(mel: Array) -> Array:
    """(frames, mels) power mel -> uint8."""
    logs = np.log(np.maximum(mel, np.exp(LOWEST)))
    return np.asarray(np.clip(np.rint((logs - LOWEST) / STEP), 0, 255), np.uint8)


def _chosen(data: Path, fold: int | None) -> list[dict[str, str]]:
    """The first word of each speaker, set by set."""
    first: dict[str, dict[str, dict[str, str]]] = {name: {} for name in MOST}
    for row in corpora.read_index(data):
        if row["set"] in MOST and row["speaker"] and fold_of(row["set"], row["speaker"]) != fold:
            first[row["set"]].setdefault(row["speaker"], row)
    return [row for name, most in MOST.items() for row in [*first[name].values()][:most]]

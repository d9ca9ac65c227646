"""Recipe of the cohort: embeddings of impostors, from corpora whose licence allows it.

One clip a speaker and phrase where speakers are labelled, every clip where they are not. The crop and the embedding
are the detector's own, so the impostors look to a head as strangers at the microphone would.

The data is the folder that `corpora.py` describes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16
from earmark.engine.errors import AudioError
from earmark.engine.networks.card import MODELS_DIR, builtin_keywords, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.spotting import find_wakes

from . import corpora
from .fold import fold_of

SETS = {name: text for name, text in corpora.SETS.items() if name not in corpora.SENTENCE_SETS}  # no wake words
LARGEST = 127  # of int8; the cosine of a row to what it was is 0.9999
FIRST_TAKES_OF_ONE_PHRASE = ("gsc",)  # a thousand speakers: one clip of each is enough


def build(data: Path, folder: Path = MODELS_DIR, fold: int | None = None) -> bytes:
    """The content of cohort.npz: embeddings (n, d) int8, phrase (n,) and speaker (n,) as text.

    The largest number of each row is ±127; who reads it brings the rows to unit length.

    Args:
        data: folder of the speech.
        folder: of the speaker network.
        fold: whose speakers are left out, as in `train_speaker.py`.
    """
    network = SpeakerNetwork(folder)
    keywords = {name: KeywordNetwork(load_manifest(name)) for name in builtin_keywords()}
    columns: dict[str, list[object]] = {"embeddings": [], "phrase": [], "speaker": []}
    for row in _chosen(data):
        if row["speaker"] and fold is not None and fold_of(row["set"], row["speaker"]) == fold:
            continue
        for crop in _crops(read_audio(data / row["path"]), keywords.get(row["phrase"])):
            try:
                embedding = network.embed(crop)
            except AudioError:  # a clip with nothing said in it: the corpora have some
                continue
            columns["embeddings"].append(np.rint(LARGEST * embedding / np.abs(embedding).max()).astype(np.int8))
            columns["phrase"].append(row["phrase"])
            columns["speaker"].append(f"{row['set']}/{row['speaker'] or Path(row['path']).stem}")
    content = io.BytesIO()
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def _chosen(data: Path) -> Iterator[dict[str, str]]:
    """The rows of the index that enter, in a fixed order."""
    seen: set[tuple[str, ...]] = set()
    with (data / "index.csv").open(newline="") as file:
        rows = sorted((row for row in csv.DictReader(file) if row["set"] in SETS), key=lambda row: row["path"])
    for row in rows:
        key: tuple[str, ...] = (row["set"], row["speaker"], row["phrase"])
        if row["set"] in FIRST_TAKES_OF_ONE_PHRASE:
            key = key[:2]
        if row["speaker"] and key in seen:
            continue
        seen.add(key)
        yield row


def _crops(samples: Int16, keyword: KeywordNetwork | None) -> list[Int16]:
    """What the detector would cut out; the whole clip where no network knows its phrase."""
    if keyword is None:
        return [samples]
    return find_wakes(np.pad(samples, len(samples)), keyword).crops[:1]

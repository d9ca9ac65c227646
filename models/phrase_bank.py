"""Recipe of what a phrase is told from: features of other speech, and the whitening that makes them.

The phrase network's 96 numbers are whitened by their mean and covariance over the corpora, and the 32 directions of
the largest variance are kept: more told phrases apart no better (docs/research/phrase.md). A row is a feature of
80 ms, of unit length, kept as int8. The rows are in the order of time, of pieces of speech one after another, so that
eight in a row are what a gate hears.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import locate_speech
from earmark.engine.phrases.network import PhraseNetwork

from .corpora import SENTENCE_SETS, may_be_trained_on, read_index

FEATURES = 32
SHRINKAGE = 0.02  # of the mean variance, added to each: no direction is blown up
SCALE = 127  # of a row of unit length, in int8
SEED = 0
LEAD_SAMPLES, TAIL_SAMPLES = 16_000, 5_120  # of quiet around a word, as a detector hears it
QUIET = 3.0  # in steps of int16: noise of -81 dBFS
# How many rows of which set: 38 minutes together, a third of them sentences
ROWS = {"speech": 7000, "wuw_sent": 3000, "gsc": 5000, "asc": 4000, "dsp": 4000, "wake": 2500, "wuw": 2500}
AHEAD_SAMPLES, BEHIND_SAMPLES = (
    4_800,
    3_200,
)  # of a word: features that end from 0.3 s after its start to 0.2 s after it


def build(
    data: Path,
    network: PhraseNetwork,
    without: Iterable[str] = (),
    may: Callable[[dict[str, str]], bool] = may_be_trained_on,
) -> bytes:
    """The .npz: `mean` (96,), `whitening` (96, 32), `rows` (n, 32) int8.

    Args:
        data: the corpora.
        network: that makes the embeddings.
        without: sets that are left out, to measure on their speakers.
        may: of a row of the index, whether it may be used.
    """
    leave = set(without)
    pieces = [piece for name in ROWS if name not in leave for piece in _pieces(data, name, network, may)]
    every = np.concatenate(pieces).astype(np.float64)
    mean = every.mean(axis=0)
    covariance = np.cov((every - mean).T)
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    kept = vectors[:, ::-1][:, :FEATURES]
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(FEATURES)])  # eigenvectors have no sign of their own
    whitening = kept / np.sqrt(values[::-1][:FEATURES])
    rows = (every - mean) @ whitening
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    out = io.BytesIO()
    np.savez(
        out,
        mean=mean.astype(np.float32),
        whitening=whitening.astype(np.float32),
        rows=np.rint(rows * SCALE).astype(np.int8),
    )
    return out.getvalue()


def _pieces(
    data: Path, name: str, network: PhraseNetwork, may: Callable[[dict[str, str]], bool]
) -> Iterator[Float32]:
    """(n, 96) each, of recordings of one set in a random order, until there are rows enough."""
    rows = [row for row in read_index(data) if row["set"] == name and may(row)]
    rng, left = np.random.default_rng([SEED, *name.encode()]), ROWS[name]
    for number in rng.permutation(len(rows)):
        if left <= 0:
            return
        samples = read_audio(str(data / rows[number]["path"]))
        found = _sentence(samples, network, rng) if name in SENTENCE_SETS else _word(samples, network, rng)
        left -= len(found)
        yield found


def _sentence(samples: Int16, network: PhraseNetwork, rng: np.random.Generator) -> Float32:
    """Four seconds out of it, from anywhere, without those in which the network had not heard enough."""
    start = int(rng.integers(0, max(1, len(samples) - 4 * 16_000)))
    network.reset()
    return network.embed(samples[start : start + 5 * 16_000])[9:]


def _word(samples: Int16, network: PhraseNetwork, rng: np.random.Generator) -> Float32:
    """What is around the word."""
    try:
        start, end = locate_speech(samples)
    except AudioError:
        return np.zeros((0, 96), np.float32)
    padded = (QUIET * rng.standard_normal(LEAD_SAMPLES + len(samples) + TAIL_SAMPLES)).astype(np.int16)
    padded[LEAD_SAMPLES : LEAD_SAMPLES + len(samples)] += samples
    network.reset()
    embeddings = network.embed(padded)
    ends = np.arange(len(embeddings)) * 1280 + 1520 - LEAD_SAMPLES
    heard = embeddings[(ends >= start + AHEAD_SAMPLES) & (ends <= end + BEHIND_SAMPLES)]
    return np.asarray(heard, np.float32)

"""A wake word is no other: each built-in one stays silent on the recordings of all others."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeNetwork, Read

from earmark.engine.decision import KeywordDecision
from earmark.engine.detector import FLUSH_SAMPLES
from earmark.engine.features.frontend import Frontend
from earmark.engine.networks.card import builtin_keywords

Frames = npt.NDArray[np.float32]

WORDS = sorted(builtin_keywords())


@pytest.fixture(scope="module")
def recordings(audio_dir: Path, read: Read) -> dict[str, dict[str, Frames]]:
    """Wake word -> recording -> the features of it and of the silence that follows the end of a stream."""
    found: dict[str, dict[str, Frames]] = {word: {} for word in WORDS}
    silence = np.zeros(FLUSH_SAMPLES, np.int16)
    with (audio_dir / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["phrase"] in found:
                samples = np.concatenate([read(audio_dir / row["path"]), silence])
                found[row["phrase"]][row["path"]] = Frontend().push(samples)
    return found


def test_every_built_in_wake_word_has_recordings(recordings: dict[str, dict[str, Frames]]) -> None:
    """A word that comes new is silent on nothing, and nothing is silent on it, until somebody has recorded it."""
    assert {word: len(found) >= 5 for word, found in recordings.items()} == dict.fromkeys(WORDS, True)


@pytest.mark.parametrize("word", WORDS)
def test_a_wake_word_is_silent_on_all_recordings_of_all_others(
    make_network: MakeNetwork, recordings: dict[str, dict[str, Frames]], word: str
) -> None:
    """Also at the loose cutoff, from which on a known voice would wake it."""
    network = make_network(word)

    def hears(frames: Frames) -> bool:
        network.reset()
        return bool(KeywordDecision.of(network, loose=True).push(network.push(frames)))

    heard = {name for found in recordings.values() for name, frames in found.items() if hears(frames)}
    own = set(recordings[word])
    assert heard - own == set()
    assert len(own - heard) <= 0.05 * len(own), "or its silence shows nothing"

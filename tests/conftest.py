"""What the tests share: recordings, models opened once, and a seeded random generator."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from earmark.engine.audio import Int16
from earmark.engine.card import load_manifest
from earmark.engine.files import read_audio
from earmark.engine.head import SpeakerHead
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.speaker import SpeakerNetwork

REPOSITORY = Path(__file__).parent.parent
DATA_VARIABLE = "EARMARK_TEST_DATA"

Takes = Callable[[str, str, str], "list[Path]"]
"""(voice, phrase, role) -> the files of tests/audio, in the order of the takes."""
Read = Callable[[Any], Int16]
"""Path -> (n,) int16 at 16 kHz."""
MakeNetwork = Callable[[str], KeywordNetwork]
"""Name of a built-in wake word -> a network with a fresh state, which nobody else holds."""


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def audio_dir() -> Path:
    return REPOSITORY / "tests" / "audio"


@pytest.fixture(scope="session")
def takes(audio_dir: Path) -> Takes:
    with (audio_dir / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def find(voice: str, phrase: str, role: str) -> list[Path]:
        wanted = (voice, phrase, role)
        found = [audio_dir / row["path"] for row in rows if (row["voice"], row["phrase"], row["role"]) == wanted]
        assert found, f"tests/audio has no take of {wanted}"
        return found

    return find


@pytest.fixture(scope="session")
def read() -> Read:
    return read_audio


@pytest.fixture(scope="session")
def scene(audio_dir: Path) -> Int16:
    """48.7 s with seven "okay nabu" of four voices among other sentences."""
    return read_audio(audio_dir / "scene.flac")


@pytest.fixture(scope="session")
def speaker() -> SpeakerNetwork:
    return SpeakerNetwork()


@pytest.fixture(scope="session")
def head() -> SpeakerHead:
    """One for all: whoever trains it or sets weights must not rely on what others left in it."""
    return SpeakerHead()


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return lambda name: KeywordNetwork(load_manifest(name))


@pytest.fixture(scope="session")
def speech_data() -> Path:
    """The folder of real speech, which is not part of the repository."""
    folder = Path(os.environ.get(DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data")
    if not (folder / "index.csv").is_file():
        pytest.skip(f"no real speech in {folder}: set {DATA_VARIABLE} to a folder that has it")
    return folder

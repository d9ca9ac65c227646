"""The always-on path and nothing else, for callgrind: `python scripts/studies/always_on.py SECONDS [KEYWORD …]`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.detector import Detector
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.verifier import Verifier

BLOCK_SAMPLES = 1600  # 100 ms, what a pipe is asked for
AUDIO = Path(__file__).parents[2] / "tests" / "audio" / "scene.flac"


def main() -> int:
    """Hears the scene, from its start and over again."""
    seconds, keywords = int(sys.argv[1]), sys.argv[2:] or ["okay_nabu"]
    detector = Detector([KeywordNetwork(load_manifest(name)) for name in keywords], Verifier([]), "label")
    audio = np.resize(read_audio(AUDIO), seconds * RATE_HZ)
    for start in range(0, len(audio), BLOCK_SAMPLES):
        detector.push(audio[start : start + BLOCK_SAMPLES])
    return 0


if __name__ == "__main__":
    sys.exit(main())

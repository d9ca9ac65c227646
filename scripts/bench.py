"""How fast the main path is on this machine, as a Markdown table: `python scripts/bench.py > docs/benchmarks.md`.

Figures are medians of several runs in one process on one core. They are of this machine: compare ratios.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: one core is what is measured

import argparse
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earmark.engine import runtime
from earmark.engine.audio import RATE_HZ, Int16
from earmark.engine.card import builtin_keywords, load_manifest
from earmark.engine.detector import Detector
from earmark.engine.files import read_audio
from earmark.engine.frontend import Frontend
from earmark.engine.head import TrainBatch
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.sources import ArraySource
from earmark.engine.verifier import Verifier
from earmark.engine.wakes import find_wakes
from earmark.enroll.enrolment import Enroller, Recording

AUDIO = Path(__file__).parent.parent / "tests" / "audio"
RUNS = 7


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Measure the main path.")
    parser.add_argument("--minutes", type=float, default=2.0, help="of audio a run (2)")
    minutes = parser.parse_args().minutes
    audio = _speech(minutes)
    rows = [*_replay_rows(audio), *_stage_rows(audio)]
    print("# Benchmarks\n")
    versions = f"{runtime.version()}, Python {platform.python_version()}"
    print(f"`python scripts/bench.py`: {versions}, {_processor()}, one core,")
    print(f"medians of {RUNS} runs; {minutes:g} minutes of the synthetic speech in tests/audio a run, in which")
    print(f'"okay nabu" is heard {_wakes(audio)} times: with somebody enrolled each costs an embedding.\n')
    print("| what | median | lowest | highest |\n|---|---|---|---|")
    for name, values in rows:
        print(f"| {name} | {_number(statistics.median(values))} | {_number(min(values))} | {_number(max(values))} |")
    return 0


def _replay_rows(audio: Int16) -> list[tuple[str, list[float]]]:
    """Times real time, for one to four wake words and for twice the audio."""
    names = ["okay_nabu", *(name for name in builtin_keywords() if name != "okay_nabu")]
    enroller = Enroller.load()
    files = sorted(AUDIO.glob("slt_okay_nabu_enroll_*.flac"))
    recordings = [Recording.read(str(file)) for file in files]
    networks = [KeywordNetwork(load_manifest(name)) for name in names]
    person = enroller.enrol("slt", recordings, networks[0]).voiceprint
    verifier = Verifier([person], enroller.speaker, enroller.head)
    seconds = len(audio) / RATE_HZ
    nobody = Detector(networks[:1], Verifier([], enroller.speaker, enroller.head))
    taken = _times(functools.partial(_replay, nobody, audio))
    rows = [("replay, one wake word, nobody enrolled: × real time", [seconds / t for t in taken])]
    for count in (1, 2, 4):
        detector = Detector(networks[:count], verifier)
        taken = _times(functools.partial(_replay, detector, audio))
        word = "one wake word" if count == 1 else f"{count} wake words"
        rows.append((f"replay, {word}, one person: × real time", [seconds / t for t in taken]))
    detector = Detector(networks[:1], verifier)
    taken = _times(lambda: _replay(detector, np.tile(audio, 4)))
    rows.append(("replay, one wake word, four times the audio: × real time", [4 * seconds / t for t in taken]))
    rows.append(("enrolment of five takes: ms", [1000 * t for t in _times(lambda: _enrol(enroller, networks[0]))]))
    return rows


def _stage_rows(audio: Int16) -> list[tuple[str, list[float]]]:
    enroller = Enroller.load()
    frames = Frontend().push(audio)
    network = KeywordNetwork(load_manifest("okay_nabu"))
    hops = len(audio) / 160
    crop = read_audio(AUDIO / "slt_okay_nabu_test_1.flac")
    rows = enroller.cohort.embeddings
    batch = TrainBatch(rows[:35], np.ones(35, np.float32), np.repeat(np.arange(5, dtype=np.int32), 7), rows[100:228])
    return [
        ("frontend: µs per 10 ms", [1e6 * t / hops for t in _times(lambda: Frontend().push(audio))]),
        ("keyword network: µs per 10 ms", [1e6 * t / hops for t in _times(lambda: network.push(frames))]),
        ("embedding of one wake: ms", [1000 * t for t in _times(lambda: enroller.speaker.embed(crop))]),
        ("one training step: ms", [1000 * t for t in _times(lambda: enroller.head.train(batch, 3e-4, 0.01))]),
    ]


def _replay(detector: Detector, audio: Int16) -> None:
    detector.reset()
    for _ in detector.run(ArraySource(audio)):
        pass


def _enrol(enroller: Enroller, network: KeywordNetwork) -> None:
    files = sorted(AUDIO.glob("rms_okay_nabu_enroll_*.flac"))
    enroller.enrol("rms", [Recording.read(str(file)) for file in files], network)


def _times(run: Callable[[], object]) -> list[float]:
    """Seconds of each run, after one that is not counted."""
    run()
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def _wakes(audio: Int16) -> int:
    return len(find_wakes(audio, KeywordNetwork(load_manifest("okay_nabu"))).candidates)


def _speech(minutes: float) -> Int16:
    whole = np.concatenate([read_audio(path) for path in sorted(AUDIO.glob("*_other_*.flac"))])
    return np.resize(whole, int(minutes * 60 * RATE_HZ))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())

"""earmark and its peers on the same audio in the same run: `python scripts/studies/bench_peers.py [--peers DIR]`.

Prints docs/research/benchmarks.md. pymicro-wakeword runs in this environment, for earmark brings it along;
openWakeWord 0.5.1 gets an environment in DIR, which is made where it is missing. Each figure is the processor's time
of a process of its own; the detectors take turns, and a ratio is the median of the ratios of the turns. Ten minutes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16
from earmark.engine.networks import runtime
from earmark.engine.networks.card import builtin_keywords

REPOSITORY = Path(__file__).parents[2]
AUDIO = REPOSITORY / "tests" / "audio"
WORD = "alexa"  # the one that all three have
OPENWAKEWORD_NAME = "openWakeWord 0.5.1"
OPENWAKEWORD = ("openwakeword==0.5.1", "numpy<2")
LEAD_S, SPEECH_S, QUIET_S = 12, 60, 60
LATE_S = 0.15  # blocks of 100 ms, and an inference: so much may two of them differ about the same wake
SHORT_MINUTES, LONG_MINUTES = 10, 40
MEASURED = """
import json, re, sys, time
from pathlib import Path
from earmark.cli import main
code = main(sys.argv[1:])
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps({"cpu_s": time.process_time(), "peak_kb": peak_kb}))
sys.exit(code)
"""
HEADER = """\
{versions}, {processor}, one core.
A machine's figures are its own: compare ratios. Times are the processor's, medians of {runs} turns in which the
detectors follow each other.
"""


def main() -> int:
    """Measures and prints the page."""
    parser = argparse.ArgumentParser(description="Compare with other wake word detectors.")
    parser.add_argument("--peers", type=Path, default=REPOSITORY / ".venv-peers", metavar="DIR")
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="turns (7)")
    arguments = parser.parse_args()
    python = openwakeword(arguments.peers)
    versions = f"{runtime.version()}, Python {platform.python_version()}, numpy {np.__version__}"
    print(heading("Benchmarks", __file__, head=True))
    print(HEADER.format(versions=versions, processor=_processor(), runs=arguments.runs))
    with tempfile.TemporaryDirectory() as folder:
        for line in _peers(Path(folder), python, arguments.runs):
            print(line, flush=True)
        for line in _replay(Path(folder), arguments.runs):
            print(line, flush=True)
    from bench_live import RESULTS, section  # which has the peers from here

    for line in (*section(json.loads(RESULTS.read_text("utf-8"))), *_stages()):
        print(line, flush=True)
    return 0


def _peers(folder: Path, peer_python: str, runs: int) -> Iterator[str]:
    speech, quiet = folder / "speech.raw", folder / "quiet.raw"
    _speech(LEAD_S + SPEECH_S).tofile(speech)
    AUDIO_OF["quiet room"](LEAD_S + QUIET_S).tofile(quiet)
    others = [name for name in builtin_keywords() if name != WORD]
    jobs: dict[str, tuple[str, str, Path, list[str]]] = {}
    for sound, file in (("speech", speech), ("quiet room", quiet)):
        jobs[f"earmark, {sound}"] = (sys.executable, "earmark", file, [WORD])
        jobs[f"earmark, blocks of 1 s, {sound}"] = (sys.executable, "replay", file, [WORD])
        jobs[f"earmark, 4 wake words, {sound}"] = (sys.executable, "earmark", file, [WORD, *others])
        jobs[f"pymicro-wakeword, {sound}"] = (sys.executable, "pymicro", file, [WORD])
        jobs[f"{OPENWAKEWORD_NAME}, {sound}"] = (peer_python, "openwakeword", file, [WORD])
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in jobs}
    for turn in range(runs):
        for name, (interpreter, kind, file, words) in jobs.items():
            answers[name].append(_loop(interpreter, kind, file, words))
        print(f"turn {turn + 1} of {runs}", file=sys.stderr)
    cost = {name: [1e4 * a["cpu_s"] / a["audio_s"] for a in given] for name, given in answers.items()}
    yield f'"{WORD}", {SPEECH_S} s of synthetic speech without a pause; {QUIET_S} s of white noise, -65 dBFS.'
    yield "earmark takes blocks of 100 ms, pymicro-wakeword 10 ms and openWakeWord 80 ms, as each is used."
    yield ""
    yield "| detector | µs per 10 ms | share of a core | over pymicro-wakeword | over openWakeWord | wakes |"
    yield "|---|---|---|---|---|---|"
    for name, values in cost.items():
        sound = name.rsplit(", ", 1)[1]
        over = [_ratio(values, cost[f"{peer}, {sound}"]) for peer in ("pymicro-wakeword", OPENWAKEWORD_NAME)]
        median = statistics.median(values)
        wakes = len(answers[name][0]["woken_s"])
        yield f"| {name} | {_number(median)} | {median / 100:.3f} % | {over[0]} | {over[1]} | {wakes} |"
    yield ""
    ours, theirs = (answers[f"{name}, speech"][0]["woken_s"] for name in ("earmark", "pymicro-wakeword"))
    same = len(ours) == len(theirs) and all(abs(a - b) <= LATE_S for a, b in zip(ours, theirs))
    yield f"Decisions on the speech, earmark and pymicro-wakeword: {'the same' if same else 'DIFFERENT'}."
    yield f"Four wake words over one: {_ratio(cost['earmark, 4 wake words, speech'], cost['earmark, speech'])}."
    yield ""


def _loop(python: str, kind: str, file: Path, words: list[str]) -> dict[str, Any]:
    line = [python, str(REPOSITORY / "scripts" / "studies" / "bench_loop.py"), kind, str(file), *words]
    answer = _run(line)
    value: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return value


def _run(line: list[str]) -> str:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "EARMARK_SETTINGS": ""}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def _replay(folder: Path, runs: int) -> Iterator[str]:
    """The whole command on two long files: what an hour more costs, and the memory of each."""
    files = {minutes: folder / f"{minutes}.wav" for minutes in (SHORT_MINUTES, LONG_MINUTES)}
    for minutes, file in files.items():
        soundfile.write(file, _speech(60 * minutes), RATE_HZ, subtype="PCM_16")
    used = {minutes: [_used(file) for _ in range(max(3, runs // 2))] for minutes, file in files.items()}
    cpu_s = {minutes: statistics.median(cpu for cpu, _ in values) for minutes, values in used.items()}
    peak_mb = {minutes: statistics.median(peak for _, peak in values) for minutes, values in used.items()}
    speed = 60 * (LONG_MINUTES - SHORT_MINUTES) / (cpu_s[LONG_MINUTES] - cpu_s[SHORT_MINUTES])
    yield "## Replay of long files"
    yield ""
    yield "`earmark replay`, one wake word, nobody enrolled, WAV files of continuous speech:"
    yield ""
    yield "| minutes | seconds of the processor | peak memory, MB |"
    yield "|---|---|---|"
    for minutes in files:
        yield f"| {minutes} | {cpu_s[minutes]:.2f} | {peak_mb[minutes]:.1f} |"
    yield ""
    yield f"What the longer has more was replayed at {speed:.0f} times real time."
    yield ""


def _used(file: Path) -> tuple[float, float]:
    """Seconds of the processor and peak MB of one replay, as the process sees them itself at its end."""
    with tempfile.TemporaryDirectory() as store:
        words = ["replay", "--mode", "label", "--keyword", WORD, "--json", "--store", store, str(file)]
        answer = json.loads(_run([sys.executable, "-c", MEASURED, *words]).splitlines()[-1])
    return answer["cpu_s"], answer["peak_kb"] / 1024


def _stages() -> Iterator[str]:
    line = [sys.executable, "-m", "earmark.cli", "bench", "--json"]
    yield "## Stages, memory, start"
    yield ""
    yield "`earmark bench`:"
    yield ""
    yield "| stage | median | lowest | highest | |"
    yield "|---|---|---|---|---|"
    for row in map(json.loads, _run(line).splitlines()):
        values = " | ".join(_number(row[key]) for key in ("median", "lowest", "highest"))
        yield f"| {row['stage']} | {values} | {row['unit']} |"
    yield ""
    yield "## Instructions"
    yield ""
    yield "Of one audio second with one wake word, counted by "
    yield "`scripts/studies/instructions.py`; a test fails on 10 % more:"
    yield ""
    recorded = json.loads((REPOSITORY / "tests" / "golden" / "instructions.json").read_text("utf-8"))
    for value in recorded.values():
        yield f"* {value['with']}: {value['instructions_per_audio_second'] / 1e6:.1f} million"


def openwakeword(folder: Path) -> str:
    """The interpreter of an environment with openWakeWord in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *OPENWAKEWORD], check=True)
    return str(python)


def _speech(seconds: int) -> Int16:
    """Other words and, every now and then, the wake word."""
    others = [read_audio(path) for path in sorted(AUDIO.glob("*_other_*.flac"))]
    wakes = [read_audio(path) for path in sorted(AUDIO.glob(f"*_{WORD}_test_*.flac"))]
    pieces = [
        piece
        for number, clip in enumerate(others)
        for piece in (clip, *wakes[number // 4 : number // 4 + 1] * (number % 4 == 3))
    ]
    return np.resize(np.concatenate(pieces), seconds * RATE_HZ)


def _noise(seconds: int, level_dbfs: float) -> Int16:
    noise = np.random.default_rng(0).normal(0, FULL_SCALE * 10 ** (level_dbfs / 20), seconds * RATE_HZ)
    steady: Int16 = np.rint(noise).astype(np.int16)
    return steady


AUDIO_OF: dict[str, Callable[[int], Int16]] = {
    "quiet room": functools.partial(_noise, level_dbfs=-65.0),
    "fan, -50 dBFS": functools.partial(_noise, level_dbfs=-50.0),
    "speech": _speech,
}
"""Sound -> what makes so many seconds of it."""


def _ratio(ours: list[float], theirs: list[float]) -> str:
    value = statistics.median(a / b for a, b in zip(ours, theirs))
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())

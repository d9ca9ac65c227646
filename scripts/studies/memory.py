"""What recordings of any length cost in memory: `python scripts/studies/memory.py > docs/research/memory.md`.

Each command runs in a process of its own, once with a recording of half a minute and once with the same for half an
hour; the kernel counts the most memory that the process ever had.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
SHORT_S, LONG_S = 30, 1800
LIMIT_MB = 100.0


def main() -> int:
    """Measures and prints; exit 1 where half an hour takes more than 100 MB more than half a minute."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(heading("Memory for long recordings", __file__))
    print(
        "Most resident memory of a process in MB, as the kernel counts it. The recording holds takes of the wake\n"
        "word, sentences and pauses, over and over. *More* must stay below 100 MB.\n"
    )
    print(f"| the long recording is | {SHORT_S} s | {LONG_S // 60} min | more |\n|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for seconds in (SHORT_S, LONG_S):
            (place / f"{seconds}").mkdir()
            write_talk(place / f"{seconds}" / "long.wav", seconds)
        for name, call in commands(place):
            short, long = (
                peak_mb([str(part).replace("LONG", str(seconds)) for part in call]) for seconds in (SHORT_S, LONG_S)
            )
            worst = max(worst, long - short)
            print(f"| {name} | {short:.0f} | {long:.0f} | {long - short:.0f} |", flush=True)
    return 1 if worst > LIMIT_MB else 0


def write_talk(path: Path, seconds: int) -> None:
    """Takes of one voice and sentences with a second of a quiet room between them, over and over, as a WAV.

    A second at a time: the kernel counts the memory of who starts a process as that process's own.
    """
    rng = np.random.default_rng(0)
    files = [*sorted(AUDIO.glob("slt_okay_nabu_enroll_*.flac")), *sorted(AUDIO.glob("*_other_*.flac"))]
    said = np.concatenate([np.pad(read_audio(file), (0, RATE_HZ)) for file in files])
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for start in range(0, seconds * RATE_HZ, RATE_HZ):
            piece = said.take(range(start, start + RATE_HZ), mode="wrap")
            file.write(piece + np.rint(rng.normal(0, 5, RATE_HZ)).astype(np.int16))


def commands(place: Path) -> Iterator[tuple[str, list[object]]]:
    """What the long recording is given as, and the command; LONG stands for its folder."""
    takes = {voice: sorted(AUDIO.glob(f"{voice}_okay_nabu_enroll_*.flac")) for voice in ("slt", "rms")}
    long = place / "LONG" / "long.wav"
    enroll: list[object] = ["enroll", "anna", "--store", place / "people", "--json", "--keyword", "okay_nabu"]
    yield "takes (`enroll --from`)", [*enroll, "--from", *takes["slt"], long]
    yield "one phrase (`enroll --from --any-phrase`)", [*enroll[:-2], "--any-phrase", "--from", *takes["slt"], long]
    yield "other people (`enroll --others`)", [*enroll, "--from", *takes["rms"], "--others", long]
    rows = [f"{path},{voice},okay_nabu,enroll" for voice, paths in takes.items() for path in paths]
    rows += [f"{AUDIO}/{voice}_okay_nabu_test_1.flac,{voice},okay_nabu,test" for voice in takes]
    trials, negative = place / "trials.csv", place / "LONG" / "trials.csv"
    trials.write_text("\n".join(["path,speaker,phrase,role", *rows]) + "\n")
    for seconds in (SHORT_S, LONG_S):
        text = trials.read_text() + f"{place}/{seconds}/long.wav,,,negative\n"
        (place / f"{seconds}" / "trials.csv").write_text(text)
    yield "noise (`evaluate --noise`)", ["evaluate", trials, "--json", "-", "--noise", place / "LONG"]
    yield "a negative row (`evaluate`)", ["evaluate", negative, "--json", "-"]


def peak_mb(call: list[str]) -> float:
    """Runs a command; the most memory that it had."""
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark", *call], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):  # a phrase of half an hour is refused, and that takes memory too
        raise RuntimeError(f"{call}: exit code {process.returncode}\n{said}")
    return used.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())

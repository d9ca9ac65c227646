"""Milliseconds from a keyword score's crossing to the event: `python scripts/studies/latency.py >
docs/research/latency.md`.

Recorded words are pushed through the daemon's own path as sources give them, cut at every offset: as they come, and
gathered while nothing scores, as the daemon does. An event's latency is the audio that its piece brought beyond the
crossing, and the computing for that piece.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: one core is what is measured

import argparse
import dataclasses
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.household import load_household
from earmark.engine.listener import Listener
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.schema import People, Settings
from earmark.enroll.enrolment import Enroller, Recording

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
SOURCES = (  # name, pause before each word, block
    ("microphone, 20 ms", 1.0, RATE_HZ // 50),
    ("microphone, 20 ms, resting", 10.0, RATE_HZ // 50),
    ("recorder, 100 ms", 1.0, RATE_HZ // 10),
)
OFFSETS = 5  # of the block's borders
PERCENTILES = (50, 90, 99)
INTRODUCTION = """\
*Audio* is what a piece brought beyond the sample at which the keyword score crossed its cutoff, and *computing* the
processor's time for that piece; an event is as late as both together. *Gathered* is what the daemon does: it looks
seldom while no network can decide soon (`Detector.patience_samples`). *As they come* has each block heard at once.
*Resting* has ten seconds of silence before each word, in which the activity gate closes.
{runtime}, Python {python}, one core. Figures are of this machine.
"""


def main() -> int:
    """Measures and prints."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    enroller, network = Enroller.load(), KeywordNetwork(load_manifest("okay_nabu"))
    people = []
    for voice in ("slt", "rms", "awb"):
        recordings = [Recording.read(str(file)) for file in sorted(AUDIO.glob(f"{voice}_okay_nabu_enroll_*.flac"))]
        people.append(enroller.enrol(voice, recordings, network).voiceprint)
    files = sorted(AUDIO.glob("*_okay_nabu_test_*.flac"))
    with tempfile.TemporaryDirectory() as nobody:
        household = load_household(Settings(people=People(store=nobody)))
    cutoff = network.manifest.probability_cutoff
    print(heading("Latency from keyword to event", __file__))
    print(INTRODUCTION.format(runtime=runtime.version(), python=platform.python_version()))
    heads = [f"{part}, {name}" for part in ("audio", "computing") for name in ("median", "90 %", "99 %", "most")]
    columns = ["source", "people", "pieces", "events", *heads]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for source, pause_s, block_samples in SOURCES:
        pause = np.zeros(round(pause_s * RATE_HZ), np.int16)
        words = [np.concatenate([pause, read_audio(file)]) for file in files]
        for count, gathers in ((0, False), (0, True), (3, False), (3, True)):
            listener = Listener(dataclasses.replace(household, people=tuple(people[:count])))
            waits: list[tuple[float, float]] = []
            for offset in range(OFFSETS):
                start = np.zeros(offset * block_samples // OFFSETS, np.int16)
                waits += _waits(listener, np.concatenate([start, *words]), block_samples, gathers, cutoff)
            wait, compute = np.array(waits).T
            cells = [
                f"{value:.0f} ms"
                for part in (wait, compute)
                for value in (*np.percentile(part, PERCENTILES), part.max())
            ]
            pieces = "gathered" if gathers else "as they come"
            print(f"| {source} | {count} | {pieces} | {len(wait)} | {' | '.join(cells)} |", flush=True)
    return 0


def _waits(
    listener: Listener, stream: Int16, block_samples: int, gathers: bool, cutoff: float
) -> Iterator[tuple[float, float]]:
    """Of each event ms of audio behind its crossing, and of computing; time goes by as samples do."""
    now = at = 0
    while at < len(stream):
        now = max(now + (listener.patience_samples if gathers else 0), at + block_samples)
        end = now // block_samples * block_samples  # what there is by now, in whole blocks
        begin_s = time.process_time()
        events = listener.push(stream[at:end])
        taken_s = time.process_time() - begin_s
        at = end
        for event in events:
            if event.keyword_score > cutoff:  # crossed, not a peak that is past
                waited = (listener.samples - event.sample) + (now - end)
                yield 1000 * waited / RATE_HZ, 1000 * taken_s


if __name__ == "__main__":
    sys.exit(main())

"""Milliseconds from a keyword score's crossing to the event: `python scripts/studies/latency.py >
docs/research/latency.md`.

Recorded words are pushed through the daemon's own path in the 20 ms blocks of a microphone, cut at every offset. An
event's latency is the audio that its block brought beyond the crossing, plus the computing measured for that block.
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
from pathlib import Path

import numpy as np
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.household import load_household
from earmark.engine.listener import Listener
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.schema import People, Settings
from earmark.enroll.enrolment import Enroller, Recording

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
BLOCK_SAMPLES = RATE_HZ // 50
OFFSETS = 16  # of the block's borders: every 1.25 ms
PAUSE_SAMPLES = RATE_HZ
PERCENTILES = (50, 90, 99)


def main() -> int:
    """Measures and prints."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    enroller, network = Enroller.load(), KeywordNetwork(load_manifest("okay_nabu"))
    people = []
    for voice in ("slt", "rms", "awb"):
        recordings = [Recording.read(str(file)) for file in sorted(AUDIO.glob(f"{voice}_okay_nabu_enroll_*.flac"))]
        people.append(enroller.enrol(voice, recordings, network).voiceprint)
    files = sorted(AUDIO.glob("*_okay_nabu_test_*.flac"))
    words = [np.concatenate([np.zeros(PAUSE_SAMPLES, np.int16), read_audio(file)]) for file in files]
    rows = []
    with tempfile.TemporaryDirectory() as nobody:
        household = load_household(Settings(people=People(store=nobody)))
    for count in (0, 1, 3):
        listener = Listener(dataclasses.replace(household, people=tuple(people[:count])))
        waited, computed = [], []
        for offset in range(OFFSETS):
            stream = np.concatenate([np.zeros(offset * BLOCK_SAMPLES // OFFSETS, np.int16), *words])
            for start in range(0, len(stream), BLOCK_SAMPLES):
                begin_s = time.perf_counter()
                events = listener.push(stream[start : start + BLOCK_SAMPLES])
                taken_s = time.perf_counter() - begin_s
                for event in events:
                    if event.keyword_score > network.manifest.probability_cutoff:  # crossed, not a peak that is past
                        waited.append(1000 * (listener.samples - event.sample) / RATE_HZ)
                        computed.append(1000 * taken_s)
        rows.append((count, np.array(waited), np.array(computed)))
    print(heading("Latency from keyword to event", __file__))
    print(
        "Audio that the 20 ms block brought beyond the sample at which the keyword score crossed its cutoff, plus the"
    )
    print("computing measured for that block.")
    print(f"{runtime.version()}, Python {platform.python_version()}, one core. Figures are of this machine.\n")
    heads = [f"{part}, {name}" for part in ("both", "computing") for name in ("median", "90 %", "99 %", "most")]
    print(f"| people enrolled | events | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 2)}")
    for count, wait, compute in rows:
        both = wait + compute
        cells = [f"{v:.0f} ms" for part in (both, compute) for v in (*np.percentile(part, PERCENTILES), part.max())]
        print(f"| {count} | {len(both)} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A microphone in real time: `microphone.py FIFO FOLDER`.

Raw 16 kHz into the FIFO: faint noise, and each recording whose path stands in a file that is put into FOLDER. While
FOLDER has a file `.muted`, it gives zeros.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ, BLOCK = 16_000, 320


def main() -> None:
    """Until it is ended."""
    fifo, folder = sys.argv[1], Path(sys.argv[2])
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    rng = np.random.default_rng(1)
    waiting = np.zeros(0, np.int16)
    start_s = time.monotonic()
    for block in range(1, sys.maxsize):
        if len(waiting) < BLOCK:
            for note in sorted(folder.glob("[0-9]*"))[:1]:
                spoken, rate_hz = soundfile.read(note.read_text().strip(), dtype="int16")
                assert rate_hz == RATE_HZ
                note.unlink()
                waiting = np.concatenate([waiting, spoken])
        if len(waiting) < BLOCK:
            waiting = np.concatenate([waiting, rng.integers(-4, 5, BLOCK).astype(np.int16)])
        given = np.zeros(BLOCK, np.int16) if (folder / ".muted").exists() else waiting[:BLOCK]
        with contextlib.suppress(BlockingIOError):  # nobody listens just now
            os.write(descriptor, given.tobytes())
        waiting = waiting[BLOCK:]
        time.sleep(max(0.0, start_s + block * BLOCK / RATE_HZ - time.monotonic()))


main()

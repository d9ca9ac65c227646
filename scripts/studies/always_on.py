"""The always-on path and nothing else, for callgrind: `python scripts/studies/always_on.py SECONDS [KEYWORD …]`.

Under `valgrind --tool=callgrind --instr-atstart=no` the SECONDS after the first one are counted, and Python's start
is not. The first one is for what is done once.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
from pathlib import Path

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.detector import Detector
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.verifier import Verifier

BLOCK_SAMPLES = 1600  # 100 ms, what a pipe is asked for
AUDIO = Path(__file__).parents[2] / "tests" / "audio" / "scene.flac"

# A request to callgrind is these instructions of x86-64, which do nothing on a processor (valgrind.h, the manual's
# "Client Request mechanism"): rdi turned by 3 + 13 + 61 + 51 = 128 bits, and rbx exchanged with itself.
REQUEST = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
START_COUNTING, STOP_COUNTING = 0x43540004, 0x43540005  # "CT", and callgrind.h's START_ and STOP_INSTRUMENTATION


def main() -> int:
    """Hears the scene, from its start and over again."""
    seconds, keywords = int(sys.argv[1]), sys.argv[2:] or ["okay_nabu"]
    detector = Detector([KeywordNetwork(load_manifest(name)) for name in keywords], Verifier([]), "label")
    audio = np.resize(read_audio(AUDIO), (1 + seconds) * RATE_HZ)
    hear(detector, audio[:RATE_HZ])
    ask_callgrind(START_COUNTING)
    hear(detector, audio[RATE_HZ:])
    ask_callgrind(STOP_COUNTING)
    return 0


def hear(detector: Detector, audio: Int16) -> None:
    """In the blocks of a pipe."""
    for start in range(0, len(audio), BLOCK_SAMPLES):
        detector.push(audio[start : start + BLOCK_SAMPLES])


def ask_callgrind(request: int) -> None:
    """Where no valgrind runs this, nothing happens.

    Raises:
        RuntimeError: the processor is another one.
    """
    if platform.machine() != "x86_64":
        raise RuntimeError(f"{platform.machine()} must be x86_64: the request is written in its instructions")
    with mmap.mmap(-1, len(REQUEST), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(REQUEST)
        place = ctypes.c_char.from_buffer(code)
        words = (ctypes.c_uint64 * 6)(request)
        ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64))(ctypes.addressof(place))(words)
        del place


if __name__ == "__main__":
    sys.exit(main())

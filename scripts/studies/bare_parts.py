"""The always-on path beside its parts, in instructions: `python scripts/studies/bare_parts.py` prints the table.

The bare parts are the C frontend, called once for each 10 ms, and the interpreter: `set_tensor`, `invoke`,
`get_tensor`, with input that was prepared before. Beside them is pymicro-wakeword's own loop, in its pieces of 10 ms.
All hear the same audio, and valgrind counts (instructions.py), so that nothing else on the machine matters. One
minute, for each runtime.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from always_on import AUDIO, START_COUNTING, STOP_COUNTING, ask_callgrind
from micro_features_cpp import create_frontend, process_samples

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.detector import Detector
from earmark.engine.features.frontend import HOP_SAMPLES, Frontend
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.verifier import Verifier

WORD, COUNTED_S = "okay_nabu", 5
Hear = Callable[[Int16], object]


def whole(block_samples: int) -> Hear:
    """earmark's path, nobody enrolled."""
    detector = Detector([KeywordNetwork(load_manifest(WORD))], Verifier([]), "label")
    return lambda audio: [detector.push(piece) for piece in _pieces(audio, block_samples)]


def bare() -> Hear:
    """Frontend and interpreter alone."""
    network, state = KeywordNetwork(load_manifest(WORD)), create_frontend()
    interpreter, stride = network._interpreter, network.stride
    ready = network._quantise(Frontend().push(np.resize(read_audio(AUDIO), (1 + COUNTED_S) * RATE_HZ)))

    def hear(audio: Int16) -> None:
        for piece in _pieces(audio, HOP_SAMPLES):
            process_samples(state, piece.tobytes())
        for at in range(0, len(audio) // HOP_SAMPLES // stride * stride, stride):
            interpreter.set_tensor(network._input, ready[None, at : at + stride])
            interpreter.invoke()
            interpreter.get_tensor(network._output)

    return hear


def pymicro() -> Hear:
    """pymicro-wakeword's classes, as its `__main__` uses them."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    network, features = MicroWakeWord.from_builtin(Model(WORD)), MicroWakeWordFeatures()

    def hear(audio: Int16) -> None:
        for piece in _pieces(audio, HOP_SAMPLES):
            for frame in features.process_streaming(piece.tobytes()):
                network.process_streaming(frame)

    return hear


KINDS: dict[str, Callable[[], Hear]] = {
    "bare frontend and network": bare,
    "earmark, blocks of 1 s": lambda: whole(RATE_HZ),
    "earmark, blocks of 100 ms": lambda: whole(RATE_HZ // 10),
    "earmark, blocks of 10 ms": lambda: whole(HOP_SAMPLES),
    "pymicro-wakeword, blocks of 10 ms": pymicro,
}


def main() -> int:
    """Counts all kinds, or is counted as one of them."""
    if len(sys.argv) > 1:
        audio = np.resize(read_audio(AUDIO), (1 + COUNTED_S) * RATE_HZ)
        hear = KINDS[sys.argv[1]]()
        hear(audio[:RATE_HZ])  # what is done once
        ask_callgrind(START_COUNTING)
        hear(audio[RATE_HZ:])
        ask_callgrind(STOP_COUNTING)
        return 0
    counts = {kind: _counted(kind) for kind in KINDS}
    bare_count, peer_count = counts["bare frontend and network"], counts["pymicro-wakeword, blocks of 10 ms"]
    print(
        f"| {runtime.version()} | million a second | over its bare parts | over pymicro-wakeword |\n|---|---|---|---|"
    )
    for kind, count in counts.items():
        print(f"| {kind} | {count / 1e6:.1f} | {count / bare_count:.2f} | {count / peer_count:.2f} |")
    return 0


def _counted(kind: str) -> int:
    line = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*line, sys.executable, __file__, kind], capture_output=True, text=True, env=environment, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{kind} failed with exit code {done.returncode}:\n{done.stderr}")
    return int(found[1]) // COUNTED_S


def _pieces(audio: Int16, size: int) -> list[Int16]:
    return [audio[at : at + size] for at in range(0, len(audio), size)]


if __name__ == "__main__":
    sys.exit(main())

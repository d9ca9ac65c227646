"""One detector's own loop on raw audio, for bench_peers.py: `python scripts/studies/bench_loop.py KIND AUDIO.raw
[WORD …]`.

KIND is earmark (blocks of 100 ms, what a pipe gives), replay (earmark in blocks of 1 s, what a file gives), pymicro
(pymicro-wakeword, 10 ms at a time, as its own program does) or openwakeword (80 ms at a time). Runs in the peer's own
environment. The first 12 seconds are a run-up that is not counted. Prints a JSON object: seconds of the processor,
seconds of audio, and when it was woken. With - instead of a file it hears standard input to its end and prints
nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RATE_HZ = 16_000
LEAD_S = 12
REFRACTORY_S = 1.0
Hear = Callable[[Any], bool]
"""A piece of audio, (n,) int16 -> whether the detector says that it is the wake word."""


def earmark(words: list[str]) -> Hear:
    """The main path, nobody enrolled."""
    from earmark.engine.detector import Detector
    from earmark.engine.networks.card import load_manifest
    from earmark.engine.networks.keyword import KeywordNetwork
    from earmark.engine.verifier import Verifier

    detector = Detector([KeywordNetwork(load_manifest(word)) for word in words], Verifier([]), "label")
    return lambda piece: bool(detector.push(piece))


def pymicro(words: list[str]) -> Hear:
    """pymicro-wakeword's classes, as its `__main__` uses them."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    networks = [MicroWakeWord.from_builtin(Model(word)) for word in words]
    features = MicroWakeWordFeatures()

    def hear(piece: Any) -> bool:
        frames = list(features.process_streaming(piece.tobytes()))
        woken = [network.process_streaming(frame) for frame in frames for network in networks]  # every one hears all
        return any(woken)

    return hear


def openwakeword(words: list[str]) -> Hear:
    """openWakeWord's Model at its usual threshold."""
    from openwakeword.model import Model

    model = Model(wakeword_models=words, inference_framework="tflite")
    return lambda piece: max(model.predict(piece).values()) > 0.5


KINDS = {
    "earmark": (earmark, RATE_HZ // 10),
    "replay": (earmark, RATE_HZ),
    "pymicro": (pymicro, RATE_HZ // 100),
    "openwakeword": (openwakeword, 1280),
}


def main() -> int:
    """Runs it and prints."""
    make, block_samples = KINDS[sys.argv[1]]
    hear = make(sys.argv[3:])
    if sys.argv[2] == "-":
        while piece := sys.stdin.buffer.read(2 * block_samples):
            hear(np.frombuffer(piece, np.int16))
        return 0
    audio = np.fromfile(sys.argv[2], np.int16)
    woken_s: list[float] = []
    start_s = 0.0
    first = LEAD_S * RATE_HZ // block_samples * block_samples
    for at in range(0, len(audio), block_samples):
        if at == first:
            start_s = time.process_time()
        now_s = min(at + block_samples, len(audio)) / RATE_HZ
        if hear(audio[at : at + block_samples]) and (not woken_s or now_s - woken_s[-1] >= REFRACTORY_S):
            woken_s.append(now_s)
    taken_s = time.process_time() - start_s
    print(json.dumps({"cpu_s": taken_s, "audio_s": (len(audio) - first) / RATE_HZ, "woken_s": woken_s}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

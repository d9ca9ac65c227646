"""Networks made to harm: honest ones in which numbers of the file were changed by somebody who knows the format.

Each mutant meets what a daemon does with a network that it does not know: the inspection and the run in a process of
its own. Where both let it pass, it meets the daemon's own interpreter. `scripts/studies/harmful_networks.py` tries as
many as it is told, the suite some.
"""

from __future__ import annotations

import hashlib
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import EarmarkError, ModelError
from earmark.engine.networks import admission, inspection, trial
from earmark.engine.networks.card import KeywordManifest
from earmark.engine.networks.flatbuffer import Flatbuffer
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.operators import EMBEDDING

INSPECTED, TRIED, DIED_TRYING, REFUSED_LATER, RUNS, KILLED = (
    "refused by the inspection",
    "refused by the run in a process of its own",
    "ended that process",
    "refused by the daemon itself",
    "run by the daemon",
    "ended the daemon",
)
OUTCOMES = (INSPECTED, TRIED, DIED_TRYING, REFUSED_LATER, RUNS, KILLED)
LIMIT_S = 120
WHOLE = (0, 1, 2, 3, 4, 5, 9, 13, 18, 22, 45, 127, 128, 255, 256, 4096, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31)
REAL = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 1e-12, 1e38, float("inf"), float("-inf"), float("nan"))


class Place(NamedTuple):
    """Where a number stands in a file, and its code in `struct`."""

    at: int
    kind: str


class _Recorder(Flatbuffer):
    """Remembers every number that it reads, those of vectors too."""

    def __init__(self, content: bytes, schema: Any, name: str) -> None:
        super().__init__(content, schema, name)
        self.places: list[Place] = []

    def _number(self, kind: str, at: int) -> Any:
        self.places.append(Place(at, kind))
        return super()._number(kind, at)

    def _vector(self, name: str, at: int, width: int, is_text: bool = False) -> bytes:
        content = super()._vector(name, at, width, is_text)
        if (not is_text and width > 1) or len(content) <= 64:  # the small buffers: shapes, axes, where to cut
            kind = "f" if name.endswith((".scale", ".min", ".max")) else {8: "q", 4: "i"}.get(width, "B")
            step = struct.calcsize(kind)
            self.places += [Place(at + 4 + n, kind) for n in range(0, len(content) - step + 1, step)]
        return content


def places(content: bytes) -> list[Place]:
    """Every number of a network's file that says how it is laid out or run, each once."""
    recorder = _Recorder(content, inspection.schema(EMBEDDING), "honest")
    model = recorder.root("Model")
    codes = [max(code["deprecated_code"] or 0, code["code"] or 0) for code in model["operator_codes"]]
    for subgraph in model["subgraphs"]:
        for operator in subgraph["operators"] or []:
            if operator["options"] is not None:
                known = EMBEDDING[codes[operator["opcode"] or 0]]
                recorder.read(f"options of {known.name}" if known.layout else "Nothing", operator["options"])
    return sorted(set(recorder.places))


def mutants(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` of them, always the same for a seed."""
    found = places(content)
    for number in range(count):
        yield _mutant(content, found, np.random.default_rng([seed, number]))


def _mutant(content: bytes, found: list[Place], rng: np.random.Generator) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        place = found[int(rng.integers(len(found)))]
        width = struct.calcsize(place.kind)
        old = bytes(data[place.at : place.at + width])
        way = int(rng.integers(6))
        if way == 0:  # what stands elsewhere
            other = found[int(rng.integers(len(found)))].at
            new = bytes(data[other : other + width])
        elif way == 1:
            new = rng.integers(0, 256, width).astype(np.uint8).tobytes()
        elif way == 2:  # one bit
            new = (int.from_bytes(old, "little") ^ 1 << int(rng.integers(8 * width))).to_bytes(width, "little")
        elif way == 3 or place.kind == "f":
            near = int.from_bytes(old, "little") + int(rng.choice([-4, -2, -1, 1, 2, 4]))
            new = (near % (1 << 8 * width)).to_bytes(width, "little")
            if place.kind == "f":
                new = struct.pack("<f", REAL[int(rng.integers(len(REAL)))])
        else:
            value = WHOLE[int(rng.integers(len(WHOLE)))] * int(rng.choice([1, -1]))
            new = (value % (1 << 8 * width)).to_bytes(width, "little")
        data[place.at : place.at + width] = new.ljust(width, b"\0")[:width]
    return bytes(data)


def judge(content: bytes, kind: str, frames: Float32) -> str:
    """What becomes of a network: one of OUTCOMES. Each step is a process of its own, so that this one goes on.

    Args:
        content: of the network's file.
        kind: of network, as `admit` wants it.
        frames: (n, 40) what the daemon hears.
    """
    tried = _in_a_process(_try, content, kind)
    if tried != 0:
        return {3: INSPECTED, 4: TRIED}.get(tried, DIED_TRYING)
    heard = _in_a_process(_hear, content, kind, frames)
    return {0: RUNS, 3: REFUSED_LATER}.get(heard, KILLED)


def _try(content: bytes, kind: str) -> int:
    """As `trial.main` does it."""
    trial.limit()
    try:
        inspection.inspect(content, "mutant", trial.operators_of(kind))
    except ModelError:
        return 3
    try:
        trial.try_network(content, "mutant", kind)
    except ModelError:
        return 4
    return 0


def _hear(content: bytes, kind: str, frames: Float32) -> int:
    """As a daemon does it that has been told that the network is good."""
    sha256 = hashlib.sha256(content).hexdigest()
    admission.PASSED.add(f"{kind}-{sha256}")
    try:
        if kind != trial.KEYWORD:
            trial.try_network(content, "mutant", kind)
            return 0
        path = Path(f"/proc/self/fd/{_as_file(content)}")
        network = KeywordNetwork(KeywordManifest("mutant", "mutant", path, sha256, 0.5, 5, ()))
        for _ in range(3):
            network.push(frames)
        network.reset()
        network.push(frames)
    except EarmarkError:
        return 3
    return 0


def _as_file(content: bytes) -> int:
    descriptor = os.memfd_create("mutant")
    os.write(descriptor, content)
    return descriptor


def _in_a_process(work: Any, *arguments: Any) -> int:
    """Its exit code, or the negative number of the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            signal.alarm(LIMIT_S)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = work(*arguments)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

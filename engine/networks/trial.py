"""Runs a network in a process of its own, which may die of it: `admission` starts it, and nobody else.

Standard input has the network's file. Exit code 0: it was inspected, opened and run, within limits of time and
memory. Exit code 2: standard output says what is wrong with it.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import ModelError
from ..features import frontend, mel
from . import runtime
from .card import MOST_MODEL_BYTES
from .inspection import MOST_ELEMENTS_IN_ALL, MOST_ELEMENTS_OF_TRAINING, inspect
from .operators import EMBEDDING, STREAMING, TRAINING, Operator

CPU_S = 20  # what an inspection and some seconds of audio take: 0.1 s on a PC, 2 s on a Zero 2
MEMORY_BYTES = 512 * 1024 * 1024  # beyond what the runtime has mapped when it begins
STRIDES = 200  # 6 s of audio for a streaming network, and whatever its variables count
LENGTHS = (20, 64, 128)  # frames of an utterance, from a short one to the longest
KEYWORD, SPEAKER, HEAD, BLOCK = "keyword", "speaker", "head", "block"


def main() -> int:
    """Tries the network of standard input; the arguments are its kind and its name for messages."""
    kind, name = sys.argv[1:]
    content = sys.stdin.buffer.read(MOST_MODEL_BYTES + 1)
    try:
        limit()
        try_network(content, name, kind)
    except ModelError as error:
        print(error)  # noqa: T201  to who started this process
        return error.exit_code + 1
    return 0


def try_network(content: bytes, name: str, kind: str) -> None:
    """Inspects, opens and runs a network as the engine does with one of its kind.

    Raises:
        ModelError: it breaks a rule, or the runtime refuses it.
    """
    inspect(content, name, operators_of(kind), MOST_ELEMENTS_OF_TRAINING if kind == BLOCK else MOST_ELEMENTS_IN_ALL)
    try:
        for delegate in {False, runtime.uses_delegate("on")} if kind == SPEAKER else {True}:  # as it may be opened
            interpreter = runtime.open_model(runtime.Model(content, name), delegate)
            {KEYWORD: _stream, SPEAKER: _embed, HEAD: _train, BLOCK: _train}[kind](interpreter)
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{name}: the runtime cannot run this network: {error or type(error).__name__}") from error


def operators_of(kind: str) -> Mapping[int, Operator]:
    """Which operators a network of a kind may have."""
    return {KEYWORD: STREAMING, BLOCK: TRAINING}.get(kind, EMBEDDING)


def limit() -> None:
    """From now on this process gets no more memory than it should, no file, no other process, no core dump."""
    mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    wanted = {
        resource.RLIMIT_CPU: CPU_S,
        resource.RLIMIT_AS: mapped + MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    for limit, most in wanted.items():
        _, hard = resource.getrlimit(limit)
        within = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (within, within))


def _stream(interpreter: runtime.Interpreter) -> None:
    given, got = interpreter.get_input_details(), interpreter.get_output_details()
    shape, kind = given[0]["shape"], given[0]["dtype"]
    if len(shape) != 3 or shape[2] != frontend.CHANNELS or kind not in (np.int8, np.uint8):
        return  # `KeywordNetwork` says so, and runs nothing
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    for number in range(STRIDES):
        strides = np.random.default_rng(number).integers(low, high, shape, endpoint=True).astype(kind)
        interpreter.set_tensor(
            given[0]["index"], strides if number % 4 else np.full(shape, (low, high)[number // 4 % 2], kind)
        )
        interpreter.invoke()
        for output in got:
            interpreter.get_tensor(output["index"])


def _embed(interpreter: runtime.Interpreter) -> None:
    given, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for frames in (*LENGTHS, LENGTHS[0]):
        for bands in {mel.VOICE.mels, mel.WORD.mels}:
            if given["shape"][-1] != bands:
                continue
            interpreter.resize_tensor_input(given["index"], (1, frames, bands))
            interpreter.allocate_tensors()
            sound = np.random.default_rng(frames).random((1, frames, bands)).astype(np.float32)
            interpreter.set_tensor(given["index"], sound)
            interpreter.invoke()
            interpreter.get_tensor(got["index"])


def _train(interpreter: runtime.Interpreter) -> None:
    for signature in sorted(interpreter.get_signature_list(), key="initialize".__ne__):  # that one first
        runner = interpreter.get_signature_runner(signature)
        inputs = {
            name: np.ones(tensor["shape"], tensor["dtype"]) for name, tensor in runner.get_input_details().items()
        }
        for _ in range(2):
            runner(**inputs)


if __name__ == "__main__":
    sys.exit(main())

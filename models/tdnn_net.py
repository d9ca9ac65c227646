"""Recipe of a small speaker network of which every weight is trained (`flat_net.py`): a time-delay network.

Logarithms of power mels, two frames at a time -> a layer over three of them -> blocks that look at three frames ever
farther apart, one channel at a time, then mix the channels, with a layer normalisation and a way past -> mean and
deviation -> linear. It has no start that knows voices: it shows that a plain runtime trains a network as a whole, in
less than 100 MB, and is what tests/enroll/training/test_whole_network.py trains.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import flat_net
from .flat_net import Ops, Sizes

MELS, CHANNELS, BLOCKS, OUTPUTS = 80, 128, 6, 128
FRAMES = 65  # of two mel frames, 20 ms
ROWS, MICRO_ROWS = 32, 4
DILATIONS = (1, 2, 3)  # of the blocks, in turn

Array = npt.NDArray[Any]


def shapes() -> dict[str, tuple[int, ...]]:
    """Of the weights."""
    found: dict[str, tuple[int, ...]] = {"in": (3 * 2 * MELS, CHANNELS), **_after("in", CHANNELS)}
    for block in range(BLOCKS):
        name = f"block{block}"
        found.update({f"{name}.taps": (3, CHANNELS), name: (CHANNELS, CHANNELS), **_after(name, CHANNELS)})
    return {**found, "out": (2 * CHANNELS, OUTPUTS), "out.bias": (OUTPUTS,)}


def _after(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("bias", "gain", "shift")}


def start(seed: int = 0) -> dict[str, Array]:
    """Weights that nobody has trained (K. He et al., "Delving Deep into Rectifiers", 2015)."""
    rng, weights = np.random.default_rng(seed), {}
    for name, shape in shapes().items():
        if name.endswith(".taps"):
            weights[name] = np.array([[0.0], [1.0], [0.0]]) + 0.3 * rng.standard_normal(shape)
        elif len(shape) == 2:
            weights[name] = rng.standard_normal(shape) * np.sqrt(2 / shape[0])
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith(".gain") else 0.0)
    return {name: np.asarray(values, np.float32) for name, values in weights.items()}


def net(ops: Ops, weights: Mapping[str, Any], x: Any, valid: Any) -> Any:
    """(b, t, 160) logarithms of pairs of frames -> (b, 128)."""
    tf, (rows, frames, _) = ops.tf, x.shape
    counts = tf.reshape(valid, [rows, frames, 1])

    def finished(name: str, y: Any) -> Any:
        y = ops.matmul(y, weights[name]) + weights[f"{name}.bias"]
        return ops.relu(ops.normalised(y, weights[f"{name}.gain"], weights[f"{name}.shift"])) * counts

    y = finished("in", tf.concat(ops.neighbours(x * counts, 1), axis=2))
    for block in range(BLOCKS):
        name = f"block{block}"
        taps = [
            tf.reshape(tf.slice(weights[f"{name}.taps"], [tap, 0], [1, CHANNELS]), [CHANNELS]) for tap in range(3)
        ]
        near = ops.neighbours(y, DILATIONS[block % len(DILATIONS)])
        y = y + finished(name, tf.add_n([each * tap for each, tap in zip(near, taps)]))
    return tf.matmul(ops.pooled(y, valid), weights["out"]) + weights["out.bias"]


def build() -> tuple[bytes, dict[str, int]]:
    """The file, and its sizes."""
    sizes = Sizes(FRAMES, 2 * MELS, OUTPUTS, ROWS, MICRO_ROWS)
    return flat_net.build(net, shapes(), sizes), dict(sizes._asdict())


def main() -> int:
    """Writes tdnn.tflite and its card: `python -m earmark.models.tdnn_net DIR`."""
    from .export import card_of, signatures_of

    parser = argparse.ArgumentParser(description="Build a small network that is trained as a whole.")
    parser.add_argument("out", type=Path, help="folder to write to")
    folder = parser.parse_args().out
    content, parameters = build()
    card = card_of(
        "tdnn",
        "tdnn.tflite",
        content,
        description="A small time-delay network with forward and backward pass; without weights",
        signatures=signatures_of(content),
        parameters=parameters,
        licence="Apache-2.0 (no weights are in it)",
        sources=["models/tdnn_net.py"],
    )
    about = {**asdict(card), "recipe": "python -m earmark.models.tdnn_net DIR"}
    (folder / card.file).write_bytes(content)
    (folder / "tdnn.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

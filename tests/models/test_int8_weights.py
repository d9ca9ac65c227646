"""The recipe of int8 kernels: what it changes in a file, and what it must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.engine.networks import runtime
from earmark.engine.networks.card import MODELS_DIR, load_card
from earmark.models import int8_weights
from earmark.models.int8_weights import LARGEST, with_int8

schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="TFLite's schema comes with LiteRT")
flatbuffers: Any = pytest.importorskip("flatbuffers", reason="comes with LiteRT")

INPUTS, OUTPUTS, FRAMES = 96, 64, 20


def convolution(weights: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> bytes:
    """A file of one graph: (1, FRAMES, 1, INPUTS) through one convolution of a single frame."""
    model = schema.ModelT()
    model.version = 3
    model.operatorCodes = [schema.OperatorCodeT()]
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CONV_2D
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    graph = schema.SubGraphT()
    graph.tensors, model.buffers = [], [schema.BufferT()]
    shapes = ((1, FRAMES, 1, INPUTS), weights.shape, bias.shape, (1, FRAMES, 1, OUTPUTS))
    for number, (shape, values) in enumerate(zip(shapes, (None, weights, bias, None))):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{number}", list(shape), schema.TensorType.FLOAT32
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, [0, 1, 2], [3]
    op.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    op.builtinOptions = schema.Conv2DOptionsT()
    op.builtinOptions.padding = schema.Padding.VALID
    op.builtinOptions.strideH = op.builtinOptions.strideW = 1
    op.builtinOptions.dilationHFactor = op.builtinOptions.dilationWFactor = 1
    graph.operators, graph.inputs, graph.outputs = [op], [0], [3]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run(content: bytes, frames: np.ndarray[Any, Any], delegate: bool) -> np.ndarray[Any, Any]:
    interpreter = runtime.open_model(runtime.Model(content, "test"), delegate)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], frames)
    interpreter.invoke()
    found: np.ndarray[Any, Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


@pytest.mark.parametrize("delegate", [True, False])
def test_a_convolution_says_nearly_the_same_with_a_quarter_of_the_bytes(
    rng: np.random.Generator, delegate: bool
) -> None:
    weights = rng.standard_normal((OUTPUTS, 1, 1, INPUTS)).astype(np.float32)
    weights *= np.logspace(-3, 0, OUTPUTS, dtype=np.float32)[:, None, None, None]  # one scale would lose most of them
    weights[5] = 0
    bias = rng.standard_normal(OUTPUTS).astype(np.float32)
    content = convolution(weights, bias)
    small = with_int8(content)
    assert small == with_int8(content)
    assert len(content) - len(small) > 0.7 * weights.nbytes
    frames = rng.standard_normal((1, FRAMES, 1, INPUTS)).astype(np.float32)
    wide, narrow = (run(each, frames, delegate)[0, :, 0] - bias for each in (content, small))
    np.testing.assert_allclose(wide, frames[0, :, 0] @ weights[:, 0, 0].T, atol=1e-4)
    np.testing.assert_array_equal(narrow[:, 5], 0)
    live = np.arange(OUTPUTS) != 5
    error = np.sqrt(np.mean((narrow - wide)[:, live] ** 2, axis=0) / np.mean(wide[:, live] ** 2, axis=0))
    assert error.max() < 0.03


def test_a_small_kernel_stays_as_it_is(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    content = convolution(
        rng.standard_normal((OUTPUTS, 1, 1, INPUTS)).astype(np.float32), np.zeros(OUTPUTS, np.float32)
    )
    monkeypatch.setattr(int8_weights, "LEAST_WEIGHTS", OUTPUTS * INPUTS + 1)
    frames = rng.standard_normal((1, FRAMES, 1, INPUTS)).astype(np.float32)
    np.testing.assert_array_equal(run(with_int8(content), frames, False), run(content, frames, False))


def test_the_shipped_kernels_are_int8_with_a_scale_for_each_channel() -> None:
    content = (Path(MODELS_DIR) / load_card("speaker").file).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    quantised = [tensor for tensor in model.subgraphs[0].tensors if tensor.type == schema.TensorType.INT8]
    weights = sum(int(np.prod(tensor.shape)) for tensor in quantised)
    assert weights > 0.8 * len(content)
    for tensor in quantised:
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8).reshape(tensor.shape)
        assert len(tensor.quantization.scale) == tensor.shape[0]
        assert np.abs(values.astype(int)).max() == LARGEST

"""Recipe: the convolutions of a TensorFlow Lite file with their kernels in int8, a scale for each output channel.

The runtime multiplies such kernels in int8 with activations that it quantises as they come ("hybrid"), so nothing has
to be calibrated, and a quarter of the bytes is read. Biases stay float32, as the hybrid kernels want them.

Needs the schema of TensorFlow Lite, which comes with LiteRT and with TensorFlow, and `flatbuffers`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

LARGEST = 127  # of a symmetric int8 scale
LEAST_WEIGHTS = 3000  # smaller kernels would save little, and the first convolution hears the spectrum itself
ALIGNMENT_BYTES = 16  # of a constant that a runtime may read in place, as TensorFlow Lite's schema asks
_SCHEMAS = "ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated"


def with_int8(content: bytes) -> bytes:
    """A TFLite file of one graph with float32 weights -> the same with int8 kernels."""
    import flatbuffers

    schema = read_schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    (graph,) = model.subgraphs
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    for op in graph.operators:
        if kinds[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D:
            tensor = graph.tensors[int(op.inputs[1])]
            if np.prod(tensor.shape) >= LEAST_WEIGHTS:
                _quantise(schema, model.buffers[tensor.buffer], tensor)
    for buffer in model.buffers:
        buffer.Pack = functools.partial(_pack_aligned, buffer, buffer.Pack)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _quantise(schema: Any, buffer: Any, tensor: Any) -> None:
    """A constant (outputs, height, width, inputs), in place."""
    weights = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape)
    scale = np.abs(weights).max(axis=(1, 2, 3)) / np.float32(LARGEST)
    scale[scale == 0] = 1  # a channel that is nothing
    quantised = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
    buffer.data = np.frombuffer(quantised.tobytes(), np.uint8)
    tensor.type = schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = scale
    tensor.quantization.zeroPoint = np.zeros(len(scale), np.int64)
    tensor.quantization.quantizedDimension = 0


def _pack_aligned(buffer: Any, pack: Callable[[Any], Any], builder: Any) -> Any:
    if buffer.data is not None:
        builder.Prep(ALIGNMENT_BYTES, len(buffer.data))
    return pack(builder)


def read_schema() -> Any:
    """The schema of TensorFlow Lite, of whichever package has it."""
    for name in _SCHEMAS:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"none of {', '.join(_SCHEMAS)}: pip install ai-edge-litert")

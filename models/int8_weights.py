"""Recipe: the weights of a speaker network's LSTMs as int8, from its file with float16 weights.

The runtime then multiplies in int8 with activations quantised a frame at a time ("hybrid"), which reads a quarter
of the bytes. Each gate's matrix has a scale of its own. The first layer stays as it is: its inputs are linear power
mels, which span five decades, and int8 matrices for them leave a cosine of 0.5 to the float network. So do the dense
layers, which are small, and which the delegate of LiteRT takes as float only.

Needs the schema that comes with LiteRT (`ai-edge-litert`), and numpy; no TensorFlow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 127  # of a symmetric int8 scale
LAYERS = (1, 2)  # of the LSTMs, counted from 0
_GATE_MATRICES = range(1, 9)  # inputs of the operator: four gates' input matrices, then their recurrent ones


def with_int8(content: bytes, layers: tuple[int, ...] = LAYERS) -> bytes:
    """A TFLite file with float16 weights -> the same with the LSTM layers `layers` in int8."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    (graph,) = model.subgraphs
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    widen, lstm = schema.BuiltinOperator.DEQUANTIZE, schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    narrow = {int(op.outputs[0]): int(op.inputs[0]) for op in graph.operators if kinds[op.opcodeIndex] == widen}
    replaced = set()
    for number, op in enumerate(op for op in graph.operators if kinds[op.opcodeIndex] == lstm):
        if number not in layers:
            continue
        inputs = np.array(op.inputs, np.int32)
        for place in _GATE_MATRICES:
            wide = int(inputs[place])
            inputs[place] = narrow[wide]
            replaced.add(wide)
            _quantise(schema, model, graph.tensors[narrow[wide]])
        op.inputs = inputs
    graph.operators = [
        op for op in graph.operators if kinds[op.opcodeIndex] != widen or int(op.outputs[0]) not in replaced
    ]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _quantise(schema: Any, model: Any, tensor: Any) -> None:
    """A float16 constant, in place."""
    buffer = model.buffers[tensor.buffer]
    weights = np.frombuffer(bytes(buffer.data), np.float16).astype(np.float32)
    scale = np.float32(np.abs(weights).max() / LARGEST)
    quantised = np.clip(np.rint(weights / scale), -LARGEST, LARGEST).astype(np.int8)
    buffer.data = np.frombuffer(quantised.tobytes(), np.uint8)
    tensor.type = schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.zeros(1, np.int64)

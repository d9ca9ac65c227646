"""Recipe of `block`: the speaker network's last layers, as a network that the device trains (`flat_net.py`).

They hear what the frozen layers before them say, which is computed once for each utterance: transit3 of
`speaker_net.py` with the normalisation that follows it folded in, as the shipped file has it; mean and deviation over
time; dense. Their start is in the shipped speaker network's file; where, says the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import flat_net
from .flat_net import Ops, Sizes
from .int8_weights import read_schema

FRAMES = 40  # of 20 ms: of longer words so many, evenly
ROWS = 32


def net(ops: Ops, weights: Mapping[str, Any], x: Any, valid: Any) -> Any:
    """(b, t, i) activations, none negative -> (b, d)."""
    hidden = ops.relu(ops.matmul(x, weights["transit"]) + weights["transit_bias"])
    return ops.tf.matmul(ops.pooled(hidden, valid), weights["dense"]) + weights["dense_bias"]


def places(speaker: Path) -> dict[str, int]:
    """Which tensors of a speaker network's file are the input of its last layers and their weights.

    Raises:
        ValueError: the file does not end in such layers.
    """
    schema = read_schema()
    content = bytearray(speaker.read_bytes())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (graph,) = model.subgraphs
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    convolutions = [op for op in graph.operators if kinds[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D]
    transit, dense = convolutions[-2:]
    if transit.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.RELU:
        raise ValueError(f"{speaker}: no relu behind the last layer but one")
    return {
        "activations": int(transit.inputs[0]),
        **{
            name: int(op.inputs[place])
            for op, place, name in (
                (transit, 1, "transit"),
                (transit, 2, "transit_bias"),
                (dense, 1, "dense"),
                (dense, 2, "dense_bias"),
            )
        },
    }


def shapes_of(speaker: Path, found: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Of the weights, as the recipe has them: kernels (inputs, outputs)."""
    schema = read_schema()
    content = bytearray(speaker.read_bytes())
    (graph,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs

    def shape(name: str) -> tuple[int, ...]:
        full = [int(size) for size in graph.tensors[found[name]].shape]
        return (full[-1], full[0]) if len(full) > 1 else (full[0],)

    return {name: shape(name) for name in ("transit", "transit_bias", "dense", "dense_bias")}


def build(speaker: Path, rows: int = ROWS, micro_rows: int = ROWS) -> tuple[bytes, dict[str, Any]]:
    """The file for the last layers of a speaker network's file, and what its card says of it."""
    found = places(speaker)
    shapes = shapes_of(speaker, found)
    sizes = Sizes(FRAMES, shapes["transit"][0], shapes["dense"][1], rows, micro_rows)
    return flat_net.build(net, shapes, sizes), {**sizes._asdict(), **found}

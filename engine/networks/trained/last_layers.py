"""The speaker network in two parts: what stays as it ships, and the last layers, which `block` trains.

The last layers take the activations in front of the last but one (transit3 of `models/speaker_net.py`)::

    h = max(0, x T + t)                          (frames, c), of (frames, i)
    e = [mean of h over time, its deviation] D + d

A person's training adds a little to T, t, D and d. In numpy it takes a few milliseconds, and no interpreter.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...audio.samples import Float32
from ...errors import ModelError
from .. import runtime
from ..admission import admit
from ..card import MODELS_DIR, load_card, read_model

DEVIATION_FLOOR = 1e-8  # added to a variance before its root, as the training does


class LastLayers(NamedTuple):
    """Their weights."""

    transit: Float32
    """(i, c)."""
    transit_bias: Float32
    """(c,)."""
    dense: Float32
    """(2 c, d)."""
    dense_bias: Float32
    """(d,)."""


def embed(start: LastLayers, activations: Float32, model: Mapping[str, npt.NDArray[Any]] | None = None) -> Float32:
    """(frames, i) activations, 2 frames or more -> (d,) of unit length, with what a person's training has added.

    Raises:
        ValueError: the model is of other sizes.
    """
    hidden = activations @ start.transit + start.transit_bias
    if model is not None:
        hidden += (activations @ model["transit_left"]) @ model["transit_right"] + model["transit_bias"]
    np.maximum(hidden, 0, out=hidden)
    variance = hidden.var(axis=0, ddof=1) + np.float32(DEVIATION_FLOOR)
    pooled = np.concatenate([hidden.mean(axis=0), np.sqrt(variance)])
    out = pooled @ start.dense + start.dense_bias
    if model is not None:
        out += (pooled @ model["dense_left"]) @ model["dense_right"] + model["dense_bias"]
    unit: Float32 = (out / np.maximum(np.linalg.norm(out), np.float32(1e-9))).astype(np.float32)
    return unit


class Trunk:
    """The speaker network up to its last layers.

    It is the shipped file with another tensor for its output: that saves a second copy of 5 MB. Which one that is,
    and which tensors hold the last layers' weights, says the card `block.json`.

    Raises:
        ModelError: `block` was made for another speaker network, or the file is damaged.
    """

    def __init__(self, folder: Path = MODELS_DIR, delegate: runtime.Delegate = "off") -> None:
        card, block = load_card("speaker", folder), load_card("block", folder)
        self.card = block
        wanted = block.parameters
        if wanted["speaker_sha256"] != card.sha256:
            raise ModelError(
                f"{folder}: block.json is for the speaker network {wanted['speaker_sha256'][:12]}…, this one is "
                f"{card.sha256[:12]}…: choose another trainer, or build `block` for it (models/README.md)"
            )
        model = admit(read_model(card, folder), card.sha256, card.file, "speaker")
        content = with_output(model.content, int(wanted["activations"]))
        self._interpreter = runtime.open_model(model._replace(content=content), runtime.uses_delegate(delegate))
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        self._output = int(wanted["activations"])
        self.start = LastLayers(
            *(self._constant(int(wanted[name])) for name in ("transit", "transit_bias", "dense", "dense_bias"))
        )

    def activations(self, mel: Float32) -> Float32:
        """(frames, mels) power mel -> (frames / 2, i), what the last layers hear; none is negative."""
        said = runtime.run(self._interpreter, self._input, self._output, mel, "speaker network")
        rows: Float32 = said.reshape(-1, len(self.start.transit))
        return rows

    def _constant(self, index: int) -> Float32:
        """A kernel (outputs, 1, 1, inputs) as (inputs, outputs), or a bias as it is."""
        values = self._interpreter.get_tensor(index)
        (details,) = (each for each in self._interpreter.get_tensor_details() if each["index"] == index)
        scales = details["quantization_parameters"]["scales"]
        if values.ndim == 1:
            return np.array(values, np.float32)
        kernel = values.reshape(len(values), -1).astype(np.float32)
        if len(scales):
            kernel *= scales[:, None]
        return np.ascontiguousarray(kernel.T)


def with_output(content: bytes, tensor: int) -> bytes:
    """The file of a network of one graph with one output, with another of its tensors as the output.

    The places are those of TFLite's schema: of a model the third field is its graphs, of a graph the third its
    outputs, of a signature the third its outputs, whose second field is the tensor. The content was inspected.
    """
    changed = bytearray(content)

    def number(at: int, kind: str = "I") -> int:
        value: int = struct.unpack_from(f"<{kind}", changed, at)[0]
        return value

    def field(table: int, place: int) -> int | None:
        vtable = table - number(table, "i")
        if 4 + 2 * place >= number(vtable, "H"):
            return None
        offset = number(vtable + 4 + 2 * place, "H")
        return table + offset if offset else None

    def target(at: int | None) -> int:
        assert at is not None, "inspected: these fields are there"
        return at + number(at)

    def only(vector: int) -> int:
        """Where the one element of a vector is."""
        assert number(vector) == 1, "a network of one graph with one output"
        return vector + 4

    model = number(0)
    graph = target(only(target(field(model, 2))))
    struct.pack_into("<i", changed, only(target(field(graph, 2))), tensor)
    return bytes(changed)

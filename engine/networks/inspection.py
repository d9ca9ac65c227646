"""What a network from elsewhere must be, before any runtime sees it: the rules that the runtime takes for granted.

A runtime trusts its file: an operator that reads what nobody has written, writes into the weights or divides by a
stride of 0 ends the process, or worse. These rules say no to that by the file alone. What they cannot say, a run in a
process of its own does (`trial`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import ModelError
from .flatbuffer import Flatbuffer, Record, Schema
from .operators import Operator

SCHEMA_VERSION = 3
MOST_SUBGRAPHS = 32  # the head has 6
MOST_ELEMENTS = 4_000_000  # of a tensor; the largest of the shipped ones has 500,000
MOST_ELEMENTS_IN_ALL = 32_000_000  # of all; the shipped ones have up to 5 million, …
MOST_ELEMENTS_OF_TRAINING = 160_000_000  # … but for one that is trained as a whole, whose signatures run in turn
MOST_RANK = 6
MOST_WINDOW = 4096  # strides, windows, dilations: 40 s of frames
SCALES = 1e-9, 1e4  # the packaged networks have 1e-5…1.6

_SIZES = {0: 4, 2: 4, 3: 1, 4: 8, 6: 1, 9: 1}  # of TFLite's float32, int32, uint8, int64, bool, int8; in bytes
_RESOURCE = 13
_QUANTISED = {3: (0, 255), 9: (-128, 127)}  # type -> where its zero may be
_MAKES_VARIABLE, _CALLS_ONCE = 142, 129
_RANGES = {
    "a": range(4),  # none and the three kinds of ReLU
    "p": range(2),
    "0": range(1),
    "T": (*_SIZES, _RESOURCE),
    "+": range(1, MOST_WINDOW + 1),
}
_KINDS = {
    "a": "b",
    "p": "b",
    "?": "?",
    "0": "b",
    "T": "b",
    "i": "i",
    "+": "i",
    "d": "i",
    "f": "f",
    "t": "text",
    "v": "[i]",
}

_SCHEMA = {
    "Model": (
        ("version", "I"),
        ("operator_codes", "[OperatorCode]"),
        ("subgraphs", "[SubGraph]"),
        ("description", "text"),
        ("buffers", "[Buffer]"),
        ("metadata_buffer", "[i]"),
        ("metadata", "[Metadata]"),
        ("signature_defs", "[SignatureDef]"),
    ),
    "OperatorCode": (("deprecated_code", "b"), ("custom_code", "-"), ("version", "i"), ("code", "i")),
    "SubGraph": (
        ("tensors", "[Tensor]"),
        ("inputs", "[i]"),
        ("outputs", "[i]"),
        ("operators", "[Operator]"),
        ("name", "text"),
        ("debug_metadata_index", "i"),
    ),
    "Tensor": (
        ("shape", "[i]"),
        ("type", "b"),
        ("buffer", "I"),
        ("name", "text"),
        ("quantization", "Quantization"),
        ("is_variable", "?"),
        ("sparsity", "-"),
        ("shape_signature", "[i]"),
        ("has_rank", "?"),
        ("variant_tensors", "-"),
    ),
    "Quantization": (
        ("min", "[f]"),
        ("max", "[f]"),
        ("scale", "[f]"),
        ("zero_point", "[q]"),
        ("details_type", "-"),
        ("details", "-"),
        ("dimension", "i"),
    ),
    "Buffer": (("data", "bytes"), ("offset", "-"), ("size", "-")),
    "Metadata": (("name", "text"), ("buffer", "I")),
    "SignatureDef": (
        ("inputs", "[TensorMap]"),
        ("outputs", "[TensorMap]"),
        ("key", "text"),
        ("deprecated_tag", "text"),
        ("subgraph", "I"),
    ),
    "TensorMap": (("name", "text"), ("tensor", "I")),
    "Operator": (
        ("opcode", "I"),
        ("inputs", "[i]"),
        ("outputs", "[i]"),
        ("options_type", "B"),
        ("options", "any"),
        ("custom_options", "-"),
        ("custom_options_format", "b"),
        ("mutating_inputs", "[?]"),
        ("intermediates", "[i]"),
        ("large_options_offset", "-"),
        ("large_options_size", "-"),
        ("options_2_type", "-"),
        ("options_2", "-"),
        ("debug_metadata_index", "i"),
    ),
    "Nothing": (),
}


def inspect(
    content: bytes, name: str, operators: Mapping[int, Operator], most_elements: int = MOST_ELEMENTS_IN_ALL
) -> None:
    """Looks at the file of a network.

    Args:
        content: of the file.
        name: for messages.
        operators: that it may have, by their numbers.
        most_elements: of all its tensors.

    Raises:
        ModelError: it breaks a rule; the message says which.
    """
    if content[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a TensorFlow Lite file")
    file = Flatbuffer(content, schema(operators), name)
    _Inspection(file, file.root("Model"), operators, most_elements).run()


def schema(operators: Mapping[int, Operator]) -> Schema:
    """Of a file's tables, the options of these operators among them."""
    layouts = {
        f"options of {operator.name}": tuple((str(n), _KINDS[letter]) for n, letter in enumerate(operator.layout))
        for operator in operators.values()
    }
    return {**_SCHEMA, **layouts}


class _Inspection:
    def __init__(
        self, file: Flatbuffer, model: Record, operators: Mapping[int, Operator], most_elements: int
    ) -> None:
        self._file, self._model, self._allowed = file, model, operators
        self._buffers: list[bytes] = [record["data"] or b"" for record in model["buffers"] or []]
        self._subgraphs: list[Record] = model["subgraphs"] or []
        self._elements_left = most_elements

    def run(self) -> None:
        model = self._model
        self._require(model["version"] == SCHEMA_VERSION, f"its format is {model['version']}, not {SCHEMA_VERSION}")
        self._require(1 <= len(self._subgraphs) <= MOST_SUBGRAPHS, f"{len(self._subgraphs)} subgraphs")
        self._require(bool(self._buffers) and not self._buffers[0], "buffer 0 is not empty")
        self._codes = [self._operator_of(code) for code in model["operator_codes"] or []]
        calling = {n for n in range(len(self._subgraphs)) if self._subgraph(n)}
        for n in calling:
            for operator in self._subgraphs[n]["operators"]:
                if self._codes[operator["opcode"] or 0][0] == _CALLS_ONCE:
                    self._require(operator["calls"] not in calling, "a subgraph calls one that calls itself")
        for metadata in model["metadata"] or []:
            self._require((metadata["buffer"] or 0) < len(self._buffers), "metadata without a buffer")
        for signature in model["signature_defs"] or []:
            self._signature(signature)

    def _operator_of(self, code: Record) -> tuple[int, Operator]:
        number = max(code["deprecated_code"] or 0, code["code"] or 0)
        if number not in self._allowed:
            known = ", ".join(operator.name for operator in self._allowed.values())
            raise self._file.damaged(f"operator {number} is not one of those that are run: {known}")
        return number, self._allowed[number]

    def _subgraph(self, index: int) -> bool:
        """Whether it calls another one."""
        subgraph, calls = self._subgraphs[index], False
        tensors: list[Record] = subgraph["tensors"] or []
        for n, tensor in enumerate(tensors):
            self._tensor(tensor, f"tensor {n} of subgraph {index}")
        inputs, outputs = subgraph["inputs"] or (), subgraph["outputs"] or ()
        self._require(len(set(inputs)) == len(inputs), f"subgraph {index} has an input twice")
        written = {n for n, tensor in enumerate(tensors) if self._buffers[tensor["buffer"] or 0]}
        for n in inputs:
            self._require(0 <= n < len(tensors) and n not in written, f"input {n} of subgraph {index} is none")
            written.add(n)
        subgraph["operators"] = subgraph["operators"] or []
        for place, operator in enumerate(subgraph["operators"]):
            where = f"operator {place} of subgraph {index}"
            calls |= self._operator(operator, tensors, written, where)
        for n in outputs:
            self._require(n in written, f"output {n} of subgraph {index} is written by nobody")
        return calls

    def _tensor(self, tensor: Record, where: str) -> None:
        shape, kind = tensor["shape"] or (), tensor["type"] or 0
        known = kind in _SIZES or kind == _RESOURCE
        self._require(known, f"{where} has the type {kind}: there are float32, int32, int64, uint8, int8, bool")
        self._require(not tensor["is_variable"], f"{where} is a variable of the old kind")
        self._require(len(shape) <= MOST_RANK and all(n > 0 for n in shape), f"{where} has the shape {list(shape)}")
        elements = math.prod(shape)
        self._elements_left -= elements
        self._require(
            elements <= MOST_ELEMENTS and self._elements_left >= 0, f"{where} is too large, or all together are"
        )
        signature = tensor["shape_signature"]
        fits = signature is None or (
            len(signature) in (0, len(shape)) and all(n in (-1, size) for n, size in zip(signature, shape))
        )
        self._require(fits, f"{where} has two shapes: {list(shape)} and {list(signature or ())}")
        at = tensor["buffer"] or 0
        self._require(at < len(self._buffers), f"{where} has no buffer")
        data = self._buffers[at]
        if data:
            right = kind in _SIZES and len(data) == elements * _SIZES[kind]
            self._require(right, f"{where} has {len(data)} bytes for the shape {list(shape)} of type {kind}")
            if kind == 0:
                self._require(all(map(math.isfinite, memoryview(data).cast("f"))), f"{where} has what is no number")
        self._quantization(tensor["quantization"] or {}, shape, kind, where)

    def _quantization(self, quantization: Record, shape: tuple[int, ...], kind: int, where: str) -> None:
        scales, zeros = quantization.get("scale") or (), quantization.get("zero_point") or ()
        low, high = SCALES
        bad = [scale for scale in scales if not low <= scale <= high]  # so NaN is, too
        self._require(not bad, f"{where} has the scale {bad[0] if bad else 0:g}: within {low:g}…{high:g}")
        self._require(len(zeros) in (0, len(scales)), f"{where} has {len(scales)} scales and {len(zeros)} zeros")
        least, most = _QUANTISED.get(kind, (0, 0))
        self._require(all(least <= zero <= most for zero in zeros), f"{where} has a zero outside of {least}…{most}")
        self._require(kind not in _QUANTISED or bool(scales), f"{where} has no scale")
        dimension = quantization.get("dimension") or 0
        self._require(0 <= dimension < max(1, len(shape)), f"{where} has scales of dimension {dimension}")
        channels = shape[dimension] if shape else 1
        self._require(len(scales) in (0, 1, channels), f"{where} has {len(scales)} scales for {channels} channels")

    def _operator(self, operator: Record, tensors: list[Record], written: set[int], where: str) -> bool:
        """Adds what it writes; whether it calls another subgraph."""
        at = operator["opcode"] or 0
        self._require(at < len(self._codes), f"{where} has no code")
        number, known = self._codes[at]
        where = f"{where} ({known.name})"
        inputs, outputs = operator["inputs"] or (), operator["outputs"] or ()
        for given, (least, most), what in (inputs, known.inputs, "inputs"), (outputs, known.outputs, "outputs"):
            self._require(least <= len(given) <= most, f"{where} has {len(given)} {what}: {least}…{most}")
        self._require(not any(operator["mutating_inputs"] or ()), f"{where} changes its inputs")
        self._require(not operator["intermediates"], f"{where} has intermediate tensors")
        for place, n in enumerate(inputs):
            left_out = n == -1 and place >= 2 and place == len(inputs) - 1 and known.inputs == (2, 3)  # a bias
            self._require(n in written or left_out, f"{where} reads tensor {n}, which nobody has written")
        for n in outputs:
            free = 0 <= n < len(tensors) and n not in written
            self._require(free, f"{where} writes tensor {n}, which is not its own")
            is_handle = (tensors[n]["type"] or 0) == _RESOURCE
            self._require(is_handle == (number == _MAKES_VARIABLE), f"{where} makes a handle of what is none")
            written.add(n)
        options = self._options(operator, known, where)
        if number == _CALLS_ONCE:
            operator["calls"] = options[0] or 0
            self._require(0 <= operator["calls"] < len(self._subgraphs), f"{where} calls no subgraph")
        return number == _CALLS_ONCE

    def _options(self, operator: Record, known: Operator, where: str) -> list[object]:
        found, place = operator["options_type"] or 0, operator["options"]
        if place is None or not known.layout:
            self._require(not known.layout or not set(known.layout) & set("+t"), f"{where} has no options")
            if place is not None:
                self._file.read("Nothing", place)
            return [None] * len(known.layout)
        self._require(found == known.options, f"{where} has options of another one")
        record = self._file.read(f"options of {known.name}", place)
        for letter, value in zip(known.layout, record.values()):
            self._require(_is_right(letter, value), f"{where} has the option {value!r}")
        return list(record.values())

    def _signature(self, signature: Record) -> None:
        at = signature["subgraph"] or 0
        self._require(at < len(self._subgraphs), "a signature of no subgraph")
        subgraph = self._subgraphs[at]
        for side in ("inputs", "outputs"):
            for tensor in signature[side] or []:
                is_there = (tensor["tensor"] or 0) in (subgraph[side] or ()) and tensor["name"]
                self._require(bool(is_there), f"a signature has other {side} than its subgraph")

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise self._file.damaged(what)


def _is_right(letter: str, value: Any) -> bool:
    """Whether an option is what its letter in a layout says."""
    number = value or 0
    if letter in _RANGES:
        return number in _RANGES[letter]
    if letter == "d":
        return value is None or 1 <= value <= MOST_WINDOW
    return letter != "f" or math.isfinite(number)

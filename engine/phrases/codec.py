"""What is learned of a phrase as a table and arrays of a voiceprint's files, and back: checked before it is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio.samples import Float32
from ..errors import InputError
from .model import MOST_TAKE_FEATURES, WINDOW, PhraseModel, Scale, keyword_of
from .network import FEATURES

WEIGHTS, TAKES = "phrase_weights", "phrase_takes"
ARRAYS = (WEIGHTS, TAKES)
"""Both float16: `rounded` has rounded to it."""
MOST_TAKES = 80  # as many as the speaker's head has rows
_NORM_TOLERANCE = 2e-3  # of a row of unit length in float16
_KEYS = ("text", "bias", "gate_scale", "take_scale", "threshold", "lengths")


def rounded(values: Float32) -> Float32:
    """As it is kept: learning rounds so, so that nothing changes where it is loaded."""
    return values.astype(np.float16).astype(np.float32)


def to_parts(model: PhraseModel) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float16]]]:
    """A table for the header, and arrays."""
    table = {
        "text": model.text,
        "bias": model.bias,
        "gate_scale": list(model.gate_scale),
        "take_scale": list(model.take_scale),
        "threshold": model.threshold,
        "lengths": [len(take) for take in model.takes],
    }
    return table, {WEIGHTS: model.weights.astype(np.float16), TAKES: np.concatenate(model.takes).astype(np.float16)}


def from_parts(table: Any, arrays: Mapping[str, npt.NDArray[Any]], keyword: str) -> PhraseModel:
    """The model that they hold.

    Raises:
        ValueError: they are not what a phrase's can be; the message has name, value and rule.
    """
    if not isinstance(table, dict) or set(table) != set(_KEYS):
        raise ValueError(f"phrase must be a table with {', '.join(_KEYS)}")
    if set(ARRAYS) - set(arrays):
        raise ValueError(f"a phrase must have the arrays {' and '.join(ARRAYS)}")
    _check_text(table["text"], keyword)
    numbers = (table["bias"], table["threshold"], *_pair(table, "gate_scale"), *_pair(table, "take_scale"))
    if not all(type(number) is float and math.isfinite(number) for number in numbers):
        raise ValueError(f"phrase: bias, scales and threshold must be finite numbers, they are {numbers!r:.120}")
    bias, threshold, *scales = numbers
    if not 0 < threshold <= 1:
        raise ValueError(f"phrase: threshold={threshold} must be above 0 and at most 1")
    if not (scales[0] < scales[1] and scales[2] < scales[3]):
        raise ValueError(f"phrase: scales {scales} must rise: one's own takes are above other speech")
    weights, rows = (arrays[name] for name in ARRAYS)
    for name, array, shape in ((WEIGHTS, weights, (WINDOW, FEATURES)), (TAKES, rows, (len(rows), FEATURES))):
        if array.dtype != np.float16 or array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} is {array.dtype}{array.shape}, it must be finite float16{shape}")
    takes = _cut(rows.astype(np.float32), table["lengths"])
    return PhraseModel(
        table["text"],
        weights.astype(np.float32),
        bias,
        takes,
        Scale(scales[0], scales[1]),
        Scale(scales[2], scales[3]),
        threshold,
    )


def _check_text(text: Any, keyword: str) -> None:
    try:
        named = keyword_of(text)
    except (InputError, AttributeError, TypeError) as error:
        raise ValueError(f"phrase: text={text!r:.80} cannot be a phrase") from error
    if named != keyword:
        raise ValueError(f"phrase: text={text!r:.80} is the phrase {named!r:.80}, the wake word is {keyword!r:.80}")


def _pair(table: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(table[name], list) or len(table[name]) != 2:
        raise ValueError(f"phrase: {name}={table[name]!r:.80} must be two numbers")
    pair: list[Any] = table[name]
    return pair


def _cut(rows: Float32, lengths: Any) -> tuple[Float32, ...]:
    """The rows of each take."""
    fits = isinstance(lengths, list) and 2 <= len(lengths) <= MOST_TAKES and all(type(n) is int for n in lengths)
    if not fits or not all(2 <= n <= MOST_TAKE_FEATURES for n in lengths) or sum(lengths) != len(rows):
        raise ValueError(f"phrase: lengths={lengths!r:.80} must be 2…{MOST_TAKE_FEATURES} each, {len(rows)} together")
    if np.any(np.abs(np.sqrt(np.einsum("ij,ij->i", rows, rows)) - 1) > _NORM_TOLERANCE):
        raise ValueError(f"{TAKES} must have rows of unit length")
    return tuple(np.split(rows, np.cumsum(lengths)[:-1]))

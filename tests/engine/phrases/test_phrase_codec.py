"""What is learned of a phrase, on disk: as it was, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earmark.engine.phrases import codec
from earmark.engine.phrases.model import PhraseModel, Scale

Parts = tuple[dict[str, Any], dict[str, Any]]


def parts() -> Parts:
    rng = np.random.default_rng(0)
    takes = []
    for length in (7, 9):
        rows = rng.standard_normal((length, 32)).astype(np.float32)
        takes.append(codec.rounded(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    weights = codec.rounded(rng.standard_normal((8, 32)).astype(np.float32))
    return codec.to_parts(
        PhraseModel("Ahoy house", weights, -2.5, tuple(takes), Scale(0.1, 2.0), Scale(0.3, 0.9), 0.55)
    )


def test_what_is_written_is_read_as_it_was() -> None:
    table, arrays = parts()
    model = codec.from_parts(table, arrays, "phrase:ahoy_house")
    again = codec.to_parts(model)
    assert again[0] == table
    assert all(np.array_equal(again[1][name], arrays[name]) for name in codec.ARRAYS)
    assert [len(take) for take in model.takes] == [7, 9]


def put(key: str, value: Any) -> Callable[[Parts], None]:
    return lambda parts: parts[0].update({key: value})


def spoil(name: str, change: Callable[[Any], Any]) -> Callable[[Parts], None]:
    return lambda parts: parts[1].update({name: change(parts[1][name])})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (put("text", "another house"), "is the phrase"),
        (put("text", 5), "cannot be a phrase"),
        (put("text", "…"), "cannot be a phrase"),
        (put("bias", float("nan")), "finite"),
        (put("bias", 1), "finite"),
        (put("threshold", 0.0), "above 0"),
        (put("threshold", 1.5), "at most 1"),
        (put("gate_scale", [2.0, 1.0]), "must rise"),
        (put("take_scale", [0.5, 0.5]), "must rise"),
        (put("gate_scale", [1.0]), "two numbers"),
        (put("gate_scale", [1.0, "2"]), "finite"),
        (put("lengths", [7, 8]), "16 together"),
        (put("lengths", [16]), "lengths"),
        (put("lengths", [15, 1]), "lengths"),
        (put("lengths", [True, 15]), "lengths"),
        (put("more", 1), "must be a table"),
        (spoil("phrase_weights", lambda array: array[:7]), r"phrase_weights is float16\(7, 32\)"),
        (spoil("phrase_weights", lambda array: array.astype(np.float32)), "float32"),
        (spoil("phrase_takes", lambda array: array * np.float16(np.inf)), "finite"),
        (spoil("phrase_takes", lambda array: array * np.float16(2)), "unit length"),
        (spoil("phrase_takes", lambda array: array[:, :31]), "phrase_takes"),
        (lambda parts: parts[1].pop("phrase_takes"), "must have the arrays"),
    ],
)
def test_what_cannot_be_a_phrase_is_refused(harm: Callable[[Parts], None], message: str) -> None:
    harmed = parts()
    harm(harmed)
    with pytest.raises(ValueError, match=message):
        codec.from_parts(*harmed, "phrase:ahoy_house")


def test_no_table_is_no_phrase() -> None:
    with pytest.raises(ValueError, match="must be a table"):
        codec.from_parts([], parts()[1], "phrase:ahoy_house")

"""What a network's file must be before any runtime sees it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from model_mutants import Place, mutants, places

from earmark.engine.errors import ModelError
from earmark.engine.networks.card import MODELS_DIR, builtin_keywords
from earmark.engine.networks.flatbuffer import MOST_SHARES, Flatbuffer
from earmark.engine.networks.inspection import inspect
from earmark.engine.networks.operators import EMBEDDING, STREAMING

WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
OTHERS = [
    folder / f"{name}.tflite"
    for folder in (MODELS_DIR, REPOSITORY / "tests" / "models")
    for name in ("speaker", "head")
]


def network(word: str = "okay_nabu") -> bytes:
    return builtin_keywords()[word].with_suffix(".tflite").read_bytes()


@pytest.mark.parametrize("word", WORDS)
def test_the_packaged_networks_pass(word: str) -> None:
    inspect(network(word), word, STREAMING)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_speaker_networks_and_heads_pass_by_the_longer_list_only(path: Path) -> None:
    inspect(path.read_bytes(), path.name, EMBEDDING)
    with pytest.raises(ModelError, match=r"operator \d+ is not one of those that are run: ADD, "):
        inspect(path.read_bytes(), path.name, STREAMING)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_network(content: bytes) -> None:
    for file in (content, content[:4] + b"TFL3" + content[4:]):
        with pytest.raises(ModelError):
            inspect(file, "noise", STREAMING)


@pytest.mark.parametrize("word", WORDS)
def test_a_truncated_network_is_refused_wherever_it_ends(word: str) -> None:
    content = network(word)
    for size in [*range(0, len(content), 499), *range(len(content) - 20, len(content))]:
        with pytest.raises(ModelError):
            inspect(content[:size], word, STREAMING)


@pytest.mark.parametrize("word", WORDS)
def test_a_mutant_passes_or_is_refused_with_a_reason_and_nothing_else(word: str) -> None:
    said = [reason(mutant, word) for mutant in mutants(network(word), 60, seed=4)]
    assert sum(map(bool, said)) > 20
    assert all(text.startswith(f"{word}: ") for text in said if text)


def reason(content: bytes, name: str) -> str:
    """Why a network is refused; empty where it is not."""
    try:
        inspect(content, name, STREAMING)
    except ModelError as error:
        return str(error)
    return ""


def test_nothing_but_finite_and_sensible_scales_passes() -> None:
    """A scale of NaN ended the process that ran it, always."""
    content = network()
    floats = [place for place in places(content) if place.kind == "f"]
    told = [reason(changed(content, place, float("nan")), "scaled") for place in floats[::25]]
    assert (
        sum("has the scale nan" in text for text in told) > 5
    )  # the others are minima and maxima: nobody reads them
    scale = floats[25 * next(n for n, text in enumerate(told) if text)]
    for value in (float("inf"), -1.0, 0.0, 1e-30, 1e30):
        assert "has the scale" in reason(changed(content, scale, value), "scaled")


def changed(content: bytes, place: Place, value: float) -> bytes:
    data = bytearray(content)
    struct.pack_into("<f", data, place.at, value)
    return bytes(data)


def test_a_file_that_means_gigabytes_is_refused_at_once() -> None:
    """Tables may be shared: so many places that all mean the same long vector are a small file, and long to read."""
    rows, numbers = 1000, 1000
    table = struct.pack("<HHHxx", 6, 8, 4)  # of one field, 4 bytes behind the table's begin
    row = struct.pack("<iI", 8, 4) + struct.pack(f"<I{numbers}i", numbers, *range(numbers))
    content = struct.pack("<I", 12) + table + struct.pack("<iII", 8, 4, rows)
    places_of_rows = b"".join(
        struct.pack("<I", len(content) + 4 * rows + 8 - (len(content) + 4 * n)) for n in range(rows)
    )
    content += places_of_rows + table + row
    schema = {"Root": (("rows", "[Row]"),), "Row": (("numbers", "[i]"),)}
    with pytest.raises(ModelError, match=f"read the file more than {MOST_SHARES} times"):
        Flatbuffer(content, schema, "bomb").root("Root")
    few = {"Root": (("rows", "any"),), "Row": (("numbers", "[i]"),)}
    assert Flatbuffer(content, few, "bomb").root("Root")["rows"] is not None

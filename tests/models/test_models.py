"""The shipped files: what their cards say of them."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPOSITORY

from earmark.engine.networks import runtime
from earmark.engine.networks.admission import admit
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model
from earmark.enroll.training.cohort import load as load_cohort

CARDS = ("speaker", "head", "cohort", "impostors", "block")
NETWORKS = ("speaker", "head", "block")
Tensors = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cohort() -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(read_model(load_card("cohort")))) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CARDS)
def test_a_file_is_the_one_its_card_describes(name: str) -> None:
    card = load_card(name)
    content = (MODELS_DIR / card.file).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (card.sha256, card.size_bytes)


@pytest.mark.parametrize("name", CARDS)
def test_the_readme_names_the_file_and_its_hash(name: str) -> None:
    text, card = (REPOSITORY / "models" / "README.md").read_text("utf-8"), load_card(name)
    assert card.file in text
    assert card.sha256 in text


@pytest.mark.parametrize("name", NETWORKS)
def test_the_runtime_reports_the_cards_signatures(name: str) -> None:
    card = load_card(name)
    interpreter = runtime.open_model(admit(read_model(card), card.sha256, card.file, name))
    reported = {}
    for signature in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(signature)
        reported[signature] = {
            "inputs": described(runner.get_input_details()),
            "outputs": described(runner.get_output_details()),
        }
    assert reported == card.signatures


def described(details: Tensors) -> Tensors:
    """A runtime's description in the card's words; -1 is any length."""
    return {
        name: {
            "shape": [int(n) for n in (tensor["shape_signature"] if len(tensor["shape"]) else tensor["shape"])],
            "dtype": np.dtype(tensor["dtype"]).name,
        }
        for name, tensor in details.items()
    }


def test_cohort_has_the_cards_shapes(cohort: dict[str, npt.NDArray[Any]]) -> None:
    described = load_card("cohort").signatures["arrays"]["outputs"]
    found = {name: {"shape": list(array.shape), "dtype": array.dtype.kind} for name, array in cohort.items()}
    assert found == described


def test_cohort_rows_are_embeddings(cohort: dict[str, npt.NDArray[Any]]) -> None:
    """Each as wide as int8 is; what is read of them has unit length."""
    embeddings = cohort["embeddings"]
    assert embeddings.dtype.name == "int8"
    assert (np.abs(embeddings.astype(int)).max(axis=1) == 127).all()
    np.testing.assert_allclose(np.linalg.norm(load_cohort().embeddings, axis=1), 1, atol=1e-6)


def test_cohort_has_nobody_twice_for_a_phrase(cohort: dict[str, npt.NDArray[Any]]) -> None:
    pairs = list(zip(cohort["speaker"].tolist(), cohort["phrase"].tolist()))
    assert len(set(pairs)) == len(pairs)
    assert all("/" in speaker and speaker.split("/")[1] and phrase for speaker, phrase in pairs)


def test_cohort_was_made_with_the_shipped_networks() -> None:
    assert load_card("cohort").parameters["speaker_sha256"] == load_card("speaker").sha256
    assert any(load_card("speaker").sha256 in source for source in load_card("head").sources)

"""The shipped files: what their cards say of them, and what another implementation computes with the same weights."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPOSITORY, Read

from earmark.engine import runtime
from earmark.engine.audio import RATE_HZ, Float32, to_float, to_int16
from earmark.engine.card import MODELS_DIR, load_card, read_model
from earmark.engine.errors import AudioError
from earmark.engine.speaker import SpeakerNetwork, locate_speech
from earmark.enroll.augment import with_noise
from earmark.enroll.cohort import load as load_cohort

CARDS = ("speaker", "head", "cohort")
NETWORKS = ("speaker", "head")
Tensors = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Float32]:
    """File in tests/audio -> (192,), by scripts/make_golden.py in float64."""
    with np.load(golden_dir / "speaker.npz") as arrays:
        return dict(zip(arrays["paths"].tolist(), arrays["embeddings"]))


@pytest.fixture(scope="module")
def cohort() -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(read_model(load_card("cohort")))) as arrays:
        return dict(arrays)


def test_embeddings_equal_the_golden_ones(
    speaker: SpeakerNetwork, golden: dict[str, Float32], audio_dir: Path, read: Read
) -> None:
    for path, expected in golden.items():
        found = speaker.embed(read(audio_dir / path))
        assert found @ expected >= 0.99, path  # int8 against float64
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_golden_embeddings_tell_voices_apart(golden: dict[str, Float32]) -> None:
    """Else the test above would pass for a network that gives everybody the same."""
    stacked = np.array(list(golden.values()))
    cosines = stacked @ stacked.T
    assert cosines[~np.eye(len(stacked), dtype=bool)].max() < 0.7


def test_an_utterance_does_not_touch_the_next_one(audio_dir: Path, read: Read) -> None:
    first, second = read(audio_dir / "rms_alexa_test_1.flac"), read(audio_dir / "slt_alexa_test_1.flac")
    alone = SpeakerNetwork().embed(second)
    network = SpeakerNetwork()
    network.embed(first)
    np.testing.assert_array_equal(network.embed(second), alone)
    network.embed(first[:8000])  # another length in between
    np.testing.assert_array_equal(network.embed(second), alone)


def test_an_embedding_has_unit_length_and_does_not_hear_the_gain(
    speaker: SpeakerNetwork, audio_dir: Path, read: Read
) -> None:
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    embedding = speaker.embed(samples)
    assert (embedding.shape, embedding.dtype.name) == ((192,), "float32")
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)
    assert speaker.embed(samples // 4) @ embedding > 0.999


def test_a_voice_in_noise_is_nearer_to_itself_than_to_others(
    speaker: SpeakerNetwork, audio_dir: Path, read: Read, rng: np.random.Generator
) -> None:
    words = [read(path) for path in sorted(audio_dir.glob("*_alexa_test_1.flac"))]
    clean = np.array([speaker.embed(word) for word in words])
    noisy = [to_int16(with_noise(to_float(np.pad(word, RATE_HZ // 4)), 10.0, 1.0, rng)) for word in words]
    cosines = np.array([speaker.embed(word) for word in noisy]) @ clean.T
    assert len(words) >= 4
    np.testing.assert_array_equal(cosines.argmax(axis=1), np.arange(len(words)))


@pytest.mark.parametrize("name", CARDS)
def test_a_file_is_the_one_its_card_describes(name: str) -> None:
    card = load_card(name)
    content = (MODELS_DIR / card.file).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (card.sha256, card.size_bytes)


@pytest.mark.parametrize("name", CARDS)
def test_the_readme_names_the_file_and_its_hash(name: str) -> None:
    readme = REPOSITORY / "models" / "README.md"
    if not readme.is_file():
        pytest.skip("models/README.md is not written yet")
    text, card = readme.read_text("utf-8"), load_card(name)
    assert card.file in text
    assert card.sha256 in text


@pytest.mark.parametrize("name", NETWORKS)
def test_the_runtime_reports_the_cards_signatures(name: str) -> None:
    card = load_card(name)
    interpreter = runtime.open_model(read_model(card), card.file)
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


def test_what_is_said_is_found_in_silence_and_in_noise(audio_dir: Path, read: Read, rng: np.random.Generator) -> None:
    word = read(audio_dir / "slt_alexa_test_1.flac")
    start, end = locate_speech(word)
    word = word[start:end]
    padded = np.concatenate([np.zeros(RATE_HZ, np.int16), word, np.zeros(RATE_HZ, np.int16)])
    assert locate_speech(padded) == pytest.approx((RATE_HZ, RATE_HZ + len(word)), abs=RATE_HZ // 12)
    scale = np.sqrt(np.mean(np.square(word, dtype=np.float64)) / 10)  # 10 dB below the word
    noisy = (padded + scale * rng.standard_normal(len(padded))).astype(np.int16)
    assert locate_speech(noisy) == pytest.approx((RATE_HZ, RATE_HZ + len(word)), abs=RATE_HZ // 5)


def test_a_drawn_out_vowel_is_speech_and_a_click_is_not() -> None:
    """A tone never gets quiet: what is subtracted as noise would be all of it."""
    tone = (8000 * np.sin(2 * np.pi * 200 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    start, end = locate_speech(tone)
    assert end - start > 0.9 * RATE_HZ
    click = np.zeros(RATE_HZ, np.int16)
    click[RATE_HZ // 2 : RATE_HZ // 2 + 200] = 20_000
    with pytest.raises(AudioError, match="nothing said"):
        locate_speech(click)
    with pytest.raises(AudioError, match="0 ms of sound"):
        locate_speech(np.zeros(RATE_HZ, np.int16))


@pytest.mark.parametrize("samples", [1, 2, 159, 400, 1600])
def test_a_crop_of_any_length_is_judged(samples: int, rng: np.random.Generator) -> None:
    try:
        start, end = locate_speech((rng.standard_normal(samples) * 1000).astype(np.int16))
    except AudioError:
        return
    assert 0 <= start < end <= samples

"""The keyword networks: state, quantisation, and the same answers as the package they come from.

`pymicro_wakeword.MicroWakeWord` runs the same networks on a TFLite of its own, and runtimes round int8 differently.
Measured on 482 real recordings and four networks, under tflite-runtime and LiteRT: half of all traces are equal, all
but one in 300 stay within 16/256, the worst single probability is 28/256 away and the worst mean of five 0.07. So a
decision can differ only where the best mean all but touches the cutoff; that is one recording and word of 1928.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeNetwork, Read, Takes, cut, cut_points
from hypothesis import given, settings
from hypothesis import strategies as st
from pymicro_wakeword import MicroWakeWord
from turns import mine

from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.detector import Detector
from earmark.engine.errors import KeywordError
from earmark.engine.features.frontend import CHANNELS, Frontend
from earmark.engine.networks.card import MODELS_DIR, KeywordManifest, builtin_keywords, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.verifier import Verifier

WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
TOLERANCE, WORST_TOLERANCE, MEAN_TOLERANCE = 16 / 256, 32 / 256, 0.1
TOUCHES = 0.02  # a best mean so near to the cutoff may fall on either side of it
SILENCE = np.zeros(8000, np.int16)


class Reference:
    """The package's own class, asked for every single probability."""

    def __init__(self, word: str) -> None:
        self._word = MicroWakeWord.from_config(builtin_keywords()[word])

    def __call__(self, frames: Float32) -> tuple[Float32, bool]:
        """(n, 40) -> (m,) probabilities, and whether it detects the word."""
        self._word.reset()
        probabilities, detected = [], False
        for frame in frames:
            detected |= bool(self._word.process_streaming(frame.reshape(1, 1, CHANNELS)))
            if not self._word._features:  # a stride became whole
                probabilities.append(self._word._probabilities[-1])
        return np.array(probabilities, np.float32), detected


@pytest.fixture(scope="module")
def references() -> dict[str, Reference]:
    return {word: Reference(word) for word in WORDS}


@pytest.fixture(scope="module")
def networks(make_network: MakeNetwork) -> dict[str, KeywordNetwork]:
    return {word: make_network(word) for word in WORDS}


@pytest.fixture(scope="module")
def frames(takes: Takes, read: Read) -> Float32:
    return Frontend().push(read(takes("rms", "alexa", "test")[0]))


def best_mean(network: KeywordNetwork, probabilities: Float32) -> float:
    return float(window_means(network, probabilities).max())


def window_means(network: KeywordNetwork, probabilities: Float32) -> npt.NDArray[np.float64]:
    window = network.manifest.sliding_window_size
    return np.convolve(probabilities.astype(np.float64), np.full(window, 1 / window), "valid")


class Comparison(NamedTuple):
    """Ours against the package's, of one recording and network."""

    recording: str
    word: str
    probability_difference: float
    mean_difference: float
    same_decision: bool
    to_cutoff: float


def compared(
    recordings: Iterator[tuple[str, Int16]], networks: dict[str, KeywordNetwork], references: dict[str, Reference]
) -> Iterator[Comparison]:
    for name, samples in recordings:
        frames = Frontend().push(samples)
        for word, network in networks.items():
            network.reset()
            ours, (theirs, detected) = network.push(frames), references[word](frames)
            cutoff = network.manifest.probability_cutoff
            yield Comparison(
                name,
                word,
                float(np.abs(ours - theirs).max()),
                float(np.abs(window_means(network, ours) - window_means(network, theirs)).max()),
                (best_mean(network, ours) > cutoff) == detected,
                abs(best_mean(network, theirs) - cutoff),
            )


def assert_same(comparisons: list[Comparison]) -> None:
    """Every probability and mean within its tolerance, and the decision wherever it is not a matter of rounding."""
    assert [c for c in comparisons if c.probability_difference > WORST_TOLERANCE] == []
    assert [c for c in comparisons if c.mean_difference > MEAN_TOLERANCE] == []
    assert [c for c in comparisons if not c.same_decision and c.to_cutoff > TOUCHES] == []
    assert sum(c.probability_difference > TOLERANCE for c in comparisons) <= 0.01 * len(comparisons)


def rows(index: Path, **wanted: str) -> list[dict[str, str]]:
    with index.open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


@given(data=st.data())
@settings(max_examples=30)
def test_any_cut_gives_the_same_probabilities(
    networks: dict[str, KeywordNetwork], frames: Float32, data: st.DataObject
) -> None:
    network = networks["alexa"]
    network.reset()
    whole = network.push(frames)
    network.reset()
    pieces = [network.push(piece) for piece in cut(frames, data.draw(cut_points(len(frames))))]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("word", WORDS)
def test_state_matters_and_reset_restores_it(make_network: MakeNetwork, takes: Takes, read: Read, word: str) -> None:
    network = make_network(word)
    frames = Frontend().push(read(takes("slt", word, "test")[0]))
    fresh = network.push(frames)
    network.push(frames[:61])  # 20 strides and a frame
    stale = network.push(frames)
    network.reset()
    np.testing.assert_array_equal(network.push(frames), fresh)
    assert not np.array_equal(stale[: len(fresh)], fresh), "the network must remember"


@pytest.mark.parametrize("other", ["alexa", "okay_nabu"])
def test_two_networks_do_not_disturb_each_other(make_network: MakeNetwork, frames: Float32, other: str) -> None:
    expected = make_network("alexa").push(frames)
    one, two = make_network("alexa"), make_network(other)
    found = []
    for at in range(0, len(frames), 10):
        found.append(one.push(frames[at : at + 10]))
        two.push(frames[::-1][at : at + 7])
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_probabilities_lie_on_the_networks_grid(networks: dict[str, KeywordNetwork], frames: Float32) -> None:
    networks["alexa"].reset()
    probabilities = networks["alexa"].push(frames)
    assert probabilities.dtype.name == "float32"
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    np.testing.assert_array_equal(probabilities * 256, np.rint(probabilities * 256))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("beyond", [27.0, 39.0, 1e9])
def test_what_int8_cannot_hold_is_clipped_not_wrapped(
    networks: dict[str, KeywordNetwork], takes: Takes, read: Read, word: str, beyond: float
) -> None:
    """0 and 26 are the ends of int8: what lies beyond must act like them."""
    frames = Frontend().push(read(takes("slt", word, "test")[0]))
    too_much = np.where(frames > 22, np.float32(beyond), np.where(frames == 0, np.float32(-beyond), frames))
    highest = np.where(frames > 22, np.float32(26), frames)
    clipped = answer(networks[word], highest)
    assert clipped.max() > 0.1, "the comparison must be of something"
    np.testing.assert_array_equal(answer(networks[word], too_much), clipped)


@pytest.mark.parametrize("word", WORDS)
def test_features_are_rounded_to_the_nearest_step_of_int8(
    networks: dict[str, KeywordNetwork], takes: Takes, read: Read, word: str
) -> None:
    """0…26 in 255 steps; the frontend's own are finer. Truncating would move most of them by a step."""
    frames = Frontend().push(read(takes("slt", word, "test")[0]))
    nearest = (np.rint(frames.astype(np.float64) * 255 / 26) * 26 / 255).astype(np.float32)
    assert not np.array_equal(nearest, frames)
    np.testing.assert_array_equal(answer(networks[word], frames), answer(networks[word], nearest))


def answer(network: KeywordNetwork, frames: Float32) -> Float32:
    network.reset()
    return network.push(frames)


@pytest.mark.slow
def test_the_same_answers_as_the_package_on_the_test_audio(
    audio_dir: Path, read: Read, networks: dict[str, KeywordNetwork], references: dict[str, Reference]
) -> None:
    """These takes were made to keep away from the cutoff: every decision is the same."""
    recordings = ((row["path"], read(audio_dir / row["path"])) for row in mine(rows(audio_dir / "index.csv")))
    comparisons = list(compared(recordings, networks, references))
    assert_same(comparisons)
    assert [c for c in comparisons if not c.same_decision] == []


@pytest.mark.slow
def test_the_same_answers_as_the_package_on_real_speech(
    speech_data: Path, read: Read, networks: dict[str, KeywordNetwork], references: dict[str, Reference]
) -> None:
    paths = mine(row["path"] for row in rows(speech_data / "index.csv", set="wake"))
    recordings = ((path, np.concatenate([read(speech_data / path), SILENCE])) for path in paths)
    comparisons = list(compared(recordings, networks, references))
    assert len(comparisons) == 4 * len(paths) > 4 * 200
    assert_same(comparisons)
    own_word = [c for c in comparisons if Path(c.recording).stem.startswith(c.word)]
    assert [c for c in own_word if not c.same_decision] == []


@pytest.mark.slow
def test_real_people_saying_alexa_are_heard(speech_data: Path, read: Read, make_network: MakeNetwork) -> None:
    """154 of 159 under both runtimes, and the package's own class hears the same: at this cutoff it is 96.9 %."""
    detector = Detector([make_network("alexa")], Verifier([]), "label")
    clips = rows(speech_data / "index.csv", set="wake", phrase="alexa")
    missed = []
    for clip in clips:
        detector.reset()
        events = [*detector.push(read(speech_data / clip["path"])), *detector.finish()]
        assert all((event.type, event.reason) == ("detection", "nobody_enrolled:label") for event in events)
        if not events:
            missed.append(clip["path"])
    assert len(clips) > 100
    assert len(missed) <= 0.04 * len(clips), missed


def test_each_word_wakes_its_own_network_and_no_other(
    audio_dir: Path, read: Read, networks: dict[str, KeywordNetwork]
) -> None:
    wrong = []
    for row in rows(audio_dir / "index.csv"):
        frames = Frontend().push(read(audio_dir / row["path"]))
        for word, network in networks.items():
            network.reset()
            heard = best_mean(network, network.push(frames)) > network.manifest.probability_cutoff
            if heard != (row["phrase"] == word):
                wrong.append((row["path"], word))
    assert wrong == []


@pytest.mark.parametrize("word", WORDS)
def test_silence_wakes_nothing(networks: dict[str, KeywordNetwork], word: str) -> None:
    networks[word].reset()
    assert networks[word].push(Frontend().push(np.zeros(32_000, np.int16))).max() < 0.1


@pytest.mark.parametrize("word", WORDS)
def test_the_trace_of_one_take_is_the_golden_one(
    golden_dir: Path, audio_dir: Path, read: Read, networks: dict[str, KeywordNetwork], word: str
) -> None:
    """The package's own probabilities, written down: they do not change with the package or the runtime."""
    with np.load(golden_dir / "keyword.npz") as golden:
        trace: npt.NDArray[np.uint8] = golden[word]
        path = str(golden[f"{word}_path"])
    networks[word].reset()
    ours = networks[word].push(Frontend().push(read(audio_dir / path)))
    assert trace.max() > 200, "the take must be a wake word"
    np.testing.assert_allclose(ours, trace / 256, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["head.tflite", "speaker.tflite"])
def test_another_kind_of_network_is_refused(name: str) -> None:
    with pytest.raises(KeywordError, match=rf"{re.escape(name)}: input is .*must be one int8 or uint8 tensor"):
        KeywordNetwork(manifest_of(MODELS_DIR / name))


def manifest_of(path: Path) -> KeywordManifest:
    """Of alexa, with another network in its place."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return dataclasses.replace(load_manifest("alexa"), model_path=path, model_sha256=sha256)


@pytest.mark.parametrize("size", [0, 3, 5000])
def test_what_is_no_network_is_refused(tmp_path: Path, rng: np.random.Generator, size: int) -> None:
    path = tmp_path / "noise.tflite"
    path.write_bytes(rng.bytes(size))
    with pytest.raises(KeywordError, match=r"noise\.tflite: not a TensorFlow Lite file"):
        KeywordNetwork(manifest_of(path))


def test_a_network_that_was_exchanged_since_its_manifest_was_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alexa.tflite"
    shutil.copy(load_manifest("alexa").model_path, path)
    manifest = manifest_of(path)
    shutil.copy(load_manifest("okay_nabu").model_path, path)
    with pytest.raises(KeywordError, match="not any more what its manifest was read with"):
        KeywordNetwork(manifest)


def test_a_network_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeywordError, match=r"gone\.tflite: cannot be read"):
        KeywordNetwork(dataclasses.replace(load_manifest("alexa"), model_path=tmp_path / "gone.tflite"))

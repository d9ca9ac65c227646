"""What is learned of a phrase, and how like it a stream is."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError
from earmark.engine.phrases.model import (
    LOOK,
    WINDOW,
    PhraseHearing,
    PhraseModel,
    Scale,
    TakesInStream,
    is_phrase,
    keyword_of,
    scores,
)
from earmark.engine.phrases.network import FEATURES
from earmark.engine.phrases.spotter import PhraseSpotter, manifest_of


def rows(count: int, seed: int) -> Float32:
    """(count, 32) of unit length."""
    features = np.random.default_rng(seed).standard_normal((count, FEATURES)).astype(np.float32)
    unit: Float32 = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def a_model(threshold: float = 0.5, seed: int = 0) -> PhraseModel:
    take = rows(9, seed)
    gate = take[-WINDOW:]
    scale = Scale(0.0, float(np.vdot(gate, gate)))
    return PhraseModel("ahoy house", gate, 0.0, (take,) * 3, scale, Scale(0.0, 1.0), threshold)


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("ahoy house", "phrase:ahoy_house"),
        ("  Ahoy, House! ", "phrase:ahoy_house"),
        ("Où est-ce", "phrase:où_est_ce"),
        ("don't panic", "phrase:don't_panic"),
        ("привет дом", "phrase:привет_дом"),
    ],
)
def test_a_phrase_is_named_by_its_words(text: str, keyword: str) -> None:
    assert keyword_of(text) == keyword
    assert is_phrase(keyword)
    assert not is_phrase("okay_nabu")


@pytest.mark.parametrize("text", ["", "…", "_", "a" * 61, "ahoy\nhouse", "ahoy\x1bhouse"])
def test_what_has_no_words_or_too_many_is_no_phrase(text: str) -> None:
    with pytest.raises(InputError, match="must have letters"):
        keyword_of(text)


def test_a_take_is_most_alike_where_it_ends() -> None:
    take = rows(10, 1)
    stream = TakesInStream([take])
    likeness = [stream.push(feature) for feature in np.concatenate([rows(20, 2), take, rows(20, 3)])]
    assert np.argmax(likeness) == 29
    assert max(likeness) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("pace", ["twice as slow", "twice as fast"])
def test_speech_may_be_twice_as_slow_or_as_fast(pace: str) -> None:
    take = rows(10, 1)
    said = np.repeat(take, 2, axis=0)[1:] if pace == "twice as slow" else take
    stream = TakesInStream([take if pace == "twice as slow" else np.repeat(take, 2, axis=0)[1:]])
    assert max(stream.push(feature) for feature in said) == pytest.approx(1, abs=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), length=st.integers(2, 7), heard=st.integers(1, 12))
def test_the_likeness_is_the_best_of_all_paths(seed: int, length: int, heard: int) -> None:
    """As the recursion says it, without any state."""
    take, stream = rows(length, seed), rows(heard, seed + 1)
    cosines = (stream @ take.T).astype(np.float64)

    @functools.cache
    def best(moment: int, at: int) -> float:
        if at < 0 or moment < 0:
            return -np.inf
        if at == 0:
            return float(cosines[moment, 0])
        options = [best(moment - 1, at - 1) + cosines[moment, at]]
        if moment >= 1:
            both = 0.5 * (cosines[moment - 1, at] + cosines[moment, at])
            options.append(best(moment - 2, at - 1) + both)
        if at >= 2:
            options.append(best(moment - 1, at - 2) + cosines[moment, at - 1] + cosines[moment, at])
        return float(max(options))

    found = TakesInStream([take])
    for moment, feature in enumerate(stream):
        assert found.push(feature) == pytest.approx(best(moment, length - 1) / length, abs=1e-5)


def test_of_many_takes_the_best_three_count() -> None:
    take, others = rows(6, 1), [rows(6, seed) for seed in range(10, 14)]
    alone, many = TakesInStream([take]), TakesInStream([take, take, take, *others])
    for feature in take:
        last = alone.push(feature), many.push(feature)
    assert last[1] == pytest.approx(last[0])


def test_gate_and_takes_count_half_each_and_need_not_agree_about_the_moment() -> None:
    model = a_model()
    heard = scores(model, np.concatenate([rows(20, 5), model.takes[0], rows(LOOK + 1, 6)]))
    assert heard.argmax() == 28
    assert heard.max() == pytest.approx(1, abs=1e-4)
    assert heard[28 + LOOK - 1] == pytest.approx(1, abs=1e-4)  # both are remembered for 320 ms
    assert heard[28 + LOOK] < 0.9


def test_a_reset_forgets_the_stream() -> None:
    model = a_model()
    hearing = PhraseHearing(model)
    first = [hearing.push(feature) for feature in model.takes[0]]
    assert [hearing.push(feature) for feature in model.takes[0]] != first
    hearing.reset()
    assert [hearing.push(feature) for feature in model.takes[0]] == first


def test_a_spotter_is_sure_where_the_threshold_is_passed_by_anybody() -> None:
    stream = np.concatenate([rows(20, 5), a_model(seed=0).takes[0]])
    quiet = PhraseSpotter(manifest_of("phrase:ahoy_house", [a_model(seed=1)]), block=2)
    both = PhraseSpotter(manifest_of("phrase:ahoy_house", [a_model(seed=1), a_model(seed=0)]), block=2)
    assert max(quiet.push(stream)) < 0.5 < max(both.push(stream))
    strict = PhraseSpotter(manifest_of("phrase:ahoy_house", [a_model(threshold=1.1)]), block=2)
    assert max(strict.push(stream)) < 0.5
    assert len(strict.push(stream[:0])) == 0

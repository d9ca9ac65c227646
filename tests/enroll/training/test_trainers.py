"""The ways to learn a voice: each behind the same interface, stored and asked through the same path."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError, TrainerMissing
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.trained.kinds import HEAD, HEARING, LOGISTIC, REFERENCES, SVM, TRAINERS
from earmark.engine.people import codec, meaning
from earmark.engine.people.store import PersonStore
from earmark.engine.people.voiceprint import ANY_PHRASE, COSINE, TRAINED, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Addition, Learner
from earmark.enroll.learning.retrain import remade
from earmark.enroll.options import as_they_are
from earmark.enroll.training import calibrate
from earmark.enroll.training.train import TakeEmbeddings, TrainPlan
from earmark.enroll.training.trainers import linear, registry
from earmark.enroll.training.trainers.base import Lesson, Voices, mean_of, onto_cosine

OF_EMBEDDINGS = [REFERENCES, SVM, LOGISTIC]


def near(centre: Float32, count: int, spread: float, rng: np.random.Generator) -> Float32:
    """Unit rows around a direction."""
    rows = centre + spread * rng.standard_normal((count, len(centre))).astype(np.float32) / np.sqrt(len(centre))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit.astype(np.float16), np.float32)  # as a store keeps variations


@pytest.fixture
def lesson(rng: np.random.Generator) -> Lesson:
    """Five takes of a voice with variations, one direction of which strangers have as well."""
    voice = near(np.zeros(192, np.float32), 1, 1.0, rng)[0]
    takes = [
        TakeEmbeddings(take, near(take, 2, 0.8, rng), elsewhere=near(take, len(CONDITIONS), 0.8, rng))
        for take in near(voice, 5, 0.8, rng)
    ]
    strangers, measured = (near(np.zeros(192, np.float32), 200, 1.0, rng) for _ in range(2))
    return Lesson(takes, Voices(strangers), Voices(measured), TrainPlan(steps=5))


def made(lesson: Lesson, trainer: str, enroller: Enroller, monkeypatch: pytest.MonkeyPatch) -> Voiceprint:
    """A voiceprint of these takes, whose trained score was kept."""
    monkeypatch.setattr(calibrate, "better_kind", lambda _trials: TRAINED)
    options = dataclasses.replace(as_they_are(), trainer=trainer, plan=lesson.plan)
    return enroller.enrol_takes("anna", lesson.takes, None, options).voiceprint


def test_every_trainer_that_a_voiceprint_can_name_is_there() -> None:
    assert set(TRAINERS) == set(registry.NAMES)


def test_an_unknown_trainer_is_told_with_what_was_perhaps_meant(enroller: Enroller) -> None:
    with pytest.raises(InputError, match="'logistik': did you mean logistic"):
        registry.trainer_of("logistik", enroller.head, MODELS_DIR)


# --- the scale


def test_strangers_score_as_they_do_by_the_cosine(rng: np.random.Generator) -> None:
    cosine = rng.normal(0.1, 0.1, 500).astype(np.float32)
    slope, shift = onto_cosine(7 * cosine - 3, cosine)
    np.testing.assert_allclose(slope * (7 * cosine - 3) + shift, cosine, atol=1e-5)


def test_strangers_who_all_score_the_same_do_not_stretch_the_scale_without_end() -> None:
    slope, shift = onto_cosine(np.full(10, 3, np.float32), np.linspace(0, 1, 10, dtype=np.float32))
    assert slope == 100
    assert 3 * slope + shift == pytest.approx(0.5)


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_a_trained_score_has_strangers_where_the_cosine_has_them(
    name: str, lesson: Lesson, enroller: Enroller
) -> None:
    learned = registry.trainer_of(name, enroller.head, MODELS_DIR).train(lesson)
    scores, cosine = learned.score(lesson.measured), lesson.measured.embeddings @ mean_of(lesson.takes)
    for share in (0.5, 0.95):
        assert np.quantile(scores, share) == pytest.approx(np.quantile(cosine, share), abs=1e-4)


@pytest.mark.parametrize("name", [SVM, LOGISTIC])
def test_a_classifier_knows_takes_that_it_was_not_taught_better_than_the_cosine_does(
    name: str, lesson: Lesson, enroller: Enroller
) -> None:
    """The takes share what strangers do not have; the cosine is misled by what one take has alone."""
    trainer = registry.trainer_of(name, enroller.head, MODELS_DIR)
    trials = calibrate.leave_one_out(trainer, lesson.takes, lesson.measured, lesson.strangers, lesson.plan)
    assert trials[TRAINED].margin() > trials[COSINE].margin()


def test_the_mean_cosine_to_the_takes_ranks_as_the_cosine_to_their_mean(lesson: Lesson, enroller: Enroller) -> None:
    """So a guard that asks for more never keeps it: one person's scores differ by a factor alone."""
    scores = registry.trainer_of(REFERENCES, enroller.head, MODELS_DIR).train(lesson).score(lesson.measured)
    np.testing.assert_allclose(scores, lesson.measured.embeddings @ mean_of(lesson.takes), atol=1e-5)
    trainer = registry.trainer_of(REFERENCES, enroller.head, MODELS_DIR)
    trials = calibrate.leave_one_out(trainer, lesson.takes, lesson.measured, lesson.strangers, lesson.plan)
    assert calibrate.better_kind(trials) == COSINE


def test_without_scikit_learn_it_is_said_what_to_install(
    lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(TrainerMissing, match=r"pip install 'earmark\[svm\]'"):
        registry.trainer_of(SVM, enroller.head, MODELS_DIR).train(lesson)


def test_a_logistic_regression_is_at_its_minimum(lesson: Lesson) -> None:
    """The gradient of the penalised loss, written down a second time, is zero."""
    rows = np.array([take.clean for take in lesson.takes])
    weight = np.ones(len(rows), np.float32)
    direction, bias = linear.by_logistic(rows, weight, lesson.strangers.embeddings)
    every = np.concatenate([rows, lesson.strangers.embeddings]).astype(np.float64)
    is_own = np.r_[np.ones(len(rows)), np.zeros(200)]
    each = np.r_[np.full(len(rows), 0.5 / len(rows)), np.full(200, 0.5 / 200)]
    odds = 1 / (1 + np.exp(-(every @ direction + bias)))
    gradient = every.T @ (each * (odds - is_own)) + linear.LOGISTIC_PENALTY * direction
    assert np.abs(gradient).max() < 1e-4
    assert abs(float(each @ (odds - is_own))) < 1e-4


# --- stored and asked


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_what_is_stored_scores_as_what_was_learned(
    name: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = made(lesson, name, enroller, monkeypatch)
    read = codec.decode(codec.encode(person))
    assert (read.trainer, read.kind) == (name, TRAINED)
    tries = lesson.measured.embeddings
    np.testing.assert_array_equal(enroller.verifier.score(read, tries), enroller.verifier.score(person, tries))
    to_train, to_measure = (Voices(rows) for rows in enroller.cohorts(person.keyword, person.centroid))
    again = Lesson(lesson.takes, to_train, to_measure, lesson.plan)
    learned = registry.trainer_of(name, enroller.head, MODELS_DIR).train(again).score(Voices(tries))
    halves = (enroller.verifier.resembled(read, tries)[:, 0], tries @ person.centroid)
    np.testing.assert_allclose(2 * halves[0] - halves[1], learned, atol=1e-5)


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_the_guard_can_keep_the_cosine_of_any_trainer(
    name: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "better_kind", lambda _trials: COSINE)
    options = dataclasses.replace(as_they_are(), trainer=name)
    read = codec.decode(codec.encode(enroller.enrol_takes("anna", lesson.takes, None, options).voiceprint))
    assert (read.trainer, read.kind, dict(read.model)) == (name, COSINE, {})
    assert enroller.verifier.score(read, lesson.measured.embeddings).shape == (200,)


def test_the_head_is_written_as_it_ever_was(
    lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = codec.encode(made(lesson, HEAD, enroller, monkeypatch))["header.json"]
    assert b'"format": 2' in header
    assert b"trainer" not in header


def test_another_trainer_has_a_format_that_an_older_version_calls_newer(
    lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = codec.encode(made(lesson, LOGISTIC, enroller, monkeypatch))["header.json"]
    assert b'"format": 3' in header
    assert b'"trainer": "logistic"' in header


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"direction": np.zeros((1, 192), np.float32)}, "all zero"),
        ({"direction": np.ones((2, 192), np.float32), "shift": np.ones(2, np.float32)}, "2 scores, there are 7"),
    ],
)
def test_numbers_that_no_training_made_are_refused(
    change: dict[str, Any], why: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = made(lesson, LOGISTIC, enroller, monkeypatch)
    with pytest.raises(ValueError, match=why):
        meaning.check(dataclasses.replace(person, model={**person.model, **change}))


@pytest.mark.parametrize(
    "change", [{"direction": np.ones((1, 191), np.float32)}, {"shift": np.full(1, np.nan, np.float32)}]
)
def test_arrays_that_do_not_fit_are_refused(
    change: dict[str, Any], lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = made(lesson, LOGISTIC, enroller, monkeypatch)
    files = codec.encode(dataclasses.replace(person, model={**person.model, **change}))
    with pytest.raises(ValueError, match="it must be finite"):
        codec.decode(files)


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_the_detector_takes_whom_any_trainer_made(
    name: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, person = PersonStore(tmp_path), made(lesson, name, enroller, monkeypatch)
    store.save(person)
    verifier = Verifier.load(store, [])
    (known,) = verifier.people
    rows = np.array([take.clean for take in lesson.takes])
    np.testing.assert_array_equal(verifier.score(known, rows), enroller.verifier.score(person, rows))


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_made_anew_it_is_of_the_same_trainer(
    name: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    store.save(made(lesson, name, enroller, monkeypatch))
    again = remade(store, "anna", ANY_PHRASE, enroller, KeywordNetwork).voiceprint
    assert (again.trainer, again.kind) == (name, TRAINED)


# --- learning on


@pytest.mark.parametrize("name", OF_EMBEDDINGS)
def test_learning_on_trains_anew_in_the_same_way(
    name: str, lesson: Lesson, enroller: Enroller, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    person = made(lesson, name, enroller, monkeypatch)
    learner, nobody = Learner(enroller, lesson.plan), HomeImpostors.nobody(192)
    addition = Addition(near(person.centroid, 1, 0.4, rng)[0], {"id": "1", "label": "anna"})
    now = learner.with_takes(person, [addition], nobody)
    assert (now.trainer, len(now.takes)) == (name, 6)
    assert not np.array_equal(now.model["direction"], person.model["direction"])
    assert learner.figures(now, nobody, []).own.shape == (5,)


def test_hearing_trainers_are_among_the_trainers() -> None:
    assert set(HEARING) <= set(TRAINERS)

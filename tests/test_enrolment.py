"""The main job: a voice learnt from five utterances is told from others, and the same seed learns the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.engine.card import load_manifest
from earmark.engine.detector import Detector
from earmark.engine.files import read_audio
from earmark.engine.head import SpeakerHead, TrainLoss
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.person import COSINE, TRAINED, PersonStore, Voiceprint
from earmark.engine.sources import ArraySource
from earmark.engine.speaker import SpeakerNetwork
from earmark.engine.verifier import Verifier
from earmark.engine.wakes import find_wakes
from earmark.enroll import calibrate, cohort
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.household import Alike, alike
from earmark.enroll.train import TakeEmbeddings, TrainPlan, train

VOICES = ("slt", "rms", "awb", "kal16", "rp_f3")
STRANGERS = {"okay_nabu": ("scot",), "alexa": ("scot", "heart")}  # nobody ever enrols them
Takes = Callable[[str, str, str], "list[Path]"]


@pytest.fixture(scope="session")
def enroller(speaker: SpeakerNetwork, head: SpeakerHead) -> Enroller:
    return Enroller(speaker, head, cohort.load())


def enrol(enroller: Enroller, name: str, files: Sequence[Path], keyword: str, seed: int = 0) -> Voiceprint:
    recordings = [Recording(str(path), read_audio(path)) for path in files]
    return enroller.enrol(name, recordings, KeywordNetwork(load_manifest(keyword)), Options(seed=seed)).voiceprint


@pytest.fixture(scope="session", params=["okay_nabu", "alexa"])
def household(request: pytest.FixtureRequest, enroller: Enroller, takes: Takes) -> list[Voiceprint]:
    return [enrol(enroller, voice, takes(voice, request.param, "enroll"), request.param) for voice in VOICES]


def test_every_voice_of_a_household_is_known_and_strangers_are_not(
    household: list[Voiceprint], enroller: Enroller, takes: Takes
) -> None:
    keyword = household[0].keyword
    network = KeywordNetwork(load_manifest(keyword))
    detector = Detector([network], Verifier(household, enroller.speaker, enroller.head))
    wrong = []
    for voice in (*VOICES, *STRANGERS[keyword]):
        for path in takes(voice, keyword, "test"):
            detector.reset()
            events = list(detector.run(ArraySource(read_audio(path))))
            assert events, path
            expected = voice if voice in VOICES else None
            wrong += [(path.name, event) for event in events if event.person != expected]
    assert not wrong


def test_alone_at_home_other_voices_are_strangers(
    household: list[Voiceprint], enroller: Enroller, takes: Takes
) -> None:
    """Everybody against everybody: no own try is lost, and at most one stranger in forty gets in (1 % is wanted)."""
    keyword = household[0].keyword
    network = KeywordNetwork(load_manifest(keyword))
    verifier = Verifier(household, enroller.speaker, enroller.head)
    own: list[bool] = []
    others: list[bool] = []
    for voice in (*VOICES, *STRANGERS[keyword]):
        for path in takes(voice, keyword, "test"):
            crop = find_wakes(np.pad(read_audio(path), 8000), network).crops[0]
            embedding = enroller.speaker.embed(crop)[None]
            for person in household:
                accepted = bool(verifier.score(person, embedding)[0] >= person.threshold)
                (own if person.name == voice else others).append(accepted)
    assert np.mean(own) == 1.0
    assert np.mean(others) <= 1 / 40, (sum(others), len(others))


def test_the_trained_head_is_kept_for_these_voices(household: list[Voiceprint]) -> None:
    """They are clean and distinct: here training must help, and the weights must have moved."""
    assert {person.kind for person in household} == {TRAINED}
    for person in household:
        margins = {kind: trial["margin"] for kind, trial in person.report["leave_one_out"].items()}
        assert margins[TRAINED] > margins[COSINE]


def test_the_loss_falls(enroller: Enroller, takes: Takes) -> None:
    losses: list[TrainLoss] = []
    recordings = [Recording(str(path), read_audio(path)) for path in takes("slt", "alexa", "enroll")]
    network = KeywordNetwork(load_manifest("alexa"))
    enroller.enrol("slt", recordings, network, Options(), on_step=lambda _, loss: losses.append(loss))
    assert len(losses) == TrainPlan().steps
    assert losses[-1].total < losses[0].total / 2


def test_the_same_seed_gives_the_same_files_and_another_seed_others(
    enroller: Enroller, takes: Takes, tmp_path: Path
) -> None:
    files = takes("awb", "alexa", "enroll")
    saved = [
        PersonStore(tmp_path / str(number)).save(enrol(enroller, "awb", files, "alexa", seed))
        for number, seed in enumerate((3, 3, 4))
    ]
    contents = [{path.name: path.read_bytes() for path in version.iterdir()} for version in saved]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_a_person_scores_the_same_after_the_store(
    household: list[Voiceprint], enroller: Enroller, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    embeddings = enroller.cohort.embeddings[:50]
    for person in household:
        store.save(person)
        loaded = store.load(person.name, person.keyword)
        verifier = Verifier([], enroller.speaker, enroller.head)
        assert np.array_equal(verifier.score(person, embeddings), verifier.score(loaded, embeddings))


def test_the_guard_keeps_the_cosine_where_training_does_not_help() -> None:
    others = np.tile(np.linspace(0, 0.5, 100, dtype=np.float32), (5, 1))
    high, low = np.full(5, 0.9, np.float32), np.full(5, 0.6, np.float32)
    good, bad = calibrate.Trial(high, high, others), calibrate.Trial(low, low, others)
    assert calibrate.better_kind({COSINE: good, TRAINED: bad}) == COSINE
    assert calibrate.better_kind({COSINE: bad, TRAINED: good}) == TRAINED
    assert calibrate.better_kind({COSINE: bad}) == COSINE
    assert calibrate.better_kind({}) == COSINE
    in_noise = replace(bad, varied=high)
    assert calibrate.better_kind({COSINE: bad, TRAINED: in_noise}) == TRAINED, "what helps in noise helps"
    assert calibrate.better_kind({COSINE: good, TRAINED: in_noise}) == COSINE


def test_takes_left_out_are_scored_with_their_variations(household: list[Voiceprint], enroller: Enroller) -> None:
    person = household[0]
    takes = [TakeEmbeddings(*pair) for pair in zip(person.takes, person.copies)]
    to_train, to_measure = enroller.cohorts(person.keyword, person.centroid)
    trial = calibrate.leave_one_out(enroller.head, takes, to_measure, to_train, TrainPlan())[COSINE]
    for number, take in enumerate(takes):
        mean = calibrate.centroid([other for other in takes if other is not take])
        assert trial.own[number] == pytest.approx(take.clean @ mean, abs=1e-5)
        assert trial.varied[number] == pytest.approx((take.copies @ mean).mean(), abs=1e-5)
    assert trial.others.shape == (len(takes), len(to_measure))
    bare = [TakeEmbeddings(take.clean, take.copies[:0]) for take in takes]
    trial = calibrate.leave_one_out(enroller.head, bare, to_measure, to_train, TrainPlan())[COSINE]
    np.testing.assert_array_equal(trial.varied, trial.own)


@pytest.mark.parametrize("kind", [COSINE, TRAINED])
def test_the_threshold_rises_with_the_takes_and_a_smaller_far(kind: str) -> None:
    base = calibrate.threshold(kind, 5, 0.01)
    assert calibrate.threshold(kind, 1, 0.01) < calibrate.threshold(kind, 2, 0.01) < base
    assert calibrate.threshold(kind, 5, 0.001) > base > calibrate.threshold(kind, 5, 0.1)
    assert calibrate.threshold(kind, 5, 1e-30) == 1, "no score is higher"


def test_a_share_of_few_is_announced_with_its_interval() -> None:
    """Against the exact binomial: at the upper bound, so few or fewer are seen in 2.5 % of the cases."""
    low, high = calibrate.share_interval(0, 5)
    assert low == 0
    assert (1 - high) ** 5 == pytest.approx(0.025)
    low, high = calibrate.share_interval(1, 5)
    assert 1 - (1 - low) ** 5 == pytest.approx(0.025)
    assert calibrate.share_interval(5, 5)[1] == 1


def test_what_is_predicted_of_few_tries_is_wide_and_follows_what_was_seen() -> None:
    assert calibrate.predicted_count(0, 5, 2)[0] == 0
    assert calibrate.predicted_count(0, 1000, 20) == (0, 0)
    assert calibrate.predicted_count(500, 1000, 20) == pytest.approx((6, 14), abs=1)
    assert calibrate.predicted_count(0, 0, 5) == (0, 5), "nothing is known"


def test_training_uses_fewer_copies_of_many_takes(head: SpeakerHead, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((30 * 7, head.embedding_size)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    takes = [TakeEmbeddings(rows[7 * number], rows[7 * number + 1 : 7 * number + 7]) for number in range(30)]
    trained = train(head, takes, cohort.load().embeddings, TrainPlan(steps=2))
    assert np.isfinite(trained.prototype).all()


def test_halves_of_the_cohort_share_no_speaker() -> None:
    first, second = cohort.load().halves()
    assert not set(first.speaker) & set(second.speaker)
    assert min(len(first), len(second)) > 0.4 * len(cohort.load())


def test_two_people_who_sound_alike_are_named_and_others_are_not(
    household: list[Voiceprint], enroller: Enroller
) -> None:
    verifier = Verifier([], enroller.speaker, enroller.head)
    person, other = household[:2]
    assert list(alike(person, household, verifier)) == []
    twin = replace(person, name="twin")
    (found,) = alike(twin, [person, other], verifier)
    assert found == Alike(person.name, len(person.takes), len(person.takes), len(person.takes), len(person.takes))
    elsewhere = replace(twin, binding=replace(twin.binding, speaker="another network"))
    assert list(alike(elsewhere, [person], verifier)) == []

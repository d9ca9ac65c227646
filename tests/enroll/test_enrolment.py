"""The main job: a voice learnt from five utterances is told from others, and the same seed learns the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Enrolled
from noisy import in_noise
from turns import mine

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16
from earmark.engine.audio.sources import ArraySource
from earmark.engine.detector import Detector
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.head import SpeakerHead, TrainLoss
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import COSINE, TRAINED, PersonStore, Voiceprint
from earmark.engine.spotting import find_wakes
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.options import Watcher, as_they_are
from earmark.enroll.takes.hearing import AcceptedTake
from earmark.enroll.takes.others import Others
from earmark.enroll.takes.quality import Take
from earmark.enroll.training import calibrate, cohort
from earmark.enroll.training.alike import Alike, alike
from earmark.enroll.training.cohort import Cohort
from earmark.enroll.training.train import TakeEmbeddings, TrainPlan, train
from earmark.enroll.training.trainers.base import Voices
from earmark.enroll.training.trainers.head import HeadTrainer

VOICES = ("slt", "rms", "awb", "kal16", "rp_f3")
STRANGERS = {"okay_nabu": ("scot",), "alexa": ("scot", "heart")}  # nobody ever enrols them
Takes = Callable[[str, str, str], "list[Path]"]


# --- impostors


def unit_rows(count: int, rng: np.random.Generator) -> Float32:
    rows = rng.standard_normal((count, 192)).astype(np.float32)
    unit: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def made_up(phrases: dict[str, int], rng: np.random.Generator) -> Cohort:
    """So many rows of each phrase; two in a row are of one speaker, who says nothing else."""
    names = np.array([phrase for phrase, count in phrases.items() for _ in range(count)])
    speakers = np.array([f"set/{number // 2:04d}" for number in range(len(names))])
    return Cohort(unit_rows(len(names), rng), names, speakers)


def numbers_of(rows: Float32, within: Cohort) -> list[int]:
    """Which rows of a cohort they are."""
    place = {row.tobytes(): number for number, row in enumerate(within.embeddings)}
    return [place[row.tobytes()] for row in rows]


def test_nobody_is_measured_who_was_trained_against(
    speaker: SpeakerNetwork, head: SpeakerHead, rng: np.random.Generator
) -> None:
    shipped = cohort.load()
    small = made_up({"okay_nabu": 120, "alexa": 30}, rng)
    for people, phrase in ((shipped, "okay_nabu"), (shipped, "anything"), (small, "okay_nabu"), (small, "alexa")):
        mean = unit_rows(1, rng)[0]
        to_train, to_measure = Enroller(speaker, head, people).cohorts(phrase, mean)
        trained, measured = (
            {str(people.speaker[number]) for number in numbers_of(rows, people)} for rows in (to_train, to_measure)
        )
        assert trained
        assert measured
        assert not trained & measured, phrase


def test_those_who_resemble_the_person_most_are_trained_against_and_all_of_the_others_measured(
    speaker: SpeakerNetwork, head: SpeakerHead, rng: np.random.Generator
) -> None:
    people = made_up({"okay_nabu": 600}, rng)
    mean = unit_rows(1, rng)[0]
    to_train, to_measure = Enroller(speaker, head, people).cohorts("okay_nabu", mean)
    one, other = people.halves()
    assert (len(to_train), len(to_measure)) == (head.cohort_rows, 300)
    half = one if set(numbers_of(to_train, people)) <= set(numbers_of(one.embeddings, people)) else other
    likest = sorted(half.embeddings @ mean, reverse=True)[: head.cohort_rows]
    np.testing.assert_allclose(to_train @ mean, likest, atol=1e-6)


@pytest.mark.parametrize(("own", "is_enough"), [(99, False), (100, True)])
def test_who_says_the_very_phrase_is_enough_from_a_hundred_on(
    own: int, is_enough: bool, speaker: SpeakerNetwork, head: SpeakerHead, rng: np.random.Generator
) -> None:
    people = made_up({"okay_nabu": own, "alexa": 200}, rng)
    both = np.concatenate(Enroller(speaker, head, people).cohorts("okay_nabu", unit_rows(1, rng)[0]))
    assert ({*people.phrase[numbers_of(both, people)].tolist()} == {"okay_nabu"}) == is_enough


@pytest.fixture
def left_out(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Float32, Float32]]]:
    """Sets what leaving one out says of the takes; whom it would have measured and trained against is returned."""
    calls: list[tuple[Float32, Float32]] = []

    def says(*own: float) -> list[tuple[Float32, Float32]]:
        def leave_one_out(
            _trainer: Any, _takes: Any, measure: Voices, learn: Voices, _plan: TrainPlan, _share: float
        ) -> dict[str, calibrate.Trial]:
            calls.append((measure.embeddings, learn.embeddings))
            scores = np.array(own, np.float32)
            return {COSINE: calibrate.Trial(scores, scores, np.zeros((len(own), 3), np.float32))} if own else {}

        monkeypatch.setattr(calibrate, "leave_one_out", leave_one_out)
        return calls

    return says


def bare(count: int, rng: np.random.Generator) -> list[TakeEmbeddings]:
    """Takes without variations."""
    return [TakeEmbeddings(row, np.zeros((0, 192), np.float32)) for row in unit_rows(count, rng)]


def test_an_enrolment_measures_and_trains_against_different_people(
    enroller: Enroller, left_out: Callable[..., list[tuple[Float32, Float32]]], rng: np.random.Generator
) -> None:
    calls = left_out()
    takes = bare(3, rng)
    made = enroller.enrol_takes("anna", takes, None, Options())
    to_train, to_measure = enroller.cohorts("any-phrase", calibrate.centroid(takes))
    ((measured, trained),) = calls
    np.testing.assert_array_equal(measured, to_measure)
    np.testing.assert_array_equal(trained, to_train)
    assert made.voiceprint.report["impostors"] == len(to_measure)


def test_of_many_others_those_train_who_resemble_the_person_most(
    enroller: Enroller, left_out: Callable[..., list[tuple[Float32, Float32]]], rng: np.random.Generator
) -> None:
    """64 of 70; half of the head's 128 rows are left to the shipped cohort."""
    calls = left_out()
    takes, at_home = bare(3, rng), unit_rows(70, rng)
    mean = calibrate.centroid(takes)
    enroller.enrol_takes("anna", takes, None, Options(), others=Others(7, 0, at_home))
    ((measured, trained),) = calls
    to_train, to_measure = enroller.cohorts("any-phrase", mean)
    np.testing.assert_allclose(trained[:64] @ mean, sorted(at_home @ mean, reverse=True)[:64], atol=1e-6)
    np.testing.assert_array_equal(trained[64:], to_train[:64])
    np.testing.assert_array_equal(measured, to_measure)


# --- takes that disagree


@pytest.mark.parametrize(
    ("own", "is_refused"),
    [
        ((0.9, 0.9, 0.1, 0.1), False),
        ((0.9, 0.1, 0.1, 0.1), True),
        ((0.9, 0.9, 0.1, 0.1, 0.1), True),
        ((0.1, 0.1, 0.1), False),  # of three the score of one left out says too little
    ],
)
def test_an_enrolment_that_would_reject_most_of_its_takes_is_refused(
    own: tuple[float, ...],
    is_refused: bool,
    enroller: Enroller,
    left_out: Callable[..., list[tuple[Float32, Float32]]],
    rng: np.random.Generator,
) -> None:
    left_out(*own)
    takes = bare(len(own), rng)
    if is_refused:
        with pytest.raises(EnrolmentRefused, match=f"3 of {len(own)} takes do not sound like the others"):
            enroller.enrol_takes("anna", takes, None, Options())
    kept = enroller.enrol_takes("anna", takes, None, Options(refuse_disagreeing=is_refused is False))
    rejected = kept.voiceprint.report["expected_frr"]
    assert (rejected["rejected"], rejected["of"]) == (own.count(0.1), len(own))


def test_a_take_that_scores_the_threshold_is_accepted(
    enroller: Enroller, left_out: Callable[..., list[tuple[Float32, Float32]]], rng: np.random.Generator
) -> None:
    limit = float(np.float32(calibrate.threshold(COSINE, 2, 0.01, False)))
    left_out(limit, limit - 1e-3)
    report = enroller.enrol_takes("anna", bare(2, rng), None, Options()).voiceprint.report
    assert report["expected_frr"]["rejected"] == report["achieved"][COSINE]["frr"]["rejected"] == 1


# --- variations


@pytest.fixture
def one_take(takes: Takes, speaker: SpeakerNetwork) -> AcceptedTake:
    crop = np.pad(read_audio(takes("slt", "okay_nabu", "enroll")[0]), 800)
    return AcceptedTake(Take("one.wav", Analysis(crop), None), speaker.embed(crop), 40.0)


def test_every_variation_of_every_take_is_another_one(enroller: Enroller, one_take: AcceptedTake) -> None:
    """The same crop as the first and as the second take: six variations each, all twelve different."""
    first, second = (enroller.vary(one_take, number, 5, None, Options()).copies for number in (0, 1))
    assert first.shape == second.shape == (6, 192)
    alike = np.concatenate([first, second]) @ np.concatenate([first, second]).T
    assert np.all(alike[~np.eye(12, dtype=bool)] < 0.9999)


def test_variations_repeat_with_the_seed_and_change_with_it(enroller: Enroller, one_take: AcceptedTake) -> None:
    once, again, other = (enroller.vary(one_take, 1, 5, None, Options(seed=seed)).copies for seed in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert np.all(np.sum(once * other, axis=1) < 0.9999)


@pytest.mark.parametrize(("of", "copies"), [(1, 6), (11, 6), (12, 5), (20, 3), (40, 1), (41, 0), (80, 0)])
def test_of_many_takes_fewer_variations_are_made(
    of: int, copies: int, enroller: Enroller, one_take: AcceptedTake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head has 80 rows: for the takes themselves, and for six variations of each where there is room."""
    monkeypatch.setattr("earmark.enroll.takes.varied.augmented", lambda take, _rng: take.samples)
    assert len(enroller.vary(one_take, 0, of, None, Options()).copies) == copies


def test_a_variation_in_which_nothing_is_left_is_the_take_itself(
    enroller: Enroller, one_take: AcceptedTake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_take: Analysis, _rng: np.random.Generator) -> Int16:
        raise AudioError("nothing said")

    monkeypatch.setattr("earmark.enroll.takes.varied.augmented", nothing)
    varied = enroller.vary(one_take, 0, 5, None, Options())
    np.testing.assert_array_equal(varied.copies, np.tile(one_take.embedding, (6, 1)))
    assert varied.heard == ()


# --- what the report says


def test_the_report_has_the_median_snr_of_the_takes(
    enroller: Enroller, takes: Takes, rng: np.random.Generator
) -> None:
    """Noisy takes give their figure, clean ones a larger one; later tries are compared with it."""
    files = takes("slt", "okay_nabu", "enroll")[:3]
    clean = [np.pad(read_audio(path), 8000) for path in files]
    noisy = [in_noise(samples, wanted_db, rng) for samples, wanted_db in zip(clean, (12.0, 16.0, 40.0))]
    quick = replace(as_they_are(), plan=TrainPlan(steps=1, copies=0))
    found = []
    for recordings in (noisy, clean):
        named = [Recording(f"{number}.wav", samples) for number, samples in enumerate(recordings)]
        found.append(enroller.enrol("slt", named, None, quick).voiceprint.report["takes_snr_db"])
    each = sorted(Analysis(samples).snr_db for samples in noisy)
    assert each[0] + 2 < each[1] < np.mean(each) - 2 < each[2] - 4
    assert found[0] == pytest.approx(each[1], abs=0.5)
    assert found[0] == pytest.approx(16, abs=4)
    assert found[1] > 30
    untold = enroller.enrol_takes("slt", bare(3, rng), None, Options(refuse_disagreeing=False))
    assert "takes_snr_db" not in untold.voiceprint.report, "nobody knows"


# --- a household


@pytest.fixture(scope="session", params=mine(["okay_nabu", "alexa"]))
def household(request: pytest.FixtureRequest, enrolled: Enrolled) -> list[Voiceprint]:
    return [enrolled(voice, request.param).voiceprint for voice in VOICES]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_trained_head_is_kept_for_these_voices(household: list[Voiceprint]) -> None:
    """They are clean and distinct: here training must help, and the weights must have moved."""
    assert {person.kind for person in household} == {TRAINED}
    for person in household:
        margins = {kind: trial["margin"] for kind, trial in person.report["leave_one_out"].items()}
        assert margins[TRAINED] > margins[COSINE]


class Losses(Watcher):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.losses: list[TrainLoss] = []
        self.stages: list[tuple[str, int, int]] = []

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append((name, done, total))

    def step(self, number: int, loss: TrainLoss) -> None:
        self.losses.append(loss)
        assert number == len(self.losses)


@pytest.mark.slow
def test_the_loss_falls_and_who_watches_is_told(enroller: Enroller, takes: Takes) -> None:
    watcher = Losses()
    recordings = [Recording(str(path), read_audio(path)) for path in takes("slt", "alexa", "enroll")]
    network = KeywordNetwork(load_manifest("alexa"))
    enroller.enrol("slt", recordings, network, Options(), watcher=watcher)
    assert len(watcher.losses) == TrainPlan().steps
    assert watcher.losses[-1].total < watcher.losses[0].total / 2
    of = len(recordings)
    assert watcher.stages == [(name, done + 1, of) for name in ("listening", "varying") for done in range(of)]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_and_another_seed_others(
    enroller: Enroller, enrolled: Enrolled, takes: Takes, tmp_path: Path
) -> None:
    recordings = [Recording(path.name, read_audio(path)) for path in takes("awb", "alexa", "enroll")]
    network = KeywordNetwork(load_manifest("alexa"))
    found = [enrolled("awb", "alexa")]  # of seed 0
    found += [enroller.enrol("awb", recordings, network, Options(seed=seed)) for seed in (0, 1)]
    saved = [each.save(tmp_path / str(number)) for number, each in enumerate(found)]
    contents = [{path.name: path.read_bytes() for path in version.iterdir()} for version in saved]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.mark.slow
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


@pytest.mark.slow
def test_takes_left_out_are_scored_with_their_variations(household: list[Voiceprint], enroller: Enroller) -> None:
    person = household[0]
    takes = [TakeEmbeddings(*pair) for pair in zip(person.takes, person.copies)]
    to_train, to_measure = enroller.cohorts(person.keyword, person.centroid)
    trainer, measure, learn = HeadTrainer(enroller.head), Voices(to_measure), Voices(to_train)
    trial = calibrate.leave_one_out(trainer, takes, measure, learn, TrainPlan())[COSINE]
    for number, take in enumerate(takes):
        mean = calibrate.centroid([other for other in takes if other is not take])
        assert trial.own[number] == pytest.approx(take.clean @ mean, abs=1e-5)
        assert trial.varied[number] == pytest.approx((take.copies @ mean).mean(), abs=1e-5)
    assert trial.others.shape == (len(takes), len(to_measure))
    bare = [TakeEmbeddings(take.clean, take.copies[:0]) for take in takes]
    trial = calibrate.leave_one_out(trainer, bare, measure, learn, TrainPlan())[COSINE]
    np.testing.assert_array_equal(trial.varied, trial.own)


@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("kind", [COSINE, TRAINED])
def test_the_threshold_rises_with_the_takes_and_a_smaller_far(kind: str, elsewhere: bool) -> None:
    base = calibrate.threshold(kind, 5, 0.01, elsewhere)
    assert calibrate.threshold(kind, 1, 0.01, elsewhere) < calibrate.threshold(kind, 2, 0.01, elsewhere) < base
    assert calibrate.threshold(kind, 5, 0.001, elsewhere) > base > calibrate.threshold(kind, 5, 0.1, elsewhere)
    assert calibrate.threshold(kind, 5, 1e-30, elsewhere) == 1, "no score is higher"


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


@pytest.mark.slow
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

"""Prototypes by condition, from the enrolment to what keeps, makes anew and judges them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Takes
from helpers_learning import facts

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, BundleError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import ANYWHERE, CONDITIONS, PLAIN, open_to
from earmark.engine.networks.speaker import SpeakerNetwork, Utterance
from earmark.engine.people import codec
from earmark.engine.people.meaning import check
from earmark.engine.people.store import ANY_PHRASE, TRAINED, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Addition, Learner
from earmark.enroll.options import as_they_are
from earmark.enroll.takes.hearing import AcceptedTake
from earmark.enroll.takes.quality import Take
from earmark.enroll.training import calibrate, elsewhere, strangers, telephone
from earmark.enroll.training.train import TrainPlan

NOBODY = HomeImpostors.nobody(192)


def test_an_enrolment_makes_a_prototype_of_each_condition(slt: Voiceprint) -> None:
    assert slt.elsewhere.shape == (5, len(CONDITIONS), 192)
    assert slt.offsets.shape == (1 + len(CONDITIONS),)
    alike = slt.prototypes @ slt.prototypes.T
    assert np.all(alike[~np.eye(len(alike), dtype=bool)] < 0.999), "each is another one"
    assert np.all(alike > 0.3), "and all are of one voice"


def test_a_try_by_telephone_is_nearer_to_takes_by_telephone(
    slt: Voiceprint, enroller: Enroller, takes: Takes
) -> None:
    gsm = slt.prototypes[1 + CONDITIONS.index("gsm")]
    for path in takes("slt", "okay_nabu", "test")[:3]:
        heard = enroller.speaker.hear(to_int16(telephone.line(to_float(read_audio(path)), "gsm")))
        assert open_to(heard)[1 + CONDITIONS.index("gsm")]
        assert float(heard.embedding @ gsm) > float(heard.embedding @ slt.centroid)


def test_what_is_made_anew_from_embeddings_keeps_them(slt: Voiceprint, enroller: Enroller) -> None:
    made = enroller.remake("slt", slt.takes, slt.keyword, slt.binding.keyword, None, slt.copies, slt.elsewhere)
    np.testing.assert_array_equal(made.elsewhere, slt.elsewhere)
    np.testing.assert_allclose(made.offsets, slt.offsets, atol=2e-3)
    assert made.threshold == slt.threshold
    bare = enroller.remake("slt", slt.takes, slt.keyword, slt.binding.keyword, None, slt.copies)
    assert bare.elsewhere.size == bare.offsets.size == 0
    assert bare.threshold == calibrate.threshold(TRAINED, 5, 0.01, False)


def test_learning_keeps_them_and_measures_the_offsets_anew(slt: Voiceprint, enroller: Enroller) -> None:
    changed = replace(slt, offsets=slt.offsets + np.float32(0.3))
    made = Learner(enroller).with_takes(changed, [], NOBODY)
    np.testing.assert_array_equal(made.elsewhere, slt.elsewhere)
    np.testing.assert_allclose(made.offsets, slt.offsets, atol=2e-3)


@pytest.fixture(scope="module")
def caller(enroller: Enroller, takes: Takes) -> Voiceprint:
    """slt, enrolled by telephone."""
    lined = [to_int16(telephone.line(to_float(read_audio(path)))) for path in takes("slt", "okay_nabu", "enroll")]
    recordings = [Recording(f"{number}.wav", samples) for number, samples in enumerate(lined)]
    return enroller.enrol("slt", recordings, None, replace(as_they_are(), plan=TrainPlan(copies=2))).voiceprint


def test_who_is_enrolled_by_telephone_is_known_at_the_microphone_and_by_telephone(
    caller: Voiceprint, enroller: Enroller, takes: Takes
) -> None:
    assert caller.by_telephone
    verifier = Verifier([caller], enroller.speaker, enroller.head)
    for voice, person in (("slt", "slt"), ("rms", None)):
        crop = read_audio(takes(voice, "okay_nabu", "test")[0])
        for heard in (crop, to_int16(telephone.line(to_float(crop)))):
            assert verifier.verify(heard, "any").person == person


def test_takes_by_telephone_count_less_and_those_by_gsm_still_less(caller: Voiceprint, slt: Voiceprint) -> None:
    """Strangers who call are nearer to them; takes that GSM does not change any more came by it."""
    assert caller.offsets[0] == np.float32(calibrate.TAKES_BY_LINE)
    as_coded = np.repeat(caller.centroid[None, None], len(CONDITIONS), axis=1)
    high_db = caller.report["takes_high_db"]
    assert calibrate.offsets_by_telephone(caller.centroid, as_coded, high_db)[0] == np.float32(calibrate.TAKES_BY_GSM)
    assert not len(calibrate.offsets_by_telephone(slt.centroid, slt.elsewhere, slt.report["takes_high_db"]))
    assert not len(calibrate.offsets_by_telephone(slt.centroid, slt.elsewhere, None))


def test_what_is_made_anew_or_learns_of_takes_by_telephone_stays_so(caller: Voiceprint, enroller: Enroller) -> None:
    report = caller.report["takes_high_db"]
    made = enroller.remake("slt", caller.takes, ANY_PHRASE, "", None, caller.copies, caller.elsewhere, report)
    for each in (made, Learner(enroller).with_takes(caller, [], NOBODY), codec.decode(codec.encode(caller))):
        assert each.by_telephone
        np.testing.assert_array_equal(each.offsets, caller.offsets)
    before = replace(caller, report={key: one for key, one in caller.report.items() if key != "takes_high_db"})
    assert not before.by_telephone, "who was enrolled before is heard as then"


def test_the_network_is_asked_twice_only_where_somebody_is_known_by_telephone_alone(
    caller: Voiceprint, slt: Voiceprint, enroller: Enroller, takes: Takes, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    hear = enroller.speaker.hear

    def counted(crop: Int16) -> Utterance:
        heard.append(len(crop))
        return hear(crop)

    monkeypatch.setattr(enroller.speaker, "hear", counted)
    crop = read_audio(takes("slt", "okay_nabu", "test")[0])
    line = to_int16(telephone.line(to_float(crop)))
    for people, samples, times in (([slt], crop, 1), ([slt, caller], crop, 2), ([caller], line, 1)):
        heard.clear()
        word = "okay_nabu" if slt in people else "any"
        Verifier(people, enroller.speaker, enroller.head).verify(samples, word)
        assert len(heard) == times


def by_telephone(enroller: Enroller, path: Path) -> Float32:
    return enroller.speaker.embed(to_int16(telephone.line(to_float(read_audio(path)), "gsm")))


def test_what_is_learned_by_telephone_moves_the_prototype_of_the_telephone(
    slt: Voiceprint, enroller: Enroller, takes: Takes
) -> None:
    learner, asked = Learner(enroller), Verifier([], enroller.speaker, enroller.head)
    first, second = (by_telephone(enroller, path) for path in takes("slt", "okay_nabu", "test")[:2])
    outcome = learner.learn(slt, [Addition(first, {**facts(1), "label": None})], NOBODY, [])
    assert outcome.voiceprint is not None
    condition = outcome.voiceprint.learned[0]["condition"]
    assert condition in ("line", "gsm", "noisy line")
    moved = np.flatnonzero(np.abs(outcome.voiceprint.prototypes - slt.prototypes).max(axis=1) > 1e-6)
    assert moved.tolist() == [1 + CONDITIONS.index(condition)]
    assert asked.score(outcome.voiceprint, second[None], ANYWHERE) > asked.score(slt, second[None], ANYWHERE)
    check(codec.decode(codec.encode(outcome.voiceprint)))


def test_another_voice_by_telephone_is_not_learned_whoever_says_so(
    slt: Voiceprint, enroller: Enroller, takes: Takes
) -> None:
    other = by_telephone(enroller, takes("rms", "okay_nabu", "test")[0])
    for label in (None, "slt"):
        outcome = Learner(enroller).learn(slt, [Addition(other, {**facts(1), "label": label})], NOBODY, [])
        assert outcome.voiceprint is None


def test_what_was_learned_in_a_condition_weighs_no_more_than_the_takes(slt: Voiceprint) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 192)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    learned = tuple({**facts(number), "condition": "gsm"} for number in range(20))
    full = replace(slt, takes=np.concatenate([slt.takes, rows]), learned=learned)
    mean = calibrate.unit_mean(np.array([slt.elsewhere[:, CONDITIONS.index("gsm")].mean(axis=0), rows.mean(axis=0)]))
    np.testing.assert_allclose(full.prototypes[1 + CONDITIONS.index("gsm")], mean, atol=1e-6)


def test_a_prototype_that_is_everybodys_is_refused_by_an_import(slt: Voiceprint, enroller: Enroller) -> None:
    """Forged: in one condition, which no clean try shows, it is the mean of all strangers."""
    at = CONDITIONS.index("gsm")
    rows, offsets = slt.elsewhere.copy(), slt.offsets.copy()
    rows[:, at] = calibrate.unit_mean(enroller.cohort.embeddings)
    offsets[1 + at] = -0.5
    forged = replace(slt, elsewhere=rows, offsets=offsets)
    asked = Verifier([], enroller.speaker, enroller.head)
    assert np.mean(asked.margin(forged, enroller.cohort.embeddings, PLAIN) >= 0) <= strangers.MOST_SHARE
    with pytest.raises(BundleError, match="it is no one person's voice"):
        strangers.require_few(forged, enroller)


def test_a_take_in_which_nothing_is_left_counts_as_it_is(
    enroller: Enroller, takes: Takes, monkeypatch: pytest.MonkeyPatch, speaker: SpeakerNetwork
) -> None:
    crop = np.pad(read_audio(takes("slt", "okay_nabu", "enroll")[0]), 800)
    heard = AcceptedTake(Take("one.wav", Analysis(crop), None), speaker.embed(crop), 40.0)

    def nothing(_take: Analysis, _condition: str, _rng: np.random.Generator) -> Int16:
        raise AudioError("nothing said")

    monkeypatch.setattr(elsewhere, "through", nothing)
    varied = enroller.vary(heard, 0, 5, None, Options(plan=TrainPlan(copies=0)))
    as_kept = heard.embedding.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(varied.elsewhere, np.tile(as_kept, (len(CONDITIONS), 1)))

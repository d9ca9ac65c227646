"""Prototypes by condition, from the enrolment to what keeps, makes anew and judges them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import Takes
from helpers_learning import facts

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, BundleError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import ANYWHERE, CONDITIONS, PLAIN, open_to
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people import codec
from earmark.engine.people.meaning import check
from earmark.engine.people.store import TRAINED, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Addition, Learner
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


def by_telephone(enroller: Enroller, path: str) -> Float32:
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

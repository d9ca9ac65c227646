"""Prototypes by condition, from the enrolment to what keeps, makes anew and judges them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import Takes

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16, to_float, to_int16
from earmark.engine.errors import AudioError, BundleError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import CONDITIONS, PLAIN, open_to
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import TRAINED, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Learner
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

"""A voice that the keyword network hears, and not surely: what it is told, and that it can be enrolled."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import soxr
from conftest import MakeNetwork, Read, Takes
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.audio.samples import Int16
from earmark.engine.detector import Detector
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.policy import Policy, sensitivity_for
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options, Recording
from earmark.enroll.takes import quality
from earmark.enroll.takes.quality import Context, Fault, Take
from earmark.enroll.takes.rules import Limits

HIGHER = 1.3  # times: a child's pitch


@pytest.fixture(scope="module")
def network(make_network: MakeNetwork) -> KeywordNetwork:
    return make_network("okay_nabu")


def higher(samples: Int16) -> Int16:
    resampled: Int16 = np.rint(soxr.resample(samples.astype(np.float32), HIGHER, 1)).astype(np.int16)
    return resampled


@given(score=st.floats(0.01, 0.99), published=st.floats(0.5, 0.99))
def test_the_sensitivity_for_a_score_is_the_least_that_passes(score: float, published: float) -> None:
    needed = sensitivity_for(score, published)
    if needed is None:
        assert score <= Policy(sensitivity=1.0).cutoff("word", published) * (1 + 1e-9)
        return
    assert Policy(sensitivity=max(0.0, needed)).cutoff("word", published) < score * (1 + 1e-9)
    less = needed - 0.05
    if less >= 0 and not math.isclose(less, 0.5):
        assert Policy(sensitivity=less).cutoff("word", published) >= score * (1 - 1e-9)


def test_a_high_voice_is_told_what_to_do_and_that_helps(takes: Takes, read: Read, network: KeywordNetwork) -> None:
    samples = higher(read(takes("slt", "okay_nabu", "enroll")[0]))
    fault = quality.only_take(samples, "take", network)
    assert isinstance(fault, Fault)
    assert fault.reason == "keyword_not_heard"
    told = re.fullmatch(
        r"okay_nabu scored 0.7\d at best, it fires above 0.85; that is nearly heard: come closer, or enrol with "
        r"--sensitivity (0.7\d?), which hears this voice",
        fault.detail,
    )
    assert told is not None
    found = quality.only_take(samples, "take", network, Context(Limits(sensitivity=float(told[1]))))
    assert isinstance(found, Take)


def test_another_word_is_not_told_to_be_more_sensitive(takes: Takes, read: Read, network: KeywordNetwork) -> None:
    fault = quality.only_take(read(takes("slt", "alexa", "enroll")[0]), "take", network)
    assert isinstance(fault, Fault)
    assert fault.reason == "keyword_not_heard"
    assert "sensitivity" not in fault.detail


@pytest.mark.slow
def test_a_high_voice_enrols_and_is_heard_by_name_without_any_other_setting(
    takes: Takes, read: Read, network: KeywordNetwork, enroller: Enroller
) -> None:
    recordings = [Recording(path.name, higher(read(path))) for path in takes("slt", "okay_nabu", "enroll")]
    person = enroller.enrol(
        "mia", recordings, network, Options(limits=Limits(sensitivity=1.0), min_takes=3)
    ).voiceprint
    assert person.loose_share is not None
    assert person.loose_share < 0.7
    detector = Detector([network], Verifier([person], enroller.speaker, enroller.head), "only")
    for path in takes("slt", "okay_nabu", "test")[:2]:
        events = list(detector.run(np.pad(higher(read(path)), 16_000)))
        assert [event.person for event in events] == ["mia"]

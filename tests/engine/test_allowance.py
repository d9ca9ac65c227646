"""A try that is noisier than the takes: how noisy it is, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Read
from noisy import in_noise

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import Voiceprint
from earmark.engine.verifier import ALLOWANCE_PER_DB, CLEAN_DB, Verifier, allowance
from earmark.enroll.enrolment import Enroller, Options, Recording

Takes = Callable[[str, str, str], "list[Path]"]


@pytest.fixture(scope="module")
def person(enroller: Enroller, takes: Takes) -> Voiceprint:
    """As of before there were prototypes by condition."""
    recordings = [Recording.read(str(path)) for path in takes("slt", "okay_nabu", "enroll")]
    made = enroller.enrol("slt", recordings, None, Options()).voiceprint
    rest = {name: getattr(made, name)[:0] for name in ("elsewhere", "offsets")}
    return replace(made, **rest)


def test_the_snr_is_heard_from_the_crop_alone(audio_dir: Path, read: Read, rng: np.random.Generator) -> None:
    words = [np.pad(read(path), RATE_HZ // 4) for path in sorted(audio_dir.glob("*_test_1.flac"))]
    for wanted_db in (0.0, 10.0, 20.0):
        found = [Analysis(in_noise(word, wanted_db, rng)).snr_db for word in words]
        assert wanted_db - 3 <= np.median(found) <= wanted_db + 6  # the noise is guessed from what is quiet
    assert np.median([Analysis(word).snr_db for word in words]) > 30


def test_the_network_hears_the_same_snr(speaker: SpeakerNetwork, audio_dir: Path, read: Read) -> None:
    word = read(audio_dir / "slt_alexa_test_1.flac")
    assert speaker.hear(word).snr_db == pytest.approx(Analysis(word).snr_db, abs=1e-6)


def test_only_what_is_noisier_than_the_takes_is_allowed_for(person: Voiceprint) -> None:
    assert person.report["takes_snr_db"] > CLEAN_DB
    assert allowance(person, CLEAN_DB) == allowance(person, 60.0) == 0
    assert allowance(person, 10.0) == pytest.approx(10 * ALLOWANCE_PER_DB)
    assert allowance(person, -20.0) == allowance(person, 0.0) == pytest.approx(CLEAN_DB * ALLOWANCE_PER_DB)
    noisy = replace(person, report={**person.report, "takes_snr_db": 12.0})
    assert allowance(noisy, 12.0) == 0
    assert allowance(noisy, 10.0) == pytest.approx(2 * ALLOWANCE_PER_DB)
    for report in ({}, {"takes_snr_db": None}, {"takes_snr_db": "quiet"}):
        assert allowance(replace(person, report=report), 0.0) == 0


def test_a_decision_counts_the_allowance(
    person: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead, takes: Takes, rng: np.random.Generator
) -> None:
    crop = in_noise(Recording.read(str(takes("slt", "okay_nabu", "test")[0])).samples, 8.0, rng)
    heard = speaker.hear(crop)
    score = float(Verifier([], speaker, head).score(person, heard.embedding[None])[0])
    assert allowance(person, heard.snr_db) > 0.02
    between = replace(person, threshold=score + allowance(person, heard.snr_db) / 2)
    verdict = Verifier([between], speaker, head).verify(crop, "okay_nabu")
    assert verdict.person == "slt"
    assert verdict.score == pytest.approx(score + allowance(person, heard.snr_db), abs=1e-6)
    quiet_takes_unknown = replace(between, report={})
    assert Verifier([quiet_takes_unknown], speaker, head).verify(crop, "okay_nabu").person is None

"""What a try is compared with, by what is measured of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Read
from noisy import in_noise

from earmark.engine.audio.samples import Int16, to_float, to_int16
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import ANYWHERE, CONDITIONS, HANDICAPS, PLAIN, handicaps, open_to
from earmark.engine.networks.speaker import Utterance
from earmark.enroll.training import telephone

VOICE = np.array([1, 0], np.float32)


def opened(snr_db: float = 60.0, high_db: float = -20.0, clipped_share: float = 0.0) -> set[str]:
    found = open_to(Utterance(VOICE, snr_db, high_db, clipped_share))
    assert found[0], "the takes as they are, always"
    return {name for name, is_open in zip(CONDITIONS, found[1:]) if is_open}


@pytest.mark.parametrize(
    ("shows", "heard", "names"),
    [
        ("a clean try: reverberation is not measured", {}, {"far"}),
        ("in noise", {"snr_db": 10.0}, {"far", "noise"}),
        ("by telephone", {"high_db": -70.0}, {"far", "line", "gsm"}),
        ("by telephone, in noise", {"snr_db": 10.0, "high_db": -70.0}, {"far", "noise", "line", "gsm", "noisy line"}),
        ("too loud", {"clipped_share": 0.05}, {"far", "clipped"}),
        ("at the limits, still clean", {"snr_db": 22.0, "high_db": -45.0, "clipped_share": 0.01}, {"far"}),
    ],
)
def test_a_prototype_is_asked_where_the_try_shows_the_sign_of_its_condition(
    shows: str, heard: dict[str, float], names: set[str]
) -> None:
    assert opened(**heard) == names, shows


def test_plain_is_a_clean_try_and_anywhere_is_everything() -> None:
    np.testing.assert_array_equal(PLAIN, open_to(Utterance(VOICE, 60.0)))
    assert ANYWHERE.all()
    assert len(PLAIN) == len(ANYWHERE) == 1 + len(CONDITIONS)


def test_every_condition_has_a_handicap_and_the_takes_themselves_have_none() -> None:
    assert set(HANDICAPS) == set(CONDITIONS)
    assert handicaps()[0] == 0
    assert np.all(np.abs(handicaps()) <= 0.1), "a tenth of a score is more than any condition is worth"


def heard_as(samples: Int16) -> Utterance:
    found = Analysis(samples)
    return Utterance(VOICE, found.snr_db, found.high_db, found.clipped_share)


def test_the_signs_are_heard_in_recordings(audio_dir: Path, read: Read, rng: np.random.Generator) -> None:
    for path in sorted(audio_dir.glob("*_okay_nabu_test_1.flac")):
        clean = read(path)
        wide = heard_as(clean)
        line = heard_as(to_int16(telephone.line(to_float(clean))))
        loud = heard_as(to_int16(telephone.clipped(to_float(clean), 12.0)))
        noisy = heard_as(in_noise(clean, 5.0, rng))
        assert line.high_db < -45 < wide.high_db, path.name
        assert wide.clipped_share < 0.01 < loud.clipped_share, path.name
        assert noisy.snr_db < 22, path.name

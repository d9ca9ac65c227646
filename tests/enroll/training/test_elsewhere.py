"""Takes from elsewhere: each condition is another one, repeats with its chance, and makes a prototype that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Read

from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.training import telephone
from earmark.enroll.training.elsewhere import through


@pytest.fixture
def take(audio_dir: Path, read: Read) -> Analysis:
    return Analysis(np.pad(read(audio_dir / "slt_okay_nabu_test_1.flac"), 1600))


def test_every_condition_is_another_one_and_as_long_as_the_take(take: Analysis) -> None:
    heard = {name: through(take, name, np.random.default_rng(1)) for name in CONDITIONS}
    for number, name in enumerate(CONDITIONS):
        assert heard[name].shape == take.samples.shape
        assert np.any(heard[name] != take.samples)
        for other in CONDITIONS[:number]:
            assert np.any(heard[name] != heard[other]), (name, other)


@pytest.mark.parametrize("name", CONDITIONS)
def test_it_repeats_with_the_same_chance(take: Analysis, name: str) -> None:
    first, second = (through(take, name, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["line", "gsm", "noisy line"])
def test_a_line_has_nothing_above_its_band_and_the_others_have(take: Analysis, name: str) -> None:
    assert Analysis(through(take, name, np.random.default_rng(1))).high_db < -45 < take.high_db


def test_a_try_by_telephone_is_nearer_to_the_take_by_telephone(
    take: Analysis, speaker: SpeakerNetwork, audio_dir: Path, read: Read
) -> None:
    other = np.pad(read(audio_dir / "slt_okay_nabu_test_2.flac"), 1600)
    heard = speaker.embed(through(Analysis(other), "gsm", np.random.default_rng(1)))
    plain, line = speaker.embed(take.samples), speaker.embed(through(take, "line", np.random.default_rng(1)))
    assert float(heard @ line) > float(heard @ plain)


def test_clipping_takes_off_the_peaks_alone() -> None:
    assert telephone.clipped(np.array([0.1, -0.5, 1.0], np.float32), 6.0).tolist() == pytest.approx(
        [0.1, -0.5, 10 ** (-6 / 20)]
    )

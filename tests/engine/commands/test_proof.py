"""`earmark doctor` proves the whole path on recordings of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

from earmark.engine.commands.diagnosis import proof
from earmark.engine.commands.diagnosis.proof import RECORDINGS, THRESHOLD, prove
from earmark.engine.errors import AudioError, ModelError
from earmark.engine.features.frontend import Frontend
from earmark.engine.networks.speaker import SpeakerNetwork

ORIGINALS = {
    "enrolled.flac": "rms_okay_nabu_test_2.flac",
    "same_voice.flac": "rms_okay_nabu_enroll_1.flac",
    "other_voice.flac": "awb_okay_nabu_test_2.flac",
}


def test_the_recordings_are_those_of_the_tests_and_carry_their_licence() -> None:
    assert {path.name for path in RECORDINGS.iterdir()} == {*ORIGINALS, "LICENSE.txt"}
    for name, original in ORIGINALS.items():
        assert (RECORDINGS / name).read_bytes() == (REPOSITORY / "tests" / "audio" / original).read_bytes()
    assert sum(path.stat().st_size for path in RECORDINGS.iterdir()) < 80_000
    assert "Carnegie Mellon University" in (RECORDINGS / "LICENSE.txt").read_text("utf-8")


def test_the_word_is_heard_and_one_voice_told_from_the_other() -> None:
    words = prove().replace(";", "").replace(",", "").split()
    probability, cutoff, same, other = (float(words[i]) for i in (5, 7, 12, -1))
    assert probability > cutoff == 0.85
    assert same > THRESHOLD + 0.15
    assert other < THRESHOLD - 0.15


def silent_frontend(monkeypatch: pytest.MonkeyPatch, _folder: Path) -> None:
    """As on a board whose features are all zero: everything runs, and the probability stays at 0.00."""
    push = Frontend.push
    monkeypatch.setattr(Frontend, "push", lambda self, samples: np.zeros_like(push(self, samples)))


def one_voice_for_all(monkeypatch: pytest.MonkeyPatch, _folder: Path) -> None:
    """A speaker network that gives the same embedding whatever it hears."""
    hear, always = SpeakerNetwork.hear, np.eye(192, dtype=np.float32)[0]
    monkeypatch.setattr(SpeakerNetwork, "hear", lambda self, crop: hear(self, crop)._replace(embedding=always))


def another_voice(_monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    shutil.copy(folder / "other_voice.flac", folder / "same_voice.flac")


def cut(_monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    content = (folder / "enrolled.flac").read_bytes()
    (folder / "enrolled.flac").write_bytes(content[: len(content) // 3])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (silent_frontend, "raises its probability to 0.0. only, and must over 0.85: install earmark again"),
        (one_voice_for_all, "by another voice gives detection known_voice"),
        (another_voice, "by the voice that was enrolled gives rejection unknown_voice"),
        (cut, "enrolled.flac"),
    ],
)
def test_a_chain_that_runs_and_hears_nothing_is_found(
    spoil: Callable[[pytest.MonkeyPatch, Path], None], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recordings"
    shutil.copytree(RECORDINGS, folder)
    monkeypatch.setattr(proof, "RECORDINGS", folder)
    spoil(monkeypatch, folder)
    with pytest.raises((ModelError, AudioError), match=says):
        prove()

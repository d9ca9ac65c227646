"""A published start: believed only where its signature holds, tried on the people here, and no code of anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import FleetError
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.people.store import Voiceprint
from earmark.enroll.enrolment import Enroller
from earmark.enroll.fleet import signed, starts, trial
from earmark.enroll.fleet.contribution import change

pytest.importorskip("cryptography")


@pytest.fixture(scope="module")
def built_in() -> Float32:
    found = SpeakerHead().start()
    assert found is not None
    return found[0]


@pytest.fixture
def published(tmp_path: Path, built_in: Float32) -> tuple[Path, str]:
    """A start that is a little different, and the key it is signed with."""
    private, public = signed.new_key()
    folder = tmp_path / "published"
    card = {"head_sha256": SpeakerHead().card.sha256, "round": 1}
    signed.publish(folder, built_in + np.float32(0.001), card, private)
    return folder, public


def test_what_is_published_is_read(published: tuple[Path, str], built_in: Float32) -> None:
    start = signed.read(*published)
    np.testing.assert_array_equal(start.numbers, built_in + np.float32(0.001))
    assert start.card["round"] == 1


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: flip(folder / signed.NUMBERS, 1000), "the numbers are not those of the card"),
        (lambda folder: flip(folder / signed.SIGNATURE, 5), "is not signed with the key"),
        (lambda folder: flip(folder / signed.CARD, 20), "is not signed with the key"),
        (lambda folder: (folder / signed.NUMBERS).write_bytes(b""), "the numbers are not those of the card"),
        (lambda folder: (folder / signed.SIGNATURE).write_bytes(b"short"), "is not signed with the key"),
        (lambda folder: (folder / signed.SIGNATURE).unlink(), "is no published start"),
        (lambda folder: (folder / signed.CARD).unlink(), "is no published start"),
        (lambda folder: (folder / signed.CARD).write_bytes(b" " * 70_000), "is no published start"),
    ],
)
def test_a_start_that_was_changed_is_refused(published: tuple[Path, str], spoil: Any, said: str) -> None:
    spoil(published[0])
    with pytest.raises(FleetError, match=said):
        signed.read(*published)


def test_another_key_and_what_is_no_key_are_refused(published: tuple[Path, str]) -> None:
    folder, _ = published
    with pytest.raises(FleetError, match="it is refused; ask whoever publishes it"):
        signed.read(folder, signed.new_key()[1])
    for text in ("", "ab", "zz" * 32):
        with pytest.raises(FleetError, match="must be 64 hexadecimal digits"):
            signed.read(folder, text)


@pytest.mark.parametrize("numbers", [np.full((192, 128), np.nan, np.float32), np.zeros(0, np.float32)])
def test_a_signed_start_that_is_none_is_refused(tmp_path: Path, numbers: Float32) -> None:
    private, public = signed.new_key()
    signed.publish(tmp_path / "bad", numbers, {"head_sha256": SpeakerHead().card.sha256}, private)
    with pytest.raises(FleetError):
        starts.make_models(signed.read(tmp_path / "bad", public), tmp_path / "fleet", MODELS_DIR)
    assert not (tmp_path / "fleet").exists()


def test_the_models_with_a_start_differ_in_its_numbers_alone(
    published: tuple[Path, str], tmp_path: Path, built_in: Float32
) -> None:
    start = signed.read(*published)
    made = starts.make_models(start, tmp_path / "fleet", MODELS_DIR)
    Enroller.load(made)
    found = SpeakerHead(made).start()
    assert found is not None
    np.testing.assert_array_equal(found[0], start.numbers)
    old, new = (MODELS_DIR / "head.tflite").read_bytes(), (made / "head.tflite").read_bytes()
    assert old.replace(built_in.tobytes(), start.numbers.tobytes()) == new
    assert json.loads((made / "start.json").read_text())["round"] == 1
    for name in ("speaker.tflite", "cohort.npz"):
        assert (made / name).read_bytes() == (MODELS_DIR / name).read_bytes()
    assert starts.make_models(start, tmp_path / "fleet", MODELS_DIR) == made


def test_a_start_of_another_head_is_refused(tmp_path: Path, built_in: Float32) -> None:
    private, public = signed.new_key()
    signed.publish(tmp_path / "other", built_in, {"head_sha256": "0" * 64}, private)
    with pytest.raises(FleetError, match="ask for one of this release"):
        starts.make_models(signed.read(tmp_path / "other", public), tmp_path / "fleet", MODELS_DIR)


def test_a_start_is_better_where_it_tells_the_people_here_better(
    tmp_path: Path, slt: Voiceprint, built_in: Float32, rng: np.random.Generator
) -> None:
    """One that was moved by this very person, and one that is noise."""
    moved = change(Enroller.load(), [slt], built_in)
    assert moved is not None
    private, public = signed.new_key()
    card = {"head_sha256": SpeakerHead().card.sha256}
    noise = rng.standard_normal(built_in.shape).astype(np.float32)
    better = {}
    for name, numbers in (("own", built_in + 3 * moved), ("noise", noise)):
        signed.publish(tmp_path / name, numbers, card, private)
        made = starts.make_models(signed.read(tmp_path / name, public), tmp_path / "fleet", MODELS_DIR)
        better[name] = starts.tried(MODELS_DIR, made, [slt]).is_better
    assert better == {"own": True, "noise": False}


def test_a_list_of_trials_tells_good_starts_from_bad_ones(
    tmp_path: Path, slt: Voiceprint, built_in: Float32, rng: np.random.Generator
) -> None:
    cohort = Enroller.load().cohort.embeddings
    tries = np.concatenate([slt.copies[:, 0], cohort[:50]])
    speaker = np.r_[np.zeros(len(slt.copies), int), np.full(50, -1)]
    np.savez(
        tmp_path / "list.npz",
        takes=slt.takes[None, :3],
        copies=slt.copies[None, :3, :2],
        tries=tries,
        speaker=speaker,
    )
    found = trial.read_list(tmp_path / "list.npz")
    good = trial.rates(Enroller.load(), built_in, found)
    bad = trial.rates(Enroller.load(), 10 * rng.standard_normal(built_in.shape).astype(np.float32), found)
    assert good["eer"] <= bad["eer"]
    assert 0 <= good["eer"] < 0.2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_what_is_no_list_of_trials_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.npz").write_bytes(content)
    with pytest.raises(FleetError, match="is no list of trials"):
        trial.read_list(tmp_path / "list.npz")

"""One person who cannot be used silences nobody: left out, said, counted, by every command; `people verify`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Takes
from helpers_store import KEY, forge, make_voiceprint, npz, opened, weak_keys

from earmark.cli import main
from earmark.engine.commands.doctor import FAILED, OK, _check_store, _try
from earmark.engine.errors import ModelError, PersonError
from earmark.engine.history import sealing
from earmark.engine.household import load_household
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import COSINE, PersonStore, Voiceprint
from earmark.engine.settings.schema import People, Settings
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller
from earmark.enroll.learning.update import Updater


@pytest.fixture
def store(slt: Voiceprint, tmp_path: Path) -> PersonStore:
    """slt, and bad: whole, of the networks in use, with embeddings of half their size."""
    store = PersonStore(tmp_path / "people")
    store.save(slt)
    place = store.save(replace(make_voiceprint("bad", kind=COSINE), binding=slt.binding))
    rows = np.eye(5, 96, dtype=np.float32)
    none = np.zeros(0, np.float32)
    arrays = {"takes": rows, "centroid": rows[0], "prototype": none, "bias": none}
    forge(place, arrays=npz(**arrays, projection=np.zeros((0, 0), np.float16)))
    return store


def test_a_household_knows_the_others(store: PersonStore, caplog: pytest.LogCaptureFixture) -> None:
    household = load_household(Settings(people=People(store=str(store.folder))))
    assert household.names == ["slt"]
    (fault,) = household.faults
    assert fault.startswith("'bad' (okay_nabu) cannot be of these networks: takes has (96,), they make (192,)")
    assert f"{fault} (the others are known)" in caplog.text


def test_a_recording_is_replayed_with_the_others(
    store: PersonStore, takes: Takes, capsys: pytest.CaptureFixture[str]
) -> None:
    take = str(takes("slt", "okay_nabu", "test")[0])
    assert main(["replay", take, "--store", str(store.folder), "--json"]) == 0
    event, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert (end["type"], end["error"]) == ("file", None)
    assert event["person"] == "slt"


def test_where_nobody_can_be_used_that_is_an_error(store: PersonStore, takes: Takes) -> None:
    store.remove("slt")
    take = str(takes("slt", "okay_nabu", "test")[0])
    assert main(["replay", take, "--store", str(store.folder)]) == PersonError.exit_code


def test_the_doctor_looks_at_everybody_and_counts(store: PersonStore) -> None:
    store.save(make_voiceprint("carl"))
    found = _try("person store", lambda: _check_store(store))
    assert found.state == FAILED
    assert found.detail.startswith("2 of 3 people cannot be used, and are left out: 'bad' (okay_nabu) cannot be of ")
    assert "'carl' (okay_nabu) was enrolled with another" in found.detail
    for name in ("bad", "carl"):
        store.remove(name)
    assert _try("person store", lambda: _check_store(store)).state == OK


def test_what_was_learned_is_listed_without_who_cannot_be_read(
    store: PersonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(store.folder / "bad" / "okay_nabu" / "0001", {"threshold": -1.0})
    assert main(["learn", "list", "--store", str(store.folder)]) == 0
    said = capsys.readouterr()
    assert "nothing was learned" in said.out
    assert "earmark: bad is left out: " in said.err
    assert "threshold=-1.0 must be above 0 and at most 1" in said.err


def test_the_others_learn(store: PersonStore, enroller: Enroller, caplog: pytest.LogCaptureFixture) -> None:
    assert [update.name for update in Updater(store, enroller).run(1.7e9, dry_run=True)] == ["slt"]
    assert "left out: 'bad' (okay_nabu) cannot be of these networks" in caplog.text


@pytest.mark.usefixtures("one_enroller")
def test_all_others_are_made_anew_and_the_exit_code_says_that_one_was_not(
    store: PersonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["people", "retrain", "--store", str(store.folder)]) == PersonError.exit_code
    said = capsys.readouterr().err
    assert "bad is left out: 'bad' (okay_nabu) cannot be of these networks" in said
    assert "1 could not be made anew" in said
    assert (store.versions("slt", "okay_nabu"), store.versions("bad", "okay_nabu")) == ([1, 2], [1])


def test_whose_numbers_give_no_score_is_left_out_of_the_wake_said_once_and_counted(
    slt: Voiceprint, speaker: SpeakerNetwork, takes: Takes, caplog: pytest.LogCaptureFixture
) -> None:
    """As a program of one's own may give them to a detector, past every check of a store."""
    nobody = replace(slt, name="nobody", centroid=np.full(192, np.nan, np.float32))
    short = replace(slt, name="short", centroid=slt.centroid[:96])
    from earmark.engine.audio.files import read_audio
    from earmark.engine.networks.card import load_manifest
    from earmark.engine.networks.keyword import KeywordNetwork
    from earmark.engine.spotting import find_wakes

    sound = read_audio(takes("slt", "okay_nabu", "test")[0])
    crop = find_wakes(sound, KeywordNetwork(load_manifest("okay_nabu"))).crops[0]
    verifier = Verifier([nobody, short, slt], speaker)
    for _ in range(2):
        assert verifier.verify(crop, "okay_nabu").person == "slt"
    assert verifier.unusable == {("nobody", "okay_nabu"): 2, ("short", "okay_nabu"): 2}
    assert caplog.text.count("nobody (okay_nabu) cannot be asked, and is left out: the score is nan") == 1
    with pytest.raises(ModelError, match="nobody who is enrolled for 'okay_nabu' can be asked"):
        Verifier([nobody], speaker).verify(crop, "okay_nabu")


# --- `people verify`


def verify(store: PersonStore, *more: str, key: bytes = KEY) -> int:
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("EARMARK_PASSPHRASE", key.decode())
        return main(["people", "verify", "--store", str(store.folder), *more])


def test_verify_says_what_is_whole(store: PersonStore, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cryptography")
    assert verify(store) == 0
    said = capsys.readouterr().out
    assert "2 versions of 2 people, 0 waiting: all whole; it is not encrypted, so nobody can say" in said
    with weak_keys():
        sealing.encrypt(store, KEY)
    assert verify(store, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["sealed"], facts["people"], facts["differences"]) == (True, 2, [])
    key = opened(store.folder).vault()
    assert key is not None
    assert facts["signs_with"] == key.sign(b"")[0]


def test_verify_says_what_is_not_and_takes_what_it_is_told_to(
    store: PersonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography")
    with weak_keys():
        sealing.encrypt(store, KEY)
    opened(store.folder).save(make_voiceprint("carl"))
    shutil.rmtree(store.folder / "bad")
    assert verify(store) == PersonError.exit_code
    said = capsys.readouterr()
    assert said.out == "bad/okay_nabu/0001: is gone\n"
    assert "1 things are not as they should be" in said.err
    assert verify(store, "--accept") == 0
    assert "2 versions of 2 people, 0 waiting: all whole, and as the key left them; change number" in (
        capsys.readouterr().out
    )

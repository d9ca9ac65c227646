"""A sealed store: nothing that its key has not written is believed, and what was taken away or put back is noticed.

tests/attacks_store.py has the kinds of attack, and test_attacks.py tries some of each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attacks_store import wake
from helpers_store import KEY, opened, person, snapshot, sound, weak_keys

from earmark.engine.errors import InputError, PersonError, StoreTampered, StoreUnwritable
from earmark.engine.history import erasure, sealing, verification, vouched
from earmark.engine.history.journal import Journal
from earmark.engine.history.queue import LearningQueue
from earmark.engine.history.verification import Difference
from earmark.engine.people import operations, seal, vault
from earmark.engine.people.index import INDEX_FILE, Index, Witness
from earmark.engine.people.store import PersonStore

pytest.importorskip("cryptography")


@pytest.fixture
def store(tmp_path: Path) -> PersonStore:
    """anna in two versions and bob, sealed, with something that waits."""
    plain = PersonStore(tmp_path / "people")
    plain.save(person("anna", 1), [sound(1)])
    with weak_keys():
        sealing.encrypt(plain, KEY)
    store = opened(plain.folder)
    store.save(person("anna", 2))
    store.save(person("bob", 3))
    LearningQueue(store).add(wake(1, "anna"))
    return store


def again(store: PersonStore) -> PersonStore:
    """As another process opens it."""
    return opened(store.folder)


def differences(store: PersonStore) -> list[Difference]:
    return verification.verify(again(store)).differences


def older(store: PersonStore) -> PersonStore:
    """An honest store as an earlier earmark left it: sealed, and without an index."""
    folder = store.folder
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(vault, "FORMAT", 1)
        changed.setattr(vault, "_context", vault._context)
        key = store.vault()
        assert key is not None
        with weak_keys():
            (folder / ".keyring.json").write_bytes(key.keyring(KEY))
    (folder / INDEX_FILE).unlink()
    Witness(folder).forget()
    return again(store)


def test_an_honest_store_is_as_its_key_left_it_after_every_kind_of_change(store: PersonStore) -> None:
    changes: list[Callable[[], object]] = [
        lambda: store.save(person("anna", 4)),
        lambda: store.rollback("anna", "okay_nabu"),
        lambda: operations.rename(store, "anna", "Ännchen"),
        lambda: operations.forget_recordings(store, "Ännchen"),
        lambda: store.remove("bob"),
        lambda: LearningQueue(store).add(wake(2, None)),
        lambda: LearningQueue(store).rename("anna", "Ännchen", []),
        lambda: LearningQueue(store).undo([wake(2, None).id]),
        lambda: LearningQueue(store).tidy(None),
        lambda: LearningQueue(store).forget(),
    ]
    counters: list[int] = []
    for change in changes:
        change()
        found = verification.verify(again(store))
        assert found.differences == []
        counters.append(found.counter or 0)
    assert counters == sorted(counters)
    assert counters[0] != counters[-1]


def test_six_versions_leave_five_and_nothing_is_missed(store: PersonStore) -> None:
    for seed in range(6):
        store.save(person("anna", seed))
    assert differences(store) == []
    assert store.versions("anna", "okay_nabu") == [4, 5, 6, 7, 8]


def test_what_a_change_is_about_to_do_and_what_was_are_both_believed(store: PersonStore) -> None:
    """A process may be killed between any two steps; kill9.py does it at every call."""
    with store.changing("nothing", "do nothing"), store.seal.changing(lambda _: {"anna/okay_nabu": {"0002": "ab"}}):
        assert again(store).load("anna", "okay_nabu").report["seed"] == 2
        assert differences(store) == []


def test_a_change_that_is_broken_off_is_settled_by_the_next_one(store: PersonStore) -> None:
    key = store.vault()
    index = store.seal.index()
    assert key is not None
    assert index is not None
    store.seal.write(key, Index(index.counter, index.folders, {"anna/okay_nabu": {"0002": None, "0003": "ab"}}))
    store.save(person("dora", 5))
    settled = again(store).seal.index()
    assert settled is not None
    assert settled.coming == {}
    assert sorted(settled.folders["anna/okay_nabu"]) == ["0001", "0002"]


def test_a_missing_keyring_blocks_writing_and_reading_and_is_said(store: PersonStore) -> None:
    (store.folder / ".keyring.json").unlink()
    before = snapshot(store.folder)
    for who in (again(store), PersonStore(store.folder)):
        for change in (
            lambda who=who: who.save(person("dora")),
            lambda who=who: operations.rename(who, "anna", "dora"),
            lambda who=who: LearningQueue(who).add(wake(3, "anna")),
            lambda who=who: who.load("anna", "okay_nabu"),
            lambda who=who: sealing.encrypt(who, KEY),
        ):
            with pytest.raises(StoreTampered, match=r"keyring\.json is missing, and .*: put it back from a backup"):
                change()
    assert snapshot(store.folder) == before
    assert PersonStore(store.folder).names() == ["anna", "bob"]


def test_a_missing_keyring_is_noticed_by_the_sealed_files_alone(store: PersonStore) -> None:
    (store.folder / ".keyring.json").unlink()
    Witness(store.folder).forget()
    for change in (lambda: store.save(person("dora")), lambda: store.load("anna", "okay_nabu")):
        with pytest.raises(StoreTampered, match=r"keyring\.json is missing, and there are sealed files"):
            change()


def test_erasing_needs_neither_key_nor_keyring_and_is_missed_until_it_is_accepted(store: PersonStore) -> None:
    vault._OPENED.clear()
    assert PersonStore(store.folder).remove("bob") == 1
    assert differences(store) == [Difference("bob/okay_nabu/0001", "is gone")]
    assert [str(fault) for fault in again(store).seal.missing()] == [
        f"{store.folder / 'bob' / 'okay_nabu'}: version 0001 is gone; {seal.WHAT_TO_DO}"
    ]
    assert again(store).load("anna", "okay_nabu").report["seed"] == 2
    assert verification.accept(again(store)).differences == []
    (store.folder / ".keyring.json").unlink()
    erased = erasure.erase(PersonStore(store.folder), None, "anna")
    assert (erased.versions, erased.waiting, erased.everybodys) == (2, 1, True)


def test_a_backup_that_is_put_back_is_noticed_and_then_accepted(store: PersonStore, tmp_path: Path) -> None:
    shutil.copytree(store.folder, tmp_path / "backup")
    store.save(person("anna", 9))
    store.remove("bob")
    shutil.rmtree(store.folder)
    shutil.copytree(tmp_path / "backup", store.folder)
    for use in (lambda: again(store).load("bob", "okay_nabu"), lambda: again(store).save(person("dora"))):
        with pytest.raises(StoreTampered, match="it is an older copy: its index has the counter"):
            use()
    assert verification.accept(again(store)).differences == []
    assert again(store).load("bob", "okay_nabu").report["seed"] == 3
    again(store).save(person("dora"))
    assert differences(store) == []


def test_what_is_accepted_is_newer_than_all_that_was_there(store: PersonStore) -> None:
    """Also where nothing is remembered outside: else an older index would be the newer one."""
    before = verification.verify(again(store)).counter
    Witness(store.folder).forget()
    after = verification.accept(again(store)).counter
    assert before is not None
    assert after is not None
    assert after > before


def test_what_is_not_sealed_is_not_accepted_either(store: PersonStore, tmp_path: Path) -> None:
    stranger = PersonStore(tmp_path / "stranger")
    stranger.save(person("mallory"))
    shutil.copytree(stranger.folder / "mallory", store.folder / "mallory")
    wanted = [Difference("mallory/okay_nabu/0001", "is not sealed")]
    assert [one for one in verification.accept(again(store)).differences if one.what != "is new"] == wanted
    with pytest.raises(StoreTampered):
        again(store).load("mallory", "okay_nabu")


def test_a_store_that_was_opened_with_its_key_need_not_be_sealed_any_more(store: PersonStore) -> None:
    sealing.decrypt(again(store))
    plain = PersonStore(store.folder)
    plain.save(person("dora"))
    assert verification.verify(plain).differences == []
    with weak_keys():
        sealing.encrypt(plain, b"another passphrase")
    found = verification.verify(PersonStore(store.folder, lambda: b"another passphrase"))
    assert (found.sealed, found.differences) == (True, [])


def test_who_forgets_that_a_store_was_sealed_must_say_so(store: PersonStore) -> None:
    """As somebody who has deleted the store, and begins anew."""
    shutil.rmtree(store.folder)
    plain = PersonStore(store.folder)
    with pytest.raises(StoreTampered, match="it was sealed when it was seen last"):
        plain.save(person("anna"))
    assert verification.accept(plain).differences == []
    plain.save(person("anna"))


def test_what_cannot_be_remembered_outside_is_said_once(
    store: PersonStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    store = again(store)
    for seed in (7, 8):
        store.save(person("anna", seed))
    assert [record.getMessage() for record in caplog.records if "outside it" in record.getMessage()] == [
        f"{store.folder}: how far it is cannot be kept outside it: File exists: an older copy is not noticed"
    ]


def test_a_damaged_memory_is_said(store: PersonStore) -> None:
    path = Witness(store.folder).path
    path.write_text('{"id": 7')
    with pytest.raises(PersonError, match=r"\.json: damaged: .*; `earmark people verify`"):
        again(store).load("anna", "okay_nabu")


# --- stores that an earlier earmark sealed


def test_an_older_sealed_store_opens_and_gets_its_index_at_the_first_change(store: PersonStore) -> None:
    before = older(store)
    assert before.load("anna", "okay_nabu").report["seed"] == 2
    assert LearningQueue(before).read() == [wake(1, "anna")]
    assert verification.verify(before).counter is None
    before.save(person("dora"))
    found = verification.verify(again(store))
    assert (found.counter is not None, found.differences) == (True, [])
    assert json.loads((store.folder / ".keyring.json").read_text())["format"] == 1
    (store.folder / INDEX_FILE).unlink()
    with pytest.raises(StoreTampered, match=r"index\.sealed: it is gone"):
        again(store).load("anna", "okay_nabu")


def test_in_an_older_sealed_store_nothing_plain_is_believed_either(store: PersonStore, tmp_path: Path) -> None:
    before = older(store)
    stranger = PersonStore(tmp_path / "stranger")
    stranger.save(person("anna", 66))
    shutil.copytree(stranger.folder / "anna" / "okay_nabu" / "0001", store.folder / "anna" / "okay_nabu" / "0007")
    with pytest.raises(StoreTampered, match=r"header\.json: it is not sealed, and the store is"):
        before.load("anna", "okay_nabu")


def test_encrypting_once_more_gives_an_older_store_a_keyring_that_needs_its_index(store: PersonStore) -> None:
    before = older(store)
    with weak_keys():
        sealing.encrypt(before, KEY)
    assert json.loads((store.folder / ".keyring.json").read_text())["format"] == 2
    assert differences(store) == []
    (store.folder / INDEX_FILE).unlink()
    Witness(store.folder).forget()
    with pytest.raises(StoreTampered, match=r"index\.sealed: it is gone"):
        again(store).load("anna", "okay_nabu")


def test_nobody_can_call_a_keyring_an_older_one(store: PersonStore) -> None:
    path = store.folder / ".keyring.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    vault._OPENED.clear()
    with pytest.raises(PersonError, match="wrong key"):
        again(store).load("anna", "okay_nabu")


def test_encrypting_does_not_seal_what_somebody_put_there_meanwhile(store: PersonStore, tmp_path: Path) -> None:
    stranger = PersonStore(tmp_path / "stranger")
    stranger.save(person("mallory"))
    LearningQueue(stranger).add(wake(9, "anna", "anna"))
    shutil.copytree(stranger.folder / "mallory", store.folder / "mallory")
    shutil.copy(stranger.folder / ".learning" / f"{wake(9, 'anna').id}.json", store.folder / ".learning")
    with weak_keys(), pytest.raises((InputError, StoreTampered)):
        sealing.encrypt(again(store), KEY)
    assert not list((store.folder / "mallory").rglob("*.sealed"))
    assert LearningQueue(again(store)).read() == [wake(1, "anna")]


# --- the labels of the journal


def test_only_labels_that_were_given_with_the_key_are_learned(store: PersonStore, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "wakes", 100, 7.0, lambda: 1_700_000_000.0, lambda: 0.0)
    event = {"type": "rejection", "file": "mic", "keyword": "okay_nabu", "time_ms": 1600, "keyword_score": 0.9}
    event.update(person=None, speaker_score=0.2, reason="unknown_voice", at="2023-11-14T22:13:20+00:00")
    for seed in (1, 2, 3):
        journal.add(event, np.asarray(sound(seed)))
    assert vouched.label(journal, store, 1, "anna")[1]
    journal.label(2, "anna")  # as somebody does who has not the key
    vault._OPENED.clear()
    assert not vouched.label(journal, PersonStore(store.folder), 3, "anna")[1]
    assert [entry.number for entry, _ in vouched.believed(journal, again(store))] == [1]
    journal.label(1, "bob")  # given with the key, and changed without it
    assert list(vouched.believed(journal, again(store))) == []
    plain = PersonStore(tmp_path / "plain")
    assert [entry.number for entry, _ in vouched.believed(journal, plain)] == [1, 2, 3]


def test_a_full_disk_leaves_the_index_as_it_was(store: PersonStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    before = snapshot(store.folder)
    monkeypatch.setattr(seal, "replace_synced", full)
    with pytest.raises(StoreUnwritable, match="No space left on device"):
        store.save(person("anna", 5))
    assert snapshot(store.folder) == before


def test_what_was_said_of_others_with_the_key_is_still_learned_when_a_name_was_taken_out(
    store: PersonStore, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "wakes", 100, 7.0, lambda: 1_700_000_000.0, lambda: 0.0)
    event = {"type": "detection", "file": "mic", "keyword": "okay_nabu", "time_ms": 1600, "keyword_score": 0.9}
    event.update(person="anna", speaker_score=0.8, reason="known_voice", at="2023-11-14T22:13:20+00:00")
    for seed in (1, 2):
        journal.add(event, np.asarray(sound(seed)))
    vouched.label(journal, store, 2, "bob")
    assert erasure.erase(again(store), journal, "anna").wakes == 1
    assert [(e.number, e.event["person"], said) for e, said in vouched.believed(journal, again(store))] == [
        (2, None, "bob")
    ]

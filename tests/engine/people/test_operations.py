"""What people may do with what is theirs: another name, back to an earlier version, one file to move, a lock."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from helpers_store import (
    KEY,
    assert_same,
    environment,
    forge,
    make_voiceprint,
    opened,
    person,
    snapshot,
    sound,
    weak_keys,
)

from earmark.engine.errors import BundleError, InputError, PersonDamaged, PersonLocked, PersonUnknown, StoreUnwritable
from earmark.engine.history import sealing
from earmark.engine.people import bundle, codec, operations, vault
from earmark.engine.people.keys import new_secret_from, secret_from
from earmark.engine.people.store import COSINE, TRAINED, PersonStore


@pytest.fixture
def store(tmp_path: Path) -> PersonStore:
    """anna for two wake words, three versions of one, with recordings; and bob."""
    store = PersonStore(tmp_path / "people")
    for seed in (1, 2, 3):
        store.save(person("anna", seed), [sound(seed), sound(10)])
    store.save(make_voiceprint("anna", "alexa", TRAINED, 4))
    store.save(person("bob", 5))
    return store


def encrypted(store: PersonStore) -> PersonStore:
    with weak_keys():
        sealing.encrypt(store, KEY)
    return opened(store.folder)


# --- recordings


def test_recordings_come_back_and_go_with_their_version(store: PersonStore) -> None:
    for version in (1, 2, 3):
        first, second = store.recordings("anna", "okay_nabu", version)
        np.testing.assert_array_equal(first, sound(version))
        np.testing.assert_array_equal(second, sound(10))
    assert store.recordings("bob", "okay_nabu") == []
    store.save(person("anna", 9))
    assert store.recordings("anna", "okay_nabu") == []


def test_a_changed_recording_is_refused_and_the_voiceprint_still_loads(store: PersonStore) -> None:
    path = store.folder / "anna" / "okay_nabu" / "0003" / "take-01.wav"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(PersonDamaged, match=r"the checksum of take-01\.wav does not hold"):
        store.recordings("anna", "okay_nabu")
    assert store.load("anna", "okay_nabu").report["seed"] == 3


def test_more_recordings_than_a_version_holds_are_refused(store: PersonStore) -> None:
    before = snapshot(store.folder)
    with pytest.raises(InputError, match="100 recordings, at most 99 can be kept"):
        store.save(person("anna"), [sound(1)] * 100)
    with pytest.raises(InputError, match=r"recording 1 has .* bytes, at most 4194304 can be kept"):
        store.save(person("anna"), [np.zeros(codec.MAX_FILE_BYTES // 2, np.int16)])
    assert snapshot(store.folder) == before


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_erasing_recordings_leaves_every_voiceprint(store: PersonStore, sealed: bool) -> None:
    store = encrypted(store) if sealed else store
    before = [store.load("anna", "okay_nabu", version) for version in (1, 2, 3)]
    assert operations.forget_recordings(store, "anna") == 6
    for version, wanted in zip((1, 2, 3), before):
        assert_same(store.load("anna", "okay_nabu", version), wanted)
        assert store.recordings("anna", "okay_nabu", version) == []
    assert not list(store.folder.rglob("take-*"))
    assert operations.forget_recordings(store, "anna") == 0


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


# --- names and versions


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_a_new_name_is_the_same_voice_in_every_version(store: PersonStore, sealed: bool) -> None:
    store = encrypted(store) if sealed else store
    before = {version: store.load("anna", "okay_nabu", version) for version in (1, 2, 3)}
    fingerprint = store.fingerprint()
    assert operations.rename(store, "anna", "Ännchen") == 4
    assert store.names() == sorted(["bob", "Ännchen"])
    assert store.keywords("Ännchen") == ["alexa", "okay_nabu"]
    for version, old in before.items():
        assert_same(store.load("Ännchen", "okay_nabu", version), replace(old, name="Ännchen"))
        assert len(store.recordings("Ännchen", "okay_nabu", version)) == 2
    assert store.fingerprint() != fingerprint
    assert not (store.folder / "anna").exists()


def test_a_taken_or_bad_new_name_changes_nothing(store: PersonStore) -> None:
    before = snapshot(store.folder)
    for name, why in (("bob", "'bob' is in .* already"), ("anna", "'anna' is in .* already"), ("a\n", "printable")):
        with pytest.raises(InputError, match=why):
            operations.rename(store, "anna", name)
    with pytest.raises(PersonUnknown, match="no person 'carl'"):
        operations.rename(store, "carl", "dora")
    (store.folder / "linked").symlink_to(store.folder / "bob")
    with pytest.raises(InputError, match="already"):
        operations.rename(store, "anna", "linked")
    (store.folder / "linked").unlink()
    assert snapshot(store.folder) == before


def test_a_damaged_old_version_stops_a_change_of_the_whole_person(store: PersonStore) -> None:
    forge(store.folder / "anna" / "okay_nabu" / "0001", {"kind": "logistic"})
    before = snapshot(store.folder)
    with pytest.raises(PersonDamaged, match=r"0001: damaged: .*remove that folder"):
        operations.rename(store, "anna", "dora")
    assert snapshot(store.folder) == before


def test_rollback_copies_an_earlier_version_and_can_be_undone(store: PersonStore) -> None:
    assert store.rollback("anna", "okay_nabu") == (2, 4)
    assert store.load("anna", "okay_nabu").report["seed"] == 2
    np.testing.assert_array_equal(store.recordings("anna", "okay_nabu")[0], sound(2))
    assert store.rollback("anna", "okay_nabu") == (3, 5)
    assert store.load("anna", "okay_nabu").report["seed"] == 3
    assert store.rollback("anna", "okay_nabu", 1) == (1, 6)
    assert store.load("anna", "okay_nabu").report["seed"] == 1
    assert store.versions("anna", "okay_nabu") == [2, 3, 4, 5, 6]


def test_rollback_to_where_nothing_is_says_what_there_is(store: PersonStore) -> None:
    before = snapshot(store.folder)
    for version in (0, 3, 7):
        with pytest.raises(
            InputError, match=rf"version {version} is not an earlier one: the newest is 3, before it: 1, 2"
        ):
            store.rollback("anna", "okay_nabu", version)
    with pytest.raises(InputError, match="no earlier version: the newest is 1, before it: none"):
        store.rollback("bob", "okay_nabu")
    with pytest.raises(PersonUnknown):
        store.rollback("bob", "alexa")
    assert snapshot(store.folder) == before


def test_a_removed_person_leaves_nothing_of_a_killed_process_either(store: PersonStore) -> None:
    left = store.folder / ".old-0123456789abcdef" / "okay_nabu" / "0001"
    left.mkdir(parents=True)
    (left / "arrays.npz").write_bytes(b"somebody")
    with pytest.raises(PersonUnknown):
        store.remove("carl")
    assert store.leftovers() == 0
    assert store.remove("anna") == 4
    assert {path.name for path in store.folder.iterdir()} == {".lock", "bob"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file that nobody can delete")
def test_what_cannot_be_deleted_is_said_to_be_there(store: PersonStore) -> None:
    stubborn = store.folder / "bob" / "okay_nabu" / "0001" / "arrays.npz"
    chattr = shutil.which("chattr")  # of e2fsprogs, which a small Debian 13 lacks
    if chattr is None or subprocess.run([chattr, "+i", stubborn], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        with pytest.raises(StoreUnwritable, match=r"'bob' is not in .* any more, but delete .*\.old-"):
            store.remove("bob")
        assert store.names() == ["anna"]
        store.save(person("carl"))  # nobody else is kept from anything
    finally:
        for path in store.folder.rglob("arrays.npz"):
            subprocess.run([chattr, "-i", path], check=True)


def test_readers_never_see_a_person_vanish_while_others_rename(store: PersonStore) -> None:
    """Two names in turn: a reader finds one or the other, whole."""
    end = threading.Event()
    faults: list[str] = []

    def rename() -> None:
        writer, names = PersonStore(store.folder), ["bob", "carl"]
        while not end.is_set():
            operations.rename(writer, *names)
            names.reverse()

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for _ in range(300):
            names = store.names()
            found = [name for name in names if name != "anna"]
            if len(found) > 1 or "anna" not in names:
                faults.append(str(names))
            for name in found:
                with contextlib.suppress(PersonUnknown):  # it has the other name by now
                    store.load(name, "okay_nabu")
    finally:
        end.set()
        thread.join()
    assert faults == []


WRITER = """
import sys
from earmark.engine.people.store import PersonStore
from helpers_store import person
store = PersonStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(50):
    store.save(person("anna", seed))
"""


def test_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    env = environment(PYTHONPATH=str(REPOSITORY / "tests"))
    program, pipe = [sys.executable, "-c", WRITER, str(tmp_path / "people")], subprocess.PIPE
    writers = [subprocess.Popen(program, env=env, stdin=pipe, stdout=pipe) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    store = PersonStore(tmp_path / "people")
    assert store.versions("anna", "okay_nabu") == [146, 147, 148, 149, 150]
    store.load("anna", "okay_nabu")


def test_a_plan_that_nobody_made_moves_nothing(store: PersonStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = snapshot(tmp_path)
    pending = store.folder / ".pending"
    for names in ('["../outside"]', '[".lock"]', '["/tmp"]', '[""]', '[".."]', "[5]", '"anna"'):
        pending.mkdir()
        (pending / "plan.json").write_text(f'{{"format": 1, "put": [], "remove": {names}}}')
        for ask in (store.names, store.tidy, lambda: store.save(person("bob"))):
            with pytest.raises(PersonDamaged, match=r"plan\.json: damaged: .*; remove .*\.pending"):
                ask()
        (pending / "plan.json").unlink()
        pending.rmdir()
        assert snapshot(tmp_path) == before
    pending.symlink_to(outside)
    with pytest.raises(PersonDamaged, match="not in a folder"):
        store.tidy()


# --- one file


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_an_exported_person_comes_back_to_the_last_byte(store: PersonStore, tmp_path: Path, sealed: bool) -> None:
    wanted = snapshot(store.folder / "anna")
    source = encrypted(store) if sealed else store
    content = bundle.to_bytes("anna", source.tree("anna"), source.vault())
    assert content == bundle.to_bytes("anna", source.tree("anna"), source.vault())
    bundle.write(tmp_path / "anna.tar", content)
    assert stat.S_IMODE((tmp_path / "anna.tar").stat().st_mode) == 0o600
    found = bundle.read(tmp_path / "anna.tar")
    assert (found.signed_by is not None) == sealed
    other = PersonStore(tmp_path / "other")
    operations.insert(other, found.name, found.tree)
    assert snapshot(other.folder / "anna") == wanted


def test_an_export_is_a_tar_that_anybody_can_list(store: PersonStore, tmp_path: Path) -> None:
    bundle.write(tmp_path / "bob.tar", bundle.to_bytes("bob", store.tree("bob")))
    listed = subprocess.run(["tar", "-tf", tmp_path / "bob.tar"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["manifest.json", "okay_nabu/0001/arrays.npz", "okay_nabu/0001/header.json"]


def test_an_export_never_writes_over_a_file(store: PersonStore, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(InputError, match="is there already"):
            bundle.write(tmp_path / name, bundle.to_bytes("bob", store.tree("bob")))
    with pytest.raises(InputError, match="cannot be written: No such file"):
        bundle.write(tmp_path / "no folder" / "bob.tar", b"")
    assert (tmp_path / "there").read_text() == "mine"


def test_an_import_replaces_nobody_unasked(store: PersonStore) -> None:
    before = snapshot(store.folder)
    tree = operations.as_name(store.tree("bob"), "anna")
    with pytest.raises(InputError, match=r"'anna' is in .* already"):
        operations.insert(store, "anna", tree)
    assert snapshot(store.folder) == before
    operations.insert(store, "anna", tree, replace=True)
    assert store.keywords("anna") == ["okay_nabu"]
    assert store.versions("anna", "okay_nabu") == [1]


def test_a_damaged_export_is_refused_before_anything_is_written(store: PersonStore, tmp_path: Path) -> None:
    wanted = store.tree("bob")
    content = bundle.to_bytes("bob", wanted)
    refused = 0
    for position in range(0, len(content), 97):
        try:
            found = bundle.from_bytes(flipped(content, position))
            assert found == bundle.Bundle("bob", wanted, None)  # tar's padding means nothing
        except BundleError:
            refused += 1
    assert refused * 97 > sum(len(file) for file in wanted["okay_nabu", 1].values())
    for fault, message in ((b"", "not a person"), (content + b"x" * 512, "behind its last member")):
        (tmp_path / "file").write_bytes(fault)
        with pytest.raises(BundleError, match=rf"file: .*{message}.*; nothing was changed"):
            bundle.read(tmp_path / "file")
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        bundle.read(tmp_path / "nothing")
    with pytest.raises(BundleError, match="cannot be read: "):
        bundle.read(tmp_path)


# --- the lock


@pytest.mark.parametrize("kind", [COSINE, TRAINED])
def test_a_sealed_store_gives_everything_to_who_has_the_key(store: PersonStore, kind: str) -> None:
    wanted = make_voiceprint("carl", kind=kind)
    before = {name: dict(store.tree(name)) for name in store.names()}
    sealed = encrypted(store)
    sealed.save(wanted, [sound(1)])
    assert_same(sealed.load("carl", "okay_nabu"), replace(wanted, weights=sealed.load("carl", "okay_nabu").weights))
    np.testing.assert_array_equal(sealed.recordings("carl", "okay_nabu")[0], sound(1))
    assert {name: dict(sealed.tree(name)) for name in before} == before


def test_a_stolen_card_holds_no_voiceprint(store: PersonStore) -> None:
    voice = store.load("anna", "okay_nabu")
    plain = [
        voice.takes.tobytes(),
        voice.takes[0].tobytes(),
        sound(3).tobytes(),
        b"PK\x03\x04",
        b"RIFF",
        b"threshold",
    ]
    assert all(any(part in content for content in snapshot(store.folder).values() if content) for part in plain)
    encrypted(store)
    files = {path: content for path, content in snapshot(store.folder).items() if content is not None}
    assert all(path.endswith(".sealed") for path in files if path not in (".lock", ".keyring.json"))
    for part in [*plain, KEY]:
        assert not any(part in content for content in files.values())


def test_without_the_key_there_is_a_reason_and_no_voiceprint(store: PersonStore) -> None:
    encrypted(store)
    vault._OPENED.clear()
    nobody, wrong = PersonStore(store.folder), PersonStore(store.folder, lambda: b"wrong horse")
    assert nobody.names() == ["anna", "bob"]
    for ask in (nobody.load, nobody.recordings, nobody.contents, nobody.rollback):
        with pytest.raises(PersonLocked, match="is encrypted: its key is needed"):
            ask("anna", "okay_nabu")
    for ask in (wrong.load, wrong.recordings):
        with pytest.raises(PersonLocked, match=r"wrong key for .*: give the passphrase or the key file"):
            ask("anna", "okay_nabu")
    before = snapshot(store.folder)
    for who in (nobody, wrong):
        with pytest.raises(PersonLocked):
            who.save(person("bob"))
        with pytest.raises(PersonLocked):
            operations.rename(who, "anna", "dora")
        with pytest.raises(PersonLocked):
            sealing.decrypt(who)
    with weak_keys(), pytest.raises(PersonLocked, match="wrong key"):
        sealing.encrypt(store, b"wrong horse")
    assert snapshot(store.folder) == before
    assert nobody.remove("anna") == 4  # to erase needs no key


def test_opened_again_the_store_is_what_it_was(store: PersonStore) -> None:
    before = snapshot(store.folder)
    sealed = encrypted(store)
    assert sealing.decrypt(sealed) == sealing.Done(2, 0)
    assert snapshot(store.folder) == before
    with pytest.raises(InputError, match="is not encrypted"):
        sealing.decrypt(sealed)


def test_who_is_saved_while_the_store_is_opened_is_not_lost(store: PersonStore) -> None:
    sealed = encrypted(store)

    def save(_name: str, done: int, total: int) -> None:
        if done == total:
            opened(store.folder).save(person("dora"))

    with pytest.raises(InputError, match="something was written meanwhile: decrypt once more"):
        sealing.decrypt(sealed, save)
    assert opened(store.folder).load("dora", "okay_nabu").name == "dora"
    assert sealing.decrypt(sealed).people == 3
    assert PersonStore(store.folder).load("dora", "okay_nabu").name == "dora"


def test_sealed_files_of_two_people_cannot_be_swapped(store: PersonStore) -> None:
    sealed = encrypted(store)
    bob = store.folder / "bob" / "okay_nabu" / "0001"
    for path in (store.folder / "anna" / "okay_nabu" / "0003").glob("[ha]*.sealed"):
        (bob / path.name).write_bytes(path.read_bytes())
    with pytest.raises(PersonDamaged, match=r"the seal of bob/okay_nabu/0001/header\.json does not hold"):
        sealed.load("bob", "okay_nabu")


def test_sealing_goes_on_where_somebody_is_damaged(store: PersonStore) -> None:
    forge(store.folder / "anna" / "okay_nabu" / "0001", {"kind": "logistic"})
    with weak_keys(), pytest.raises(PersonDamaged, match="0001: damaged"):
        sealing.encrypt(store, KEY)
    assert list((store.folder / "bob").rglob("*.sealed"))
    assert_same(opened(store.folder).load("anna", "okay_nabu"), store.load("anna", "okay_nabu"))
    with pytest.raises(PersonDamaged):
        sealing.decrypt(opened(store.folder))
    assert store.encrypted, "the key must stay while somebody is sealed"


def test_the_keyring_is_as_hard_to_guess_as_it_says(store: PersonStore) -> None:
    """With the real parameters once: 128 n r bytes of memory, three times over."""
    assert vault.SCRYPT == {"n": 32768, "r": 8, "p": 3}
    sealing.encrypt(store, KEY)
    vault._OPENED.clear()
    assert opened(store.folder).load("bob", "okay_nabu").report["seed"] == 5
    assert stat.S_IMODE((store.folder / ".keyring.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "values", [{"n": 1 << 17, "r": 1}, {"n": 1}, {"n": 3}, {"n": 1 << 30}, {"p": True}, {"r": 0}], ids=str
)
def test_a_keyring_that_asks_for_too_much_or_nonsense_is_damaged(store: PersonStore, values: dict[str, int]) -> None:
    encrypted(store)
    path = store.folder / ".keyring.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(PersonDamaged, match=r"keyring\.json: damaged: .*; put it back from a backup"):
        opened(store.folder).load("anna", "okay_nabu")


def test_an_unreadable_key_is_not_called_an_unreadable_keyring(store: PersonStore, tmp_path: Path) -> None:
    encrypted(store)
    vault._OPENED.clear()
    asking = PersonStore(store.folder, secret_from(str(tmp_path / "nowhere"), {}))
    with pytest.raises(PersonLocked, match="nowhere: the key file cannot be read: No such file"):
        asking.load("anna", "okay_nabu")


@pytest.mark.parametrize("secret", [b"", b"short", b"x" * 5000])
def test_a_key_that_is_no_key_is_refused(store: PersonStore, secret: bytes) -> None:
    before = snapshot(store.folder)
    with pytest.raises(InputError, match=r"has \d+ bytes, it must have 8 to 4096"):
        sealing.encrypt(store, secret)
    assert snapshot(store.folder) == before


# --- where the key comes from


def test_the_key_comes_from_the_first_place_that_has_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, credentials = tmp_path / "key", tmp_path / "credentials"
    credentials.mkdir()
    file.write_bytes(b"of the file\n")
    file.chmod(0o600)
    (credentials / "earmark.key").write_bytes(b"of systemd")
    environment = {"CREDENTIALS_DIRECTORY": str(credentials), "EARMARK_PASSPHRASE": "Zoë"}
    assert secret_from(str(file), environment)() == "Zoë".encode()
    assert secret_from(None, {"EARMARK_PASSPHRASE": "Zoë"})() == "Zoë".encode()  # composed, however it was typed
    del environment["EARMARK_PASSPHRASE"]
    assert secret_from(str(file), environment)() == b"of the file"
    assert secret_from("", environment)() == b"of systemd"
    assert caplog.records == [] or "others may read this key" in caplog.text
    file.chmod(0o644)
    secret_from(str(file), {})()
    assert f"{file}: others may read this key: chmod 600" in caplog.text


def test_no_key_and_nobody_to_ask_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PersonLocked, match=r"name its key with --key-file, people\.key_file or EARMARK_PASSPHRASE"):
        secret_from(None, {}, ask=False)()
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(PersonLocked, match=r"the key file cannot be (read|used)"):
            secret_from(str(path), {})()
    with pytest.raises(InputError, match="it must have 8"):
        new_secret_from(None, {"EARMARK_PASSPHRASE": "short"})


BROKEN_OFF = """
import os, sys
from earmark.engine.history import sealing
from earmark.engine.people.store import PersonStore
def killed(name, done, total):
    os.kill(os.getpid(), 9)
sealing.encrypt(PersonStore(sys.argv[1]), b"correct horse", killed)
"""


def test_sealing_that_was_broken_off_is_continued(store: PersonStore) -> None:
    before = {name: dict(store.tree(name)) for name in store.names()}
    done = subprocess.run([sys.executable, "-c", BROKEN_OFF, store.folder], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((store.folder / "anna").rglob("*.sealed"))
    assert not list((store.folder / "bob").rglob("*.sealed"))
    sealed = opened(store.folder)
    assert {name: dict(sealed.tree(name)) for name in sealed.names()} == before
    sealed.save(person("dora"))
    assert list((store.folder / "dora").rglob("*.sealed")), "what is written from now on is sealed"
    assert sealing.encrypt(store, KEY).people == 3
    assert list((store.folder / "bob").rglob("*.sealed"))

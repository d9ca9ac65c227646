"""What the daemon heard, on the disk; and what a voiceprint learned, put there and taken back."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from helpers_learning import CHANGES, NOW_S, WORD, heard, with_learned
from helpers_store import assert_same, environment, make_voiceprint, snapshot, unit, weak_keys

from earmark.engine.errors import InputError, LearningError, PersonLocked, PersonUnknown
from earmark.engine.history import queue, sealing, updates
from earmark.engine.history.queue import (
    IMPOSTOR_DAYS,
    MOST_IMPOSTORS,
    MOST_OWN,
    OWN_DAYS,
    LearningQueue,
    QueuedWake,
)
from earmark.engine.people import vault
from earmark.engine.people.store import COSINE, KEPT_VERSIONS, PersonStore
from earmark.engine.people.vault import Vault
from earmark.engine.settings.schema import DAY_S


@pytest.fixture
def people(tmp_path: Path) -> PersonStore:
    return PersonStore(tmp_path / "people")


@pytest.fixture
def store(people: PersonStore) -> LearningQueue:
    return LearningQueue(people)


# --- entries


def test_what_is_added_is_read_again_in_the_order_of_time(store: LearningQueue) -> None:
    wanted = [heard(2), heard(0, None), heard(1, label="not-me"), heard(1, source="kitchen")]
    for one in wanted:
        store.add(one)
    found = store.read()
    assert found == sorted(wanted, key=lambda one: one.id)
    for one in found:
        np.testing.assert_array_equal(one.embedding, next(w for w in wanted if w == one).embedding)
    assert [one.is_own for one in found].count(False) == 2


@pytest.mark.parametrize(
    ("person", "label", "is_own"),
    [
        ("anna", None, True),
        (None, None, False),
        (None, "anna", True),
        ("anna", "bert", True),
        ("anna", "not-me", False),
        ("anna", "noise", False),
        (None, "noise", False),
    ],
)
def test_what_was_said_of_a_wake_counts_before_what_was_heard(
    person: str | None, label: str | None, is_own: bool
) -> None:
    assert heard(0, person, label=label).is_own == is_own


def test_only_the_owner_may_read_it_and_it_is_an_embedding_and_no_sound(store: LearningQueue) -> None:
    store.add(heard())
    (path,) = store.folder.glob("*.json")
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 4096


def test_the_same_wake_again_replaces_it(store: LearningQueue) -> None:
    store.add(heard())
    store.add(heard(label="not-me"))
    assert [one.label for one in store.read()] == ["not-me"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-40],
        lambda text: text.replace('"anna"', '"anne"'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"label": null', '"label": 7'),
        lambda _text: "[]",
        lambda _text: "[" * 100_000,
        lambda _text: "x" * (65 << 10),
    ],
)
def test_what_is_damaged_is_erased_and_said(
    store: LearningQueue, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(heard(0))
    store.add(heard(1))
    path = store.folder / f"{heard(0).id}.json"
    path.write_text(spoil(path.read_text()))
    assert store.read() == [heard(1)]
    assert not path.exists()
    assert "damaged" in caplog.text


def test_an_entry_with_another_name_is_not_believed(store: LearningQueue) -> None:
    store.add(heard(0))
    (store.folder / f"{heard(0).id}.json").rename(store.folder / f"{heard(5).id}.json")
    assert store.read() == []


def test_what_is_too_old_goes_by_the_given_clock_and_strangers_stay_longer(
    store: LearningQueue, people: PersonStore
) -> None:
    people.save(make_voiceprint("anna", kind=COSINE))
    for one in (heard(0), heard(1, None), heard(2)):
        store.add(one)
    later_s = NOW_S + OWN_DAYS * DAY_S + 1
    assert store.tidy(NOW_S) == 0
    assert store.tidy(later_s) == 1
    assert store.read() == [heard(1, None), heard(2)], "the third is a second younger than the limit"
    assert store.tidy(NOW_S + IMPOSTOR_DAYS * DAY_S + 10) == 2
    store.add(heard(3))
    assert store.tidy(NOW_S - 1000 * DAY_S) == 0, "from the future: kept"


@pytest.mark.parametrize(("person", "most"), [("anna", MOST_OWN), (None, MOST_IMPOSTORS)])
def test_the_oldest_go_where_there_are_too_many(
    store: LearningQueue, people: PersonStore, person: str | None, most: int
) -> None:
    people.save(make_voiceprint("anna", kind=COSINE))
    for number in range(most + 3):
        store.add(heard(number, person))
    assert store.tidy(NOW_S) == 3
    assert [one.sample for one in store.read()] == [16_000 * number for number in range(3, most + 3)]


def test_how_much_waits_and_how_long_in_numbers(store: LearningQueue, people: PersonStore) -> None:
    """Own wakes two weeks, strangers sixty days; of each so many that the newest are kept."""
    people.save(make_voiceprint("anna", kind=COSINE))
    assert (MOST_OWN, MOST_IMPOSTORS) == (200, 500)
    store.add(heard(0))
    store.add(heard(1, None))
    for days, left in ((14, 2), (15, 1), (60, 1), (61, 0)):
        store.tidy(NOW_S + days * 86_400)
        assert len(store.read()) == left


def test_own_wakes_do_not_crowd_strangers_out(
    store: LearningQueue, people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.save(make_voiceprint("anna", kind=COSINE))
    monkeypatch.setattr(queue, "MOST_OWN", 2)
    monkeypatch.setattr(queue, "MOST_IMPOSTORS", 3)
    for number in range(6):
        store.add(heard(2 * number))
        store.add(heard(2 * number + 1, None))
    assert store.tidy(NOW_S) == 7
    assert [one.sample // 16_000 for one in store.read()] == [7, 8, 9, 10, 11]


def test_of_two_wakes_a_millisecond_apart_both_are_kept(store: LearningQueue) -> None:
    one, other = heard(), heard(at_s=NOW_S + 0.001)
    store.add(one)
    store.add(other)
    assert [found.id for found in store.read()] == [one.id, other.id]
    assert one.id == "1700000000000-dfca616d"


def test_what_is_undone_does_not_wait_any_more_however_it_is_listed(store: LearningQueue) -> None:
    for number in range(3):
        store.add(heard(number))
    store.undo(heard(number).id for number in (0, 2))
    assert store.read() == [heard(1)]
    assert store.undone() == {heard(0).id, heard(2).id}


def test_what_was_undone_is_forgotten_beyond_a_thousand_the_oldest_first(store: LearningQueue) -> None:
    store.undo(f"{number:04d}" for number in range(1002))
    assert store.undone() == {f"{number:04d}" for number in range(2, 1002)}


def test_an_accepted_wake_takes_back_what_was_rejected_just_before(store: LearningQueue) -> None:
    kept = [
        heard(1, None),
        heard(40, None, source="kitchen"),
        heard(41, None, keyword="alexa"),
        heard(42, None, label="not-me"),
        heard(43, "anna"),
    ]
    for one in (*kept, heard(44, None), heard(45, None)):
        store.add(one)
    assert store.withdraw("mic", WORD, 16_000 * 30) == 2
    assert store.read() == kept


def test_a_person_is_forgotten_and_so_is_everything(store: LearningQueue) -> None:
    for one in (heard(0), heard(1, "bert"), heard(2, None), heard(3, None, label="anna")):
        store.add(one)
    assert store.forget("anna") == 2
    assert store.read() == [heard(1, "bert"), heard(2, None)]
    assert (store.forget(), store.read()) == (2, [])


def test_who_is_forgotten_stands_in_no_entry_that_stays(store: LearningQueue) -> None:
    for number, label in enumerate((None, "noise", "not-me", "bert")):
        store.add(heard(number, "anna", label=label))
    assert store.forget("anna") == 1
    assert [(one.person, one.label) for one in store.read()] == [(None, "noise"), (None, "not-me"), (None, "bert")]
    assert not any(b"anna" in path.read_bytes() for path in store.folder.iterdir())


def test_what_was_undone_is_remembered(store: LearningQueue) -> None:
    store.add(heard(0))
    store.undo([heard(0).id])
    store.undo(["another"])
    assert store.undone() == {heard(0).id, "another"}
    assert store.read() == []
    (store.folder / "undone.json").write_text("{}")
    with pytest.raises(LearningError, match="must be a list"):
        store.undone()


def test_who_is_not_enrolled_any_more_has_nothing_waiting(store: LearningQueue, people: PersonStore) -> None:
    """The daemon goes on naming who was erased until it looks at the store again."""
    people.save(make_voiceprint("anna", kind=COSINE))
    kept = [heard(0), heard(1, None), heard(2, "bert", label="anna"), heard(3, label="a guest")]
    for one in (*kept, heard(4, "bert"), heard(5, "bert")):
        store.add(one)
    assert store.tidy(NOW_S) == 2
    assert store.read() == kept


# --- in an encrypted store

KEY = b"a long passphrase"


@pytest.fixture
def mixed(people: PersonStore, store: LearningQueue) -> list[QueuedWake]:
    """Entries in a store with one person, and what a killed process left beside them."""
    pytest.importorskip("cryptography")
    people.save(make_voiceprint("anna", kind=COSINE))
    entries = [heard(0), heard(1, None), heard(2, label="anna")]
    for one in entries:
        store.add(one)
    (store.folder / ".new-17-left.json").write_bytes((store.folder / f"{heard(0).id}.json").read_bytes())
    return entries


def opened(people: PersonStore, key: bytes = KEY) -> PersonStore:
    return PersonStore(people.folder, lambda: key)


def test_encrypting_seals_what_waits_at_once(
    mixed: list[QueuedWake], store: LearningQueue, people: PersonStore
) -> None:
    with weak_keys():
        assert sealing.encrypt(people, KEY) == sealing.Done(1, 3)
    for path in store.folder.iterdir():
        assert b"anna" not in path.read_bytes(), "also of what was never finished"
    assert len(list(store.folder.glob("*.json"))) == 3
    sealed = LearningQueue(opened(people))
    sealed.add(heard(9))
    assert sealed.read() == [*mixed, heard(9)]
    assert sealed.sealed() == [one.id for one in sealed.read()]
    vault._OPENED.clear()
    with pytest.raises(PersonLocked):
        store.read()


def test_decrypting_opens_what_waits_and_the_wrong_key_changes_nothing(
    mixed: list[QueuedWake], store: LearningQueue, people: PersonStore
) -> None:
    plain = {path.name: path.read_bytes() for path in store.folder.glob("[0-9]*")}
    with weak_keys():
        sealing.encrypt(people, KEY)
    before = snapshot(people.folder)
    vault._OPENED.clear()
    for wrong in (opened(people, b"another passphrase"), PersonStore(people.folder)):
        with pytest.raises(PersonLocked):
            sealing.decrypt(wrong)
        assert snapshot(people.folder) == before
    with weak_keys(), pytest.raises(PersonLocked, match="wrong key"):
        sealing.encrypt(people, b"another passphrase")
    assert snapshot(people.folder) == before
    assert sealing.decrypt(opened(people)) == sealing.Done(1, 3)
    assert store.read() == mixed
    assert {path.name: path.read_bytes() for path in store.folder.glob("[0-9]*")} == plain


def test_what_cannot_be_opened_does_not_survive_its_key(
    mixed: list[QueuedWake], store: LearningQueue, people: PersonStore
) -> None:
    with weak_keys():
        sealing.encrypt(people, KEY)
    path = store.folder / f"{heard(1).id}.json"
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert sealing.decrypt(opened(people)) == sealing.Done(1, 2)
    assert store.read() == [mixed[0], mixed[2]]


def test_an_entry_that_is_opened_between_two_looks_is_not_called_damaged(
    mixed: list[QueuedWake], people: PersonStore
) -> None:
    class Overtaken(PersonStore):
        """The store is opened just before anybody looks for its key."""

        def vault(self) -> Vault | None:
            if self.encrypted:
                sealing.decrypt(opened(self))
            return super().vault()

    with weak_keys():
        sealing.encrypt(people, KEY)
    assert LearningQueue(Overtaken(people.folder)).read() == mixed


def test_readers_and_writers_do_not_notice_that_the_store_is_sealed_and_opened(
    mixed: list[QueuedWake], people: PersonStore
) -> None:
    """An entry may be sealed between the look for the key and the look at the entry, and the other way round."""
    faults: list[object] = []
    over = threading.Event()

    def read_and_write() -> None:
        store = LearningQueue(opened(people))
        number = 100
        while not over.is_set():
            number += 1
            try:
                store.add(heard(number))
                found = [one.id for one in store.read()]
                store.erase([heard(number).id])
            except Exception as error:
                faults.append(error)
                return
            if found != [*(one.id for one in mixed), heard(number).id]:
                faults.append(found)

    other = threading.Thread(target=read_and_write)
    with weak_keys():
        other.start()
        for _ in range(15):
            sealing.encrypt(people, KEY)
            while people.encrypted:
                with contextlib.suppress(InputError):  # something was written meanwhile: decrypt once more
                    sealing.decrypt(opened(people))
        over.set()
        other.join()
    assert faults == []
    assert LearningQueue(people).read() == mixed


# --- voiceprints that have learned


def test_a_voiceprint_keeps_where_its_takes_are_from(people: PersonStore) -> None:
    copies = unit(np.random.default_rng(1).standard_normal((5, 6, 192))).astype(np.float16).astype(np.float32)
    person = with_learned(replace(make_voiceprint("anna"), copies=copies, loose_share=0.37), 3)
    people.save(person)
    found = people.load("anna", WORD)
    assert_same(found, person)
    assert (found.learned, found.loose_share, found.enrolled_takes) == (person.learned, 0.37, 5)
    np.testing.assert_array_equal(found.copies, copies)


def test_an_update_and_undo_give_back_exactly_what_was_before(people: PersonStore) -> None:
    person = make_voiceprint("anna")
    people.save(person, [np.arange(16_000, dtype=np.int16)])
    before = snapshot(people.folder / "anna")
    assert updates.put(people, with_learned(person, 1), 1) == 2
    assert len(people.load("anna", WORD).learned) == 1
    assert len(people.recordings("anna", WORD)) == 1
    after_one = snapshot(people.folder / "anna")
    updates.put(people, with_learned(person, 2), 2)
    version, gone = updates.take_back(people, "anna", WORD)
    assert (version, [one["id"] for one in gone]) == (2, [heard(1).id])
    assert snapshot(people.folder / "anna") == after_one
    updates.take_back(people, "anna", WORD)
    assert snapshot(people.folder / "anna") == before
    assert LearningQueue(people).undone() == {heard(0).id, heard(1).id}
    with pytest.raises(InputError, match="nothing to take back"):
        updates.take_back(people, "anna", WORD)


def test_the_enrolment_outlives_any_number_of_updates(people: PersonStore) -> None:
    person = make_voiceprint("anna")
    people.save(make_voiceprint("anna", seed=9))
    people.save(person)
    people.save(make_voiceprint("anna", keyword="alexa"))
    version, now = 2, person
    for _ in range(2 * KEPT_VERSIONS):
        now = with_learned(now, 1)
        version = updates.put(people, now, version)
    versions = people.versions("anna", WORD)
    assert versions == [2, version - 3, version - 2, version - 1, version]
    assert people.versions("anna", "alexa") == [1]
    version, gone = updates.take_back(people, "anna", WORD, everything=True)
    assert (version, len(gone)) == (2, 2 * KEPT_VERSIONS)
    assert_same(people.load("anna", WORD), person)


def test_whoever_enrols_meanwhile_wins(people: PersonStore) -> None:
    person = make_voiceprint("anna")
    people.save(person)
    people.save(make_voiceprint("anna", seed=1))
    before = snapshot(people.folder / "anna")
    with pytest.raises(LearningError, match="changed meanwhile"):
        updates.put(people, with_learned(person, 1), 1)
    assert snapshot(people.folder / "anna") == before


def test_what_somebody_erased_had_learned_is_not_put_upon_who_is_enrolled_anew(people: PersonStore) -> None:
    person = make_voiceprint("anna")
    people.save(person)
    people.remove("anna")
    with pytest.raises(PersonUnknown, match="no person 'anna'"):
        updates.put(people, with_learned(person, 1), 1, person)
    assert people.names() == []
    people.save(make_voiceprint("anna", seed=1))
    before = snapshot(people.folder / "anna")
    with pytest.raises(LearningError, match="changed meanwhile"):
        updates.put(people, with_learned(person, 1), 1, person)
    assert snapshot(people.folder / "anna") == before


# Each change runs again and again, and is ended, as by SIGKILL, at the first, second, third … call that touches the
# disk; then everything must be as before or as after.
KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers_learning import CHANGES, prepared, seen
folder, name = Path(sys.argv[1]), sys.argv[3]
TOUCHING = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "os.chmod", "shutil.rmtree")
base = prepared(folder / "base")
before = seen(base)
CHANGES[name](base)
after = seen(base)
assert before != after
outcomes, point = [], 0
while True:
    point += 1
    store = prepared(folder / str(point))
    child = os.fork()
    if not child:
        left = point
        def count(event, arguments):
            global left
            if event in TOUCHING and str(folder) in str(arguments):
                left -= 1
                if left == 0:
                    os._exit(9)
        sys.addaudithook(count)
        CHANGES[name](store)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    now = seen(store)
    assert now in (before, after), (point, now)
    outcomes.append(now == after)
    if code == 0:
        break
assert outcomes[-1] and not outcomes[0], outcomes
print(len(outcomes))
"""


@pytest.mark.parametrize("name", CHANGES)
def test_killed_at_any_write_there_is_the_old_state_or_the_new(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(REPOSITORY / "tests"), name],
        capture_output=True,
        timeout=120,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 4, "too few points for any of them to be in the middle"


# --- the clock


def test_how_old_it_is_stays_when_it_is_renamed_and_goes_with_a_step_of_the_clock(
    store: LearningQueue, people: PersonStore
) -> None:
    people.save(make_voiceprint("zoë"))
    entries = [heard(0, person="anna"), heard(1, person="anna")]
    for entry in entries:
        store.add(entry)
    store.shift([entries[0].id, "gone-00000000"], 5 * DAY_S)
    store.rename("anna", "zoë", [])
    old_s = entries[0].at_s + OWN_DAYS * DAY_S + 10
    assert store.tidy(old_s) == 1
    assert [entry.id for entry in store.read()] == [entries[0].id]
    assert store.tidy(old_s + 5 * DAY_S) == 1


def test_of_too_many_those_go_that_were_stored_first_whatever_their_names_say(
    store: LearningQueue, people: PersonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.save(make_voiceprint("anna"))
    monkeypatch.setattr(queue, "MOST_OWN", 1)
    early, late = heard(0, person="anna"), heard(1, person="anna")
    for entry in (early, late):
        store.add(entry)
    store.shift([early.id], DAY_S)  # it was heard after the other, by a clock that was not set yet
    assert store.tidy(None) == 1
    assert [entry.id for entry in store.read()] == [early.id]


def test_where_nobody_knows_the_time_nothing_is_too_old(store: LearningQueue, people: PersonStore) -> None:
    people.save(make_voiceprint("anna"))
    store.add(heard(0, person="anna"))
    assert store.tidy(None) == 0
    assert store.tidy(NOW_S + 1000 * DAY_S) == 1

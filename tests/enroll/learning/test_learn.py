"""Learning on, from embeddings to the daemon: what is taken in, what the guard refuses, and what labels say."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Enrolled, MakeNetwork, Read, Takes
from helpers_store import earmark, environment, snapshot
from live import Live
from sound_server import until
from test_imports import HEAVY

from earmark.engine.audio.samples import Float32
from earmark.engine.history import updates
from earmark.engine.history.journal import Journal
from earmark.engine.history.queue import LearningQueue, QueuedWake
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import COSINE, PersonStore, Voiceprint
from earmark.engine.settings.schema import DAY_S
from earmark.engine.spotting import find_wakes
from earmark.engine.verifier import DECADE, Verifier
from earmark.enroll.enrolment import Enroller
from earmark.enroll.learning.impostors import HomeImpostors, impostors
from earmark.enroll.learning.learn import MOST_TAKES, Addition, Learner, learned_of
from earmark.enroll.learning.update import COHORT_STEP, Updater
from earmark.enroll.takes import quality

pytestmark = pytest.mark.slow

NOW_S = 1_700_000_000.0
WORD = "okay_nabu"
NOBODY = HomeImpostors.nobody(192)


@pytest.fixture(scope="module")
def learner(enroller: Enroller) -> Learner:
    return Learner(enroller)


@pytest.fixture(scope="module")
def said(takes: Takes, read: Read, speaker: SpeakerNetwork, make_network: MakeNetwork) -> dict[str, list[Float32]]:
    """voice -> embeddings of the test takes, as the detector would have made them."""
    network = make_network(WORD)
    return {
        voice: [speaker.embed(quality.crops(read(path), network)[0]) for path in takes(voice, WORD, "test")]
        for voice in ("slt", "rms", "awb", "kal16", "rp_f3")
    }


@pytest.fixture(scope="module")
def rms(enrolled: Enrolled) -> Voiceprint:
    return enrolled("rms", WORD).voiceprint


@pytest.fixture(scope="module")
def near(slt: Voiceprint) -> list[Float32]:
    """So many wakes of slt as nobody has patience to record: between two variations of the takes, all different."""
    rng = np.random.default_rng(1)
    pool = np.concatenate([slt.takes, slt.copies.reshape(-1, 192)])
    rows = []
    for _ in range(MOST_TAKES + 5):
        pair = pool[rng.choice(len(pool), 2, replace=False)]
        rows.append((pair[0] + pair[1]).astype(np.float32))
    return [row / np.float32(np.linalg.norm(row)) for row in rows]


def addition(embedding: Float32, number: int = 0) -> Addition:
    return Addition(embedding, {"id": f"{number}-x", "at_s": NOW_S, "label": None, "learned_s": NOW_S})


def heard(embedding: Float32, number: int, person: str | None, speaker_sha256: str, **changes: Any) -> QueuedWake:
    type_ = "detection" if person else "rejection"
    base = QueuedWake(type_, WORD, person, 0.9, "mic", 16_000 * number, NOW_S + number, speaker_sha256, embedding)
    return replace(base, **changes)


# --- one take more


def test_an_own_take_is_learned_behind_the_enrolled_ones(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    outcome = learner.learn(slt, [addition(row, number) for number, row in enumerate(said["slt"])], NOBODY, [])
    assert outcome.voiceprint is not None
    assert len(outcome.added) == 1
    np.testing.assert_array_equal(outcome.voiceprint.takes[:5], slt.takes)
    np.testing.assert_array_equal(outcome.voiceprint.takes[5], outcome.added[0].embedding)
    assert outcome.voiceprint.learned == (outcome.added[0].facts,)
    assert outcome.voiceprint.kind == slt.kind
    verifier = Verifier([], learner.enroller.speaker, learner.enroller.head)
    rest = np.array(said["slt"][1:])
    assert verifier.margin(outcome.voiceprint, rest).mean() > verifier.margin(slt, rest).mean() - 0.01
    assert (verifier.margin(outcome.voiceprint, np.array(said["rms"])) < 0).all()


def test_the_same_twice_gives_the_same_voiceprint(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    one, other = (learner.with_takes(slt, [addition(said["slt"][0])], NOBODY) for _ in range(2))
    assert one.threshold == other.threshold
    np.testing.assert_array_equal(one.weights.projection, other.weights.projection)


@pytest.mark.parametrize("voice", ["rms", "awb", "kal16"])
def test_the_guard_refuses_another_voice(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]], voice: str
) -> None:
    for row in said[voice]:
        outcome = learner.learn(slt, [addition(row)], NOBODY, [])
        assert outcome.voiceprint is None
        assert [reason for _, reason in outcome.refused] == ["the enrolled takes alone would reject it"]
        assert learner.learn(slt, [addition(row)], NOBODY, [], guard=False).voiceprint is not None


@pytest.mark.parametrize("voice", ["awb", "rp_f3"])
def test_what_was_said_to_be_the_person_must_still_agree_with_the_enrolled_takes(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]], voice: str
) -> None:
    for row in said[voice]:
        outcome = learner.learn(slt, [Addition(row, {"label": "slt"})], NOBODY, [])
        assert outcome.voiceprint is None
        assert "the enrolled takes would score" in outcome.refused[0][1]


def test_an_addition_that_only_learned_takes_would_accept_is_refused(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    """However far the voiceprint has drifted, it drifts no farther than the enrolment allows."""
    drifted = learner.with_takes(slt, [addition(row, number) for number, row in enumerate(said["rms"])], NOBODY)
    verifier = Verifier([], learner.enroller.speaker, learner.enroller.head)
    row = next(row for row in (*drifted.takes[5:], *said["rms"]) if verifier.margin(drifted, row[None])[0] >= 0)
    other = row + 0.05 * np.random.default_rng(3).standard_normal(192).astype(np.float32) / 5
    other /= np.float32(np.linalg.norm(other))
    assert verifier.margin(drifted, other[None])[0] >= 0
    outcome = learner.learn(drifted, [addition(other)], NOBODY, [])
    assert [reason for _, reason in outcome.refused] == ["the enrolled takes alone would reject it"]


def test_the_guard_refuses_to_come_nearer_to_another_person(
    learner: Learner, slt: Voiceprint, rms: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    row = said["slt"][0] + 0.5 * said["rms"][0]
    between = addition((row / np.linalg.norm(row)).astype(np.float32))
    close = replace(
        rms, takes=(rms.takes + 2 * slt.takes) / np.linalg.norm(rms.takes + 2 * slt.takes, axis=1)[:, None]
    )
    before = learner.figures(slt, NOBODY, [close])
    after = learner.figures(learner.with_takes(slt, [between], NOBODY), NOBODY, [close])
    assert after.nearest > before.nearest
    assert "nearer" in str(replace(after, own=before.own, strangers_in=before.strangers_in).worse_than(before))


def test_what_is_in_it_already_is_not_learned_again(learner: Learner, slt: Voiceprint) -> None:
    outcome = learner.learn(slt, [addition(slt.takes[2])], NOBODY, [])
    assert [reason for _, reason in outcome.refused] == ["it is in the voiceprint already"]


def test_beyond_forty_the_oldest_learned_goes_and_no_enrolled_one(
    learner: Learner, slt: Voiceprint, near: list[Float32]
) -> None:
    learned = [addition(row, number) for number, row in enumerate(near)]
    person = learner.with_takes(slt, learned, NOBODY)
    assert len(person.takes) == MOST_TAKES
    np.testing.assert_array_equal(person.takes[:5], slt.takes)
    assert [facts["id"] for facts in person.learned] == [f"{number}-x" for number in range(10, len(near))]
    assert learned_of(person)[-1].facts == learned[-1].facts


def test_learned_takes_weigh_no_more_than_the_enrolled(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    """Thirty-five takes of another voice move the mean to half way, not to where that voice is."""
    cosine = replace(slt, kind=COSINE)
    poisoned = learner.with_takes(cosine, [addition(said["rms"][0], number) for number in range(35)], NOBODY)
    middle = slt.takes.mean(axis=0) + said["rms"][0]
    np.testing.assert_allclose(poisoned.centroid, middle / np.linalg.norm(middle), atol=1e-5)


# --- who is a stranger


def test_a_rejected_owner_is_no_impostor_and_a_stranger_is(
    slt: Voiceprint, said: dict[str, list[Float32]], enroller: Enroller
) -> None:
    verifier = Verifier([], enroller.speaker, enroller.head)
    own, strangers = np.array(said["slt"]), np.array(said["rms"] + said["kal16"])
    strict = replace(slt, threshold=1.0)  # rejects the owner, as noise would
    assert (verifier.margin(strict, own) < 0).all()
    assert len(impostors(own, [strict], verifier)) == 0
    assert len(impostors(strangers, [slt], verifier)) == len(strangers)
    assert len(impostors(strangers[:0], [slt], verifier)) == 0


def test_nobody_who_is_enrolled_is_an_impostor(
    slt: Voiceprint, rms: Voiceprint, said: dict[str, list[Float32]], enroller: Enroller
) -> None:
    verifier = Verifier([], enroller.speaker, enroller.head)
    rows = np.array(said["rms"])
    assert len(impostors(rows, [slt], verifier)) == len(rows)
    assert len(impostors(rows, [slt, rms], verifier)) == 0


def test_said_strangers_raise_the_threshold_by_a_decade_at_most(
    learner: Learner, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    cosine = replace(slt, kind=COSINE)  # a trained head learns to push them away besides
    plain = learner.with_takes(cosine, [], NOBODY)
    far = learner.with_takes(cosine, [], replace(NOBODY, strangers=np.array(said["rms"])))
    alike = learner.with_takes(cosine, [], replace(NOBODY, strangers=np.array(said["slt"])))
    assert far.threshold == plain.threshold
    assert alike.threshold == pytest.approx(plain.threshold + DECADE[COSINE])


# --- a household


@pytest.fixture
def people(slt_store: Path) -> PersonStore:
    return PersonStore(slt_store)


@pytest.fixture
def updater(people: PersonStore, enroller: Enroller) -> Updater:
    return Updater(people, enroller)


def test_one_wake_a_day_is_learned_by_the_given_clock(
    updater: Updater, people: PersonStore, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    store = LearningQueue(people)
    for number, row in enumerate(said["slt"]):
        store.add(heard(row, number, "slt", slt.binding.speaker))
    waiting = len(store.read())
    (first,) = updater.run(NOW_S + 60)
    assert (first.version, len(first.added)) == (2, 1)
    assert len(store.read()) == waiting - 1
    (again,) = updater.run(NOW_S + DAY_S)
    assert (again.version, again.added) == (None, ())
    (next_day,) = updater.run(NOW_S + DAY_S + 120)
    assert next_day.version == 3
    assert len(people.load("slt", WORD).learned) == 2


@pytest.mark.parametrize("wrong_s", [10 * 365 * DAY_S, -NOW_S])
def test_a_clock_that_is_wrong_erases_nothing_that_waits(
    wrong_s: float, updater: Updater, people: PersonStore, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    """A command by hand, on a machine without a clock of its own: 1970, or years ahead."""
    store = LearningQueue(people)
    for number, row in enumerate(said["slt"][:3]):
        store.add(heard(row, number, "slt", slt.binding.speaker))
    for number, row in enumerate(said["rms"][:3]):
        store.add(heard(row, 10 + number, None, slt.binding.speaker))
    (update,) = updater.run(NOW_S + wrong_s)
    gone = len(update.added) + len(update.refused)
    assert gone > 0
    assert len(store.read()) == 6 - gone


def test_a_dry_run_changes_nothing(
    updater: Updater, people: PersonStore, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    LearningQueue(people).add(heard(said["slt"][0], 0, "slt", slt.binding.speaker))
    before = snapshot(people.folder)
    (update,) = updater.run(NOW_S + 60, dry_run=True)
    assert len(update.added) == 1
    assert snapshot(people.folder) == before


def test_narrow_wakes_other_people_and_other_networks_are_not_learned(
    updater: Updater, people: PersonStore, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    store = LearningQueue(people)
    store.add(heard(said["rms"][0], 0, "slt", slt.binding.speaker))  # taken for slt, by whatever mistake
    store.add(heard(said["slt"][0], 1, "slt", "0" * 64))
    store.add(heard(said["slt"][1], 2, "bert", slt.binding.speaker))
    (update,) = updater.run(NOW_S + 60)
    assert (update.version, update.added, update.refused) == (None, (), ())


def test_strangers_who_gather_are_trained_against(
    updater: Updater, people: PersonStore, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    store, rng = LearningQueue(people), np.random.default_rng(2)
    rows = [row for voice in ("awb", "kal16") for row in said[voice]]
    for number in range(COHORT_STEP):
        row = rows[number % len(rows)] + 0.01 * rng.standard_normal(192).astype(np.float32)
        store.add(heard(row / np.linalg.norm(row), number, None, slt.binding.speaker))
        if number == COHORT_STEP - 2:
            (before,) = updater.run(NOW_S + 60)
    (after,) = updater.run(NOW_S + 120)
    assert (before.version, before.impostors) == (None, COHORT_STEP - 1)
    assert (after.version, after.impostors) == (2, COHORT_STEP)
    person = people.load("slt", WORD)
    assert person.learned == ()
    np.testing.assert_array_equal(person.takes, slt.takes)
    (settled,) = updater.run(NOW_S + 180)
    assert settled.version is None


EVENT = {
    "type": "rejection",
    "keyword": WORD,
    "time_ms": 1000,
    "keyword_score": 0.9,
    "person": None,
    "speaker_score": 0.4,
    "reason": "unknown_voice",
    "file": "mic",
}


@pytest.fixture
def journal(takes: Takes, read: Read, make_network: MakeNetwork, tmp_path: Path) -> Journal:
    """Entry 1 is a rejected wake of slt, entry 2 one of rms."""
    made = Journal(tmp_path / "wakes", 10, 1e6, lambda: NOW_S)
    for number, voice in enumerate(("slt", "rms"), start=1):
        samples = read(takes(voice, WORD, "test")[0])
        padded = np.pad(samples, (24_000, 24_000))
        end = find_wakes(padded, make_network(WORD)).candidates[0].sample
        at = f"2023-11-14T22:13:2{number}+00:00"
        made.add({**EVENT, "time_ms": 2000 * number, "at": at}, padded[end - 24_000 : end + 8_000])
    return made


def test_labels_enter_as_positives_and_as_negatives(
    people: PersonStore, enroller: Enroller, journal: Journal, slt: Voiceprint
) -> None:
    updater = Updater(people, enroller, journal)
    journal.label(1, "slt")
    journal.label(2, "not-me")
    (update,) = updater.run(NOW_S + 60)
    assert [facts["label"] for facts in update.added] == ["slt"]
    assert update.impostors == 1
    (again,) = updater.run(NOW_S + 2 * DAY_S)
    assert again.added == (), "it is learned once"
    journal.label(1, "not-me")
    (changed,) = updater.run(NOW_S + 3 * DAY_S)
    assert [facts["label"] for facts in changed.dropped] == ["not-me"]
    person = people.load("slt", WORD)
    assert person.learned == ()
    np.testing.assert_array_equal(person.takes, slt.takes)


def test_what_was_taken_back_is_not_learned_again_though_the_label_stays(
    people: PersonStore, enroller: Enroller, journal: Journal
) -> None:
    updater = Updater(people, enroller, journal)
    journal.label(1, "slt")
    (learned,) = updater.run(NOW_S + 60)
    assert len(learned.added) == 1
    version, gone = updates.take_back(people, "slt", WORD)
    assert (version, [one["label"] for one in gone]) == (1, ["slt"])
    (again,) = updater.run(NOW_S + 3 * DAY_S)
    assert (again.version, again.added) == (None, ())


def test_noise_is_nobody_and_nobody_is_trained_against_it(
    people: PersonStore, enroller: Enroller, journal: Journal
) -> None:
    journal.label(2, "noise")
    (update,) = Updater(people, enroller, journal).run(NOW_S + 60)
    assert (update.version, update.added, update.impostors) == (None, (), 0)


# --- the daemon and the command line


def flags(store: Path, **more: str) -> list[str]:
    sets = {"learning.enabled": "true", "people.watch_s": "0.2", **{k.replace("__", "."): v for k, v in more.items()}}
    return ["--store", str(store), *(word for key, value in sets.items() for word in ("--set", f"{key}={value}"))]


def test_the_daemon_queues_the_update_learns_undo_takes_back(slt_store: Path, spoken: dict[str, bytes]) -> None:
    before = snapshot(slt_store)
    with Live("-", *flags(slt_store, learning__update_s="0")) as daemon:
        daemon.says("listening to -")
        daemon.feed(spoken["rms"])
        assert daemon.event()["type"] == "rejection"
        daemon.feed(bytes(2 * 16_000 * 31))  # half a minute later it is nobody's second try
        daemon.feed(spoken["slt"])
        event = daemon.event()
        assert event["person"] == "slt"
        store = LearningQueue(PersonStore(slt_store))
        until(lambda: len(store.read()) == 2, "both wakes are queued")
        listed = earmark("learn", "list", "--store", slt_store, "--json").events
        assert sorted(one["state"] for one in listed) == ["stranger", "waiting"]
        (update,) = earmark("learn", "now", "--store", slt_store, "--json").events
        assert (update["version"], len(update["added"])) == (2, 1)
        daemon.says("reloaded")
        daemon.feed(spoken["slt"])
        changed = daemon.event()
        assert changed["person"] == "slt"
        assert changed["speaker_score"] > event["speaker_score"], "it has learned this very wake"
        (taken,) = [
            one
            for one in earmark("learn", "list", "slt", "--store", slt_store, "--json").events
            if one["state"] == "learned"
        ]
        assert (taken["name"], taken["source"], taken["for"]) == ("slt", "-", WORD)
        (undone,) = earmark("learn", "undo", "slt", "--store", slt_store, "--json").events
        assert [one["id"] for one in undone["taken_back"]] == [taken["id"]]
        daemon.says("reloaded", count=2)
        daemon.feed(spoken["slt"])
        assert daemon.event()["speaker_score"] == event["speaker_score"], "exactly as before"
        assert daemon.stop().code == 0
    after = {path: content for path, content in snapshot(slt_store).items() if not path.startswith(".")}
    assert after == {path: content for path, content in before.items() if not path.startswith(".")}


def test_the_daemon_runs_the_update_by_itself(slt_store: Path, spoken: dict[str, bytes]) -> None:
    with Live("-", *flags(slt_store, learning__update_s="1")) as daemon:
        daemon.says("listening to -")
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"
        people = PersonStore(slt_store)
        until(lambda: len(people.load("slt", WORD).learned) == 1, "the wake is learned", 60)
        assert daemon.stop().code == 0


def test_without_the_setting_nothing_is_kept(slt_store: Path, spoken: dict[str, bytes]) -> None:
    before = snapshot(slt_store)
    run = earmark("listen", "-", "--json", "--store", slt_store, stdin=spoken["slt"] + spoken["rms"])
    assert len(run.events) == 2
    assert snapshot(slt_store) == before


def test_near_misses_are_kept_and_no_other_sink_gets_them(slt_store: Path, scene: Any) -> None:
    audio = scene.astype("<i2").tobytes()
    plain = earmark("listen", "-", "--json", "--store", slt_store, stdin=audio)
    learning = earmark("listen", "-", "--json", *flags(slt_store), stdin=audio)
    assert learning.events == plain.events


def test_a_daemon_that_learns_loads_nothing_heavy(slt_store: Path, spoken: dict[str, bytes]) -> None:
    arguments = ["listen", "-", "--json", *flags(slt_store)]
    program = (
        "import json, sys\n"
        "from earmark.cli import main\n"
        f"code = main({arguments!r})\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=spoken["slt"], capture_output=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    loaded = {name.split(".")[0] for name in json.loads(done.stderr.decode().splitlines()[-1])}
    assert loaded & HEAVY == set()
    assert len(LearningQueue(PersonStore(slt_store)).read()) == 1


def test_who_has_learned_nothing_has_nothing_to_undo(slt_store: Path) -> None:
    run = earmark("learn", "undo", "slt", "--store", slt_store, code=2)
    assert "has learned nothing" in run.err
    assert "say whose" in earmark("learn", "forget", "--store", slt_store, code=2).err


def test_removing_a_person_erases_what_waits(
    slt_store: Path, slt: Voiceprint, said: dict[str, list[Float32]]
) -> None:
    store = LearningQueue(PersonStore(slt_store))
    store.add(heard(said["slt"][0], 0, "slt", slt.binding.speaker, at_s=time.time()))
    store.add(heard(said["rms"][0], 1, None, slt.binding.speaker, at_s=time.time()))
    earmark("people", "remove", "slt", "--store", slt_store)
    assert [one.person for one in store.read()] == [None]

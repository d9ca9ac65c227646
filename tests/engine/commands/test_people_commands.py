"""`earmark people`, as it is typed: exit codes, what is said, and what the daemon makes of an encrypted store."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Enrolled, Read, Takes
from helpers_learning import heard, with_learned
from helpers_store import checked, command, earmark, environment, make_voiceprint, save_cosine, snapshot
from kills import kept

from earmark.cli import main
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.commands import people_commands
from earmark.engine.commands.people_commands import journal_of
from earmark.engine.errors import EnrolmentRefused, InputError, PersonError, PersonMismatch, PersonUnknown
from earmark.engine.history.queue import LearningQueue
from earmark.engine.networks.card import load_card, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people import operations
from earmark.engine.people.store import COSINE, PersonStore, Voiceprint
from earmark.engine.settings.edit import renamed_line
from earmark.engine.settings.reading import load
from earmark.engine.verifier import Verifier
from earmark.enroll.commands import enroll_commands, retrain_commands
from earmark.enroll.enrolment import Enroller, Enrolment
from earmark.enroll.guided.kept import KeptSession
from earmark.enroll.learning.retrain import EMBEDDINGS, RECORDINGS, Remade, merge, remade

pytestmark = pytest.mark.slow

LIMIT_S = 120


@pytest.fixture(scope="module")
def network() -> KeywordNetwork:
    return KeywordNetwork(load_manifest("okay_nabu"))


def key_file(folder: Path) -> Path:
    path = folder / "key"
    path.write_bytes(b"correct horse")
    path.chmod(0o600)
    return path


# --- moving, going back


def test_export_and_import_move_a_person(tmp_path: Path) -> None:
    save_cosine(tmp_path / "one", "Zoë")
    file = tmp_path / "zoe.tar"
    run = earmark("people", "export", "Zoë", "--to", file, "--store", tmp_path / "one", "--json")
    assert run.events == [
        {"exported": "Zoë", "file": str(file), "versions": 1, "bytes": file.stat().st_size, "signed_by": None}
    ]
    run = earmark("people", "import", file, "--store", tmp_path / "two", "--unjudged")
    assert run.out == f"Zoë: 1 version from {file}, which nobody has signed\n"
    assert "Zoë (okay_nabu, version 1) is of other networks than those in use: taken unjudged" in run.err
    assert snapshot(tmp_path / "two" / "Zo%C3%AB") == snapshot(tmp_path / "one" / "Zo%C3%AB")
    before = snapshot(tmp_path / "two")
    run = earmark("people", "import", file, "--store", tmp_path / "two", "--unjudged", code=2)
    assert "'Zoë' is in" in run.err
    assert snapshot(tmp_path / "two") == before
    run = earmark("people", "import", file, "--as", "carl", "--store", tmp_path / "two", "--json", "--unjudged")
    assert run.events == [{"imported": "carl", "versions": 1, "keywords": ["okay_nabu"], "signed_by": None}]
    earmark("people", "import", file, "--replace", "--store", tmp_path / "two", "--unjudged")
    assert PersonStore(tmp_path / "two").names() == ["Zoë", "carl"]


def test_a_file_that_is_no_export_ends_with_exit_code_2(tmp_path: Path) -> None:
    for name, content in (("text", b"hello"), ("empty", b""), ("zeros", bytes(10240))):
        (tmp_path / name).write_bytes(content)
        run = earmark("people", "import", tmp_path / name, "--store", tmp_path / "store", code=2)
        assert f"{name}: not a person exported by earmark, or damaged" in run.err
    assert not (tmp_path / "store").exists()


def test_rename_says_whose_number_in_the_environment_is_still_the_old_name(tmp_path: Path) -> None:
    save_cosine(tmp_path / "earmark" / "people")
    env = environment(XDG_DATA_HOME=str(tmp_path), EARMARK_PEOPLE_SENSITIVITY_OF="anna = 0.6")
    run = earmark("people", "rename", "anna", "Änne", env=env)
    assert run.out == "anna is Änne now, in 1 version\n"
    assert (
        "Änne does not have the sensitivity of anna yet: call it so in people.sensitivity_of, "
        "EARMARK_PEOPLE_SENSITIVITY_OF" in run.err
    )


@pytest.mark.parametrize(
    ("text", "number", "line"),
    [
        (
            "[people]\nsensitivity_of = { bob = 0.1, anna = 0.7 }  # for anna\n",
            2,
            'sensitivity_of = { bob = 0.1, "Än ne" = 0.7 }  # for anna',
        ),
        ("# anna = 0.7\n[people.sensitivity_of]\nanna = 0.7\nhanna = 0.1\n", 3, '"Än ne" = 0.7'),
        ("people.sensitivity_of.'anna' = 0.7\n", 1, 'people.sensitivity_of."Än ne" = 0.7'),
        (
            '[people]\nstore = "/home/anna"\nsensitivity_of = { "anna" = 0.7 }',
            3,
            'sensitivity_of = { "Än ne" = 0.7 }',
        ),
    ],
    ids=["inline", "table", "dotted", "quoted"],
)
def test_the_line_of_the_settings_is_found_that_has_the_old_name(
    tmp_path: Path, text: str, number: int, line: str
) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text(text)
    assert renamed_line(file, "anna", "Än ne") == (number, line)
    lines = text.split("\n")
    lines[number - 1] = line
    file.write_text("\n".join(lines))
    numbers = load(file, {}).settings.people.sensitivity_of
    assert (numbers["Än ne"], "anna" in numbers) == (0.7, False)


def test_rename_names_the_line_to_change(tmp_path: Path) -> None:
    save_cosine(tmp_path / "people")
    file = tmp_path / "earmark.toml"
    file.write_text(f'[people]\nstore = "{tmp_path / "people"}"\nsensitivity_of = {{ anna = 0.7 }}\n')
    run = earmark("people", "rename", "anna", "Zoë", env=environment(EARMARK_SETTINGS=str(file)))
    assert f'line 3 of {file} must be:  sensitivity_of = {{ "Zoë" = 0.7 }}' in run.err


def test_a_name_that_is_taken_changes_nothing_anywhere(tmp_path: Path) -> None:
    store = PersonStore(tmp_path / "people")
    for name in ("anna", "bob"):
        save_cosine(store.folder, name)
    LearningQueue(store).add(heard(1))
    before = snapshot(tmp_path)
    assert "choose another name" in earmark("people", "rename", "anna", "bob", "--store", store.folder, code=2).err
    assert "no person 'carl'" in earmark("people", "rename", "carl", "dora", "--store", store.folder, code=2).err
    assert snapshot(tmp_path) == before


def test_what_waits_to_be_learned_gets_the_new_name_and_so_does_what_was_learned(tmp_path: Path) -> None:
    store = PersonStore(tmp_path / "people")
    store.save(with_learned(make_voiceprint("anna", kind=COSINE), 1))
    for one in (heard(1), heard(2, "bob", label="anna"), heard(3, "bob")):
        LearningQueue(store).add(one)
    run = earmark("people", "rename", "anna", "Zoë", "--store", store.folder, "--json")
    assert run.events == [{"renamed": "anna", "name": "Zoë", "versions": 1, "waiting": 2, "wakes": 0}]
    found = [(one.person, one.label) for one in LearningQueue(store).read()]
    assert found == [("Zoë", None), ("bob", "Zoë"), ("bob", None)]
    assert [facts["person"] for facts in store.load("Zoë", "okay_nabu").learned] == ["Zoë"]


def test_the_journal_of_the_service_lies_beside_its_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever erases somebody of the service names its store, as `earmark service install` says."""
    monkeypatch.setattr(people_commands, "SERVICE_STORE", tmp_path / "people")

    def found(store: str, **variables: str) -> Path | None:
        loaded = load(None, {"EARMARK_SETTINGS": "", **variables}, {"people.store": str(tmp_path / store)})
        journal = journal_of(argparse.Namespace(loaded=loaded), PersonStore(tmp_path / store))
        return None if journal is None else journal.folder

    assert found("people") == tmp_path / "wakes"
    assert found("people", EARMARK_JOURNAL_FOLDER="/srv/wakes") == Path("/srv/wakes")
    assert found("others") is None


def test_who_is_removed_has_nothing_waiting(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    store, key = PersonStore(tmp_path / "people"), key_file(tmp_path)
    for name in ("anna", "bob", "carl"):
        save_cosine(store.folder, name)
    queue = LearningQueue(store)
    for number, name in enumerate(("anna", "bob", "carl", "carl")):
        queue.add(heard(number, name))
    run = earmark("people", "remove", "anna", "--store", store.folder)
    assert run.out == "anna: erased, 1 version, and 1 wake that waited to be learned\n"
    assert [one.person for one in queue.read()] == ["bob", "carl", "carl"]
    KeptSession(store.folder, "dora", "okay_nabu", {}, tmp_path / "earmark" / "sessions").save(kept(1))
    env = environment(XDG_STATE_HOME=str(tmp_path))
    run = earmark("people", "encrypt", "--store", store.folder, "--key-file", key, env=env)
    assert f"takes of 1 broken-off enrolment are not sealed, in {tmp_path / 'earmark' / 'sessions'}" in run.err
    assert "sealed, 2 people and 3 wakes that wait to be learned. Without the key" in run.out
    for path in queue.folder.glob("*.json"):
        assert b"bob" not in path.read_bytes()
    before = snapshot(store.folder)
    env = environment(EARMARK_PASSPHRASE="another one")
    assert "wrong key for" in earmark("people", "decrypt", "--store", store.folder, env=env, code=2).err
    assert "no person 'anna'" in earmark("people", "remove", "anna", "--store", store.folder, code=2).err
    assert snapshot(store.folder) == before
    (event,) = earmark("people", "remove", "bob", "--store", store.folder, "--key-file", key, "--json").events
    assert event == {"removed": "bob", "versions": 1, "waiting": 1, "wakes": 0}
    run = earmark("people", "decrypt", "--store", store.folder, "--key-file", key)
    assert run.out == (
        f"{store.folder}: open, 1 person and 2 wakes that wait to be learned; the key opens nothing any more\n"
    )
    assert [one.person for one in queue.read()] == ["carl", "carl"]
    earmark("people", "encrypt", "--store", store.folder, "--key-file", key)
    run = earmark("people", "remove", "carl", "--store", store.folder)
    assert "without the key nobody can tell whose voice waits: that of everybody was erased, 2" in run.err
    assert queue.ids() == []


def test_rollback_counts_versions_up_and_needs_one_wake_word(tmp_path: Path) -> None:
    store = PersonStore(tmp_path)
    for seed in (1, 2):
        store.save(make_voiceprint(kind=COSINE, seed=seed))
    run = earmark("people", "rollback", "anna", "--store", tmp_path, "--json")
    assert run.events == [{"name": "anna", "keyword": "okay_nabu", "copied": 1, "version": 3}]
    store.save(make_voiceprint(keyword="alexa", kind=COSINE))
    run = earmark("people", "rollback", "anna", "--store", tmp_path, code=2)
    assert "is enrolled for alexa, okay_nabu: name one with --keyword" in run.err
    run = earmark("people", "rollback", "anna", "--keyword", "okay_nabu", "--to", "2", "--store", tmp_path)
    assert run.out == "anna (okay_nabu): version 2 counts again, as version 4\n"
    assert store.load("anna", "okay_nabu").report["seed"] == 2


def test_tidy_and_doctor_know_what_was_left(tmp_path: Path) -> None:
    save_cosine(tmp_path / "people")
    (tmp_path / "people" / ".new-left").mkdir()
    run = earmark("people", "tidy", "--store", tmp_path / "people")
    assert run.out == f"{tmp_path / 'people'}: 1 unfinished change\n"
    assert earmark("people", "tidy", "--store", tmp_path / "people").out == "nothing to tidy\n"
    earmark("people", "tidy", "--store", tmp_path / "nowhere", code=2)
    assert not (tmp_path / "nowhere").exists()


# --- the lock


def test_an_encrypted_store_from_the_command_line(slt_store: Path, tmp_path: Path, takes: Takes) -> None:
    key, take = key_file(tmp_path), takes("slt", "okay_nabu", "test")[0]
    store = ("--store", slt_store)
    plain = snapshot(slt_store)
    run = earmark("people", "encrypt", *store, "--key-file", key, "--json")
    assert run.events == [{"encrypted": str(slt_store), "people": 1, "waiting": 0}]
    assert earmark("people", "list", *store).out == "slt  (okay_nabu)\n"
    run = earmark("people", "show", "slt", *store, code=2)
    assert "the store of the people is encrypted: name its key with --key-file" in run.err
    run = earmark("replay", take, *store, "--key-file", key, "--json")
    assert [event["person"] for event in run.events] == ["slt"]
    env = environment(EARMARK_PEOPLE_KEY_FILE=str(key))
    assert earmark("people", "show", "slt", *store, "--json", env=env).events[0]["encrypted"] is True
    env = environment(EARMARK_PASSPHRASE="wrong horse")
    assert "wrong key for" in earmark("replay", take, *store, code=2, env=env).err
    env = environment(EARMARK_PASSPHRASE="correct horse")
    run = earmark("people", "export", "slt", "--to", tmp_path / "slt.tar", *store, env=env)
    assert "is not encrypted: whoever has it has the voice" in run.err
    run = earmark("people", "decrypt", *store, env=env)
    assert run.out == f"{slt_store}: open, 1 person; the key opens nothing any more\n"
    assert snapshot(slt_store) == plain


def test_a_daemon_starts_unattended_with_a_key_file_or_a_systemd_credential(
    slt_store: Path, tmp_path: Path, spoken: dict[str, bytes]
) -> None:
    key = key_file(tmp_path)
    earmark("people", "encrypt", "--store", slt_store, "--key-file", key)
    run = earmark("listen", "-", "--json", "--store", slt_store, stdin=spoken["slt"], code=2)
    assert "is encrypted" in run.err
    key.rename(tmp_path / "earmark.key")
    for where in (
        {"EARMARK_PEOPLE_KEY_FILE": str(tmp_path / "earmark.key")},
        {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    ):
        run = earmark("listen", "-", "--json", "--store", slt_store, stdin=spoken["slt"], env=environment(**where))
        assert [event["person"] for event in run.events] == ["slt"]


def test_a_passphrase_is_asked_for_on_a_terminal(tmp_path: Path) -> None:
    store = save_cosine(tmp_path / "people").parents[2]
    answers = {"encrypt": ["correct horse", "correct horse"], "decrypt": ["correct horse"]}
    for name, typed in answers.items():
        code, shown = on_a_terminal(["people", name, "--store", str(store)], typed)
        assert code == 0, shown
        assert "correct horse" not in shown
        assert bool(list(store.rglob("*.sealed"))) == (name == "encrypt")
    code, shown = on_a_terminal(["people", "encrypt", "--store", str(store)], ["correct horse", "wrong horse"])
    assert code == 2
    assert "the two passphrases differ: nothing was changed" in shown


def on_a_terminal(arguments: list[str], typed: list[str]) -> tuple[int, str]:
    """Exit code and screen of a run on a terminal of its own; each line is typed when something is asked."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env=environment()
    )
    os.close(inside)
    shown = b""
    waiting = list(typed)
    while True:
        try:
            part = os.read(terminal, 1024)
        except OSError:  # the other side has ended
            break
        if not part:
            break
        shown += part
        if waiting and shown.count(b": ") > len(typed) - len(waiting) and shown.rstrip(b" ").endswith(b":"):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    os.close(terminal)
    return process.wait(LIMIT_S), shown.decode()


def test_without_the_library_the_remedy_is_said(tmp_path: Path) -> None:
    save_cosine(tmp_path / "people")
    program = (
        "import sys; sys.modules['cryptography'] = None; from earmark.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["people", "encrypt", "--store", str(tmp_path / "people"), "--key-file", str(key_file(tmp_path))]
    done = subprocess.run(
        [command()[0], "-c", program, *arguments],
        capture_output=True,
        env=environment(),
        timeout=LIMIT_S,
        check=False,
    )
    run = checked(done.returncode, done.stdout, done.stderr)
    assert run.code == 1
    assert 'pip install "earmark[encryption]"' in run.err


# --- made anew


def test_kept_recordings_make_the_same_voiceprint_again(
    slt: Voiceprint, takes: Takes, read: Read, enroller: Enroller, network: KeywordNetwork, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    recordings = [read(path) for path in takes("slt", "okay_nabu", "enroll")]
    store.save(replace(slt, binding=replace(slt.binding, speaker="0" * 64, head="1" * 64)), recordings)
    new = remade(store, "slt", "okay_nabu", enroller, lambda _: network)
    assert (new.source, len(new.recordings)) == (RECORDINGS, 5)
    assert new.voiceprint.binding == slt.binding
    assert (new.voiceprint.takes == slt.takes).all()
    assert (new.voiceprint.weights.projection == slt.weights.projection).all()
    assert new.voiceprint.threshold == slt.threshold


def test_kept_embeddings_make_a_voiceprint_for_another_head(
    slt: Voiceprint, takes: Takes, read: Read, enroller: Enroller, network: KeywordNetwork, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    store.save(replace(slt, binding=replace(slt.binding, head="1" * 64)))
    new = remade(store, "slt", "okay_nabu", enroller, lambda _: network)
    assert (new.source, new.recordings) == (EMBEDDINGS, [])
    assert new.voiceprint.binding == slt.binding
    assert abs(new.voiceprint.threshold - slt.threshold) < 0.1
    verifier = Verifier([new.voiceprint], enroller.speaker, enroller.head)
    for voice, known in (("slt", "slt"), ("rms", None), ("awb", None)):
        take = read(takes(voice, "okay_nabu", "test")[0])
        assert verifier.verify(take[-int(1.2 * RATE_HZ) :], "okay_nabu").person == known


def test_embeddings_of_another_speaker_network_are_worth_nothing(
    slt: Voiceprint, enroller: Enroller, network: KeywordNetwork, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    store.save(replace(slt, binding=replace(slt.binding, speaker="0" * 64)))
    with pytest.raises(PersonMismatch, match="no recordings were kept: `earmark enroll slt` again"):
        remade(store, "slt", "okay_nabu", enroller, lambda _: network)
    assert store.versions("slt", "okay_nabu") == [1]


def enrolled_anew(store: PersonStore, name: str) -> None:
    store.remove(name)
    save_cosine(store.folder, name)


MEANWHILE: dict[str, tuple[Callable[[PersonStore], object], str]] = {
    "erased": (lambda store: store.remove("slt"), "erased or renamed"),
    "renamed": (lambda store: operations.rename(store, "slt", "susan"), "erased or renamed"),
    "recordings erased": (lambda store: operations.forget_recordings(store, "slt"), "has changed"),
    "enrolled anew": (lambda store: enrolled_anew(store, "slt"), "has changed"),
    "a version more": (lambda store: store.save(store.load("slt", "okay_nabu")), "has changed"),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_is_made_anew_is_not_saved_where_the_person_was_erased_or_changed_meanwhile(
    slt: Voiceprint, tmp_path: Path, what: str
) -> None:
    store, (change, says) = PersonStore(tmp_path), MEANWHILE[what]
    store.save(slt, [np.zeros(16_000, np.int16)])
    made = Remade(slt, store.recordings("slt", "okay_nabu"), RECORDINGS, store.contents("slt", "okay_nabu"))
    change(store)
    before = snapshot(tmp_path)
    with pytest.raises(PersonError, match=f"'slt' .*{says} meanwhile"):
        made.save(store)
    assert snapshot(tmp_path) == before


def test_two_are_not_merged_where_one_was_changed_while_it_was_computed(
    slt: Voiceprint, enroller: Enroller, network: KeywordNetwork, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    for name in ("slt", "susan"):
        store.save(replace(slt, name=name), [np.zeros(16_000, np.int16)])

    def find(_: str) -> KeywordNetwork:
        operations.forget_recordings(store, "susan")
        return network

    with pytest.raises(InputError, match="'slt' or 'susan' has changed meanwhile"):
        merge(store, "slt", "susan", enroller, find)
    assert store.names() == ["slt", "susan"]


@pytest.mark.parametrize("change", ["erased", "renamed"])
def test_retrain_does_not_enrol_again_who_was_erased_while_it_computed(
    slt: Voiceprint,
    network: KeywordNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
) -> None:
    """All are computed before the first is saved; one who is erased meanwhile does not keep the others from it."""
    store = PersonStore(tmp_path)
    store.save(slt)
    store.save(replace(slt, name="carl"))

    def find(*_: object) -> KeywordNetwork:
        if "slt" in store.names() and len(asked) == 1:
            MEANWHILE[change][0](store)
        asked.append(1)
        return network

    asked: list[int] = []
    monkeypatch.setattr(retrain_commands._Networks, "__call__", find)
    assert main(["people", "retrain", "--store", str(tmp_path)]) == PersonUnknown.exit_code
    shown = capsys.readouterr()
    assert "'slt' was erased or renamed meanwhile" in shown.err
    assert "carl (okay_nabu): version 2" in shown.out
    assert store.names() == ["carl", *(["susan"] if change == "renamed" else [])]


@pytest.mark.parametrize("was_there", [True, False])
def test_who_is_erased_during_a_further_enrolment_stays_erased(
    enrolled: Enrolled,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    was_there: bool,
) -> None:
    store, enrolment = PersonStore(tmp_path), enrolled("slt", "okay_nabu")

    def made(*_: object) -> Iterator[tuple[Enrolment, Callable[[], None]]]:
        if was_there:
            store.remove("slt")
        else:  # the first word of two is saved: from now on the person is there
            yield enrolment, lambda: None
            store.remove("slt")
        yield enrolment, lambda: None

    if was_there:
        store.save(enrolment.voiceprint)
    monkeypatch.setattr(enroll_commands, "_from_files", made)
    assert main(["enroll", "slt", "--store", str(tmp_path), "--from", "any.wav"]) == PersonUnknown.exit_code
    assert "'slt' was erased or renamed meanwhile" in capsys.readouterr().err
    assert store.names() == []


def test_an_earlier_version_does_not_come_back_of_who_was_erased_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PersonStore(tmp_path)
    for _ in range(2):
        save_cosine(tmp_path, "anna")

    def load(*_: object) -> Voiceprint:
        monkeypatch.undo()
        voiceprint = store.load("anna", "okay_nabu")
        PersonStore(tmp_path).remove("anna")
        return voiceprint

    monkeypatch.setattr(store, "load", load)
    with pytest.raises(PersonUnknown):
        store.rollback("anna", "okay_nabu")
    assert store.names() == []


def test_retrain_and_merge_from_the_command_line(slt_store: Path) -> None:
    run = earmark("people", "retrain", "--store", slt_store, "--json")
    (event,) = run.events
    assert (event["name"], event["version"], event["from"], event["takes"]) == ("slt", 2, "embeddings", 5)
    store = PersonStore(slt_store)
    store.save(replace(store.load("slt", "okay_nabu"), name="susan"))
    run = earmark("people", "merge", "susan", "slt", "--store", slt_store)
    assert "slt is susan now (okay_nabu); slt is erased" in run.out
    assert store.names() == ["susan"]
    assert store.versions("susan", "okay_nabu") == [1, 2]
    assert len(store.load("susan", "okay_nabu").takes) == 10
    assert "no person 'nobody'" in earmark("people", "merge", "susan", "nobody", "--store", slt_store, code=2).err


def test_two_people_are_not_merged_unless_it_is_forced(
    slt: Voiceprint, enrolled: Enrolled, enroller: Enroller, network: KeywordNetwork, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    store.save(slt)
    store.save(enrolled("rms", "okay_nabu").voiceprint)
    alexa = replace(slt, name="rms", keyword="alexa")
    store.save(alexa)
    before = snapshot(tmp_path)
    with pytest.raises(EnrolmentRefused, match=r"'slt' and 'rms' do not sound like one person .* 0 of 5 takes"):
        merge(store, "slt", "rms", enroller, lambda _: network)
    assert snapshot(tmp_path) == before
    merge(store, "slt", "rms", enroller, lambda _: network, force=True)
    assert store.names() == ["slt"]
    assert store.versions("slt", "okay_nabu") == [1, 2]
    assert store.load("slt", "alexa").takes.tolist() == alexa.takes.tolist()
    assert store.load("slt", "okay_nabu").binding.speaker == load_card("speaker").sha256


def test_what_is_shown_has_recordings_and_versions(tmp_path: Path, takes: Takes, read: Read) -> None:
    PersonStore(tmp_path).save(make_voiceprint(kind=COSINE), [read(takes("slt", "okay_nabu", "test")[0])])
    (shown,) = earmark("people", "show", "anna", "--store", tmp_path, "--json").events
    assert (shown["recordings"], shown["encrypted"], shown["versions"]) == (1, False, [1])
    run = earmark("people", "remove", "anna", "--only-recordings", "--store", tmp_path)
    assert run.out == "anna: 1 recording erased, the voiceprints stay\n"
    assert json.loads(earmark("people", "show", "anna", "--store", tmp_path, "--json").out)["recordings"] == 0

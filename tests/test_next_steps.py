"""After each step the next one, a store that is mistyped, and silence that is no success."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Takes
from helpers_store import make_voiceprint, save_cosine

from earmark import cli
from earmark.engine.commands.parser import command_line
from earmark.engine.errors import DeviceError
from earmark.engine.people.loading import not_heard
from earmark.engine.people.store import ANY_PHRASE, COSINE, PersonStore, Voiceprint

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this user has is not seen."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in [name for name in os.environ if name.startswith("EARMARK_")]:
        monkeypatch.delenv(name)


def run(said: Said, *words: str | Path, code: int = 0) -> tuple[str, str]:
    """Standard output and standard error of a command, which ends with the code."""
    assert cli.main([*map(str, words)]) == code
    found = said.readouterr()
    return found.out, found.err


def commands_in(text: str) -> list[str]:
    """The commands that a text tells a person to type; each must be one."""
    found = re.findall(r"`(earmark [^`]*)`", text)
    for line in found:
        command_line().parse_args(shlex.split(line)[1:])
    return found


# --- who can wake it


def saved(folder: Path, **words: str) -> PersonStore:
    store = PersonStore(folder)
    for name, keyword in words.items():
        store.save(make_voiceprint(name, keyword, COSINE))
    return store


def test_where_nobody_is_enrolled_it_is_said_what_to_type(tmp_path: Path) -> None:
    tmp_path = tmp_path / "a" / "b" / "c"  # pytest's own folder above it has a lock, and may look like a store
    (line,) = not_heard(PersonStore(tmp_path / "people"), ["okay_nabu"], False)
    assert line == f"nobody is enrolled in {tmp_path / 'people'}: `earmark enroll NAME`"
    (line,) = not_heard(PersonStore(tmp_path / "my people"), ["okay_nabu"], True)
    assert commands_in(line) == [f"earmark enroll NAME --store '{tmp_path / 'my people'}'"]


def test_who_is_enrolled_for_another_word_is_named(tmp_path: Path) -> None:
    store = saved(tmp_path, anna="alexa", berta="okay_nabu")
    assert not_heard(store, ["okay_nabu", "alexa"], False) == []
    (line,) = not_heard(store, ["okay_nabu"], False)
    assert line.startswith("anna is enrolled for alexa, which is not listened to: `--keyword alexa`")
    nobody, *each = not_heard(store, ["hey_jarvis"], False)
    assert nobody == "nobody is enrolled for hey_jarvis: `earmark enroll NAME`"
    assert [line.split()[0] for line in each] == ["anna", "berta"]


def test_who_is_enrolled_with_any_phrase_can_wake_nothing(tmp_path: Path) -> None:
    store = saved(tmp_path, anna=ANY_PHRASE, berta="okay_nabu")
    assert not_heard(store, ["okay_nabu"], False) == ["anna is enrolled with --any-phrase, and can wake nothing"]


def test_after_the_last_person_is_erased_it_is_said_how_to_enrol(tmp_path: Path, capsys: Said) -> None:
    saved(tmp_path / "people", anna="okay_nabu", berta="okay_nabu")
    where = ("--store", tmp_path / "people")
    assert "enroll" not in "".join(run(capsys, "people", "remove", "anna", *where))
    assert commands_in(run(capsys, "people", "remove", "berta", *where)[1]) == [
        f"earmark enroll NAME --store {tmp_path / 'people'}"
    ]
    assert run(capsys, "people", "list", *where, "--json") == ("", "")


@pytest.mark.parametrize("word", ["okay_nabu", "alexa"])
@pytest.mark.usefixtures("one_enroller")
def test_after_enrolling_comes_listening(word: str, takes: Takes, capsys: Said) -> None:
    line = ["enroll", "anna", "--plain", "--min-takes", "1", "--from", str(takes("slt", word, "enroll")[0])]
    words = [] if word == "okay_nabu" else ["--keyword", word]
    out, err = run(capsys, *line, *words)
    assert out.splitlines()[-1].startswith("anna can now wake it. Try: ")
    assert commands_in(out) == [" ".join(["earmark listen", *words])]
    assert "already" not in err
    (first,) = (PersonStore().versions("anna", word),)
    out, err = run(capsys, *line, *words)
    assert f"anna is enrolled for {word} already, in version {first[-1]}: the new version counts instead" in err
    assert commands_in(err) == ["earmark people rollback anna"]
    other = "alexa" if word == "okay_nabu" else "okay_nabu"
    line[-1] = str(takes("slt", other, "enroll")[0])
    assert f"anna stays enrolled for {word}" in run(capsys, *line, "--keyword", other)[1]


@pytest.mark.usefixtures("one_enroller")
def test_any_phrase_says_before_and_after_that_nothing_wakes_by_it(
    takes: Takes, tmp_path: Path, capsys: Said
) -> None:
    take = takes("slt", "alexa", "enroll")[0]
    line: list[str | Path] = ["enroll", "anna", "--plain", "--any-phrase", "--min-takes", "1", "--from", take]
    out, err = run(capsys, *line, "--store", tmp_path / "people")
    assert "nothing wakes by what is enrolled with --any-phrase" in err
    assert "okay_nabu" in err
    assert out.splitlines()[-1].startswith("anna can wake nothing: ")
    out, _ = run(capsys, *line, "--json", "--store", tmp_path / "people")
    assert [json.loads(text)["type"] for text in out.splitlines()] == ["enrolled"]


@pytest.mark.usefixtures("one_enroller")
def test_a_take_of_another_word_is_not_offered_any_phrase(takes: Takes, tmp_path: Path, capsys: Said) -> None:
    """Who mumbled would enrol somebody whom nothing wakes."""
    take = takes("slt", "a rainbow", "other")[0]
    _, err = run(capsys, "enroll", "anna", "--plain", "--from", take, "--store", tmp_path / "people", code=3)
    assert 'it is not "Okay Nabu", or not clearly' in err
    assert "any-phrase" not in err
    assert err.endswith("  other wake words: --keyword alexa, hey_jarvis, hey_mycroft\n")


# --- replay


def test_replay_says_that_nothing_was_heard_and_ends_each_file(
    slt_store: Path, takes: Takes, tmp_path: Path, capsys: Said
) -> None:
    heard, other = takes("slt", "okay_nabu", "test")[0], takes("slt", "alexa", "test")[0]
    broken = tmp_path / "text.wav"
    broken.write_text("no audio")
    where = ("--store", slt_store)
    out, err = run(capsys, "replay", other, *where)
    assert re.fullmatch(r"nothing heard in \d+\.\d s\n", out)
    assert err == ""
    assert "nothing heard" not in run(capsys, "replay", heard, *where)[0]
    out, err = run(capsys, "replay", "--json", heard, broken, other, *where, code=2)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["detection", "file", "file", "file"]
    ends = lines[1:]
    assert [list(end) for end in ends] == [["type", "file", "duration_ms", "events", "error"]] * 3
    assert [(end["file"], end["events"]) for end in ends] == [(str(heard), 1), (str(broken), 0), (str(other), 0)]
    assert [end["error"] is None for end in ends] == [True, False, True]
    assert ends[1]["error"] in err
    assert ends[1]["duration_ms"] == 0
    import soundfile

    for end in (ends[0], ends[2]):
        assert end["duration_ms"] == pytest.approx(1000 * soundfile.info(end["file"]).duration, abs=1)


def test_replay_says_who_cannot_be_heard(
    slt_store: Path, takes: Takes, capsys: Said, caplog: pytest.LogCaptureFixture
) -> None:
    take = takes("slt", "okay_nabu", "test")[0]
    run(capsys, "replay", take, "--keyword", "alexa", "--store", slt_store)
    assert "nobody is enrolled for alexa" in caplog.text
    assert "slt is enrolled for okay_nabu, which is not listened to" in caplog.text


# --- stores


READING = [
    "people list",
    "people show anna",
    "people remove anna",
    "people rename anna berta",
    "people export anna --to anna.tar",
    "people rollback anna",
    "people retrain",
    "people merge anna berta",
    "people encrypt",
    "people decrypt",
    "people tidy",
    "people verify",
    "learn list",
    "learn now",
    "learn undo anna",
    "learn forget --all",
    "fleet agent",
    "fleet consent anna",
    "fleet take start --signed-by 0",
    "doctor",
    "replay x.wav",
    "plot x.wav --out x.png",
]
MAKING = ["enroll anna --from x.wav", "people import x.tar", "listen -", "web"]


@pytest.mark.parametrize("line", READING)
def test_a_store_that_is_not_there_is_no_empty_one(line: str, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "people").mkdir()
    out, err = run(capsys, *line.split(), "--store", tmp_path / "peopel", code=2)
    assert out == ""
    assert f"no store of people in {tmp_path / 'peopel'}: did you mean people?" in err
    assert "nobody" not in err
    assert not (tmp_path / "peopel").exists()


def test_every_command_with_a_store_is_one_that_reads_or_makes_it() -> None:
    with_store = {leaf.prog for leaf in command_line().leaves() if "--store" in leaf._option_string_actions}
    named = {command_line().parse_args(line.split()).parser.prog for line in (*READING, *MAKING)}
    assert with_store == named


def test_the_store_of_nobody_yet_is_no_error_where_nobody_named_it(capsys: Said) -> None:
    assert "nobody is enrolled in" in run(capsys, "people", "list")[1]


def test_a_folder_beside_the_store_names_it(tmp_path: Path, capsys: Said) -> None:
    save_cosine(tmp_path / "earmark" / "people")
    for wrong in (tmp_path / "earmark", tmp_path, tmp_path / "earmark" / "people" / "anna"):
        err = run(capsys, "people", "list", "--store", wrong)[1]
        assert f"a store with people is {tmp_path / 'earmark' / 'people'}" in err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("people show ana", "did you mean anna?"),
        ("people rollback anna --keyword okay_nabo", "did you mean okay_nabu?"),
        ("learn undo ana", "did you mean anna?"),
        ("learn list ana", "did you mean anna?"),
        ("learn forget ana", "did you mean anna?"),
    ],
)
def test_a_mistyped_person_or_word_gets_the_right_one(typed: str, says: str, tmp_path: Path, capsys: Said) -> None:
    saved(tmp_path / "people", anna="okay_nabu", berta="okay_nabu")
    assert says in run(capsys, *typed.split(), "--store", tmp_path / "people", code=2)[1]


# --- doctor


def test_the_doctor_fails_where_a_microphone_is_asked_for_and_there_is_none(
    slt_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    from earmark.engine.commands import doctor
    from earmark.engine.commands.diagnosis import sound

    def nothing(*_: object) -> str:
        raise DeviceError("no microphone: plug one in")

    monkeypatch.setattr(doctor, "_check_devices", nothing)
    monkeypatch.setattr(sound, "record", nothing)
    monkeypatch.setattr(sound, "play_tone", nothing)
    out, _ = run(capsys, "doctor", "--json", "--store", slt_store)
    states = {finding["check"]: finding["state"] for finding in map(json.loads, out.splitlines())}
    assert states["microphones"] == "warning"
    assert "recording" not in states
    out, _ = run(capsys, "doctor", "--json", "--microphone", "--loudspeaker", "--store", slt_store, code=1)
    states = {finding["check"]: finding["state"] for finding in map(json.loads, out.splitlines())}
    assert {states[check] for check in ("microphones", "recording", "playing")} == {"FAILED"}
    assert [check for check, state in states.items() if state == "FAILED"] == ["microphones", "recording", "playing"]


def test_the_doctor_ends_with_the_next_step(slt: Voiceprint, slt_store: Path, tmp_path: Path, capsys: Said) -> None:
    out, _ = run(capsys, "doctor", "--store", slt_store)
    assert commands_in(out.splitlines()[-1]) == [f"earmark listen --store {slt_store}"]
    out, _ = run(capsys, "doctor")
    assert commands_in(out.splitlines()[-1]) == ["earmark enroll NAME"]
    PersonStore(tmp_path / "others").save(
        replace(slt, name="anna", keyword=ANY_PHRASE, binding=replace(slt.binding, keyword=""))
    )
    out, _ = run(capsys, "doctor", "--store", tmp_path / "others")
    assert out.splitlines()[-1].startswith("next: nobody is enrolled for okay_nabu")

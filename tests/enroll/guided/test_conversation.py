"""The guided enrolment, as somebody at a terminal lives it: a pseudo-terminal, a sound server, real speech."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Takes
from helpers_store import command, earmark, snapshot
from sound_server import SoundServer, require_pulseaudio
from terminal import LIMIT_S, NOW, Terminal, say_hello, speak

from earmark.engine.people.store import FREE_SPEECH, PersonStore

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROOM_SECONDS = 240
# Sound comes in real time: on a machine that is busy it comes late, and the session asks again or hears half a word.
# What is broken fails every time.
in_real_time = pytest.mark.flaky(reruns=2)
QUESTION = "Record somebody else?"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SoundServer]:
    require_pulseaudio()
    noise = np.random.default_rng(0).standard_normal(ROOM_SECONDS * 16_000) * 8  # a quiet room, −72 dBFS
    (tmp_path / "room.raw").write_bytes(noise.astype("<i2").tobytes())
    with SoundServer(tmp_path, tmp_path / "room.raw") as running:
        yield running


@in_real_time
def test_a_session_that_is_broken_off_goes_on_and_ends_with_a_person(
    server: SoundServer, takes: Takes, tmp_path: Path
) -> None:
    store, state = tmp_path / "people", tmp_path / ".local" / "state" / "earmark" / "sessions"
    arguments = ("anna", "--store", store, "--device", "mic", "--plain")
    files = iter(takes("rms", "okay_nabu", "enroll") + takes("rms", "okay_nabu", "test") * 2)
    hello = takes("rms", "okay maybe", "other")[0]

    terminal = Terminal(server, *arguments)
    try:
        terminal.shows("You will say it 5 times")
        say_hello(terminal, server, hello)
        terminal.shows("✓ The room is quiet.")
        speak(terminal, server, files, 2)
        terminal.shows("Take 3 of 5")
        terminal.types("\x03")  # Ctrl-C
        assert terminal.ends() == 128 + signal.SIGINT
    finally:
        terminal.close()
    assert "2 good takes are kept" in terminal.text
    assert not store.exists()
    (kept,) = state.iterdir()
    assert (kept.stat().st_mode & 0o777, state.stat().st_mode & 0o777) == (0o600, 0o700)

    terminal = Terminal(server, *arguments)  # goes on, and is killed in the middle
    try:
        say_hello(terminal, server, hello)
        terminal.shows("From last time 2 good takes are kept.")
        terminal.types("\n")
        terminal.shows("Take 3 of 5")
        terminal.process.kill()
        terminal.ends()
    finally:
        terminal.close()
    assert [path.name for path in state.iterdir()] == [kept.name]

    terminal = Terminal(server, *arguments, "--keep-audio", tmp_path / "audio", "--plot", tmp_path / "scores.png")
    try:
        say_hello(terminal, server, hello)
        terminal.shows("Go on with them?")
        terminal.types("\n")
        terminal.shows("Take 3 of 5")
        speak(terminal, server, files, 3)
        terminal.shows(QUESTION)
        terminal.types("y\n")
        terminal.shows("Let them speak")
        terminal.shows(NOW)
        for path in takes("slt", "okay_nabu", "enroll")[:3]:
            server.play(path)
        terminal.types("\n")
        terminal.shows("They were heard.")
        terminal.shows("Record one more?")
        terminal.types("n\n")
        assert terminal.ends() == 0, terminal.text
    finally:
        terminal.close()
    assert "You will be heard about 9" in terminal.text
    assert "anna: enrolled for okay_nabu from 5 takes\n" in terminal.text
    assert not state.exists()  # nothing of the session is left
    kept_takes = sorted((tmp_path / "audio").iterdir())
    assert len(kept_takes) == 3  # those of this run
    assert {path.stat().st_mode & 0o777 for path in kept_takes} == {0o600}
    assert (tmp_path / "scores.png").stat().st_size > 10_000
    report = PersonStore(store).load("anna", "okay_nabu").report
    assert report["others"]["recordings"] == 1
    assert {"cosine", "trained"} == set(report["achieved"])

    heard = earmark("replay", takes("rms", "okay_nabu", "test")[2], "--store", store, "--json")
    assert [event["person"] for event in heard.events] == ["anna"]


@in_real_time
def test_on_a_terminal_with_colours_each_bad_take_is_named_at_once(
    server: SoundServer, takes: Takes, tmp_path: Path
) -> None:
    store = tmp_path / "people"
    terminal = Terminal(server, "anna", "--store", store)
    good = takes("rms", "okay_nabu", "enroll")
    try:
        terminal.shows("Which microphone will you speak into?")
        assert terminal.shows("1  virtual microphone", "2  virtual microphone") == "1  virtual microphone"
        terminal.types("\n")
        say_hello(terminal, server, takes("rms", "okay maybe", "other")[0])
        terminal.shows("✓ The room is quiet.")
        terminal.shows(NOW)
        server.play(takes("rms", "alexa", "enroll")[0])
        assert terminal.shows('✗ That was not "Okay Nabu"', "✓ Take") == '✗ That was not "Okay Nabu"'
        terminal.shows(NOW)
        assert terminal.shows("✗ Nobody was heard.", "✓ Take") == "✗ Nobody was heard."
        speak(terminal, server, iter(good), 1)
        terminal.shows(NOW)
        server.play(good[0])
        terminal.shows("the very same sound", "somebody else", "A part of it is missing", "Nobody was heard")
        before = snapshot(tmp_path / ".local")
        terminal.types("\x03")
        assert terminal.ends() == 128 + signal.SIGINT
    finally:
        terminal.close()
    assert not store.exists()
    assert len([content for content in before.values() if content]) == 1
    assert "\x1b[" in terminal.text  # colours and the meter
    assert "█" in terminal.text
    assert "dBFS" not in terminal.text


def test_without_answers_it_ends_and_says_how_else(server: SoundServer, tmp_path: Path) -> None:
    done = subprocess.run(
        command("enroll", "anna", "--store", tmp_path / "people", "--device", "mic"),
        env=server.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert b"nobody answers on standard input" in done.stderr
    assert b"--from" in done.stderr
    assert not (tmp_path / "people").exists()


def test_without_a_microphone_it_says_so(tmp_path: Path) -> None:
    run = earmark("enroll", "anna", "--store", tmp_path / "people", "--device", "no such microphone", code=1)
    assert "no such microphone" in run.err
    assert not (tmp_path / "people").exists()


def test_others_belong_to_recordings(tmp_path: Path) -> None:
    run = earmark("enroll", "anna", "--store", tmp_path / "people", "--others", "x.wav", code=2)
    assert "--others belongs to --from" in run.err


@in_real_time
def test_half_a_minute_of_talk_at_the_microphone_is_added_to_who_is_enrolled(
    server: SoundServer, audio_dir: Path, slt_store: Path
) -> None:
    terminal = Terminal(server, "slt", "--talk", "--store", slt_store, "--device", "mic", "--plain")
    said = sorted(audio_dir.glob("slt_*_other_1.flac"))
    try:
        say_hello(terminal, server, said[0])
        terminal.shows("let slt talk for half a minute")
        terminal.shows(NOW)
        for path in [*said, *sorted(audio_dir.glob("slt_alexa_enroll_*.flac"))]:
            server.play(path)
        terminal.types("\n")
        assert terminal.ends() == 0, terminal.text
    finally:
        terminal.close()
    assert "pieces of free speech are known" in terminal.text
    assert PersonStore(slt_store).keywords("slt") == [FREE_SPEECH, "okay_nabu"]

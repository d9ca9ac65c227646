"""The daemon as a subprocess: its socket and status, and what must not keep it from detecting."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Takes
from helpers_store import earmark, environment, make_voiceprint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Live, may_be_cut_off
from sound_server import until

from earmark.engine.audio.files import read_audio
from earmark.engine.commands import status
from earmark.engine.commands.status import ask
from earmark.engine.errors import DaemonError
from earmark.engine.networks.card import builtin_keywords, load_manifest
from earmark.engine.people.store import COSINE, PersonStore, Voiceprint
from earmark.engine.sinks.unix import MAX_ASKING, MAX_CLIENTS

pytestmark = pytest.mark.slow

SILENCE = bytes(2 * 16_000)
MANY = 10_000


@pytest.fixture
def store(slt: Voiceprint, tmp_path: Path) -> Path:
    PersonStore(tmp_path / "people").save(slt)
    return tmp_path / "people"


@pytest.fixture(scope="module")
def words(takes: Takes) -> dict[str, bytes]:
    """voice -> "okay nabu" as raw audio, with silence before and behind it."""
    found = {voice: read_audio(takes(voice, "okay_nabu", "test")[0]).tobytes() for voice in ("slt", "rms")}
    return {voice: SILENCE + word + SILENCE for voice, word in found.items()}


@contextmanager
def listening(store: Path, *arguments: str | Path, **changes: str) -> Iterator[tuple[Live, Path]]:
    """A daemon on a pipe that stays open, with its socket."""
    path = store.parent / "s"
    with Live(
        "-", "--store", store, "--set", f"socket.path={path}", *arguments, env=environment(**changes)
    ) as daemon:
        daemon.says("listening to -")
        until(path.exists, "its socket")
        yield daemon, path


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))  # without a time limit: with one, a queue that is full just now is an error
    except OSError:
        connection.close()
        raise
    connection.settimeout(60)
    return connection


def registered(daemon_socket: Path, *connections: socket.socket) -> None:
    """Every connection is served: each has had an answer."""
    for connection in connections:
        connection.sendall(b"status\n")
        assert json.loads(line_of(connection))["type"] == "status"
    assert ask([daemon_socket])["type"] == "status"


def line_of(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(1)
        assert piece, "the daemon hung up"
        line += piece
    return line


def heard_as_slt(daemon: Live, words: dict[str, bytes]) -> None:
    daemon.feed(words["slt"])
    event = daemon.event()
    assert (event["type"], event["person"]) == ("detection", "slt")


# --- the socket


def test_everybody_on_the_socket_reads_the_events(store: Path, words: dict[str, bytes]) -> None:
    with listening(store) as (daemon, path), ExitStack() as stack:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        readers = [stack.enter_context(connected(path)) for _ in range(5)]
        registered(path, *readers)
        daemon.feed(words["slt"] + words["rms"])
        printed = [daemon.event(), daemon.event()]
        for reader in readers:
            got = [json.loads(line_of(reader)) for _ in printed]
            assert all(event.pop("at").endswith("+00:00") and event.pop("source") == "mic" for event in got)
            assert got == printed
        assert daemon.stop().code == 0
    assert not path.exists()


def test_status_tells_how_it_is(store: Path, words: dict[str, bytes]) -> None:
    with listening(store, "--set", "people.sensitivity=0.6", "--mode", "prefer") as (daemon, path):
        daemon.feed(words["slt"] + words["rms"])
        for _ in range(2):
            daemon.event()
        until(lambda: ask([path])["audio_s"] >= 5, "all audio is heard")
        answer = daemon.status(path)
        assert {
            key: answer[key] for key in ("people", "mode", "on_error", "keywords", "voice_sensitivity", "faults")
        } == {
            "people": ["slt"],
            "mode": "prefer",
            "on_error": "reject",
            "keywords": ["okay_nabu"],
            "voice_sensitivity": 0.6,
            "faults": [],
        }
        assert answer["pid"] == daemon.process.pid
        events = {(count["type"], count["reason"]): count["count"] for count in answer["counts"]["events"]}
        assert events == {("detection", "known_voice"): 1, ("detection", "unknown_voice:prefer"): 1}
        assert sum(answer["latency_ms"]["up_to"].values()) == answer["latency_ms"]["count"] == 2
        assert 0 < answer["cpu_share"] < 2
        text = earmark("status", "--set", f"socket.path={path}").out
        for part in ("people       slt", "mode prefer", "unknown_voice:prefer", "sink socket"):
            assert part in text
        assert daemon.stop().code == 0


def test_without_a_daemon_status_says_what_to_do(tmp_path: Path) -> None:
    run = earmark("status", "--json", "--set", f"socket.path={tmp_path / 's'}", code=1)
    assert run.out == ""
    assert f"no daemon answers ({tmp_path / 's'}: No such file or directory): start one with" in run.err
    with pytest.raises(DaemonError, match="no socket"):
        ask([])


def test_a_socket_of_a_dead_daemon_is_replaced_and_one_of_a_living_is_not(
    store: Path, words: dict[str, bytes]
) -> None:
    with listening(store) as (dead, path):
        dead.process.kill()
        dead.process.wait()
        assert path.exists()
        with listening(store) as (daemon, _):
            until(lambda: _answers(path), "the new daemon answers")
            pid = ask([path])["pid"]
            assert pid == daemon.process.pid
            with Live("-", "--store", store, "--set", f"socket.path={path}") as second:
                second.says(f"{path} is served already: is another daemon running?")
                heard_as_slt(second, words)  # it does its work without
                assert second.stop().code == 0
            assert ask([path])["pid"] == pid
            assert daemon.stop().code == 0


def _answers(path: Path) -> bool:
    try:
        return bool(ask([path]))
    except DaemonError:
        return False


def test_hostile_clients_of_the_socket_change_nothing(store: Path, words: dict[str, bytes]) -> None:
    """Random bytes, endless lines, clients that send or read nothing, ten thousand one after another."""
    with listening(store) as (daemon, path), ExitStack() as stack:

        @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(content=st.binary(max_size=3000))
        def anything(content: bytes) -> None:
            with connected(path) as connection, may_be_cut_off():
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        anything()
        heard_as_slt(daemon, words)
        for number in range(MANY):
            connected(path).close()
            if number == MANY // 2:  # what a first wake and a first crowd need is had
                before_kb = memory_kb(daemon)
        idle = [stack.enter_context(connected(path)) for _ in range(100)]  # more than it serves at once
        assert ask_soon(path, idle)["counts"]["turned_away"][0]["server"] == "socket"
        heard_as_slt(daemon, words)
        assert memory_kb(daemon) - before_kb < MANY // 2  # less than 1 kB a connection
        run = daemon.stop()
        said = "earmark: socket: 64 clients are connected, more may ask for the state only"
        assert (run.code, run.err.splitlines()) == (0, ["earmark: listening to -", said])


def ask_soon(path: Path, idle: list[socket.socket]) -> dict[str, Any]:
    """The places are taken: some must be given up first."""
    for connection in idle[:50]:
        connection.close()
    until(lambda: _answers(path), "a place is free")
    return ask([path])


def memory_kb(daemon: Live) -> int:
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_a_client_that_never_reads_is_cut_off(store: Path) -> None:
    with listening(store) as (daemon, path), connected(path) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            while True:  # each request makes an answer that is never fetched
                lazy.sendall(b"status\n" * 100)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert {"server": "socket", "count": 1} in ask([path])["counts"]["turned_away"]
        assert ask([path])["sinks"]["socket"]["note"] == "a client did not read and was cut off"
        assert daemon.stop().code == 0


def test_nobody_can_keep_others_from_the_state(store: Path) -> None:
    """All places taken by who says nothing, and all those beyond as well."""
    with listening(store) as (daemon, path), ExitStack() as stack:
        for _ in range(MAX_CLIENTS + 3 * MAX_ASKING):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(path))
        for _ in range(20):
            assert ask([path])["type"] == "status"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.settimeout(60)
            connection.sendall(b"status\nstatus\n")
            with connection.makefile("rb") as lines:
                assert len(lines.readlines()) == 1, "one thing, and then it is the next one's turn"
        assert daemon.stop().code == 0


def test_who_asks_for_the_state_waits_for_a_place(tmp_path: Path) -> None:
    """A crowd came all at once: Linux has so many places for who is not answered yet, and refuses the next."""
    with socket.socket(socket.AF_UNIX) as listening, ExitStack() as crowd:
        listening.bind(str(tmp_path / "s"))
        listening.listen(1)
        with suppress(BlockingIOError):
            while True:
                one = crowd.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                one.connect(str(tmp_path / "s"))

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection = crowd.enter_context(listening.accept()[0])
                    connection.sendall(b'{"type": "status", "late": true}\n')

        later = threading.Timer(0.2, answer)
        later.start()
        assert ask([tmp_path / "s"])["late"]
        listening.shutdown(socket.SHUT_RDWR)
        later.join()


@pytest.mark.parametrize("says", [b"x", b"x" * 65_536, b'{"type": "event"}\n', b"\n", b"[" * 500 + b"\n"])
def test_whoever_serves_the_socket_cannot_hold_who_asks_for_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    monkeypatch.setattr(status, "ANSWER_S", 0.3)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()

    def flood() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            while True:  # until who asked has gone
                connection.sendall(says or b"\n")

    server = threading.Thread(target=flood, daemon=True)
    server.start()
    with listening, pytest.raises(DaemonError, match="no daemon answers"):
        ask([tmp_path / "s"])


# --- faults that must not keep it from detecting


def test_a_file_of_events_that_cannot_be_written_is_counted_and_said(store: Path, words: dict[str, bytes]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with listening(store, "--set", "jsonl.path=/dev/full") as (daemon, path):
        heard_as_slt(daemon, words)
        heard_as_slt(daemon, words)
        until(lambda: ask([path])["sinks"]["jsonl"]["failed"] >= 2, "both failures are counted")
        sink = ask([path])["sinks"]["jsonl"]
        assert "No space left on device" in sink["failure"]
        run = daemon.stop()
        assert run.err.count("sink jsonl:") == 1


def test_events_are_appended_to_a_file_of_the_owner(store: Path, words: dict[str, bytes]) -> None:
    file = store.parent / "events.jsonl"
    file.write_text('{"before": true}\n')
    file.chmod(0o600)
    with listening(store, "--set", f"jsonl.path={file}") as (daemon, _):
        daemon.feed(words["slt"])
        printed = daemon.event()
        assert daemon.stop().code == 0
    before, event = map(json.loads, file.read_text().splitlines())
    assert before == {"before": True}
    assert {key: event[key] for key in printed} == printed
    file.unlink()
    os.umask(os.umask(0))  # whatever it is
    with listening(store, "--set", f"jsonl.path={file}") as (daemon, _):
        heard_as_slt(daemon, words)
        assert daemon.stop().code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_sink_that_never_reads_does_not_delay_detection(store: Path, words: dict[str, bytes]) -> None:
    """A pipe that nobody reads, as the file of events: opening it for writing waits for ever."""
    pipe = store.parent / "pipe"
    os.mkfifo(pipe)
    with listening(store, "--set", f"jsonl.path={pipe}") as (daemon, path):
        daemon.feed(words["slt"] * 80)  # more than its queue holds
        for _ in range(80):
            assert daemon.event()["person"] == "slt"

        def queue() -> tuple[int, int]:
            sink = ask([path])["sinks"]["jsonl"]
            return sink["waiting"], sink["dropped"]

        until(lambda: sum(queue()) == 80, "the last event, which is printed first, has reached the queue")
        assert queue() == (64, 16)
        run = daemon.stop()
        assert run.code == 0
        assert run.err.count("sink jsonl is stuck: events are dropped") == 1


def test_one_damaged_person_does_not_silence_the_household(store: Path, words: dict[str, bytes]) -> None:
    version = PersonStore(store).save(make_voiceprint("anna", kind=COSINE))
    (version / "arrays.npz").write_bytes(b"damaged")
    with listening(store) as (daemon, path):
        daemon.says("the arrays' checksum does not hold")
        heard_as_slt(daemon, words)
        (fault,) = ask([path])["faults"]
        assert "anna" in fault
        assert daemon.stop().code == 0


def test_a_person_who_is_erased_is_forgotten_without_being_told(store: Path, words: dict[str, bytes]) -> None:
    with listening(store, "--set", "people.watch_s=0.05") as (daemon, path):
        heard_as_slt(daemon, words)
        earmark("people", "remove", "slt", "--store", store)
        daemon.says("reloaded: mode only, known: nobody")
        daemon.feed(words["slt"])
        event = daemon.event()
        assert (event["type"], event["person"], event["reason"]) == ("rejection", None, "nobody_enrolled")
        assert ask([path])["people"] == []
        assert daemon.stop().code == 0


def test_a_person_deleted_while_being_scored(store: Path, words: dict[str, bytes], slt: Voiceprint) -> None:
    """Saved and erased over and over while words come: each word is the person's or nobody's, and none is lost."""
    with listening(store, "--set", "people.watch_s=0.01") as (daemon, _):
        found = []
        for number in range(20):
            daemon.feed(words["slt"])
            if number % 2:
                PersonStore(store).save(slt)
            else:
                shutil.rmtree(store / "slt")
            found.append(daemon.event()["reason"])
        assert set(found) <= {"known_voice", "nobody_enrolled"}
        assert daemon.stop().code == 0


FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed: apt install libfaketime")
def test_a_clock_that_is_stepped_by_hours_changes_nothing(store: Path, words: dict[str, bytes]) -> None:
    """The wall clock of the process, by libfaketime; audio is counted in samples and does not care."""
    offset = store.parent / "offset"
    offset.write_text("+0")
    changes = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    events = store.parent / "events.jsonl"
    journal = ["--set", "journal.enabled=false", "--set", f"jsonl.path={events}"]
    with listening(store, *journal, **changes) as (daemon, path):
        times = []
        for hours in (0, 7, -9, 200):
            offset.write_text(f"{hours:+d}h")
            daemon.feed(words["slt"])
            times.append(daemon.event()["time_ms"])
        until(lambda: ask([path])["sinks"]["jsonl"]["waiting"] == 0, "all is written")
        assert daemon.stop().code == 0
    steps = np.diff(times)
    assert np.ptp(steps) <= 30  # the same audio four times: the same distance, to one inference
    stamps = [np.datetime64(json.loads(line)["at"][:19]) for line in events.read_text().splitlines()]
    hours_apart = [int((later - first) / np.timedelta64(1, "h") + 0.5) for first, later in zip(stamps, stamps[1:])]
    assert hours_apart == [7, -16, 209] or hours_apart == [7, -15, 209]


def test_a_wake_word_that_cannot_be_opened_does_not_get_in_by_a_reload(store: Path, words: dict[str, bytes]) -> None:
    """Its manifest is good, its network is not: nobody would see that before it is opened."""
    file, manifest = store.parent / "earmark.toml", store.parent / "word.json"
    network = load_manifest("okay_nabu")
    content = json.loads(builtin_keywords()["okay_nabu"].read_text())
    manifest.write_text(json.dumps({**content, "model": "word.tflite"}))
    manifest.with_suffix(".tflite").write_bytes(network.model_path.read_bytes()[:1000])
    file.write_text("")
    with listening(store, "--settings", file) as (daemon, path):
        file.write_text(f'[wake]\nkeywords = ["okay_nabu", "{manifest}"]\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("everything stays as it was")
        heard_as_slt(daemon, words)
        assert ask([path])["keywords"] == ["okay_nabu"]
        manifest.with_suffix(".tflite").write_bytes(network.model_path.read_bytes())
        daemon.process.send_signal(signal.SIGHUP)
        daemon.says("reloaded")
        daemon.feed(words["slt"])
        assert {daemon.event()["keyword"] for _ in range(2)} == {"okay_nabu", "word"}
        assert daemon.stop().code == 0

"""What a service manager is told: the real daemon, fed by a pipe, and a real datagram socket in the manager's place.

Nothing here asks how long something takes: datagrams are counted, and that none came is shown by a round trip (a
reload and its answer) behind which it would have come.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from helpers_store import checked, command, environment
from live import NOBODY, next_line

from earmark.engine.daemon.systemd import Notifier
from earmark.engine.people.store import PersonStore, Voiceprint

LIMIT_S = 60  # of a whole run, and of one datagram that must come
BLOCK = bytes(3200)  # 100 ms; the daemon reads no more at once
FED_EACH_BLOCK_USEC = "2"  # half of it passes between two blocks, whatever the machine


class Manager:
    """The service manager's socket, and the daemon that it has started."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.process: subprocess.Popen[bytes]

    def next(self) -> dict[str, str]:
        """The next datagram, as its assignments; fails where none comes."""
        lines = self._socket.recv(1 << 16).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def until(self, key: str, value: str = "1") -> list[dict[str, str]]:
        """Every datagram up to the one that says key=value, that one included."""
        seen = [self.next()]
        while seen[-1].get(key) != value:
            seen.append(self.next())
        return seen

    def reload(self) -> list[dict[str, str]]:
        """Asks for a reload; everything that is said until it is over, from RELOADING to READY."""
        self.process.send_signal(signal.SIGHUP)
        seen = self.until("RELOADING")
        return [*seen, *self.until("READY")]

    def reload_to(self, mode: str) -> list[dict[str, str]]:
        """The same, up to the status with that mode, by which the loop that waits for audio has gone round."""
        seen, wanted = self.reload(), {"STATUS": f"listening to -; mode {mode}; known: nobody"}
        return seen if wanted in seen else [*seen, *self.until("STATUS", wanted["STATUS"])]

    def feed(self, audio: bytes) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        stdin.write(audio)
        stdin.flush()

    def line(self) -> str:
        stderr: IO[bytes] | None = self.process.stderr
        assert stderr is not None
        return next_line(stderr).decode()


def said(datagrams: list[dict[str, str]], key: str) -> int:
    return sum(key in datagram for datagram in datagrams)


@contextmanager
def managed(store: Path, address: str | bytes, *arguments: str, **variables: str) -> Iterator[Manager]:
    """`earmark listen -` under a service manager; killed after a minute, whatever happens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(LIMIT_S)
        name = os.fsdecode(address)
        told = environment(NOTIFY_SOCKET="@" + name[1:] if name.startswith("\0") else name, **variables)
        line = command("listen", "-", "--json", "--store", store, *arguments)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        manager = Manager(listening)
        with subprocess.Popen(line, env=told, **pipes) as process:  # type: ignore[call-overload]
            limit = threading.Timer(LIMIT_S, process.kill)
            limit.start()
            try:
                manager.process = process
                assert manager.line() == "earmark: listening to -\n"
                yield manager
            finally:
                limit.cancel()
                process.kill()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_ready_comes_with_the_first_audio_and_not_before(path: str, tmp_path: Path, abstract: bool) -> None:
    with managed(tmp_path, f"\0{path}" if abstract else path) as manager:
        before = manager.until("STATUS", "listening to -; mode only; known: nobody")  # it has looked for audio
        manager.process.send_signal(signal.SIGHUP)
        assert "reloaded" in manager.line()
        assert said(before, "READY") == 0
        manager.feed(BLOCK)
        first = manager.until("READY")
        assert first == [{"READY": "1"}]  # and the reload before it was not told
        manager.feed(10 * BLOCK)
        second = manager.reload()
        assert said(second, "READY") == 1  # that of the reload
        assert said(first + second, "WATCHDOG") == 0  # nobody asked for it


def test_the_watchdog_is_fed_while_audio_flows_and_only_then(path: str, tmp_path: Path) -> None:
    settings = tmp_path / "earmark.toml"
    settings.touch()
    variables = {"WATCHDOG_USEC": FED_EACH_BLOCK_USEC, "EARMARK_SETTINGS": str(settings)}
    with managed(tmp_path, path, **variables) as manager:
        for _ in range(3):
            manager.feed(BLOCK)
            manager.until("WATCHDOG")
        quiet: list[dict[str, str]] = []
        for mode in ("prefer", "label", "only", "label"):  # each time the daemon looks for audio, and finds none
            settings.write_text(f'[wake]\nmode = "{mode}"\n')
            quiet += manager.reload_to(mode)
        assert said(quiet, "READY") == said(quiet, "RELOADING") == 4
        assert said(quiet, "WATCHDOG") == 0
        manager.feed(BLOCK)
        assert manager.next() == {"WATCHDOG": "1"}


def test_a_watchdog_of_another_process_is_not_fed(path: str, tmp_path: Path) -> None:
    with managed(tmp_path, path, WATCHDOG_USEC=FED_EACH_BLOCK_USEC, WATCHDOG_PID="1") as manager:
        manager.feed(5 * BLOCK)
        assert said(manager.until("READY") + manager.reload(), "WATCHDOG") == 0


def test_a_reload_is_said_at_its_beginning_and_its_end(path: str, tmp_path: Path) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[wake]\nmode = "prefer"\n')
    with managed(tmp_path, path, "--settings", str(settings)) as manager:
        manager.feed(BLOCK)
        status = manager.until("STATUS", "listening to -; mode prefer; known: nobody")
        assert said(status, "READY") == 1
        settings.write_text('[wake]\nmode = "label"\n')
        reload = manager.reload_to("label")
        assert [*reload[0]] == ["RELOADING", "MONOTONIC_USEC"]
        assert re.fullmatch("[1-9][0-9]*", reload[0]["MONOTONIC_USEC"])
        assert {"READY": "1"} in reload
        assert manager.line() == "earmark: reloaded: mode label, known: nobody\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'[wake]\nmode = "everybody"\n', "wake.mode='everybody' must be only or prefer or label"),
        (b"[wake\n", "not TOML"),
        (b"\xff", "not UTF-8"),
        (b'[wake]\nkeywords = ["okay_nabob"]\n', "okay_nabob"),
        (None, "cannot be read"),
    ],
    ids=["value", "toml", "bytes", "wake word", "gone"],
)
def test_broken_settings_leave_the_old_ones_and_the_service_ready(
    path: str, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[wake]\nmode = "prefer"\n')
    with managed(tmp_path, path, "--settings", str(settings)) as manager:
        manager.feed(BLOCK)
        manager.until("STATUS", "listening to -; mode prefer; known: nobody")
        if content is None:
            settings.unlink()
        else:
            settings.write_bytes(content)
        reload = manager.reload()
        assert (said(reload, "RELOADING"), said(reload, "READY")) == (1, 1)
        line = manager.line()
        assert complaint in line
        assert line.endswith("; everything stays as it was\n")
        manager.feed(BLOCK)
        settings.write_text('[wake]\nmode = "label"\n')
        assert said(reload + manager.reload_to("label"), "STATUS") == 1  # the broken one never changed it
        assert manager.line() == "earmark: reloaded: mode label, known: nobody\n"


def test_a_reload_whose_sink_cannot_be_made_changes_nothing(path: str, tmp_path: Path) -> None:
    """One that lacks its library: what ran before must go on, events and mode alike."""
    settings, events = tmp_path / "earmark.toml", tmp_path / "events.jsonl"
    settings.write_text(f'[jsonl]\npath = "{events}"\n')
    (tmp_path / "paho").mkdir()
    (tmp_path / "paho" / "__init__.py").write_text("raise ImportError('not here')")
    with managed(tmp_path, path, "--settings", str(settings), PYTHONPATH=str(tmp_path)) as manager:
        manager.feed(BLOCK)
        manager.until("STATUS", "listening to -; mode only; known: nobody")
        settings.write_text(f'[jsonl]\npath = "{events}2"\n[mqtt]\nhost = "localhost"\n[wake]\nmode = "label"\n')
        assert manager.reload()[-1] == {"READY": "1"}
        line = manager.line()
        assert "pip install 'earmark[mqtt]'" in line
        assert line.endswith("; everything stays as it was\n")
        settings.write_text(f'[jsonl]\npath = "{events}"\n')
        manager.reload()
        assert manager.line() == "earmark: reloaded: mode only, known: nobody\n"
    assert sorted(file.name for file in tmp_path.glob("*.jsonl*")) == ["events.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_last_word_is_that_it_stops(path: str, tmp_path: Path, number: signal.Signals) -> None:
    with managed(tmp_path, path) as manager:
        manager.feed(BLOCK)
        manager.until("READY")
        manager.process.send_signal(number)
        assert manager.until("STOPPING")[-1] == {"STOPPING": "1"}
        out, err = manager.process.communicate()
        assert checked(manager.process.returncode, out, err).code == 0


@pytest.mark.parametrize(("shown", "known"), [("false", "1 person"), ("true", "slt")])
def test_the_status_says_how_many_are_known_and_names_them_only_where_a_setting_says_so(
    path: str, tmp_path: Path, slt: Voiceprint, shown: str, known: str
) -> None:
    PersonStore(tmp_path).save(slt)
    with managed(tmp_path, path, "--set", f"log.names={shown}") as manager:
        manager.feed(BLOCK)
        manager.until("STATUS", f"listening to -; mode only; known: {known}")


def test_a_manager_that_is_gone_does_not_stop_the_daemon(path: str, tmp_path: Path) -> None:
    with managed(tmp_path, path) as manager:
        Path(path).unlink()
        manager.feed(BLOCK)
        assert "the service manager cannot be told 'READY=1'" in manager.line()
        manager.feed(20 * BLOCK)
        out, err = manager.process.communicate()  # the pipe's end
        assert checked(manager.process.returncode, out, err).code == 0
        assert all(line.startswith(NOBODY.encode()) for line in err.splitlines())  # it is said once


# --- the protocol alone


def test_a_service_that_waits_for_its_microphone_is_ready_and_is_not_restarted_for_it(path: str) -> None:
    """Else a machine whose microphone is unplugged would not finish to start, and a restart of it would hang."""
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": FED_EACH_BLOCK_USEC})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        notifier.reloading()
        notifier.reloaded()  # before it is ready nobody is told
        for _ in range(2):
            notifier.waiting()
        notifier.reloading()
        notifier.reloaded()
        notifier.audio()
        for _ in range(3):  # what was heard, and is gone, gets one restart: the watchdog is not fed any more
            notifier.waiting()
        notifier.stopping()
        said_keys = [manager.recv(100).decode().split("=")[0] for _ in range(7)]
        assert said_keys == ["READY", "WATCHDOG", "WATCHDOG", "RELOADING", "READY", "WATCHDOG", "STOPPING"]


def test_what_a_busy_manager_did_not_take_is_said_again(path: str) -> None:
    """Its queue is full for a moment: a READY that is lost would leave the service starting for ever."""
    notifier = Notifier({"NOTIFY_SOCKET": path})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        filled = 0
        while notifier.tell("FILLED=1"):
            filled += 1
        notifier.audio()
        notifier.status("listening")
        for _ in range(filled):
            assert manager.recv(100) == b"FILLED=1"
        notifier.audio()
        notifier.audio()
        notifier.status("listening")
        notifier.status("listening")
        notifier.stopping()
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"STATUS=listening", b"STOPPING=1"]


def test_a_status_is_one_line_whatever_is_in_it(path: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "many"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(LIMIT_S)
        notifier.status("no microphone 'x\nWATCHDOG=trigger\udcff'")
        assert manager.recv(100) == b"STATUS=no microphone 'x WATCHDOG=trigger\\udcff'"


def test_without_a_manager_nothing_is_told() -> None:
    notifier = Notifier({})
    notifier.audio()
    notifier.reloading()
    notifier.reloaded()
    notifier.stopping()
    assert not notifier.managed

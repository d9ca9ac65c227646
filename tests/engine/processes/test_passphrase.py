"""A passphrase is in no environment once it was read, and comes to a process of our own by no way that others see."""

from __future__ import annotations

import os
import socket
import subprocess
import threading

import pytest

from earmark import cli
from earmark.engine.people.keys import secret_from
from earmark.engine.processes import passphrase
from earmark.engine.processes.own import own_code

SECRET = "é correct horse"
CHILD = """
import ctypes, os, subprocess, sys
from pathlib import Path
from earmark import cli
from earmark.engine.people.keys import secret_from
from earmark.engine.processes import passphrase

def main():
    inherited = subprocess.run(["/usr/bin/env"], capture_output=True, check=True).stdout
    print([b"correct horse" in seen or b"EARMARK_PASSPHRASE=" in seen for seen in (began, inherited)])
    print(bytes(secret_from(None)()).decode() if passphrase.given() else "none")
    print(sorted(name for name in os.environ if name.startswith("EARMARK_PASSPHRASE")), b"PASSPHRASE" in inherited)
    return 3

began = Path("/proc/self/environ").read_bytes()
cli.main = main
sys.exit(cli.process())
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process has kept is of no other test."""
    monkeypatch.setattr(passphrase, "_KEPT", {})


def test_a_command_takes_it_out_of_its_environment_and_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrase.VARIABLE, SECRET)
    monkeypatch.setattr(cli, "main", lambda: 7)
    monkeypatch.setattr("earmark.engine.processes.private.keep_private", lambda: "")
    assert cli.process() == 7
    assert passphrase.VARIABLE not in os.environ
    for _ in range(2):  # a store is opened anew at a reload
        assert secret_from(None)() == bytearray(SECRET.encode())
    assert passphrase.given({}) is None


@pytest.mark.parametrize("secret", [SECRET, None], ids=["one", "none"])
def test_a_process_of_ours_is_given_it_and_no_environment_has_it(
    monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    monkeypatch.setenv(passphrase.VARIABLE, SECRET)
    done = passphrase.run_with(secret, own_code(CHILD), {}, 60)
    assert (done.returncode, done.stderr) == (3, b"")
    assert done.stdout.decode().splitlines() == ["[False, False]", secret or "none", "[] False"]


def test_it_is_told_to_nobody_who_does_not_ask() -> None:
    """A process that is not private yet could be looked into; what does not ask ends without it."""
    code = "import os, sys; os.close(int(os.environ[sys.argv[1]]))"
    assert passphrase.run_with(SECRET, own_code(code, passphrase.SOCKET_VARIABLE), {}, 60).returncode == 0
    code = "import os, sys; end = int(os.environ[sys.argv[1]]); os.write(end, b'!'); print(os.read(end, 99))"
    done = passphrase.run_with(SECRET, own_code(code, passphrase.SOCKET_VARIABLE), {}, 60)
    assert done.stdout == b"b''\n"


def test_it_is_asked_for_only_once_the_process_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def keep_private() -> str:
        order.append("private")
        return ""

    monkeypatch.setattr("earmark.engine.processes.private.keep_private", keep_private)
    monkeypatch.setattr(passphrase, "take", lambda: order.append("taken"))
    monkeypatch.setattr(cli, "main", lambda: 0)
    cli.process()
    assert order == ["private", "taken"]


def test_what_takes_too_long_is_ended() -> None:
    code = "import signal; signal.pause()"
    with pytest.raises(subprocess.TimeoutExpired):
        passphrase.run_with(SECRET, own_code(code), {}, 0.2)


def test_a_number_that_is_no_socket_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr("earmark.engine.processes.private.keep_private", lambda: "")
    for number in ("x", "999999", str(10**22), "-1", "1" * 5000):
        monkeypatch.setenv(passphrase.SOCKET_VARIABLE, number)
        assert cli.process() == 0
        assert "no passphrase comes that way" in capsys.readouterr().err
        assert passphrase.SOCKET_VARIABLE not in os.environ


def test_an_answer_of_several_parts_is_put_together() -> None:
    ours, theirs = socket.socketpair()
    with ours:

        def answer() -> None:
            assert ours.recv(1) == passphrase.ASKED
            for byte in SECRET.encode():
                ours.sendall(bytes([byte]))
            ours.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer)
        thread.start()
        environment = {passphrase.SOCKET_VARIABLE: str(theirs.detach())}
        passphrase.take(environment)
        thread.join()
    assert environment == {}
    assert passphrase.given() == SECRET

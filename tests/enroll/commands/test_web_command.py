"""`earmark web`: what it prints, where it listens, and that it ends when it is told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from broker import free_port
from helpers_store import command, earmark, environment

from earmark.engine.settings.reading import load
from earmark.enroll.commands import web_command

pytestmark = pytest.mark.slow


def test_it_prints_an_address_and_a_code_and_ends_in_order(tmp_path: Path) -> None:
    port = free_port()
    env = environment(XDG_STATE_HOME=str(tmp_path / "state"))
    line = command("web", "--port", str(port), "--store", tmp_path / "people")
    with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"earmark: the page is at http://127.0.0.1:{port}/\n"
        assert re.fullmatch(r"  code, good once .*: [A-Z2-9]{4}-[A-Z2-9]{4}\n", process.stderr.readline())
        assert "earmark web --code" in process.stderr.readline()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60)
        taken = earmark("web", "--port", str(port), "--store", tmp_path / "people", code=1, env=env)
        assert "cannot be listened on" in taken.err
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode in (0, -signal.SIGTERM)


def test_the_journal_of_the_system_gets_no_code(tmp_path: Path) -> None:
    """Others read it, and it is kept for weeks."""
    port = free_port()
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    with ours, theirs:
        found = os.fstat(ours.fileno())
        env = environment(XDG_STATE_HOME=str(tmp_path / "state"), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
        line = command("web", "--port", str(port), "--store", tmp_path / "people")
        with subprocess.Popen(line, env=env, stderr=ours.fileno()) as process, theirs.makefile() as said:
            lines = [said.readline(), said.readline()]
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    address = f"earmark: the page is at http://127.0.0.1:{port}/\n"
    assert lines == [address, "  a code to log in with: sudo earmark web --code\n"]
    assert not (tmp_path / "state" / "earmark" / "web" / "code.json").exists()


def test_another_code_is_printed_alone(tmp_path: Path) -> None:
    env = environment(XDG_STATE_HOME=str(tmp_path / "state"))
    run = earmark("web", "--code", "--store", tmp_path / "people", env=env)
    assert re.fullmatch(r"[A-Z2-9]{4}-[A-Z2-9]{4}\n?", run.out)
    assert (tmp_path / "state" / "earmark" / "web" / "code.json").stat().st_mode & 0o777 == 0o600


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    run = earmark("web", "--address", "my.host", "--store", tmp_path / "people", code=2)
    assert "web.address='my.host' must be an address" in run.err


def test_a_command_that_the_page_starts_has_the_same_settings(tmp_path: Path) -> None:
    flags = {"journal.most": "7", "people.sensitivity_of": '{"anna" = 0.6}', "people.store": str(tmp_path)}
    loaded = load(None, {"EARMARK_SETTINGS": ""}, flags)
    again = load(None, web_command.variables(loaded))
    assert again.settings == loaded.settings

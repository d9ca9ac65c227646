"""What the daemon's socket can be asked for beside the state: to be followed live, and to change a setting."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_store import environment
from live import Live
from sound_server import until

from earmark.engine.commands.status import ask
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.sinks.places import PROTOCOL
from earmark.engine.sinks.unix import LEVEL_SAMPLES, _levels

RNG = np.random.default_rng(0)


@contextmanager
def daemon_at(folder: Path) -> Iterator[tuple[Live, Path]]:
    path = folder / "s"
    arguments = ("-", "--store", folder / "people", "--set", f"socket.path={path}")
    with Live(*arguments, env=environment(XDG_STATE_HOME=str(folder / "state"))) as daemon:
        daemon.says("listening to -")
        until(path.exists, "its socket")
        yield daemon, path


class Asking:
    """A client of the socket."""

    def __init__(self, path: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        self._connection.settimeout(60)
        self._lines = self._connection.makefile("rb")

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._connection.close()

    def ask(self, request: str, kind: str | None = None) -> dict[str, Any]:
        """Sends a line, and reads until an answer of this kind, or an error."""
        self._connection.sendall(request.encode() + b"\n")
        return self.wait(kind or request.split()[0], "error")

    def wait(self, *kinds: str) -> dict[str, Any]:
        """The next object of these kinds."""
        while True:
            told: dict[str, Any] = json.loads(self._lines.readline())
            if told["type"] in kinds:
                return told


@pytest.mark.slow
def test_who_follows_gets_levels_scores_sound_and_changes_that_stay(
    slt: Voiceprint, spoken: dict[str, bytes], tmp_path: Path
) -> None:
    PersonStore(tmp_path / "people").save(slt)
    with daemon_at(tmp_path) as (daemon, path), Asking(path) as plain, Asking(path) as hearing:
        assert ask([path])["protocol"] == PROTOCOL == 2
        assert plain.ask("follow") == {"type": "follow", "sound": False}
        assert hearing.ask("follow sound") == {"type": "follow", "sound": True}
        daemon.feed(spoken["slt"])
        heard, levels, scores, end = [], [], [], 0
        wanted = len(spoken["slt"]) // 2 // LEVEL_SAMPLES * LEVEL_SAMPLES
        while end < wanted:
            told = hearing.wait("level")
            piece = np.frombuffer(base64.b64decode(told["pcm"]), "<i2")
            assert told["sample"] == end + len(piece)
            end = told["sample"]
            heard.append(piece)
            levels += told["dbfs"]
            scores.append(told["scores"]["okay_nabu"])
        given = np.frombuffer(spoken["slt"], "<i2")
        assert np.array_equal(np.concatenate(heard), given[:wanted])
        assert levels == _levels(given[:wanted].astype(np.int16))
        assert max(scores) > 0.85, "the word was in it"
        assert "pcm" not in plain.wait("level")
        assert plain.wait("detection")["person"] == "slt"

        assert plain.ask("set wake.mode label") == {"type": "set", "key": "wake.mode"}
        plain.wait("changed")
        assert plain.ask('set people.sensitivity_of {"slt" = 0.6}')["type"] == "set"
        plain.wait("changed")
        state = ask([path])
        assert (state["mode"], state["voice_sensitivity_of"]) == ("label", {"slt": 0.6})
        for wrong in ("wake.mode never", "wake.sensitivity 7", "hook.command x", "mqtt.host x", "wake.mode"):
            assert plain.ask(f"set {wrong}")["type"] == "error"
        assert "the requests are" in plain.ask("sing")["text"]
        assert plain.ask("unfollow") == {"type": "unfollow"}
        assert daemon.stop().code == 0
    with daemon_at(tmp_path) as (daemon, path):  # without any broker: it was changed here
        assert ask([path])["mode"] == "label"
        assert daemon.stop().code == 0


NOBODY = 65_534
STRANGER = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
lines = connection.makefile("rb")
for request in sys.argv[2:]:
    connection.sendall(request.encode() + b"\\n")
    print(lines.readline().decode(), end="")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_user_who_may_read_the_events_hears_nothing_and_changes_nothing(tmp_path: Path) -> None:
    with daemon_at(tmp_path) as (daemon, path):
        open_to_all = tmp_path
        while open_to_all != open_to_all.parent and open_to_all.stat().st_uid == os.geteuid():
            open_to_all.chmod(open_to_all.stat().st_mode | 0o011)
            open_to_all = open_to_all.parent
            if open_to_all == Path("/"):
                break
        path.chmod(0o666)
        line = [sys.executable, "-I", "-c", STRANGER, str(path), "follow sound", "set wake.mode label", "follow"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        sound, change, follow = map(json.loads, done.stdout.splitlines())
        assert (sound["type"], "root" in sound["text"]) == ("error", True)
        assert (change["type"], "root" in change["text"]) == ("error", True)
        assert follow == {"type": "follow", "sound": False}
        assert ask([path])["mode"] == "only"
        assert daemon.stop().code == 0


def test_a_level_is_that_of_its_tenth_of_a_second() -> None:
    half = np.tile(np.array([16_384, -16_384], np.int16), LEVEL_SAMPLES // 2)
    assert _levels(np.concatenate([half, np.zeros(LEVEL_SAMPLES, np.int16)])) == [-6.0, -120.0]

"""A real MQTT broker on loopback, and a client that listens to it."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from sound_server import until

LIMIT_S = 60.0


def mosquitto() -> str:
    """Where the broker is; skips the test where it is not."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("no mosquitto: apt-get install mosquitto")
    return found


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """mosquitto with nothing on disk; `lines` replace how anybody may come in."""

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",)) -> None:
        self._program, self.port = mosquitto(), free_port()
        self._file, self._lines = folder / f"mosquitto-{self.port}.conf", lines
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers.

        Somebody may have taken the port since it was free. Whoever answers there then is no broker of ours: it could
        be that of another run of the same tests, whose daemon says the same things.
        """
        while not self._starts():
            self.port = free_port()

    def _starts(self) -> bool:
        """Whether it has begun to listen; else it has ended, for the port is somebody else's."""
        own = [f"listener {self.port} 127.0.0.1", "persistence false", "user root"]
        log = self._file.with_suffix(".log")
        told = [f"log_dest file {log}", "log_type error", "log_type information", "log_type notice"]
        self._file.write_text("\n".join([*own, *told, *self._lines]) + "\n")
        log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        process = self._process

        def said(text: str) -> bool:
            return log.exists() and text in log.read_text("utf-8", "replace")

        until(lambda: said(" running") or process.poll() is not None, "mosquitto starts or ends", LIMIT_S)
        if process.poll() is None:
            return True
        assert said("Address already in use"), f"mosquitto does not start: {log.read_text() if log.exists() else ''}"
        return False

    def kill(self) -> None:
        """Without a word to anybody; what was retained is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

    def pause(self) -> None:
        """It is there, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)


class Heard(NamedTuple):
    """A message."""

    topic: str
    payload: bytes
    retained: bool
    """It was there before we came."""


class Ear:
    """Hears every message of a broker from now on, and what is retained."""

    def __init__(self, port: int) -> None:
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, f"test-{secrets.token_hex(4)}")
        self.client.on_message = lambda _c, _d, m: self.heard.append(Heard(m.topic, bytes(m.payload), m.retain))
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def __enter__(self) -> Ear:
        self.client.subscribe("#", qos=1)
        assert self._subscribed.wait(LIMIT_S), "the broker does not answer"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def mark(self) -> int:
        """Before now."""
        return len(self.heard)

    def wait(self, topic: str, payload: str | None = None, since: int | None = None, count: int = 1) -> Heard:
        """The message, the `count`-th of that topic (and payload); since a mark only what was said after we came."""

        def found() -> list[Heard]:
            wanted = None if payload is None else payload.encode()
            heard = self.heard if since is None else [m for m in self.heard[since:] if not m.retained]
            return [m for m in heard if m.topic == topic and wanted in (None, m.payload)]

        until(lambda: len(found()) >= count, f"{count} × {topic} {payload} in {self.heard[since:]}"[:2000], LIMIT_S)
        return found()[count - 1]

    def command(self, topic: str, payload: str) -> None:
        """Sends it, and waits until the daemon says that it is so; what an earlier one left behind does not count."""
        mark = self.mark()
        self.say(f"{topic}/set", payload)
        self.wait(topic, payload, since=mark)

    def say(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        """Returns when the broker has it."""
        told = self.client.publish(topic, payload, qos=1, retain=retain)
        told.wait_for_publish(LIMIT_S)
        assert told.is_published()

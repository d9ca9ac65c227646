"""What stands in a house with Home Assistant: broker, daemon, microphone, speech recogniser.

Each can be started, ended and killed. All of it is in namespaces that `scripts/check_homeassistant` made.
"""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from client import wait_for
from paho.mqtt.enums import CallbackAPIVersion

PARTS = Path(__file__).parent
AUDIO = PARTS.parents[2] / "tests" / "audio"
EARMARK = Path(sys.executable).with_name("earmark")
BROKER_PORT, RECOGNISER_PORT, WAKE_PORT = 1883, 10300, 10400
END_S = 60.0
SILENCE_WARNING_S = 2.0
AREA = "Kitchen"

BROKER = f"listener {BROKER_PORT} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n"
SETTINGS = """\
[audio]
silence_warning_s = {silence_s}
[people]
store = "{work}/people"
watch_s = 0.5
[socket]
path = "{work}/earmark.sock"
[wyoming]
uris = ["tcp://0.0.0.0:{wake_port}"]
zeroconf = true
[mqtt]
host = "127.0.0.1"
area = "{area}"
"""
CONFIGURATION = """\
homeassistant:
  {name: Check, time_zone: UTC, country: DE, latitude: 52, longitude: 13, elevation: 0, unit_system: metric}
api:
config:
zeroconf:
assist_pipeline:
recorder:
history:
logbook:
counter: !include counters.yaml
automation: !include automations.yaml
logger: {default: warning, logs: {homeassistant.components.mqtt: info, homeassistant.components.wyoming: info}}
"""


class House:
    """In a folder; `home_assistant` is the command that starts one, which finds its configuration as `config`."""

    def __init__(self, work: Path, home_assistant: str, counters: list[str]) -> None:
        self.work = work
        self._commands = {
            "broker": f"exec mosquitto -c {work}/broker.conf",
            "daemon": f"exec {EARMARK} listen - --json --settings {work}/earmark.toml <{work}/microphone",
            "microphone": f"exec {sys.executable} {PARTS}/microphone.py {work}/microphone {work}/spoken",
            "recogniser": f"exec {sys.executable} {PARTS}/recogniser.py tcp://127.0.0.1:{RECOGNISER_PORT}",
            "home assistant": f"exec {home_assistant}",
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)
        for folder in ("people", "spoken", "config"):
            (work / folder).mkdir()
        os.mkfifo(work / "microphone")
        (work / "broker.conf").write_text(BROKER)
        told = {"work": work, "wake_port": WAKE_PORT, "silence_s": SILENCE_WARNING_S, "area": AREA}
        (work / "earmark.toml").write_text(SETTINGS.format(**told))
        (work / "config" / "configuration.yaml").write_text(CONFIGURATION)
        (work / "config" / "automations.yaml").write_text("[]\n")
        (work / "config" / "counters.yaml").write_text("".join(f"{name}: {{}}\n" for name in counters))
        os.environ.update(HOME=str(work), XDG_STATE_HOME=str(work / "state"), PATH=f"{os.environ['PATH']}:/usr/sbin")

    def log(self, name: str) -> str:
        """All that it has written."""
        path = self.work / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self, *names: str) -> None:
        """Each in a process of its own."""
        for name in names:
            with (self.work / f"{name}.log").open("ab") as log:
                out = (self.work / "events").open("ab") if name == "daemon" else log
                self._running[name] = subprocess.Popen(
                    self._commands[name], shell=True, stdin=subprocess.DEVNULL, stdout=out, stderr=log
                )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """By a signal."""
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait(END_S)

    def say(self, voice: str, number: int = 1) -> float:
        """Somebody says "okay nabu" -> when it began, by the clock of `time.monotonic`."""
        path = self.work / "spoken"
        (path / ".new").write_text(str(AUDIO / f"{voice}_okay_nabu_test_{number}.flac"))
        (path / ".new").rename(path / f"{next(self._numbers):04d}")
        return time.monotonic()

    def mute(self, muted: bool) -> None:
        """The microphone gives nothing but zeros, or hears again."""
        place = self.work / "spoken" / ".muted"
        place.touch() if muted else place.unlink()

    def earmark(self, line: str) -> str:
        """A command of earmark's -> what it says.

        Raises:
            AssertionError: it fails.
        """
        words = [str(EARMARK), *shlex.split(line)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"earmark {line}: {done.stderr or done.stdout}"
        return done.stdout + done.stderr

    def enrol(self, voice: str) -> None:
        """From its recordings."""
        takes = " ".join(map(str, sorted(AUDIO.glob(f"{voice}_okay_nabu_enroll_*.flac"))))
        self.earmark(f"enroll {voice} --store {self.work}/people --from {takes}")

    def close(self, keep: Path) -> None:
        """Ends everything; logs stay in another folder."""
        for name in list(self._running):
            self._running[name].kill()
            self._running.pop(name).wait(END_S)
        shutil.rmtree(keep, ignore_errors=True)
        keep.mkdir(parents=True)
        for path in [*self.work.glob("*.log"), self.work / "events"]:
            if path.exists():
                shutil.copy(path, keep)


class Heard(NamedTuple):
    """A message."""

    topic: str
    text: str
    retained: bool
    at_s: float
    """Seconds since 1970, when it came."""


class Ear:
    """Hears all messages of the broker, while it lives; each connection hears what is retained anew.

    With QoS 0, as Home Assistant does: of QoS 1 Mosquitto holds small messages back for 40 ms (Nagle's algorithm,
    unless its `set_tcp_nodelay` is true).
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=0)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", BROKER_PORT)
        self._client.loop_start()
        assert self._subscribed.wait(END_S)

    def _hear(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        text = bytes(message.payload).decode("utf-8", "replace")
        self.heard.append(Heard(message.topic, text, message.retain, time.time()))

    def of(self, end: str) -> list[Heard]:
        """Those whose topic ends so."""
        return [one for one in self.heard if one.topic.endswith(end)]

    def more(self, end: str, before: int, seconds: float = 15.0) -> Heard:
        """The first one beyond so many."""
        wait_for(f"a message to …{end}", seconds, lambda: len(self.of(end)) > before)
        return self.of(end)[before]

    def close(self) -> None:
        """Goes."""
        self._client.disconnect()
        self._client.loop_stop()


def retained() -> dict[str, str]:
    """Everything that the broker keeps."""
    ear = Ear()
    time.sleep(1.0)  # it gives all of it at once
    ear.close()
    return {one.topic: one.text for one in ear.heard if one.retained and one.text}

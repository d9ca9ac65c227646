"""A house whose satellites earmark wakes: the daemon, a speech recogniser, satellites, Home Assistant."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PARTS = Path(__file__).resolve().parent
REPOSITORY = PARTS.parents[2]
HOUSE = PARTS.with_name("homeassistant")
AUDIO = REPOSITORY / "tests" / "audio"
EARMARK = Path(sys.executable).with_name("earmark")
ADDRESS, WAKE_PORT, RECOGNISER_PORT = "192.168.77.1", 10400, 10300
PEOPLE = {"anna": ("slt", "okay_nabu"), "ben": ("rms", "alexa")}
SETTINGS = """\
[wake]
keywords = ["okay_nabu", "alexa"]
[people]
store = "{work}/people"
watch_s = 0.5
[socket]
path = "{work}/earmark.sock"
[wyoming]
uris = ["tcp://0.0.0.0:{port}"]
zeroconf = true
"""
COMMANDS = {  # of satellites that hear the wake word themselves: this is what is said, and to whom it belongs
    "slt": ("slt_set_a_timer_for_other_1.flac", "slt_please_turn_the_lights_other_1.flac"),
    "rms": ("rms_what_is_the_weather_other_1.flac", "rms_please_turn_the_lights_other_1.flac"),
    "awb": ("awb_please_turn_the_lights_other_1.flac", "awb_the_train_was_late_other_1.flac"),
}
STRANGER = "awb"
RECOGNITION_S = 0.3  # of a quick machine
COMMAND = "awb_please_turn_the_lights_other_1.flac"  # the recogniser hears the same in everything
CONFIGURATION = """\
homeassistant: {name: Check, time_zone: UTC, country: DE, latitude: 52, longitude: 13, elevation: 0}
api:
config:
zeroconf:
conversation:
assist_pipeline:
recorder:
automation: !include automations.yaml
language_agent:
logger: {default: warning, logs: {custom_components.earmark: debug}}
"""


class Satellite:
    """One, with a microphone of its own."""

    def __init__(
        self, name: str, person: str, port: int, address: str = "127.0.0.1", wakes: bool = False, sends: str = ""
    ) -> None:
        self.name, self.person, self.port, self.address = name, person, port, address
        self.voice, self.keyword = PEOPLE[person]
        self.sends = f"tcp://{address}:{WAKE_PORT} {self.keyword}" if wakes else sends
        """Whom it asks for which wake word: the daemon, at its own address; empty: Home Assistant looks for it."""
        self.device = self.entity = self.select = ""


SATELLITES = [
    Satellite("kitchen", "anna", 10701),
    Satellite("bath", "ben", 10702),
    Satellite("hall", "anna", 10703, "192.168.78.1", wakes=True),
    Satellite("attic", "ben", 10704, "192.168.79.1", wakes=True),
]
ELSEWHERE = [
    Satellite("porch", "anna", 10705, sends="commands"),
    Satellite("cellar", "ben", 10706, sends="commands"),
]


class House:
    """What runs, in a folder in which Home Assistant finds its configuration as `config`."""

    def __init__(self, work: Path, command: str) -> None:
        self.work = work
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)
        recogniser = f"{sys.executable} {HOUSE}/recogniser.py tcp://127.0.0.1:{RECOGNISER_PORT}"
        self._commands = {
            "daemon": f"{EARMARK} listen --device none -v --settings {work}/earmark.toml",
            "recogniser": recogniser,
            "slow recogniser": f"{recogniser} {RECOGNITION_S}",
            "home assistant": command,
        }
        for one in [*SATELLITES, *ELSEWHERE]:
            (work / one.name).mkdir()
            words = [sys.executable, f"{PARTS}/satellite.py", one.name, f"tcp://{one.address}:{one.port}"]
            words += [f"{work}/{one.name}", one.sends]
            self._commands[one.name] = " ".join(words)
        config = work / "config"
        (config / "custom_components").mkdir(parents=True)
        shutil.copytree(REPOSITORY / "custom_components" / "earmark", config / "custom_components" / "earmark")
        shutil.copytree(REPOSITORY / "blueprints", config / "blueprints")
        shutil.copytree(PARTS / "language_agent", config / "custom_components" / "language_agent")
        (config / "configuration.yaml").write_text(CONFIGURATION)
        (config / "automations.yaml").write_text("[]\n")
        self.set_up("trusted = []\n")
        os.environ.update(HOME=str(work), XDG_STATE_HOME=str(work / "state"))

    def set_up(self, more: str) -> None:
        """Writes the daemon's settings."""
        (self.work / "earmark.toml").write_text(SETTINGS.format(work=self.work, port=WAKE_PORT) + more)

    def start(self, *names: str) -> None:
        """Each in a process of its own."""
        for name in names:
            with (self.work / f"{name}.log").open("ab") as log:
                line = f"exec {self._commands[name]}"
                self._running[name] = subprocess.Popen(
                    line, shell=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """By a signal."""
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait(30)

    def begin_satellites_again(self) -> None:
        """After another pipeline was chosen: a run that waits for its wake word has that of before."""
        for one in SATELLITES:
            self.end(one.name)
        self.start(*(one.name for one in SATELLITES))
        time.sleep(14.0)  # Home Assistant looks for them again after ten seconds

    def reload(self) -> None:
        """The daemon reads its settings again."""
        self._running["daemon"].send_signal(signal.SIGHUP)

    def say(self, satellite: Satellite, voice: str = "", number: int = 1) -> None:
        """Somebody says the satellite's wake word to it."""
        self._play(satellite, f"{voice or satellite.voice}_{satellite.keyword}_test_{number}.flac", COMMAND)

    def command(self, satellite: Satellite) -> None:
        """Somebody says what follows a wake word that the satellite has heard itself."""
        self._play(satellite, *COMMANDS[satellite.voice])

    def _play(self, satellite: Satellite, *names: str) -> None:
        for name in names:
            note = self.work / satellite.name / ".new"
            note.write_text(str(AUDIO / name))
            note.rename(note.with_name(f"{next(self._numbers):04d}"))

    def log(self, name: str) -> str:
        """All that it has written."""
        path = self.work / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def earmark(self, *words: str) -> None:
        """A command of earmark's."""
        done = subprocess.run([str(EARMARK), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"earmark {words}: {done.stderr or done.stdout}"

    def close(self, keep: Path) -> None:
        """Ends everything; logs stay in another folder."""
        for process in self._running.values():
            process.kill()
            process.wait(20)
        shutil.rmtree(keep, ignore_errors=True)
        keep.mkdir(parents=True)
        for path in self.work.glob("*.log"):
            shutil.copy(path, keep)


def who(last_person: str) -> dict[str, Any]:
    """An automation that says who spoke its sentence, in each way that there is, as the event `who_spoke`."""
    said = {
        "plain": "{{ plain.name }}",
        "by_device": "{{ by_device.name }}",
        "template": f"{{{{ state_attr('{last_person}', 'speakers').get(trigger.device_id, 'unknown') }}}}",
        "device": "{{ trigger.device_id }}",
    }
    ask = {"action": "earmark.speaker"}
    actions: list[Any] = [
        {**ask, "response_variable": "plain"},
        {**ask, "data": {"device_id": "{{ trigger.device_id }}"}, "response_variable": "by_device"},
        {"event": "who_spoke", "event_data": said},
        {"set_conversation_response": "Hello {{ plain.name }}"},
    ]
    triggers = [{"trigger": "conversation", "command": ["what time is it"]}]
    return {"alias": "who", "mode": "parallel", "triggers": triggers, "conditions": [], "actions": actions}

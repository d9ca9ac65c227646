"""What `checks.py` looks at again and again: entities, automations, what the broker was told."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import numpy as np
import soundfile
from client import HomeAssistant, wait_for
from house import AREA, AUDIO, Ear, House

WAKE, WOKEN = "event.earmark_wake", "event.earmark_woken_by"
PERSON, MODE, RUNNING = "sensor.earmark_last_person", "select.earmark_mode", "binary_sensor.earmark_running"
HAPPENED = [WAKE, WOKEN, PERSON, "sensor.earmark_last_wake_word", "sensor.earmark_last_wake"]
CONTROLS = [MODE, "number.earmark_wake_word_sensitivity", "number.earmark_voice_sensitivity"]
STATES = [RUNNING, "binary_sensor.earmark_microphone"]
DIAGNOSTICS = ["sensor.earmark_people", "sensor.earmark_rejections", "sensor.earmark_models"]
ENTITIES = [*HAPPENED, *CONTROLS, *STATES, *DIAGNOSTICS]
ONLY, PREFER = "Known people only", "Everybody, known people preferred"
LATE_MS = 30.0  # from when a word has been said, by the event, to a subscriber
RESTARTS = 5
PAUSE_S = 3.0  # behind a word: it has time to arrive

AUTOMATIONS = ("woken_by_slt", "trigger_slt", "received_slt", "last_person_slt", "somebody_else")
# Home Assistant's own words about a broker that is gone, and about a wake service that is
ITS_OWN = re.compile(
    r"The connection was lost|Disconnected from MQTT|Failed to connect to MQTT|Unable to get info from|"
    r"The client is not currently connected|No ACK from MQTT server|failed to receive on socket|Connection refused|"
    r"Skipping pip"
)


class Looks:
    """At one Home Assistant, and what stands around it."""

    ear: Ear

    def __init__(self, house: House) -> None:
        self.house, self.ha = house, HomeAssistant()
        self.ids: dict[str, str] = {}
        self.made: list[str] = []

    def id(self, entity: str) -> str:
        """As Home Assistant calls it: newer releases put the room before the device."""
        there = {one["entity_id"] for one in self.ha.get("/api/states")} if entity not in self.ids else set()
        found = there & {entity, entity.replace(".", f".{AREA.lower()}_", 1)}
        if found:
            self.ids[entity] = found.pop()
        return self.ids.get(entity, entity)

    def state(self, entity: str) -> Any:
        """Of an entity of earmark's, by its shorter name."""
        return self.ha.state(self.id(entity))

    def shows(self, entity: str, state: str, seconds: float = 15.0) -> None:
        """Waits until an entity has this state."""
        wait_for(f"{entity} is {state}", seconds, lambda: self.state(entity)["state"] == state)

    def count(self, name: str) -> int:
        """How often an automation has run."""
        return int(self.ha.state(f"counter.{name}")["state"])

    def counts(self) -> dict[str, int]:
        """Of all that this release knows."""
        return {name: self.count(name) for name in self.made}

    def ran(self, wanted: dict[str, int]) -> None:
        """Waits until the automations have run so often."""
        wait_for(f"the automations: {wanted}; {self.counts()}", 5, lambda: self.counts() == wanted)

    def up(self) -> None:
        """Waits for Home Assistant."""
        wait_for("Home Assistant answers", 90, lambda: HomeAssistant().get("/api/onboarding"))

    def all_there(self) -> None:
        """Waits until no entity is unavailable."""

        def missing() -> list[str]:
            states = {entity: self.state(entity) for entity in ENTITIES}
            return [entity for entity, state in states.items() if not state or state["state"] == "unavailable"]

        try:
            wait_for("all entities are there", 40, lambda: missing() == [])
        except AssertionError as error:
            there = [one["entity_id"] for one in self.ha.get("/api/states")]
            raise AssertionError(f"missing: {', '.join(missing())}; there: {', '.join(there)}") from error

    def says(self, voice: str, number: int = 1) -> dict[str, Any]:
        """Somebody says it, once and alone -> the event that comes of it, and when it came."""
        before = len(self.ear.of("/event"))
        self.house.say(voice, number)
        heard = self.ear.more("/event", before)
        time.sleep(PAUSE_S)
        event: dict[str, Any] = json.loads(heard.text)
        return {**event, "came_s": heard.at_s}

    def run_pipeline(self, pipeline: str, voice: str) -> dict[str, Any]:
        """A pipeline, from the wake word to the text -> what it says of the wake word."""
        spoken, _ = soundfile.read(AUDIO / f"{voice}_okay_nabu_test_1.flac", dtype="int16")
        quiet = np.zeros(16_000, np.int16)
        audio = np.concatenate([quiet, spoken, quiet])
        events: list[Any] = []
        self.ha.begin(
            "assist_pipeline/run",
            events.append,
            start_stage="wake_word",
            end_stage="stt",
            pipeline=pipeline,
            input={"sample_rate": 16_000, "timeout": 30, "no_vad": True},
        )

        def of(kind: str) -> Any:
            return next((event["data"] or {True: True} for event in events if event["type"] == kind), None)

        handler = wait_for("the pipeline begins", 10, lambda: of("run-start"))["runner_data"]["stt_binary_handler_id"]
        start_s = time.monotonic()
        for at in range(0, len(audio), 480):
            if of("run-end") or of("error"):
                break
            self.ha.send_audio(handler, audio[at : at + 480].tobytes())
            time.sleep(max(0.0, start_s + at / 16_000 - time.monotonic()))
        else:
            self.ha.send_audio(handler, b"")
        wait_for("the pipeline ends", 30, lambda: of("run-end") or of("error"))
        found: dict[str, Any] = (of("wake_word-end") or {}).get("wake_word_output") or {}
        return found

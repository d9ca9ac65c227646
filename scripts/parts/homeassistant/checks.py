"""The checks of `scripts/check_homeassistant`: `checks.py FOLDER LOGS COMMAND`, which starts Home Assistant.

Prints a line for each; exit code 1 at the first that fails, with the ends of the logs.
"""

from __future__ import annotations

import datetime
import json
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client import Refused, ok, wait_for
from house import AREA, RECOGNISER_PORT, SILENCE_WARNING_S, Ear, House, retained
from looks import (
    AUTOMATIONS,
    CONTROLS,
    ENTITIES,
    HAPPENED,
    ITS_OWN,
    LATE_MS,
    MODE,
    ONLY,
    PERSON,
    PREFER,
    RESTARTS,
    RUNNING,
    STATES,
    WOKEN,
    Looks,
)


class Checks(Looks):
    """In order."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.modes: list[str] = []
        self.release = ""
        self.device: Any = None

    def begin(self) -> None:
        """Everything is started, and Home Assistant is told where the broker is."""
        self.house.start("broker", "microphone", "recogniser", "daemon", "home assistant")
        self.ear = wait_for("the broker answers", 15, Ear)
        self.up()
        self.release = self.ha.onboard()
        ok(f"Home Assistant {self.release}")
        more = {
            "other_settings": {"set_client_cert": False, "set_ca_cert": "off", "transport": "tcp"},
            "protocol": "5",
        }

        def answer(step: Any) -> Any:
            asked = {field["name"] for field in step["data_schema"]}
            return {"broker": "127.0.0.1", "port": 1883, **{key: more[key] for key in more if key in asked}}

        self.ha.flow("mqtt", answer)
        self.all_there()
        ok(f"by MQTT: {len(ENTITIES)} entities by themselves")

    def page(self) -> None:
        """The device page."""
        devices = self.ha.command("config/device_registry/list")
        (self.device,) = [one for one in devices if one["manufacturer"] == "earmark"]
        found = [
            one for one in self.ha.command("config/entity_registry/list") if one["device_id"] == self.device["id"]
        ]
        ok(
            "its page has these and no others",
            sorted(one["entity_id"] for one in found) == sorted(map(self.id, ENTITIES)),
        )
        areas = {one["area_id"]: one["name"] for one in self.ha.command("config/area_registry/list")}
        said = [self.device["model"], f"version {self.device['sw_version']}", areas.get(self.device["area_id"])]
        ok(f"its page says {', '.join(map(str, said))}", all(said) and said[2] == AREA)
        icons = {entity: self.state(entity)["attributes"] for entity in ENTITIES}
        bare = [entity for entity, has in icons.items() if not {"icon", "device_class"} & set(has)]
        ok("each has an icon of its own, or that of its class", not bare)

    def automations(self) -> None:
        """As a user makes them in the editor."""
        state = {
            "trigger": "state",
            "entity_id": self.id(WOKEN),
            "not_from": "unavailable",  # but from unknown: that is the first wake of all
            "not_to": ["unavailable", "unknown"],
        }
        template = "{{ trigger.to_state.attributes.event_type == '%s' }}"
        offered = self.ha.command("device_automation/trigger/list", device_id=self.device["id"])
        by_name = {one["subtype"]: one for one in offered if one["type"] == "woken by"}
        ok(f"the editor offers: woken by {', '.join(sorted(by_name))}", sorted(by_name) == ["slt", "somebody else"])
        trigger = {key: value for key, value in by_name["slt"].items() if key != "metadata"}
        made: dict[str, tuple[Any, Any]] = {
            "woken_by_slt": (state, template % "slt"),
            "trigger_slt": (trigger, []),
            "last_person_slt": ({"trigger": "state", "entity_id": self.id(PERSON), "to": "slt"}, []),
            "somebody_else": (state, template % "somebody else"),
        }
        if self.release >= "2026":  # "Event received", in the editor
            received = {"target": {"entity_id": self.id(WOKEN)}, "options": {"event_type": ["slt"]}}
            made["received_slt"] = ({"trigger": "event.received", **received}, [])
        self.made = list(made)
        for name, (on, condition) in made.items():
            action = {"action": "counter.increment", "target": {"entity_id": f"counter.{name}"}}
            automation = {"alias": name, "triggers": [on], "conditions": condition, "actions": [action]}
            self.ha.post(f"/api/config/automation/config/{name}", {**automation, "mode": "queued"})
        wait_for("the automations are loaded", 15, lambda: all(self.ha.state(f"automation.{name}") for name in made))

        def changed(event: Any) -> None:
            data = event["data"]
            if data["entity_id"] == self.id(MODE) and data["new_state"]:
                self.modes.append(data["new_state"]["state"])

        self.watch = changed
        self.ha.command("subscribe_events", changed, event_type="state_changed")

    def wakes(self) -> None:
        """Who spoke."""
        events = [self.says("slt") for _ in range(2)]
        ok("who is enrolled wakes it", [one["person"] for one in events] == ["slt", "slt"])
        self.shows(PERSON, "slt")
        self.shows("sensor.earmark_last_wake_word", "Okay Nabu")
        attributes = self.state(WOKEN)["attributes"]
        ok("Woken by offers the names", attributes["event_types"] == ["slt", "somebody else"])
        kept = {"person", "keyword", "keyword_score", "speaker_score", "reason", "at", "source"}
        own = {"event_types", "event_type", "type", "icon", "friendly_name"}
        ok(f"its attributes are {', '.join(sorted(kept))}", set(attributes) - own == kept)
        ok("and the source is mic", attributes["source"] == "mic")
        counts = self.counts()
        few = {"last_person_slt": 1, "somebody_else": 0}
        self.ran({name: few.get(name, 2) for name in self.made})
        ok("the same person twice: each automation has run twice; but not that on the sensor, as the page says")
        rejected = self.says("rms")
        ok("a stranger does not", rejected["type"] == "rejection" and rejected["person"] is None)
        ok("no automation has run for the stranger", self.counts() == counts)
        rejections = int(float(self.state("sensor.earmark_rejections")["state"]))
        ok("the stranger is counted", rejections == 1 or wait_for("so", 10, self._one_rejection))
        late_ms = []
        for number in (1, 2, 3) * 2:
            event = self.says("slt", number)
            late_ms.append(1000 * (event["came_s"] - datetime.datetime.fromisoformat(event["at"]).timestamp()))
        median = statistics.median(late_ms)
        ok(
            f"an event is there {median:.0f} ms after `at` (median of 6; at most {max(late_ms):.0f})",
            median <= LATE_MS,
        )

    def _one_rejection(self) -> bool:
        return bool(self.state("sensor.earmark_rejections")["state"] == "1")

    def controls(self) -> None:
        """Mode and sensitivities."""
        options = self.state(MODE)["attributes"]["options"]
        ok(f"modes: {'; '.join(options)}", len(options) == 3)
        self.ha.call("select.select_option", entity_id=self.id(MODE), option=PREFER)
        self.shows(MODE, PREFER, 5)
        self.ha.call("number.set_value", entity_id=self.id(CONTROLS[1]), value=45)
        self.shows(CONTROLS[1], "45.0", 5)
        ok("mode and sensitivity are obeyed within 5 s")
        before = self.counts()
        self.says("rms")
        self.shows(PERSON, "somebody else")
        counts = self.counts()
        ok("somebody else woke it, and has a name for automations", counts["somebody_else"] == 1)
        ok("nothing else has run", {**counts, "somebody_else": 0} == {**before, "somebody_else": 0})
        self.says("slt")

    def microphone(self) -> None:
        """A muted one."""
        entity = STATES[1]
        self.shows(entity, "off")
        self.house.mute(True)
        self.shows(entity, "on", SILENCE_WARNING_S + 15)
        why = self.state(entity)["attributes"].get("why")
        self.house.mute(False)
        self.shows(entity, "off")
        ok(f"a muted microphone is a problem, and one that hears is none again: {why}", why)

    def restarts(self) -> None:
        """Nobody speaks meanwhile."""
        before, mode = self.counts(), self.state(MODE)["state"]
        events = [self.state(entity)["state"] for entity in HAPPENED]
        del self.modes[:]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(RESTARTS):
                self.house.end("daemon", number)
                self.shows(RUNNING, "off", 10)
                self.house.start("daemon")
                self.shows(RUNNING, "on", 20)
        self.all_there()
        time.sleep(1.0)
        ok(
            f"{2 * RESTARTS} restarts of the daemon, half of them after kill -9: no automation has run",
            self.counts() == before,
        )
        ok(
            "the mode goes from unavailable to what it was, and nowhere between",
            set(self.modes) == {"unavailable", mode},
        )
        ok(f"and it is what was chosen before: {mode}", self.state(MODE)["state"] == mode == PREFER)
        ok("so is the sensitivity", self.state(CONTROLS[1])["state"] == "45.0")
        ok("what has happened is as it was", [self.state(entity)["state"] for entity in HAPPENED] == events)
        for _ in range(RESTARTS):
            self.house.end("broker", signal.SIGKILL)
            self.shows(RUNNING, "unavailable", 15)
            self.house.start("broker")
            self.shows(RUNNING, "on", 60)
            self.all_there()
        time.sleep(1.0)
        found = self.counts()
        ok(
            f"{RESTARTS} restarts of the broker, which keeps nothing: no automation but that on the sensor",
            self._only(found, before),
        )
        for _ in range(2):
            self.restart_home_assistant()
        time.sleep(3.0)
        ok("2 restarts of Home Assistant: the same", self._only(self.counts(), before))
        ok("all is shown again", self.state(PERSON)["state"] == "slt")

    @staticmethod
    def _only(found: dict[str, int], before: dict[str, int]) -> bool:
        """Home Assistant itself takes all entities back while it has no broker: that on the sensor runs."""
        return all(found[name] == before[name] for name in before if name != "last_person_slt")

    def restart_home_assistant(self) -> None:
        """In order."""
        self.house.end("home assistant")
        self.house.start("home assistant")
        self.up()
        self.ha.log_in_again()
        self.all_there()
        self.ha.command("subscribe_events", self.watch, event_type="state_changed")

    def wyoming(self) -> None:
        """The other door."""

        def found() -> list[Any]:
            flows = self.ha.command("config_entries/flow/progress")
            return [flow for flow in flows if flow["handler"] == "wyoming"]

        flow = wait_for("it is found by zeroconf", 20, found)[0]
        ok("by zeroconf: found", "earmark" in json.dumps(flow["context"]))
        made = self.ha.post(f"/api/config/config_entries/flow/{flow['flow_id']}")
        ok(f"and added: {made['title']}", made["type"] == "create_entry")
        self.ha.flow("wyoming", {"host": "127.0.0.1", "port": RECOGNISER_PORT})
        entity = "wake_word.earmark"
        words = wait_for("wake words", 20, lambda: self.ha.command("wake_word/info", entity_id=entity)["wake_words"])
        ok(f"wake words: {', '.join(one['name'] for one in words)}", [one["id"] for one in words] == ["okay_nabu"])
        self.ha.call("select.select_option", entity_id=self.id(MODE), option=ONLY)
        self.shows(MODE, ONLY, 5)
        none = dict.fromkeys(["tts_engine", "tts_language", "tts_voice"])
        pipeline = self.ha.command(
            "assist_pipeline/pipeline/create",
            name="voice",
            language="en",
            conversation_engine="conversation.home_assistant",
            conversation_language="en",
            stt_engine="stt.fake",
            stt_language="en",
            wake_word_entity=entity,
            wake_word_id="okay_nabu",
            **none,
        )["id"]
        before = len(self.ear.of("/event"))
        said = self.run_pipeline(pipeline, "slt")
        ok("a pipeline wakes for who is enrolled", said.get("wake_word_id") == "okay_nabu")
        event = json.loads(self.ear.more("/event", before).text)
        ok(
            "by MQTT it is said who, and of which satellite",
            (event["person"], event["source"]) == ("slt", event["source"]),
        )
        ok(f"the source has no port: {event['source']}", re.fullmatch(r"[\d.]+", event["source"]))
        ok("and not for a stranger", self.run_pipeline(pipeline, "rms") == {})

    def names(self) -> None:
        """Who is renamed, comes and goes."""
        store = f"--store {self.house.work}/people"

        def types() -> list[str]:
            found: list[str] = self.state(WOKEN)["attributes"]["event_types"]
            return found

        self.says("slt")
        self.house.earmark(f'people rename slt "Zoë O\'Neil" {store}')
        wait_for("the new name", 10, lambda: types() == ["Zoë O'Neil", "somebody else"])
        self.shows(PERSON, "Zoë O'Neil")
        ok("who is renamed is offered, and shown, by the new name")
        self.house.enrol("rms")
        wait_for("who came", 10, lambda: types() == ["Zoë O'Neil", "rms", "somebody else"])
        self.says("rms")
        wait_for("his first wake", 5, lambda: self.state(WOKEN)["attributes"]["event_type"] == "rms")
        ok("who is enrolled is offered before their first wake, which is an event")
        self.says("slt")
        self.house.earmark(f'people remove "Zoë O\'Neil" {store}')
        wait_for("who was erased is offered no more", 10, lambda: types() == ["rms", "somebody else"])
        self.shows(PERSON, "somebody else")
        offered = self.ha.command("device_automation/trigger/list", device_id=self.device["id"])
        ok("who was erased is offered no more", "Zoë" not in json.dumps(offered, ensure_ascii=False))
        named = [topic for topic, text in retained().items() if "Zoë" in text or "Zo\\u00eb" in text or "slt" in text]
        ok("and named in no retained message of the broker", not named)

    def without_controls(self) -> None:
        """And with them again."""
        self._controls("controls = false\n", False)
        self._controls("", True)
        ok("mqtt.controls = false takes the three controls away, and true brings them back")

    def _controls(self, line: str, there: bool) -> None:
        """After a restart with this line in the settings, whose last section is [mqtt]."""
        settings = self.house.work / "earmark.toml"
        settings.write_text(settings.read_text().replace("controls = false\n", "") + line)
        self.house.end("daemon")
        self.house.start("daemon")
        self.shows(RUNNING, "on", 20)
        wait_for("the controls", 10, lambda: {bool(self.state(one)) for one in CONTROLS} == {there})

    def forget(self) -> None:
        """The device is taken back."""
        for name in self.made:  # whose entities go
            self.ha.request("DELETE", f"/api/config/automation/config/{name}")
        kept = [topic for topic in retained() if topic.startswith("earmark")]
        self.house.end("daemon")
        said = self.house.earmark(f"mqtt forget --settings {self.house.work}/earmark.toml")
        wait_for("the device is gone", 10, lambda: not self._has_device())
        left = [topic for topic in retained() if "earmark" in topic]
        ok(f"earmark mqtt forget: the device is gone, and {len(kept)} retained topics with it", not left and said)

    def _has_device(self) -> bool:
        return any(one["manufacturer"] == "earmark" for one in self.ha.command("config/device_registry/list"))

    def log(self) -> None:
        """What Home Assistant wrote of us, through all of it."""
        about = re.compile("earmark|mqtt|wyoming|wake_word", re.IGNORECASE)
        lines = [
            line
            for line in self.house.log("home assistant").splitlines()
            if re.search("WARNING|ERROR|CRITICAL", line) and about.search(line) and not ITS_OWN.search(line)
        ]
        assert not lines, "Home Assistant's log:\n" + "\n".join(lines)
        ok("Home Assistant's log has nothing about it at warning or above")


def main() -> int:
    """All of them."""
    work, keep, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    house = House(work, command, list(AUTOMATIONS))
    try:
        house.enrol("slt")
        checks = Checks(house)
        steps: list[Callable[[], None]] = [checks.begin, checks.page, checks.automations, checks.wakes]
        steps += [checks.controls, checks.microphone, checks.restarts, checks.wyoming]
        steps += [checks.names, checks.without_controls, checks.forget, checks.log]
        for step in steps:
            step()
    except (AssertionError, Refused, OSError) as error:
        print(f"FAILED  {error}", flush=True)
        for name in ("home assistant", "daemon"):
            print(f"--- {name}", *house.log(name).splitlines()[-25:], sep="\n", file=sys.stderr)
        return 1
    finally:
        house.close(keep)
    return 0


sys.exit(main())

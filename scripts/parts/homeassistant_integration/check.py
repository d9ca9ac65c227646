"""The custom integration in a real Home Assistant: `check.py FOLDER LOGS COMMAND`, which starts it.

Two satellites whose wake word Home Assistant looks for, and two that ask the daemon themselves, each with a voice of
its own. Who spoke must be known in the run of each one's pipeline: to an automation by a sentence, to a template, and
to a conversation agent. Prints a line for each check; exit code 1 at the first that fails.
"""

from __future__ import annotations

import datetime
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "homeassistant"))
from client import START_S, HomeAssistant, Refused, ok, wait_for
from elsewhere import check as check_elsewhere
from rooms import ADDRESS, AUDIO, ELSEWHERE, PEOPLE, RECOGNISER_PORT, SATELLITES, House, Satellite, who

LATE_S = 0.2  # from when a word has been said until it is known who said it
GREETED_S = 300.0  # from nothing to a greeting by name
RESTARTS = 5


class Checks:
    """Of one Home Assistant, in order."""

    def __init__(self, house: House) -> None:
        self.house, self.ha = house, HomeAssistant()
        self.spoke: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.entities: dict[str, str] = {}

    def state(self, key: str) -> Any:
        """Of one of the integration's entities, by the end of its unique id."""
        return self.ha.state(self.entities[key])

    def _watch(self) -> None:
        self.ha.command("subscribe_events", lambda event: self.spoke.append(event["data"]), event_type="who_spoke")
        self.ha.command("subscribe_events", lambda event: self.told.append(event["data"]), event_type="told")
        self.ha.command("subscribe_events", lambda event: self.states.append(event), event_type="state_changed")

    def _is(self, entity: str, state: str) -> bool:
        return bool(self.ha.state(entity)["state"] == state)

    def _up(self) -> None:
        wait_for("Home Assistant answers", 90, lambda: HomeAssistant().get("/api/onboarding"))

    # --- the checks

    def begin(self) -> None:
        """An empty Home Assistant, and one satellite after the other."""
        for person, (voice, keyword) in PEOPLE.items():
            takes = map(str, sorted(AUDIO.glob(f"{voice}_{keyword}_enroll_*.flac")))
            self.house.earmark(
                "enroll", person, "--keyword", keyword, "--store", f"{self.house.work}/people", "--from", *takes
            )
        self.house.start("daemon", "recogniser", "home assistant")
        self.house.start(*(one.name for one in [*SATELLITES, *ELSEWHERE]))
        self._up()
        ok(f"Home Assistant {self.ha.onboard()}, and nothing but the integration's files")

    def add(self) -> None:
        """As a person does it."""

        def found() -> Any:
            flows = self.ha.command("config_entries/flow/progress")
            return next((flow for flow in flows if flow["handler"] == "earmark"), None)

        flow = wait_for("it is found by zeroconf", 30, found)
        ok(f"by zeroconf: found: {flow['context']['title_placeholders']['name']}")
        form = self.ha.get(f"/api/config/config_entries/flow/{flow['flow_id']}")
        known = {field["name"]: field["description"]["suggested_value"] for field in form["data_schema"]}
        ok(f"host and port are filled in: {known['host']}:{known['port']}", known["host"] == ADDRESS)
        refused = self.ha.post(f"/api/config/config_entries/flow/{flow['flow_id']}", known)
        why = refused["description_placeholders"]["why"]
        ok(
            f"not trusted, and the form says so: {why}",
            refused["errors"] == {"base": "not_trusted"} and ADDRESS in why,
        )
        self.house.set_up("")  # this machine is trusted, by whichever of its addresses
        self.house.reload()
        wait_for("it is announced anew", 20, lambda: "reloaded" in self.house.log("daemon"))
        time.sleep(2.0)
        flow = wait_for("it is found again", 30, found)
        made = self.ha.post(f"/api/config/config_entries/flow/{flow['flow_id']}", known)
        ok(f"trusted: added as {made['title']}", made["type"] == "create_entry")
        again = self.ha.post("/api/config/config_entries/flow", {"handler": "earmark"})
        again = self.ha.post(f"/api/config/config_entries/flow/{again['flow_id']}", known)
        ok("a second time: it is there already", again.get("reason") == "already_configured")
        nobody = self.ha.post("/api/config/config_entries/flow", {"handler": "earmark"})
        nobody = self.ha.post(f"/api/config/config_entries/flow/{nobody['flow_id']}", {"host": ADDRESS, "port": 1})
        ok("where nobody listens: that is said", nobody["errors"] == {"base": "cannot_connect"})

        def entities() -> list[Any]:
            everything = self.ha.command("config/entity_registry/list")
            return [one for one in everything if one["platform"] == "earmark"]

        wait_for("entities", 20, lambda: len(entities()) == 6)
        for one in entities():
            key = str(self._unique_id(one["entity_id"]).split("_", 1)[1])
            self.entities[key] = one["entity_id"]
        ok(f"entities: {', '.join(sorted(self.entities.values()))}")
        wait_for("it is connected", 10, lambda: self.state("connected")["state"] == "on")
        people = self.state("woken_by")["attributes"]["event_types"]
        ok(f"Woken by offers {', '.join(people)}", people == ["anna", "ben", "somebody else"])
        words = self.ha.command("wake_word/info", entity_id=self.entities["wake_word"])["wake_words"]
        ok(f"wake words: {', '.join(one['name'] for one in words)}", len(words) == 2)

    def _unique_id(self, entity: str) -> str:
        found: str = self.ha.command("config/entity_registry/get", entity_id=entity)["unique_id"]
        return found

    def satellites(self) -> None:
        """Each with a pipeline that has its wake word."""
        self.ha.flow("wyoming", {"host": "127.0.0.1", "port": RECOGNISER_PORT})
        self.pipelines = {keyword: self.pipeline(keyword) for keyword in ("okay_nabu", "alexa")}
        self.ha.command("assist_pipeline/pipeline/set_preferred", pipeline_id=self.pipelines["okay_nabu"])
        for one in SATELLITES:
            self.add_satellite(one, one.keyword)
        ok(f"four satellites: {', '.join(one.entity for one in SATELLITES)}")
        automation = who(self.entities["last_person"])
        self.ha.post("/api/config/automation/config/who", automation)
        wait_for("the automation is loaded", 15, lambda: self.ha.state("automation.who"))
        self._watch()
        self.house.begin_satellites_again()

    def add_satellite(self, one: Satellite, pipeline: str) -> None:
        """As one of Home Assistant's, with this pipeline."""
        entry = self.ha.flow("wyoming", {"host": one.address, "port": one.port})["result"]["entry_id"]

        def of_entry(domain: str) -> Any:
            everything = self.ha.command("config/entity_registry/list")
            mine = [each for each in everything if each["config_entry_id"] == entry]
            return next((each for each in mine if each["entity_id"].startswith(f"{domain}.")), None)

        entity = wait_for(f"{one.name} is there", 20, partial(of_entry, "assist_satellite"))
        one.entity, one.device = entity["entity_id"], entity["device_id"]
        select = wait_for("its pipeline can be chosen", 20, partial(of_entry, "select"))
        one.select = select["entity_id"]
        self.ha.call("select.select_option", entity_id=one.select, option=pipeline)

    def pipeline(
        self, keyword: str, agent: str = "conversation.home_assistant", name: str = "", stt: str = "stt.fake"
    ) -> Any:
        """A new one."""
        none = dict.fromkeys(["tts_engine", "tts_language", "tts_voice"])
        return self.ha.command(
            "assist_pipeline/pipeline/create",
            name=name or keyword,
            language="en",
            conversation_engine=agent,
            conversation_language="en",
            stt_engine=stt,
            stt_language="en",
            wake_word_entity=self.entities["wake_word"],
            wake_word_id=keyword,
            **none,
        )["id"]

    def at_once(self, *satellites: Satellite) -> None:
        """Each is woken by another voice, at the same time."""
        del self.spoke[:], self.states[:]
        for one in satellites:
            self.house.say(one)
        wait_for("each sentence is understood", 30, lambda: len(self.spoke) >= len(satellites))
        by_device = {one["device"]: one for one in self.spoke}
        for one in satellites:
            said = by_device[one.device]
            heard = [said["plain"], said["by_device"], said["template"]]
            ok(f"{one.name}: the action, the action by device, and the template: {heard}", heard == [one.person] * 3)
        known_s = self._known_s(satellites)
        ok(f"known {max(known_s):.3f} s after the wake, at the latest", max(known_s) <= LATE_S)
        listening = [self._when(one.entity, "listening") for one in satellites]
        ended = [self._when(one.entity, "idle", of) for one, of in zip(satellites, listening)]
        if len(satellites) > 1:
            ok("their runs overlapped", max(listening) < min(ended))
        for one in satellites:
            wait_for(f"{one.name} is idle", 15, partial(self._is, one.entity, "idle"))
        time.sleep(2.5)  # Home Assistant takes the same wake word within 2 s for one that two satellites heard

    def _known_s(self, satellites: tuple[Satellite, ...]) -> list[float]:
        """From when a word had been said, by the daemon, until the template has who said it, for each satellite."""
        said, found = {}, {}
        for event in self.states:
            new = event["data"]["new_state"]
            if new and new["entity_id"] == self.entities["woken_by"]:
                said[new["attributes"]["event_type"]] = _seconds(new["attributes"]["at"])
        for event in self.states:
            new, old = event["data"]["new_state"], event["data"]["old_state"] or {"attributes": {}}
            if new and new["entity_id"] == self.entities["last_person"]:
                for one in satellites:
                    at = new["attributes"]["times"].get(one.device)
                    if at and at != old["attributes"].get("times", {}).get(one.device):
                        found[one.name] = _seconds(new["last_updated"]) - said[one.person]
        assert len(found) == len(satellites), f"of {len(satellites)} satellites are known: {found}"
        return list(found.values())

    def _when(self, entity: str, state: str, after: float = 0.0) -> float:
        for event in self.states:
            new = event["data"]["new_state"]
            if new and (new["entity_id"], new["state"]) == (entity, state):
                at_s = _seconds(new["last_updated"])
                if at_s > after:
                    return at_s
        return time.time()

    def wakes(self) -> None:
        """Who spoke."""
        kitchen, bath, hall, attic = SATELLITES
        self.at_once(kitchen)
        self.at_once(kitchen, bath)
        self.at_once(hall, attic)
        before = len(self._woken())
        self.at_once(kitchen, bath)
        woken = self._woken()
        ok("and each is an event, the same person twice, too", len(woken) >= 2 and before >= 2)
        ok(f"Last person: {self.state('last_person')['state']}", self.state("last_person")["state"] in PEOPLE)
        del self.spoke[:]
        self.house.say(kitchen, "rms" if kitchen.voice != "rms" else "slt")
        time.sleep(6.0)
        ok("a stranger wakes nothing", self.ha.state(kitchen.entity)["state"] == "idle" and not self.spoke)
        text = self.ha.command("conversation/process", text="what time is it")["response"]["speech"]["plain"][
            "speech"
        ]
        ok(f"what is typed has no voice: {text}", text == "Hello unknown")

    def _woken(self) -> list[str]:
        found = []
        for event in self.states:
            new = event["data"]["new_state"]
            if new and new["entity_id"] == self.entities["woken_by"]:
                found.append(new["attributes"].get("event_type"))
        return found

    def blueprints(self) -> None:
        """As a person fills them in."""
        kitchen, bath, *_ = SATELLITES
        self.ha.call("automation.turn_off", entity_id="automation.who")
        done: list[str] = []
        self.ha.command("subscribe_events", lambda event: done.append(event["data"]["what"]), event_type="done")
        sentences, people = ["what time is it"], ["anna"]
        self._blueprint("person_wakes", woken_by=self.entities["woken_by"], people=people, do=_done("anna woke it"))
        self._blueprint("only_these_may", sentences=sentences, people=people, do=_done("anna said it"))
        for one in (kitchen, bath):
            self.house.say(one)
            time.sleep(8.0)
        ok(f"when PERSON wakes it, and only these people may: {done}", done == ["anna woke it", "anna said it"])
        answers = [self._answer(one.keyword) for one in (kitchen, bath)]
        ok(f"its answers: {answers}", answers == ["Done.", "I may not do that for you."])
        self.ha.request("DELETE", "/api/config/automation/config/only_these_may")
        self._blueprint("greet_by_name", sentences=sentences)
        self.house.say(bath)
        time.sleep(8.0)
        typed = self.ha.command("conversation/process", text=sentences[0])["response"]["speech"]["plain"]["speech"]
        greeted = [self._answer(bath.keyword), typed]
        ok(f"greet by name, and what is typed: {greeted}", greeted == ["Hello ben.", "Hello."])
        took_s = time.monotonic() - START_S
        ok(f"all of it {took_s:.0f} s after an empty Home Assistant and nobody enrolled", took_s <= GREETED_S)
        self.ha.request("DELETE", "/api/config/automation/config/greet_by_name")

    def _blueprint(self, name: str, **given: Any) -> None:
        use = {"path": f"earmark/{name}.yaml", "input": given}
        self.ha.post(f"/api/config/automation/config/{name}", {"alias": name, "use_blueprint": use})
        wait_for("it is loaded", 15, lambda: self.ha.state(f"automation.{name}")["state"] == "on")

    def _answer(self, keyword: str) -> str:
        """Of the last run of a pipeline."""
        pipeline = {"pipeline_id": self.pipelines[keyword]}
        runs = self.ha.command("assist_pipeline/pipeline_debug/list", **pipeline)["pipeline_runs"]
        for run in reversed(runs):
            number = run["pipeline_run_id"]
            events = self.ha.command("assist_pipeline/pipeline_debug/get", **pipeline, pipeline_run_id=number)[
                "events"
            ]
            for event in events:
                if event["type"] == "intent-end":
                    return str(event["data"]["intent_output"]["response"]["speech"]["plain"]["speech"])
        return ""

    def language(self) -> None:
        """A conversation agent of a language model, as far as it is told anything."""
        kitchen, bath, hall, attic = SATELLITES
        agent = wait_for("the agent", 5, self._agent)
        for keyword in self.pipelines:
            self.pipeline(keyword, agent, f"{keyword} with a language")
        for one in SATELLITES:
            self.ha.call("select.select_option", entity_id=one.select, option=f"{one.keyword} with a language")
        self.house.begin_satellites_again()
        for pair in ((kitchen, bath), (hall, attic)):
            del self.told[:]
            for one in pair:
                self.house.say(one)
            wait_for("both agents are asked", 30, lambda: len(self.told) >= 2)
            by_device = {each["device"]: each for each in self.told}
            for one in pair:
                said = by_device[one.device]
                line = re.search(r"By voice, this conversation was begun by: (.*?)\.", said["prompt"])
                ok(
                    f"{one.name}: prompt, tool, and the template of a prompt: {one.person}",
                    [line and line[1], said["tool"], said["template"]] == [one.person] * 3,
                )
                ok("with Assist, too", said["assist"])
            time.sleep(6.0)

    def _agent(self) -> Any:
        agents = self.ha.command("conversation/agent/list")["agents"]
        return next((one["id"] for one in agents if one["name"] == "language_agent"), None)

    def restarts(self) -> None:
        """Nobody speaks meanwhile."""
        del self.states[:]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(RESTARTS):
                self.house.end("daemon", number)
                wait_for("it is gone", 10, lambda: self.state("connected")["state"] == "off")
                self.house.start("daemon")
                wait_for("it is back", 40, lambda: self.state("connected")["state"] == "on")
        ok(f"{2 * RESTARTS} restarts of the daemon: nobody woke it", self._woken() == [])
        before = [self.state(key)["state"] for key in ("last_person", "last_wake", "woken_by")]
        self.house.end("home assistant")
        self.house.start("home assistant")
        self._up()
        self.ha.log_in_again()
        wait_for("it is back", 60, lambda: self.state("connected")["state"] == "on")
        after = [self.state(key)["state"] for key in ("last_person", "last_wake", "woken_by")]
        ok("a restart of Home Assistant: what has happened is as it was", after == before)

    def people(self) -> None:
        """Who comes and goes."""
        store = ["--store", f"{self.house.work}/people"]

        def types() -> Any:
            return self.state("woken_by")["attributes"]["event_types"]

        self.house.earmark("people", "rename", "anna", "Zoë O'Neil", *store)
        wait_for("a new name", 15, lambda: types() == ["Zoë O'Neil", "ben", "somebody else"])
        ok("who is renamed is offered by the new name")
        self.house.earmark("people", "remove", "Zoë O'Neil", *store)
        wait_for("who is gone", 15, lambda: types() == ["ben", "somebody else"])
        ok("who was erased is offered no more")

    def log(self) -> None:
        """What Home Assistant wrote of it."""
        lines = self.house.log("home assistant").splitlines()
        loud = [line for line in lines if re.search("WARNING|ERROR|CRITICAL", line) and "earmark" in line]
        own = [line for line in loud if "We found a custom integration" not in line]  # said of each of them
        ok("Home Assistant's log has nothing about it at warning or above", not own or "\n".join(own) == "")


def _done(what: str) -> list[Any]:
    return [{"event": "done", "event_data": {"what": what}}]


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def main() -> int:
    """All of them."""
    work, keep, command = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    house = House(work, command)
    try:
        checks = Checks(house)
        steps: list[Callable[[], None]] = [checks.begin, checks.add, checks.satellites, checks.wakes]
        steps += [checks.blueprints, checks.language, lambda: check_elsewhere(checks, ok)]
        steps += [checks.restarts, checks.people, checks.log]
        for step in steps:
            step()
    except (AssertionError, Refused, OSError) as error:
        print(f"FAILED  {error}", flush=True)
        for name in ("daemon", "home assistant", "kitchen"):
            print(f"--- {name}", *house.log(name).splitlines()[-25:], sep="\n", file=sys.stderr)
        return 1
    finally:
        house.close(keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())

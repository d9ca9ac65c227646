"""MQTT through a real broker: discovery, controls that work live, brokers that vanish, refuse or talk nonsense."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import paho.mqtt.client as paho
import pytest
import soxr
from broker import LIMIT_S, Broker, Ear, Heard, free_port
from conftest import Read, Takes
from helpers_store import environment
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import SandboxedEnvironment
from live import Live
from paho.mqtt.enums import CallbackAPIVersion
from sound_server import until

from earmark.engine.audio.samples import RATE_HZ, to_float, to_int16
from earmark.engine.commands.status import ask
from earmark.engine.errors import DaemonError
from earmark.engine.event import Event
from earmark.engine.people import operations
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.policy import MODES, Policy
from earmark.engine.settings.schema import Mqtt, Settings
from earmark.engine.sinks.base import Control, Notice
from earmark.engine.sinks.mqtt.client import MOST_BYTES, MOST_WAITING, LimitedClient
from earmark.engine.sinks.mqtt.discovery import KNOBS, discovery, is_trigger, trigger_of
from earmark.engine.sinks.mqtt.sink import MqttSink
from earmark.engine.sinks.mqtt.state import RETAINED
from earmark.engine.sinks.stats import Stats

pytestmark = pytest.mark.slow

DISCOVERY = "homeassistant/device/earmark/config"
NOW = ("microphone", "people", "rejections", "models")  # how the daemon is
MILLION = 1 << 20

Spoken = dict[str, bytes]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One that nobody kills."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """One where nothing is retained yet."""
    with Broker(tmp_path) as running:
        yield running


@contextmanager
def connected(store: Path, port: int, *sets: str, wait: bool = True, **changes: str) -> Iterator[tuple[Live, Path]]:
    """A daemon on a pipe that stays open, and its socket; with `wait` the broker has it."""
    path = store.parent / "s"
    arguments = [f"socket.path={path}", "mqtt.host=127.0.0.1", f"mqtt.port={port}", "mqtt.topic=earmark", *sets]
    flags = [part for setting in arguments for part in ("--set", setting)]
    with Live("-", "--store", store, *flags, env=environment(**changes)) as daemon:
        daemon.says("listening to -")
        until(path.exists, "its socket")
        if wait:
            until(lambda: fault(path) is None, "the daemon is connected", LIMIT_S)
        yield daemon, path


def fault(path: Path) -> str | None:
    """Why MQTT does not work, as the status has it."""
    said: str | None = ask([path])["sinks"]["mqtt"]["failure"]
    return said


def count(path: Path, name: str) -> int:
    counts = ask([path])["counts"].get(name, [])
    return sum(part["count"] for part in counts if part["sink"] == "mqtt")


def decoded(payload: bytes) -> dict[str, Any]:
    value = json.loads(payload)
    assert isinstance(value, dict)
    return value


def test_the_broker_of_another_run_is_not_taken_for_ours(broker: Broker, tmp_path: Path) -> None:
    """Two runs of these tests have chosen one port: what one daemon says would answer for the other one."""
    second = Broker(tmp_path)
    second.port = broker.port
    with second:
        assert second.port != broker.port


# --- what a subscriber sees


def test_a_subscriber_sees_discovery_availability_state_and_events(
    slt_store: Path, spoken: Spoken, own_broker: Broker
) -> None:
    broker = own_broker
    with Ear(broker.port) as ear, connected(slt_store, broker.port, "mqtt.name=Küche") as (daemon, path):
        ear.wait("earmark/availability", "online")
        ear.wait("earmark/mode", "only")
        ear.wait("earmark/sensitivity", "0.5")
        ear.wait("earmark/voice_sensitivity", "0.5")
        config = decoded(ear.wait(DISCOVERY).payload)
        assert config == discovery("earmark", "Küche", people=["slt"])
        assert config["device"]["name"] == "Küche"
        daemon.feed(spoken["slt"] + spoken["rms"])
        printed = [daemon.event(), daemon.event()]
        assert [event["type"] for event in printed] == ["detection", "rejection"]
        told = [decoded(ear.wait("earmark/event", count=n).payload) for n in (1, 2)]
        for event, original in zip(told, printed):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", event.pop("at"))
            assert event.pop("event_type") == original["type"]  # what an event entity wants
            assert event.pop("source") == "mic"  # the same at each event, as an automation wants it
            assert event == {key: original[key] for key in original if key not in ("file", "time_ms")}
        assert told[0]["person"] == "slt"
        last = decoded(ear.wait("earmark/last").payload)
        assert (last["person"], last["keyword"], last["reason"]) == ("slt", "okay_nabu", "known_voice")
        assert {"keyword_score", "speaker_score", "at"} <= set(last)
        assert [m.topic for m in ear.heard].count("earmark/last") == 1, "a rejection is no wake"
        until(lambda: count(path, "sent") == 2, "the broker has confirmed both")

        with Ear(broker.port) as late:  # who comes later is told what is, not what was
            for topic in RETAINED:
                assert late.wait(f"earmark/{topic}").retained
            assert late.wait(DISCOVERY).retained
            assert "earmark/event" not in {m.topic for m in late.heard}
        assert daemon.stop().code == 0
        ear.wait("earmark/availability", "offline")


def test_every_topic_that_home_assistant_is_told_is_one_that_is_used(
    slt_store: Path, spoken: Spoken, broker: Broker
) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port, "mqtt.topic=home/ear 1") as (daemon, _):
        daemon.feed(spoken["slt"])
        ear.wait("home/ear 1/event")
        (config,) = (m for m in ear.heard if m.topic.startswith("homeassistant/") and b"home/ear 1" in m.payload)
        assert re.fullmatch(r"homeassistant/device/earmark_home_ear_1_[0-9a-f]{8}/config", config.topic)
        entities = decoded(config.payload)["components"]
        assert {entity["platform"] for entity in entities.values()} == {
            "sensor",
            "event",
            "select",
            "number",
            "binary_sensor",
            "device_automation",
        }
        said = {m.topic for m in ear.heard}
        for name, entity in entities.items():
            for key in ("state_topic", "availability_topic", "json_attributes_topic", "topic"):
                assert entity.get(key, "home/ear 1/mode") in said, (name, key)
        ear.say(entities["mode"]["command_topic"], "label")
        ear.wait(entities["mode"]["state_topic"], "label")


def test_the_state_comes_before_the_word_that_there_is_one(slt_store: Path, own_broker: Broker) -> None:
    """Else Home Assistant would show what an earlier daemon left at the broker, and automations would run for it."""
    with Ear(own_broker.port) as ear, connected(slt_store, own_broker.port):
        ear.wait("earmark/availability", "online")
        said = [m.topic for m in ear.heard]
        assert said.index("earmark/availability") > max(
            map(said.index, [DISCOVERY, *map("earmark/{}".format, KNOBS)])
        )


def test_what_has_happened_is_not_taken_back_when_the_daemon_goes() -> None:
    """Else Home Assistant shows it anew at each start, and automations run for a wake of yesterday."""
    components = discovery("earmark", "x", commands=True)["components"]
    del components[trigger_of("somebody else")]
    without = {name for name, one in components.items() if "availability_topic" not in one}
    assert without == {"woken_by", "last_person", "last_wake_word", "last_wake", "wake", "spoken_by", "running"}
    assert set(components) - without == {*KNOBS, *NOW}


def test_who_comes_is_a_type_of_event_before_their_first_one_and_who_goes_is_named_no_more(
    slt: Voiceprint, slt_store: Path, spoken: Spoken, own_broker: Broker
) -> None:
    def types(config: Heard) -> list[str]:
        found: list[str] = decoded(config.payload)["components"]["woken_by"]["event_types"]
        return found

    def triggers(config: Heard) -> dict[str, str | None]:
        """Who wakes it -> what the trigger waits for; None: it is taken back."""
        components = decoded(config.payload)["components"]
        return {name: one.get("payload") for name, one in components.items() if is_trigger(name)}

    slt_woke, zoe_woke, anna_woke, else_woke = map(trigger_of, ("slt", "Zoë", "anna", "somebody else"))
    people = PersonStore(slt_store)
    with Ear(own_broker.port) as ear:
        with connected(slt_store, own_broker.port, "people.watch_s=0.1") as (daemon, _):
            assert types(ear.wait(DISCOVERY)) == ["slt", "somebody else"]
            daemon.feed(spoken["slt"])
            assert decoded(ear.wait("earmark/last").payload)["person"] == "slt"
            operations.rename(people, "slt", "Zoë")
            assert types(ear.wait(DISCOVERY, count=2)) == ["Zoë", "somebody else"]
            back, without = (triggers(ear.wait(DISCOVERY, count=count)) for count in (2, 3))
            assert back == {slt_woke: None, zoe_woke: "Zoë", else_woke: "somebody else"}
            assert without == {zoe_woke: "Zoë", else_woke: "somebody else"}
            assert decoded(ear.wait("earmark/last", count=2).payload)["person"] == "Zoë", "it was her"
            people.save(replace(slt, name="anna", takes=slt.takes[::-1]))
            assert types(ear.wait(DISCOVERY, count=4)) == ["Zoë", "anna", "somebody else"]
            people.remove("Zoë")
            last = decoded(ear.wait("earmark/last", count=3).payload)
            assert (last["person"], last["keyword"]) == (None, "okay_nabu"), "it happened all the same"
            assert triggers(ear.wait(DISCOVERY, count=6)) == {anna_woke: "anna", else_woke: "somebody else"}
        with Ear(own_broker.port) as late:
            late.wait("earmark/last")
            late.wait(DISCOVERY)
            assert not [m for m in late.heard if m.retained and (b"slt" in m.payload or "Zoë".encode() in m.payload)]


def test_who_is_erased_while_no_daemon_runs_is_named_no_more_by_the_next(slt_store: Path, own_broker: Broker) -> None:
    with Ear(own_broker.port) as ear:
        last = {"person": "anna", "keyword": "okay_nabu", "at": "2026-01-01T00:00:00+00:00"}
        ear.say("earmark/last", json.dumps(last), retain=True)
        ear.say("earmark/triggers", json.dumps([trigger_of("anna"), trigger_of("slt")]), retain=True)
        with connected(slt_store, own_broker.port):
            assert decoded(ear.wait("earmark/last", count=2).payload) == {**last, "person": None}
            back = decoded(ear.wait(DISCOVERY, count=2).payload)["components"]
            assert back[trigger_of("anna")] == {"platform": "device_automation"}
            ear.wait("earmark/triggers", json.dumps([trigger_of("slt")]))
            ear.wait(DISCOVERY, count=3)
        mark = ear.mark()
        for nothing in ("nothing", "[]", '{"person": 3}'):
            ear.say("earmark/last", nothing, retain=True)
            ear.say("earmark/triggers", nothing.replace("[]", '["../x"]'), retain=True)
            with connected(slt_store, own_broker.port) as (daemon, _):
                ear.wait("earmark/availability", "online", since=mark)
                assert daemon.stop().code == 0
            mark = ear.mark()


def test_its_templates_say_who_and_when() -> None:
    """In the sandbox of the library that Home Assistant uses."""
    sandbox = SandboxedEnvironment()
    components = discovery("earmark", "x", people=['Zoë "Z"'])["components"]

    def shown(name: str, value: object, key: str = "value_template") -> str:
        template: str = sandbox.from_string(components[name][key]).render(value=value, value_json=value)
        return template

    wake = {"type": "detection", "person": 'Zoë "Z"', "keyword": "okay_nabu", "at": "2026-01-01T00:00:00+00:00"}
    assert json.loads(shown("woken_by", wake)) == {**wake, "event_type": 'Zoë "Z"'}
    assert json.loads(shown("woken_by", {**wake, "person": None}))["event_type"] == "somebody else"
    assert shown("woken_by", {**wake, "type": "rejection"}) == "", "which Home Assistant ignores"
    for told, person in ((wake, 'Zoë "Z"'), ({**wake, "person": None}, "somebody else")):
        said = {name: shown(name, told) for name in components if is_trigger(name)}
        assert [name for name in said if said[name] == components[name]["payload"]] == [trigger_of(person)]
        assert not any(shown(name, {**told, "type": "rejection"}) for name in said)
    assert (shown("last_person", wake), shown("last_person", {"person": None})) == ('Zoë "Z"', "somebody else")
    assert (shown("last_wake_word", wake), shown("last_wake", wake)) == ("Okay Nabu", wake["at"])
    for knob in ("sensitivity", "voice_sensitivity"):
        assert float(shown(knob, "0.55")) == 55
        assert KNOBS[knob].parse(shown(knob, 55.0, "command_template").encode()) == "0.55"
    for mode in MODES:
        words = shown("mode", mode)
        assert words in components["mode"]["options"]
        assert shown("mode", words, "command_template") == mode


def test_home_assistants_birth_is_answered(slt_store: Path, own_broker: Broker) -> None:
    broker = own_broker
    with Ear(broker.port) as ear, connected(slt_store, broker.port):
        ear.wait("earmark/availability")  # the last thing that it says of itself
        for topic, payload in (("homeassistant/status", "offline"), ("homeassistant/status", "online")):
            mark = ear.mark()
            ear.say(topic, payload)
        for topic in (DISCOVERY, "earmark/mode", "earmark/sensitivity", "earmark/availability"):
            ear.wait(topic, since=mark)
        assert [m.topic for m in ear.heard[mark:]].count(DISCOVERY) == 1, "its death is no reason to speak"


def test_without_a_prefix_there_is_no_discovery(slt_store: Path, own_broker: Broker) -> None:
    with Ear(own_broker.port) as ear:
        with connected(slt_store, own_broker.port, "mqtt.discovery="):
            ear.wait("earmark/voice_sensitivity")
        assert {m.topic.split("/")[0] for m in ear.heard} == {"earmark"}


TOPICS = st.text(st.characters(exclude_characters="+#\0", codec="utf-8"), min_size=1, max_size=60)


@given(topics=st.lists(TOPICS, min_size=2, max_size=2, unique=True))
@example(topics=["a/b", "a_b"])
@example(topics=["earmark/a", "earmark_a"])
@example(topics=["ear", "earmark_ear"])
def test_identifiers_are_safe_and_differ(topics: list[str]) -> None:
    found = []
    for topic in topics:
        config = discovery(topic, "x", commands=True)
        (node,) = config["device"]["identifiers"]
        entities = [one for one in config["components"].values() if one["platform"] != "device_automation"]
        identifiers = [node, *(entity["unique_id"] for entity in entities)]
        assert all(re.fullmatch("[a-zA-Z0-9_-]{1,80}", identifier) for identifier in identifiers)
        assert len(set(identifiers)) == len(identifiers)
        found.append(set(identifiers))
    assert not found[0] & found[1]


# --- controls


def test_the_mode_changes_live(slt_store: Path, spoken: Spoken, broker: Broker) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, path):
        daemon.feed(spoken["rms"])
        assert daemon.event()["type"] == "rejection"
        ear.command("earmark/mode", "prefer")
        daemon.feed(spoken["rms"])
        event = daemon.event()
        assert (event["type"], event["person"], event["reason"]) == ("detection", None, "unknown_voice:prefer")
        assert ask([path])["mode"] == "prefer"
        ear.wait("earmark/event", count=2)
        last = [decoded(m.payload) for m in ear.heard if m.topic == "earmark/last" and not m.retained]
        assert [(wake["person"], wake["reason"]) for wake in last] == [(None, "unknown_voice:prefer")]


def test_the_sensitivities_change_live(slt_store: Path, takes: Takes, read: Read, broker: Broker) -> None:
    take = to_float(read(takes("slt", "okay_nabu", "test")[2]))
    slower = to_int16(soxr.resample(take, RATE_HZ, 1.08 * RATE_HZ))  # and so lower: half another's voice, 0.7
    word = bytes(32_000) + slower.tobytes() + bytes(32_000)
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, path):
        seen = []
        for knob, value, state in (
            ("voice_sensitivity", "0.5", "0.5"),
            ("voice_sensitivity", "0", "0.0"),
            ("voice_sensitivity", "0.50000000000000001", "0.5"),  # as Home Assistant adds up steps
            ("sensitivity", "1", "1.0"),
        ):
            mark = ear.mark()
            ear.say(f"earmark/{knob}/set", value)
            ear.wait(f"earmark/{knob}", state, since=mark)
            assert str(ask([path])[knob]) == state
            daemon.feed(word)
            event = daemon.event()
            seen.append((event["type"], event["reason"]))
        assert seen == [
            ("detection", "known_voice"),
            ("rejection", "unknown_voice:sensitivity"),
            ("detection", "known_voice"),
            ("detection", "known_voice:sensitivity"),
        ]


BAD = [b"", b"maybe", b"ONLY", b"only\n", b"\xff\xfe", b"1.5", b"-0.1", b"nan", b"1e-3", b"0x1", b"x" * MILLION]


@pytest.mark.parametrize("knob", ["mode", "sensitivity"])
def test_a_bad_command_changes_nothing_and_the_truth_is_said_again(
    slt_store: Path, broker: Broker, knob: str
) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, path):
        ear.wait("earmark/voice_sensitivity")
        truth = {"mode": "only", "sensitivity": "0.5"}[knob]
        for payload in BAD:
            mark = ear.mark()
            ear.say(f"earmark/{knob}/set", payload)
            ear.wait(f"earmark/{knob}", truth, since=mark)
        assert count(path, "refused") == len(BAD)
        assert sum("/set: " in line for line in daemon.lines) == 1, "once, not for each"
        assert max(map(len, daemon.lines)) < 300
        assert ask([path])["counts"].get("reloads") is None
        ear.command(f"earmark/{knob}", {"mode": "label", "sensitivity": "0.55"}[knob])  # it is not deaf now


@pytest.fixture(scope="module")
def fuzzed(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ear, Path, dict[str, str]]]:
    """A daemon for all examples of one test, where nobody is enrolled, and what should be in force there."""
    store = tmp_path_factory.mktemp("fuzzed") / "people"
    with (
        Ear(broker.port) as ear,
        connected(store, broker.port, "mqtt.topic=fuzz") as (daemon, path),
    ):
        ear.wait("fuzz/voice_sensitivity")
        yield ear, path, {"mode": "only", "sensitivity": "0.5"}
        assert daemon.stop().code == 0


GOOD = {
    "mode": {b"only": "only", b"prefer": "prefer", b"label": "label"},
    "sensitivity": {b"0": "0.0", b"1": "1.0", b"0.05": "0.05", b"1.0": "1.0", b"0.": "0.0"},
}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    knob=st.sampled_from(["mode", "sensitivity"]),
    payload=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=50).map(str.encode),
        st.floats().map(lambda value: str(value).encode()).filter(lambda text: not text.startswith((b"0", b"1"))),
        st.sampled_from([b"only", b"prefer", b"label", b"0", b"1", b"0.05", b"1.0", b"1.0000001", b"0."]),
    ),
)
def test_any_command_leaves_a_true_state(fuzzed: tuple[Ear, Path, dict[str, str]], knob: str, payload: bytes) -> None:
    ear, path, expected = fuzzed
    mark = ear.mark()
    ear.say(f"fuzz/{knob}/set", payload)
    expected[knob] = GOOD[knob].get(payload, expected[knob])
    ear.wait(f"fuzz/{knob}", expected[knob], since=mark)
    until(lambda: in_force(path) == expected, f"{in_force(path)} should be {expected}")
    if payload not in GOOD[knob]:
        assert {m.payload.decode() for m in ear.heard[mark:] if m.topic == f"fuzz/{knob}"} == {expected[knob]}


def in_force(path: Path) -> dict[str, str]:
    status = ask([path])
    return {name: str(status[name]) for name in ("mode", "sensitivity")}


def test_of_a_flood_of_commands_the_last_one_stays(slt_store: Path, broker: Broker) -> None:
    """A slider that is dragged: each change loads the people again, so they are not done one after another."""
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (_, path):
        ear.wait("earmark/voice_sensitivity")
        for step in range(1000):
            ear.client.publish("earmark/sensitivity/set", f"0.{step % 7 + 1}", qos=0)
        ear.command("earmark/sensitivity", "0.95")
        assert ask([path])["sensitivity"] == 0.95
        states = sum(m.topic == "earmark/sensitivity" for m in ear.heard)
        assert states < 500, "one change at a time"


def test_a_change_from_outside_is_in_the_log_with_what_it_was_before(slt_store: Path, broker: Broker) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, _):
        ear.wait("earmark/voice_sensitivity")
        ear.command("earmark/mode", "label")
        daemon.says("changed from outside: wake.mode from only to label")
        ear.command("earmark/sensitivity", "0.75")
        daemon.says("wake.sensitivity from 0.5 to 0.75")
        assert sum("wake.mode from" in line for line in daemon.lines) == 1, "each change once"


def test_without_controls_nothing_can_be_changed_and_nobody_is_told_that_it_could(
    slt_store: Path, own_broker: Broker
) -> None:
    settings = "mqtt.controls=false"
    with Ear(own_broker.port) as ear, connected(slt_store, own_broker.port, settings) as (_, path):
        told = decoded(ear.wait(DISCOVERY).payload)["components"]
        happened = {"woken_by", "last_person", "last_wake_word", "last_wake", "wake", "running"}
        assert {name for name in told if not is_trigger(name)} == {*happened, "spoken_by", *NOW, *KNOBS}
        assert [told[name] for name in KNOBS] == [{"platform": KNOBS[name].entity["platform"]} for name in KNOBS], (
            "which takes those of before back"
        )
        for knob, value in (("mode", "label"), ("sensitivity", "0.9"), ("voice_sensitivity", "0.9")):
            ear.say(f"earmark/{knob}/set", value)
        mark = ear.mark()
        ear.say("earmark/availability", "offline")  # which is answered, behind what would have been
        ear.wait("earmark/availability", "online", since=mark)
        status = ask([path])
        assert (status["mode"], status["sensitivity"], status["voice_sensitivity"]) == ("only", 0.5, 0.5)


def peak_kib(daemon: Live) -> int:
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


@pytest.mark.parametrize("retained", [False, True])
def test_a_message_of_any_size_takes_no_memory_and_what_follows_is_obeyed(
    slt_store: Path, own_broker: Broker, retained: bool
) -> None:
    """200 MB to a topic of a slider ended the daemon."""
    huge = bytes(40 * MILLION)
    with Ear(own_broker.port) as ear:
        if retained:
            ear.client.publish("earmark/mode/set", huge, qos=1, retain=True).wait_for_publish(LIMIT_S)
        with connected(slt_store, own_broker.port) as (daemon, path):
            ear.wait("earmark/voice_sensitivity")
            ear.command("earmark/sensitivity", "0.9")
            assert ask([path])["sensitivity"] == 0.9
            before = peak_kib(daemon)  # with what a change of the settings takes, whatever it is
            for _ in range(25):  # more than a broker lets be unconfirmed
                ear.client.publish("earmark/sensitivity/set", bytes(2 * MILLION), qos=1)
            ear.client.publish("earmark/sensitivity/set", huge, qos=1)
            ear.command("earmark/sensitivity", "0.95")
            assert ask([path])["sensitivity"] == 0.95
            assert count(path, "refused") == 26 + retained
            assert peak_kib(daemon) - before < 10_000
            daemon.says("bytes came to a topic of ours: it was dropped")
            assert fault(path) is None
            assert daemon.stop().code == 0


class Pieces:
    """A connection that delivers in pieces of its own choice."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content, self._sizes = content, sizes

    def recv(self, most: int) -> bytes:
        if not self._content:
            raise BlockingIOError
        size = min(most, self._sizes.pop() if self._sizes else most)
        if size == 0:
            raise BlockingIOError
        piece, self._content = self._content[:size], self._content[size:]
        return piece


@given(
    sizes=st.lists(st.integers(0, 70_000), max_size=30),
    payloads=st.lists(st.integers(0, 3 * MOST_BYTES), min_size=1, max_size=6),
)
def test_in_any_pieces_what_is_small_arrives_and_what_is_large_does_not(
    sizes: list[int], payloads: list[int]
) -> None:
    heard: list[int] = []
    dropped: list[int] = []
    client = LimitedClient(CallbackAPIVersion.VERSION2, "test")
    client.on_too_large = dropped.append
    client.on_message = lambda _client, _data, message: heard.append(len(message.payload))
    content = b"".join(published(bytes(payload)) for payload in payloads)
    client._sock = cast(Any, Pieces(content, sizes))
    for _ in range(len(sizes) + 3 * len(payloads)):
        assert client._packet_read() in (0, paho.MQTT_ERR_AGAIN)
    client._sock = None  # it would close it
    assert heard == [payload for payload in payloads if payload + 3 <= MOST_BYTES]
    assert dropped == [payload + 3 for payload in payloads if payload + 3 > MOST_BYTES]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_nobody_asked_for_in_this_way_ends_the_connection(qos: int) -> None:
    """paho keeps each message of QoS 2 until its broker releases it, which one that means harm never does."""
    client = LimitedClient(CallbackAPIVersion.VERSION2, "test")
    client._sock = cast(Any, Pieces(published(b"\x00\x01x", qos), [65_536]))
    client.on_message = lambda *_: pytest.fail("it was taken")
    found = [client._packet_read() for _ in range(3)]
    client._sock = None  # it would close it
    assert paho.MQTT_ERR_PROTOCOL in found
    assert not client._in_messages


def test_a_broker_that_does_not_read_is_left() -> None:
    near, far = socket.socketpair()
    with near, far:
        client = LimitedClient(CallbackAPIVersion.VERSION2, "test")
        client._sock = cast(Any, near)
        near.setblocking(False)
        for _ in range(2 * MOST_WAITING):
            client.publish("a", bytes(1000))
        assert MOST_WAITING < len(client._out_packet) <= 2 * MOST_WAITING
        far.setblocking(False)
        with suppress(BlockingIOError):
            while far.recv(1 << 20):
                pass
        assert far.recv(1) == b"", "the connection has ended"
        client._sock = None


def published(payload: bytes, qos: int = 0) -> bytes:
    """A message to the topic `a`, as it goes over the wire."""
    body = b"\x00\x01a" + payload
    length, rest = b"", len(body)
    while True:
        length += bytes([rest % 128 | (128 if rest > 127 else 0)])
        rest //= 128
        if not rest:
            return bytes([0x30 | qos << 1]) + length + body


@pytest.mark.parametrize(
    ("host", "tls", "warns"),
    [
        ("127.0.0.1", False, False),
        ("localhost", False, False),
        ("::1", False, False),
        ("broker.lan", False, True),
        ("broker.lan", True, False),
    ],
)
def test_a_password_that_goes_through_the_network_as_it_is_is_worth_a_word(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    tls: bool,
    warns: bool,
) -> None:
    monkeypatch.setattr(paho.Client, "connect_async", lambda *_: None)
    monkeypatch.setattr(paho.Client, "loop_start", lambda _: None)
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    sink = MqttSink(Mqtt(host=host, tls=tls, username="anna", password_file=str(file)), cast(Control, None))
    sink.open()
    assert ("unencrypted: mqtt.tls = true" in caplog.text) == warns
    assert ("unencrypted" in str(sink.note)) == warns
    assert "secret" not in caplog.text


def test_a_change_that_the_daemon_refuses_is_taken_back(slt_store: Path, broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text("[wake]\nmode = 'only'\n")
    with Ear(broker.port) as ear, connected(slt_store, broker.port, EARMARK_SETTINGS=str(file)) as (daemon, path):
        ear.wait("earmark/voice_sensitivity")
        file.write_text("[wake\n")
        for _ in range(2):  # nothing is stuck after the first
            mark = ear.mark()
            ear.say("earmark/mode/set", "prefer")
            ear.wait("earmark/mode", "only", since=mark)
        daemon.says("everything stays as it was", 2)
        file.write_text("[wake]\nmode = 'only'\n")
        ear.command("earmark/mode", "prefer")
        assert ask([path])["mode"] == "prefer"


def test_a_retained_command_is_not_obeyed_at_every_connection(slt_store: Path, broker: Broker) -> None:
    with Ear(broker.port) as ear:
        ear.say("old/mode/set", "label", retain=True)
        with connected(slt_store, broker.port, "mqtt.topic=old") as (_, path):
            ear.wait("old/mode", "only")
            mark = ear.mark()
            ear.say("old/sensitivity/set", "0.75")  # behind the retained one
            ear.wait("old/sensitivity", "0.75", since=mark)
            assert ask([path])["mode"] == "only"


def test_people_who_come_and_go_do_not_lose_a_change(slt_store: Path, broker: Broker) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port, "people.watch_s=0.05") as (daemon, path):
        ear.command("earmark/mode", "prefer")
        shutil.rmtree(slt_store / "slt")
        daemon.says("known: nobody")
        assert ask([path])["mode"] == "prefer"


# --- brokers that are away, and ends


def test_a_broker_that_is_killed_and_comes_back(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, connected(slt_store, broker.port) as (daemon, path):
        with Ear(broker.port) as ear:
            daemon.feed(spoken["slt"])
            assert daemon.event()["person"] == "slt"
            ear.wait("earmark/event")
        broker.kill()
        until(lambda: fault(path) is not None, "the loss is noticed", LIMIT_S)
        assert str(fault(path)).startswith(f"not connected: 127.0.0.1:{broker.port}: ")
        daemon.feed(spoken["slt"] + spoken["rms"])
        assert [daemon.event()["type"] for _ in range(2)] == ["detection", "rejection"]  # nobody waits for a broker
        broker.start()
        with Ear(broker.port) as ear:
            for topic in (DISCOVERY, "earmark/mode", "earmark/sensitivity", "earmark/voice_sensitivity"):
                ear.wait(topic)
            ear.wait("earmark/availability", "online")
            until(lambda: not str(fault(path)).startswith("not connected"), "it is connected again", LIMIT_S)
            mark = ear.mark()
            daemon.feed(spoken["slt"])
            assert daemon.event()["person"] == "slt"
            ear.wait("earmark/event", since=mark)
            ear.command("earmark/mode", "prefer")  # the controls are back, too
        daemon.says("mqtt: not connected: ")
        daemon.says("mqtt: connected to ")
        assert daemon.stop().code == 0


def test_what_reaches_no_broker_for_long_is_lost_and_counted(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, connected(slt_store, broker.port) as (daemon, path):
        broker.kill()
        until(lambda: fault(path) is not None, "the loss is noticed", LIMIT_S)
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"
        until(lambda: count(path, "failed") == 1, "one is lost", LIMIT_S)
        assert (count(path, "sent"), count(path, "dropped")) == (0, 0)
        daemon.says("send failed: an event is lost")
        broker.start()
        with Ear(broker.port) as ear:
            ear.wait("earmark/availability", "online")
            assert fault(path) == "an event is lost: there was no broker for 10 s"  # of the last thing it tried
            daemon.feed(spoken["rms"])
            assert daemon.event()["type"] == "rejection"
            assert decoded(ear.wait("earmark/event").payload)["type"] == "rejection", "the old one is not told"
            until(lambda: fault(path) is None, "all is well again")


def nobody_at_home() -> Control:
    """A daemon as far as this sink asks of it, with a microphone that hears."""
    household = SimpleNamespace(
        policy=Policy(), people=(), names=[], cards=(SimpleNamespace(sha256="0" * 64),), settings=Settings()
    )
    status = {"microphone": {"problem": None}}
    return cast(Control, SimpleNamespace(household=household, stats=Stats(), status=lambda: status))


def test_many_at_once_are_under_way_together_and_who_has_no_more_to_send_waits_for_all(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MqttSink(Mqtt(host="127.0.0.1", port=broker.port, topic="earmark", discovery=""), nobody_at_home())
    notice = Notice(Event("rejection", "okay_nabu", 1000, 0.9, None, 0.1, "unknown_voice"), "-", 0.0)
    with Ear(broker.port) as ear:
        sink.open()
        for _ in range(40):
            sink.send(notice)
        assert sink.idle_s == 0.0
        sink.idle()
        assert sink.idle_s is None
        ear.wait("earmark/event", count=40)
        connection = sink._opened().socket()
        assert connection is not None
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        monkeypatch.setattr("earmark.engine.sinks.mqtt.sink.LATE_S", 0.1)
        monkeypatch.setattr(paho.MQTTMessageInfo, "wait_for_publish", lambda *_: None)
        monkeypatch.setattr(paho.MQTTMessageInfo, "is_published", lambda _: False)
        sink.send(replace(notice, made_s=time.monotonic()))
        with pytest.raises(DaemonError, match="has not confirmed it"):
            sink.idle()
    sink.close()


@pytest.mark.parametrize("at_s", [0.0, 4e9], ids=["clock set ahead", "clock set back"])
def test_how_late_an_event_is_does_not_depend_on_the_clock(at_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = MqttSink(Mqtt(host="nowhere.invalid"), cast(Control, None))
    waited_s: list[float] = []
    monkeypatch.setattr("earmark.engine.sinks.mqtt.sink.time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(sink, "_opened", lambda: None)
    monkeypatch.setattr(sink._connected, "wait", lambda limit_s: waited_s.append(limit_s))
    notice = Notice(Event("detection", "okay_nabu", 16_000, 0.9, "anna", 0.8, "known_voice"), "mic", at_s)
    with pytest.raises(DaemonError, match="is lost"):
        sink.send(replace(notice, made_s=96.0))
    with pytest.raises(DaemonError, match="is lost"):
        sink.send(replace(notice, made_s=89.0))
    assert waited_s == [6.0, 0.0]


def test_a_broker_that_stands_still_delays_nothing(slt_store: Path, spoken: Spoken, tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, connected(slt_store, broker.port) as (daemon, path):
        broker.pause()
        daemon.feed(spoken["slt"] * 3)
        assert [daemon.event()["person"] for _ in range(3)] == ["slt"] * 3
        until(lambda: count(path, "failed") == 3, "all are given up", LIMIT_S)
        assert count(path, "sent") == 0
        daemon.says("the broker has not confirmed it")
        assert daemon.stop().code == 0


def test_a_killed_daemon_leaves_its_last_will(slt_store: Path, broker: Broker) -> None:
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, _):
        mark = ear.mark()
        daemon.process.kill()
        ear.wait("earmark/availability", "offline", since=mark)
    with Ear(broker.port) as late:
        assert late.wait("earmark/availability", "offline").retained


def test_the_will_of_an_older_connection_is_contradicted(slt_store: Path, own_broker: Broker) -> None:
    broker = own_broker
    with Ear(broker.port) as ear, connected(slt_store, broker.port) as (daemon, _):
        ear.wait("earmark/voice_sensitivity")
        mark = ear.mark()
        ear.say("earmark/availability", "offline", retain=True)
        ear.wait("earmark/availability", "online", since=mark)
        mark = ear.mark()
        assert daemon.stop(signal.SIGINT).code == 0
        ear.wait("earmark/availability", "offline", since=mark)
    with Ear(broker.port) as late:
        assert late.wait("earmark/availability").payload == b"offline"


def test_a_broker_that_talks_nonsense_ends_nothing(slt_store: Path, spoken: Spoken) -> None:
    answers = [
        bytes([0x20, 2, 0, 0, 0x90, 0]),  # connected; then an answer to a subscription without anything in it
        bytes([0x20, 2, 0, 0, 0x32, 3, 0, 1, 97]),  # a message that ends in its topic
        bytes([0x20, 2, 0, 0, 0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),  # a length that does not end
        bytes([0x20, 1, 0]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        os.urandom(4096),
    ]
    for answer in answers:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(LIMIT_S)
            port = server.getsockname()[1]
            with connected(slt_store, port, wait=False) as (daemon, path):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)
                    until(lambda: "not connected" in str(fault(path)), "it is said", LIMIT_S)
                    daemon.feed(spoken["slt"])
                    assert daemon.event()["person"] == "slt"
                    assert daemon.stop().code == 0  # which looks for tracebacks


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_broker_that_hangs_up_before_it_answers_is_said(slt_store: Path, tls: bool) -> None:
    """It speaks TLS only, or it is no broker: the connection stands, and nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        port = server.getsockname()[1]
        with connected(slt_store, port, f"mqtt.tls={str(tls).lower()}", wait=False) as (daemon, path):
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
            if not tls:
                daemon.says("it hung up before it answered")
                assert "mqtt.tls = true" in str(fault(path))
            daemon.says(f"mqtt: not connected: 127.0.0.1:{port}: ")
            assert f"not connected: 127.0.0.1:{port}" in str(fault(path))
            assert "has not answered yet" not in str(fault(path))
            assert sum("mqtt: not connected" in line for line in daemon.lines) == 1


def test_subscriptions_that_the_broker_refuses_are_said_once_and_events_go_on(slt_store: Path) -> None:
    """By its list of who may read what; it answers 0x80 for each of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        with connected(slt_store, server.getsockname()[1], wait=False) as (daemon, path):
            for _ in range(2):
                connection, _ = server.accept()
                connection.settimeout(LIMIT_S)
                with connection, connection.makefile("rb") as packets:
                    packet_of(packets)
                    connection.sendall(bytes([0x20, 2, 0, 0]))
                    kind, body = packet_of(packets)
                    while kind != 0x82:
                        kind, body = packet_of(packets)
                    refused = [0, 0x80, 0, 0x80, 0]
                    connection.sendall(bytes([0x90, 2 + len(refused), *body[:2], *refused]))
                    until(lambda: "does not let us read" in str(fault(path)), "it is in the status", LIMIT_S)
                    assert "earmark/sensitivity/set, earmark/availability: changes do not" in str(fault(path))
            assert sum("does not let us read" in line for line in daemon.lines) == 1


def packet_of(packets: IO[bytes]) -> tuple[int, bytes]:
    """The first byte of an MQTT packet, and its body."""
    kind, length, shift = packets.read(1)[0], 0, 0
    while True:
        byte = packets.read(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return kind, packets.read(length)


def test_connections_that_are_cut_again_and_again(slt_store: Path, broker: Broker) -> None:
    """A relay that hangs up after each introduction: it comes back by itself, and controls work in the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)
        with connected(slt_store, server.getsockname()[1], wait=False) as (daemon, _), Ear(broker.port) as ear:
            for attempt in range(3):
                near, _ = server.accept()
                with near, socket.create_connection(("127.0.0.1", broker.port)) as far:
                    mark = ear.mark()
                    relays = [threading.Thread(target=relay, args=pair) for pair in ((near, far), (far, near))]
                    for thread in relays:
                        thread.start()
                    try:
                        ear.wait("earmark/voice_sensitivity", since=mark)
                        if attempt == 2:
                            ear.command("earmark/mode", "label")
                            assert daemon.stop().code == 0
                    finally:
                        for one in (near, far):
                            hang_up(one)
                        for thread in relays:
                            thread.join(LIMIT_S)


def relay(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(4096):
            target.sendall(piece)
    except OSError:
        pass
    finally:
        hang_up(target)


def hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


# --- who may, and what cannot be


def test_a_password_from_a_file(slt_store: Path, tmp_path: Path) -> None:
    accounts, secret = tmp_path / "accounts", tmp_path / "secret"
    accounts.touch(0o600)
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("no mosquitto_passwd")
    subprocess.run(["mosquitto_passwd", "-b", accounts, "ear", "hunter2 ü"], check=True, capture_output=True)
    accounts.chmod(0o644)
    secret.write_text("wrong\n")
    sets = ["mqtt.username=ear", f"mqtt.password_file={secret}"]
    with Broker(tmp_path, ["allow_anonymous false", f"password_file {accounts}"]) as broker:
        with connected(slt_store, broker.port, *sets, wait=False) as (daemon, path):
            until(lambda: "ot authori" in str(fault(path)), "the broker refuses", LIMIT_S)
            daemon.says("can be read by others")
        secret.write_text("hunter2 ü\nanother line\n")
        secret.chmod(0o600)
        with connected(slt_store, broker.port, *sets) as (daemon, path):
            run = daemon.stop()
            assert run.code == 0
            assert "others" not in run.err
            assert "hunter2" not in run.err


def test_tls_with_the_systems_certificates(slt_store: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names], check=True, capture_output=True)
    lines = ["allow_anonymous true", f"cafile {certificate}", f"certfile {certificate}", f"keyfile {key}"]
    with Broker(tmp_path, lines) as broker:
        with connected(slt_store, broker.port, "mqtt.tls=true", wait=False) as (_, path):
            until(lambda: "certificate verify failed" in str(fault(path)), "nobody vouches for it", LIMIT_S)
        with connected(slt_store, broker.port, "mqtt.tls=true", SSL_CERT_FILE=str(certificate)) as (daemon, path):
            assert fault(path) is None
            assert daemon.stop().code == 0


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("mqtt.topic=a/#", "without + and #"),
        ("mqtt.topic=/a", "names with / between them"),
        ("mqtt.page=pi.local", "must be a link as https://"),
        ("mqtt.topic=$SYS", "must not begin with $"),
        ("mqtt.discovery=+", "mqtt.discovery"),
        (f"mqtt.host={'a' * 70}", "no name of a host"),
        ("mqtt.password_file=/nowhere", "cannot be read"),
        ("mqtt.password_file=/dev/null", "first line is empty"),
        ("mqtt.password_file=/etc/hostname", "mqtt.username"),
    ],
)
def test_what_cannot_be_is_said_and_the_detector_goes_on(
    slt_store: Path, spoken: Spoken, setting: str, text: str
) -> None:
    with connected(slt_store, free_port(), setting, wait=False) as (daemon, path):
        daemon.says("sink mqtt: open failed")
        assert text in str(fault(path))
        daemon.feed(spoken["slt"])
        assert daemon.event()["person"] == "slt"


def test_a_broker_that_is_away_is_tried_after_one_second_and_then_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library doubles the delay from the one to the other; nothing is connected here."""
    limits_s: list[tuple[int, int]] = []
    monkeypatch.setattr(paho.Client, "reconnect_delay_set", lambda _client, *limits: limits_s.append(limits))
    for name in ("connect_async", "loop_start", "loop_stop", "disconnect"):
        monkeypatch.setattr(paho.Client, name, lambda *_arguments: None)
    sink = MqttSink(Mqtt(host="nowhere.invalid"), cast(Control, None))
    sink.open()
    assert limits_s == [(1, 30)]
    assert sink.fault == "not connected: nowhere.invalid:1883 has not answered yet"
    sink.close()

"""What a broker keeps of a daemon: golden discovery, microphone, diagnostics, whose topic it is, taking it back."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from broker import LIMIT_S, Broker, Ear, free_port
from helpers_store import earmark
from helpers_store import person as voice
from jinja2.sandbox import SandboxedEnvironment
from sound_server import until

from earmark.engine.errors import DaemonError, SettingsError
from earmark.engine.event import Command, Event
from earmark.engine.settings.policy import Policy
from earmark.engine.settings.schema import Mqtt, Settings, Wyoming
from earmark.engine.sinks.base import Control, Notice
from earmark.engine.sinks.hook import EVENT_TYPES
from earmark.engine.sinks.mqtt.checks import check_page, topic_of
from earmark.engine.sinks.mqtt.discovery import CANCELLED, SOMEBODY_ELSE, discovery
from earmark.engine.sinks.mqtt.forget import forget
from earmark.engine.sinks.mqtt.sink import MOST_OTHERS, MqttSink
from earmark.engine.sinks.mqtt.state import RETAINED, State
from earmark.engine.sinks.stats import Stats

STRANGER = Event("rejection", "okay_nabu", 1000, 0.9, None, 0.1, "unknown_voice")


class Home:
    """A daemon as far as MQTT asks of it."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.household: Any = SimpleNamespace(
            policy=Policy(),
            people=(),
            names=["anna"],
            cards=[SimpleNamespace(sha256="0123456789ab" * 6)],
            settings=Settings(),
        )
        self.problem: str | None = None

    def status(self) -> dict[str, Any]:
        return {"microphone": {"problem": self.problem}}


@contextmanager
def running(broker: Broker, home: Home | None = None, **settings: Any) -> Iterator[MqttSink]:
    """A sink that has said all it has to say."""
    told = Mqtt(**{"host": "127.0.0.1", "port": broker.port, "topic": "earmark", **settings})
    sink = MqttSink(told, cast(Control, home or Home()))
    sink._own_id = secrets.token_hex(8)  # as if each had a process of its own
    sink.open()
    try:
        until(lambda: sink.fault is None, "it is connected", LIMIT_S)
        behind = sink._opened().publish("$test/said", qos=1)  # who listens to all topics does not hear this one
        behind.wait_for_publish(LIMIT_S)
        assert behind.is_published()
        yield sink
    finally:
        sink.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as one:
        yield one


def kept(broker: Broker) -> dict[str, bytes]:
    """All that the broker keeps now."""
    with Ear(broker.port) as ear:
        ear.say("end", "of what was kept")
        ear.wait("end")
        return {message.topic: message.payload for message in ear.heard if message.retained}


def test_home_assistant_is_told_what_was_tried_with_it(golden_dir: Path) -> None:
    """`scripts/check_homeassistant` tries this message with two releases: after a change, run it again."""
    told = discovery(
        "earmark-kitchen",
        "Kitchen ear",
        people=["Zoë", "anna"],
        area="Kitchen",
        page="https://pi.local/help",
        commands=True,
    )
    told["device"]["sw_version"] = told["origin"]["sw_version"] = "RELEASE"
    assert told == json.loads((golden_dir / "discovery.json").read_text("utf-8"))


def test_home_assistant_knows_every_type_of_event_that_it_is_sent() -> None:
    """One that it does not know is an error in its log, and lost."""
    told = discovery("e", "e")["components"]["wake"]["event_types"]
    assert set(told) == {*EVENT_TYPES, CANCELLED}


def test_each_entity_has_an_icon_of_its_own_or_a_class_that_has_one() -> None:
    entities = [one for one in discovery("e", "e", commands=True)["components"].values() if len(one) > 1]
    entities = [one for one in entities if one["platform"] != "device_automation"]
    assert [one["name"] for one in entities if not {"icon", "device_class"} & set(one)] == []


@pytest.mark.parametrize("page", ["pi.local", "ftp://pi.local", "https://", "https://a b", "javascript:alert(1)"])
def test_a_page_that_is_no_link_is_refused_for_home_assistant_would_refuse_the_device(page: str) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.page"):
        check_page(page)


def test_a_page_may_be_a_link_or_nothing() -> None:
    for page in ("", "http://pi.local:8080/help", "https://[fd00::1]/"):
        check_page(page)


def test_a_microphone_that_is_lost_or_muted_is_told_and_that_it_hears_again(broker: Broker) -> None:
    home = Home()
    with Ear(broker.port) as ear, running(broker, home) as sink:
        assert json.loads(ear.wait("earmark/microphone").payload) == {"why": None}
        home.problem = "nothing but zeros for 60 s: is it muted?"
        sink.microphone()
        assert json.loads(ear.wait("earmark/microphone", count=2).payload) == {"why": home.problem}
        home.problem = None
        sink.microphone()
        assert json.loads(ear.wait("earmark/microphone", count=3).payload) == {"why": None}


def test_people_rejections_and_models_are_counted(broker: Broker) -> None:
    home = Home()
    with Ear(broker.port) as ear, running(broker, home) as sink:
        told = {"people": 1, "rejections": 0, "models": "0123456789ab"}
        assert json.loads(ear.wait("earmark/diagnostics").payload) == told
        home.stats.add("events", type="rejection", keyword="okay_nabu", reason="unknown_voice")
        sink.send(Notice(STRANGER, "-", 0.0))
        assert json.loads(ear.wait("earmark/diagnostics", count=2).payload) == {**told, "rejections": 1}
        home.household.names = ["anna", "Zoë"]
        sink.state()
        assert json.loads(ear.wait("earmark/diagnostics", count=3).payload) == {**told, "rejections": 1, "people": 2}


@pytest.mark.parametrize(
    ("reason", "person", "spoken", "kind"),
    [
        ("confirmed", "anna", "anna", "confirmation"),
        ("changed", "anna", "anna", "confirmation"),
        ("confirmed", None, SOMEBODY_ELSE, "confirmation"),
        ("denied:cancel", None, SOMEBODY_ELSE, CANCELLED),
        ("unknown_voice:cancel", None, SOMEBODY_ELSE, CANCELLED),
        ("too_little_speech", None, None, "confirmation"),
        ("several_voices", None, None, "confirmation"),
        ("speaker_failed", None, None, "confirmation"),
    ],
)
def test_home_assistant_is_told_whose_command_it_was(
    broker: Broker, reason: str, person: str | None, spoken: str | None, kind: str
) -> None:
    home = Home()
    home.household.policy = Policy(confirm="cancel")
    home.household.people = [voice("anna")]
    event = Event("confirmation", "okay_nabu", 1000, 0.9, person, 0.8, reason, command=Command("anna", 900))
    with Ear(broker.port) as ear, running(broker, home) as sink:
        components = json.loads(ear.wait("homeassistant/device/earmark/config").payload)["components"]
        sink.send(Notice(event, "-", 0.0))
        told = json.loads(ear.wait("earmark/event").payload)
    assert told["event_type"] == kind
    sandbox = SandboxedEnvironment()
    sandbox.filters["tojson"] = json.dumps  # as Home Assistant's
    shown, woken = (
        sandbox.from_string(components[name]["value_template"]).render(value_json=told)
        for name in ("spoken_by", "woken_by")
    )
    assert (json.loads(shown)["event_type"] if shown else None) == spoken
    assert woken == ""
    assert spoken is None or spoken in components["spoken_by"]["event_types"]


def test_who_spoke_comes_and_goes_with_the_settings(broker: Broker) -> None:
    home, topic = Home(), "homeassistant/device/earmark/config"
    with Ear(broker.port) as ear, running(broker, home) as sink:
        assert json.loads(ear.wait(topic).payload)["components"]["spoken_by"] == {"platform": "event"}
        home.household.policy = Policy(confirm_of={"alexa": "label"})
        sink.state()
        assert "event_types" in json.loads(ear.wait(topic, count=2).payload)["components"]["spoken_by"]
        home.household.policy = Policy()
        sink.state()
        assert json.loads(ear.wait(topic, count=3).payload)["components"]["spoken_by"] == {"platform": "event"}
        home.household.settings = Settings(wyoming=Wyoming(transcribe="tcp://whisper:10300"))
        sink.state()
        assert "event_types" in json.loads(ear.wait(topic, count=4).payload)["components"]["spoken_by"]


def test_all_that_is_retained_is_known_to_be(broker: Broker) -> None:
    """Else `earmark mqtt forget` would leave it behind."""
    with running(broker) as sink:
        sink.send(Notice(Event("detection", "okay_nabu", 1000, 0.9, "anna", 0.8, "known_voice"), "-", 0.0))
    assert set(kept(broker)) == {f"earmark/{name}" for name in RETAINED} | {"homeassistant/device/earmark/config"}


# --- whose topic it is


@pytest.mark.parametrize(
    ("host", "topic"),
    [
        ("kitchen", "earmark-kitchen"),
        ("pi.home.arpa", "earmark-pi"),
        ("a_b ü/+#", "earmark-a_b-----"),
        ("", "earmark"),
    ],
)
def test_a_topic_is_the_machines_own_unless_it_is_named(
    host: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert topic_of(Mqtt()) == topic
    assert topic_of(Mqtt(topic="house/ear")) == "house/ear"


def test_two_daemons_on_one_topic_notice_each_other_and_one_alone_nobody(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with running(broker) as first:
        first._opened().publish("earmark/daemon", "not a number of a daemon", qos=1).wait_for_publish(LIMIT_S)
        with running(broker, topic="another"):
            pass
        assert first.note is None
        with running(broker) as second:
            until(lambda: first.note and second.note, "both say so", LIMIT_S)
            assert first.note == "another daemon has the topic earmark, too: give each its own mqtt.topic"
    assert caplog.text.count("another daemon has the topic") == 2, "each once"
    with running(broker) as later, Ear(broker.port) as ear:
        ear.say("end", "")
        assert later.note is None, "those of before are gone"


def test_who_pretends_to_be_many_daemons_is_answered_a_few_times(broker: Broker) -> None:
    with Ear(broker.port) as ear, running(broker) as sink:
        ear.wait("earmark/availability", "online")
        for number in range(5 * MOST_OTHERS):
            ear.say("earmark/daemon", f"{number:016x}")
        ear.say("earmark/mode/set", "no mode")
        ear.wait("earmark/mode", count=2)  # it has come behind
        said = [message.payload.decode() for message in ear.heard if message.topic == "earmark/daemon"]
        assert said.count(sink._own_id) == 1 + MOST_OTHERS


@pytest.mark.parametrize(("topic", "says"), [("", True), ("earmark", False), ("earmark-x", False)])
def test_who_had_the_topic_of_before_is_told_what_to_do(
    topic: str, says: bool, broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "kitchen")
    with running(broker, topic="earmark"):
        pass
    with running(broker, topic=topic), Ear(broker.port) as ear:
        ear.wait(f"{topic_of(Mqtt(topic=topic))}/availability", "online")
        mark = ear.mark()
        ear.say(f"{topic_of(Mqtt(topic=topic))}/mode/set", "no mode")
        ear.wait(f"{topic_of(Mqtt(topic=topic))}/mode", since=mark)
    assert ('mqtt.topic = "earmark" goes on with that one' in caplog.text) is says


# --- taking it back


def test_forget_empties_all_that_the_broker_keeps_and_nothing_of_others(broker: Broker) -> None:
    with Ear(broker.port) as ear:
        ear.say("earmark/kitchen/last", "of another daemon", retain=True)
    with running(broker) as sink:
        sink.send(Notice(Event("detection", "okay_nabu", 1000, 0.9, "anna", 0.8, "known_voice"), "-", 0.0))
    assert len(kept(broker)) == len(RETAINED) + 2
    run = earmark(
        "mqtt", "forget", "--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={broker.port}", "--topic", "earmark"
    )
    assert run.out.count("forgotten  ") == len(RETAINED) + 1
    assert set(kept(broker)) == {"earmark/kitchen/last"}


def test_forget_does_nothing_while_the_daemon_runs(broker: Broker) -> None:
    with running(broker):
        settings = Mqtt(host="127.0.0.1", port=broker.port, topic="earmark")
        with pytest.raises(DaemonError, match="stop it first"):
            forget(settings)
        assert len(kept(broker)) == len(RETAINED)  # there is no last wake, but a device


@pytest.mark.parametrize("retained", [True, False], ids=["anew", "again"])
def test_forget_says_so_where_a_daemon_comes_meanwhile(
    retained: bool, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has said all of it again, and what is told as forgotten would not be."""
    with Ear(broker.port) as ear:
        clock = SimpleNamespace(sleep=lambda _s: ear.say("earmark/availability", "online", retain=retained))
        monkeypatch.setattr("earmark.engine.sinks.mqtt.forget.time", clock)
        with pytest.raises(DaemonError, match="stop it first"):
            forget(Mqtt(host="127.0.0.1", port=broker.port, topic="earmark"))


def test_it_counts_as_connected_when_it_has_said_all(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an event would come before the people whom it names."""
    said: list[bool] = []
    introduce = State.introduce

    def late(state: State) -> None:
        said.append(sink._connected.is_set() or sink.fault is None)
        introduce(state)

    monkeypatch.setattr(State, "introduce", late)
    sink = MqttSink(Mqtt(host="127.0.0.1", port=broker.port, topic="earmark"), cast(Control, Home()))
    sink.open()
    try:
        until(lambda: sink.fault is None, "it is connected", LIMIT_S)
    finally:
        sink.close()
    assert said == [False]


def test_forget_says_why_it_cannot() -> None:
    with pytest.raises(DaemonError, match="refused"):
        forget(Mqtt(host="127.0.0.1", port=free_port()))
    with pytest.raises(SettingsError, match="without \\+ and #"):
        forget(Mqtt(host="127.0.0.1"), "earmark/#")
    assert "mqtt.host is not set" in earmark("mqtt", "forget", code=2).err


def test_forget_of_a_broker_that_refuses_or_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker(tmp_path, ["allow_anonymous false"]) as closed, pytest.raises(DaemonError, match="ot authori"):
        forget(Mqtt(host="127.0.0.1", port=closed.port))
    monkeypatch.setattr("earmark.engine.sinks.mqtt.forget.LIMIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DaemonError, match="no answer"):
        forget(Mqtt(host="127.0.0.1", port=silent.getsockname()[1]))

"""What every sink makes of every type of event: each sink is the real one, at the end of the daemon's own way to it.

A type that is added to `Event`, or a sink that is added to the dispatch, fails here until `ARRIVES` says what becomes
of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import time
import typing
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import LIMIT_S, Broker, Ear, free_port
from helpers_store import person
from sound_server import until
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncClient

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.daemon.daemon import Daemon
from earmark.engine.daemon.unnamed import Names
from earmark.engine.event import Event
from earmark.engine.history.journal import open_journal
from earmark.engine.history.queue import LearningQueue
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.reading import load
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.dispatch import _KINDS, STDOUT
from earmark.engine.sinks.wyoming import client as wyoming_client

TYPES: tuple[str, ...] = typing.get_args(typing.get_type_hints(Event)["type"])
SINKS = (STDOUT, *_KINDS)

ARRIVES: dict[str, dict[str, list[str]]] = {
    "detection": {
        "stdout": ["detection"],
        "jsonl": ["detection"],
        "socket": ["detection"],
        "hook": ["detection"],
        "mqtt": ["event detection", "last anna"],
        "wyoming": ["detection"],  # to the client whose audio it was
        "journal": ["detection"],
        "learning": ["detection"],
        "metrics": ["detection"],
    },
    "rejection": {
        "stdout": ["rejection"],
        "jsonl": ["rejection"],
        "socket": ["rejection"],
        "hook": ["rejection"],
        "mqtt": ["event rejection"],
        "wyoming": ["not-detected"],
        "journal": ["rejection"],
        "learning": ["rejection"],
        "metrics": ["rejection"],
    },
    "near_miss": {
        "stdout": [],
        "jsonl": [],
        "socket": [],
        "hook": [],
        "mqtt": [],
        "wyoming": ["not-detected"],
        "journal": ["near_miss"],
        "learning": ["near_miss"],
        "metrics": ["near_miss"],
    },
    "confirmation": {
        "stdout": ["confirmation"],
        "jsonl": ["confirmation"],
        "socket": ["confirmation"],
        "hook": ["confirmation"],
        "mqtt": ["event confirmation"],
        "wyoming": ["not-detected"],
        "journal": [],  # it is added to its wake: test_journal_sink.py
        "learning": [],  # test_learning_sink.py has what is learned of it
        "metrics": ["confirmation"],
    },
}
"""Type -> sink -> what arrives there of one event of the type."""


@pytest.fixture
def event(kind: str) -> Event:
    """One of the type, of a known voice whatever the type is: it is the type that decides."""
    embedding = np.eye(1, 192, dtype=np.float32)[0]
    return Event(kind, "okay_nabu", RATE_HZ, 0.9, "anna", 0.75, "known_voice", embedding)  # type: ignore[arg-type]


@contextmanager
def running(folder: Path, settings: dict[str, Any]) -> Iterator[Daemon]:
    """A daemon for a microphone, with the sinks that the settings name, nobody enrolled yet; it does not listen."""
    flags = {"people.store": str(folder / "people"), "people.watch_s": 0.0, "socket.path": "", **settings}
    arguments = argparse.Namespace(source=None, json=True, loaded=load(None, {}, flags))
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        with Daemon(arguments, Names(arguments.loaded.settings)) as daemon:
            yield daemon
        assert daemon.stats.total("failed") == daemon.stats.total("dropped") == 0, "or what is missing shows nothing"
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def publish(daemon: Daemon, event: Event) -> None:
    """As the daemon does what its microphone heard: at once, and with the sound half a second later."""
    notice = Notice(event, "mic", time.time())
    daemon.publish(notice)
    if daemon.journal:
        seconds = 0 if event.type == "confirmation" else 2  # of a command no sound is kept
        daemon.publish(replace(notice, clip=np.zeros(seconds * RATE_HZ, np.int16)))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def types_of(text: str) -> list[str]:
    return [json.loads(line)["type"] for line in text.splitlines()]


# --- one function for each sink: an event -> what arrives


def to_stdout(event: Event, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with running(folder, {}) as daemon:
        publish(daemon, event)
    return types_of(capsys.readouterr().out)


def to_jsonl(event: Event, folder: Path) -> list[str]:
    with running(folder, {"jsonl.path": str(folder / "events")}) as daemon:
        publish(daemon, event)
    return types_of((folder / "events").read_text())


def to_socket(event: Event, folder: Path) -> list[str]:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as connection:
        with running(folder, {"socket.path": str(path)}) as daemon:
            until(path.exists, "its socket", LIMIT_S)
            connection.connect(str(path))
            connection.settimeout(LIMIT_S)
            connection.sendall(b"status\n")
            lines = connection.makefile("r")
            assert types_of(lines.readline()) == ["status"]
            publish(daemon, event)
        return types_of(lines.read())


def to_hook(event: Event, folder: Path) -> list[str]:
    told = folder / "told"
    settings = {"hook.command": ["tee", "-a", str(told)], "hook.events": ["detection", "rejection", "confirmation"]}
    with running(folder, settings) as daemon:
        publish(daemon, event)
    return types_of(told.read_text()) if told.exists() else []


def to_mqtt(event: Event, folder: Path) -> list[str]:
    with Broker(folder) as broker, Ear(broker.port) as ear:
        with running(folder, {"mqtt.host": "127.0.0.1", "mqtt.port": broker.port, "mqtt.topic": "earmark"}) as daemon:
            ear.wait("earmark/mode")
            publish(daemon, event)
        ear.wait("earmark/availability", "offline")
        told = {message.topic: json.loads(message.payload) for message in ear.heard if message.payload[:1] == b"{"}
    events = [f"event {told['earmark/event']['event_type']}"] if "earmark/event" in told else []
    return events + ([f"last {told['earmark/last']['person']}"] if "earmark/last" in told else [])


def to_wyoming(event: Event, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A satellite whose audio has the event in it, and one that hears nothing: only the first is answered."""
    uri = f"unix://{folder / 'w'}"

    class OneEvent:
        """A listener that hears the event in the first audio."""

        samples = 2 * RATE_HZ
        patience_samples = 0

        def __init__(self, *_: object, confirms: bool) -> None:
            assert not confirms, "what a satellite sends next is no command"
            self._waiting = [event]

        def follow(self, *_: object) -> None:
            """Nothing changes."""

        def push(self, _samples: Int16) -> list[Event]:
            found, self._waiting = self._waiting, []
            return found

        def finish(self) -> list[Event]:
            return []

        def clips(self, now: bool = False) -> list[tuple[Event, Int16]]:  # noqa: ARG002
            return []

    monkeypatch.setattr(wyoming_client, "Listener", OneEvent)

    async def converse() -> list[str]:
        async with AsyncClient.from_uri(uri) as other, AsyncClient.from_uri(uri) as satellite:
            await satellite.write_event(AudioChunk(RATE_HZ, 2, 1, bytes(3200)).event())
            await satellite.write_event(AudioStop().event())
            await satellite.write_event(AudioStop().event())  # of a second stream, in which nothing is said
            answers = [(await satellite.read_event()).type]
            assert (await satellite.read_event()).type == "not-detected"
            await other.write_event(AudioStop().event())
            assert (await other.read_event()).type == "not-detected"
            return answers

    with running(folder, {"wyoming.uris": [uri]}) as daemon:
        until((folder / "w").exists, "its socket", LIMIT_S)
        publish(daemon, event)  # of the daemon's own microphone: no satellite is told
        answers = asyncio.run(asyncio.wait_for(converse(), LIMIT_S))
        assert daemon.stats.total("events", type=event.type) == 2, "the other sinks hear of it, too"
    return answers


def to_journal(event: Event, folder: Path) -> list[str]:
    with running(folder, {"journal.enabled": True, "journal.folder": str(folder / "wakes")}) as daemon:
        PersonStore(folder / "people").save(person("anna"))
        publish(daemon, event)
        settings = daemon.household.settings.journal
    journal = open_journal(settings)
    return [journal.read(number).event["type"] for number in journal.numbers()]


def to_learning(event: Event, folder: Path) -> list[str]:
    with running(folder, {"learning.enabled": True, "learning.update_s": 0.0}) as daemon:
        PersonStore(folder / "people").save(person("anna"))
        publish(daemon, event)
    return [wake.type for wake in LearningQueue(PersonStore(folder / "people")).read()]


def to_metrics(event: Event, folder: Path) -> list[str]:
    """Counted, once also where a clip comes after it."""
    port = free_port()
    settings = {"metrics.port": port, "journal.enabled": True, "journal.folder": str(folder / "wakes")}
    with running(folder, settings) as daemon:
        until(lambda: answers(port), "its port", LIMIT_S)
        publish(daemon, event)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT_S) as page:
            lines = page.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("earmark_events_total{")]
    assert all(line.endswith("} 1.0") for line in counted)
    return [kind for line in counted for kind in TYPES if f'type="{kind}"' in line]


DELIVER: dict[str, Callable[..., list[str]]] = {
    "stdout": to_stdout,
    "jsonl": to_jsonl,
    "socket": to_socket,
    "hook": to_hook,
    "mqtt": to_mqtt,
    "wyoming": to_wyoming,
    "journal": to_journal,
    "learning": to_learning,
    "metrics": to_metrics,
}


def test_every_type_of_event_has_a_case_for_every_sink() -> None:
    assert {kind: set(cases) for kind, cases in ARRIVES.items()} == {kind: set(SINKS) for kind in TYPES}
    assert set(DELIVER) == set(SINKS)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("kind", TYPES)
def test_what_a_sink_makes_of_an_event(
    event: Event,
    kind: str,
    sink: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = {"stdout": (capsys,), "wyoming": (monkeypatch,)}
    assert DELIVER[sink](event, tmp_path, *more.get(sink, ())) == ARRIVES[kind][sink]

"""Who follows what the daemon hears, on the Wyoming port: who may, what comes, and that others never see it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from broker import free_port
from live import LIMIT_S
from sink_control import SinkControl

from earmark.engine.errors import ProtocolError
from earmark.engine.event import Event
from earmark.engine.listener import Voices
from earmark.engine.settings.schema import Settings, Wyoming
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.wyoming import followers, sink
from earmark.engine.sinks.wyoming.followers import Followers, own_id
from earmark.engine.sinks.wyoming.sink import WyomingSink

ANNA = Event("detection", "okay_nabu", 16_000, 0.9, "anna", 0.7, "known_voice")


class Control(SinkControl):
    """A daemon that knows Anna; what it says of its microphone can be set."""

    def __init__(self) -> None:
        policy = SimpleNamespace(mode="only")
        manifest = SimpleNamespace(name="okay_nabu", wake_word="Okay Nabu")
        home: Any = SimpleNamespace(names=["anna"], policy=policy, words=[manifest], settings=Settings(), people=[])
        super().__init__(home)
        self.microphone: dict[str, Any] = {"name": "mic", "fault": None, "silent_s": 0}

    def status(self) -> dict[str, Any]:
        return {"version": "1.2.3", "microphone": self.microphone}


class Connection:
    """As a client of the protocol has it."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), LIMIT_S, source_address=(source, 0))
        self._file = self._socket.makefile("rb")

    def send(self, kind: str) -> None:
        self._socket.sendall(json.dumps({"type": kind}).encode() + b"\n")

    def read(self) -> tuple[str, dict[str, Any]]:
        header = json.loads(self._file.readline())
        return header["type"], json.loads(self._file.read(header.get("data_length", 0)) or b"{}")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def served(control: Control, **settings: Any) -> Iterator[tuple[WyomingSink, int]]:
    port = free_port()
    service = WyomingSink(Wyoming(uris=(f"tcp://127.0.0.1:{port}",), **settings), control)
    service.open()
    try:
        yield service, port
    finally:
        service.close()


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends audio here."""
    monkeypatch.setattr(Voices, "of", lambda *_: None)


def test_who_follows_gets_the_state_and_then_what_is_heard_anywhere() -> None:
    control = Control()
    with served(control) as (service, port):
        follower = Connection(port)
        follower.send("earmark-follow")
        kind, state = follower.read()
        assert kind == "earmark-state"
        assert state["people"] == ["anna"]
        assert state["keywords"] == [{"name": "okay_nabu", "phrase": "Okay Nabu"}]
        assert state["microphone"] == {"name": "mic", "problem": None}
        assert (state["id"], state["version"], state["mode"]) == (own_id(), "1.2.3", "only")
        assert state["you"] == "127.0.0.1"
        assert state["transcribes"] is False
        service.send(Notice(ANNA, "wyoming:192.168.1.9:4711", 1e9, peer="192.168.1.9"))
        kind, heard = follower.read()
        assert (kind, heard["type"], heard["person"], heard["host"]) == (
            "earmark-event",
            "detection",
            "anna",
            "192.168.1.9",
        )
        follower.send("ping")
        assert follower.read()[0] == "pong", "the rest of the protocol is there as before"
        follower.close()
        assert control.stats.total("sent", sink="wyoming") == 1


def test_only_who_is_trusted_may_follow_and_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    with served(Control(), trusted=("127.0.0.2",)) as (service, port):
        stranger, friend = Connection(port), Connection(port, "127.0.0.2")
        stranger.send("earmark-follow")
        kind, error = stranger.read()
        assert (kind, error["code"]) == ("error", "not-trusted")
        assert "127.0.0.1 is not in wyoming.trusted" in error["text"]
        friend.send("earmark-follow")
        assert friend.read()[0] == "earmark-state"
        service.send(Notice(ANNA, "mic", 1e9))
        assert friend.read()[0] == "earmark-event"
        stranger.send("ping")
        assert stranger.read()[0] == "pong", "no event came before it"
        stranger.close()
        friend.close()
    assert caplog.text.count("127.0.0.1 is not in wyoming.trusted: it may not follow who speaks") == 1


@pytest.mark.parametrize(("trusted", "follows"), [(("127.0.0.1",), True), (("192.168.0.0/16",), False)])
def test_this_machine_is_trusted_by_each_of_its_addresses(trusted: tuple[str, ...], follows: bool) -> None:
    """Home Assistant beside it takes the address that is announced, which is that of the network."""
    port = free_port()
    service = WyomingSink(Wyoming(uris=(f"tcp://127.0.0.2:{port}",), trusted=trusted), Control())
    service.open()
    try:
        connection = socket.create_connection(("127.0.0.2", port), LIMIT_S, source_address=("127.0.0.2", 0))
        connection.sendall(b'{"type": "earmark-follow"}\n')
        assert (b"earmark-state" in connection.recv(1000)) is follows
        connection.close()
    finally:
        service.close()


def test_who_follows_has_to_listen_and_is_not_taken_for_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "ENOUGH_S", 0.01)
    with served(Control(), clients=2) as (_, port):
        follower, silent = Connection(port), Connection(port)
        follower.send("earmark-follow")
        assert follower.read()[0] == "earmark-state"
        silent.send("ping")
        assert silent.read()[0] == "pong"
        time.sleep(0.02)  # so long has each of them said nothing
        newcomer = Connection(port)
        newcomer.send("ping")
        assert newcomer.read()[0] == "pong"
        follower.send("ping")
        assert follower.read()[0] == "pong", "it still has its place"
        for connection in (follower, silent, newcomer):
            connection.close()


def test_who_has_not_asked_sees_nothing_of_it() -> None:
    control = Control()
    with served(control) as (service, port):
        satellite = Connection(port)
        service.send(Notice(ANNA, "mic", 1e9))
        satellite.send("ping")
        assert satellite.read()[0] == "pong"
        satellite.close()
    assert control.stats.total("sent", sink="wyoming") == 0


class Told:
    """A follower that keeps what it is told."""

    host = "192.168.1.5"

    def __init__(self, reads: bool = True) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.reads, self.ended = reads, ""

    def write(self, event: Any) -> None:
        if not self.reads:
            raise ProtocolError("it does not read its answers")
        self.told.append((event.type, event.data))

    def end(self, why: str) -> None:
        self.ended = why


def test_who_comes_just_when_something_has_changed_keeps_it_from_nobody() -> None:
    control, first, second = Control(), Told(), Told()
    home = Followers(control)
    home.add(first)
    cast(Any, control.household).names = ["anna", "ben"]
    home.add(second)
    home.look()
    assert [data["people"] for _, data in first.told] == [["anna"], ["anna", "ben"]]
    assert [data["people"] for _, data in second.told] == [["anna", "ben"]]


def test_somebody_new_is_told_of_before_they_are_named() -> None:
    control, client = Control(), Told()
    home = Followers(control)
    home.add(client)
    cast(Any, control.household).names = ["anna", "ben"]
    home.tell(Notice(Event("detection", "okay_nabu", 0, 0.9, "ben", 0.7, "known_voice"), "mic", 1e9))
    assert [(kind, data.get("people")) for kind, data in client.told[1:]] == [
        ("earmark-state", ["anna", "ben"]),
        ("earmark-event", None),
    ]


@pytest.mark.parametrize(
    ("microphone", "problem"),
    [
        ({"fault": "unplugged", "silent_s": 0}, "unplugged"),
        ({"fault": None, "silent_s": 61}, "nothing but digital silence: it is probably muted"),
        ({"fault": None, "silent_s": 59, "name": "another"}, None),
    ],
)
def test_a_microphone_that_hears_nothing_is_told(microphone: dict[str, Any], problem: str | None) -> None:
    control, client = Control(), Told()
    home = Followers(control)
    home.add(client)
    control.microphone = microphone
    home.look()
    home.look()
    assert client.told[-1][1]["microphone"]["problem"] == problem
    assert len(client.told) == 2, "once"


def test_who_does_not_read_is_ended_and_the_others_are_told() -> None:
    control, deaf, client = Control(), Told(), Told()
    home = Followers(control)
    home.add(deaf)
    home.add(client)
    deaf.reads = False
    home.tell(Notice(ANNA, "mic", 1e9))
    assert deaf.ended == "it does not read its answers"
    assert client.told[-1][0] == "earmark-event"


def test_the_id_stays_and_follows_the_name_where_a_machine_has_none(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "MACHINE_ID", tmp_path / "machine-id")
    monkeypatch.setattr(socket, "gethostname", lambda: "kitchen")
    of_a_name = own_id()
    assert own_id() == of_a_name
    monkeypatch.setattr(socket, "gethostname", lambda: "bath")
    assert own_id() != of_a_name
    (tmp_path / "machine-id").write_text("0123456789abcdef" * 2 + "\n")
    of_an_id = own_id()
    monkeypatch.setattr(socket, "gethostname", lambda: "kitchen")
    assert own_id() == of_an_id != of_a_name

"""The announcement by mDNS: it fails, and is tried again; it follows the addresses; its names are its own."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from earmark.engine.sinks.wyoming import announcement
from earmark.engine.sinks.wyoming.announcement import Announcement, announced, instance_name, machine_id

EVERYWHERE = (socket.AF_INET, "0.0.0.0", 10400)


class NonUniqueNameException(Exception):
    """Its namesake of the package."""


class Network:
    """Instead of the package zeroconf: what was announced, and where; fails as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.infos: list[dict[str, Any]] = []
        self.fails: list[Exception] = []
        network = self

        class AsyncServiceInfo:
            def __init__(self, kind: str, name: str, **rest: Any) -> None:
                self.kind, self.name, self.rest = kind, name, rest

        class AsyncZeroconf:
            def __init__(self, interfaces: list[str]) -> None:
                self.interfaces = interfaces

            async def async_register_service(self, info: AsyncServiceInfo) -> None:
                if network.fails:
                    raise network.fails.pop(0)
                network.said.append(f"hello {','.join(self.interfaces)}")
                network.infos.append({"name": info.name, **info.rest})

            async def async_close(self) -> None:
                network.said.append("goodbye")

        package, inner = ModuleType("zeroconf"), ModuleType("zeroconf.asyncio")
        package.NonUniqueNameException = NonUniqueNameException  # type: ignore[attr-defined]
        package.asyncio = inner  # type: ignore[attr-defined]
        inner.AsyncServiceInfo, inner.AsyncZeroconf = AsyncServiceInfo, AsyncZeroconf  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "zeroconf", package)
        monkeypatch.setitem(sys.modules, "zeroconf.asyncio", inner)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setattr(announcement, "LOOK_S", 0.0)
    return Network(monkeypatch)


def looks(addresses: list[str | None], monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Runs it for as many looks as there are addresses of this machine; what it told after each."""
    left, told = list(addresses), []
    monkeypatch.setattr(announcement, "own_address", lambda _family: left[0])

    def tell(fault: str | None) -> None:
        told.append(fault)
        del left[0]
        if not left:
            raise asyncio.CancelledError  # ends the task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Announcement(lambda: [EVERYWHERE], tell).run())
    return told


def test_a_machine_without_a_network_announces_when_it_has_one(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fault = "not announced: this machine has no address in a network yet"
    assert looks([None, None, "10.0.0.5", "10.0.0.5"], monkeypatch) == [fault, fault, None, None]
    assert network.said == ["hello 10.0.0.5"]
    assert [record.getMessage() for record in caplog.records if record.name.startswith("earmark")] == [
        f"wyoming: {fault}; it is tried again, and served all the same",
        "wyoming: announced at 10.0.0.5 now",
    ]


def test_other_addresses_are_announced_instead(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """At boot only docker0 was there; later the network came, and then another lease."""
    assert looks(["172.17.0.1", "10.0.0.5", "10.0.0.5", "10.0.0.9"], monkeypatch) == [None] * 4
    assert network.said == ["hello 172.17.0.1", "goodbye", "hello 10.0.0.5", "goodbye", "hello 10.0.0.9"]
    assert network.infos[-1]["addresses"] == [bytes([10, 0, 0, 9])]
    assert network.infos[-1]["port"] == 10400
    assert len({info["name"] for info in network.infos}) == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(97, "Address family not supported by protocol"), "Address family not supported by protocol"),
        (TimeoutError(), "TimeoutError"),
        (RuntimeError("No interfaces"), "No interfaces"),
    ],
    ids=["sandbox", "no text", "library"],
)
def test_whatever_the_library_raises_is_told_and_tried_again(
    network: Network, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    network.fails = [error]
    told = looks(["10.0.0.5"] * 3, monkeypatch)
    assert told[0]
    assert text in told[0]
    assert told[1:] == [None, None]
    assert network.said == ["goodbye", "hello 10.0.0.5"]


def test_a_name_that_another_machine_has_is_replaced_by_one_of_its_own(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its card was copied, and so the machine's id."""
    network.fails = [NonUniqueNameException(), NonUniqueNameException()]
    assert looks(["10.0.0.5", "10.0.0.6"], monkeypatch) == [None, None]
    first, second = network.infos
    assert first["name"] == second["name"], "and keeps it"
    own = first["name"].removesuffix("._wyoming._tcp.local.").rpartition(" ")[2]
    assert own != machine_id(10400)
    assert first["server"] == f"earmark-{own}.local."


def test_names_that_are_all_taken_are_told(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    network.fails = [NonUniqueNameException() for _ in range(3)]
    (told,) = looks(["10.0.0.5"], monkeypatch)
    assert told
    assert re.fullmatch(r"not announced: the name earmark .* is taken", told)


def test_the_host_is_a_valid_name_and_not_the_one_of_the_machine(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Anna's Küche.fritz.box")
    looks(["10.0.0.5"], monkeypatch)
    (info,) = network.infos
    assert re.fullmatch(r"[a-z0-9-]{1,63}\.local\.", info["server"])
    assert info["name"].startswith("earmark Anna's Küche ")
    assert len(instance_name("123456").encode()) <= 63


def test_a_name_is_the_machines_and_the_ports_at_every_start(tmp_path: Path) -> None:
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    own = machine_id(10400, file)
    assert own == machine_id(10400, file) != machine_id(10401, file)
    assert re.fullmatch("[0-9a-f]{6}", own)
    assert own not in file.read_text(), "the id itself is nobody else's business"
    for content in ("", "uninitialized\n", "0" * 32):
        file.write_text(content)
        assert machine_id(10400, file) != machine_id(10400, file), "random"
    assert machine_id(10400, tmp_path / "none") != machine_id(10400, tmp_path / "none")


@pytest.mark.parametrize(
    ("listening", "wanted"),
    [
        ([EVERYWHERE], (10400, ["4"])),
        ([(socket.AF_INET6, "::", 10400), EVERYWHERE], (10400, ["6", "4"])),
        ([(socket.AF_INET6, "::", 10400)], (10400, ["6"])),
        ([(socket.AF_INET, "127.0.0.1", 10400)], (10400, ["127.0.0.1"])),
        ([(socket.AF_INET, "127.0.0.1", 10400), (socket.AF_INET, "10.0.0.5", 10400)], (10400, ["10.0.0.5"])),
        ([(socket.AF_INET, "10.0.0.5", 10400), (socket.AF_INET, "10.0.0.6", 10401)], (10400, ["10.0.0.5"])),
        ([(socket.AF_INET6, "::1", 10400)], (10400, [])),
        ([], (0, [])),
    ],
)
def test_what_is_announced_is_where_others_reach_it(
    monkeypatch: pytest.MonkeyPatch, listening: list[tuple[Any, ...]], wanted: tuple[int, list[str]]
) -> None:
    shown = {"4": "192.168.1.4", "6": "2001:db8::6"}
    monkeypatch.setattr(announcement, "own_address", lambda family: shown["4" if family == socket.AF_INET else "6"])
    assert announced(listening) == (wanted[0], [shown.get(each, each) for each in wanted[1]])


def test_a_machine_with_a_new_address_of_ipv6_alone_is_announced(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert looks(["2001:db8::6"], monkeypatch) == [None]
    assert network.said == ["hello 2001:db8::6"]
    assert len(network.infos[0]["addresses"][0]) == 16

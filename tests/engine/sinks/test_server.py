"""What servers share: places that can be had are served, the others are said and tried again."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from broker import free_port
from sound_server import until

from earmark.engine.errors import DaemonError
from earmark.engine.sinks import server
from earmark.engine.sinks.base import Control
from earmark.engine.sinks.server import Address, Place, Server, bind_tcp


class Greeter(Server):
    """Says hello."""

    name = "greeter"

    def __init__(self, *places: Place) -> None:
        super().__init__(None, cast(Control, None))
        self.places = places

    async def begin(self, listening: socket.socket) -> Callable[[], object]:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                writer.write(b"hello")
                await reader.read()  # until it goes
            writer.close()

        return (await asyncio.start_server(self.for_each(greet), sock=listening)).close


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again without waiting for seconds."""
    monkeypatch.setattr(server, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(server, "LAST_RETRY_S", 0.01)


@contextmanager
def opened(*places: Place) -> Iterator[Greeter]:
    sink = Greeter(*places)
    sink.open()
    try:
        yield sink
    finally:
        sink.close()


def greets(place: Place) -> bool:
    with suppress(OSError), ExitStack() as stack:
        if isinstance(place, Path):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(place))
        else:
            connection = stack.enter_context(socket.create_connection(place, 10))
        connection.settimeout(10)
        return connection.recv(5) == b"hello"
    return False


def taken() -> socket.socket:
    """A port that is somebody else's."""
    other = socket.socket()
    other.bind(("127.0.0.1", 0))
    other.listen()
    return other


def test_a_port_that_is_taken_does_not_keep_the_other_places_from_being_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with taken() as other:
        first, second = tmp_path / "s", Address("127.0.0.1", other.getsockname()[1])
        with opened(second, first) as sink:
            assert greets(first)
            assert sink.fault == f"{second}: Address already in use"
            other.close()
            until(lambda: greets(second), "the port that is free now")
            assert sink.fault is None
            assert greets(first)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"greeter: {second}: Address already in use; it is tried again",
        f"greeter: listens at {second} now",
    ] or said == [f"greeter: listens at {second} now"]  # it was the first to be tried, and said as the fault
    assert not first.exists()


def test_where_nothing_can_be_had_opening_fails_with_the_reason() -> None:
    with taken() as other:
        place = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(DaemonError, match=f"{place}: Address already in use"), opened(place):
            pass


def test_a_socket_that_somebody_deleted_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "s"
    with opened(path):
        path.unlink()
        until(lambda: greets(path), "the socket is back")
        path.unlink()
        path.write_text("somebody else's")
        until(lambda: "somebody deleted" in caplog.text, "it is said")


def test_a_task_that_ends_by_a_bug_is_a_fault(tmp_path: Path) -> None:
    async def bug() -> None:
        raise TimeoutError

    with opened(tmp_path / "s") as sink:
        sink.loop.call_soon_threadsafe(lambda: sink.keep(bug()))
        until(lambda: sink.fault, "the fault")
        assert sink.fault == "stopped: TimeoutError"


# --- the addresses of a host


def bound(monkeypatch: pytest.MonkeyPatch, place: Address, fails: dict[str, int], *elsewhere: Address) -> Any:
    """(hosts, what is said) of `bind_tcp`, where these hosts fail with that error."""
    hosts = {"localhost": ["::1", "127.0.0.1"], "::": ["::"]}[place.host]

    async def lookup(*_: Any, **__: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
        return [(family, None, None, None, (host, place.port)) for family, host in zip(families, hosts)]

    def listening(_family: int, address: Address) -> str:
        if address.host in fails:
            raise OSError(fails[address.host], "no")
        return address.host

    monkeypatch.setattr(server, "_listening", listening)

    async def bind() -> Any:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
        return await bind_tcp(place, elsewhere)

    return asyncio.run(bind())


def test_localhost_is_served_where_one_of_its_addresses_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 is switched off, and the hosts file has ::1 all the same: most containers are like that."""
    place = Address("localhost", 10400)
    assert bound(monkeypatch, place, {"::1": errno.EADDRNOTAVAIL}) == (
        ["127.0.0.1"],
        ["localhost:10400 is not served at ::1: no"],
    )
    assert bound(monkeypatch, place, {}) == (["::1", "127.0.0.1"], [])
    with pytest.raises(OSError, match="no"):
        bound(monkeypatch, place, {"::1": errno.EADDRNOTAVAIL, "127.0.0.1": errno.EADDRINUSE})


def test_two_colons_are_both_families_or_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Address("::", 10400)
    assert bound(monkeypatch, place, {}) == (["::", "0.0.0.0"], [])
    assert bound(monkeypatch, place, {"0.0.0.0": errno.EADDRINUSE}) == (
        ["::"],
        ["[::]:10400 is not served at 0.0.0.0: no"],
    )
    assert bound(monkeypatch, place, {"::": errno.EAFNOSUPPORT})[0] == ["0.0.0.0"]
    assert bound(monkeypatch, place, {}, Address("0.0.0.0", 10400)) == (["::"], []), "which is bound for itself"


def test_two_colons_are_reached_by_ipv4() -> None:
    port = free_port()
    with opened(Address("::", port)):
        assert greets(Address("127.0.0.1", port))


def test_a_name_that_nobody_knows_is_a_fault_of_that_place_alone(tmp_path: Path) -> None:
    with opened(Address("a" * 70 + ".invalid", 1), tmp_path / "s") as sink:
        assert greets(tmp_path / "s")
        assert sink.fault
        assert sink.fault.startswith("aaaaaaaaaa")


# --- before a reload


def test_what_cannot_be_had_is_known_before_the_running_one_is_given_up(tmp_path: Path) -> None:
    with taken() as other, opened(tmp_path / "s", Address("127.0.0.1", free_port())) as running:
        place = Address("127.0.0.1", other.getsockname()[1])
        new = Greeter(*running.places, place)
        new.replaces = running
        with pytest.raises(DaemonError, match=f"greeter: {place}: .*already in use"):
            new.probe()
        other.close()
        new.probe()
        second = Greeter(tmp_path / "s")
        with pytest.raises(DaemonError, match="is served already"):
            second.probe()
        assert all(map(greets, running.places)), "the running one has noticed nothing"
        Greeter(tmp_path / "new").probe()
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "pipe"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A path that was mistyped, or chosen by somebody else, is nobody's to replace."""
    place, precious = tmp_path / "s", tmp_path / "precious"
    precious.write_text("precious")
    if kind == "file":
        place.write_text("precious")
    elif kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(precious)
    else:
        os.mkfifo(place)
    before = place.lstat()
    with pytest.raises(DaemonError, match="is no socket: it is left alone"):
        Greeter(place).probe()
    with pytest.raises(DaemonError, match="is no socket: it is left alone"):
        Greeter(place).open()
    assert place.lstat().st_ino == before.st_ino
    assert precious.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "s"]

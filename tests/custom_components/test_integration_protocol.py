"""The connection of Home Assistant's integration: to the daemon's own wake service, and to what is none."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import free_port
from conftest import REPOSITORY, Takes
from live import LIMIT_S
from sink_control import SinkControl

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.event import Event
from earmark.engine.household import load_household
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Wyoming
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.wyoming.sink import WyomingSink

PLACE = REPOSITORY / "custom_components" / "earmark" / "protocol.py"
CHUNK_SAMPLES = 480
QUIET = np.zeros(RATE_HZ, np.int16)

Dialogue = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def protocol() -> Any:
    """Its package cannot be imported here: there is no Home Assistant."""
    spec = importlib.util.spec_from_file_location("earmark_protocol", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(work: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work, LIMIT_S)

    return asyncio.run(limited())


async def chunks(samples: Int16) -> AsyncIterator[tuple[bytes, int]]:
    """As Home Assistant has them."""
    for start in range(0, len(samples), CHUNK_SAMPLES):
        await asyncio.sleep(0.002)  # fifteen times as fast as time, or the answer would come behind the last one
        yield samples[start : start + CHUNK_SAMPLES].tobytes(), start * 1000 // RATE_HZ


# --- the daemon's own service


@pytest.fixture
def served(slt: Voiceprint, tmp_path: Path) -> Any:
    """A service that knows slt, and its port."""
    PersonStore(tmp_path).save(slt)
    flags = {"people.store": str(tmp_path)}
    control = SinkControl(load_household(load(environment={"EARMARK_SETTINGS": ""}, flags=flags).settings))
    port = free_port()
    sink = WyomingSink(Wyoming(uris=(f"tcp://127.0.0.1:{port}",)), control)
    sink.open()
    yield sink, port
    sink.close()


@pytest.mark.slow
def test_it_is_said_who_spoke_and_no_audio_is_lost(protocol: Any, served: Any, takes: Takes) -> None:
    samples = np.concatenate([read_audio(takes("slt", "okay_nabu", "test")[0]), *[QUIET] * 4])

    async def work() -> Any:
        stream = chunks(samples)
        found = await protocol.detect("127.0.0.1", served[1], stream, "okay_nabu")
        return found, [timestamp async for _, timestamp in stream]

    (detection, queued), rest = run(work())
    assert (detection["name"], detection["speaker"]) == ("okay_nabu", "slt")
    assert detection["timestamp"] < queued[0][1]
    after = [1000 * start // RATE_HZ for start in range(0, len(samples), CHUNK_SAMPLES)]
    assert [queued[0][1], *rest] == after[after.index(queued[0][1]) :], "the command follows at once"


@pytest.mark.slow
def test_a_stranger_is_nobody_until_the_stream_ends(protocol: Any, served: Any, takes: Takes) -> None:
    samples = np.concatenate([read_audio(takes("rms", "okay_nabu", "test")[0]), QUIET])
    assert run(protocol.detect("127.0.0.1", served[1], chunks(samples), None)) is None


@pytest.mark.slow
def test_it_follows_what_is_heard_elsewhere(protocol: Any, served: Any) -> None:
    sink, port = served

    async def work() -> list[Any]:
        found = []
        async with contextlib.aclosing(protocol.follow("127.0.0.1", port)) as messages:
            async for kind, data in messages:
                found.append((kind, data))
                if len(found) == 2:
                    return found
                event = Event("detection", "okay_nabu", 0, 0.9, "slt", 0.8, "known_voice")
                sink.send(Notice(event, "mic", 1e9))
        return found

    (first, state), (second, heard) = run(work())
    assert (first, second) == ("earmark-state", "earmark-event")
    assert state["people"] == ["slt"]
    assert (heard["type"], heard["person"], heard["host"], heard["at"][:10]) == ("detection", "slt", "", "2001-09-09")


# --- services that misbehave


async def with_service(dialogue: Dialogue, work: Callable[[int], Awaitable[Any]]) -> Any:
    async def to_its_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await dialogue(reader, writer)
            await reader.read()  # until the other side goes
        writer.close()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(to_its_end, "127.0.0.1", 0)
    async with server, _finally(ended):
        return await work(server.sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def _finally(ended: asyncio.Event) -> AsyncIterator[None]:
    """Its connection is closed while the loop still runs."""
    try:
        yield
    finally:
        await ended.wait()
        await asyncio.sleep(0)


def line(kind: str, data: dict[str, Any] | None = None, **more: Any) -> bytes:
    return json.dumps({"type": kind, "data": data or {}, **more}).encode() + b"\n"


async def all_of(messages: Any) -> list[Any]:
    return [message async for message in messages]


def test_who_is_not_trusted_is_told_what_to_do(protocol: Any) -> None:
    async def refuse(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(line("error", {"text": "192.168.1.5 is not in wyoming.trusted", "code": "not-trusted"}))

    with pytest.raises(protocol.NotTrusted, match=r"192\.168\.1\.5 is not in wyoming\.trusted"):
        run(with_service(refuse, lambda port: all_of(protocol.follow("127.0.0.1", port))))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'{"type": "earmark-sta',
        b"HTTP/1.1 400 Bad Request\r\n",
        b'{"type": "x", "data_length": 20}\n{}',
        b'{"type": "x", "data_length": -1}\n',
        b'{"type": "x", "payload_length": 99999999999}\n',
        b'{"no": "type"}\n',
        b"[1]\n",
    ],
)
def test_what_is_no_daemon_is_a_fault_and_nothing_else(protocol: Any, said: bytes) -> None:
    async def other(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    with pytest.raises(protocol.FAULTS):  # of which the integration tries again
        run(with_service(other, lambda port: all_of(protocol.follow("127.0.0.1", port))))


def test_a_daemon_that_says_nothing_any_more_is_gone(protocol: Any) -> None:
    asked: dict[str, int] = {}

    async def look(port: int) -> None:
        async with protocol.connect("127.0.0.1", port) as connection:
            opened = connection.writer.get_extra_info("socket")
            for name in protocol.KEEPALIVE_S:
                asked[name] = opened.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    async def silent(*_: Any) -> None:
        """As one without power."""

    run(with_service(silent, look))
    assert asked == protocol.KEEPALIVE_S, "the system asks, and ends the connection"


def test_a_daemon_that_goes_away_while_it_listens_is_a_fault(protocol: Any) -> None:
    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async def endless() -> AsyncIterator[tuple[bytes, int]]:
        while True:
            await asyncio.sleep(0)
            yield b"", 0

    with pytest.raises(OSError, match=r"."):
        run(with_service(go, lambda port: protocol.detect("127.0.0.1", port, endless(), None)))


def test_a_daemon_that_is_killed_is_one_fault_and_no_line_of_asyncio(protocol: Any) -> None:
    """The answer fails with it, and nobody reads it any more."""
    said: list[Any] = []

    async def go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    async def broken() -> AsyncIterator[tuple[bytes, int]]:
        yield b"", 0
        await asyncio.sleep(0.05)  # the answer has failed meanwhile
        raise BrokenPipeError("as sending does")

    async def work(port: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        with pytest.raises(OSError, match=r"."):
            await protocol.detect("127.0.0.1", port, broken(), None)
        gc.collect()
        await asyncio.sleep(0)

    run(with_service(go, work))
    assert said == []


def test_what_a_later_version_sends_besides_is_passed_over(protocol: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(line("info", data_length=2) + b"{}" + line("sound", payload_length=3) + b"abc")
        writer.write(line("earmark-state", {"id": "1"}, data_length=12) + b'{"name":"x"}')
        writer.close()

    found: list[Any] = []

    async def work(port: int) -> None:
        async for message in protocol.follow("127.0.0.1", port):
            found.append(message)

    with pytest.raises(ConnectionResetError):
        run(with_service(talk, work))
    assert found == [("earmark-state", {"id": "1", "name": "x"})]


# --- commands


async def audio() -> AsyncIterator[bytes]:
    for _ in range(5):
        await asyncio.sleep(0)
        yield bytes(2 * CHUNK_SAMPLES)


def answering(heard: list[Any], *answers: bytes) -> Dialogue:
    """A daemon that answers when the audio is over."""

    async def dialogue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not heard or heard[-1]["type"] not in ("audio-stop", "describe"):
            heard.append(json.loads(await reader.readline()))
            await reader.readexactly(heard[-1].get("payload_length", 0))
        writer.write(b"".join(answers))

    return dialogue


@pytest.mark.parametrize("whose", [{"person": "anna", "reason": "known_voice"}, None])
def test_a_command_is_transcribed_and_it_is_said_whose_it_is(protocol: Any, whose: Any) -> None:
    heard: list[Any] = []
    context = {"context": {"earmark": whose}} if whose else {}  # none: this machine is not trusted
    daemon = answering(
        heard, line("transcript-chunk", {"text": "what"}), line("transcript", {"text": "hi", **context})
    )
    found = run(with_service(daemon, lambda port: protocol.transcribe("127.0.0.1", port, audio(), "en")))
    assert found == ("hi", whose or {})
    assert heard[0] == {"type": "transcribe", "data": {"language": "en", "context": {"earmark": True}}}
    assert [one["type"] for one in heard[1:]] == ["audio-start", *["audio-chunk"] * 5, "audio-stop"]


def test_a_daemon_without_a_service_behind_is_a_fault(protocol: Any) -> None:
    daemon = answering([], line("not-detected"))
    with pytest.raises(protocol.FAULTS):
        run(with_service(daemon, lambda port: protocol.transcribe("127.0.0.1", port, audio(), "en")))


def test_a_service_that_hangs_up_is_a_fault_and_no_line_of_the_log(
    protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b""

    with pytest.raises(OSError, match=r"."):
        run(with_service(hang_up, lambda port: protocol.transcribe("127.0.0.1", port, endless(), "en")))
    gc.collect()
    assert caplog.records == []


def test_the_languages_are_those_of_all_models_behind(protocol: Any) -> None:
    models = [{"languages": ["en", "de"]}, {"languages": ["de"]}]
    info = {"asr": [{"models": models}, {"models": [{"languages": ["fr"]}]}], "wake": []}
    found = run(with_service(answering([], line("info", info)), lambda port: protocol.languages("127.0.0.1", port)))
    assert found == ["de", "en", "fr"]

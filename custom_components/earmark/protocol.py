"""The connection to a daemon: the Wyoming protocol, and earmark's extension of it; nothing of Home Assistant."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

OPEN_S = 5.0
ANSWER_S = 120.0  # after the audio: a speech-to-text service on a small machine takes its time
KEEPALIVE_S = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}  # a daemon without power is gone after 40 s
MOST_BYTES = 1_000_000  # of one message
FORMAT = {"rate": 16_000, "width": 2, "channels": 1}
FAULTS = (OSError, asyncio.TimeoutError, ValueError, KeyError, TypeError)
"""What comes of a daemon that is not there, or of one that is none."""

Message = tuple[str, dict[str, Any]]
Chunk = tuple[bytes, int]
"""Audio and its timestamp."""


class NotTrusted(Exception):
    """The daemon does not let this machine follow; its text says what to do there."""


class Connection:
    """An open one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> None:
        """Sends one message; raises OSError where the daemon is gone."""
        header = {"type": kind, "data": data or {}, **({"payload_length": len(payload)} if payload else {})}
        self.writer.write(json.dumps(header).encode() + b"\n" + payload)
        await self.writer.drain()

    async def read(self) -> Message:
        """Waits for one; raises OSError where the daemon is gone, ValueError where it is none of the protocol."""
        if not (line := await self.reader.readline()):
            raise ConnectionResetError("the daemon is gone")
        header = json.loads(line)
        kind, data = header["type"], dict(header.get("data") or {})
        for key in ("data_length", "payload_length"):
            if not 0 <= (length := header.get(key) or 0) <= MOST_BYTES:
                raise ValueError(f"{key}={length} must be 0…{MOST_BYTES}")
            content = await self.reader.readexactly(length)
            data.update(json.loads(content) if key == "data_length" and content else {})
        return kind, data


@asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[Connection]:
    """Raises OSError or asyncio.TimeoutError where nobody answers within 5 s."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), OPEN_S)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE_S.items():
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    try:
        yield Connection(reader, writer)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("the connection ended within a message") from error
    finally:
        writer.transport.abort()


async def follow(host: str, port: int) -> AsyncGenerator[Message, None]:
    """`earmark-state` first, then states and `earmark-event`; raises as `connect`, `read`, and NotTrusted."""
    async with connect(host, port) as connection:
        await connection.send("earmark-follow")
        while True:
            kind, data = await connection.read()
            if kind == "error":
                raise NotTrusted(data.get("text"))
            if kind.startswith("earmark-"):
                yield kind, data


async def detect(
    host: str, port: int, stream: AsyncIterable[Chunk], keyword: str | None
) -> tuple[dict[str, Any], list[Chunk]] | None:
    """The detection of a wake word in a stream, and the chunk that was taken and not heard; None: the stream ended.

    Raises as `connect` and `read`.
    """
    request = "detect", {"names": [keyword]} if keyword else {}
    (kind, data), queued = await _ask(host, port, request, stream, "detection", "not-detected")
    return (data, queued) if kind == "detection" else None


async def transcribe(host: str, port: int, stream: AsyncIterable[bytes], language: str) -> tuple[str, dict[str, Any]]:
    """The transcript of a command by the service behind the daemon; and `person` and `reason`, to who is trusted.

    Raises as `connect` and `read`; KeyError: there is no service behind it any more.
    """
    chunks = ((audio, 0) async for audio in stream)  # who transcribes asks for no time
    request = "transcribe", {"language": language, "context": {"earmark": True}}
    (_, data), _ = await _ask(host, port, request, chunks, "transcript", "not-detected")
    return data["text"], data.get("context", {}).get("earmark", {})


async def languages(host: str, port: int) -> list[str]:
    """Which ones the service behind the daemon understands; none: it does not answer. Raises as `connect`, `read`."""
    async with connect(host, port) as connection:
        await connection.send("describe")
        _, info = await asyncio.wait_for(_answer(connection, "info"), OPEN_S)
        return sorted({language for one in info["asr"] for model in one["models"] for language in model["languages"]})


async def _ask(
    host: str, port: int, request: Message, stream: AsyncIterable[Chunk], *kinds: str
) -> tuple[Message, list[Chunk]]:
    """An answer of one of these kinds to what is streamed, and the chunk that was taken and not sent."""
    async with connect(host, port) as connection:
        await connection.send(*request)
        await connection.send("audio-start", FORMAT)
        answer = asyncio.ensure_future(_answer(connection, *kinds))
        # Sending may fail before its failure is read
        answer.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async for audio, timestamp in stream:
                if answer.done():
                    return answer.result(), [(audio, timestamp)]
                await connection.send("audio-chunk", {**FORMAT, "timestamp": timestamp}, audio)
            await connection.send("audio-stop")  # a word at the very end is heard, too
            return await asyncio.wait_for(answer, ANSWER_S), []
        finally:
            answer.cancel()


async def _answer(connection: Connection, *kinds: str) -> Message:
    while True:
        kind, data = await connection.read()
        if kind in kinds:
            return kind, data

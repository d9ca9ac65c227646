"""A connection of the Wyoming protocol: bytes to events and back, bounded in size and time."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from wyoming.event import Event
from wyoming.version import __version__ as PROTOCOL_VERSION  # noqa: N812

from ...errors import ProtocolError
from .messages import checked_length, json_object, shortened

MAX_HEADER_BYTES = 64 * 1024  # a header is some 100 bytes
MAX_DATA_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024  # half a minute of 16 kHz; satellites send 2 kB
MAX_WAITING_BYTES = 64 * 1024  # some 500 detections; who is so far behind does not read
PATIENCE_S = 60.0  # for a first event, and for the rest of one that has begun
FLUSH_S = 5.0  # what a client that has said all it had to say gets to read the answers
KEEPALIVE_S = (60, 20, 3)  # a satellite that lost its power is forgotten after two minutes


class Connection:
    """One client, as bytes come and go.

    Args:
        reader: of it, with a limit of `MAX_HEADER_BYTES`.
        writer: of it.
        loop: that both belong to.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._reader, self._writer, self._loop = reader, writer, loop
        self._deadline: asyncio.TimerHandle | None = None
        self.peer = _peer_name(writer)
        """HOST:PORT, or `unix`."""
        self.is_from_here = _is_from_here(writer)
        """Whether it is this machine's own."""

    def keep_alive(self) -> None:
        """From now on the kernel finds out about a client that vanished without a word."""
        _keep_alive(self._writer)

    def fail(self, error: Exception) -> None:
        """The next read raises it, or the one that waits."""
        self._reader.set_exception(error)

    def abort(self) -> None:
        """Ends it at once."""
        self._writer.transport.abort()

    async def read(self) -> Event | None:
        """The next event; None: the client has no more to say.

        Raises:
            ProtocolError: it is none, or is too large.
        """
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise ProtocolError(f"it ended within a header, after {len(error.partial)} bytes") from error
            return None
        except asyncio.LimitOverrunError as error:
            raise ProtocolError(f"its header has more than {MAX_HEADER_BYTES} bytes") from error
        header = json_object(line, "header")
        data_bytes = checked_length(header, "data_length", MAX_DATA_BYTES)
        payload_bytes = checked_length(header, "payload_length", MAX_PAYLOAD_BYTES)
        kind, data = header.get("type"), header.get("data") or {}
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise ProtocolError(f"type={shortened(kind)} must be a text, data={shortened(data)} an object")
        self.hurry("sent no end of its event")
        try:
            if data_bytes:
                data.update(json_object(await self._reader.readexactly(data_bytes), "data"))
            payload = await self._reader.readexactly(payload_bytes) if payload_bytes else None
        except asyncio.IncompleteReadError as error:
            raise ProtocolError(f"it ended within an event, {error.expected} bytes were to come") from error
        self.relax()
        return Event(kind, data, payload)

    def write(self, event: Event) -> None:
        """Sends an event, without waiting.

        Raises:
            ProtocolError: the client does not read.
        """
        if self._writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            raise ProtocolError("it does not read its answers")
        if self._writer.transport.is_closing():
            return
        data = json.dumps(event.data).encode() if event.data else b""
        header: dict[str, Any] = {"type": event.type, "version": PROTOCOL_VERSION}
        if data:
            header["data_length"] = len(data)
        self._writer.write(json.dumps(header).encode() + b"\n" + data)

    async def flush(self) -> None:
        """Lets the client read its last answers."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), FLUSH_S)
        except asyncio.TimeoutError as error:
            raise ProtocolError("it does not read its answers") from error

    def hurry(self, what: str) -> None:
        """From now on it has a minute; a read that still waits then fails."""
        self.relax()
        late = ProtocolError(f"it {what} for {PATIENCE_S:g} s")
        self._deadline = self._loop.call_later(PATIENCE_S, self._reader.set_exception, late)

    def relax(self) -> None:
        """It has all the time again."""
        if self._deadline is not None:
            self._deadline.cancel()


def _peer_name(writer: asyncio.StreamWriter) -> str:
    """HOST:PORT, or `unix`."""
    address = writer.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_from_here(writer: asyncio.StreamWriter) -> bool:
    """Whether it is this machine's own, by whichever of its addresses: an announced one is that of the network."""
    ours, theirs = (writer.get_extra_info(name) for name in ("sockname", "peername"))
    return isinstance(theirs, tuple) and bool(ours[0] == theirs[0])


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Lets the kernel find out about clients that vanished without a word."""
    connection = writer.get_extra_info("socket")
    if connection.family == socket.AF_UNIX:
        return
    idle_s, between_s, count = KEEPALIVE_S
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)

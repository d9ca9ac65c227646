"""A Unix socket: whoever connects reads the events, one JSON object a line, and may ask for the state.

A client that sends the line `status` gets one object of type `status`; it need not read events for that, for they
come in between.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable

from ..errors import DaemonError
from ..settings.schema import Socket
from .base import Control, Notice
from .places import socket_path
from .server import Server

_LOG = logging.getLogger(__name__)

MAX_CLIENTS = 64
MAX_ASKING, ASK_S = 16, 2.0  # beyond those; `earmark status` asks as soon as it is connected
MAX_REQUEST_BYTES = 1024
MAX_WAITING_BYTES = 64 * 1024  # some 300 events; who is so far behind does not read


class UnixSink(Server):
    """Many readers; one that does not read is cut off, and counted."""

    name = "socket"

    def __init__(self, settings: Socket, control: Control) -> None:
        super().__init__(settings, control)
        self._writers: set[asyncio.StreamWriter] = set()
        self._asking: list[asyncio.StreamWriter] = []  # who came when all places were taken, oldest first
        path = socket_path(settings.path, os.environ)
        if path is None:
            raise DaemonError("there is no runtime folder for a socket: set socket.path")
        self.places = [path]

    async def begin(self, listening: socket.socket) -> Callable[[], object]:
        """Serves the socket."""
        client = self.for_each(self._client)
        return (await asyncio.start_unix_server(client, sock=listening, limit=MAX_REQUEST_BYTES)).close

    def send(self, notice: Notice) -> None:
        """To everybody who is connected."""
        line = json.dumps(notice.to_json(), ensure_ascii=False).encode() + b"\n"
        self.loop.call_soon_threadsafe(self._broadcast, line)

    def _broadcast(self, line: bytes) -> None:
        for writer in list(self._writers):
            self._write(writer, line)

    def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        if writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self._say_turned_away("a client did not read and was cut off")
            self._writers.discard(writer)
            writer.transport.abort()
            return
        writer.write(line)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CLIENTS:
            self._say_turned_away(f"{MAX_CLIENTS} clients are connected, more may ask for the state only")
            await self._answer_once(reader, writer)
            return
        self._control.stats.add("clients", server=self.name)
        self._writers.add(writer)
        try:
            while request := await reader.readline():
                self._write(writer, self._answer(request))
        except (ValueError, OSError):  # a line without an end, or a client that is gone
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer_once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Who finds all places taken may ask one thing at once: nobody can keep others from the state."""
        if len(self._asking) >= MAX_ASKING:
            self._asking.pop(0).transport.abort()
        self._asking.append(writer)
        try:
            request = await asyncio.wait_for(reader.readline(), ASK_S)
            if request:
                self._write(writer, self._answer(request))
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), ASK_S)
        except (ValueError, OSError, asyncio.TimeoutError):  # no line, or nobody who reads the answer
            pass
        finally:
            if writer in self._asking:
                self._asking.remove(writer)
            writer.transport.abort()

    def _say_turned_away(self, why: str) -> None:
        self._control.stats.add("turned_away", server=self.name)
        if why not in self._notes:  # once, not for each
            _LOG.warning("socket: %s", why)
        self.tell_note(why, why)

    def _answer(self, request: bytes) -> bytes:
        if request.strip() == b"status":
            answer = self._control.status()
        else:
            answer = {"type": "error", "text": "the only request is the line: status"}
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"

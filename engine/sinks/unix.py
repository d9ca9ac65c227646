"""A Unix socket: whoever connects reads the events, one JSON object a line, and may ask.

Requests are lines, too; docs/service.md has them with their answers:

* `status` gets one object of type `status`.
* `follow` gets objects of type `level`, and `changed` where the state has; `follow sound` the sound besides.
* `unfollow` ends that.
* `set KEY VALUE` changes a setting of `SETTABLE`, until it is edited in the file.

Sound and changes are for root and the daemon's own user. A client need not read events: answers come in between.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio.samples import FULL_SCALE, RATE_HZ, Int16
from ..errors import DaemonError, SettingsError
from ..settings.reading import load
from ..settings.schema import Socket
from .base import Control, Heard, Notice
from .places import SETTABLE, socket_path
from .server import Server

_LOG = logging.getLogger(__name__)

MAX_CLIENTS = 64
MAX_ASKING, ASK_S = 16, 2.0  # beyond those; `earmark status` asks as soon as it is connected
MAX_REQUEST_BYTES = 16 << 10  # a sensitivity for each of some hundred people
MAX_WAITING_BYTES = 64 * 1024  # some 300 events, or 1.5 s of sound; who is so far behind does not read
LEVEL_SAMPLES = RATE_HZ // 10  # of one level: as often as an eye follows a bar
SILENCE_DBFS = -120.0  # as enrolment calls it
REQUESTS = "the requests are the lines: status, follow, follow sound, unfollow, set KEY VALUE"


@dataclass
class _Follower:
    """What one client follows."""

    sound: bool


class UnixSink(Server):
    """Many readers; one that does not read is cut off, and counted."""

    name = "socket"

    def __init__(self, settings: Socket, control: Control) -> None:
        super().__init__(settings, control)
        self._writers: set[asyncio.StreamWriter] = set()
        self._asking: list[asyncio.StreamWriter] = []  # who came when all places were taken, oldest first
        self._followers: dict[asyncio.StreamWriter, _Follower] = {}
        self._rest = np.zeros(0, np.int16)  # less than one level
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
        line = _line(notice.to_json())
        self.loop.call_soon_threadsafe(self._broadcast, line)

    def state(self) -> None:
        """Who follows asks again."""
        self._say_changed()

    def microphone(self) -> None:
        """The same."""
        self._say_changed()

    def heard(self, heard: Heard) -> None:
        """Levels, and sound, to who follows."""
        if self.follows:
            self.loop.call_soon_threadsafe(self._tell_heard, heard)

    def _say_changed(self) -> None:
        if self.follows:
            self.loop.call_soon_threadsafe(self._broadcast_followers, _line({"type": "changed"}))

    def _broadcast(self, line: bytes) -> None:
        for writer in list(self._writers):
            self._write(writer, line)

    def _broadcast_followers(self, line: bytes) -> None:
        for writer in list(self._followers):
            self._write(writer, line)

    def _tell_heard(self, heard: Heard) -> None:
        """Whole tenths of a second: how a source cuts its sound is its own business."""
        pending = np.concatenate([self._rest, heard.samples])
        whole = len(pending) // LEVEL_SAMPLES * LEVEL_SAMPLES
        piece, self._rest = pending[:whole], pending[whole:]
        if not whole:
            return
        scores = {name: round(score, 4) for name, score in heard.scores.items()}
        told = {"type": "level", "sample": heard.end - len(self._rest), "dbfs": _levels(piece), "scores": scores}
        line = _line(told)
        with_sound = b""
        for writer, follower in list(self._followers.items()):
            if follower.sound and not with_sound:
                pcm = base64.b64encode(piece.astype("<i2").tobytes()).decode()
                with_sound = _line({**told, "pcm": pcm})
            self._write(writer, with_sound if follower.sound else line)

    def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        if writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self._say_turned_away("a client did not read and was cut off")
            self._forget(writer)
            writer.transport.abort()
            return
        writer.write(line)

    def _forget(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        self._unfollow(writer)

    def _unfollow(self, writer: asyncio.StreamWriter) -> None:
        self._followers.pop(writer, None)
        self.follows = bool(self._followers)
        if not self.follows:
            self._rest = np.zeros(0, np.int16)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MAX_CLIENTS:
            self._say_turned_away(f"{MAX_CLIENTS} clients are connected, more may ask for the state only")
            await self._answer_once(reader, writer)
            return
        self._control.stats.add("clients", server=self.name)
        self._writers.add(writer)
        try:
            while request := await reader.readline():
                self._write(writer, _line(self._answer(request, writer)))
        except (ValueError, OSError):  # a line without an end, or a client that is gone
            pass
        finally:
            self._forget(writer)
            writer.close()

    async def _answer_once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Who finds all places taken may ask one thing at once: nobody can keep others from the state."""
        if len(self._asking) >= MAX_ASKING:
            self._asking.pop(0).transport.abort()
        self._asking.append(writer)
        try:
            request = await asyncio.wait_for(reader.readline(), ASK_S)
            if request:
                self._write(writer, _line(self._answer(request)))
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

    def _answer(self, request: bytes, writer: asyncio.StreamWriter | None = None) -> dict[str, Any]:
        """What is said to a request; `writer` is None for who has no place to stay."""
        words = request.decode("utf-8", "replace").split(None, 2)
        if words == ["status"]:
            return self._control.status()
        if writer is not None and words in (["follow"], ["follow", "sound"]):
            return self._follow(writer, sound=len(words) == 2)
        if writer is not None and words == ["unfollow"]:
            self._unfollow(writer)
            return {"type": "unfollow"}
        if writer is not None and words[:1] == ["set"] and len(words) == 3:
            return self._set(writer, words[1], words[2].strip())
        return {"type": "error", "text": REQUESTS}

    def _follow(self, writer: asyncio.StreamWriter, sound: bool) -> dict[str, Any]:
        if sound and not _is_ours(writer):
            return _refused("the sound of the microphone is for root and the daemon's own user")
        self._followers[writer] = _Follower(sound)
        self.follows = True
        return {"type": "follow", "sound": sound}

    def _set(self, writer: asyncio.StreamWriter, key: str, value: str) -> dict[str, Any]:
        """Asks for a change; when it is in force, who follows hears that the state has changed."""
        if not _is_ours(writer):
            return _refused("changes are for root and the daemon's own user")
        if key not in SETTABLE:
            return {"type": "error", "text": f"set: the keys are {', '.join(SETTABLE)}"}
        try:
            load(None, {"EARMARK_SETTINGS": ""}, {key: value})
        except SettingsError as error:
            return {"type": "error", "text": str(error)}
        self._control.change(key, value, here=True)
        return {"type": "set", "key": key}


def _refused(why: str) -> dict[str, Any]:
    return {"type": "error", "text": why}


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether root or the daemon's own user is at the other end, as the kernel says it: unix(7), SO_PEERCRED."""
    connection = writer.get_extra_info("socket")
    if connection is None:
        return False
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (0, os.geteuid())


def _levels(samples: Int16) -> list[float]:
    """(n,) int16, n a multiple of a tenth of a second -> the RMS level of each, in dBFS."""
    power = np.square(samples.reshape(-1, LEVEL_SAMPLES) / FULL_SCALE).mean(axis=1)
    return [round(max(float(level), SILENCE_DBFS), 1) for level in 10 * np.log10(np.maximum(power, 1e-12))]

"""A client of Home Assistant, with nothing but Python: its REST interface and its websocket; a line for a check."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import socket
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

HOST, PORT = "127.0.0.1", 8123
BASE = f"http://{HOST}:{PORT}"
CLIENT_ID = f"{BASE}/"
ANSWER_S = 30.0
START_S = time.monotonic()
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10  # opcodes of RFC 6455


class Refused(Exception):
    """Home Assistant did not do it."""


def ok(what: str, good: object = True) -> None:
    """A line for what is so.

    Raises:
        AssertionError: it is not.
    """
    assert good, f"{what}: {good!r}"
    print(f"ok      {time.monotonic() - START_S:5.0f} s  {what}", flush=True)


def wait_for(what: str, seconds: float, look: Callable[[], Any]) -> Any:
    """What `look` gives as soon as that is something; what cannot be looked at yet is looked at again.

    Raises:
        AssertionError: nothing, in that time.
    """
    end_s = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < end_s:
        try:
            last = look()
        except (OSError, Refused, KeyError, TypeError) as error:
            last = None
            why = repr(error)
        else:
            why = repr(last)
        if last:
            return last
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s: {why}")


class Socket:
    """A websocket: texts and bytes out, JSON in. One thread reads, and pings are answered there."""

    def __init__(self, path: str) -> None:
        self._connection = socket.create_connection((HOST, PORT), ANSWER_S)
        self._connection.settimeout(None)
        self._file = self._connection.makefile("rb")
        self._writing = threading.Lock()
        self.received: queue.Queue[Any] = queue.Queue()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}:{PORT}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self._connection.sendall("\r\n".join(lines).encode())
        status = self._file.readline()
        if b" 101 " not in status:
            raise Refused(f"no websocket: {status!r}")
        while self._file.readline().strip():
            pass
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, kind: int, content: bytes) -> None:
        """One frame; a client masks what it sends."""
        mask, size = os.urandom(4), len(content)
        head = bytes([0x80 | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65_536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        masked = bytes(byte ^ part for byte, part in zip(content, itertools.cycle(mask)))
        with self._writing:
            self._connection.sendall(head + mask + masked)

    def close(self) -> None:
        """Ends it."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self) -> None:
        whole = b""
        with contextlib.suppress(OSError, ValueError, IndexError, struct.error):
            while True:
                first, second = self._file.read(2)
                size = second & 0x7F
                if size >= 126:
                    size = struct.unpack(
                        *((">H", self._file.read(2)) if size == 126 else (">Q", self._file.read(8)))
                    )[0]
                content = self._file.read(size)
                code = first & 0x0F
                if code == PING:
                    self.send(PONG, content)
                elif code == CLOSE:
                    break
                elif code < CLOSE:
                    whole += content
                    if first & 0x80:
                        message = json.loads(whole)
                        whole = b""
                        for one in message if isinstance(message, list) else [message]:
                            self.received.put(one)
        self.received.put(None)


class HomeAssistant:
    """One that was started with an empty configuration."""

    def __init__(self) -> None:
        self._refresh_token = self._token = ""
        self._socket: Socket | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue[Any]] = {}
        self._listeners: dict[int, Callable[[Any], None]] = {}

    # --- REST

    def request(self, method: str, path: str, body: Any = None, form: dict[str, str] | None = None) -> Any:
        """The answer, from JSON where it is JSON.

        Raises:
            Refused: by a status of 400 or more.
        """
        content = (
            urllib.parse.urlencode(form).encode() if form else None if body is None else json.dumps(body).encode()
        )
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"Content-Type": kind, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        asked = urllib.request.Request(BASE + path, content, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error
        try:
            return json.loads(text)
        except ValueError:
            return text

    def get(self, path: str) -> Any:
        """By GET."""
        return self.request("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        """By POST."""
        return self.request("POST", path, {} if body is None else body)

    def onboard(self) -> str:
        """Makes the first user, and logs in -> its release. The other steps would start what wants the internet."""
        user = {"name": "a", "username": "a", "password": "secretsecret", "client_id": CLIENT_ID, "language": "en"}
        code = self.post("/api/onboarding/users", user)["auth_code"]
        tokens = self._login({"grant_type": "authorization_code", "code": code})
        self._refresh_token = tokens["refresh_token"]
        release: str = self.get("/api/config")["version"]
        return release

    def log_in_again(self) -> None:
        """After a restart."""
        self._socket = None
        self._token = ""
        self._login({"grant_type": "refresh_token", "refresh_token": self._refresh_token})

    def _login(self, form: dict[str, str]) -> Any:
        tokens = self.request("POST", "/auth/token", form={**form, "client_id": CLIENT_ID})
        self._token = tokens["access_token"]
        return tokens

    def state(self, entity: str) -> Any:
        """The whole state; None where there is no such entity."""
        with contextlib.suppress(Refused):
            return self.get(f"/api/states/{entity}")
        return None

    def call(self, service: str, **data: Any) -> None:
        """A service, as `select.select_option`."""
        self.post(f"/api/services/{service.replace('.', '/')}", data)

    def flow(self, handler: str, *answers: Any) -> Any:
        """A configuration flow with these answers; a callable makes its one from the form -> what came of it."""
        step = self.post("/api/config/config_entries/flow", {"handler": handler})
        for answer in answers:
            given = answer(step) if callable(answer) else answer
            step = self.post(f"/api/config/config_entries/flow/{step['flow_id']}", given)
        if step["type"] != "create_entry":
            raise Refused(f"{handler}: {step}")
        return step

    # --- the websocket

    def command(self, kind: str, listener: Callable[[Any], None] | None = None, **more: Any) -> Any:
        """The result of a command; a listener gets the events that follow."""
        number = self.begin(kind, listener, **more)
        message = self._answers[number].get(timeout=ANSWER_S)
        if message is None or not message["success"]:
            raise Refused(f"{kind}: {message and message['error']}")
        return message["result"]

    def begin(self, kind: str, listener: Callable[[Any], None] | None = None, **more: Any) -> int:
        """The same without waiting for the result."""
        connection = self._connected()
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        if listener is not None:
            self._listeners[number] = listener
        connection.send(TEXT, json.dumps({"id": number, "type": kind, **more}).encode())
        return number

    def send_audio(self, handler: int, audio: bytes) -> None:
        """To a pipeline."""
        self._connected().send(BINARY, bytes([handler]) + audio)

    def _connected(self) -> Socket:
        if self._socket is not None:
            return self._socket
        connection = Socket("/api/websocket")
        connection.received.get(timeout=ANSWER_S)
        connection.send(TEXT, json.dumps({"type": "auth", "access_token": self._token}).encode())
        said = connection.received.get(timeout=ANSWER_S)
        if said is None or said["type"] != "auth_ok":
            raise Refused(f"the websocket: {said}")
        self._socket = connection
        threading.Thread(target=self._sort, args=(connection,), daemon=True).start()
        return connection

    def _sort(self, connection: Socket) -> None:
        while (message := connection.received.get()) is not None:
            if message["type"] == "event":
                if message["id"] in self._listeners:
                    self._listeners[message["id"]](message["event"])
            elif message["type"] == "result":
                self._answers[message["id"]].put(message)
        for waiting in self._answers.values():
            waiting.put(None)

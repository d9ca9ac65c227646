"""A page that is served for a test: the real application and server on a real port, and who asks it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sound_server import until

from earmark.engine.history.journal import open_journal
from earmark.engine.people.keys import secret_from
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.schema import Journal, People, Settings, Socket, Web
from earmark.engine.sinks.server import Address, bind_tcp
from earmark.enroll.web import access, serving
from earmark.enroll.web.certificate import own_certificate
from earmark.enroll.web.house import House

LIMIT_S = 60.0
EVIL = '<img src=x onerror="alert(1)">'
"""A name that must never become a part of a page."""
EVENT = {
    "type": "rejection",
    "file": EVIL,
    "keyword": "okay_nabu",
    "time_ms": 5000,
    "keyword_score": 0.91,
    "person": None,
    "speaker_score": 0.21,
    "reason": "unknown_voice",
    "at": "2026-11-27T10:00:00.000+00:00",
    "source": "mic",
}


def journal_in(folder: Path, *events: dict[str, object]) -> None:
    """A journal under a folder with wakes like this one, each with what is given for it."""
    journal = open_journal(Journal(enabled=True, folder=str(folder / "wakes"), days=3650))
    for event in events:
        journal.add({**EVENT, **event}, np.arange(32_000, dtype=np.int16))


class Served:
    """A page of a household in `folder`, and its port.

    Args:
        folder: with `people`, `wakes` and `s`, the daemon's socket, as far as they are there.
        secure: by HTTPS.
        key_file: of the people.
        web: more of its settings.
    """

    def __init__(self, folder: Path, secure: bool = False, key_file: str = "", **web: Any) -> None:
        self.settings = Settings(
            people=People(store=str(folder / "people"), key_file=key_file),
            journal=Journal(enabled=True, folder=str(folder / "wakes")),
            socket=Socket(path=str(folder / "s")),
            web=Web(port=1, **web),
        )
        self.folder = folder / "web"
        store = PersonStore(folder / "people", secret_from(key_file or None, {}))
        self.journal = open_journal(self.settings.journal)
        variables = {
            "EARMARK_SETTINGS": "",
            "EARMARK_PEOPLE_STORE": str(folder / "people"),
            "EARMARK_JOURNAL_FOLDER": str(folder / "wakes"),
            "EARMARK_SOCKET_PATH": str(folder / "s"),
        }
        self.house = House(self.settings, store, self.journal, self.folder, variables, secure=True)
        self.sessions = access.Sessions(self.folder)
        self.now_s = 0.0
        self.limits = access.Limits(lambda: self.now_s)
        self._secure = secure
        pair = own_certificate(self.folder, ["localhost", "127.0.0.1"]) if secure else None
        self._server = serving.server(serving.page(self.house, self.sessions, self.limits, secure), pair)
        self.port = 0
        self._opened: list[socket.socket] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        until(lambda: self._server.started, "the page is served")
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._opened:
            connection.close()
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(LIMIT_S)

    async def _serve(self) -> None:
        sockets, _ = await bind_tcp(Address("127.0.0.1", 0))
        self.port = sockets[0].getsockname()[1]
        live = asyncio.create_task(self.house.live.run())
        await self._server.serve(sockets)
        live.cancel()

    @property
    def origin(self) -> str:
        """As a browser calls it."""
        return f"{'https' if self._secure else 'http'}://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A connection, encrypted or not."""
        connection = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        if self._secure:
            context = ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        self._opened.append(connection)
        return connection

    def log_in(self) -> Visitor:
        """Somebody with a session."""
        visitor = Visitor(self)
        code = access.new_code(self.folder)
        answer = visitor.ask("POST", "/login", f"code={code}", Accept="text/html")
        assert (answer.status, answer.headers["location"]) == (303, "/"), answer.text
        return visitor


class Answer:
    """What came back."""

    def __init__(self, told: http.client.HTTPResponse) -> None:
        self.status, self.content = told.status, told.read()
        self.headers = {name.lower(): value for name, value in told.getheaders()}

    @property
    def text(self) -> str:
        """Its body."""
        return self.content.decode()

    @property
    def json(self) -> Any:
        """Its body, of JSON."""
        return json.loads(self.content)


class Visitor:
    """A browser without a screen: it keeps its cookie, and sends what a browser sends."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.cookie = ""

    def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str | None) -> Answer:
        """One request; a header that is None is left out."""
        base: dict[str, str | None] = {"Host": f"127.0.0.1:{self._served.port}", "Cookie": self.cookie or None}
        if method != "GET":
            base["Origin"] = self._served.origin
        sent = {name.replace("_", "-"): value for name, value in {**base, **headers}.items() if value is not None}
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=LIMIT_S)
        connection.sock = self._served.connect()
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            content = body.encode() if isinstance(body, str) else body
            for name, value in sent.items():
                connection.putheader(name, value)
            if content is not None and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = Answer(connection.getresponse())
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].split(";")[0]
        return answer

    def page(self, path: str, **headers: str | None) -> str:
        """A page, which must be there."""
        answer = self.ask("GET", path, Accept="text/html", **headers)
        assert answer.status == 200, (path, answer.status, answer.text)
        return answer.text

    @property
    def csrf(self) -> str:
        """The token of the session, as a page has it."""
        return self.page("/people").partition('<meta name="csrf" content="')[2].partition('"')[0]

    def change(self, path: str, **given: Any) -> Answer:
        """A change, as the page makes it."""
        return self.ask("POST", path, json.dumps(given), X_CSRF_Token=self.csrf)

    def shake_hands(self, path: str = "/live", **headers: str | None) -> tuple[int, socket.socket]:
        """Asks for a WebSocket: the status of the answer, and the connection."""
        base: dict[str, str | None] = {
            "Host": f"127.0.0.1:{self._served.port}",
            "Origin": self._served.origin,
            "Cookie": self.cookie or None,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": f"earmark, csrf.{self.csrf if self.cookie else ''}",
        }
        sent: Mapping[str, str | None] = {
            **base,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value is not None)]
        connection = self._served.connect()
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(1)
            if not piece:
                break
            head += piece
        return int(head.split(b" ")[1]) if head else 0, connection


def frames(connection: socket.socket, send: Callable[[bytes], None] | None = None) -> Iterator[dict[str, Any]]:
    """The messages of a WebSocket, unmasked text frames, as our server sends them; a ping is answered."""

    def exactly(count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = connection.recv(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    while True:
        kind, length = exactly(2)
        if length == 126:
            length = int.from_bytes(exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(exactly(8), "big")
        content = exactly(length)
        if kind & 15 == 1:
            yield json.loads(content)
        elif kind & 15 == 9:
            (send or connection.sendall)(frame(content, 10))
        elif kind & 15 == 8:
            return


def frame(content: bytes, kind: int = 1) -> bytes:
    """A masked frame, as a browser sends it."""
    size = len(content)
    if size < 126:
        length = bytes([128 | size])
    else:
        length = bytes([254]) + size.to_bytes(2, "big") if size < 1 << 16 else bytes([255]) + size.to_bytes(8, "big")
    return bytes([128 | kind]) + length + bytes(4) + content

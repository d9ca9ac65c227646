"""The page put together, and its server: uvicorn with limits of time and size, and no log of who asked for what."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .access import Limits, Sessions
from .changes import Changes
from .enrolling import Enrolling
from .guard import Guard
from .house import House
from .pages import Pages, Static

MAX_HEAD_BYTES = 16 << 10
MAX_FRAME_BYTES = 64 << 10  # of a WebSocket: 100 ms of sound at 192 kHz are 38 kB
MAX_CONNECTIONS = 96  # a browser opens six; beyond it the answer is 503
HEAD_S = 10.0  # so long a request may take to come, all of it: a slow network takes a second
KEEP_ALIVE_S = 20
CLOSE_S = 2


class TimedProtocol(H11Protocol):
    """A connection that must have said what it wants in time: whoever sends a byte a minute holds no place."""

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._patience: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._lose_patience)

    def data_received(self, data: bytes) -> None:
        """Starts it anew with each request, and stops it when one is whole."""
        super().data_received(data)
        if not self._is_waiting():
            self._be_patient()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD_S, self._lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops it."""
        self._be_patient()
        super().connection_lost(exc)

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None

    def _is_waiting(self) -> bool:
        """Whether head or body of a request are still to come; what has become a WebSocket is another protocol's."""
        is_ours = self.transport.get_protocol() is self
        return is_ours and self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _lose_patience(self) -> None:
        self._patience = None
        if self._is_waiting():
            self.transport.abort()


def page(house: House, sessions: Sessions, limits: Limits, secure: bool) -> ASGIApp:
    """Everything that the page answers, behind its guard.

    Args:
        house: what it shows.
        sessions: who has logged in.
        limits: of each address.
        secure: whether it is served by HTTPS.
    """
    pages, changes = Pages(house), Changes(house)
    get = {
        "/": pages.now,
        "/enrol": pages.enrol,
        "/people": pages.people,
        "/person": pages.person,
        "/wakes": pages.wakes,
        "/wakes/{number:int}": pages.wake,
        "/wakes/{number:int}.wav": pages.sound,
        "/health": pages.health,
        "/health/report": changes.report,
        "/static/{name}": Static().get,
    }
    post = {
        "/people/rename": changes.rename,
        "/people/erase": changes.erase,
        "/people/export": changes.export,
        "/people/rollback": changes.rollback,
        "/people/unlearn": changes.unlearn,
        "/wakes/label": changes.label,
        "/wakes/forget": changes.forget,
        "/wakes/preview": changes.preview,
        "/wakes/learn": changes.learn,
        "/health/doctor": changes.doctor,
    }
    routes: list[BaseRoute] = [
        *(Route(path, changes.endpoint(do), methods=["POST"]) for path, do in post.items()),
        Route("/knob", changes.knob, methods=["POST"]),
        Route("/logout", changes.log_out, methods=["POST"]),
        Route("/login", pages.login, methods=["GET", "POST"]),
        *(Route(path, do, methods=["GET"]) for path, do in get.items()),
        WebSocketRoute("/live", changes.live),
        WebSocketRoute("/enrol/talk", Enrolling(house).talk),
    ]
    return Guard(
        Starlette(routes=routes, exception_handlers={404: pages.nowhere}),
        house.settings.web,
        sessions,
        limits,
        secure,
    )


def server(app: ASGIApp, certificate: tuple[Path, Path] | None) -> uvicorn.Server:
    """A server that is handed its sockets; with a certificate and its key it speaks TLS 1.2 or later."""
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="wsproto",
        loop="asyncio",
        lifespan="off",
        ws_max_size=MAX_FRAME_BYTES,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return uvicorn.Server(config)

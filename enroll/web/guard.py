"""What stands before every page: who asks, by which name, from which page, how often and how much.

In this order, so that what costs comes last: rate, host, session, origin, token, size. An answer that does not come
from here has the headers that keep a browser from loading or running anything but what is ours.
"""

from __future__ import annotations

import hmac
from http import cookies
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.engine.settings.schema import Web
from earmark.engine.sinks.server import is_own_name

from .access import SESSION_S, Limits, Session, Sessions

MAX_BODY_BYTES = 64 << 10  # of a change: a list of labels has some hundred
SAFE = ("GET", "HEAD")
PUBLIC = ("/login", "/static/")
"""What is served without a session: nothing of the household is in it."""
CSRF_HEADER = "x-csrf-token"
SOCKET_PROTOCOL = "earmark"
"""Of our WebSockets; beside it the browser names its token, as `csrf.TOKEN`: a socket can bring no header."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {frames}"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
}


class Guard:
    """Middleware around the pages.

    Args:
        app: of which only what may be asked is asked.
        settings: of the page.
        sessions: who has logged in.
        limits: of each address.
        secure: whether it is served by HTTPS.
    """

    def __init__(self, app: ASGIApp, settings: Web, sessions: Sessions, limits: Limits, secure: bool) -> None:
        self._app, self._settings, self._sessions, self._limits = app, settings, sessions, limits
        self.is_secure = secure
        """Whether it is served by HTTPS."""
        frames = "'self'" if settings.ingress else "'none'"  # Home Assistant shows us in a frame of its own
        self._headers = {"Content-Security-Policy": POLICY.format(frames=frames), **HEADERS}
        if not settings.ingress:
            self._headers["X-Frame-Options"] = "DENY"
        if secure:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    @property
    def cookie(self) -> str:
        """The name of the cookie; with this prefix no other host can have set it."""
        return "__Host-earmark" if self.is_secure else "earmark"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope["guard"] = self
        scope["base"] = self._base(scope)
        refused = self._refusal(scope)
        send = self._with_headers(send)
        if refused is None:
            await self._app(scope, self._limited(receive), send)
            return
        await self._answer(scope, receive, send, refused)

    def log_in(self, scope: Scope, response: Response) -> Session:
        """Begins a session and gives the browser its cookie; what it had before means nothing."""
        peer = host_of(scope)
        self.log_out(scope)
        token, session = self._sessions.begin(peer)
        response.set_cookie(
            self.cookie,
            token,
            max_age=int(SESSION_S),
            path="/",
            secure=self.is_secure,
            httponly=True,
            samesite="strict",
        )
        return session

    def log_out(self, scope: Scope) -> None:
        """Ends the session of a request."""
        self._sessions.end(self._token(scope))

    def may_try(self, scope: Scope) -> bool:
        """Whether the address may try a code."""
        return self._limits.may_try(host_of(scope))

    # --- the parts of it

    def _refusal(self, scope: Scope) -> Response | None:
        """Why it is not answered; None: it is."""
        headers, host = Headers(scope=scope), host_of(scope)
        if not self._limits.may_ask(host):
            return text(429, "too many requests: wait a moment", {"Retry-After": "2"})
        if self._settings.ingress:
            if host != self._settings.ingress:
                return text(403, "this page is served to the proxy of web.ingress alone")
        elif len(headers.getlist("host")) != 1 or not is_own_name(headers["host"], self._settings.hosts):
            return text(421, "this name is not ours: see web.hosts")
        session = self._sessions.of(self._token(scope))
        scope["session"] = session
        path: str = scope["path"]
        is_public = path.startswith(PUBLIC) or bool(self._settings.ingress)
        is_change = scope["type"] == "websocket" or scope["method"] not in SAFE
        if session is None and not is_public:
            if not is_change and "text/html" in headers.get("accept", ""):
                return RedirectResponse(scope["base"] + "/login", 303)
            return text(401, "log in first")
        if is_change:
            if not self._is_same_origin(scope, headers):
                return text(403, "this did not come from our own page")
            if path != "/login" and not self._has_token(scope, headers, session):
                return text(403, "the token of the session is missing: load the page again")
        return None

    def _token(self, scope: Scope) -> str:
        jar: cookies.SimpleCookie = cookies.SimpleCookie()
        try:
            jar.load(Headers(scope=scope).get("cookie", ""))
        except cookies.CookieError:
            return ""
        return jar[self.cookie].value if self.cookie in jar else ""

    def _is_same_origin(self, scope: Scope, headers: Headers) -> bool:
        """Whether the page that asks is ours: by the header that no page can set itself."""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return False
        origin = urlsplit(headers.get("origin", ""))
        if self._settings.ingress:  # whose own scheme and name it is behind
            return bool(origin.netloc) and origin.netloc == headers.get("x-forwarded-host", headers.get("host", ""))
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        return (origin.scheme, origin.netloc.lower()) == (scheme, headers.get("host", "").lower())

    def _has_token(self, scope: Scope, headers: Headers, session: Session | None) -> bool:
        if session is None:
            return False
        given = headers.get(CSRF_HEADER, "")
        if scope["type"] == "websocket":
            offered = [word.removeprefix("csrf.") for word in scope["subprotocols"] if word.startswith("csrf.")]
            given = offered[0] if offered else ""
        return hmac.compare_digest(given.encode("utf-8", "replace"), session.csrf.encode())

    def _base(self, scope: Scope) -> str:
        """What our addresses begin with, where a proxy has put us below its own."""
        if not self._settings.ingress or host_of(scope) != self._settings.ingress:
            return ""
        path = Headers(scope=scope).get("x-ingress-path", "").rstrip("/")
        is_path = path.startswith("/") and not path.startswith("//")
        return path if is_path and all(letter.isalnum() or letter in "/_-." for letter in path) else ""

    def _limited(self, receive: Receive) -> Receive:
        got = 0

        async def limited() -> Message:
            nonlocal got
            message = await receive()
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                if got > MAX_BODY_BYTES:
                    raise HTTPException(413, "more than this page takes")
            return message

        return limited

    def _with_headers(self, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return with_headers

    async def _answer(self, scope: Scope, receive: Receive, send: Send, response: Response) -> None:
        if scope["type"] == "http":
            await response(scope, receive, send)
            return
        # before it is accepted, a close is an answer of HTTP 403
        await send({"type": "websocket.close", "code": 1008})


def text(status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    """An answer of one line."""
    return PlainTextResponse(said + "\n", status, headers)


def host_of(scope: Scope) -> str:
    """The address of the other side, without its port."""
    client: Any = scope.get("client")
    return str(client[0]) if client else "unix"

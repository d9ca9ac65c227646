"""A wake service by the Wyoming protocol, for Home Assistant and its satellites: they send audio, we say who spoke.

A client says `detect`, perhaps with the names of wake words, then sends audio as long as it likes. Each detection is
answered at once, with the speaker and with the timestamp of the chunk that completed it, as the client gave it.
`audio-stop` without a detection before it is answered with `not-detected`. Not every client sends `audio-start` and
`audio-stop`: audio begins a stream, and `detect` or `audio-start` ends the one before.

All clients are served by one thread, and share the speaker networks. What a client may send is bounded, and what is
not the protocol ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wyoming.event import Event
from wyoming.info import Attribution, Info, WakeModel, WakeProgram

from ...errors import DaemonError, SettingsError, text_of
from ...household import Household
from ...listener import Voices
from ...settings.schema import Wyoming
from ..base import Control
from ..server import Server, bind_unix
from .client import MAX_HEADER_BYTES, Client
from .messages import shortened

_LOG = logging.getLogger(__name__)

MODE = 0o660
MAX_SAID = 100  # unknown wake words, and clients cut off, that are logged; clients may send any number
URI_RULE = "must be tcp://HOST:PORT or unix:///PATH"
SERVICE_TYPE = "_wyoming._tcp.local."
MULTICAST = ("224.0.0.251", 5353)  # of mDNS
GOODBYE_S = 0.2  # of the 0.3 s that a sink has to close


class WyomingSink(Server):
    """Serves satellites; nothing is sent to it."""

    name = "wyoming"
    wants = "nothing"

    def __init__(self, settings: Wyoming, control: Control) -> None:
        super().__init__(settings, control)
        self._places = [_parse_uri(uri) for uri in settings.uris]
        self._voices = Voices()
        self._clients = 0
        self._full = False
        self._described: tuple[Household, Event] | None = None
        self._said: set[str] = set()
        self._cut_off: set[tuple[str, str]] = set()

    async def serve(self) -> None:
        """Binds every address."""
        self._servers: list[asyncio.Server] = []
        self._inodes: dict[Path, int] = {}
        self._zeroconf: Any = None
        self._voices.of(self._control.household)  # opened now, not while the first wake word is said
        for place in self._places:
            if isinstance(place, Path):
                listening = bind_unix(place, MODE)
                self._inodes[place] = place.stat().st_ino
                server = await asyncio.start_unix_server(
                    self.for_each(self._client), sock=listening, limit=MAX_HEADER_BYTES
                )
            else:
                server = await asyncio.start_server(self.for_each(self._client), *place, limit=MAX_HEADER_BYTES)
            self._servers.append(server)
        if self._settings.zeroconf:
            await self._announce()

    def close(self) -> None:
        """Ends all connections; removes the Unix sockets that are still ours."""
        with contextlib.suppress(asyncio.TimeoutError):
            asyncio.run_coroutine_threadsafe(self._stop_listening(), self.loop).result()
        super().close()
        for path, inode in self._inodes.items():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()

    async def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        if self._zeroconf is not None:
            await asyncio.wait_for(self._zeroconf.async_close(), GOODBYE_S)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= self._settings.clients:
            self._control.stats.add("turned_away", server=self.name)
            if not self._full:  # once, not for each
                _LOG.warning(
                    "wyoming: %d clients are connected, more are turned away: see wyoming.clients", self._clients
                )
            self._full = True
            writer.transport.abort()
            return
        self._full = False
        self._control.stats.add("clients", server=self.name)
        self._clients += 1
        try:
            await Client(self, reader, writer, self._control, self._voices).run()
        finally:
            self._clients -= 1

    def describe(self) -> Event:
        """What there is to be detected, made anew where the household has changed."""
        household = self._control.household
        if self._described is None or self._described[0] is not household:
            self._described = household, _info(household).event()
        return self._described[1]

    def channel_of(self, host: str) -> int | None:
        """Which channel of a client's audio is heard, from 0; None: those that hold the voice."""
        channel = int(self._settings.channel_of.get(host, self._settings.channel))
        return None if channel < 0 else channel

    def say_unknown(self, names: list[str]) -> None:
        """A wake word that is asked for and not served is worth a word: that client will wait in vain."""
        known = [manifest.name for manifest in self._control.household.manifests]
        for name in names:
            if name not in known and name not in self._said and len(self._said) < MAX_SAID:
                self._said.add(name)
                _LOG.warning(
                    "wyoming: a client asks for %s: the wake words are %s", shortened(name), ", ".join(known)
                )

    def say_cut_off(self, peer: str, why: str) -> None:
        """A satellite that is cut off hears nothing any more: worth a word, once for each host and reason."""
        self.note = f"{peer} was cut off: {why}"
        key = peer.rpartition(":")[0], why
        is_new = key not in self._cut_off and len(self._cut_off) < MAX_SAID
        if is_new:
            self._cut_off.add(key)
        _LOG.log(logging.WARNING if is_new else logging.INFO, "wyoming: %s is cut off: %s", peer, why)

    async def _announce(self) -> None:
        """By mDNS, where Home Assistant looks for it; until the zeroconf object is closed."""
        try:
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError as error:
            raise DaemonError(
                f"wyoming.zeroconf needs another package ({text_of(error)}): `pip install 'earmark[zeroconf]'`"
            ) from error
        bound = [s.getsockname() for server in self._servers for s in server.sockets if s.family == socket.AF_INET]
        if not bound:
            raise DaemonError("wyoming.zeroconf announces IPv4 addresses: wyoming.uris has no tcp://HOST:PORT of one")
        host, port = bound[0]
        self._zeroconf = AsyncZeroconf()
        name = f"earmark {socket.gethostname()}"
        await self._zeroconf.async_register_service(
            AsyncServiceInfo(
                SERVICE_TYPE,
                f"{name}.{SERVICE_TYPE}",
                addresses=[socket.inet_aton(_own_address() if host == "0.0.0.0" else host)],
                port=port,
            )
        )


# --- what clients send, checked


# --- what we say of ourselves, and of them


def _info(household: Household) -> Info:
    from importlib.metadata import version

    models = [
        WakeModel(
            name=manifest.name,
            attribution=Attribution("microWakeWord", "https://github.com/kahrendt/microWakeWord"),
            installed=True,
            description=manifest.wake_word,
            version=manifest.model_sha256[:12],
            languages=list(manifest.trained_languages),
            phrase=manifest.wake_word,
        )
        for manifest in household.manifests
    ]
    program = WakeProgram(
        name="earmark",
        attribution=Attribution("earmark", ""),
        installed=True,
        description="Wake words that know whose voice it is",
        version=version("earmark"),
        models=models,
    )
    return Info(wake=[program])


def _parse_uri(uri: str) -> Path | tuple[str, int]:
    """The path of a Unix socket, or host and port.

    Raises:
        SettingsError: it is neither.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"wyoming.uris: {uri!r} {URI_RULE}: {text_of(error)}") from error
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Path(parts.path)
    if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path.strip("/"):
        return parts.hostname, port
    raise SettingsError(f"wyoming.uris: {uri!r} {URI_RULE}")


def _own_address() -> str:
    """The IPv4 address of this machine from which multicast goes out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(MULTICAST)
        address: str = probe.getsockname()[0]
        return address

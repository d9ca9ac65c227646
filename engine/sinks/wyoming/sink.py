"""A wake service by the Wyoming protocol, for Home Assistant and its satellites: they send audio, we say who spoke.

A client says `detect`, perhaps with the names of wake words, then sends audio as long as it likes. Each detection is
answered at once, with the speaker and with the timestamp of the chunk that completed it, as the client gave it.
`audio-stop` without a detection before it is answered with `not-detected`. Not every client sends `audio-start` and
`audio-stop`: audio begins a stream, and `detect` or `audio-start` ends the one before.

A client that is trusted may follow what is heard everywhere (followers.py), which is how Home Assistant's integration
knows who spoke; it is the only use of this connection that the protocol does not have.

All clients are served by one thread, and share the speaker networks. What a client may send is bounded, and what is
not the protocol ends its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Info, WakeModel, WakeProgram

from ...errors import SettingsError, text_of
from ...household import Household
from ...listener import Voices
from ...settings.schema import Wyoming
from ..base import Control, Notice
from ..peers import EVENTS_A_SECOND, Allowed, Held, Peers, peer_of, who_gives_way
from ..server import Address, Place, Server
from . import tls
from .announcement import Announcement, import_zeroconf
from .client import Client
from .connection import MAX_HEADER_BYTES
from .followers import NOT_TRUSTED, Followers
from .messages import shortened
from .together import Together
from .transcription import Programs

_LOG = logging.getLogger(__name__)

MAX_SAID = 100  # unknown wake words, and clients cut off, that are logged; clients may send any number
ENOUGH_S = 30.0  # of silence: then a place is given up to who wants one
URI_RULE = "must be tcp://HOST:PORT or unix:///PATH"


class WyomingSink(Server):
    """Serves satellites; what is sent to it goes to those who follow.

    It is served whether or not it can be announced: a satellite that knows host and port needs no announcement.
    """

    name = "wyoming"
    counts_sent = True

    def __init__(self, settings: Wyoming, control: Control) -> None:
        super().__init__(settings, control)
        self.places = [_parse_uri(uri) for uri in settings.uris]
        self.behind = _parse_uri(settings.transcribe, "wyoming.transcribe") if settings.transcribe else None
        self._programs = None if self.behind is None else Programs(self.behind)
        self._voices = Voices()
        self._allowed = Allowed("wyoming.allow", settings.allow)
        self._trusted = Allowed("wyoming.trusted", settings.trusted)
        self._peers = Peers()
        self._clients: list[Client] = []
        self._full = False
        self._followers = Followers(control)
        self.together = Together(settings.together_s, lambda: [*self._clients]) if settings.together_s else None
        self._described: tuple[Household, Event] | None = None
        self._said: set[str] = set()
        self._cut_off: set[tuple[str, str]] = set()

    def check(self) -> None:
        """Raises DaemonError where it cannot be announced, SettingsError where its certificates cannot be used."""
        tls.context(self._settings)
        if self._settings.zeroconf:
            import_zeroconf()

    async def serve(self) -> None:
        """Binds every address, and begins to announce one."""
        self._announcement: Announcement | None = None
        self._voices.of(self._control.household)  # opened now, not while the first wake word is said
        await super().serve()
        self.keep(self._followers.run())
        if self._settings.zeroconf:
            self._announcement = Announcement(self.addresses, lambda fault: self.tell_fault("zeroconf", fault))
            self.keep(self._announcement.run())

    async def begin(self, listening: socket.socket) -> Callable[[], object]:
        """Serves a socket."""
        client = self.for_each(self._client)
        if listening.family == socket.AF_UNIX:
            return (await asyncio.start_unix_server(client, sock=listening, limit=MAX_HEADER_BYTES)).close
        context = tls.context(self._settings)
        if context is not None:
            handshakes = tls.Handshakes(context, client, MAX_HEADER_BYTES, self._is_refused, self._trusted)
            return self.keep(handshakes.run(listening)).cancel
        return (await asyncio.start_server(client, sock=listening, limit=MAX_HEADER_BYTES)).close

    def close(self) -> None:
        """Ends all connections, after a word to who has read the announcement, and what waits for others is told."""
        if self.together is not None:
            self.loop.call_soon_threadsafe(self.together.finish)
        if self._announcement is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                asyncio.run_coroutine_threadsafe(self._announcement.withdraw(), self.loop).result()
        super().close()

    def send(self, notice: Notice) -> None:
        """To those who follow."""
        self.loop.call_soon_threadsafe(self._followers.tell, notice)

    def follow(self, client: Client) -> None:
        """Only who is trusted may know who is at home."""
        if client.trusted:
            self._followers.add(client)
            return
        client.write(Error(f"{client.host} is not in wyoming.trusted: it may not follow", NOT_TRUSTED).event())
        self._say_once(f"{client.host} is not in wyoming.trusted: it may not follow who speaks")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(self, reader, writer, self._control, self._voices, self._peers)
        if not self._is_welcome(client):
            self._control.stats.add("turned_away", server=self.name)
            writer.transport.abort()
            return
        self._clients.append(client)
        try:
            await client.run()
        finally:
            self._followers.remove(client)
            if client in self._clients:  # else another one has its place
                self._clients.remove(client)

    def _is_welcome(self, client: Client) -> bool:
        """Whether a client has a place, perhaps one that another one had; why not is said."""
        if self._is_refused(client.host):
            return False
        if len(self._clients) < self._settings.clients:
            self._full = False
            return True
        silent_s = [0.0 if one in self._followers else one.silent_s for one in self._clients]  # they have to listen
        held = [Held(peer_of(one.host), silent, one.trusted) for one, silent in zip(self._clients, silent_s)]
        place = who_gives_way(held, peer_of(client.host), client.trusted, self._settings.clients, ENOUGH_S)
        if place is not None:
            other = self._clients.pop(place)
            other.end(f"it gave its place to {client.host}, after {other.silent_s:.0f} s of silence")
            return True
        if not self._full:  # once, not for each
            _LOG.warning(
                "wyoming: %d clients are connected, more are turned away: see wyoming.clients", len(self._clients)
            )
        self._full = True
        self.tell_note("full", f"{len(self._clients)} clients were connected, more were turned away")
        return False

    def _is_refused(self, host: str) -> bool:
        """Whether an address may not connect at all, which is said."""
        if self._settings.allow and host not in self._allowed:
            self._say_once(f"{host} is not in wyoming.allow: it is turned away")
            return True
        return self._peers.of(host).locked_s(time.monotonic()) > 0  # that it is was said when it began

    def is_trusted(self, host: str, from_here: bool) -> bool:
        """Whether what a client hears may be learned from, and may run the hook; this machine is 127.0.0.1, too."""
        return host in self._trusted or (from_here and "127.0.0.1" in self._trusted)

    def say_untrusted(self, host: str) -> None:
        """A client that is not has heard something: worth a word where somebody may have expected more of it."""
        settings = self._control.household.settings
        if settings.hook.command or settings.learning.enabled:
            self._say_once(f"{host} is not in wyoming.trusted: its wakes run no hook, and are not learned from")

    def say_too_many(self, host: str) -> None:
        """Events of a client that are not passed on."""
        self._control.stats.add("limited", server=self.name)
        self._say_once(f"more than {60 * EVENTS_A_SECOND:.0f} events a minute from {host}: not all are passed on")

    def _say_once(self, what: str) -> None:
        if what not in self._said and len(self._said) < MAX_SAID:
            self._said.add(what)
            _LOG.warning("wyoming: %s", what)

    async def describe(self) -> Event:
        """What there is to be detected, made anew where the household has changed; and who transcribes behind us."""
        household = self._control.household
        if self._described is None or self._described[0] is not household:
            self._described = household, _info(household).event()
        if self._programs is None:
            return self._described[1]
        asr = Info(asr=await self._programs.of_now()).event().data["asr"]
        return Event(self._described[1].type, {**self._described[1].data, "asr": asr})

    def channel_of(self, host: str) -> int | None:
        """Which channel of a client's audio is heard, from 0; None: those that hold the voice."""
        channel = int(self._settings.channel_of.get(host, self._settings.channel))
        return None if channel < 0 else channel

    def say_unknown(self, names: list[str]) -> None:
        """A wake word that is asked for and not served is worth a word: that client will wait in vain."""
        known = [manifest.name for manifest in self._control.household.words]
        for name in names:
            if name not in known and name not in self._said and len(self._said) < MAX_SAID:
                self._said.add(name)
                _LOG.warning(
                    "wyoming: a client asks for %s: the wake words are %s", shortened(name), ", ".join(known)
                )

    def say_cut_off(self, peer: str, why: str) -> None:
        """A satellite that is cut off hears nothing any more: worth a word, once for each host and reason."""
        self.tell_note("cut off", f"{peer} was cut off: {why}")
        key = peer.rpartition(":")[0], why
        is_new = key not in self._cut_off and len(self._cut_off) < MAX_SAID
        if is_new:
            self._cut_off.add(key)
        _LOG.log(logging.WARNING if is_new else logging.INFO, "wyoming: %s is cut off: %s", peer, why)


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
        for manifest in household.words
    ]
    settings = household.settings
    program = WakeProgram(
        name=settings.wyoming.name or settings.mqtt.name or "earmark",
        attribution=Attribution("earmark", ""),
        installed=True,
        description="Wake words that know whose voice it is",
        version=version("earmark"),
        models=models,
    )
    return Info(wake=[program])


def _parse_uri(uri: str, key: str = "wyoming.uris") -> Place:
    """The path of a Unix socket, or host and port.

    Raises:
        SettingsError: it is neither.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"{key}: {uri!r} {URI_RULE}: {text_of(error)}") from error
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Path(parts.path)
    if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path.strip("/"):
        return Address(parts.hostname, port)
    raise SettingsError(f"{key}: {uri!r} {URI_RULE}")

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
import json
import logging
import math
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.ping import Ping, Pong
from wyoming.version import __version__ as PROTOCOL_VERSION  # noqa: N812
from wyoming.wake import Detect, Detection, NotDetected

from ..audio import MAX_RATE_HZ, RATE_HZ, AudioFormat, Converter, Int16, from_pcm
from ..detector import Event as Heard
from ..errors import AudioError, DaemonError, EarmarkError, ProtocolError, SettingsError
from ..house import House, Listener, Voices
from ..settings import Wyoming
from .base import Control, Notice
from .server import Server, bind_unix

_LOG = logging.getLogger(__name__)

MODE = 0o660
MAX_HEADER_BYTES = 64 * 1024  # a header is some 100 bytes
MAX_DATA_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024  # half a minute of 16 kHz; satellites send 2 kB
MAX_WAITING_BYTES = 64 * 1024  # some 500 detections; who is so far behind does not read
MAX_CHANNELS = 8
PATIENCE_S = 60.0  # for a first event, and for the rest of one that has begun
FLUSH_S = 5.0  # what a client that has said all it had to say gets to read the answers
PIECES_A_SECOND = 4  # audio is taken in such pieces, 3 ms of work each, so that the others' turn comes soon
KEEPALIVE_S = (60, 20, 3)  # a satellite that lost its power is forgotten after two minutes
MAX_SAID = 100  # unknown wake words that are logged; clients may send any number
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
        self._described: tuple[House, Event] | None = None
        self._said: set[str] = set()

    async def serve(self) -> None:
        """Binds every address."""
        self._servers: list[asyncio.Server] = []
        self._inodes: dict[Path, int] = {}
        self._zeroconf: Any = None
        self._voices.of(self._control.house)  # opened now, not while the first wake word is said
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
            await _Client(self, reader, writer, self._control, self._voices).run()
        finally:
            self._clients -= 1

    def describe(self) -> Event:
        """What there is to be detected, made anew where the house has changed."""
        house = self._control.house
        if self._described is None or self._described[0] is not house:
            self._described = house, _info(house).event()
        return self._described[1]

    def say_unknown(self, names: list[str]) -> None:
        """A wake word that is asked for and not served is worth a word: that client will wait in vain."""
        known = [manifest.name for manifest in self._control.house.manifests]
        for name in names:
            if name not in known and name not in self._said and len(self._said) < MAX_SAID:
                self._said.add(name)
                _LOG.warning("wyoming: a client asks for %s: the wake words are %s", _short(name), ", ".join(known))

    async def _announce(self) -> None:
        """By mDNS, where Home Assistant looks for it; until the zeroconf object is closed."""
        try:
            from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
        except ImportError as error:
            raise DaemonError(
                f"wyoming.zeroconf needs another package ({error}): `pip install 'earmark[zeroconf]'`"
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


class _Client:
    """One connection and its dialogue."""

    def __init__(
        self,
        sink: WyomingSink,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        control: Control,
        voices: Voices,
    ) -> None:
        self._sink, self._reader, self._writer = sink, reader, writer
        self._control, self._voices = control, voices
        self._peer = _peer_name(writer)
        self._names: list[str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._listener: Listener | None = None
        self._format: AudioFormat | None = None
        self._converter: Converter | None = None
        self._timestamp: float | None = None
        self._detected = False

    async def run(self) -> None:
        """Until the client goes, or has to."""
        _LOG.info("wyoming: %s connected", self._peer)
        _keep_alive(self._writer)
        try:
            self._hurry("sent no event")
            while (event := await self._read()) is not None:
                await self._answer(event)
            await self._flush()
        except (ProtocolError, AudioError) as error:
            self._control.stats.add("turned_away", server=self._sink.name)
            _LOG.info("wyoming: %s is cut off: %s", self._peer, error)
        except OSError as error:
            _LOG.info("wyoming: %s is gone: %s", self._peer, error)
        except EarmarkError as error:  # ours: a network of another house that cannot be opened, for one
            _LOG.error("wyoming: %s is cut off: %s", self._peer, error)
        finally:
            self._relax()
            self._end_stream()
            self._writer.transport.abort()

    # --- the protocol

    async def _read(self) -> Event | None:
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
        header = _json_object(line, "header")
        data_bytes = _length(header, "data_length", MAX_DATA_BYTES)
        payload_bytes = _length(header, "payload_length", MAX_PAYLOAD_BYTES)
        kind, data = header.get("type"), header.get("data") or {}
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise ProtocolError(f"type={_short(kind)} must be a text, data={_short(data)} an object")
        self._hurry("sent no end of its event")
        try:
            if data_bytes:
                data.update(_json_object(await self._reader.readexactly(data_bytes), "data"))
            payload = await self._reader.readexactly(payload_bytes) if payload_bytes else None
        except asyncio.IncompleteReadError as error:
            raise ProtocolError(f"it ended within an event, {error.expected} bytes were to come") from error
        self._relax()
        return Event(kind, data, payload)

    def _write(self, event: Event) -> None:
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

    async def _flush(self) -> None:
        """Lets the client read its last answers."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), FLUSH_S)
        except asyncio.TimeoutError as error:
            raise ProtocolError("it does not read its answers") from error

    def _hurry(self, what: str) -> None:
        """From now on it has a minute; a read that still waits then fails."""
        self._relax()
        late = ProtocolError(f"it {what} for {PATIENCE_S:g} s")
        self._deadline = self._sink.loop.call_later(PATIENCE_S, self._reader.set_exception, late)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    # --- the dialogue

    async def _answer(self, event: Event) -> None:
        if AudioChunk.is_type(event.type):
            await self._hear(event)
        elif AudioStart.is_type(event.type):
            _checked_format(event.data)
            self._end_stream()
        elif AudioStop.is_type(event.type):
            await self._stop()
        elif Detect.is_type(event.type):
            self._end_stream()
            self._names = _checked_names(event.data)
            self._sink.say_unknown(self._names or [])
        elif Describe.is_type(event.type):
            self._write(self._sink.describe())
        elif Ping.is_type(event.type):
            text = event.data.get("text")
            self._write(Pong(text if isinstance(text, str) else None).event())
        # others are of a later version of the protocol, or not for a wake service

    async def _hear(self, event: Event) -> None:
        """A chunk of audio; it says itself what format it has."""
        audio_format, width = _checked_format(event.data)
        audio, frame_bytes = event.payload or b"", width * audio_format.channels
        if len(audio) % frame_bytes:
            raise ProtocolError(f"{len(audio)} bytes of audio are no whole frames of {frame_bytes} bytes")
        timestamp = _checked_timestamp(event.data)
        if self._converter is None or audio_format != self._format:
            if self._converter is not None:
                await self._push(self._converter.finish())
            self._format, self._converter = audio_format, Converter(audio_format)
        self._timestamp = timestamp
        step = audio_format.rate_hz // PIECES_A_SECOND * frame_bytes
        for start in range(0, len(audio), step):
            frames = from_pcm(audio[start : start + step], width, audio_format.channels)
            await self._push(self._converter.push(frames))

    async def _stop(self) -> None:
        """The audio is over: a word at its very end is heard, and that there was none is said."""
        if self._listener is not None and self._converter is not None:
            await self._push(self._converter.finish())
            start_s = time.perf_counter()
            self._report(self._listener, self._listener.finish(), time.perf_counter() - start_s)
        if not self._detected:
            self._write(NotDetected().event())
        self._end_stream()

    async def _push(self, samples: Int16) -> None:
        """(n,) int16 at 16 kHz, a fraction of a second; then it is the others' turn."""
        house, journal = self._control.house, self._control.journal
        if self._listener is None:
            self._listener = Listener(house, journal, self._names, self._voices)
        self._listener.follow(house, journal)
        start_s = time.perf_counter()
        events = self._listener.push(samples)
        self._report(self._listener, events, time.perf_counter() - start_s)
        await asyncio.sleep(0)

    def _report(self, listener: Listener, events: list[Heard], computed_s: float, at_end: bool = False) -> None:
        for event in events:
            if event.type != "near_miss":
                self._control.stats.latency(1000 * (_waited_s(listener, event) + computed_s))
            self._publish(listener, event)
            if event.type == "detection":
                self._detected = True
                # the client's own timestamp goes back as it came, even where it is no count of milliseconds
                self._write(Detection(event.keyword, self._timestamp, event.person).event())  # type: ignore[arg-type]
        for event, clip in listener.clips(now=at_end):
            self._publish(listener, event, clip)

    def _publish(self, listener: Listener, event: Heard, clip: Int16 | None = None) -> None:
        at_s = time.time() - _waited_s(listener, event)
        self._control.publish(Notice(event, f"{self._sink.name}:{self._peer}", at_s, clip))

    def _end_stream(self) -> None:
        """What comes next has nothing to do with what came before."""
        if self._listener is not None:
            self._report(self._listener, [], 0.0, at_end=True)
        self._listener = self._converter = self._timestamp = None
        self._detected = False


# --- what clients send, checked


def _json_object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"its {what} is no JSON: {error}: {_short(content)}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"its {what} is no JSON object: {_short(content)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _length(header: Mapping[str, Any], key: str, most: int) -> int:
    value = header.get(key)
    return 0 if value is None else _whole(header, key, 0, most)


def _whole(values: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ProtocolError(f"{key}={_short(value)} must be a whole number within {low}…{high}")
    return value


def _checked_format(data: Mapping[str, Any]) -> tuple[AudioFormat, int]:
    """The format, and how many bytes a sample has; AudioError or ProtocolError where they cannot be."""
    width, channels = _whole(data, "width", 1, 4), _whole(data, "channels", 1, MAX_CHANNELS)
    return AudioFormat(_whole(data, "rate", 0, MAX_RATE_HZ), channels), width


def _checked_timestamp(data: Mapping[str, Any]) -> float | None:
    """Any number: it only goes back to where it came from."""
    value = data.get("timestamp")
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ProtocolError(f"timestamp={_short(value)} must be a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ProtocolError(f"timestamp={value} must be a finite number")
    return value


def _checked_names(data: Mapping[str, Any]) -> list[str] | None:
    """None: all wake words."""
    names = data.get("names") or None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ProtocolError(f"names={_short(names)} must be a list of texts")
    return names


def _short(value: Any) -> str:
    """For a line of the log: whoever sent it chose how long it is."""
    text = repr(value[:100] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"


# --- what we say of ourselves, and of them


def _info(house: House) -> Info:
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
        for manifest in house.manifests
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


def _waited_s(listener: Listener, event: Heard) -> float:
    return (listener.samples - event.sample) / RATE_HZ


def _parse_uri(uri: str) -> Path | tuple[str, int]:
    """The path of a Unix socket, or host and port.

    Raises:
        SettingsError: it is neither.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"wyoming.uris: {uri!r} {URI_RULE}: {error}") from error
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return Path(parts.path)
    if parts.scheme == "tcp" and parts.hostname and port is not None and not parts.path.strip("/"):
        return parts.hostname, port
    raise SettingsError(f"wyoming.uris: {uri!r} {URI_RULE}")


def _peer_name(writer: asyncio.StreamWriter) -> str:
    """HOST:PORT, or `unix`."""
    address = writer.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def _own_address() -> str:
    """The IPv4 address of this machine from which multicast goes out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(MULTICAST)
        address: str = probe.getsockname()[0]
        return address

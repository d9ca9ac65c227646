"""One connection: reads events, hears the audio that they carry, and answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import time
from typing import Any, Protocol

import numpy as np
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.version import __version__ as PROTOCOL_VERSION  # noqa: N812
from wyoming.wake import Detect, Detection, NotDetected

from ...audio.channels import Mono, mix_of_stream
from ...audio.samples import RATE_HZ, AudioFormat, Converter, Int16, from_pcm
from ...errors import AudioError, EarmarkError, ProtocolError, text_of
from ...event import Event as WakeEvent
from ...listener import Listener, Voices
from ..base import Control, Notice
from ..peers import AHEAD_S, FACTOR, Bucket, Peers, host_of
from .messages import checked_format, checked_length, checked_names, checked_timestamp, json_object, shortened

_LOG = logging.getLogger(__name__)

MAX_HEADER_BYTES = 64 * 1024  # a header is some 100 bytes
MAX_DATA_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024  # half a minute of 16 kHz; satellites send 2 kB
MAX_WAITING_BYTES = 64 * 1024  # some 500 detections; who is so far behind does not read
PATIENCE_S = 60.0  # for a first event, and for the rest of one that has begun
FLUSH_S = 5.0  # what a client that has said all it had to say gets to read the answers
PIECES_A_SECOND = 4  # audio is taken in such pieces, 3 ms of work each, so that the others' turn comes soon
FOLLOW = "earmark-follow"  # our extension of the protocol: followers.py
UNKNOWN_VOICE = "unknown_voice"  # as the reason of an event begins
KEEPALIVE_S = (60, 20, 3)  # a satellite that lost its power is forgotten after two minutes


class Service(Protocol):
    """What a client asks of the sink that accepted it."""

    name: str
    loop: asyncio.AbstractEventLoop

    def describe(self) -> Event:
        """What there is to be detected."""

    def say_unknown(self, names: list[str]) -> None:
        """Names of wake words that a client asked for."""

    def channel_of(self, host: str) -> int | None:
        """Which channel of its audio is heard, from 0; None: those that hold the voice."""

    def is_trusted(self, host: str, from_here: bool) -> bool:
        """Whether what a client hears may be learned from, and may run the hook."""

    def say_untrusted(self, host: str) -> None:
        """A client that is not has heard something."""

    def say_too_many(self, host: str) -> None:
        """Events of a client that are not passed on."""

    def say_cut_off(self, peer: str, why: str) -> None:
        """A client whose connection was ended by us."""

    def follow(self, client: Client) -> None:
        """A client asks for what all others say, too."""


class Client:
    """One connection and its dialogue."""

    def __init__(
        self,
        sink: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        control: Control,
        voices: Voices,
        peers: Peers,
    ) -> None:
        self._sink, self._reader, self._writer = sink, reader, writer
        self._control, self._voices = control, voices
        self._peer = _peer_name(writer)
        self.host = host_of(self._peer)
        """Its address, or `unix`."""
        self.trusted = sink.is_trusted(self.host, _is_from_here(writer))
        self._guard = peers.of(self.host)
        self._pace = Bucket(AHEAD_S * RATE_HZ, FACTOR * RATE_HZ)
        self._heard_s = time.monotonic()
        self._names: list[str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._listener: Listener | None = None
        self._format: AudioFormat | None = None
        self._converter: Converter | None = None
        self._detected = self._sent_audio = False
        self._timestamp: float | None = None  # of the chunk that came last
        self._gathered: list[tuple[Int16, float | None]] = []
        self._taken: list[tuple[int, float | None]] = []  # of what was heard last: up to which sample, its timestamp
        self._late: asyncio.TimerHandle | None = None

    @property
    def silent_s(self) -> float:
        """How long it has said nothing."""
        return time.monotonic() - self._heard_s

    def end(self, why: str) -> None:
        """Cuts it off."""
        self._reader.set_exception(ProtocolError(why))

    async def run(self) -> None:
        """Until the client goes, or has to."""
        _LOG.debug("wyoming: %s connected", self._peer)  # Home Assistant does so every 30 s, to ask what there is
        _keep_alive(self._writer)
        try:
            self._hurry("sent no event")
            while (event := await self._read()) is not None:
                self._heard_s = time.monotonic()
                await self._answer(event)
                await self._give_way(event)
            await self._flush()
        except (ProtocolError, AudioError) as error:
            self._control.stats.add("turned_away", server=self._sink.name)
            self._sink.say_cut_off(self._peer, str(error))
        except OSError as error:
            _LOG.info("wyoming: %s is gone: %s", self._peer, text_of(error))
        except EarmarkError as error:  # ours: a network of another household that cannot be opened, for one
            self._sink.say_cut_off(self._peer, str(error))
        finally:
            self._relax()
            try:
                self._end_stream()  # what had come is heard
            except EarmarkError as error:
                self._sink.say_cut_off(self._peer, str(error))
            finally:
                self._writer.transport.abort()

    async def _give_way(self, event: Event) -> None:
        """After each event it is the others' turn: one that is buffered is read without waiting for anybody."""
        wait_s = 0.0 if self.trusted else self._guard.read(time.monotonic())
        if wait_s or not event.payload:  # with audio it has had its pause
            await asyncio.sleep(wait_s)

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
        header = json_object(line, "header")
        data_bytes = checked_length(header, "data_length", MAX_DATA_BYTES)
        payload_bytes = checked_length(header, "payload_length", MAX_PAYLOAD_BYTES)
        kind, data = header.get("type"), header.get("data") or {}
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise ProtocolError(f"type={shortened(kind)} must be a text, data={shortened(data)} an object")
        self._hurry("sent no end of its event")
        try:
            if data_bytes:
                data.update(json_object(await self._reader.readexactly(data_bytes), "data"))
            payload = await self._reader.readexactly(payload_bytes) if payload_bytes else None
        except asyncio.IncompleteReadError as error:
            raise ProtocolError(f"it ended within an event, {error.expected} bytes were to come") from error
        self._relax()
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
            checked_format(event.data)
            self._end_stream()
        elif AudioStop.is_type(event.type):
            await self._stop()
        elif Detect.is_type(event.type):
            self._end_stream()
            self._names = checked_names(event.data)
            self._sink.say_unknown(self._names or [])
        elif Describe.is_type(event.type):
            self.write(self._sink.describe())
        elif Ping.is_type(event.type):
            text = event.data.get("text")
            self.write(Pong(text if isinstance(text, str) else None).event())
        elif event.type == FOLLOW:
            self._sink.follow(self)
        # others are of a later version of the protocol, or not for a wake service

    async def _hear(self, event: Event) -> None:
        """A chunk of audio; it says itself what format it has."""
        audio_format, width = checked_format(event.data)
        audio, frame_bytes = event.payload or b"", width * audio_format.channels
        if len(audio) % frame_bytes:
            raise ProtocolError(f"{len(audio)} bytes of audio are no whole frames of {frame_bytes} bytes")
        timestamp = checked_timestamp(event.data)
        if self._converter is None or audio_format != self._format:
            if self._converter is not None:
                await self._push(self._converter.finish())
            self._format, self._converter = audio_format, Converter(audio_format, self._mix(audio_format))
        self._timestamp = timestamp
        step = audio_format.rate_hz // PIECES_A_SECOND * frame_bytes
        for start in range(0, len(audio), step):
            frames = from_pcm(audio[start : start + step], width, audio_format.channels)
            await self._push(self._converter.push(frames))

    def _mix(self, audio_format: AudioFormat) -> Mono | None:
        """A stream that has not got the channel is heard as if none were named: other satellites may have it."""
        channel = self._sink.channel_of(self.host)
        if channel is not None and channel >= audio_format.channels:
            channel = None
        return mix_of_stream(audio_format, channel, self._say)

    def _say(self, remark: str) -> None:
        _LOG.warning("wyoming: %s: %s", self._peer, remark)

    async def _stop(self) -> None:
        """The audio is over: a word at its very end is heard, and that there was none is said."""
        if self._listener is not None and self._converter is not None:
            await self._push(self._converter.finish())
            self._take()
            start_s = time.perf_counter()
            self._report(self._listener, self._listener.finish(), time.perf_counter() - start_s)
        if not self._detected:
            self.write(NotDetected().event())
        self._end_stream()

    async def _push(self, samples: Int16) -> None:
        """(n,) int16 at 16 kHz, a fraction of a second; then it is the others' turn.

        Audio that is much faster than time is not read until its time has come: nothing is lost by it. Who is trusted
        need not wait.
        """
        if not self._sent_audio:
            self._sent_audio = True
            self._control.stats.add("clients", server=self._sink.name)
            _LOG.info("wyoming: %s sends audio", self._peer)
        if self._listener is None:
            self._listener = Listener(
                self._control.household, self._control.journal, self._names, self._voices, confirms=False
            )
        self._gathered.append((samples, self._timestamp))
        waiting, patience = sum(len(piece) for piece, _ in self._gathered), self._listener.patience_samples
        if waiting >= patience:
            self._take()
        elif self._late is None:  # more comes soon, or it was the last for now
            self._late = self._sink.loop.call_later((patience - waiting) / RATE_HZ, self._take_late)
        await asyncio.sleep(0 if self.trusted else self._pace.owe(len(samples), time.monotonic()))
        self._heard_s = time.monotonic()

    def _take(self) -> None:
        """Hears what was gathered: chunks of 20 ms, each alone, cost several times as much.

        Raises:
            ProtocolError, EarmarkError: the client has to go.
        """
        if self._late is not None:
            self._late.cancel()
        gathered, self._gathered, self._late = self._gathered, [], None
        if self._listener is None or not gathered:
            return
        self._listener.follow(self._control.household, self._control.journal)
        ends = itertools.accumulate((len(piece) for piece, _ in gathered), initial=self._listener.samples)
        self._taken = [(end, timestamp) for end, (_, timestamp) in zip(list(ends)[1:], gathered)]
        start_s = time.perf_counter()
        events = self._listener.push(np.concatenate([piece for piece, _ in gathered]))
        self._report(self._listener, events, time.perf_counter() - start_s)

    def _take_late(self) -> None:
        try:
            self._take()
        except EarmarkError as error:  # said where the client is read
            self._reader.set_exception(error)

    def _report(self, listener: Listener, events: list[WakeEvent], computed_s: float, at_end: bool = False) -> None:
        for event in events:
            if event.type != "near_miss":
                self._control.stats.latency(1000 * (_waited_s(listener, event) + computed_s))
            if self.trusted or self._guard.may_tell(time.monotonic()):
                self._publish(listener, event)
            else:
                self._sink.say_too_many(self.host)
            if not self.trusted and event.type != "near_miss" and event.reason.startswith(UNKNOWN_VOICE):
                self._count_stranger()
            if event.type == "detection":
                self._detected = True
                # the client's own timestamp goes back as it came, even where it is no count of milliseconds
                timestamp = next((of for end, of in self._taken if end >= event.decided_sample), self._timestamp)
                self.write(Detection(event.keyword, timestamp, event.person).event())  # type: ignore[arg-type]
        for event, clip in listener.clips(now=at_end):
            self._publish(listener, event, clip)

    def _count_stranger(self) -> None:
        """Somebody may be trying one voice after the other.

        Raises:
            ProtocolError: that was one too many.
        """
        if self._guard.rejected(time.monotonic()):
            locked_s = self._guard.locked_s(time.monotonic())
            raise ProtocolError(
                f"too many voices that nobody knows: nothing is heard from {self.host} for {locked_s:.0f} s"
            )

    def _publish(self, listener: Listener, event: WakeEvent, clip: Int16 | None = None) -> None:
        at_s = time.time() - _waited_s(listener, event)
        if not self.trusted:
            self._sink.say_untrusted(self.host)
        source = f"{self._sink.name}:{self._peer}"
        self._control.publish(Notice(event, source, at_s, clip, self.host, self.trusted))

    def _end_stream(self) -> None:
        """What comes next has nothing to do with what came before."""
        self._take()
        if self._listener is not None:
            self._report(self._listener, [], 0.0, at_end=True)
        self._listener = self._converter = self._timestamp = None
        self._detected = False


def _waited_s(listener: Listener, event: WakeEvent) -> float:
    return (listener.samples - event.sample) / RATE_HZ


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

"""One connection: reads events, hears the audio that they carry, and answers."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection, NotDetected

from ...audio.channels import Mono, mix_of_stream
from ...audio.samples import RATE_HZ, AudioFormat, Converter, Int16, from_pcm
from ...errors import AudioError, EarmarkError, ProtocolError, text_of
from ...event import Event as WakeEvent
from ...listener import Listener, Voices
from ..base import Control, Notice
from ..peers import AHEAD_S, FACTOR, Bucket, Peers, host_of
from ..server import Place
from .connection import Connection
from .messages import checked_format, checked_names, checked_timestamp
from .together import Heard, Together
from .transcription import Transcription

_LOG = logging.getLogger(__name__)

PIECES_A_SECOND = 4  # audio is taken in such pieces, 3 ms of work each, so that the others' turn comes soon
FOLLOW = "earmark-follow"  # our extension of the protocol: followers.py
NOT_OF_A_COMMAND = ("describe", "ping", "detect", "transcribe", FOLLOW)  # they are for us
SILENT_S = 1.0  # who has sent nothing for so long hears no wake word now
MOST_UNDECIDED = 8  # wake words of a client that wait for others, or for their clip: it says one a second
UNKNOWN_VOICE = "unknown_voice"  # as the reason of an event begins


class Service(Protocol):
    """What a client asks of the sink that accepted it."""

    name: str
    loop: asyncio.AbstractEventLoop
    behind: Place | None
    """The speech-to-text service that commands are passed on to."""
    together: Together | None
    """Where only the best of several satellites tells of what they heard."""

    async def describe(self) -> Event:
        """What there is to be detected, and to be transcribed by the service behind."""

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
        self._sink, self._connection = sink, Connection(reader, writer, sink.loop)
        self._control, self._voices = control, voices
        self._peer = self._connection.peer
        self.host = host_of(self._peer)
        """Its address, or `unix`."""
        self.trusted = sink.is_trusted(self.host, self._connection.is_from_here)
        self._guard = peers.of(self.host)
        self._pace = Bucket(AHEAD_S * RATE_HZ, FACTOR * RATE_HZ)
        self._heard_s = time.monotonic()
        self._names: list[str] | None = None
        self._listener: Listener | None = None
        self._format: AudioFormat | None = None
        self._converter: Converter | None = None
        self._detected = self._sent_audio = False
        self._timestamp: float | None = None  # of the chunk that came last
        self._gathered: list[tuple[Int16, float | None]] = []
        self._taken: list[tuple[int, float | None]] = []  # of what was heard last: up to which sample, its timestamp
        self._late: asyncio.TimerHandle | None = None
        self._command: Transcription | None = None
        self._heard_last: list[Heard] = []  # of which it is perhaps not known yet whether another heard it better

    @property
    def silent_s(self) -> float:
        """How long it has said nothing."""
        return time.monotonic() - self._heard_s

    @property
    def listens(self) -> bool:
        """Whether it sends audio now in which a wake word may come."""
        return self._listener is not None and self.silent_s < SILENT_S

    def end(self, why: str) -> None:
        """Cuts it off."""
        self._connection.fail(ProtocolError(why))

    async def run(self) -> None:
        """Until the client goes, or has to."""
        _LOG.debug("wyoming: %s connected", self._peer)  # Home Assistant does so every 30 s, to ask what there is
        self._connection.keep_alive()
        try:
            self._connection.hurry("sent no event")
            while (event := await self._connection.read()) is not None:
                self._heard_s = time.monotonic()
                await self._answer(event)
                await self._give_way(event)
            await self._connection.flush()
        except (ProtocolError, AudioError) as error:
            self._control.stats.add("turned_away", server=self._sink.name)
            self._sink.say_cut_off(self._peer, str(error))
        except OSError as error:
            _LOG.info("wyoming: %s is gone: %s", self._peer, text_of(error))
        except EarmarkError as error:  # ours: a network of another household that cannot be opened, for one
            self._sink.say_cut_off(self._peer, str(error))
        finally:
            self._connection.relax()
            self._close_command()
            try:
                self._end_stream()  # what had come is heard
            except EarmarkError as error:
                self._sink.say_cut_off(self._peer, str(error))
            finally:
                self._connection.abort()

    async def _give_way(self, event: Event) -> None:
        """After each event it is the others' turn: one that is buffered is read without waiting for anybody."""
        wait_s = 0.0 if self.trusted else self._guard.read(time.monotonic())
        if wait_s or not event.payload:  # with audio it has had its pause
            await asyncio.sleep(wait_s)

    def write(self, event: Event) -> None:
        """Sends an event, without waiting; ProtocolError: the client does not read."""
        self._connection.write(event)

    # --- the dialogue

    async def _answer(self, event: Event) -> None:
        if not AudioChunk.is_type(event.type):  # it may end the stream, whose answers come first
            await self._settle()
        if self._command is not None and self._command.listens and event.type not in NOT_OF_A_COMMAND:
            await self._command.forward(event)
        if AudioChunk.is_type(event.type):
            await self._hear(event)
        elif AudioStart.is_type(event.type):
            checked_format(event.data)
            self._end_stream()
        elif AudioStop.is_type(event.type):
            await self._stop()
        elif Transcribe.is_type(event.type) and self._sink.behind is not None:
            self._end_stream()
            await self._pass_on(event, self._sink.behind)
        elif Detect.is_type(event.type):
            self._end_stream()
            self._names = checked_names(event.data)
            self._sink.say_unknown(self._names or [])
        elif Describe.is_type(event.type):
            self.write(await self._sink.describe())
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
        if self._command is not None and self._command.listens:
            if self._converter is not None:
                await self._push(self._converter.finish())
            household = self._control.household
            event = self._command.ask(self._voices.of(household), household.policy)
            self._tell(event, time.time())
            self._count(event)
            self._end_stream()
            return
        if self._listener is not None and self._converter is not None:
            await self._push(self._converter.finish())
            self._take()
            start_s = time.perf_counter()
            self._report(self._listener, self._listener.finish(), time.perf_counter() - start_s)
            await self._settle()
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
        if self._command is not None and self._command.listens:
            self._command.hear(samples, self._voices.of(self._control.household))
        else:
            self._gather(samples)
        await asyncio.sleep(0 if self.trusted else self._pace.owe(len(samples), time.monotonic()))
        self._heard_s = time.monotonic()

    def _gather(self, samples: Int16) -> None:
        """(n,) int16 to be heard when it is enough."""
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

    async def _pass_on(self, request: Event, place: Place) -> None:
        """A command follows that goes to the speech-to-text service behind."""
        self._close_command()
        self._command = Transcription(place, self.write, self._connection.fail, self.trusted)
        await self._command.open(request)

    def _close_command(self) -> None:
        if self._command is not None:
            self._command.close()
        self._command = None

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
            self._connection.fail(error)

    def _report(self, listener: Listener, events: list[WakeEvent], computed_s: float, at_end: bool = False) -> None:
        for event in events:
            if event.type != "near_miss":
                self._control.stats.latency(1000 * (_waited_s(listener, event) + computed_s))
            # the client's own timestamp goes back as it came, even where it is no count of milliseconds
            timestamp = next((of for end, of in self._taken if end >= event.decided_sample), self._timestamp)
            tell = functools.partial(self._answer_with, event, time.time() - _waited_s(listener, event), timestamp)
            self._tell_once(event, tell)
            self._count(event)
        for event, clip in listener.clips(now=at_end):
            at_s = time.time() - _waited_s(listener, event)
            self._tell_once(event, functools.partial(self._publish, event, at_s, clip))

    def _tell_once(self, event: WakeEvent, tell: Callable[[], None]) -> None:
        """At once; or where others may hear it, too, as soon as it is known that this client heard it best, if so."""
        together = self._sink.together
        if together is None:
            tell()
            return
        heard = next((one for one in self._heard_last if one.event is event), None)
        if heard is not None:
            heard.then(functools.partial(self._try, tell))
            return
        heard = Heard(self, event)
        heard.then(functools.partial(self._try, tell))
        self._heard_last = [*self._heard_last[1 - MOST_UNDECIDED :], heard]
        together.hear(heard)

    def _try(self, tell: Callable[[], None]) -> None:
        """In the turn of another client."""
        try:
            tell()
        except EarmarkError as error:  # said where the client is read
            self._connection.fail(error)

    async def _settle(self) -> None:
        """Waits until it is known which of the wake words this client tells of."""
        for heard in self._heard_last:
            await heard.decided.wait()

    def _answer_with(self, event: WakeEvent, at_s: float, timestamp: float | None) -> None:
        """To the sinks and to the client."""
        self._tell(event, at_s)
        if event.type == "detection":
            self._detected = True
            self.write(Detection(event.keyword, timestamp, event.person).event())  # type: ignore[arg-type]

    def _tell(self, event: WakeEvent, at_s: float) -> None:
        """To the sinks, as often as this client may."""
        if self.trusted or self._guard.may_tell(time.monotonic()):
            self._publish(event, at_s)
        else:
            self._sink.say_too_many(self.host)

    def _count(self, event: WakeEvent) -> None:
        """A voice that nobody knows, of who is not trusted.

        Raises:
            ProtocolError: it was one voice too many.
        """
        if not self.trusted and event.type != "near_miss" and event.reason.startswith(UNKNOWN_VOICE):
            self._count_stranger()

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

    def _publish(self, event: WakeEvent, at_s: float, clip: Int16 | None = None) -> None:
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

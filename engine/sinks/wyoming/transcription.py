"""A speech-to-text service between satellites and the real one: it passes everything on, and says who spoke.

Satellites that hear their wake word themselves send only the command. Here it goes on to the service that the
settings name, event by event as it came, and its answers come back as they are. Meanwhile the command is listened
to. By the time the transcript is there, it is known whose it is; where only known people may command, anybody else's
is empty. Who asks for it, and may know who is at home, gets it with the transcript, as our integration does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import AsrProgram, Describe, Info

from ...audio.samples import Int16
from ...errors import ProtocolError, text_of
from ...event import Event as Confirmation
from ...settings.policy import Policy
from ...verifier import Verifier
from ..server import Place
from .spoken import Spoken

_LOG = logging.getLogger(__name__)

CONNECT_S = 5.0
DESCRIBE_S = 2.0  # what a description of the service behind may take
KNOWN_S = 30.0  # how long it is good for: Home Assistant asks so often

WHOSE = "earmark"  # in the context of a request: please say it; in that of the transcript: whose command it was

_TEXTS = (Transcript, TranscriptStart, TranscriptChunk, TranscriptStop)


async def connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the service behind.

    Raises:
        ProtocolError: it cannot be reached.
    """
    opening: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    if isinstance(place, Path):
        opening = asyncio.open_unix_connection(str(place))
    else:
        opening = asyncio.open_connection(place.host, place.port)
    try:
        return await asyncio.wait_for(opening, CONNECT_S)
    except (OSError, asyncio.TimeoutError) as error:
        raise ProtocolError(f"wyoming.transcribe: {told(place)} cannot be reached: {text_of(error)}") from error


def told(place: Place) -> str:
    """As the settings have it."""
    return f"unix://{place}" if isinstance(place, Path) else f"tcp://{place.host}:{place.port}"


class Programs:
    """What the service behind says that it can, asked again after a while.

    Args:
        place: where it is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: list[AsrProgram] = []
        self._asked_s: float | None = None
        self._is_silent = False

    async def of_now(self) -> list[AsrProgram]:
        """Its programs; none, and a word in the log, where it does not answer."""
        now_s = time.monotonic()
        if self._asked_s is None or now_s - self._asked_s > KNOWN_S or not self._known:
            self._asked_s = now_s
            try:
                self._known = await asyncio.wait_for(self._ask(), DESCRIBE_S)
                self._is_silent = False
            except (OSError, ProtocolError, asyncio.TimeoutError, KeyError, ValueError, TypeError) as error:
                level = logging.INFO if self._is_silent else logging.WARNING  # once, not twice a minute
                _LOG.log(
                    level, "wyoming.transcribe: %s does not say what it can: %s", told(self._place), text_of(error)
                )
                self._known, self._is_silent = [], True
        return self._known

    async def _ask(self) -> list[AsrProgram]:
        reader, writer = await connect(self._place)
        try:
            await async_write_event(Describe().event(), writer)
            while (event := await async_read_event(reader)) is not None:
                if Info.is_type(event.type):
                    return list(Info.from_event(event).asr)
            raise ProtocolError("it hung up")
        finally:
            writer.close()


class Transcription:
    """One command: to the service behind, and its transcript back.

    Args:
        place: of that service.
        back: sends an event to the client.
        failed: is called where the transcript cannot come any more.
        trusted: whether the client may know who is at home.
    """

    def __init__(
        self, place: Place, back: Callable[[Event], None], failed: Callable[[ProtocolError], None], trusted: bool
    ) -> None:
        self._place, self._back, self._failed, self._trusted = place, back, failed, trusted
        self._writer: asyncio.StreamWriter | None = None
        self._relay: asyncio.Task[None] | None = None
        self._judged = asyncio.Event()
        self._refused = self._tells = False
        self._whose: dict[str, str | None] = {}
        self._command = Spoken()
        self.listens = True
        """Whether the command goes on."""

    async def open(self, request: Event) -> None:
        """Connects, and hands the request on.

        Raises:
            ProtocolError: the service cannot be reached.
        """
        self._tells = self._trusted and bool(_context(request).get(WHOSE))
        reader, self._writer = await connect(self._place)
        self._relay = asyncio.get_running_loop().create_task(self._pass_back(reader))
        await self.forward(request)

    async def forward(self, event: Event) -> None:
        """An event of the client, as it came.

        Raises:
            ProtocolError: the service is gone.
        """
        assert self._writer is not None
        try:
            await async_write_event(event, self._writer)
        except OSError as error:
            raise ProtocolError(f"wyoming.transcribe: {told(self._place)} is gone: {text_of(error)}") from error

    def hear(self, samples: Int16, verifier: Verifier) -> None:
        """(n,) int16 at 16 kHz of the command."""
        self._command.push(samples, verifier)

    def ask(self, verifier: Verifier, policy: Policy) -> Confirmation:
        """All has come: whose command it was; the transcript may pass."""
        event, self._refused = self._command.whose(verifier, policy)
        self._whose = {"person": event.person, "reason": event.reason}
        self._judged.set()
        self.listens = False
        return event

    def close(self) -> None:
        """The client is gone, or has its transcript."""
        if self._relay is not None:
            self._relay.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _pass_back(self, reader: asyncio.StreamReader) -> None:
        """What the service says, until the transcript; texts wait until it is known who spoke."""
        try:
            while (event := await async_read_event(reader)) is not None:
                is_text = any(kind.is_type(event.type) for kind in _TEXTS)
                if is_text:
                    await self._judged.wait()
                is_last = Transcript.is_type(event.type)
                if is_text and self._refused:
                    if not is_last:
                        continue
                    event = Transcript("", language=Transcript.from_event(event).language).event()
                if is_last and self._tells:
                    context = {**_context(event), WHOSE: self._whose}
                    event = Event(event.type, {**event.data, "context": context}, event.payload)
                self._back(event)
                if is_last:
                    return
            raise ProtocolError("it hung up before the transcript")
        except (OSError, ProtocolError, ValueError, KeyError, TypeError) as error:
            self._failed(ProtocolError(f"wyoming.transcribe: {told(self._place)}: {text_of(error)}"))


def _context(event: Event) -> dict[str, Any]:
    """Of a request or a transcript; empty: it has none, or what is none."""
    context = event.data.get("context")
    return context if isinstance(context, dict) else {}

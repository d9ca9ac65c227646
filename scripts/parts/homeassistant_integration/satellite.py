"""A Wyoming satellite: `satellite.py NAME tcp://ADDRESS:PORT FOLDER [WAKE_URI WAKE_WORD | commands]`.

Its microphone hears faint noise, and each recording whose path stands in a file that is put into FOLDER, in real
time. Without WAKE_URI all of it goes to Home Assistant, which looks for the wake word. With it, WAKE_URI is asked,
and Home Assistant gets what follows the wake word. With `commands`, each recording is what follows one.
wyoming-satellite 1.0.0 does most of it, too, but answers no pings: the newest Home Assistant takes it for gone every
five seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import soundfile
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info
from wyoming.info import Satellite as SatelliteInfo
from wyoming.ping import Ping, Pong
from wyoming.pipeline import PipelineStage, RunPipeline
from wyoming.satellite import RunSatellite
from wyoming.server import AsyncEventHandler, AsyncServer
from wyoming.wake import Detect, Detection

RATE_HZ, BLOCK, NOISE = 16_000, 480, 4
HANDLED_S = 1.5  # from the text until Home Assistant has done what it says
NAME, FOLDER = sys.argv[1], Path(sys.argv[3])
WAKE = sys.argv[4:6]


async def microphone() -> AsyncIterator[Event]:
    """Chunks of 30 ms, when their time has come."""
    loop = asyncio.get_running_loop()
    rng, start_s, waiting = np.random.default_rng(1), loop.time(), np.zeros(0, np.int16)
    for block in range(1, sys.maxsize):
        if len(waiting) < BLOCK:
            for note in sorted(FOLDER.glob("[0-9]*"))[:1]:
                spoken, _ = soundfile.read(note.read_text().strip(), dtype="int16")
                note.unlink()
                waiting = np.concatenate([waiting, spoken])
        if len(waiting) < BLOCK:
            waiting = np.concatenate([waiting, rng.integers(-NOISE, NOISE + 1, BLOCK).astype(np.int16)])
        now_ms = 1000 * block * BLOCK // RATE_HZ
        yield AudioChunk(RATE_HZ, 2, 1, waiting[:BLOCK].tobytes(), timestamp=now_ms).event()
        waiting = waiting[BLOCK:]
        await asyncio.sleep(max(0.0, start_s + block * BLOCK / RATE_HZ - loop.time()))


class Satellite(AsyncEventHandler):
    """One connection of Home Assistant."""

    _running: asyncio.Task[None] | None = None
    _over = True
    """Whether what was said has been understood: the next wake word may come."""

    async def handle_event(self, event: Event) -> bool:
        """What Home Assistant says."""
        if Describe.is_type(event.type):
            about = SatelliteInfo(
                name=NAME, attribution=Attribution("test", ""), installed=True, description=NAME, version="1"
            )
            await self.write_event(Info(satellite=about).event())
        elif Ping.is_type(event.type):
            await self.write_event(Pong(text=Ping.from_event(event).text).event())
        elif RunSatellite.is_type(event.type) and self._running is None:
            work = self._stream() if not WAKE else self._send_commands() if WAKE == ["commands"] else self._ask()
            self._running = asyncio.create_task(work)
        elif Transcript.is_type(event.type) or Error.is_type(event.type):
            self._over = True
            if not WAKE:
                self._again = asyncio.create_task(self._begin_again())
        return True

    async def disconnect(self) -> None:
        """Home Assistant is gone."""
        if self._running is not None:
            self._running.cancel()

    async def _begin_again(self) -> None:
        """With `restart_on_end` Home Assistant does so itself, but may then read no more: both ends come at once."""
        await asyncio.sleep(HANDLED_S)
        await self.write_event(RunPipeline(PipelineStage.WAKE, PipelineStage.HANDLE).event())

    async def _stream(self) -> None:
        await self.write_event(RunPipeline(PipelineStage.WAKE, PipelineStage.HANDLE).event())
        async for chunk in microphone():
            await self.write_event(chunk)

    async def _send_commands(self) -> None:
        async for chunk in microphone():
            loud = np.abs(np.frombuffer(chunk.payload or b"", np.int16)).max() > NOISE
            if self._over and loud:
                self._over = False
                await self.write_event(RunPipeline(PipelineStage.ASR, PipelineStage.HANDLE).event())
            if not self._over:
                await self.write_event(chunk)

    async def _ask(self) -> None:
        uri, keyword = WAKE
        async with AsyncClient.from_uri(uri) as wake:
            await wake.write_event(Detect([keyword]).event())
            await wake.write_event(AudioStart(RATE_HZ, 2, 1).event())
            answer = asyncio.create_task(wake.read_event())
            async for chunk in microphone():
                if not self._over:
                    await self.write_event(chunk)
                    continue
                await wake.write_event(chunk)
                if answer.done():
                    event = answer.result()
                    assert event is not None, "the wake service is gone"
                    answer = asyncio.create_task(wake.read_event())
                    if Detection.is_type(event.type):
                        self._over = False
                        await self.write_event(event)
                        run = RunPipeline(PipelineStage.ASR, PipelineStage.HANDLE, wake_word_name=keyword)
                        await self.write_event(run.event())


async def main() -> None:
    """Until it is ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await AsyncServer.from_uri(sys.argv[2]).run(Satellite)


asyncio.run(main())

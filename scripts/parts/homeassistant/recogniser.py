"""A Wyoming speech recogniser that hears the same words in everything: Home Assistant's pipelines need one.

`recogniser.py URI [SECONDS]`, which it takes for them.
"""

from __future__ import annotations

import asyncio
import sys

from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStop
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.server import AsyncEventHandler, AsyncServer

WORDS = "what time is it"
TAKES_S = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
_OF = {"attribution": Attribution("test", ""), "installed": True, "description": "fake", "version": "1"}
_MODEL = AsrModel(name="fake", languages=["en"], **_OF)  # type: ignore[arg-type]
INFO = Info(asr=[AsrProgram(name="fake", models=[_MODEL], **_OF)])  # type: ignore[arg-type]


class Handler(AsyncEventHandler):
    """One connection."""

    heard_bytes = 0

    async def handle_event(self, event: Event) -> bool:
        """Answers; False: it is over."""
        if Describe.is_type(event.type):
            await self.write_event(INFO.event())
        elif AudioChunk.is_type(event.type):
            self.heard_bytes += len(event.payload or b"")
        elif AudioStop.is_type(event.type):
            print("heard", self.heard_bytes / 32_000, "s", flush=True)
            await asyncio.sleep(TAKES_S)
            await self.write_event(Transcript(text=WORDS).event())
            return False
        return True


asyncio.run(AsyncServer.from_uri(sys.argv[1]).run(Handler))

"""A small speech-to-text service by the Wyoming protocol, PocketSphinx: `recogniser.py PORT`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from pocketsphinx import Decoder
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.server import AsyncEventHandler, AsyncServer

AUTHOR = Attribution("CMU", "https://github.com/cmusphinx/pocketsphinx")
MODEL = AsrModel(name="en-us", attribution=AUTHOR, installed=True, description=None, version=None, languages=["en"])
INFO = Info(
    asr=[
        AsrProgram(
            name="pocketsphinx", attribution=AUTHOR, installed=True, description=None, version="5", models=[MODEL]
        )
    ]
)


class Handler(AsyncEventHandler):
    """One client."""

    def __init__(self, decoder: Decoder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._decoder, self._audio = decoder, b""

    async def handle_event(self, event: Event) -> bool:
        """Hears 16 kHz mono of 16 bit, all at once when it is over."""
        if Describe.is_type(event.type):
            await self.write_event(INFO.event())
        elif AudioStart.is_type(event.type):
            self._audio = b""
        elif AudioChunk.is_type(event.type):
            self._audio += AudioChunk.from_event(event).audio
        elif AudioStop.is_type(event.type):
            self._decoder.start_utt()
            self._decoder.process_raw(self._audio, full_utt=True)
            self._decoder.end_utt()
            found = self._decoder.hyp()
            await self.write_event(Transcript(found.hypstr if found else "", language="en").event())
        return True


async def main() -> None:
    """Until it is killed."""
    decoder = Decoder(loglevel="ERROR")
    server = AsyncServer.from_uri(f"tcp://127.0.0.1:{sys.argv[1]}")
    await server.run(partial(Handler, decoder))


if __name__ == "__main__":
    asyncio.run(main())

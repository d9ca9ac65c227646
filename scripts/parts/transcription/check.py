"""Commands straight to a speech-to-text service, and through earmark: `check.py PYTHON`, whose PocketSphinx it is.

A daemon that knows one voice stands between. Each transcript must be the same word for word, a stranger's empty where
only known people may command. How much later a transcript comes is the median of several, by turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16

AUDIO = Path(__file__).parents[3] / "tests" / "audio"
COMMANDS = {
    "slt": ("set_a_timer_for", "please_turn_the_lights"),
    "rms": ("what_is_the_weather", "please_turn_the_lights"),
}
CHUNK_SAMPLES = 1024
TURNS = 9
LIMIT_S = 60.0


def ok(what: str, good: object = True) -> None:
    """A line for what is so.

    Raises:
        AssertionError: it is not.
    """
    assert good, what
    print(f"ok      {what}", flush=True)


def said(voice: str) -> Int16:
    """The command of a voice."""
    pause = np.zeros(RATE_HZ // 4, np.int16)
    return np.concatenate(
        [part for what in COMMANDS[voice] for part in (read_audio(AUDIO / f"{voice}_{what}_other_1.flac"), pause)]
    )


async def transcribed(port: int, samples: Int16) -> tuple[str, float]:
    """The transcript, and how long after the last of the audio it came, in ms."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(RATE_HZ, 2, 1).event())
        for start in range(0, len(samples), CHUNK_SAMPLES):
            chunk = samples[start : start + CHUNK_SAMPLES].tobytes()
            await client.write_event(AudioChunk(RATE_HZ, 2, 1, chunk).event())
        began_s = time.perf_counter()
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text, 1000 * (time.perf_counter() - began_s)
        raise ConnectionError("it hung up")


def free_port() -> int:
    """One that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Until somebody listens to it."""
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens to port {port}")


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A program, ended afterwards."""
    process = subprocess.Popen(
        command, env={**os.environ, "EARMARK_SETTINGS": ""}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def main() -> int:
    """Checks, and prints."""
    behind, through = free_port(), free_port()
    earmark = str(Path(sys.executable).with_name("earmark"))
    recogniser = str(Path(__file__).with_name("recogniser.py"))
    with tempfile.TemporaryDirectory() as folder, running(sys.argv[1], recogniser, str(behind)):
        wait_for(behind)
        takes = [str(path) for path in sorted(AUDIO.glob("slt_okay_nabu_enroll_*.flac"))]
        talk = [str(path) for path in sorted(AUDIO.glob("slt_alexa_enroll_*.flac"))]
        talk += [str(AUDIO / f"slt_{what}_other_1.flac") for what in ("a_rainbow", "alex_said", "i_like_saxophones")]
        store = ["--store", f"{folder}/people"]
        enrol = [earmark, "enroll", "anna", "--from", *takes, "--talk", *talk, *store, "--json"]
        subprocess.run(enrol, check=True, capture_output=True)
        settings = [f'wyoming.uris=["tcp://127.0.0.1:{through}"]', f"wyoming.transcribe=tcp://127.0.0.1:{behind}"]
        flags = [word for text in (*settings, "socket.path=") for word in ("--set", text)]
        daemon = [earmark, "listen", "--device", "none", *store, *flags]
        with running(*daemon, "--mode", "label"):
            wait_for(through)
            for voice in COMMANDS:
                straight, _ = asyncio.run(transcribed(behind, said(voice)))
                passed, _ = asyncio.run(transcribed(through, said(voice)))
                ok(f"{voice}: the same transcript, word for word: {straight!r}", straight and passed == straight)
            times: dict[int, list[float]] = {behind: [], through: []}
            for _ in range(TURNS):
                for port, found in times.items():
                    found.append(asyncio.run(transcribed(port, said("slt")))[1])
            medians = {port: statistics.median(found) for port, found in times.items()}
            more_ms = medians[through] - medians[behind]
            ok(
                f"straight {medians[behind]:.0f} ms after the command, through earmark {more_ms:+.0f} ms",
                more_ms <= 20,
            )
        with running(*daemon):
            wait_for(through)
            passed, _ = asyncio.run(transcribed(through, said("slt")))
            refused, _ = asyncio.run(transcribed(through, said("rms")))
            ok("only known people: hers passes, a stranger's is empty", passed and not refused)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The Wyoming wake service: the daemon as a subprocess, asked by the library's client, in bytes, by a satellite."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import live
import numpy as np
import pytest
import soxr
from conftest import REPOSITORY, Enrolled, Takes, without_its_offset
from helpers_store import earmark, environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import LIMIT_S, Live, may_be_cut_off
from sink_control import SinkControl
from sound_server import until
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.wake import Detect, Detection

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16, from_pcm
from earmark.engine.detector import Detector
from earmark.engine.event import CLIP_AFTER_SAMPLES, CLIP_BEFORE_SAMPLES
from earmark.engine.household import load_household
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Wyoming
from earmark.engine.sinks.wyoming.announcement import instance_name, machine_id
from earmark.engine.sinks.wyoming.sink import WyomingSink
from earmark.engine.verifier import Verifier

pytestmark = pytest.mark.slow

KEYWORDS = ("okay_nabu", "alexa")
CHUNK_SAMPLES = 1024
FIRST_TIMESTAMP = 3_622_760_343_607  # of a satellite: nanoseconds since its machine was started
SATELLITE = REPOSITORY / ".venv-satellite" / "bin" / "python"
PAUSE = np.zeros(3 * RATE_HZ // 2, np.int16)

Answers = list[Event]
Found = tuple[str, Optional[int], Optional[str]]
"""Wake word, timestamp, speaker."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def rss_kb(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


@dataclass(frozen=True)
class Service:
    """A daemon, and where it listens."""

    daemon: Live
    port: int
    path: Path
    control: Path

    @property
    def uris(self) -> list[str]:
        return [f"tcp://127.0.0.1:{self.port}", f"unix://{self.path}"]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)

    def connect_unix(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))  # with a time limit it would fail where too many wait to be accepted
        connection.settimeout(LIMIT_S)
        return connection

    def answers(self) -> bool:
        with contextlib.suppress(OSError), self.connect() as connection:
            connection.sendall(b'{"type": "ping"}\n')
            return connection.recv(1) == b"{"
        return False

    def count(self, name: str) -> int:
        """Of the counters of the Wyoming server."""
        counts = self.daemon.status(self.control)["counts"].get(name, [])
        return sum(count["count"] for count in counts if count.get("server") == "wyoming")


@contextlib.contextmanager
def service(
    store: Path, folder: Path, *arguments: str | Path, wait: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[Service]:
    port, path, control = free_port(), folder / "wyoming.sock", folder / "earmark.sock"
    words = [word for keyword in KEYWORDS for word in ("--keyword", keyword)]
    options = ["--device", "none", *words, "--store", store, "--set", f"socket.path={control}", *arguments]
    uris = json.dumps([f"tcp://127.0.0.1:{port}", f"unix://{path}"])
    with Live("-v", "--set", f"wyoming.uris={uris}", *options, env=env) as daemon:
        found = Service(daemon, port, path, control)
        if wait:
            until(lambda: found.answers() and path.exists(), f"an answer; {daemon.lines}", LIMIT_S)
        yield found


@pytest.fixture(scope="module")
def people(slt: Voiceprint, enrolled: Enrolled) -> list[Voiceprint]:
    """`slt` is known for "okay nabu", `rms` for "alexa"."""
    return [slt, enrolled("rms", "alexa").voiceprint]


@pytest.fixture(scope="module")
def store(people: list[Voiceprint], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for person in people:
        PersonStore(folder).save(person)
    return folder


@pytest.fixture(scope="module")
def shared(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that leave it as it was."""
    with service(store, tmp_path_factory.mktemp("service")) as found:
        yield found
        run = found.daemon.stop()
        assert run.code == 0
        assert "cut off" not in "\n".join(line for line in found.daemon.lines if "127.0.0.1" not in line)
        assert not found.path.exists()


@pytest.fixture
def own(store: Path, tmp_path: Path) -> Iterator[Service]:
    """One for tests that hurt it; what it frees goes back at once, so that its resident memory is what it holds."""
    env = environment(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    with service(store, tmp_path, env=env) as found:
        yield found
        assert found.daemon.stop().code == 0


# --- a client


def within_limit(work: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work, LIMIT_S)

    return asyncio.run(limited())


@contextlib.asynccontextmanager
async def client(uri: str) -> AsyncIterator[AsyncClient]:
    connection = AsyncClient.from_uri(uri, connect_timeout=LIMIT_S, read_timeout=LIMIT_S)
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.disconnect()


async def send(connection: AsyncClient, *events: Any) -> None:
    for event in events:
        await connection.write_event(event.event())


async def answers(connection: AsyncClient) -> Answers:
    """Everything that was answered up to now."""
    await send(connection, Ping("so far"))
    found: Answers = []
    while True:
        event = await connection.read_event()
        assert event is not None, f"the connection has ended after {found}"
        if Pong.is_type(event.type):
            assert event.data == {"text": "so far"}
            return found
        found.append(event)


def timestamp(chunk: int) -> int:
    return FIRST_TIMESTAMP + 7_777_777 * chunk


def chunks(samples: Int16, size: int = CHUNK_SAMPLES) -> list[AudioChunk]:
    return [
        AudioChunk(RATE_HZ, 2, 1, samples[start : start + size].tobytes(), timestamp(start // size))
        for start in range(0, len(samples), size)
    ]


async def ask(uri: str, samples: Int16, names: list[str] | None = None) -> Answers:
    """A whole dialogue, as the protocol has it."""
    async with client(uri) as connection:
        await send(connection, Detect(names), AudioStart(RATE_HZ, 2, 1), *chunks(samples), AudioStop())
        return await answers(connection)


def detections(found: Answers) -> list[Found]:
    assert all(Detection.is_type(event.type) for event in found), found
    return [(event.data["name"], event.data["timestamp"], event.data["speaker"]) for event in found]


def is_not_detected(found: Answers) -> bool:
    return [event.type for event in found] == ["not-detected"]


def expected(samples: Int16, people: list[Voiceprint], size: int = CHUNK_SAMPLES) -> list[Found]:
    """What the detector itself says of it, chunk by chunk."""
    detector = Detector([KeywordNetwork(load_manifest(keyword)) for keyword in KEYWORDS], Verifier(people))
    found: list[Found] = []
    for number in range(0, len(samples), size):
        events = detector.push(samples[number : number + size])
        found += [(e.keyword, timestamp(number // size), e.person) for e in events if e.type == "detection"]
    last = timestamp((len(samples) - 1) // size)
    return found + [(e.keyword, last, e.person) for e in detector.finish() if e.type == "detection"]


# --- what a client gets


@pytest.mark.parametrize("which", [0, 1], ids=["tcp", "unix"])
def test_a_client_is_told_what_there_is(shared: Service, which: int) -> None:
    async def dialogue() -> Event | None:
        async with client(shared.uris[which]) as connection:
            await send(connection, Describe())
            return await connection.read_event()

    event = within_limit(dialogue())
    (program,) = Info.from_event(event).wake
    assert (program.name, program.installed) == ("earmark", True)
    assert [(model.name, model.phrase, model.installed) for model in program.models] == [
        ("okay_nabu", "Okay Nabu", True),
        ("alexa", "Alexa", True),
    ]
    assert "en" in program.models[0].languages
    assert all(event.data[kind] == [] for kind in ("asr", "tts", "handle", "intent", "mic", "snd"))


@pytest.mark.parametrize("which", [0, 1], ids=["tcp", "unix"])
def test_a_known_voice_is_detected_with_its_name_and_the_clients_own_timestamp(
    shared: Service, which: int, takes: Takes, people: list[Voiceprint]
) -> None:
    samples = read_audio(takes("slt", "okay_nabu", "test")[0])
    found = detections(within_limit(ask(shared.uris[which], samples)))
    assert found == expected(samples, people)
    assert [(name, speaker) for name, _, speaker in found] == [("okay_nabu", "slt")]
    event = shared.daemon.event()
    assert (event["type"], event["keyword"], event["person"]) == ("detection", "okay_nabu", "slt")
    assert event["file"].startswith("wyoming:127.0.0.1:" if which == 0 else "wyoming:unix")


def test_another_voice_is_not_detected(shared: Service, takes: Takes) -> None:
    assert is_not_detected(within_limit(ask(shared.uris[0], read_audio(takes("awb", "okay_nabu", "test")[0]))))
    event = shared.daemon.event()
    assert (event["type"], event["person"], event["reason"]) == ("rejection", None, "unknown_voice")


def test_audio_that_never_came_is_not_detected(shared: Service) -> None:
    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, AudioStop(), Detect(), AudioStart(RATE_HZ, 2, 1), AudioStop(), AudioStop())
            return await answers(connection)

    assert [event.type for event in within_limit(dialogue())] == ["not-detected"] * 3


@pytest.mark.parametrize(
    ("names", "is_heard"),
    [
        (["okay_nabu"], True),
        (["alexa", "okay_nabu"], True),
        ([], True),
        (["alexa"], False),
        (["Okay Nabu!\n"], False),
        (["hey_jarvis", "alexa"], False),
    ],
)
def test_only_the_wake_words_that_are_asked_for_are_heard(
    shared: Service, takes: Takes, names: list[str], is_heard: bool
) -> None:
    found = within_limit(ask(shared.uris[0], read_audio(takes("slt", "okay_nabu", "test")[0]), names))
    assert is_not_detected(found) != is_heard
    if is_heard:
        assert shared.daemon.event()["person"] == "slt"
    for name in set(names) - set(KEYWORDS):
        shared.daemon.says(f"a client asks for {name!r}: the wake words are okay_nabu, alexa")


def test_a_wake_word_that_is_not_served_is_said_once(shared: Service) -> None:
    for _ in range(3):
        assert is_not_detected(within_limit(ask(shared.uris[0], PAUSE, ["hey_mycroft"])))
    assert sum("'hey_mycroft'" in line for line in shared.daemon.lines) == 1


@pytest.mark.parametrize(
    ("rate_hz", "width", "channels"),
    [(48_000, 4, 2), (44_100, 3, 1), (22_050, 2, 8), (16_000, 4, 1), (16_000, 1, 1), (384_000, 2, 1)],
)
def test_audio_of_any_format_is_heard(shared: Service, takes: Takes, rate_hz: int, width: int, channels: int) -> None:
    samples = read_audio(takes("slt", "okay_nabu", "test")[1])
    loud = samples / np.abs(samples).max()  # 8 bit would else have little left of it
    mono = soxr.resample(loud.astype(np.float64), RATE_HZ, rate_hz) * 0.9
    whole = np.rint(mono * 2 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
    frames = np.repeat(whole[:, None], channels, axis=1)
    pcm = frames.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    size = 3 * width * channels * (rate_hz // 100)  # 30 ms

    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, Detect(["okay_nabu"]), AudioStart(rate_hz, width, channels))
            pieces = [pcm[start : start + size] for start in range(0, len(pcm), size)]
            await send(connection, *(AudioChunk(rate_hz, width, channels, piece) for piece in pieces), AudioStop())
            return await answers(connection)

    assert detections(within_limit(dialogue())) == [("okay_nabu", None, "slt")]
    assert shared.daemon.event()["person"] == "slt"


async def ask_in_channels(uri: str, *channels: Int16) -> Answers:
    """Sends them side by side, and hears what comes of it."""
    content = np.stack(channels, axis=1).astype("<i2").tobytes()
    size = 2 * len(channels) * CHUNK_SAMPLES
    async with client(uri) as connection:
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        await send(connection, *(AudioChunk(RATE_HZ, 2, len(channels), piece) for piece in pieces), AudioStop())
        return await answers(connection)


def test_a_satellite_whose_channels_cancel_is_heard(shared: Service, takes: Takes) -> None:
    word = read_audio(takes("slt", "okay_nabu", "test")[0])
    found = within_limit(ask_in_channels(shared.uris[0], word, -word, np.zeros_like(word)))
    assert detections(found) == [("okay_nabu", None, "slt")]
    assert shared.daemon.event()["person"] == "slt"
    shared.daemon.says("channel 1 is the other way round than channel 0")


def test_each_satellite_has_a_channel_of_its_own(
    store: Path, tmp_path: Path, takes: Takes, rng: np.random.Generator
) -> None:
    """`wyoming.channel_of` goes before `wyoming.channel`; a stream that has not got the channel is heard all the
    same."""
    word = read_audio(takes("slt", "okay_nabu", "test")[0])
    noise = rng.integers(-30_000, 30_000, len(word)).astype(np.int16)
    channels = ("--set", "wyoming.channel=0", "--set", "wyoming.channel_of={unix = 1}")
    heard = [("okay_nabu", None, "slt")]
    with service(store, tmp_path, *channels) as found:
        tcp, unix = found.uris
        assert is_not_detected(within_limit(ask_in_channels(tcp, noise, word)))
        assert detections(within_limit(ask_in_channels(unix, noise, word))) == heard
        assert detections(within_limit(ask_in_channels(unix, word))) == heard
        assert detections(within_limit(ask_in_channels(tcp, word, noise))) == heard
        found.daemon.stop()


def test_pcm_of_every_width_is_the_same_sound() -> None:
    """Full scale, half of it, and zero, in two channels, written out."""
    frames = {
        1: bytes([0, 255, 64, 128]),
        2: struct.pack("<4h", -32768, 32512, -16384, 0),
        3: b"\x00\x00\x80" + b"\x00\x00\x7f" + b"\x00\x00\xc0" + bytes(3),
        4: struct.pack("<4i", -(2**31), 127 << 24, -(2**30), 0),
    }
    for width, content in frames.items():
        found = from_pcm(content, width, 2)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [[-1, 127 / 128], [-0.5, 0]], str(width))


def test_a_format_that_changes_within_a_stream_is_followed(shared: Service, takes: Takes) -> None:
    """Two thirds of a second as 16 bit, then 24 bit at 48 kHz in two channels: the same sound."""
    samples = read_audio(takes("slt", "okay_nabu", "test")[0])
    middle = 2 * RATE_HZ // 3  # before the word
    before, after = samples[:middle].tobytes(), soxr.resample(samples[middle:], RATE_HZ, 48_000)
    wide = np.repeat(after[:, None].astype("<i4") << 8, 2, axis=1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()

    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, AudioChunk(RATE_HZ, 2, 1, before), AudioChunk(48_000, 3, 2, wide), AudioStop())
            return await answers(connection)

    assert detections(within_limit(dialogue())) == [("okay_nabu", None, "slt")]
    assert shared.daemon.event()["person"] == "slt"


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_word_at_the_very_end_is_heard(
    shared: Service, takes: Takes, people: list[Voiceprint], rate_hz: int
) -> None:
    samples = read_audio(takes("slt", "okay_nabu", "test")[0])
    detector = Detector([KeywordNetwork(load_manifest("okay_nabu"))], Verifier(people))
    (event,) = detector.push(samples)

    def is_heard(end: int) -> bool:
        detector.reset()
        return bool(detector.push(samples[:end]) + detector.finish())

    ends = itertools.takewhile(is_heard, range(event.sample, 0, -RATE_HZ // 100))
    samples = samples[: list(ends)[-1]]  # 10 ms less, and it would be no word
    detector.reset()
    assert detector.push(samples) == []  # the network has not fired when the sound ends
    sound = soxr.resample(samples, RATE_HZ, rate_hz) if rate_hz != RATE_HZ else samples

    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            chunk = AudioChunk(rate_hz, 2, 1, sound.astype("<i2").tobytes(), 5)
            await send(connection, Detect(["okay_nabu"]), AudioStart(rate_hz, 2, 1), chunk, AudioStop())
            return await answers(connection)

    assert detections(within_limit(dialogue())) == [("okay_nabu", 5, "slt")]
    assert shared.daemon.event()["person"] == "slt"


@pytest.mark.parametrize("size", [160, CHUNK_SAMPLES, 15 * RATE_HZ], ids=["10 ms", "64 ms", "15 s"])
def test_every_word_of_a_long_stream_is_answered_once(
    shared: Service, scene: Int16, people: list[Voiceprint], size: int
) -> None:
    """Seven wake words, three of them by `slt`; also in chunks of half a megabyte, faster than it was said."""

    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, Detect(), AudioStart(RATE_HZ, 2, 1), *chunks(scene, size), AudioStop())
            return await answers(connection)

    found = detections(within_limit(dialogue()))
    assert found == expected(scene, people, size)
    assert [speaker for _, _, speaker in found] == ["slt"] * 3
    events = [shared.daemon.event() for _ in range(7)]
    assert [event["person"] for event in events if event["type"] == "detection"] == ["slt"] * 3


def test_many_streams_on_one_connection_know_nothing_of_each_other(
    shared: Service, takes: Takes, people: list[Voiceprint]
) -> None:
    """As a satellite does it: `detect` again and again, no audio-start and no audio-stop."""
    voices = ["slt", "awb", "slt", "rms", "slt", "slt", "kal16", "slt"]
    streams = [read_audio(takes(voice, "okay_nabu", "test")[0]) for voice in voices]

    async def dialogue() -> list[Answers]:
        async with client(shared.uris[0]) as connection:
            found = []
            for stream in streams:
                await send(connection, Detect(["okay_nabu"]), *chunks(stream))
                found.append(await answers(connection))
            return found

    wanted = [expected(stream, people) for stream in streams]
    assert [detections(found) for found in within_limit(dialogue())] == wanted
    assert [len(found) for found in wanted] == [int(voice == "slt") for voice in voices]
    heard = [shared.daemon.event()["person"] for _ in voices]
    assert heard == ["slt" if voice == "slt" else None for voice in voices]


def test_a_detection_does_not_count_for_the_next_stream(shared: Service, takes: Takes) -> None:
    known, stranger = (read_audio(takes(voice, "okay_nabu", "test")[0]) for voice in ("slt", "awb"))

    async def dialogue() -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, *chunks(known), AudioStop(), *chunks(stranger), AudioStop())
            await send(connection, *chunks(known), Detect(), AudioStop())
            return await answers(connection)

    assert [event.type for event in within_limit(dialogue())] == ["detection", "not-detected"] * 2
    assert [shared.daemon.event()["person"] for _ in range(3)] == ["slt", None, "slt"]


def test_half_a_word_before_detect_and_half_after_it_are_no_word(shared: Service, takes: Takes) -> None:
    samples = read_audio(takes("slt", "okay_nabu", "test")[0])
    middle = len(samples) // 2  # the word lies across it

    async def dialogue(between: list[Any]) -> Answers:
        async with client(shared.uris[0]) as connection:
            await send(connection, *chunks(samples[:middle]), *between, *chunks(samples[middle:]), AudioStop())
            return await answers(connection)

    assert len(detections(within_limit(dialogue([])))) == 1
    shared.daemon.event()
    assert is_not_detected(within_limit(dialogue([Detect()])))
    assert is_not_detected(within_limit(dialogue([AudioStart(RATE_HZ, 2, 1)])))


def test_eight_clients_at_once_get_their_own_answers(shared: Service, takes: Takes, people: list[Voiceprint]) -> None:
    """Chunk by chunk in turn, so that every stream is open while the others go on."""
    said = [("slt", "okay_nabu"), ("rms", "alexa"), ("awb", "okay_nabu"), ("slt", "alexa")]
    said += [("rms", "okay_nabu"), ("kal16", "alexa"), ("slt", "okay_nabu"), ("rms", "alexa")]
    streams = [
        np.concatenate([read_audio(takes(voice, word, "test")[number // 4]), PAUSE])
        for number, (voice, word) in enumerate(said)
    ]

    async def all_of_them() -> list[Answers]:
        async with contextlib.AsyncExitStack() as stack:
            uris = shared.uris * 4
            connections = [await stack.enter_async_context(client(uri)) for uri in uris]
            for connection in connections:
                await send(connection, Detect(), AudioStart(RATE_HZ, 2, 1))
            for turn in itertools.zip_longest(*map(chunks, streams)):
                for connection, chunk in zip(connections, turn):
                    await send(connection, *([chunk] if chunk else []))
            for connection in connections:
                await send(connection, AudioStop())
            return [await answers(connection) for connection in connections]

    found = within_limit(all_of_them())
    wanted = [expected(stream, people) for stream in streams]
    assert [[] if is_not_detected(events) else detections(events) for events in found] == wanted
    assert [[(word, who) for word, _, who in one] for one in wanted] == [
        [("okay_nabu", "slt")],
        [("alexa", "rms")],
        [],
        [],
        [],
        [],
        [("okay_nabu", "slt")],
        [("alexa", "rms")],
    ]
    for _ in streams:
        shared.daemon.event()


# --- a dialogue in bytes

DETECT = b'{"type": "detect", "version": "1.5.4", "data_length": 24}\n{"names": ["okay_nabu"]}'
START = (
    b'{"type": "audio-start", "version": "1.5.4", "data_length": 67}\n'
    b'{"rate": 16000, "width": 2, "channels": 1, "timestamp": 2980276785}'
)
CHUNK = (
    b'{"type": "audio-chunk", "version": "1.5.4", "data_length": 70, "payload_length": 2048}\n'
    b'{"rate": 16000, "width": 2, "channels": 1, "timestamp": 2980276785432}'
)
OLD_CHUNK = (  # all in the header, as the first versions of the protocol had it
    b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1, "timestamp": 7}, '
    b'"payload_length": 2048}\n'
)
STOP = b'{"type":"audio-stop","data_length":19}\n{"timestamp": null}'
UNKNOWN = b'{"type": "of-a-later-version", "data_length": 11, "payload_length": 3}\n{"a": [{}]}\n\x00\xff'


def read_all(connection: socket.socket) -> bytes:
    """Until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def parsed(content: bytes) -> list[dict[str, Any]]:
    """Events in bytes -> {"type": …, and what is in their data}; nothing may be left over."""
    found = []
    while content:
        line, content = content.split(b"\n", 1)
        header = json.loads(line)
        length = header.pop("data_length", 0)
        data, content = json.loads(content[:length] or "{}"), content[length:]
        assert header.keys() == {"type", "version"}
        found.append({"type": header["type"], **data})
    return found


@pytest.mark.parametrize("chunk", [CHUNK, OLD_CHUNK], ids=["data apart", "data in the header"])
@pytest.mark.parametrize("voice", ["slt", "awb"])
@pytest.mark.parametrize("size", [1_000_000, 333], ids=["at once", "in pieces"])
def test_a_stored_dialogue_gets_its_answer_in_bytes(
    shared: Service, takes: Takes, chunk: bytes, voice: str, size: int
) -> None:
    samples = read_audio(takes(voice, "okay_nabu", "test")[0])
    whole = len(samples) // CHUNK_SAMPLES * CHUNK_SAMPLES
    audio = samples[:whole].astype("<i2").tobytes()
    pieces = [chunk + audio[start : start + 2048] for start in range(0, len(audio), 2048)]
    dialogue = b"".join([UNKNOWN, DETECT, START, *pieces, UNKNOWN, STOP, b'{"type": "ping"}\n'])
    with shared.connect() as connection:
        for start in range(0, len(dialogue), size):
            connection.sendall(dialogue[start : start + size])
        connection.shutdown(socket.SHUT_WR)
        found = parsed(read_all(connection))
    time = 2980276785432 if chunk is CHUNK else 7
    detection = {"type": "detection", "name": "okay_nabu", "timestamp": time, "speaker": "slt"}
    assert found == [detection if voice == "slt" else {"type": "not-detected"}, {"type": "pong", "text": None}]
    shared.daemon.event()


def test_a_ping_comes_back_whatever_it_says(shared: Service) -> None:
    with shared.connect() as connection:
        connection.sendall(b'{"type": "ping", "data": {"text": "Zo\\u00eb \\ud800 \xc3\xab"}}\n')
        connection.shutdown(socket.SHUT_WR)
        assert parsed(read_all(connection)) == [{"type": "pong", "text": "Zoë \ud800 ë"}]


# --- what changes while clients are there


def test_a_reload_reaches_clients_that_are_connected(store: Path, takes: Takes, tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text('[wake]\nmode = "only"\n')
    stranger = read_audio(takes("awb", "okay_nabu", "test")[0])
    with service(store, tmp_path, "--settings", file) as own, own.connect() as connection:
        half = len(stranger) // 2
        first, second = (part.astype("<i2").tobytes() for part in (stranger[:half], stranger[half:]))
        header = (
            b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": %d}\n'
        )
        connection.sendall(header % len(first) + first + b'{"type": "ping"}\n')
        assert b"pong" in connection.recv(1000)
        file.write_text('[wake]\nmode = "prefer"\n')
        own.daemon.process.send_signal(signal.SIGHUP)
        own.daemon.says("reloaded: mode prefer")
        connection.sendall(header % len(second) + second)
        connection.shutdown(socket.SHUT_WR)
        (found,) = parsed(read_all(connection))
        assert found == {"type": "detection", "name": "okay_nabu", "timestamp": None, "speaker": None}
        assert own.daemon.event()["reason"] == "unknown_voice:prefer"


def test_other_addresses_after_a_reload(store: Path, tmp_path: Path) -> None:
    file, first, second = tmp_path / "earmark.toml", free_port(), free_port()
    file.write_text(f'[wyoming]\nuris = ["tcp://127.0.0.1:{first}", "unix://{tmp_path}/one"]\n')
    arguments: list[str | Path] = [
        "--device",
        "none",
        "--store",
        store,
        "--settings",
        file,
        "--set",
        f"socket.path={tmp_path / 's'}",
    ]
    with Live(*arguments) as daemon:
        before, after = (Service(daemon, port, tmp_path, tmp_path / "s") for port in (first, second))
        until(before.answers, "an answer", LIMIT_S)
        with before.connect() as connection:
            file.write_text(f'[wyoming]\nuris = ["tcp://[::1]:{second}", "unix://{tmp_path}/two"]\n')
            if not has_ipv6():
                file.write_text(f'[wyoming]\nuris = ["tcp://127.0.0.1:{second}", "unix://{tmp_path}/two"]\n')
            daemon.process.send_signal(signal.SIGHUP)
            assert read_all(connection) == b""
        until((tmp_path / "two").exists, "the other socket", LIMIT_S)
        host = "[::1]" if has_ipv6() else "127.0.0.1"
        until(lambda: listens(host.strip("[]"), second), "the other port, whose name is looked up", LIMIT_S)
        for uri in (f"tcp://{host}:{second}", f"unix://{tmp_path}/two"):
            assert is_not_detected(within_limit(ask(uri, PAUSE)))
        with pytest.raises(ConnectionRefusedError):
            before.connect()
        assert not (tmp_path / "one").exists()
        assert has_ipv6() != after.answers()  # ::1 is not 127.0.0.1
        run = daemon.stop()
        assert (run.code, run.out) == (0, "")


def listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), LIMIT_S):
        return True
    return False


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


PRINTERS = """
import threading
from earmark.engine.event import Event
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.files import ConsoleSink
sink = ConsoleSink(True, None)
notice = Notice(Event("detection", "okay_nabu", 1, 0.9, "slt", 0.9, "known_voice"), "x" * 100, 0.0)
threads = [threading.Thread(target=lambda: [sink.send(notice) for _ in range(5_000)]) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_the_thread_of_a_pipe_and_that_of_the_clients_do_not_mix_their_lines() -> None:
    """Where audio comes by standard input both print, without a queue between; unbuffered, as many services run."""
    run, env = [sys.executable, "-c", PRINTERS], environment(PYTHONUNBUFFERED="1")
    done = subprocess.run(run, capture_output=True, env=env, timeout=LIMIT_S, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 10_000
    assert len(set(lines)) == 1


def test_only_what_is_named_is_listened_on(shared: Service) -> None:
    """As the kernel has it: no other socket listens, and none beyond loopback."""
    inodes = set(shared.daemon.descriptors())
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and f"socket:[{columns[9]}]" in inodes:
                found.append(columns[1])
    assert found == [f"0100007F:{shared.port:04X}"]


def test_a_unix_socket_is_for_user_and_group(shared: Service) -> None:
    assert shared.path.stat().st_mode & 0o777 == 0o660


def test_a_port_that_is_taken_is_said_and_taken_later(store: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            uris = f"wyoming.uris=unix://{tmp_path}/first,tcp://127.0.0.1:{port}"
            arguments: list[str | Path] = [
                "--device",
                "none",
                "--store",
                store,
                "--set",
                uris,
                "--set",
                f"socket.path={tmp_path / 's'}",
            ]
            daemon = stack.enter_context(Live(*arguments))
            daemon.says(f"wyoming: 127.0.0.1:{port}: Address already in use; it is tried again")
            assert is_not_detected(within_limit(ask(f"unix://{tmp_path}/first", PAUSE)))  # the other one is served
            fault = daemon.status(tmp_path / "s")["sinks"]["wyoming"]["failure"]
            assert fault == f"127.0.0.1:{port}: Address already in use"
        own = Service(daemon, port, tmp_path / "first", tmp_path / "s")
        until(own.answers, "an answer", LIMIT_S)
        assert is_not_detected(within_limit(ask(own.uris[1], PAUSE)))
        assert daemon.stop().code == 0


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1",
        "tcp://:10400",
        "tcp://127.0.0.1:http",
        "tcp://127.0.0.1:99999",
        "tcp://[::1:5",
        "tcp://127.0.0.1:1/x",
        "unix://",
        "unix://a/b",
        "stdio://",
        "127.0.0.1:10400",
        "",
    ],
)
def test_an_address_that_is_none_is_refused(store: Path, uri: str) -> None:
    run = earmark("listen", "--device", "none", "--store", store, "--set", f'wyoming.uris=["{uri}"]', code=2)
    assert run.err.startswith(f"earmark: wyoming.uris: {uri!r} must be tcp://HOST:PORT or unix:///PATH")


# --- hostile clients

BROKEN = {
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "an empty line": b"\n",
    "no object": b'["type", "describe"]\n',
    "no type": b"{}\n",
    "a type that is no text": b'{"type": 5}\n',
    "data that is no object": b'{"type": "detect", "data": [1]}\n',
    "no UTF-8": b'{"type": "\xff"}\n',
    "a deep header": b"[" * 60_000 + b"\n",
    "deep data": b'{"type": "detect", "data_length": 60000}\n' + b'{"a":' * 12_000,
    "a NaN": b'{"type": "detect", "x": NaN}\n',
    "a long number": b'{"type": "detect", "x": ' + b"9" * 60_000 + b"}\n",
    "a negative length": b'{"type": "detect", "data_length": -1}\n',
    "a fraction of a length": b'{"type": "detect", "data_length": 1.5}\n',
    "a length in a text": b'{"type": "detect", "payload_length": "5"}\n',
    "a length that is true": b'{"type": "detect", "payload_length": true}\n',
    "a huge length of data": b'{"type": "detect", "data_length": 65537}\n',
    "a huge payload": b'{"type": "audio-chunk", "payload_length": 1048577}\n',
    "an enormous payload": b'{"type": "audio-chunk", "payload_length": 1%s}\n' % (b"0" * 300),
    "a header without an end": b'{"type": "' + b"x" * 1_000_000,
    "data that is no JSON": b'{"type": "detect", "data_length": 3}\n{{{',
    "names that are a text": b'{"type": "detect", "data": {"names": "okay_nabu"}}\n',
    "names that are numbers": b'{"type": "detect", "data": {"names": [1, 2]}}\n',
}
FORMATS: list[dict[str, Any]] = [
    {"rate": 3_999},
    {"rate": 384_001},
    {"rate": 0},
    {"rate": -16_000},
    {"rate": 16_000.0},
    {"rate": None},
    {"width": 0},
    {"width": 5},
    {"channels": 0},
    {"channels": 9},
    {"channels": 10**30},
    {"timestamp": "now"},
    {"timestamp": True},
    {"width": 3},  # 8 bytes are no whole frames
]


def chunk_bytes(payload: bytes, **changes: Any) -> bytes:
    data = {"rate": 16_000, "width": 2, "channels": 1, **changes}
    header = {"type": "audio-chunk", "data": data, "payload_length": len(payload)}
    return json.dumps(header).encode() + b"\n" + payload


BROKEN.update({f"a chunk with {change}": chunk_bytes(bytes(8), **change) for change in FORMATS})
BROKEN["a chunk with an infinite timestamp"] = chunk_bytes(bytes(8), timestamp=0).replace(
    b'"timestamp": 0', b'"timestamp": 1e999'
)


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_not_the_protocol_ends_the_connection_and_is_said_in_one_line(
    shared: Service, content: bytes
) -> None:
    with shared.connect() as connection:
        peer = "{}:{}".format(*connection.getsockname())
        with contextlib.suppress(ConnectionError):  # it does not even let us finish
            connection.sendall(content)
        assert read_all(connection) == b""
    shared.daemon.says(f"{peer} is cut off: ")
    (line,) = [line for line in shared.daemon.lines if f"{peer} is cut off" in line]
    assert len(line) < 400
    note = shared.daemon.status(shared.control)["sinks"]["wyoming"]["note"]
    assert note == line.removeprefix("earmark: wyoming: ").replace("is cut off", "was cut off")
    assert shared.answers()


def test_a_client_that_is_cut_off_is_in_the_log_without_asking_for_more_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A satellite that sends audio of a wrong kind tries again for ever: once for each host and reason."""
    control: Any = None
    sink = WyomingSink(Wyoming(uris=("tcp://127.0.0.1:10400",)), control)
    for port in (1, 2):
        sink.say_cut_off(f"10.0.0.5:{port}", "4 bits")
    sink.say_cut_off("10.0.0.6:1", "4 bits")
    sink.say_cut_off("10.0.0.6:1", "5 bits")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "wyoming: 10.0.0.5:1 is cut off: 4 bits",
        "wyoming: 10.0.0.6:1 is cut off: 4 bits",
        "wyoming: 10.0.0.6:1 is cut off: 5 bits",
    ]
    assert sink.note == "10.0.0.6:1 was cut off: 5 bits"
    for number in range(200):
        sink.say_cut_off("10.0.0.7:1", f"{number} bits")
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 100


@pytest.mark.parametrize(
    "content",
    [b'{"type"', b'{"type": "detect", "data_length": 10}\n{', chunk_bytes(bytes(2048))[:-1]],
    ids=["header", "data", "payload"],
)
def test_half_of_an_event_is_no_event(shared: Service, content: bytes) -> None:
    with shared.connect() as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert shared.answers()


def test_a_client_that_asks_much_and_is_gone_is_no_trouble(shared: Service) -> None:
    """Its questions are all there; the answer to the first cannot be sent any more."""
    for _ in range(5):
        with shared.connect_unix() as connection:
            connection.sendall(b'{"type": "ping"}\n' * 1000)
    assert shared.answers()
    assert not [line for line in shared.daemon.lines if "socket.send()" in line]  # as asyncio says it


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["describe", "detect", "audio-start", "audio-chunk", "audio-stop", "ping", "detection"])
DATA = st.dictionaries(
    st.sampled_from(["rate", "width", "channels", "timestamp", "names", "text", "context"]),
    JSON | st.sampled_from([1, 2, 3, 16_000, 44_100, 5_000]),
    max_size=7,
)


@st.composite
def events_in_bytes(draw: st.DrawFn) -> bytes:
    """Nearly right, some of them."""
    data, payload = json.dumps(draw(DATA)).encode(), draw(st.binary(max_size=64))
    lengths = {"data_length": len(data), "payload_length": len(payload)}
    header = {
        "type": draw(TYPES | JSON),
        **draw(st.just(lengths) | st.fixed_dictionaries(dict.fromkeys(lengths, JSON))),
    }
    return json.dumps(header).encode() + b"\n" + data + payload


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300) | events_in_bytes(), max_size=6))
def test_random_bytes_do_no_harm(shared: Service, content: list[bytes]) -> None:
    with shared.connect() as connection:
        with may_be_cut_off():
            connection.sendall(b"".join(content))
            connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert not [line for line in shared.daemon.lines if "Traceback" in line or "Error" in line]


def test_a_storm_of_everything_leaves_the_daemon_as_it_was(
    own: Service, takes: Takes, people: list[Voiceprint]
) -> None:
    """Thousands of connections, floods of audio, half events held open: then a normal client."""
    word = read_audio(takes("slt", "okay_nabu", "test")[0])
    flood = b"".join(chunk_bytes(chunk.audio) for chunk in chunks(np.tile(word, 10), 4096))
    pid = own.daemon.process.pid

    def storm() -> None:
        with contextlib.ExitStack() as held:
            for _ in range(20):  # each has sent half a megabyte, and never ends
                connection = held.enter_context(own.connect())
                connection.sendall(b'{"type": "audio-chunk", "payload_length": 1048576}\n' + bytes(500_000))
            for _ in range(2):
                with own.connect() as connection:
                    connection.sendall(flood)
                    connection.shutdown(socket.SHUT_WR)
                    assert len(parsed(read_all(connection))) == 10
            for number in range(1_000):
                content = (b"\n", b"\xff\n", b'{"type": "describe"}\n', b"{")[number % 4]
                if number < 100:  # gone at once, or turned away because those before are not all gone yet
                    with own.connect() as connection, may_be_cut_off():
                        connection.sendall(content)
                else:  # one after another
                    with own.connect_unix() as connection, may_be_cut_off():
                        connection.sendall(content)
                        connection.shutdown(socket.SHUT_WR)
                        read_all(connection)
        until(own.answers, "an answer after the storm", LIMIT_S)

    # One storm may leave a higher mark than the last, by how many were served at the same moment; but marks come to
    # an end, and a leak does not: a kilobyte a connection is 1 MB a storm.
    after_kb: list[int] = []
    while len(after_kb) < 5 or after_kb[-1] - after_kb[-3] > 1_000:
        assert len(after_kb) < 15, f"memory grows storm after storm: {after_kb} kB"
        storm()
        after_kb.append(rss_kb(pid))
    assert after_kb[-1] - after_kb[0] < 8_000
    wanted = len(after_kb) * 772  # who only asks what there is, is neither counted nor turned away
    until(lambda: own.count("clients") + own.count("turned_away") >= wanted, "all of them counted", LIMIT_S)
    assert detections(within_limit(ask(own.uris[1], word))) == expected(word, people)
    assert "Traceback" not in "\n".join(own.daemon.lines)


def test_a_client_that_does_not_read_is_cut_off(own: Service) -> None:
    ping = b'{"type": "ping", "data_length": 60013}\n{"text": "' + b"x" * 60_001 + b'"}'
    before_kb = rss_kb(own.daemon.process.pid)
    with own.connect() as connection:
        peer = "{}:{}".format(*connection.getsockname())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def send_for_ever() -> None:
            while True:
                connection.sendall(ping)

        with pytest.raises(ConnectionError):  # no timeout: it is not simply left waiting
            send_for_ever()
    own.daemon.says(f"{peer} is cut off: it does not read its answers")
    assert rss_kb(own.daemon.process.pid) - before_kb < 8_000
    assert own.answers()


def test_more_clients_than_may_be_are_turned_away(store: Path, tmp_path: Path) -> None:
    with service(store, tmp_path, "--set", "wyoming.clients=3") as own, contextlib.ExitStack() as stack:

        def greet() -> socket.socket:
            connection = own.connect()
            connection.sendall(b'{"type": "ping"}\n')
            assert connection.recv(1) == b"{"
            return connection

        friends = [stack.enter_context(greet()) for _ in range(3)]
        for _ in range(5):
            with own.connect() as connection:
                assert read_all(connection) == b""
        assert own.count("turned_away") == 5
        assert sum("3 clients are connected, more are turned away" in line for line in own.daemon.lines) == 1
        friends[0].close()
        until(own.answers, "the place of the one who went", LIMIT_S)
        stack.enter_context(greet())
        with own.connect() as connection:
            assert read_all(connection) == b""
        own.daemon.says("3 clients are connected, more are turned away", 2)  # it was well in between
        friends[1].sendall(b'{"type": "ping"}\n')  # and who stayed was never disturbed
        assert b"pong" in friends[1].recv(1000)


IMPATIENT = """
import sys
from earmark import cli
from earmark.engine.sinks.wyoming import connection
connection.PATIENCE_S = connection.FLUSH_S = 0.3
sys.exit(cli.main(sys.argv[1:]))
"""


def test_clients_that_never_send_are_cut_off(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less patience than the daemon has otherwise."""
    monkeypatch.setattr(live, "command", lambda *line: [sys.executable, "-c", IMPATIENT, *map(str, line)])
    with service(store, tmp_path) as own, own.connect() as good:
        good.sendall(b'{"type": "describe"}\n')  # then it may take its time
        for content in (
            b"",
            b"{",
            b'{"type": "ping"',
            b'{"type": "detect", "data_length": 9}\n',
            chunk_bytes(b"ab")[:-1],
        ):
            with own.connect() as connection:
                peer = "{}:{}".format(*connection.getsockname())
                connection.sendall(content)
                assert read_all(connection) == b""
            what = "sent no end of its event" if b"\n" in content else "sent no event"
            own.daemon.says(f"{peer} is cut off: it {what} for 0.3 s")
        assert own.count("turned_away") == 5
        good.sendall(b'{"type": "audio-stop"}\n')
        good.shutdown(socket.SHUT_WR)
        assert [event["type"] for event in parsed(read_all(good))] == ["info", "not-detected"]


def test_the_end_of_the_daemon_is_not_held_up_by_clients(store: Path, tmp_path: Path) -> None:
    with service(store, tmp_path) as own, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(own.connect()) for _ in range(5)]
        for connection in connections:
            connection.sendall(b'{"type": "detect"}\n{"type": "ping"}\n' + chunk_bytes(bytes(2000))[:-1])
            assert b"pong" in connection.recv(1000)
        run = own.daemon.stop()
        assert (run.code, own.path.exists()) == (0, False)
        assert [read_all(connection) for connection in connections] == [b""] * 5


# --- inside a process: what goes to the other sinks


@pytest.mark.parametrize("ending", ["silence", "detect", "stop", "gone"])
def test_a_journal_gets_the_sound_of_each_event(store: Path, takes: Takes, tmp_path: Path, ending: str) -> None:
    """All two seconds of it where the client goes on; what there is where it does not."""
    control = SinkControl(
        load_household(load(environment={"EARMARK_SETTINGS": ""}, flags={"people.store": str(store)}).settings),
        journal=True,
    )
    sink = WyomingSink(Wyoming(uris=(f"unix://{tmp_path / 'w'}",)), control)
    samples = read_audio(takes("slt", "okay_nabu", "test")[0])[: -RATE_HZ // 4]  # little after the word
    endings: dict[str, list[Any]] = {"silence": [*chunks(PAUSE)], "detect": [Detect()], "stop": [AudioStop()]}
    end = endings.get(ending, [])

    async def dialogue() -> None:
        async with client(f"unix://{tmp_path / 'w'}") as connection:
            await send(connection, *chunks(np.concatenate([PAUSE, samples])), *end)
            await answers(connection)
            if ending != "gone":
                assert len(control.notices) == 2  # not only when it is gone

    sink.open()
    try:
        within_limit(dialogue())
        until(lambda: len(control.notices) == 2, "two notices", LIMIT_S)
    finally:
        sink.close()
    bare, full = control.notices
    assert (bare.clip, bare.event, bare.source) == (None, full.event, "wyoming:unix")
    assert full.clip is not None
    heard = without_its_offset(np.concatenate([PAUSE, samples, PAUSE if ending == "silence" else PAUSE[:0]]))
    at = full.event.sample
    after = len(full.clip) - CLIP_BEFORE_SAMPLES
    assert after == (CLIP_AFTER_SAMPLES if ending in ("silence", "stop") else len(heard) - at)
    assert 0 < after <= CLIP_AFTER_SAMPLES
    padded = np.concatenate([heard, np.zeros(CLIP_AFTER_SAMPLES, np.int16)])  # a finished stream ends in silence
    np.testing.assert_array_equal(full.clip, padded[at - CLIP_BEFORE_SAMPLES : at + after])
    assert control.stats.total("clients", server="wyoming") == 1
    assert control.stats.snapshot()["latency_ms"]["count"] == 1


def test_what_a_client_said_is_in_the_journal(store: Path, takes: Takes, tmp_path: Path) -> None:
    """And in the status; the client goes before the half second after the word has passed."""
    folder = f"journal.folder={tmp_path / 'wakes'}"
    with service(store, tmp_path, "--set", "journal.enabled=true", "--set", folder) as own:
        for voice in ("slt", "awb"):
            sound = read_audio(takes(voice, "okay_nabu", "test")[0]).astype("<i2").tobytes()
            with own.connect() as connection:
                connection.sendall(chunk_bytes(sound))
                connection.shutdown(socket.SHUT_WR)
                read_all(connection)
        until(lambda: len(wakes(folder)) == 2, "two entries", LIMIT_S)
        assert {(wake["person"], wake["reason"]) for wake in wakes(folder)} == {
            ("slt", "known_voice"),
            (None, "unknown_voice"),
        }
        status = own.daemon.status(own.control)
        assert {(count["type"], count["count"]) for count in status["counts"]["events"]} == {
            ("detection", 1),
            ("rejection", 1),
        }
        assert status["latency_ms"]["count"] == 2


def wakes(folder: str) -> list[dict[str, Any]]:
    return earmark("wakes", "list", "--json", "--set", folder).events


# --- zeroconf


@pytest.mark.alone
def test_the_service_is_announced_as_home_assistant_looks_for_it(store: Path, tmp_path: Path) -> None:
    zeroconf = pytest.importorskip("zeroconf", reason="pip install zeroconf")
    found: dict[str, int] = {}
    gone = threading.Event()

    class Listener(zeroconf.ServiceListener):  # type: ignore[misc,name-defined]
        def add_service(self, browser: Any, kind: str, name: str) -> None:
            info = browser.get_service_info(kind, name)
            found[name] = info.port if info else 0

        def update_service(self, browser: Any, kind: str, name: str) -> None:
            self.add_service(browser, kind, name)

        def remove_service(self, browser: Any, kind: str, name: str) -> None:  # noqa: ARG002
            gone.set()

    browser = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    try:
        zeroconf.ServiceBrowser(browser, "_wyoming._tcp.local.", Listener())
        with service(store, tmp_path, "--set", "wyoming.zeroconf=true") as own:
            name = f"{instance_name(machine_id(own.port))}._wyoming._tcp.local."
            until(lambda: found.get(name) == own.port, f"{name} on {own.port} in {found}", LIMIT_S)
            assert own.answers()
            assert not gone.is_set()
            assert own.daemon.stop().code == 0
        assert gone.wait(LIMIT_S)
    finally:
        browser.close()


def test_zeroconf_that_is_not_installed_is_named(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = "import sys; sys.modules['zeroconf'] = None; from earmark import cli; sys.exit(cli.main(sys.argv[1:]))"
    monkeypatch.setattr(live, "command", lambda *line: [sys.executable, "-c", without, *map(str, line)])
    with service(store, tmp_path, "--set", "wyoming.zeroconf=true", wait=False) as own:
        own.daemon.says("pip install 'earmark[zeroconf]'")
        until(own.answers, "it is served all the same", LIMIT_S)
        fault = own.daemon.status(own.control)["sinks"]["wyoming"]["failure"]
        assert fault.startswith("not announced: wyoming.zeroconf needs another package")
        assert own.daemon.stop().code == 0


# --- a real satellite

MICROPHONE = """
# 16 kHz mono s16le on standard output, as slowly as it is said: the file again and again
import sys, time
content = open(sys.argv[1], "rb").read()
start, number = time.monotonic(), 0
while True:
    at = 640 * number % len(content)
    sys.stdout.buffer.write(content[at : at + 640])
    sys.stdout.buffer.flush()
    number += 1
    time.sleep(max(0, start + 0.02 * number - time.monotonic()))
"""


@pytest.mark.alone
@pytest.mark.parametrize("which", [0, 1], ids=["tcp", "unix"])
def test_a_real_satellite_wakes_and_waits_again(own: Service, takes: Takes, tmp_path: Path, which: int) -> None:
    """wyoming-satellite 1.0.0, which sends neither audio-start nor audio-stop; the test is its Home Assistant."""
    if not SATELLITE.exists():
        pytest.skip("no wyoming-satellite: scripts/parts/setup_satellite")
    said = [PAUSE, read_audio(takes("awb", "okay_nabu", "test")[0]), PAUSE]
    said += [read_audio(takes("slt", "okay_nabu", "test")[0]), PAUSE]
    sound = np.concatenate(said)
    sound[: len(sound) // 320 * 320].astype("<i2").tofile(tmp_path / "said.raw")
    (tmp_path / "microphone.py").write_text(MICROPHONE)
    port = free_port()
    microphone = f"{SATELLITE} {tmp_path / 'microphone.py'} {tmp_path / 'said.raw'}"
    command = [str(SATELLITE), "-m", "wyoming_satellite", "--name", "test", "--no-zeroconf"]
    command += ["--uri", f"tcp://127.0.0.1:{port}", "--mic-command", microphone, "--wake-uri", own.uris[which]]
    command += ["--wake-word-name", "okay_nabu", "--detection-command", f"tee -a {tmp_path / 'detected'}"]
    satellite = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    async def until_it_streams(home: AsyncClient) -> None:
        while (event := await home.read_event()) is not None and event.type != "run-pipeline":
            assert event.type != "audio-chunk", "it streams before it woke"
        assert event is not None
        while (event := await home.read_event()) is not None and event.type != "audio-chunk":
            pass
        assert event is not None

    async def home_assistant() -> None:
        async with client(f"tcp://127.0.0.1:{port}") as home:
            await home.write_event(Event("run-satellite"))
            await until_it_streams(home)
            assert next_events(2) == [("rejection", None), ("detection", "slt")]
            await home.write_event(Event("transcript", {"text": "turn on the light"}))
            while (event := await home.read_event()) is not None and event.type == "audio-chunk":
                pass  # what was on its way
            assert event is not None
            assert event.type == "run-pipeline"  # it heard the word again
            assert ("detection", "slt") in next_events(2)

    def next_events(count: int) -> list[tuple[str, str | None]]:
        events = [own.daemon.event() for _ in range(count)]
        return [(event["type"], event["person"]) for event in events]

    def is_up() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
            return True
        return False

    try:
        until(is_up, "the satellite", LIMIT_S)
        within_limit(home_assistant())
    finally:
        satellite.terminate()
        satellite.wait(LIMIT_S)
    until(lambda: (tmp_path / "detected").read_text().startswith("okay_nabu"), "its detection command", LIMIT_S)

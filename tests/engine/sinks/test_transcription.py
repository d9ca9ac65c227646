"""Commands on their way to a speech-to-text service: passed on as they came, and known when the text is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from conftest import Read
from sink_control import SinkControl
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, async_read_event, async_write_event, read_event, write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.wake import Detection

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import SettingsError
from earmark.engine.household import Household, load_household
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Wyoming
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.wyoming.sink import WyomingSink
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.free_speech import enrol_speech

pytestmark = pytest.mark.slow

LIMIT_S = 60
CHUNK = 1024
TEXT = "turn the lights off"
ATTRIBUTION = Attribution("nobody", "")


class Behind:
    """A small speech-to-text service; it keeps what came, and answers as it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self.streams, self.hangs_up, self.early = False, False, False
        self.context: dict[str, Any] | None = None

    def __enter__(self) -> Behind:
        behind = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while (event := read_event(cast(BinaryIO, self.rfile))) is not None and behind.answers(
                        event, self.wfile
                    ):
                        pass

        class Threads(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.path.unlink(missing_ok=True)
        self._server = Threads(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    def answers(self, event: Event, out: Any) -> bool:
        """Whether it goes on."""
        if Describe.is_type(event.type):
            model = AsrModel("small", ATTRIBUTION, True, None, None, ["en"])
            program = AsrProgram("behind", ATTRIBUTION, True, "a test", "1", [model])
            write_event(Info(asr=[program]).event(), out)
            return True
        self.events.append(event)
        if AudioStop.is_type(event.type) or (self.early and AudioStart.is_type(event.type)):
            if self.hangs_up:
                return False
            if self.streams:
                write_event(TranscriptStart(language="en").event(), out)
                write_event(TranscriptChunk(TEXT).event(), out)
            write_event(Transcript(TEXT, language="en", context=self.context).event(), out)
            if self.streams:
                write_event(TranscriptStop().event(), out)
        return True


@pytest.fixture(scope="module")
def commands(read: Read, audio_dir: Path) -> dict[str, Int16]:
    """What each voice says, without a wake word."""
    pause = np.zeros(RATE_HZ // 5, np.int16)
    return {
        voice: np.concatenate(
            [part for what in phrases for part in (read(audio_dir / f"{voice}_{what}_other_1.flac"), pause)]
        )
        for voice, phrases in {
            "slt": ("set_a_timer_for", "please_turn_the_lights"),
            "rms": ("what_is_the_weather", "please_turn_the_lights"),
        }.items()
    }


@pytest.fixture(scope="module")
def household(
    slt: Voiceprint, enroller: Enroller, read: Read, audio_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Household:
    """slt is known, with free speech."""
    store = PersonStore(tmp_path_factory.mktemp("people"))
    talk = [*audio_dir.glob("slt_*_other_1.flac"), *audio_dir.glob("slt_alexa_enroll_*.flac")]
    kept = [path for path in sorted(talk) if "timer" not in path.name and "lights" not in path.name]
    store.save(slt)
    store.save(enrol_speech(enroller, slt, [Recording(path.name, read(path)) for path in kept]).voiceprint)
    return load_household(
        load(environment={"EARMARK_SETTINGS": ""}, flags={"people.store": str(store.folder)}).settings
    )


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    return Behind(tmp_path / "behind")


@pytest.fixture
def control(household: Household) -> SinkControl:
    return SinkControl(household)


@contextlib.contextmanager
def served(control: SinkControl, behind: Behind, place: Path, **settings: Any) -> Iterator[WyomingSink]:
    made = WyomingSink(Wyoming(uris=(f"unix://{place}",), transcribe=f"unix://{behind.path}", **settings), control)
    made.check()
    made.open()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def sink(control: SinkControl, behind: Behind, tmp_path: Path) -> Iterator[WyomingSink]:
    with served(control, behind, tmp_path / "w") as made:
        yield made


def sent(samples: Int16, context: Any = None) -> list[Event]:
    """As Home Assistant asks: what is to be done, and the audio."""
    chunks = [samples[start : start + CHUNK].tobytes() for start in range(0, len(samples), CHUNK)]
    return [
        Transcribe(language="en", name="small", context=context).event(),
        AudioStart(RATE_HZ, 2, 1).event(),
        *(AudioChunk(RATE_HZ, 2, 1, chunk).event() for chunk in chunks),
        AudioStop().event(),
    ]


async def talk(place: Path, events: list[Event]) -> list[Event]:
    """What comes back, up to the transcript or the end."""
    reader, writer = await asyncio.open_unix_connection(str(place))
    found = []
    with contextlib.suppress(OSError):
        for event in events:
            await async_write_event(event, writer)
        while (event := await async_read_event(reader)) is not None:  # type: ignore[assignment]
            found.append(event)
            if Transcript.is_type(event.type) or Info.is_type(event.type):
                break
        writer.close()
        await writer.wait_closed()
    return found


def run(behind: Behind, place: Path, *dialogues: list[Event]) -> list[list[Event]]:
    async def all_of_them() -> list[list[Event]]:
        return list(await asyncio.gather(*(talk(place, events) for events in dialogues)))

    with behind:
        return asyncio.run(asyncio.wait_for(all_of_them(), LIMIT_S))


def facts(notices: list[Notice]) -> list[tuple[str, str, str | None, str]]:
    return [(one.event.type, one.event.keyword, one.event.person, one.event.reason) for one in notices]


def text_of(events: list[Event]) -> list[str]:
    return [Transcript.from_event(event).text for event in events if Transcript.is_type(event.type)]


@pytest.mark.usefixtures("sink")
def test_what_comes_goes_on_as_it_came_and_the_transcript_back(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    events = sent(commands["slt"])
    (back,) = run(behind, tmp_path / "w", events)
    assert [(event.type, event.data, event.payload) for event in behind.events] == [
        (event.type, event.data, event.payload) for event in events
    ]
    assert [(event.type, event.data) for event in back] == [("transcript", {"text": TEXT, "language": "en"})]
    assert facts(control.notices) == [("confirmation", "free-speech", "slt", "known_voice")]
    (notice,) = control.notices
    assert notice.source == "wyoming:unix"
    assert notice.to_json()["speech_ms"] > 1000


@pytest.mark.usefixtures("sink")
@pytest.mark.parametrize("streams", [False, True])
def test_where_only_known_people_command_anybody_elses_transcript_is_empty(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path, streams: bool
) -> None:
    behind.streams = streams
    (back,) = run(behind, tmp_path / "w", sent(commands["rms"]))
    assert [(event.type, event.data) for event in back] == [("transcript", {"text": "", "language": "en"})]
    assert facts(control.notices) == [("confirmation", "free-speech", None, "unknown_voice:cancel")]
    control.household = replace(control.household, policy=replace(control.household.policy, mode="prefer"))
    (back,) = run(behind, tmp_path / "w", sent(commands["rms"]))
    assert text_of(back) == [TEXT]
    assert facts(control.notices)[1:] == [("confirmation", "free-speech", None, "unknown_voice")]


@pytest.mark.usefixtures("sink")
def test_who_cannot_be_told_is_refused_unless_failures_are_accepted(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    short = commands["slt"][: RATE_HZ // 5]
    (back,) = run(behind, tmp_path / "w", sent(short))
    assert text_of(back) == [""]
    control.household = replace(control.household, policy=replace(control.household.policy, on_error="accept"))
    (back,) = run(behind, tmp_path / "w", sent(short))
    assert text_of(back) == [TEXT]
    assert [reason for *_, reason in facts(control.notices)] == ["too_little_speech:cancel", "too_little_speech"]


@pytest.mark.usefixtures("sink")
def test_where_nobody_is_enrolled_everything_passes(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    control.household = replace(control.household, people=())
    (back,) = run(behind, tmp_path / "w", sent(commands["slt"]))
    assert text_of(back) == [TEXT]
    assert [reason for *_, reason in facts(control.notices)] == ["nobody_enrolled"]


@pytest.mark.usefixtures("sink")
def test_an_early_transcript_waits_until_it_is_known_who_spoke(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    behind.early = True
    (back,) = run(behind, tmp_path / "w", sent(commands["rms"]))
    assert text_of(back) == [""]
    assert len(control.notices) == 1


@pytest.mark.usefixtures("sink")
def test_several_satellites_at_once_each_have_their_own(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    back = run(behind, tmp_path / "w", sent(commands["slt"]), sent(commands["rms"]), sent(commands["slt"]))
    assert [text_of(one) for one in back] == [[TEXT], [""], [TEXT]]
    assert sorted(str(person) for _, _, person, _ in facts(control.notices)) == ["None", "slt", "slt"]


@pytest.mark.usefixtures("sink")
@pytest.mark.parametrize("streams", [False, True])
def test_who_asks_for_it_gets_with_the_transcript_whose_it_is(
    behind: Behind, commands: dict[str, Int16], tmp_path: Path, streams: bool
) -> None:
    behind.context, behind.streams = {"turn": 2, "earmark": "not the service's"}, streams
    asked = {"earmark": True, "turn": 1}
    back = run(behind, tmp_path / "w", *(sent(commands[voice], asked) for voice in ("slt", "rms")))
    known, unknown = (Transcript.from_event(events[-1]) for events in back)
    assert known.text == TEXT
    assert known.context == {"turn": 2, "earmark": {"person": "slt", "reason": "known_voice"}}
    assert unknown.text == ""
    assert unknown.context == {"earmark": {"person": None, "reason": "unknown_voice:cancel"}}
    assert [event.data["context"] for event in behind.events if Transcribe.is_type(event.type)] == [asked] * 2


@pytest.mark.usefixtures("sink")
@pytest.mark.parametrize("context", [None, {}, {"earmark": False}, {"other": True}, "earmark", ["earmark"], 1])
def test_nobody_else_gets_it(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path, context: Any
) -> None:
    control.household = replace(control.household, people=())  # what is said is the same; and nothing is computed
    (back,) = run(behind, tmp_path / "w", sent(commands["slt"], context))
    assert [(event.type, event.data) for event in back] == [("transcript", {"text": TEXT, "language": "en"})]


def test_who_is_not_trusted_is_not_told_who_is_at_home(
    behind: Behind, control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    with served(control, behind, tmp_path / "w", trusted=()):
        (back,) = run(behind, tmp_path / "w", sent(commands["slt"], {"earmark": True}))
    assert [(event.type, event.data) for event in back] == [("transcript", {"text": TEXT, "language": "en"})]
    assert facts(control.notices) == [("confirmation", "free-speech", "slt", "known_voice")]


@pytest.mark.usefixtures("sink")
def test_a_service_that_hangs_up_or_is_not_there_ends_the_connection_and_no_other(
    behind: Behind, commands: dict[str, Int16], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    behind.hangs_up = True
    with caplog.at_level(logging.WARNING):
        assert run(behind, tmp_path / "w", sent(commands["slt"])) == [[]]
        assert asyncio.run(asyncio.wait_for(talk(tmp_path / "w", sent(commands["slt"])), LIMIT_S)) == []
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "it hung up before the transcript" in said
    assert "cannot be reached" in said
    behind.hangs_up = False
    (back,) = run(behind, tmp_path / "w", sent(commands["slt"]))
    assert text_of(back) == [TEXT]


@pytest.mark.usefixtures("sink")
def test_it_says_what_the_service_behind_can_and_what_itself_can(behind: Behind, tmp_path: Path) -> None:
    (back,) = run(behind, tmp_path / "w", [Describe().event()])
    info = Info.from_event(back[0])
    assert [(program.name, program.models[0].languages) for program in info.asr] == [("behind", ["en"])]
    assert [program.models[0].name for program in info.wake] == ["okay_nabu"]


@pytest.mark.usefixtures("sink")
def test_without_the_service_behind_it_is_a_wake_service_still(tmp_path: Path) -> None:
    (back,) = [asyncio.run(asyncio.wait_for(talk(tmp_path / "w", [Describe().event()]), LIMIT_S))]
    info = Info.from_event(back[0])
    assert info.asr == []
    assert len(info.wake) == 1


@pytest.mark.usefixtures("sink")
def test_the_wake_word_is_heard_after_a_command_on_the_same_connection(
    behind: Behind, commands: dict[str, Int16], read: Read, audio_dir: Path, tmp_path: Path
) -> None:
    wake = np.concatenate([read(audio_dir / "slt_okay_nabu_test_1.flac"), np.zeros(RATE_HZ, np.int16)])

    async def dialogue() -> list[str]:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "w"))
        found = []
        for events, last in ((sent(commands["slt"]), Transcript), (sent(wake)[1:-1], Detection)):
            for event in events:
                await async_write_event(event, writer)
            while (back := await async_read_event(reader)) is not None:
                found.append(back.type)
                if last.is_type(back.type):
                    break
        writer.close()
        await writer.wait_closed()
        return found

    with behind:
        assert asyncio.run(asyncio.wait_for(dialogue(), LIMIT_S)) == ["transcript", "detection"]


@pytest.mark.parametrize("place", ["whisper", "tcp://whisper", "http://whisper:1", "unix://"])
def test_a_place_that_is_none_is_refused(place: str, control: Any) -> None:
    with pytest.raises(SettingsError, match=r"wyoming\.transcribe"):
        WyomingSink(Wyoming(uris=("tcp://127.0.0.1:10400",), transcribe=place), control)


def test_nothing_is_passed_on_where_no_service_is_named(
    control: SinkControl, commands: dict[str, Int16], tmp_path: Path
) -> None:
    made = WyomingSink(Wyoming(uris=(f"unix://{tmp_path / 'w'}",)), control)
    made.open()
    try:
        events = [*sent(commands["slt"]), Describe().event()]
        back = asyncio.run(asyncio.wait_for(talk(tmp_path / "w", events), LIMIT_S))
    finally:
        made.close()
    assert [event.type for event in back] == ["not-detected", "info"]
    assert Info.from_event(back[1]).asr == []

"""Several satellites that hear one utterance: one event, by who heard it best."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Enrolled, Read
from sink_control import SinkControl
from sound_server import until
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncClient
from wyoming.wake import Detect, Detection

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.event import Event
from earmark.engine.household import Household, load_household
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Wyoming
from earmark.engine.sinks.wyoming import client
from earmark.engine.sinks.wyoming.sink import WyomingSink
from earmark.engine.sinks.wyoming.together import Heard, Together, chosen

LIMIT_S = 60
LONG_S = 60.0  # of the setting: a round ends when all have heard it, however slow the machine is
CHUNK = 1024


@pytest.fixture(scope="module")
def household(slt: Voiceprint, enrolled: Enrolled, tmp_path_factory: pytest.TempPathFactory) -> Household:
    """slt and rms are known."""
    store = PersonStore(tmp_path_factory.mktemp("people"))
    for person in (slt, enrolled("rms", "okay_nabu").voiceprint):
        store.save(person)
    return load_household(
        load(environment={"EARMARK_SETTINGS": ""}, flags={"people.store": str(store.folder)}).settings
    )


@pytest.fixture(scope="module")
def said(read: Read, audio_dir: Path) -> dict[str, Int16]:
    """By each voice, heard from near, and by slt from far."""
    pause = np.zeros(RATE_HZ, np.int16)
    found = {
        voice: np.concatenate([read(audio_dir / f"{voice}_okay_nabu_test_1.flac"), pause])
        for voice in ("slt", "rms", "awb")
    }
    noise = np.random.default_rng(1).normal(0, 300, len(found["slt"]))
    return {**found, "slt, far": (found["slt"] // 4 + noise).astype(np.int16)}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a busy machine to read it goes on sending."""
    monkeypatch.setattr(client, "SILENT_S", LONG_S)


@contextlib.contextmanager
def served(control: SinkControl, place: Path, **settings: Any) -> Iterator[None]:
    made = WyomingSink(Wyoming(uris=(f"unix://{place}",), **settings), control)
    made.open()
    try:
        yield
    finally:
        made.close()


def run(place: Path, *streams: Int16, leaves: int | None = None) -> list[list[str | None]]:
    """What each satellite is answered, all of them at once; one of them may leave before that."""

    async def satellite(number: int, samples: Int16, ready: list[asyncio.Event]) -> list[str | None]:
        async with AsyncClient.from_uri(f"unix://{place}") as connection:
            await connection.write_event(Detect().event())
            await connection.write_event(AudioChunk(RATE_HZ, 2, 1, bytes(2 * CHUNK)).event())
            ready[number].set()
            for event in ready:  # nobody speaks before all listen
                await event.wait()
            for start in range(0, len(samples), CHUNK):
                chunk = samples[start : start + CHUNK].tobytes()
                await connection.write_event(AudioChunk(RATE_HZ, 2, 1, chunk).event())
            if number == leaves:
                return []
            await connection.write_event(AudioStop().event())
            found: list[str | None] = []
            while (event := await connection.read_event()) is not None:
                found.append(Detection.from_event(event).speaker if Detection.is_type(event.type) else event.type)
                if event.type == "not-detected" or len(found) == 1:
                    return found
            return found

    async def all_of_them() -> list[list[str | None]]:
        ready = [asyncio.Event() for _ in streams]
        return list(await asyncio.gather(*(satellite(n, each, ready) for n, each in enumerate(streams))))

    return asyncio.run(asyncio.wait_for(all_of_them(), LIMIT_S))


def facts(control: SinkControl) -> list[tuple[str, str | None]]:
    return sorted((one.event.type, one.event.person) for one in control.notices if one.clip is None)


def test_who_heard_it_best_tells_of_it_and_the_others_do_not(
    household: Household, said: dict[str, Int16], tmp_path: Path
) -> None:
    control = SinkControl(household, journal=True)
    with served(control, tmp_path / "w", together_s=LONG_S):
        answers = run(tmp_path / "w", said["slt, far"], said["slt"], said["slt, far"])
    assert answers == [["not-detected"], ["slt"], ["not-detected"]]
    assert facts(control) == [("detection", "slt")]
    assert [len(one.clip) for one in control.notices if one.clip is not None] == [32_000], "nor the journal twice"
    assert control.stats.total("sent") == 0


def test_without_the_setting_each_tells_of_it(household: Household, said: dict[str, Int16], tmp_path: Path) -> None:
    control = SinkControl(household)
    with served(control, tmp_path / "w"):
        assert run(tmp_path / "w", said["slt, far"], said["slt"]) == [["slt"], ["slt"]]
    assert facts(control) == [("detection", "slt")] * 2


def test_two_people_at_the_same_time_are_two_events_and_a_stranger_beside_them_none(
    household: Household, said: dict[str, Int16], tmp_path: Path
) -> None:
    control = SinkControl(household)
    with served(control, tmp_path / "w", together_s=LONG_S):
        assert run(tmp_path / "w", said["slt"], said["awb"], said["rms"]) == [["slt"], ["not-detected"], ["rms"]]
    assert facts(control) == [("detection", "rms"), ("detection", "slt")]


def test_a_stranger_whom_all_hear_is_one_rejection(
    household: Household, said: dict[str, Int16], tmp_path: Path
) -> None:
    control = SinkControl(household)
    with served(control, tmp_path / "w", together_s=LONG_S):
        assert run(tmp_path / "w", said["awb"], said["awb"]) == [["not-detected"]] * 2
    assert facts(control) == [("rejection", None)]


def test_a_satellite_that_goes_while_others_are_waited_for_has_told_of_it(
    household: Household, said: dict[str, Int16], tmp_path: Path
) -> None:
    control = SinkControl(household)
    with served(control, tmp_path / "w", together_s=0.3):
        run(tmp_path / "w", said["slt"], said["slt"][:CHUNK], leaves=0)
        until(lambda: bool(control.notices), "the wake of who has gone", LIMIT_S)
    assert facts(control) == [("detection", "slt")]


# --- the rules


class Satellite:
    def __init__(self, host: str, listens: bool = True, trusted: bool = True) -> None:
        self.host, self.listens, self.trusted = host, listens, trusted


def heard(
    satellite: Satellite, person: str | None, score: float | None, kind: str = "detection", keyword: str = "okay_nabu"
) -> Heard:
    return Heard(satellite, Event(kind, keyword, 16_000, 0.9, person, score, "known_voice"))  # type: ignore[arg-type]


KITCHEN, BATH, HALL = Satellite("kitchen"), Satellite("bath"), Satellite("hall", listens=False)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ([("anna", 0.5), ("anna", 0.8), ("anna", 0.6)], [1]),
        ([("anna", 0.5), ("ben", 0.8), ("anna", 0.6)], [1, 2]),
        ([(None, 0.9), ("anna", 0.5)], [1]),
        ([(None, 0.2), (None, 0.3)], [1]),
        ([(None, None), (None, 0.1)], [1]),
    ],
)
def test_the_best_of_each_person_or_else_of_nobody(found: list[Any], wanted: list[int]) -> None:
    candidates = [heard(KITCHEN, *each) for each in found]
    assert sorted(candidates.index(one) for one in chosen(candidates)) == wanted


def test_a_detection_counts_more_than_what_was_not_let_in() -> None:
    candidates = [
        heard(KITCHEN, "anna", 0.9, "rejection"),
        heard(BATH, None, 0.1),
        heard(HALL, "ben", 0.9, "near_miss"),
    ]
    assert chosen(candidates) == [candidates[1]]


def told(*all_heard: tuple[Heard, list[str]], satellites: list[Satellite]) -> list[str]:
    """Who has told, in order, before the time of the round is over."""
    found: list[str] = []

    async def rounds() -> None:
        together = Together(LONG_S, lambda: [*satellites])
        for one, expected in all_heard:
            one.then(lambda one=one: found.append(one.satellite.host))  # type: ignore[misc]
            together.hear(one)
            assert found == expected
        together.finish()

    asyncio.run(rounds())
    return found


def test_nobody_is_waited_for_who_does_not_listen_or_has_heard_it() -> None:
    satellites = [KITCHEN, BATH, HALL]
    assert told((heard(KITCHEN, "anna", 0.5), []), (heard(BATH, "anna", 0.7), ["bath"]), satellites=satellites) == [
        "bath"
    ]
    assert told((heard(KITCHEN, "anna", 0.5), ["kitchen"]), satellites=[KITCHEN, HALL]) == ["kitchen"]


def test_each_wake_word_has_a_round_of_its_own_and_the_end_of_the_service_ends_all() -> None:
    one, other = heard(KITCHEN, "anna", 0.5), heard(BATH, "anna", 0.7, keyword="alexa")
    assert told((one, []), (other, []), satellites=[KITCHEN, BATH]) == ["kitchen", "bath"]


def test_who_is_not_trusted_takes_no_wake_from_who_is_and_is_not_waited_for() -> None:
    guest = Satellite("guest", trusted=False)
    assert told(
        (heard(guest, "anna", 0.9), []), (heard(KITCHEN, "anna", 0.5), ["kitchen"]), satellites=[guest, KITCHEN]
    ) == ["kitchen"]
    assert told((heard(KITCHEN, "anna", 0.5), ["kitchen"]), satellites=[guest, KITCHEN]) == ["kitchen"]


def test_what_is_asked_later_is_told_or_not_as_it_was_decided() -> None:
    found: list[str] = []

    async def rounds() -> None:
        together = Together(LONG_S, lambda: [KITCHEN, BATH])
        both = [heard(KITCHEN, "anna", 0.5), heard(BATH, "anna", 0.7)]
        for one in both:
            together.hear(one)
        for one in both:
            await one.decided.wait()
            one.then(lambda one=one: found.append(one.satellite.host))  # type: ignore[misc]

    asyncio.run(rounds())
    assert found == ["bath"]

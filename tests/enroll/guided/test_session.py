"""The conversation as a table: state, event, what is asked next; and the parts that listen, measured by samples."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Enrolled, MakeNetwork, Read, Takes
from guided_person import Person

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.audio.sources import ArraySource
from earmark.engine.errors import DeviceError, EnrolmentRefused, InputError
from earmark.engine.features.following import pieces_of
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.guided.conversation import Guide
from earmark.enroll.guided.kept import Kept, KeptSession
from earmark.enroll.guided.listening import Listening
from earmark.enroll.guided.microphones import MicrophoneOfSession
from earmark.enroll.guided.screen import Answers, Screen
from earmark.enroll.guided.session import (
    HOW,
    MAX_OTHERS,
    NOBODY_TRIES,
    PATIENCE,
    ROOM_TRIES,
    WANTED_TAKES,
    Answered,
    Ended,
    Event,
    OtherHeard,
    Phase,
    RoomHeard,
    Session,
    TakeHeard,
    advance,
    for_files,
)
from earmark.enroll.guided.talking import TALK_SAMPLES, record_talk
from earmark.enroll.takes import measure
from earmark.enroll.takes.endpoint import MAX_SAMPLES, PAUSE_SAMPLES, Endpoint
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.takes.quality import Fault
from earmark.enroll.takes.words import WORDS
from earmark.enroll.training.augment import with_noise
from earmark.enroll.training.train import TakeEmbeddings, TrainPlan

QUIET, NOISY, ODD, NOBODY = (
    Fault("take", reason, "…") for reason in ("too_quiet", "too_noisy", "other_voice", "nothing_said")
)
TAKING = Session(Phase.TAKES, room_dbfs=-70.0)
FOUR = replace(TAKING, takes=(0, 1, 2, 3))
ASKING = replace(FOUR, phase=Phase.MORE_PEOPLE, takes=(0, 1, 2, 3, 4))

TABLE: list[tuple[str, Session, Event, Session]] = [
    ("the room", Session(), RoomHeard(-70.0), TAKING),
    ("a muted room", Session(), RoomHeard(None), Session(Phase.MICROPHONE, tries=1)),
    ("a muted room again", Session(Phase.MICROPHONE, tries=1), Answered(True), Session(tries=1)),
    ("another one for a muted room", Session(Phase.MICROPHONE, tries=1), Answered(False), Session()),
    ("nobody, once", FOUR, TakeHeard(FOUR.takes, (NOBODY,)), replace(FOUR, faults=(NOBODY,), tries=1, nobody=1)),
    (
        "nobody, twice",
        replace(FOUR, faults=(NOBODY,), tries=1, nobody=1),
        TakeHeard(FOUR.takes, (NOBODY,)),
        replace(FOUR, phase=Phase.MICROPHONE, faults=(NOBODY, NOBODY), tries=2),
    ),
    (
        "somebody after nobody",
        replace(FOUR, faults=(NOBODY,), tries=1, nobody=1),
        TakeHeard(FOUR.takes, (QUIET,)),
        replace(FOUR, faults=(NOBODY, QUIET), tries=2),
    ),
    ("the right microphone", replace(FOUR, phase=Phase.MICROPHONE, tries=2), Answered(True), replace(FOUR, tries=2)),
    ("the wrong microphone", replace(FOUR, phase=Phase.MICROPHONE, tries=2), Answered(False), Session()),
    (
        "nobody for ever",
        replace(FOUR, faults=(NOBODY,) * (PATIENCE - 1), tries=PATIENCE - 1, nobody=NOBODY_TRIES - 1),
        TakeHeard(FOUR.takes, (NOBODY,)),
        replace(
            FOUR,
            phase=Phase.GIVEN_UP,
            faults=(NOBODY,) * PATIENCE,
            tries=PATIENCE,
            nobody=NOBODY_TRIES - 1,
            why="nothing_said",
        ),
    ),
    (
        "muted for good",
        Session(tries=ROOM_TRIES - 1),
        RoomHeard(None),
        Session(Phase.GIVEN_UP, tries=ROOM_TRIES, why="silent_microphone"),
    ),
    ("a good take", TAKING, TakeHeard((0,)), replace(TAKING, takes=(0,))),
    ("a bad take", TAKING, TakeHeard((), (QUIET,)), replace(TAKING, faults=(QUIET,), tries=1)),
    ("good after bad", replace(TAKING, tries=3), TakeHeard((0,)), replace(TAKING, takes=(0,))),
    (
        "another voice",
        FOUR,
        TakeHeard((0, 1, 2, 3), (ODD,)),
        replace(FOUR, faults=(ODD,), tries=1),
    ),
    (
        "the first was another voice's",
        replace(TAKING, takes=(0, 1)),
        TakeHeard((1, 2), (ODD,)),
        replace(TAKING, takes=(1, 2), faults=(ODD,), tries=1),
    ),
    ("the last good take", FOUR, TakeHeard((0, 1, 2, 3, 4)), ASKING),
    (
        "no end of bad takes",
        replace(TAKING, faults=(QUIET,) * (PATIENCE - 1), tries=PATIENCE - 1),
        TakeHeard((), (NOISY,)),
        replace(
            TAKING,
            phase=Phase.GIVEN_UP,
            faults=(*(QUIET,) * (PATIENCE - 1), NOISY),
            tries=PATIENCE,
            why="too_quiet",
        ),
    ),
    ("nobody else", ASKING, Answered(False), replace(ASKING, phase=Phase.ENOUGH)),
    ("somebody else", ASKING, Answered(True), replace(ASKING, phase=Phase.OTHER)),
    (
        "heard somebody",
        replace(ASKING, phase=Phase.OTHER),
        OtherHeard("other 1"),
        replace(ASKING, others=("other 1",)),
    ),
    (
        "heard the owner",
        replace(ASKING, phase=Phase.OTHER),
        OtherHeard("other 1", QUIET),
        replace(ASKING, faults=(QUIET,)),
    ),
    (
        "enough of others",
        replace(ASKING, phase=Phase.OTHER, others=("a",) * (MAX_OTHERS - 1)),
        OtherHeard("a"),
        replace(ASKING, phase=Phase.ENOUGH, others=("a",) * MAX_OTHERS),
    ),
    ("a file", for_files(3), TakeHeard((0, 1, 2, 3, 4, 5)), replace(for_files(3), takes=(0, 1, 2, 3, 4, 5))),
    (
        "the end of the files",
        replace(for_files(3), takes=(0, 1, 2)),
        Ended(),
        replace(for_files(3), takes=(0, 1, 2), phase=Phase.ENOUGH),
    ),
    (
        "too few files",
        replace(for_files(3), takes=(0, 1)),
        Ended(),
        replace(for_files(3), takes=(0, 1), phase=Phase.GIVEN_UP, why="too_few_takes"),
    ),
]


@pytest.mark.parametrize(("state", "event", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_event_leads_to_its_state(state: Session, event: Event, wanted: Session) -> None:
    assert advance(state, event) == wanted


@pytest.mark.parametrize("reason", WORDS)
@pytest.mark.parametrize("count", range(WANTED_TAKES))
def test_a_variation_is_dropped_where_the_advice_says_the_opposite_or_it_was_tried_twice(
    reason: str, count: int
) -> None:
    state = replace(TAKING, takes=tuple(range(count)))
    once = advance(state, TakeHeard(state.takes, (Fault("take", reason, "…"),)))
    louder_nearer_or_as_usual = ("too_quiet", "too_noisy", "keyword_not_heard", "clipped", "other_voice")
    assert once.how == ("as_usual" if reason in louder_nearer_or_as_usual else state.how)
    twice = advance(replace(once, phase=Phase.TAKES), TakeHeard(once.takes, (Fault("take", "cut_off", "…"),)))
    assert twice.how == "as_usual"
    assert twice.tries_left == PATIENCE - 2
    good = advance(twice, TakeHeard(tuple(range(count + 1))))
    assert good.how == HOW[(count + 1) % WANTED_TAKES], "the next take is varied again"


@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_not_waited_for_is_refused(phase: Phase) -> None:
    legal = {(row_state.phase, type(row_event)) for _, row_state, row_event, _ in TABLE} | {
        (Phase.MORE_PEOPLE, Ended),
        (Phase.OTHER, Ended),
    }
    events: list[Event] = [RoomHeard(-70.0), TakeHeard(()), Answered(True), OtherHeard("a"), Ended()]
    for event in events:
        if (phase, type(event)) not in legal:
            with pytest.raises(ValueError, match=str(phase.name)):
                advance(Session(phase), event)


def test_a_whole_session_ends_and_varies_how_takes_are_said() -> None:
    session, asked = advance(Session(), RoomHeard(-70.0)), []
    while session.phase is Phase.TAKES:
        asked.append(session.how)
        session = advance(session, TakeHeard((*session.takes, len(session.takes))))
    assert len(asked) == 5
    assert len(set(asked)) >= 4
    assert advance(session, Answered(False)).over


# --- what listens


@pytest.fixture
def hearing(speaker: SpeakerNetwork, make_network: MakeNetwork) -> Hearing:
    return Hearing(speaker, make_network("okay_nabu"))


def reasons(event: TakeHeard) -> list[str]:
    assert all(fault.reason in WORDS for fault in event.faults)
    return [fault.reason for fault in event.faults]


def in_room(samples: Int16, rng: np.random.Generator) -> Int16:
    padded = np.pad(samples, RATE_HZ // 2).astype(np.float64)
    return np.rint(padded + rng.normal(0, 5, len(padded))).astype(np.int16)


def test_a_session_hears_five_takes_and_names_what_is_wrong_at_once(
    hearing: Hearing, takes: Takes, read: Read, rng: np.random.Generator
) -> None:
    good = [in_room(read(path), rng) for path in takes("rms", "okay_nabu", "enroll")]
    later = in_room(read(takes("rms", "okay_nabu", "test")[0]), rng)
    sentence = read(takes("rms", "please turn the lights off in the kitchen", "other")[0])
    for number, take in enumerate(good[:4]):
        event = hearing.take(take, f"take {number}")
        assert (event.takes, reasons(event)) == (tuple(range(number + 1)), [])
    noisy = with_noise(to_float(later), 0.0, 0.0, rng)
    loudest = to_float(later) * (4 * 32768 / np.abs(later.astype(int)).max())
    start, end = locate_speech(later)
    cut = later[: start + 3 * (end - start) // 5]
    bad = {
        "clipped": to_int16(loudest),
        "too_quiet": to_int16(to_float(later) * 10 ** (-30 / 20)),
        "too_noisy": to_int16(noisy),
        "cut_off": cut,
        "keyword_not_heard": in_room(read(takes("rms", "alexa", "enroll")[0]), rng),
        "too_long": np.concatenate([sentence, later]),
        "same_take_twice": good[2],
        "nothing_said": np.rint(rng.normal(0, 5, 2 * RATE_HZ)).astype(np.int16),
        "other_voice": in_room(read(takes("rp_f3", "okay_nabu", "enroll")[0]), rng),
    }
    for reason, take in bad.items():
        event = hearing.take(take, reason)
        assert (reason, reasons(event)) == (reason, [reason])
        assert event.takes == (0, 1, 2, 3)
    assert reasons(hearing.take(good[4], "take 4")) == []
    assert len(hearing.good) == 5


def test_where_somebody_else_said_the_first_take_it_is_that_one_which_goes(
    hearing: Hearing, takes: Takes, read: Read, rng: np.random.Generator
) -> None:
    files = [takes("rp_f3", "okay_nabu", "enroll")[0], *takes("rms", "okay_nabu", "enroll")[:3]]
    for number, path in enumerate(files):
        event = hearing.take(in_room(read(path), rng), f"take {number}")
    assert event.takes == (1, 2, 3)


def test_a_known_room_tells_noise_that_comes_and_goes(
    hearing: Hearing, takes: Takes, read: Read, rng: np.random.Generator
) -> None:
    take = in_room(read(takes("rms", "okay_nabu", "enroll")[0]), rng)
    start, end = locate_speech(take)
    noise = with_noise(np.ones(2 * RATE_HZ, np.float32), 0.0, 1.0, rng) - 1  # pink, of the power of ones
    level = np.sqrt(np.mean(to_float(take)[start:end] ** 2))
    room = to_int16(noise * 2 * level)  # 6 dB above the speech
    assert reasons(hearing.take(take, "in a quiet room")) == []
    hearing.room = measure.room_power(room)
    assert reasons(hearing.take(in_room(read(takes("rms", "okay_nabu", "enroll")[1]), rng), "in it")) == ["too_noisy"]


@pytest.mark.parametrize("block", [1, 160, 7_777])
def test_a_recording_ends_when_nothing_more_is_said_however_it_is_cut(block: int, rng: np.random.Generator) -> None:
    quiet, loud = (rng.normal(0, 32768 * 10 ** (dbfs / 20), RATE_HZ) for dbfs in (-70, -30))
    samples = np.rint(np.concatenate([quiet, loud, quiet, quiet])).astype(np.int16)
    endpoint, heard = Endpoint(-70.0), 0
    for start in range(0, len(samples), block):
        heard += len(samples[start : start + block])
        if endpoint.push(samples[start : start + block]):
            break
    assert 2 * RATE_HZ + PAUSE_SAMPLES <= heard + 480 <= 2 * RATE_HZ + PAUSE_SAMPLES + block + 2 * 480


def test_a_recording_in_which_nobody_speaks_ends_too() -> None:
    assert not Endpoint(-70.0).push(np.zeros(MAX_SAMPLES - 1, np.int16))
    assert Endpoint(-70.0).push(np.zeros(MAX_SAMPLES, np.int16))


# --- what is kept, and what is refused


def kept_session(folder: Path, **bound: object) -> KeptSession:
    return KeptSession(folder / "people", "anna", "okay_nabu", {"speaker": "s", **bound}, folder / "sessions")


def test_what_is_kept_comes_back_as_it_was_and_holds_no_audio(
    hearing: Hearing, takes: Takes, read: Read, tmp_path: Path
) -> None:
    for number, path in enumerate(takes("rms", "okay_nabu", "enroll")[:2]):
        hearing.take(read(path), f"take {number}")
    heard = list(hearing.heard.values())
    varied = [TakeEmbeddings(one.embedding, np.stack([one.embedding] * 6)) for one in heard]
    kept = kept_session(tmp_path)
    assert kept.load() is None
    kept.save(Kept(heard[:1], varied[:1], np.ones(40, np.float32), -70.0))
    kept.save(Kept(heard, varied, np.ones(40, np.float32), -70.0))
    found = kept.load()
    assert found is not None
    assert (len(found.heard), found.room_dbfs) == (2, -70.0)
    np.testing.assert_array_equal(found.varied[1].copies, varied[1].copies)
    assert all(len(one.take.crop) == 0 for one in found.heard)
    for was, now in zip(heard, found.heard):
        assert was.take == now.take, "the crop apart"
        assert now.take.active_samples > 0
    assert kept.path.stat().st_size < 100_000  # 14 embeddings; a crop more would be 38 kB
    assert list(kept.path.parent.iterdir()) == [kept.path]
    assert kept_session(tmp_path, speaker="another").load() is None
    assert hearing.restore(found.heard) == (0, 1)
    assert reasons(hearing.take(read(takes("rms", "okay_nabu", "enroll")[0]), "again")) == ["same_take_twice"]
    content = bytearray(kept.path.read_bytes())
    content[len(content) // 2] ^= 1
    kept.path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        kept.load()
    kept.erase()
    assert not kept.path.parent.exists()


def test_takes_that_reject_each_other_are_refused(
    speaker: SpeakerNetwork, enroller: Enroller, takes: Takes, read: Read
) -> None:
    """Voices so unlike that most would be rejected cannot be made from files: `other_voice` finds them before."""
    rows = [speaker.embed(read(takes(voice, "okay_nabu", "enroll")[0])) for voice in VOICES]
    unlike = [TakeEmbeddings(row, row[None]) for row in rows]
    with pytest.raises(EnrolmentRefused, match="of 4 takes do not sound like the others"):
        enroller.enrol_takes("anna", unlike, None, Options(plan=TrainPlan(steps=1)))
    made = enroller.enrol_takes("anna", unlike, None, Options(plan=TrainPlan(steps=1), refuse_disagreeing=False))
    assert made.voiceprint.report["achieved"]["cosine"]["frr"]["of"] == 4


@pytest.mark.parametrize("encrypted", [False, True])
def test_where_the_audio_ends_the_takes_are_kept_unless_the_store_is_encrypted(
    encrypted: bool,
    enroller: Enroller,
    make_network: MakeNetwork,
    takes: Takes,
    read: Read,
    rng: np.random.Generator,
    tmp_path: Path,
) -> None:
    word = read(takes("rms", "okay_nabu", "enroll")[0])
    look = np.concatenate([word, np.zeros(RATE_HZ, np.int16)])  # into the microphone, before the room
    audio = np.concatenate([look, np.zeros(15 * RATE_HZ // 2, np.int16), word, np.zeros(4 * RATE_HZ, np.int16)])
    source = ArraySource(np.rint(audio + rng.normal(0, 5, len(audio))).astype(np.int16), 320)
    kept, shown = kept_session(tmp_path), io.StringIO()
    reading, writing = os.pipe()  # somebody who could answer, and does not
    screen = Screen(Answers(reading), shown)
    microphone = MicrophoneOfSession(screen, "mic", lambda _: source, lambda: [])
    network = make_network("okay_nabu")
    guide = Guide("anna", enroller, network, Options(), screen, microphone, None if encrypted else kept)
    with pytest.raises(DeviceError, match="the audio has ended"):
        guide.run()
    for end in (reading, writing):
        os.close(end)
    assert "✓ Take 1 of 5 is good." in shown.getvalue()
    assert ("not kept: the store of people is encrypted" in shown.getvalue()) == encrypted
    assert kept.path.exists() != encrypted


VOICES = ("slt", "rms", "kal16", "rp_f3")


def test_the_summary_counts_what_each_score_does(enrolled: Enrolled) -> None:
    enrolment = enrolled("rms", "okay_nabu")
    report = json.loads(json.dumps(enrolment.voiceprint.report))
    for kind, one in enrolment.achieved.items():
        figures = report["achieved"][kind]
        assert figures["frr"]["rejected"] == np.sum(one.own < one.threshold)
        assert figures["far"]["accepted"] == np.sum(one.cohort >= one.threshold)
        assert figures["far"]["of"] > 100
    low, high = report["achieved"]["cosine"]["frr"]["ci95"]
    assert (low, high) == (0.0, pytest.approx(0.5218, abs=1e-3))  # none of five: 1 − 0.025^(1/5)


def test_free_speech_is_asked_for_and_recorded(read: Read, audio_dir: Path) -> None:
    said = np.concatenate([read(path) for path in sorted(audio_dir.glob("slt_*_other_1.flac"))])
    person = Person([said], [said], [""])
    recording = record_talk(person, Listening(person.room, person), "anna")
    assert "let anna talk for half a minute" in person.text
    assert "No sound of it is kept" in person.text
    heard = np.concatenate(list(recording.pieces()))
    assert TALK_SAMPLES <= len(heard) < TALK_SAMPLES + RATE_HZ
    assert len(pieces_of(heard)) >= 4

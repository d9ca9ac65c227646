"""Whose command follows a wake word: real voices through the whole path, and the rules on small vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Enrolled, MakeNetwork, Read, cut, cut_points
from helpers_store import make_voiceprint, unit
from hypothesis import given, settings

from earmark.engine import confirmation
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.confirmation import ALLOWED, ANOTHER_VOICE, Judgement, judge, known_by_speech
from earmark.engine.detector import Detector
from earmark.engine.errors import ModelError
from earmark.engine.event import Event
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import Utterance
from earmark.engine.people.store import COSINE, FREE_SPEECH, Voiceprint
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Heard, Verifier
from earmark.enroll.enrolment import Recording
from earmark.enroll.free_speech import enrol_speech

LABEL, CANCEL = Policy(confirm="label"), Policy(confirm="cancel")
COMMANDS = {
    "slt": ("set_a_timer_for", "please_turn_the_lights"),
    "rms": ("what_is_the_weather", "please_turn_the_lights"),
}

Say = Callable[[str, str, float], Int16]
"""Who says the wake word, who says the command (or nobody), and how long the pause between is in seconds."""


def networks_of(detector: Detector) -> list[KeywordNetwork]:
    return [network for network, _ in detector._channels if isinstance(network, KeywordNetwork)]


@pytest.fixture(scope="module")
def say(read: Read, audio_dir: Path) -> Say:
    def made(wake: str, command: str, pause_s: float = 0.3) -> Int16:
        parts = [read(audio_dir / f"{wake}_okay_nabu_test_1.flac"), np.zeros(round(pause_s * RATE_HZ), np.int16)]
        for phrase in COMMANDS.get(command, ()):
            parts += [read(audio_dir / f"{command}_{phrase}_other_1.flac"), np.zeros(1600, np.int16)]
        return np.concatenate([*parts, np.zeros(RATE_HZ, np.int16)])

    return made


@pytest.fixture(scope="module")
def people(enrolled: Enrolled, enroller: object, read: Read, audio_dir: Path) -> list[Voiceprint]:
    """slt with free speech, rms without."""
    from earmark.enroll.enrolment import Enroller

    assert isinstance(enroller, Enroller)
    slt, rms = (enrolled(voice, "okay_nabu").voiceprint for voice in ("slt", "rms"))
    talk = [
        Recording(path.name, read(path))
        for path in sorted(audio_dir.glob("slt_*_other_1.flac"))
        if not any(phrase in path.name for phrase in COMMANDS["slt"])
    ]
    talk += [Recording(path.name, read(path)) for path in sorted(audio_dir.glob("slt_alexa_enroll_*.flac"))]
    return [slt, rms, enrol_speech(enroller, slt, talk).voiceprint]


@pytest.fixture
def detector(people: list[Voiceprint], make_network: MakeNetwork) -> Detector:
    return Detector([make_network("okay_nabu")], Verifier(people), CANCEL)


def told(detector: Detector, samples: Int16) -> list[tuple[str, str | None, str]]:
    return [(event.type, event.person, event.reason) for event in detector.run(samples)]


def confirmed(detector: Detector, samples: Int16) -> Event:
    found = [event for event in detector.run(samples) if event.type == "confirmation"]
    assert len(found) == 1
    return found[0]


# --- real voices


@pytest.mark.parametrize(
    ("wake", "command", "person", "reason"),
    [
        ("slt", "slt", "slt", "confirmed"),
        ("slt", "rms", "rms", "changed"),
        ("rms", "rms", "rms", "confirmed"),
        ("rms", "slt", "slt", "changed"),
        ("slt", "", None, "too_little_speech"),
    ],
)
def test_the_wake_word_is_followed_by_one_confirmation(
    detector: Detector, say: Say, wake: str, command: str, person: str | None, reason: str
) -> None:
    assert told(detector, say(wake, command, 0.3)) == [
        ("detection", wake, "known_voice"),
        ("confirmation", person, reason),
    ]


def test_a_command_of_nobody_who_is_known_takes_the_wake_back_where_that_is_wished(
    people: list[Voiceprint], make_network: MakeNetwork, say: Say
) -> None:
    only_slt = [person for person in people if person.name == "slt"]
    detector = Detector([make_network("okay_nabu")], Verifier(only_slt), CANCEL)
    assert told(detector, say("slt", "rms", 0.3))[1] == ("confirmation", None, "denied:cancel")
    detector.update([make_network("okay_nabu")], Verifier(only_slt), LABEL)
    assert told(detector, say("slt", "rms", 0.3))[1] == ("confirmation", None, "denied")


def test_whoever_was_not_known_by_the_wake_word_may_be_by_the_command(
    people: list[Voiceprint], make_network: MakeNetwork, say: Say
) -> None:
    """In a mode that lets everybody wake it: the wake word of a stranger, the command of a known person."""
    only_rms = [person for person in people if person.name == "rms"]
    detector = Detector([make_network("okay_nabu")], Verifier(only_rms), replace(LABEL, mode="prefer"))
    assert told(detector, say("slt", "rms", 0.3)) == [
        ("detection", None, "unknown_voice:prefer"),
        ("confirmation", "rms", "changed"),
    ]
    assert told(detector, say("slt", "slt", 0.3))[1] == ("confirmation", None, "confirmed")


def test_what_a_confirmation_says(detector: Detector, say: Say) -> None:
    event = confirmed(detector, say("slt", "slt", 0.3))
    facts = event.to_json("evening.wav")
    assert {key: facts[key] for key in ("type", "person", "woken_by", "reason", "end_ms")} == {
        "type": "confirmation",
        "person": "slt",
        "woken_by": "slt",
        "reason": "confirmed",
        "end_ms": None,
    }
    assert 1000 < facts["speech_ms"] < 4000
    assert event.decided_sample > event.sample + RATE_HZ
    assert event.line(None, as_json=False).startswith("= ")
    assert "woken_by" not in detector.run(say("slt", "", 0.3)).__next__().to_json(None)


def test_nothing_is_listened_to_where_nobody_asks(detector: Detector, say: Say) -> None:
    for policy in (Policy(), Policy(confirm="label", confirm_of={"okay_nabu": "off"})):
        detector.update(networks_of(detector), detector._verifier, policy)
        assert [event.type for event in detector.run(say("slt", "slt", 0.3))] == ["detection"]
    only_here = Policy(confirm_of={"okay_nabu": "label"})
    detector.update(networks_of(detector), detector._verifier, only_here)
    assert len(told(detector, say("slt", "slt", 0.3))) == 2


@pytest.fixture(scope="module")
def evening(say: Say) -> Int16:
    """A confirmation that is complete, a wake whose command another wake interrupts, and one that the end cuts."""
    return np.concatenate([say("slt", "slt", 0.3), say("rms", "", 0.1)[: RATE_HZ * 9 // 5], say("slt", "rms", 1.0)])


@pytest.fixture(scope="module")
def whole(people: list[Voiceprint], make_network: MakeNetwork, evening: Int16) -> list[Event]:
    detector = Detector([make_network("okay_nabu")], Verifier(people), replace(CANCEL, end_of_speech=True))
    return list(detector.run(evening))


def test_another_wake_ends_what_had_begun(whole: list[Event]) -> None:
    assert [event.type for event in whole] == ["detection", "confirmation", "detection", "detection", "confirmation"]


@pytest.mark.slow
@settings(max_examples=5)
@given(points=cut_points(15 * RATE_HZ, 6))
def test_any_cut_of_the_stream_gives_the_same_events(
    people: list[Voiceprint], make_network: MakeNetwork, evening: Int16, whole: list[Event], points: list[int]
) -> None:
    detector = Detector([make_network("okay_nabu")], Verifier(people), replace(CANCEL, end_of_speech=True))
    points = [min(point, len(evening)) for point in points]
    events = [event for part in cut(evening, points) for event in detector.push(part)] + detector.finish()
    assert events == whole
    assert [event.decided_sample for event in events] == [event.decided_sample for event in whole]


def test_the_end_of_a_persons_speech_is_not_put_off_by_who_goes_on(detector: Detector, say: Say) -> None:
    detector.update(networks_of(detector), detector._verifier, replace(CANCEL, end_of_speech=True))
    own = say("slt", "slt", 0.3)
    television = say("rms", "rms", 0.0)[-3 * RATE_HZ :]
    alone = confirmed(detector, own)
    beside = confirmed(detector, np.concatenate([own[: -RATE_HZ // 2], television]))
    assert alone.command is not None
    assert beside.command is not None
    assert alone.command.end_ms is not None
    assert beside.command.end_ms is not None
    assert (alone.person, beside.person, beside.reason) == ("slt", "slt", "confirmed")
    assert abs(alone.command.end_ms - beside.command.end_ms) <= 300
    assert abs(alone.command.end_ms - 1000 * (len(own) - RATE_HZ - 1600) / RATE_HZ) <= 400


def test_whoever_is_erased_meanwhile_is_not_named(
    people: list[Voiceprint], make_network: MakeNetwork, say: Say
) -> None:
    network = make_network("okay_nabu")
    detector, stream = Detector([network], Verifier(people), CANCEL), say("slt", "slt", 0.3)
    events = detector.push(stream[: 2 * RATE_HZ])
    detector.update([network], Verifier([person for person in people if person.name == "rms"]), CANCEL)
    events += detector.push(stream[2 * RATE_HZ :]) + detector.finish()
    assert [(event.type, event.person, event.reason) for event in events] == [
        ("detection", "slt", "known_voice"),
        ("confirmation", None, "denied:cancel"),
    ]


def test_a_speaker_side_that_fails_leaves_the_wake_as_it_was(
    detector: Detector, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = say("slt", "slt", 0.3)
    events = detector.push(stream[: 2 * RATE_HZ])

    def fails(*_: object) -> None:
        raise ModelError("no memory")

    monkeypatch.setattr(detector._verifier, "hear", fails)
    events += detector.push(stream[2 * RATE_HZ :]) + detector.finish()
    assert [(event.type, event.reason) for event in events] == [
        ("detection", "known_voice"),
        ("confirmation", "speaker_failed"),
    ]


# --- the rules

SIZE = 8
ANNA, BEN, EVE = (unit(np.eye(SIZE)[[number]])[0] for number in range(3))


def person(name: str, centroid: Float32, threshold: float = 0.7, keyword: str = "okay_nabu") -> Voiceprint:
    made = make_voiceprint(name, keyword, COSINE, threshold=threshold)
    return replace(made, centroid=centroid)


def mixed(one: Float32, other: Float32, cosine: float) -> Heard:
    """An utterance with that cosine to `one`, the rest like `other`."""
    row = (cosine * one + np.sqrt(1 - cosine**2) * other).astype(np.float32)
    heard = Utterance(row, 60.0)
    return Heard(heard, heard)


def asked(people: list[Voiceprint], *pieces: Heard, wake: Heard, woken_by: str | None = "anna") -> Judgement:
    return judge(_verifier(people), "okay_nabu", Policy(), woken_by, wake, pieces)


def _verifier(people: list[Voiceprint]) -> Verifier:
    made = Verifier([])
    made.people = people
    return made


def test_the_command_alone_must_come_near_to_the_threshold() -> None:
    """However sure the wake word was: one piece may be 0.15 below it, and no more."""
    anna, wake = [person("anna", ANNA)], mixed(ANNA, BEN, 1.0)
    for below, outcome in ((0.02, "denied"), (-0.02, "confirmed")):
        piece = mixed(ANNA, EVE, 0.7 - ALLOWED[0] - below)
        assert asked(anna, piece, wake=wake).outcome == outcome


def test_wake_word_and_command_together_must_reach_the_threshold() -> None:
    anna, weak = [person("anna", ANNA, 0.7)], mixed(ANNA, EVE, 0.62)
    assert asked(anna, weak, weak, wake=mixed(ANNA, BEN, 0.3)).outcome == "denied"
    assert asked(anna, weak, weak, wake=mixed(ANNA, BEN, 0.95)).outcome == "confirmed"


def test_pieces_of_another_voice_are_left_out_but_not_most_of_them() -> None:
    anna = [person("anna", ANNA)]
    own, other = mixed(ANNA, BEN, 0.9), mixed(ANNA, EVE, 0.7 + ANOTHER_VOICE - 0.05)
    assert asked(anna, own, own, other, wake=own) == replace(asked(anna, own, own, wake=own), own=(0, 1))
    assert asked(anna, own, other, wake=own).outcome == "confirmed"
    assert asked(anna, own, other, other, wake=own).outcome == "several_voices"
    assert asked(anna, other, other, wake=own).outcome == "denied"


def test_of_several_people_it_is_the_one_who_fits_best() -> None:
    both = [person("anna", ANNA), person("ben", BEN)]
    own, others = mixed(ANNA, EVE, 0.9), mixed(BEN, EVE, 0.95)
    assert asked(both, own, own, wake=own).person == "anna"
    found = asked(both, others, others, others, wake=mixed(ANNA, BEN, 0.8))
    assert (found.outcome, found.person) == ("changed", "ben")


def test_free_speech_stands_for_the_wake_word_where_there_is_some() -> None:
    people = [person("anna", ANNA), person("anna", BEN, keyword=FREE_SPEECH), person("ben", EVE)]
    assert [(one.name, one.keyword) for one in known_by_speech(_verifier(people), "okay_nabu")] == [
        ("anna", FREE_SPEECH),
        ("ben", "okay_nabu"),
    ]
    assert known_by_speech(_verifier(people), "alexa") == []
    assert _verifier(people).enrolled("okay_nabu") == [people[0], people[2]]


def test_one_damaged_person_silences_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    own = mixed(ANNA, EVE, 0.95)
    wrong = replace(person("ben", BEN), centroid=np.zeros(3, np.float32))
    nothing = replace(person("eve", EVE), centroid=np.full(SIZE, np.nan, np.float32))
    found = asked([wrong, nothing, person("anna", ANNA)], own, wake=own)
    assert (found.outcome, found.person) == ("confirmed", "anna")
    assert "ben (okay_nabu) cannot be asked" in caplog.text
    with pytest.raises(ModelError, match="nobody can be asked"):
        asked([wrong, nothing], own, wake=own)


def test_of_very_many_people_the_nearest_are_asked_and_who_woke_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    crowd = [person(f"p{number}", unit(rng.standard_normal((1, SIZE)))[0]) for number in range(200)]
    far = person("woke", -EVE, threshold=-2.0)
    count = []
    real = confirmation.fit

    def counted(*arguments: Any) -> confirmation.Fit:
        count.append(arguments[1].name)
        return real(*arguments)

    monkeypatch.setattr(confirmation, "fit", counted)
    own = mixed(EVE, ANNA, 0.95)
    found = asked([*crowd, far, person("eve", EVE)], own, wake=own, woken_by="woke")
    assert len(count) == confirmation.MANY + 1
    assert {"woke", "eve"} <= set(count)
    assert found.person == "woke", "whose threshold lets everybody in"

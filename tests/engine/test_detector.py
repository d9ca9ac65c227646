"""The detector while its household changes, and at the end of a stream; no daemon and no broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import MakeNetwork, Read, Takes
from helpers_store import make_voiceprint
from scripted import STRIDE, Scripted, Told, known, stranger

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.detector import Detector
from earmark.engine.event import Event
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.card import KeywordManifest, load_manifest
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Verdict, Verifier

STEP = 480  # samples from one probability to the next
FIRST_END = 800
NOISE: Int16 = np.random.default_rng(5).integers(-3000, 3000, 4 * RATE_HZ).astype(np.int16)
HALF = 2 * RATE_HZ  # where the tests change something: behind probability 64
BEFORE, AFTER = 40, 100  # numbers of probabilities on both sides of it
NOBODY = Verifier([])
LABEL = Policy(mode="label")


@pytest.fixture(scope="module")
def manifest() -> KeywordManifest:
    return load_manifest("alexa")


def script(**probabilities: float) -> list[float]:
    """Zeros, and these: p40=0.6 is number 40."""
    values = [0.0] * 200
    for number, probability in probabilities.items():
        values[int(number[1:])] = probability
    return values


def twice(probability: float) -> list[float]:
    """A word before the change, and another after it."""
    return script(**{f"p{BEFORE}": probability, f"p{AFTER}": probability})


def heard(detector: Detector, change: Callable[[], None]) -> list[tuple[int, Event]]:
    """The events with the numbers of their probabilities, where something changes in mid-stream."""
    events = detector.push(NOISE[:HALF])
    change()
    events += detector.push(NOISE[HALF:])
    return [((event.sample - FIRST_END) // STEP, event) for event in events]


def numbers(found: Sequence[tuple[int, Event]]) -> list[int]:
    return [number for number, _ in found]


# --- cutoffs


@pytest.mark.parametrize(
    ("shows", "probability", "before", "after", "events"),
    [
        ("published 0.5", 0.6, 0.5, 0.5, [BEFORE, AFTER]),
        ("0.88 where nothing is sensitive", 0.6, 0.5, 0.0, [BEFORE]),
        ("back to 0.5", 0.6, 0.0, 0.5, [AFTER]),
        ("0.12 where everything is", 0.2, 0.5, 1.0, [AFTER]),
        ("and no longer", 0.2, 1.0, 0.5, [BEFORE]),
        ("0.95 is above any of them", 0.95, 0.0, 1.0, [BEFORE, AFTER]),
        ("0.1 below", 0.1, 0.0, 1.0, []),
    ],
)
def test_another_sensitivity_moves_the_cutoff_of_a_word_that_is_heard_already(
    manifest: KeywordManifest, shows: str, probability: float, before: float, after: float, events: list[int]
) -> None:
    """The odds of the published 0.5 are moved by e² at most: 0.119 and 0.881."""
    networks = [Scripted(manifest, "word", twice(probability))]
    detector = Detector(networks, NOBODY, replace(LABEL, sensitivity=before))
    found = heard(detector, lambda: detector.update(networks, NOBODY, replace(LABEL, sensitivity=after)))
    assert numbers(found) == events, shows


def test_the_sensitivity_of_one_word_moves_no_other(manifest: KeywordManifest) -> None:
    networks = [Scripted(manifest, name, twice(0.6)) for name in ("one", "two")]
    detector = Detector(networks, NOBODY, LABEL)
    policy = replace(LABEL, sensitivity_of={"two": 0.0})
    found = heard(detector, lambda: detector.update(networks, NOBODY, policy))
    assert [(number, event.keyword) for number, event in found] == [(BEFORE, "one"), (BEFORE, "two"), (AFTER, "one")]


def test_the_loose_cutoff_comes_and_goes_with_the_people(manifest: KeywordManifest) -> None:
    """0.4 is above 0.3, six tenths of the cutoff, and below the cutoff itself."""
    networks = [Scripted(manifest, "word", twice(0.4))]
    somebody = Told(["word"], known)
    coming, going = Detector(networks, NOBODY, LABEL), Detector(networks, somebody, LABEL)
    assert numbers(heard(coming, lambda: coming.update(networks, somebody, LABEL))) == [AFTER]
    networks[0].reset()
    assert numbers(heard(going, lambda: going.update(networks, NOBODY, LABEL))) == [BEFORE]


def test_the_loose_cutoff_moves_with_who_is_enrolled_and_with_the_sensitivity(manifest: KeywordManifest) -> None:
    """0.4 · 0.5 = 0.2 and 0.6 · 0.5 = 0.3 as published; 0.048 and 0.35 of an own share of 0.4 at both ends."""
    with_own, average = Told(["word"], known), Told(["word"], known)
    with_own.people = [make_voiceprint(keyword="word"), replace(make_voiceprint(keyword="word"), loose_share=0.4)]
    average.people = with_own.people[:1]
    judged = Verdict("anna", 0.9, loose_share=0.4)
    neutral, eager, strict = Policy(), Policy(sensitivity=1.0), Policy(sensitivity=0.0)
    for probability, first, second, policies, events in (
        (0.22, average, with_own, (neutral, neutral), [AFTER]),
        (0.22, with_own, average, (neutral, neutral), [BEFORE]),
        (0.22, with_own, with_own, (neutral, strict), [BEFORE]),
        (0.1, with_own, with_own, (neutral, eager), [AFTER]),
        (0.1, with_own, with_own, (eager, strict), [BEFORE]),
    ):
        for verifier in (first, second):
            verifier._told = lambda _crop: judged
        networks = [Scripted(manifest, "word", twice(probability))]
        detector = Detector(networks, first, policies[0])
        assert numbers(heard(detector, lambda: detector.update(networks, second, policies[1]))) == events  # noqa: B023


@pytest.mark.parametrize(("later", "events"), [(24, 1), (25, 2)])
def test_a_second_after_a_known_voice_woke_it_faintly_it_wakes_again(
    manifest: KeywordManifest, later: int, events: int
) -> None:
    """With a stride of four frames, 25 probabilities are exactly a second."""
    word = Scripted(manifest, "word", script(**{"p40": 0.4, f"p{40 + later}": 0.9}), stride=4)
    found = Detector([word], Told(["word"], known)).push(NOISE)
    assert len(found) == events
    assert found[-1].sample - found[0].sample == 16_000 * (events - 1)


# --- people and policy


def test_other_people_are_asked_from_the_next_sample_on(manifest: KeywordManifest) -> None:
    networks = [Scripted(manifest, "word", twice(0.9))]
    detector = Detector(networks, Told(["word"], known))
    first, second = heard(detector, lambda: detector.update(networks, Told(["word"], stranger)))
    assert (first[1].type, first[1].person, first[1].reason) == ("detection", "anna", "known_voice")
    assert (second[1].type, second[1].person, second[1].reason) == ("rejection", None, "unknown_voice")


def test_another_policy_holds_from_the_next_sample_on(manifest: KeywordManifest) -> None:
    """A mode alone is the policy with that mode; none at all is `only`."""
    networks = [Scripted(manifest, "word", twice(0.9))]
    nobody = Told(["word"], stranger)
    detector = Detector(networks, nobody, "prefer")
    found = heard(detector, lambda: detector.update(networks, nobody))
    assert [(event.type, event.reason) for _, event in found] == [
        ("detection", "unknown_voice:prefer"),
        ("rejection", "unknown_voice"),
    ]
    networks[0].reset()
    detector = Detector(networks, nobody)
    found = heard(detector, lambda: detector.update(networks, nobody, "label"))
    assert [(event.type, event.reason) for _, event in found] == [
        ("rejection", "unknown_voice"),
        ("detection", "unknown_voice:label"),
    ]


# --- wake words


def test_wake_words_come_and_go_and_the_others_keep_what_they_have_heard(manifest: KeywordManifest) -> None:
    """A window of 40: at the change 24 of the probabilities are in it that fire later."""
    kept = Scripted(manifest, "kept", [0.0] * 41 + [1.0] * 159, window=40)
    goes, comes = (Scripted(manifest, name, twice(0.9)) for name in ("goes", "comes"))
    detector = Detector([goes, kept], NOBODY, LABEL)
    found = heard(detector, lambda: detector.update([kept, comes], NOBODY, LABEL))
    at_change = (HALF - 480) // 160 + 1  # frames that were whole when it came
    assert [(event.keyword, event.sample) for _, event in found] == [
        ("goes", FIRST_END + BEFORE * STEP),
        ("kept", FIRST_END + (41 + 20) * STEP),
        ("comes", at_change * 160 + FIRST_END + BEFORE * STEP),
    ]


def test_an_update_in_the_middle_of_a_word_does_not_let_it_fire_twice(manifest: KeywordManifest) -> None:
    networks = [Scripted(manifest, "word", [0.0] * 60 + [0.9] * 100)]
    detector = Detector(networks, NOBODY, LABEL)
    assert numbers(heard(detector, lambda: detector.update(networks, NOBODY, LABEL))) == [60]


QUIET_S = 20
TONE: Int16 = (8000 * np.sin(np.arange(RATE_HZ) / 3)).astype(np.int16)
# The activity gate hears five seconds, and goes on 2.4 s before a tile of the tone, in twelves of hops: 12 · 105 hops
# behind the 500th. 498 frames came of the 500 hops, so the first of the frames behind the gap has number 1758.
FIRST_AFTER_GAP = 498 + 12 * 105


@pytest.mark.parametrize("added_s", [0, 3, 8, 19.99, 20])
def test_a_wake_word_that_comes_while_the_activity_gate_skips_has_the_right_positions(
    manifest: KeywordManifest, added_s: float
) -> None:
    """The gap is counted when it is over: for who was there before it, and for who came in it."""
    audio = np.concatenate([np.zeros(QUIET_S * RATE_HZ, np.int16), TONE, TONE])
    at = int(added_s * RATE_HZ)
    first_frame = max(0, min(498, (at - 480) // 160 + 1))  # of those that are heard before the gap
    before_gap = (498 - first_frame) // STRIDE
    assert first_frame in (0, 298, 498)
    network = Scripted(manifest, "word", [*[0.0] * before_gap, *[0.0] * 50, 1.0])
    detector = Detector([], NOBODY, LABEL)
    detector.push(audio[:at])
    detector.update([network], NOBODY, LABEL)
    (event,) = detector.push(audio[at:])
    start = first_frame + before_gap * STRIDE + (FIRST_AFTER_GAP - 498)
    assert event.sample == 480 + 160 * (start + 51 * STRIDE - 1)
    assert detector.samples == len(audio)


def test_a_wake_word_that_comes_after_the_activity_gate_has_skipped_has_the_right_positions(
    manifest: KeywordManifest,
) -> None:
    """The gap is behind it."""
    audio = np.concatenate([np.zeros(QUIET_S * RATE_HZ, np.int16), TONE, TONE])
    at = (QUIET_S + 1) * RATE_HZ
    network = Scripted(manifest, "word", [0.0, 1.0])
    detector = Detector([], NOBODY, LABEL)
    detector.push(audio[:at])
    detector.update([network], NOBODY, LABEL)
    (event,) = detector.push(audio[at:])
    assert event.sample == at + 2 * STRIDE * 160


def test_a_real_wake_word_that_comes_after_quiet_is_found_where_it_was_said(
    make_network: MakeNetwork, takes: Takes, read: Read
) -> None:
    word = read(takes("rms", "alexa", "test")[0])
    quiet = np.zeros(12 * RATE_HZ, np.int16)
    detector = Detector([make_network("okay_nabu")], NOBODY, LABEL)
    assert detector.push(quiet) == []
    detector.update([make_network("alexa")], NOBODY, LABEL)
    events = [*detector.push(quiet), *detector.push(word), *detector.finish()]
    (event,) = events
    start, end = locate_speech(word)
    assert 2 * len(quiet) + start < event.sample < 2 * len(quiet) + end + RATE_HZ // 2
    heard = detector.audio(2 * len(quiet), 2 * len(quiet) + len(word)).astype(int)
    assert np.ptp(heard - word) == 0  # but for a constant, which the quietest of its first half second has
    assert abs(heard[0] - word[0]) <= 17


# --- the end of a stream


def test_half_a_second_of_silence_follows_the_end_of_a_stream(manifest: KeywordManifest) -> None:
    last = (2 * RATE_HZ + RATE_HZ // 2 - FIRST_END) // STEP
    for number, events in ((last, 1), (last + 1, 0)):
        detector = Detector([Scripted(manifest, "word", script(**{f"p{number}": 1.0}))], NOBODY, LABEL)
        assert detector.push(NOISE[: 2 * RATE_HZ]) == []
        assert len(detector.finish()) == events
        assert detector.samples == 2 * RATE_HZ + 8000


@pytest.mark.parametrize(
    ("word", "voice", "role", "take"),
    [
        ("alexa", "awb", "enroll", 2),  # fires 0.27 s behind its last sound
        ("okay_nabu", "scot", "test", 2),  # 0.24 s
        ("hey_mycroft", "slt", "enroll", 1),  # 0.17 s
    ],
)
def test_a_wake_word_at_the_very_end_is_heard(
    make_network: MakeNetwork, takes: Takes, read: Read, word: str, voice: str, role: str, take: int
) -> None:
    """The stream ends with the last sound of it; an eighth of a second behind it would not do."""
    samples = read(takes(voice, word, role)[take - 1])
    end = locate_speech(samples)[1] - RATE_HZ // 20  # what is located has 50 ms around it
    detector = Detector([make_network(word)], NOBODY, LABEL)
    assert detector.push(samples[:end]) == []
    assert detector.push(np.zeros(RATE_HZ // 8, np.int16)) == []
    detector.reset()
    assert detector.push(samples[:end]) == []
    (event,) = detector.finish()
    assert event.keyword == word
    assert RATE_HZ // 8 < event.sample - end <= RATE_HZ // 3

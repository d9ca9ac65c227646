"""The loose cutoff in the detector: a known voice wakes more easily, and for anybody else nothing changes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import Enrolled, MakeNetwork, Read, Takes, cut, cut_points, without_its_offset
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import CUTOFF, STRIDE, Scripted, Told, Verify, known, stranger

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.decision import LOOSE_SHARE, PEAK_WAIT_SAMPLES, REFRACTORY_SAMPLES
from earmark.engine.detector import PUSH_SAMPLES, Detector
from earmark.engine.errors import AudioError
from earmark.engine.event import Event
from earmark.engine.features.frontend import HOP_SAMPLES, RING_SAMPLES, frame_end
from earmark.engine.networks.card import KeywordManifest, load_manifest
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES, SpeakerNetwork
from earmark.engine.people.store import Voiceprint
from earmark.engine.settings.policy import MODES, Mode
from earmark.engine.verifier import Verdict, Verifier
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.training import loose_cutoff

STEP = 480
NOISE: Int16 = np.random.default_rng(5).integers(-3000, 3000, 6 * RATE_HZ).astype(np.int16)
HEARD = without_its_offset(NOISE)


def wordless(_crop: Int16) -> Verdict:
    raise AudioError("nothing said")


def by_content(crop: Int16) -> Verdict:
    """Two crops in three are of a known voice, and the score tells every single one from the others."""
    checksum = zlib.crc32(crop.tobytes())
    return Verdict("anna" if checksum % 3 else None, float(checksum))


@pytest.fixture(scope="module")
def manifest() -> KeywordManifest:
    return load_manifest("alexa")


def sample_of(probability: int) -> int:
    return frame_end((probability + 1) * STRIDE - 1)


def pushed(detector: Detector, pieces: Sequence[Int16]) -> list[Event]:
    detector.reset()
    return [event for piece in pieces for event in detector.push(piece)] + detector.finish()


WEAK = [*[0.0] * 50, 0.25, 0.375, 0.25, 0]
"""Peaks at number 51."""


@pytest.mark.parametrize("mode", MODES)
def test_a_known_voice_wakes_through_the_loose_gate_in_every_mode(manifest: KeywordManifest, mode: Mode) -> None:
    verifier = Told(["word"], known)
    (event,) = pushed(Detector([Scripted(manifest, "word", WEAK)], verifier, mode), [NOISE])
    assert event == Event("detection", "word", sample_of(51), 0.375, "anna", 0.9, "known_voice")
    np.testing.assert_array_equal(verifier.crops, [HEARD[sample_of(51) - CROP_SAMPLES : sample_of(51)]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("verify", [stranger, wordless])
def test_anybody_else_is_silent_in_every_mode(manifest: KeywordManifest, mode: Mode, verify: Verify) -> None:
    verifier = Told(["word"], verify)
    assert pushed(Detector([Scripted(manifest, "word", WEAK)], verifier, mode), [NOISE]) == []
    assert len(verifier.crops) == 1, "it was asked"


@pytest.mark.parametrize("mode", MODES)
def test_a_word_for_which_nobody_is_enrolled_has_no_loose_gate(manifest: KeywordManifest, mode: Mode) -> None:
    verifier = Told(["another"], known)
    networks = [Scripted(manifest, "word", WEAK), Scripted(manifest, "another", WEAK)]
    assert [event.keyword for event in pushed(Detector(networks, verifier, mode), [NOISE])] == ["another"]
    nobody = Told([], known)
    assert pushed(Detector(networks, nobody, mode), [NOISE]) == []
    assert (len(verifier.crops), len(nobody.crops)) == (1, 0), "nobody is asked about the others: it costs nothing"


@pytest.mark.parametrize(("later", "events"), [(-1, 1), (0, 2)])
@pytest.mark.parametrize("second", [0.4, 1.0])
def test_the_refractory_time_follows_an_accepted_weak_candidate(
    manifest: KeywordManifest, later: int, events: int, second: float
) -> None:
    """Whether the next is weak or not: an utterance wakes once."""
    trace = [*[0.0] * 100, second, 0]
    trace[100 - REFRACTORY_SAMPLES // STEP - 1 - later] = 0.4  # a second is 33.3 probabilities
    verifier = Told(["word"], known)
    found = pushed(Detector([Scripted(manifest, "word", trace)], verifier), [NOISE])
    assert (len(found), len(verifier.crops)) == (events, events)


@pytest.mark.parametrize("verify", [stranger, wordless])
def test_no_refractory_time_follows_a_weak_candidate_that_is_not_accepted(
    manifest: KeywordManifest, verify: Verify
) -> None:
    trace = [*[0.0] * 98, 0.4, 0, 1.0, 0]
    detector = Detector([Scripted(manifest, "word", trace)], Told(["word"], verify))
    (event,) = pushed(detector, [NOISE])
    assert (event.type, event.sample) == ("rejection", sample_of(100))


def test_the_refractory_time_is_each_words_own_and_forgotten_by_reset(manifest: KeywordManifest) -> None:
    networks = [Scripted(manifest, "one", WEAK), Scripted(manifest, "two", [0, *WEAK])]
    detector = Detector(networks, Told(["one", "two"], known))
    events = pushed(detector, [NOISE])
    assert [event.keyword for event in events] == ["one", "two"]
    assert pushed(detector, [NOISE]) == events


@pytest.mark.parametrize("size", [100, 100_000])
def test_events_come_in_the_order_they_were_decided_in(manifest: KeywordManifest, size: int) -> None:
    """The weak one peaked first and was decided last."""
    weak, strict = [*[0.0] * 50, 0.4, 0.3, 0.3, 0.3, 0], [*[0.0] * 52, 1.0]
    networks = [Scripted(manifest, "weak", weak), Scripted(manifest, "strict", strict)]
    events = pushed(Detector(networks, Told(["weak"], known)), cut(NOISE, list(range(size, len(NOISE), size))))
    assert [(event.keyword, event.sample) for event in events] == [
        ("strict", sample_of(52)),
        ("weak", sample_of(50)),
    ]


def test_the_ring_still_holds_the_crop_of_a_peak_that_waited_longest(manifest: KeywordManifest) -> None:
    """However far the push ran ahead: it was decided with the first frame of a second of audio."""
    wait = -(-PEAK_WAIT_SAMPLES // STEP)
    verifier = Told(["word"], known)
    peak = next(n for n in range(50, 300) if sample_of(n + wait) % PUSH_SAMPLES in range(1, STEP))
    trace = [*[0.0] * peak, *[0.4] * 100, 0]
    (event,) = pushed(Detector([Scripted(manifest, "word", trace)], verifier), [NOISE])
    assert event.sample == sample_of(peak)
    np.testing.assert_array_equal(verifier.crops, [HEARD[event.sample - CROP_SAMPLES : event.sample]])
    longest = PEAK_WAIT_SAMPLES + 10 * HOP_SAMPLES  # of a network with a stride of up to ten frames
    assert CROP_SAMPLES + longest + PUSH_SAMPLES <= RING_SAMPLES


TRACES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.25, 0.3, 0.4, 0.5, 1.0]), st.sampled_from([1, 2, 5, 12, 30])), max_size=30
).map(lambda runs: [level for level, length in runs for _ in range(length)][:190])


@given(first=TRACES, second=TRACES, stride=st.sampled_from([1, 3]), mode=st.sampled_from(MODES), data=st.data())
@settings(max_examples=60)
def test_any_cut_gives_the_same_events_of_two_words(
    manifest: KeywordManifest,
    first: list[float],
    second: list[float],
    stride: int,
    mode: Mode,
    data: st.DataObject,
) -> None:
    """Crops too: they are in the scores."""
    networks = [Scripted(manifest, "one", first), Scripted(manifest, "two", second, stride)]
    detector = Detector(networks, Told(["one", "two"], by_content), mode)
    whole = pushed(detector, [NOISE])
    assert pushed(detector, cut(NOISE, data.draw(cut_points(len(NOISE))))) == whole
    assert pushed(detector, cut(NOISE, list(range(480, len(NOISE), 480)))) == whole


@given(trace=TRACES, mode=st.sampled_from(MODES))
@settings(max_examples=60)
def test_for_strangers_the_loose_gate_changes_nothing(
    manifest: KeywordManifest, trace: list[float], mode: Mode
) -> None:
    def events(verifier: Verifier) -> list[tuple[str, int, float]]:
        found = pushed(Detector([Scripted(manifest, "word", trace)], verifier, mode), [NOISE])
        return [(event.type, event.sample, event.keyword_score) for event in found]

    assert events(Told(["word"], stranger)) == events(Verifier([]))


# --- near misses, for a journal


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("verify", "score", "reason"), [(stranger, 0.1, "unknown_voice"), (wordless, None, "no_speech")]
)
def test_what_only_passed_the_loose_gate_is_told_to_who_asks_for_it(
    manifest: KeywordManifest, mode: Mode, verify: Verify, score: float | None, reason: str
) -> None:
    detector = Detector([Scripted(manifest, "word", WEAK)], Told(["word"], verify), mode, near_misses=True)
    assert pushed(detector, [NOISE]) == [Event("near_miss", "word", sample_of(51), 0.375, None, score, reason)]
    detector.near_misses = False
    assert pushed(detector, [NOISE]) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_near_miss_needs_somebody_who_is_enrolled_and_a_known_voice_is_none(
    manifest: KeywordManifest, mode: Mode
) -> None:
    """Nor does what passed the whole gate become one, in any mode."""
    word = Scripted(manifest, "word", WEAK)
    assert pushed(Detector([word], Told(["another"], stranger), mode, near_misses=True), [NOISE]) == []
    (event,) = pushed(Detector([word], Told(["word"], known), mode, near_misses=True), [NOISE])
    assert event.type == "detection"
    strict = Scripted(manifest, "word", [*[0.0] * 50, 1.0])
    (event,) = pushed(Detector([strict], Told(["word"], stranger), mode, near_misses=True), [NOISE])
    assert event.type == ("rejection" if mode == "only" else "detection")


def test_a_near_miss_does_not_hide_the_word_that_follows(manifest: KeywordManifest) -> None:
    trace = [*[0.0] * 98, 0.4, 0, 1.0, 0]
    events = pushed(
        Detector([Scripted(manifest, "word", trace)], Told(["word"], stranger), near_misses=True), [NOISE]
    )
    assert [(event.type, event.sample) for event in events] == [
        ("near_miss", sample_of(98)),
        ("rejection", sample_of(100)),
    ]


@given(first=TRACES, second=TRACES, mode=st.sampled_from(MODES), data=st.data())
@settings(max_examples=60)
def test_asking_for_near_misses_changes_no_other_event(
    manifest: KeywordManifest, first: list[float], second: list[float], mode: Mode, data: st.DataObject
) -> None:
    networks = [Scripted(manifest, "one", first), Scripted(manifest, "two", second)]
    without = pushed(Detector(networks, Told(["one", "two"], by_content), mode), [NOISE])
    detector = Detector(networks, Told(["one", "two"], by_content), mode, near_misses=True)
    found = pushed(detector, cut(NOISE, data.draw(cut_points(len(NOISE)))))
    assert [event for event in found if event.type != "near_miss"] == without
    near = [event for event in found if event.type == "near_miss"]
    assert all(event.person is None and event.keyword_score <= CUTOFF for event in near)
    assert pushed(detector, [NOISE]) == found


# --- real voices; synthetic ones, to be exact


@pytest.fixture(scope="module")
def deaf(make_network: MakeNetwork) -> KeywordNetwork:
    """The network of "okay nabu" with a cutoff that it cannot pass: every utterance is weak."""
    network = make_network("okay_nabu")
    network.manifest = replace(network.manifest, probability_cutoff=1.0)
    return network


@pytest.mark.parametrize("mode", MODES)
def test_a_weak_utterance_wakes_if_it_is_of_the_known_voice(
    deaf: KeywordNetwork,
    slt: Voiceprint,
    speaker: SpeakerNetwork,
    head: SpeakerHead,
    takes: Takes,
    read: Read,
    mode: Mode,
) -> None:
    detector = Detector([deaf], Verifier([slt], speaker, head), mode)
    pause = np.zeros(RATE_HZ, np.int16)

    def events(voice: str) -> list[tuple[str, str | None, str]]:
        recordings = [piece for path in takes(voice, "okay_nabu", "test")[:3] for piece in (read(path), pause)]
        found = pushed(detector, recordings)
        assert all(LOOSE_SHARE < event.keyword_score <= 1.0 for event in found)
        return [(event.type, event.person, event.reason) for event in found]

    assert events("slt") == [("detection", "slt", "known_voice")] * 3
    for voice in ("rms", "awb", "kal16"):
        assert events(voice) == []


def test_strict_events_are_those_of_a_detector_without_the_loose_gate(
    make_network: MakeNetwork, slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead, scene: Int16
) -> None:
    """With nobody enrolled there is none; the weak ones among the others are of slt."""
    network = make_network("okay_nabu")
    without = pushed(Detector([network], Verifier([])), [scene])
    found = pushed(Detector([network], Verifier([slt], speaker, head)), [scene])
    at = {event.sample: event.keyword_score for event in without}
    strict = [event for event in found if event.keyword_score > network.manifest.probability_cutoff]
    assert {event.sample: event.keyword_score for event in strict} == at != {}
    assert all((event.type, event.person) == ("detection", "slt") for event in found if event not in strict)


# --- a gate of one's own


def test_each_person_is_heard_from_the_own_gate_on(manifest: KeywordManifest) -> None:
    """The word peaks at 0.375 of a cutoff of 0.5: enough for who is heard from 0.7 of it on, not from 0.8 on."""
    for gate, found in ((0.7, ["anna"]), (0.8, [])):
        verifier = Told(["word"], lambda _crop, gate=gate: Verdict("anna", 0.9, loose_share=gate))  # type: ignore[misc]
        verifier.people = [replace(person, loose_share=0.3) for person in verifier.people]
        detector = Detector([Scripted(manifest, "word", WEAK)], verifier)
        assert [event.person for event in pushed(detector, [NOISE])] == found
        detector.near_misses = True
        (event,) = pushed(detector, [NOISE])
        assert (event.type, event.person) == (("detection" if found else "near_miss"), "anna")


def test_the_loosest_gate_of_all_who_are_enrolled_lets_a_word_in(manifest: KeywordManifest) -> None:
    """It peaks at 0.75 of the cutoff; the speaker side is asked only where somebody might be heard so faintly."""
    for gates, asked in (((0.8, 0.3), 1), ((0.8, 0.8), 0), ((0.8, None), 1)):
        verifier = Told(["word", "word"], stranger)
        verifier.people = [replace(person, loose_share=gate) for person, gate in zip(verifier.people, gates)]
        assert pushed(Detector([Scripted(manifest, "word", WEAK)], verifier), [NOISE]) == []
        assert len(verifier.crops) == asked


@pytest.mark.slow
def test_enrolment_measures_how_well_a_person_is_heard(
    takes: Takes, slt: Voiceprint, enrolled: Enrolled, enroller: Enroller
) -> None:
    assert slt.loose_share is not None
    assert loose_cutoff.LOOSEST <= slt.loose_share <= loose_cutoff.STRICTEST
    kal16 = enrolled("kal16", "okay_nabu").voiceprint
    assert kal16.loose_share == loose_cutoff.STRICTEST, "it is heard well in every room"
    assert slt.loose_share < kal16.loose_share, "and slt is not"
    recordings = [Recording.read(str(path)) for path in takes("kal16", "okay_nabu", "enroll")[:3]]
    assert enroller.enrol("kal16", recordings, None).voiceprint.loose_share is None, "any phrase: no network hears it"


def test_the_gate_lets_nine_in_ten_variations_pass_within_its_limits() -> None:
    assert loose_cutoff.loose_share([0.5] + [1.0] * 9 + [0.6]) == pytest.approx(0.6)
    assert loose_cutoff.loose_share([0.0] * 10) == loose_cutoff.LOOSEST
    assert loose_cutoff.loose_share([1.2] * 10) == loose_cutoff.STRICTEST
    assert loose_cutoff.loose_share([]) is None

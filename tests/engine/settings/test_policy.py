"""Who may wake it and how easily; and that all of it can change while the stream goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from conftest import MakeNetwork, Takes
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Int16
from earmark.engine.detector import Detector
from earmark.engine.errors import InputError, ModelError
from earmark.engine.event import Event
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import Voiceprint
from earmark.engine.settings.policy import MODES, Mode, OnError, Policy
from earmark.engine.verifier import DECADE, Verdict, Verifier

SHARES = st.floats(0, 1)


@given(published=SHARES, low=SHARES, high=SHARES)
def test_more_sensitive_never_means_a_higher_cutoff(published: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    strict, eager = (
        Policy(sensitivity=low).cutoff("word", published),
        Policy(sensitivity=high).cutoff("word", published),
    )
    assert 0 <= eager <= strict + 1e-12 <= 1 + 2e-12


@given(published=SHARES)
def test_half_is_as_published_to_the_last_bit(published: float) -> None:
    assert Policy().cutoff("word", published) == published
    assert Policy().threshold("anna", published, 0.09) == published


def test_the_cutoffs_of_the_shipped_networks_stay_useful_at_both_ends() -> None:
    ends = {p: [round(Policy(sensitivity=s).cutoff("word", p), 3) for s in (0, 1)] for p in (0.85, 0.97)}
    assert ends == {0.85: [0.977, 0.434], 0.97: [0.996, 0.814]}


def test_a_word_or_person_of_its_own_sensitivity_does_not_follow_the_others() -> None:
    policy = Policy(
        sensitivity=0.2, sensitivity_of={"alexa": 0.5}, voice_sensitivity=0.0, voice_sensitivity_of={"anna": 1.0}
    )
    assert policy.cutoff("alexa", 0.9) == 0.9
    assert policy.cutoff("okay_nabu", 0.9) > 0.9
    assert policy.threshold("anna", 0.6, 0.05) == pytest.approx(0.55)
    assert policy.threshold("ben", 0.6, 0.05) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mode": "loud"}, "mode='loud' must be one of only, prefer, label"),
        ({"on_error": "panic"}, "on_error='panic' must be one of accept, reject"),
        ({"sensitivity": 1.1}, "sensitivity=1.1 must be within 0…1"),
        ({"voice_sensitivity": -0.1}, "voice_sensitivity=-0.1 must be within 0…1"),
        ({"sensitivity_of": {"alexa": 2.0}}, "sensitivity of alexa=2.0"),
        ({"voice_sensitivity_of": {"anna": float("nan")}}, "voice sensitivity of anna=nan"),
    ],
)
def test_a_wrong_policy_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("…", ".")):
        dataclasses.replace(Policy(), **wrong)  # type: ignore[arg-type]


# --- in the detector


@pytest.fixture(scope="module")
def own(takes: Takes) -> Int16:
    return read_audio(takes("slt", "okay_nabu", "test")[0])


@pytest.fixture
def verifier(slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead) -> Verifier:
    return Verifier([slt], speaker, head)


def said_by(detector: Detector, samples: Int16) -> list[Event]:
    detector.reset()
    return [*detector.push(samples), *detector.finish()]


def test_the_sensitivity_of_a_person_moves_the_threshold_and_is_named(
    make_network: MakeNetwork, slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead, own: Int16
) -> None:
    network = make_network("okay_nabu")
    score = said_by(Detector([network], Verifier([slt], speaker, head)), own)[0].speaker_score
    assert score is not None
    strict = dataclasses.replace(slt, threshold=score + DECADE[slt.kind] / 2)  # a half decade too high
    for sensitivity, found in (
        (0.5, ("rejection", None, "unknown_voice")),
        (1.0, ("detection", "slt", "known_voice:sensitivity")),
    ):
        policy = Policy(voice_sensitivity_of={"slt": sensitivity})
        (event,) = said_by(Detector([network], Verifier([strict], speaker, head), policy), own)
        assert (event.type, event.person, event.reason) == found
    loose = dataclasses.replace(slt, threshold=score - DECADE[slt.kind] / 2)
    (event,) = said_by(Detector([network], Verifier([loose], speaker, head), Policy(voice_sensitivity=0.0)), own)
    assert (event.type, event.person, event.reason) == ("rejection", None, "unknown_voice:sensitivity")


def test_the_sensitivity_of_a_word_lets_through_what_the_cutoff_would_not(
    make_network: MakeNetwork, verifier: Verifier, own: Int16
) -> None:
    network = make_network("okay_nabu")
    (event,) = said_by(Detector([network], verifier, Policy(sensitivity_of={"okay_nabu": 1.0})), own)
    assert event.keyword_score < network.manifest.probability_cutoff
    assert (event.type, event.person, event.reason) == ("detection", "slt", "known_voice:sensitivity")


class Broken(Verifier):
    """A speaker side that fails; there is no way to make the real one fail without breaking its file."""

    def verify(self, crop: Int16, keyword: str, policy: Policy = Policy()) -> Verdict:  # noqa: ARG002, B008
        raise ModelError("speaker.tflite: the embedding is not finite")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("on_error", ["accept", "reject"])
def test_a_failing_speaker_side_is_a_declared_policy(
    make_network: MakeNetwork,
    slt: Voiceprint,
    own: Int16,
    mode: Mode,
    on_error: OnError,
    caplog: pytest.LogCaptureFixture,
) -> None:
    detector = Detector([make_network("okay_nabu")], Broken([slt]), Policy(mode=mode, on_error=on_error))
    (event,) = said_by(detector, own)
    found = {
        ("only", "reject"): ("rejection", "speaker_failed"),
        ("only", "accept"): ("detection", "speaker_failed:accept"),
    }.get((mode, on_error), ("detection", f"speaker_failed:{mode}"))
    assert (event.type, event.reason) == found
    assert (event.person, event.speaker_score) == (None, None)
    assert f"the speaker side failed, on_error={on_error}: speaker.tflite" in caplog.text


def test_near_misses_are_reported_only_to_who_asks(
    make_network: MakeNetwork, verifier: Verifier, takes: Takes
) -> None:
    """A stranger who says "okay nothing": over the loose cutoff, below the cutoff."""
    nearly = read_audio(takes("awb", "okay nothing", "other")[0])
    for asked, found in ((False, set()), (True, {("near_miss", None, "unknown_voice")})):
        detector = Detector([make_network("okay_nabu")], verifier, near_misses=asked)
        assert {(event.type, event.person, event.reason) for event in said_by(detector, nearly)} == found


# --- changes in mid-stream


def heard(detector: Detector, pieces: list[Int16], between: Callable[[int], None]) -> list[Event]:
    events = []
    for number, piece in enumerate(pieces):
        between(number)
        events += detector.push(piece)
    return events + detector.finish()


def test_an_update_with_the_same_networks_loses_nothing(
    make_network: MakeNetwork, slt: Voiceprint, verifier: Verifier, scene: Int16
) -> None:
    pieces = np.array_split(scene, 300)
    network = make_network("okay_nabu")
    undisturbed = heard(Detector([network], verifier), pieces, lambda _: None)
    assert len(undisturbed) == 7
    network.reset()
    detector = Detector([network], verifier)
    found = heard(detector, pieces, lambda _: detector.update([network], verifier.with_people([slt])))
    assert found == undisturbed


def test_people_and_mode_change_in_mid_stream(
    make_network: MakeNetwork, slt: Voiceprint, verifier: Verifier, own: Int16
) -> None:
    network = make_network("okay_nabu")
    detector = Detector([network], verifier)
    states = [([slt], Policy()), ([], Policy()), ([], Policy(mode="label")), ([slt], Policy(mode="prefer"))]
    found = heard(
        detector,
        [own] * len(states),
        lambda n: detector.update([network], verifier.with_people(states[n][0]), states[n][1]),
    )
    assert [(event.type, event.reason) for event in found] == [
        ("detection", "known_voice"),
        ("rejection", "nobody_enrolled"),
        ("detection", "nobody_enrolled:label"),
        ("detection", "known_voice"),
    ]


def test_a_wake_word_that_comes_later_counts_from_the_start_of_the_stream(
    make_network: MakeNetwork, takes: Takes
) -> None:
    alexa = read_audio(takes("slt", "alexa", "test")[0])
    silence = np.zeros(16_000 * 2 + 77, np.int16)
    nobody = Verifier([])
    both = [make_network("okay_nabu"), make_network("alexa")]
    (expected,) = heard(Detector(both, nobody), [silence, silence, alexa], lambda _: None)
    networks = [make_network("okay_nabu"), make_network("alexa")]
    detector = Detector(networks[:1], nobody)
    later = {1: networks}
    (found,) = heard(
        detector, [silence, silence, alexa], lambda n: detector.update(later.get(n, networks[: 1 + n // 2]), nobody)
    )
    assert abs(found.sample - expected.sample) <= 3 * 160  # its strides may begin at another frame
    assert found.keyword == "alexa"

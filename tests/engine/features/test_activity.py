"""The activity gate: what it leaves out, and that nothing is lost by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from conftest import MakeNetwork, Read, Takes, cut, cut_points
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16
from earmark.engine.detector import PUSH_SAMPLES, REST_SAMPLES, Detector
from earmark.engine.event import Event
from earmark.engine.features.activity import AFTER_HOPS, BEFORE_HOPS, CUT_HOPS, TILE_HOPS, ActivityGate, Span
from earmark.engine.features.frontend import HOP_SAMPLES, RING_SAMPLES
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Verifier

SECOND_HOPS = RATE_HZ // HOP_SAMPLES
FLOOR_HOPS = 500  # five seconds


def room(seconds: float, level_dbfs: float = -65, seed: int = 0) -> Int16:
    """White noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, FULL_SCALE * 10 ** (level_dbfs / 20), int(seconds * RATE_HZ))
    samples: Int16 = np.rint(noise).astype(np.int16)
    return samples


def tone(audio: Int16, start_s: float, seconds: float, level_dbfs: float = -30) -> Int16:
    """The audio with a tone of 1 kHz in it."""
    loud: Int16 = audio.copy()
    start, count = int(start_s * RATE_HZ), int(seconds * RATE_HZ)
    phase = 2 * np.pi * np.arange(count) * 1000 / RATE_HZ
    loud[start : start + count] += np.rint(np.sin(phase) * FULL_SCALE * 10 ** (level_dbfs / 20)).astype(np.int16)
    return loud


def steady(seconds: float, level: int) -> Int16:
    """Every tile of it has exactly this level, an even number: it is a square wave of 2 kHz."""
    wave: Int16 = np.tile(np.repeat(np.array([level, -level], np.int16) // 2, 4), int(seconds * RATE_HZ) // 8)
    return wave


def spans(pieces: Iterable[Int16], gate: ActivityGate | None = None) -> list[Span]:
    """What the gate gives, joined where one begins at the end of the last."""
    gate = gate or ActivityGate()
    joined: list[Span] = []
    for piece in pieces:
        for begin, end in gate.push(piece):
            if joined and joined[-1][1] == begin:
                begin = joined.pop()[0]
            joined.append((begin, end))
    return joined


def seconds_of(audio: Int16) -> list[Int16]:
    return cut(audio, list(range(RATE_HZ, len(audio), RATE_HZ)))


@pytest.mark.parametrize("level_dbfs", [-90, -80, -65, -58])
def test_steady_noise_is_heard_for_five_seconds_only(level_dbfs: float) -> None:
    assert spans(seconds_of(room(600, level_dbfs))) == [(0, FLOOR_HOPS)]


def test_digital_silence_is_quiet() -> None:
    assert spans(seconds_of(np.zeros(20 * RATE_HZ, np.int16))) == [(0, FLOOR_HOPS)]


def test_an_offset_is_no_sound() -> None:
    assert spans(seconds_of(room(20) + np.int16(3000))) == [(0, FLOOR_HOPS)]


def test_louder_noise_than_a_quiet_room_is_always_heard() -> None:
    assert spans(seconds_of(room(20, -50))) == [(0, 20 * SECOND_HOPS)]


def test_around_a_sound_everything_is_heard_in_step_with_the_networks() -> None:
    first, second = spans(seconds_of(tone(room(30), 12.03, 0.05)))
    assert first == (0, FLOOR_HOPS)
    assert 1200 - BEFORE_HOPS - CUT_HOPS < second[0] <= 1200 - BEFORE_HOPS
    assert (second[0] - first[1]) % CUT_HOPS == 0
    assert second[1] == 1200 + TILE_HOPS + AFTER_HOPS


def test_a_sound_is_heard_from_2_4_s_before_it_to_2_s_after_it() -> None:
    """The tile of 100 ms that it is in begins with hop 1200; 12 hops at once are left out."""
    assert spans(seconds_of(tone(room(30), 12.03, 0.05))) == [(0, 500), (500 + 12 * 38, 1200 + 10 + 200)]


@pytest.mark.parametrize(
    ("shows", "before", "then", "loud"),
    [
        ("2 dB above the quietest", 20, 26, True),
        ("less than a quarter above it", 20, 24, False),
        ("louder than a quiet room ever is", 46, 52, True),
        ("as loud as the loudest quiet room", 46, 50, False),
        ("the last bit flickers", 0, 2, False),
        ("two bits do not", 0, 4, True),
    ],
)
def test_what_is_loud(shows: str, before: int, then: int, loud: bool) -> None:
    found = spans(seconds_of(np.concatenate([steady(20, before), steady(1, then), steady(9, before)])))
    assert found == ([(0, 500), (1760, 2300)] if loud else [(0, 500)]), shows


def test_steady_noise_that_has_become_louder_is_a_sound_for_five_seconds() -> None:
    """So long the quietest tile of before counts; and two seconds behind the last of them are heard."""
    assert spans(seconds_of(np.concatenate([steady(20, 20), steady(20, 30)]))) == [(0, 500), (1760, 2500 + 200)]


def test_two_sounds_close_together_are_one_stretch() -> None:
    audio = tone(tone(room(30), 10, 0.1), 13.4, 0.1)
    assert spans(seconds_of(audio))[1][1] == 1340 + TILE_HOPS + AFTER_HOPS


def test_a_quiet_word_right_after_loud_noise_ends_is_heard() -> None:
    """The floor falls with the noise, at once."""
    audio = np.concatenate([room(20, -58), room(10, -80, seed=1)])
    found = spans(seconds_of(tone(audio, 20.4, 0.2, -62)))
    assert any(begin < 2040 and end >= 2060 for begin, end in found), found


def test_switched_off_everything_is_heard() -> None:
    gate = ActivityGate()
    gate.enabled = False
    assert spans(seconds_of(room(20)), gate) == [(0, 20 * SECOND_HOPS)]


def test_what_is_heard_again_is_still_in_the_ring() -> None:
    """Also where a whole second is pushed and the sound is in its last tile."""
    for start_s in np.arange(12, 13.2, 0.1):
        gate = ActivityGate()
        pushed = 0
        for piece in cut(tone(room(20), start_s, 0.1), list(range(PUSH_SAMPLES, 20 * RATE_HZ, PUSH_SAMPLES))):
            pushed += len(piece)
            assert all(begin * HOP_SAMPLES >= pushed - RING_SAMPLES for begin, _ in gate.push(piece))


@given(data=st.data())
@settings(max_examples=40)
def test_any_cut_hears_the_same(data: st.DataObject) -> None:
    audio = tone(tone(room(24), 9.97, 0.2), 17.5, 0.03)
    pieces = [part for piece in cut(audio, data.draw(cut_points(len(audio)))) for part in seconds_of(piece)]
    assert spans(pieces) == spans(seconds_of(audio))


# --- in the detector


def pushed(detector: Detector, pieces: Iterable[Int16]) -> list[Event]:
    detector.reset()
    return [event for piece in pieces for event in detector.push(piece)] + detector.finish()


@pytest.fixture(scope="module")
def words_in_quiet(takes: Takes, read: Read) -> Int16:
    """Two words, each after enough quiet for the gate to close, in half a minute of a quiet room."""
    audio = room(32).astype(np.int32)
    for start_s, voice in ((11.234, "slt"), (24.007, "rms")):
        word = read(takes(voice, "okay_nabu", "test")[0]) // 4
        audio[int(start_s * RATE_HZ) :][: len(word)] += word
    return audio.astype(np.int16)


def test_the_detector_says_the_same_with_the_gate_and_without(
    make_network: MakeNetwork, words_in_quiet: Int16
) -> None:
    """Scores within what another stretch of the noise before the word makes of them."""
    network = make_network("okay_nabu")
    gated, plain = (
        pushed(Detector([network], Verifier([]), Policy(mode="label", skip_quiet=on)), [words_in_quiet])
        for on in (True, False)
    )
    assert len(plain) == 2
    apart = [abs(one.sample - other.sample) for one, other in zip(gated, plain)]
    assert len(gated) == 2
    assert max(apart) <= 3 * HOP_SAMPLES, "a peak of two probabilities may be either"
    assert [event.keyword_score for event in gated] == pytest.approx([e.keyword_score for e in plain], abs=0.03)


@given(data=st.data())
@settings(max_examples=8)
def test_any_cut_gives_the_same_events_where_the_gate_closes(
    make_network: MakeNetwork, words_in_quiet: Int16, data: st.DataObject
) -> None:
    detector = Detector([make_network("okay_nabu"), make_network("alexa")], Verifier([]), "label")
    whole = pushed(detector, [words_in_quiet])
    assert len(whole) == 2
    assert pushed(detector, cut(words_in_quiet, data.draw(cut_points(len(words_in_quiet))))) == whole
    assert pushed(detector, cut(words_in_quiet, list(range(321, len(words_in_quiet), 321)))) == whole


def test_small_pieces_wait_for_a_whole_tile_and_it_opens_no_later(
    make_network: MakeNetwork, words_in_quiet: Int16, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    push = ActivityGate.push

    def counted(gate: ActivityGate, samples: Int16) -> list[Span]:
        looks.append(len(samples))
        return push(gate, samples)

    def opened() -> list[int]:
        detector = Detector([make_network("okay_nabu")], Verifier([]), "label")
        looks.clear()
        rested, found = False, []
        for at in range(0, len(words_in_quiet), 160):
            detector.push(words_in_quiet[at : at + 160])
            rests = detector.patience_samples == REST_SAMPLES
            found += [at] if rested and not rests else []
            rested = rests
        return found

    monkeypatch.setattr(ActivityGate, "push", counted)
    waiting, pieces = opened(), len(looks)
    assert len(waiting) >= 2
    monkeypatch.setattr(Detector, "_undecided_samples", lambda _: 0)
    assert opened() == waiting
    assert pieces < 0.15 * len(looks)


def test_what_waits_is_heard_by_the_wake_words_that_there_were(
    make_network: MakeNetwork, words_in_quiet: Int16, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector([make_network("okay_nabu")], Verifier([]), "label")
    detector.push(words_in_quiet[:RATE_HZ])
    detector.push(words_in_quiet[RATE_HZ : RATE_HZ + 160])
    heard: list[int] = []
    push = KeywordNetwork.push

    def counted(network: KeywordNetwork, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        heard.append(len(frames))
        return push(network, frames)

    monkeypatch.setattr(KeywordNetwork, "push", counted)
    detector.update([make_network("alexa")], Verifier([]), "label")
    assert heard == [1]


def test_switching_it_in_mid_stream_loses_nothing(make_network: MakeNetwork, words_in_quiet: Int16) -> None:
    networks, verifier, policy = [make_network("okay_nabu")], Verifier([]), Policy(mode="label")
    detector = Detector(networks, verifier, policy)
    events = []
    for second, piece in enumerate(seconds_of(words_in_quiet)):
        detector.update(networks, verifier, replace(policy, skip_quiet=second // 3 % 2 == 0))
        events += detector.push(piece)
    assert len(events) == 2
    assert detector.samples == len(words_in_quiet)


@settings(max_examples=30)
@example(starts=[5.3], points=[], first=RATE_HZ // 2)  # the hearing would end within the piece that the tone is in
@given(
    starts=st.lists(st.floats(0, 20), max_size=4),
    points=cut_points(22 * RATE_HZ, 12),
    first=st.integers(1, RATE_HZ),
)
def test_when_something_was_heard_is_the_same_for_any_cut(starts: list[float], points: list[int], first: int) -> None:
    """Hop by hop, it is the push in which a span first covers the hop."""
    audio = room(22)
    for start_s in starts:
        audio = tone(audio, start_s, 0.3)
    hops = len(audio) // HOP_SAMPLES
    gate, at = ActivityGate(), {}
    for number, piece in enumerate(
        cut(audio[: hops * HOP_SAMPLES], list(range(HOP_SAMPLES, hops * HOP_SAMPLES, HOP_SAMPLES)))
    ):
        for begin, end in gate.push(piece):
            at.update(dict.fromkeys(range(begin + 1, end + 1), (number + 1) * HOP_SAMPLES))
    gate = ActivityGate()
    for piece in cut(audio, sorted({*points, *range(first, len(audio), RATE_HZ)})):
        for begin, end in gate.push(piece):
            assert [gate.heard_at(hop * HOP_SAMPLES) for hop in range(begin + 1, end + 1)] == [
                at[hop] for hop in range(begin + 1, end + 1)
            ]

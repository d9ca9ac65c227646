"""The whole detector: the same events however the audio arrives."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from conftest import MakeNetwork, Read, Takes, cut, cut_points, without_its_offset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from earmark.engine import detector as detector_module
from earmark.engine.audio.files import FileSource
from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Block, Int16
from earmark.engine.audio.sources import ArraySource, Source, StdinSource
from earmark.engine.detector import Detector
from earmark.engine.event import Event
from earmark.engine.features.frontend import HOP_SAMPLES, Frontend, frame_end
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.store import Voiceprint
from earmark.engine.settings.policy import Mode
from earmark.engine.verifier import Verifier

STRIDE_SAMPLES = 480  # a network of the package speaks every 30 ms


@pytest.fixture(scope="module")
def verifier(slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead) -> Verifier:
    return Verifier([slt], speaker, head)


@pytest.fixture(scope="module")
def okay_nabu(make_network: MakeNetwork) -> KeywordNetwork:
    return make_network("okay_nabu")


@pytest.fixture(scope="module")
def detector(okay_nabu: KeywordNetwork, verifier: Verifier) -> Detector:
    return Detector([okay_nabu], verifier, "only")


@pytest.fixture(scope="module")
def expected(detector: Detector, scene: Int16) -> list[Event]:
    """The events of the scene, pushed as a whole."""
    return pushed(detector, [scene])


def pushed(detector: Detector, pieces: Iterable[Int16]) -> list[Event]:
    detector.reset()
    return [event for piece in pieces for event in detector.push(piece)] + detector.finish()


def run(detector: Detector, source: Source) -> list[Event]:
    detector.reset()
    with source:
        return list(detector.run(source))


def test_the_delegate_changes_no_event_but_in_the_last_digits_of_scores(
    okay_nabu: KeywordNetwork, slt: Voiceprint, head: SpeakerHead, scene: Int16, expected: list[Event]
) -> None:
    """The expected ones have it, under LiteRT."""
    plain = pushed(Detector([okay_nabu], Verifier([slt], SpeakerNetwork(), head), "only"), [scene])
    for found, wanted in zip(plain, expected):
        assert found.speaker_score == pytest.approx(wanted.speaker_score, abs=0.01)
        assert found.embedding is not None
        assert wanted.embedding is not None
        assert found.embedding @ wanted.embedding >= 0.9995
    assert [dataclasses.replace(event, speaker_score=0.0) for event in plain] == [
        dataclasses.replace(event, speaker_score=0.0) for event in expected
    ]


class OddPipe(io.BytesIO):
    """A pipe that gives other amounts than it is asked for, odd ones too: a sample can come in two halves."""

    def __init__(self, content: bytes, sizes: Sequence[int]) -> None:
        super().__init__(content)
        self._sizes, self._reads = sizes, 0

    def read1(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        return super().read1(min(self._sizes[self._reads % len(self._sizes)], size or 0))


def test_the_scenes_events_are_those_of_its_labels(expected: list[Event], audio_dir: Path) -> None:
    """Every wake word once, within 0.7 s of its end; slt by name, the others as strangers."""
    utterances = [u for u in json.loads((audio_dir / "scene.json").read_text()) if u["keyword"]]
    assert len(expected) == len(utterances) == 7
    for event, utterance in zip(expected, utterances):
        known = utterance["voice"] == "slt"
        assert -300 <= 1000 * event.sample / RATE_HZ - utterance["end_ms"] <= 700
        assert (event.type, event.person, event.reason) == (
            ("detection", "slt", "known_voice") if known else ("rejection", None, "unknown_voice")
        )


@given(data=st.data())
@settings(max_examples=12)
def test_any_cut_gives_the_same_events(
    detector: Detector, scene: Int16, expected: list[Event], data: st.DataObject
) -> None:
    assert pushed(detector, cut(scene, data.draw(cut_points(len(scene))))) == expected


@given(share=st.floats(-0.1, 0.1), data=st.data())
@settings(max_examples=10)
def test_any_offset_and_any_cut_give_the_same_events(
    detector: Detector, scene: Int16, expected: list[Event], share: float, data: st.DataObject
) -> None:
    """A constant of up to a tenth of full scale, as microphones with a PDM or I2S output have."""
    quieter = (scene // 2).astype(np.int16)  # with an offset of a tenth nothing of it is clipped
    events = pushed(detector, [quieter])
    assert [(event.person, event.keyword) for event in events] == [(each.person, each.keyword) for each in expected]
    shifted = (quieter + round(share * FULL_SCALE)).astype(np.int16)
    assert pushed(detector, cut(shifted, data.draw(cut_points(len(scene))))) == events


@given(first=st.integers(0, 6), offset=st.integers(-700, 300))
@settings(max_examples=8)
def test_sample_by_sample_around_an_event_gives_the_same_events(
    detector: Detector, scene: Int16, expected: list[Event], first: int, offset: int
) -> None:
    start = expected[first].sample + offset
    assert pushed(detector, cut(scene, list(range(start, start + 500)))) == expected


@pytest.mark.parametrize("size", [159, 160, 161, 480, 1280, 15_999, 16_000, 16_001, 48_000, 100_000])
def test_blocks_of_one_size_give_the_same_events(
    detector: Detector, scene: Int16, expected: list[Event], size: int
) -> None:
    assert pushed(detector, cut(scene, list(range(size, len(scene), size)))) == expected


def test_empty_blocks_change_nothing(detector: Detector, scene: Int16, expected: list[Event]) -> None:
    empty = np.zeros(0, np.int16)
    assert pushed(detector, [empty, scene[:100_000], empty, empty, scene[100_000:], empty]) == expected


def test_reset_makes_a_second_run_equal(detector: Detector, scene: Int16, expected: list[Event]) -> None:
    detector.reset()
    detector.push(scene[: expected[0].sample + 4000])  # in the middle of an utterance, inside its refractory time
    assert pushed(detector, [scene]) == expected
    assert pushed(detector, [scene]) == expected


def test_without_reset_positions_go_on(detector: Detector, scene: Int16, expected: list[Event]) -> None:
    events = pushed(detector, [scene, scene])
    assert [event.sample for event in events[:7]] == [event.sample for event in expected]
    assert all(len(scene) < event.sample for event in events[7:])


@pytest.mark.parametrize("sizes", [[3200], [1], [1, 2, 3], [3199, 1, 777], [5]])
def test_a_file_a_pipe_and_an_array_are_the_same_source(
    detector: Detector, audio_dir: Path, scene: Int16, expected: list[Event], sizes: list[int]
) -> None:
    if max(sizes) < 100:  # byte by byte is slow: the first word will do
        scene = scene[: 8 * RATE_HZ]
        expected = pushed(detector, [scene])
    else:
        assert run(detector, FileSource(audio_dir / "scene.flac")) == expected
        assert run(detector, FileSource(audio_dir / "scene.flac", block_frames=777)) == expected
    assert run(detector, ArraySource(scene, 1000)) == expected
    assert run(detector, StdinSource(OddPipe(scene.astype("<i2").tobytes(), sizes))) == expected
    assert expected


def test_the_blocks_of_a_source_join_without_a_gap(audio_dir: Path, scene: Int16) -> None:
    with FileSource(audio_dir / "scene.flac", block_frames=1234) as source:
        blocks: list[Block] = list(source)
    assert [block.first_sample for block in blocks] == list(range(0, len(scene), 1234))
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), scene)


@pytest.mark.parametrize(("up", "down"), [(3, 1), (441, 160)])
def test_a_stereo_file_of_another_rate_gives_the_same_events(
    detector: Detector, scene: Int16, expected: list[Event], tmp_path: Path, up: int, down: int
) -> None:
    """48 and 44.1 kHz. The noise of two resamplings moves a score that is just crossing its cutoff by an inference.

    Measured under both runtimes: times equal or one inference (30 ms) apart; keyword scores within 0.014 where the
    time is equal and 0.051 where it is not, speaker scores within 0.014
    (the speaker network rounds what it hears to int8).
    """
    wide = resample_poly(scene.astype(np.float64), up, down)
    stereo = np.clip(np.rint(np.stack([wide, wide], axis=1)), -32768, 32767).astype(np.int16)
    soundfile.write(tmp_path / "scene.wav", stereo, RATE_HZ * up // down)
    found = run(detector, FileSource(tmp_path / "scene.wav"))
    assert [outcome(event) for event in found] == [outcome(event) for event in expected]
    for event, original in zip(found, expected):
        apart = abs(event.sample - original.sample)
        assert apart in (0, STRIDE_SAMPLES)
        assert event.keyword_score == pytest.approx(original.keyword_score, abs=0.1 if apart else 0.03)
        assert event.speaker_score == pytest.approx(original.speaker_score, abs=0.03)


def outcome(event: Event) -> tuple[str, str, str | None, str]:
    return event.type, event.keyword, event.person, event.reason


@pytest.fixture(scope="module")
def two_words(scene: Int16, takes: Takes, read: Read) -> Int16:
    """Part of the scene with two "alexa" in it."""
    alexa = [read(path) for path in takes("rms", "alexa", "test")[:2]]
    return np.concatenate([scene[: 12 * RATE_HZ], alexa[0], scene[12 * RATE_HZ : 22 * RATE_HZ], alexa[1]])


@pytest.fixture(scope="module")
def two_word_detector(make_network: MakeNetwork, verifier: Verifier) -> Detector:
    return Detector([make_network("okay_nabu"), make_network("alexa")], verifier, "label")


class CountingFrontend(Frontend):
    """A frontend that knows how many samples all of its kind were given."""

    samples = 0

    def push(self, samples: Int16) -> npt.NDArray[np.float32]:
        CountingFrontend.samples += len(samples)
        return super().push(samples)


def test_two_words_in_one_detector_are_the_union_of_each_alone(
    make_network: MakeNetwork, verifier: Verifier, two_words: Int16, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the second word costs no second frontend."""
    alone = {
        word: pushed(Detector([make_network(word)], verifier, "label"), [two_words])
        for word in ("okay_nabu", "alexa")
    }
    monkeypatch.setattr(detector_module, "Frontend", CountingFrontend)
    monkeypatch.setattr(CountingFrontend, "samples", 0)
    both = Detector([make_network("okay_nabu"), make_network("alexa")], verifier, "label")
    union = sorted([*alone["okay_nabu"], *alone["alexa"]], key=lambda event: event.sample)
    assert pushed(both, [two_words]) == union
    assert [len(events) for events in alone.values()] == [3, 2]
    hops = (len(two_words) + detector_module.FLUSH_SAMPLES) // HOP_SAMPLES
    assert CountingFrontend.samples == hops * HOP_SAMPLES


@pytest.mark.parametrize("words", [("okay_nabu", "alexa"), ("alexa", "okay_nabu")])
def test_events_of_two_words_come_in_the_order_of_time(
    make_network: MakeNetwork, takes: Takes, read: Read, words: tuple[str, str]
) -> None:
    """Also where both fall into one piece of a long push; the order of the networks does not count."""
    alexa, okay_nabu = read(takes("awb", "alexa", "test")[0]), read(takes("awb", "okay_nabu", "test")[0])
    start, _ = locate_speech(okay_nabu)
    silence = np.zeros(14_480, np.int16)
    detector = Detector([make_network(word) for word in words], Verifier([]), "label")
    alone = pushed(detector, [silence, alexa])[0].sample
    close = np.concatenate([silence, alexa[: alone - len(silence)], okay_nabu[start:]])
    events = pushed(detector, [close])
    assert [event.keyword for event in events] == ["alexa", "okay_nabu"]
    first, second = ((event.sample - 1) // detector_module.PUSH_SAMPLES for event in events)
    assert first == second, "in one piece, or this shows nothing"
    assert pushed(detector, cut(close, list(range(100, len(close), 100)))) == events


@pytest.fixture(scope="module")
def expected_of_two(two_word_detector: Detector, two_words: Int16) -> list[Event]:
    return pushed(two_word_detector, [two_words])


@given(data=st.data())
@settings(max_examples=8)
def test_any_cut_gives_the_same_events_of_two_words(
    two_word_detector: Detector, two_words: Int16, expected_of_two: list[Event], data: st.DataObject
) -> None:
    assert pushed(two_word_detector, cut(two_words, data.draw(cut_points(len(two_words))))) == expected_of_two


def test_an_event_lies_at_the_end_of_a_frame_already_pushed(detector: Detector, scene: Int16) -> None:
    detector.reset()
    for block in blocks_of(scene, 700):
        for event in detector.push(block.samples):
            assert event.sample <= block.first_sample + len(block.samples)
            assert (event.sample - frame_end(0)) % 160 == 0


def blocks_of(samples: Int16, size: int) -> Iterator[Block]:
    return iter(ArraySource(samples, size))


@pytest.mark.parametrize("mode", ["only", "prefer", "label"])
def test_the_mode_changes_the_type_of_an_event_and_what_its_reason_names(
    okay_nabu: KeywordNetwork, verifier: Verifier, scene: Int16, expected: list[Event], mode: Mode
) -> None:
    found = pushed(Detector([okay_nabu], verifier, mode), [scene])
    assert [dataclasses.replace(event, type="detection", reason=event.reason.split(":")[0]) for event in found] == [
        dataclasses.replace(event, type="detection") for event in expected
    ]
    rejections = sum(event.type == "rejection" for event in found)
    assert rejections == (4 if mode == "only" else 0)


def test_a_word_at_the_very_end_is_heard_by_finish(detector: Detector, scene: Int16, expected: list[Event]) -> None:
    detector.reset()
    cut_short = scene[: expected[0].sample - 10]
    assert detector.push(cut_short) == []
    (event,) = detector.finish()
    assert (event.sample - expected[0].sample, event.person) == (0, "slt")
    assert run(detector, ArraySource(cut_short)) == [event]


@pytest.mark.parametrize("block", [320, 1600, 4000])
def test_what_a_live_source_gathers_changes_no_event_and_makes_none_late(
    detector: Detector, scene: Int16, expected: list[Event], block: int
) -> None:
    """As a source does: at least so much, in its own blocks."""
    detector.reset()
    events: list[Event] = []
    at = pushes = 0
    while at < len(scene):
        end = at + max(block, -(-detector.patience_samples // block) * block)
        found = detector.push(scene[at:end])
        assert all(end - event.decided_sample < detector_module.LATE_SAMPLES + block for event in found)
        events, at, pushes = events + found, end, pushes + 1
    assert events + detector.finish() == expected
    assert pushes < 0.6 * len(scene) / min(block, 1600)


@pytest.mark.parametrize(("block", "share"), [(160, 0.15), (700, 0.7), (1600, 1.0)])
def test_small_pieces_wait_together_and_make_no_event_later(
    detector: Detector, scene: Int16, expected: list[Event], block: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same push as without waiting, and small ones are heard in far fewer pieces."""
    heard: list[int] = []
    push = Frontend.push

    def counted(frontend: Frontend, samples: Int16) -> npt.NDArray[np.float32]:
        heard.append(len(samples))
        return push(frontend, samples)

    def run_in_blocks() -> list[tuple[int, Event]]:
        detector.reset()
        heard.clear()
        again = np.zeros(block, np.int16)  # of a caller who has one array for all pieces
        found = []
        for at in range(0, len(scene) - block, block):
            again[:] = scene[at : at + block]
            found += [(at, event) for event in detector.push(again)]
            assert detector.samples == at + block
        return found

    monkeypatch.setattr(Frontend, "push", counted)
    waiting, pieces = run_in_blocks(), len(heard)
    with pytest.MonkeyPatch.context() as at_once:
        at_once.setattr(Detector, "_undecided_samples", lambda _: 0)
        assert run_in_blocks() == waiting
    assert [event for _, event in waiting] == expected
    assert pieces <= share * len(heard)


def test_what_waits_is_there_and_is_heard_by_what_was_true_when_it_came(
    detector: Detector, scene: Int16, expected: list[Event], make_network: MakeNetwork
) -> None:
    detector.reset()
    detector.push(scene[:RATE_HZ])
    for at in range(RATE_HZ, 2 * RATE_HZ, 160):
        detector.push(scene[at : at + 160])
    np.testing.assert_array_equal(
        detector.audio(RATE_HZ, 2 * RATE_HZ), without_its_offset(scene)[RATE_HZ : 2 * RATE_HZ]
    )

    at = expected[0].sample + 160
    deaf = Detector([make_network("okay_nabu")], Verifier([]), "label")
    deaf.push(scene[: at - 1600])
    found = [event for begin in range(at - 1600, at, 160) for event in deaf.push(scene[begin : begin + 160])]
    deaf.update([], Verifier([]))
    assert [event.sample for event in found] == [expected[0].sample]
    assert deaf.push(scene[at:]) + deaf.finish() == []


def test_in_a_quiet_room_half_a_second_is_gathered(detector: Detector) -> None:
    detector.reset()
    assert detector.patience_samples == 0 or detector.patience_samples < detector_module.REST_SAMPLES
    for _ in range(8):
        detector.push(np.zeros(RATE_HZ, np.int16))
    assert detector.patience_samples == detector_module.REST_SAMPLES
    noise = np.random.default_rng(0).integers(-3000, 3000, RATE_HZ).astype(np.int16)
    detector.push(noise[:1600])
    assert detector.patience_samples == 0, "the first sound is held back until its offset is known"
    detector.push(noise[1600:])
    assert detector.patience_samples < detector_module.REST_SAMPLES

"""A wake word of one's own, from takes: learned here, heard by the detector like any other, by its owner alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Read, Takes, cut, without_its_offset

from earmark.engine.audio.samples import Int16
from earmark.engine.detector import Detector
from earmark.engine.errors import EnrolmentRefused
from earmark.engine.event import Event
from earmark.engine.features.speech import Analysis
from earmark.engine.household import load_household
from earmark.engine.listener import Listener
from earmark.engine.networks.card import load_card
from earmark.engine.people import codec
from earmark.engine.people.loading import phrases_of
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.phrases.model import scores
from earmark.engine.settings.policy import Mode
from earmark.engine.settings.reading import Loaded, load
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller
from earmark.enroll.learning.retrain import remade
from earmark.enroll.phrase.learn import PhraseTools, learn_phrase
from earmark.enroll.phrase.own import OwnPhrase
from earmark.enroll.takes.hearing import AcceptedTake
from earmark.enroll.takes.quality import Fault, Take

PHRASE = "phrase:okay_nabu"


def who(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.type, event.person) for event in events]


def test_its_owner_wakes_it_and_nobody_else(
    slt_phrase: Voiceprint, takes: Takes, scene: Int16, enroller: Enroller
) -> None:
    detector = Detector([], Verifier([slt_phrase], enroller.speaker, enroller.head))
    for path in takes("slt", "okay_nabu", "test")[:2]:
        assert who(list(detector.run(path))) == [("detection", "slt")]
    heard = list(detector.run(scene))  # 3 of its own, 4 of other voices, and other sentences of all of them
    assert [event.time_ms for event in heard if event.type == "detection"] == pytest.approx(
        [6_200, 25_800, 44_500], abs=250
    )
    assert {event.person for event in heard if event.type != "detection"} <= {None}
    assert {event.keyword for event in heard} == {PHRASE}


def test_other_words_of_the_owner_do_not_wake_it(slt_phrase: Voiceprint, takes: Takes, enroller: Enroller) -> None:
    detector = Detector([], Verifier([slt_phrase], enroller.speaker, enroller.head))
    words = [
        *takes("slt", "alexa", "test"),
        *takes("slt", "hey_jarvis", "test"),
        *takes("slt", "hey_mycroft", "test"),
    ]
    assert [event for path in words for event in detector.run(path)] == []


@pytest.mark.parametrize("mode", ["prefer", "label"])
def test_in_no_mode_does_a_stranger_wake_a_phrase(
    slt_phrase: Voiceprint, takes: Takes, enroller: Enroller, mode: Mode
) -> None:
    detector = Detector([], Verifier([slt_phrase], enroller.speaker, enroller.head), mode)
    strangers = [event for path in takes("rms", "okay_nabu", "test") for event in detector.run(path)]
    assert {event.type for event in strangers} == {"rejection"}


def test_any_cut_of_a_stream_gives_the_same_events(
    slt_phrase: Voiceprint, takes: Takes, read: Read, enroller: Enroller, rng: np.random.Generator
) -> None:
    speech = np.concatenate([read(path) for path in takes("slt", "okay_nabu", "test")[:2]])
    stream = np.concatenate([rng.normal(0, 8, 130_000).astype(np.int16), speech])  # some of which the gate leaves out
    detector = Detector(["okay_nabu"], Verifier([slt_phrase], enroller.speaker, enroller.head))

    def events(points: list[int]) -> list[Event]:
        detector.reset()
        return [e for piece in cut(stream, points) for e in detector.push(piece)] + detector.finish()

    whole = events([])
    assert {event.keyword for event in whole} == {PHRASE, "okay_nabu"}
    for size in (1_111, 2_560, 40_000):
        assert events(list(range(size, len(stream), size))) == whole


def test_the_same_takes_and_seed_give_the_same_bytes(takes: Takes, read: Read, phrase_tools: PhraseTools) -> None:
    said = [Analysis(without_its_offset(read(path))) for path in takes("slt", "okay_nabu", "enroll")[:2]]
    first, again = (learn_phrase("Okay, Nabu", said, phrase_tools) for _ in range(2))
    assert first.report == again.report
    assert np.array_equal(first.model.weights, again.model.weights)
    assert all(np.array_equal(*pair) for pair in zip(first.model.takes, again.model.takes))
    other = learn_phrase("Okay, Nabu", said, phrase_tools, seed=1)
    assert not np.array_equal(first.model.weights, other.model.weights)


def test_what_the_owner_says_besides_raises_the_threshold(
    takes: Takes, read: Read, phrase_tools: PhraseTools
) -> None:
    said = [Analysis(read(path)) for path in takes("slt", "okay_nabu", "enroll")[:2]]
    like_it = read(takes("slt", "okay_nabu", "enroll")[2])
    without = learn_phrase("Okay, Nabu", said, phrase_tools)
    against = learn_phrase("Okay, Nabu", said, phrase_tools, talk=[like_it])
    assert against.model.threshold > without.model.threshold
    heard = [float(scores(one.model, phrase_tools.hear(like_it)).max()) for one in (without, against)]
    assert heard[1] < heard[0]


def test_it_is_stored_and_loaded_with_the_voice(slt_phrase: Voiceprint, tmp_path: Path) -> None:
    store = PersonStore(tmp_path / "people")
    store.save(slt_phrase)
    again = store.load("slt", PHRASE)
    assert codec.encode(again) == codec.encode(slt_phrase)
    assert again.phrase is not None
    assert slt_phrase.phrase is not None
    assert again.binding.keyword == load_card("phrase_bank").sha256  # with another whitening it would mean nothing
    assert (again.phrase.text, again.phrase.threshold) == ("Okay, Nabu", slt_phrase.phrase.threshold)


def household_of(people: Path) -> Loaded:
    return load(flags={"people.store": str(people)})


def test_a_household_hears_the_phrases_of_its_people_beside_the_published_words(
    slt_phrase: Voiceprint, takes: Takes, read: Read, tmp_path: Path
) -> None:
    people = tmp_path / "people"
    PersonStore(people).save(slt_phrase)
    household = load_household(household_of(people).settings)
    assert [word.name for word in household.words] == ["okay_nabu", PHRASE]
    assert [word.wake_word for word in household.words][1] == "Okay, Nabu"
    assert household.remarks == ()
    speech = read(takes("slt", "okay_nabu", "test")[0])
    asked = {only: Listener(household, only=[only]) for only in ("okay_nabu", PHRASE)}
    for name, listener in asked.items():
        assert {event.keyword for event in [*listener.push(speech), *listener.finish()]} == {name}


def test_one_phrase_of_two_people_is_one_wake_word(slt_phrase: Voiceprint) -> None:
    [manifest] = phrases_of([slt_phrase, replace(slt_phrase, name="ben")])
    assert manifest.name == PHRASE
    assert len(manifest.models) == 2


def test_a_voice_made_anew_keeps_its_phrase(slt_phrase: Voiceprint, enroller: Enroller, tmp_path: Path) -> None:
    store = PersonStore(tmp_path / "people")
    store.save(slt_phrase)

    def no_network(keyword: str) -> None:
        raise AssertionError(f"{keyword} has no network of its own")

    new = remade(store, "slt", PHRASE, enroller, no_network).voiceprint  # type: ignore[arg-type]
    assert (new.keyword, new.binding, new.loose_share) == (PHRASE, slt_phrase.binding, 1.0)
    assert new.phrase is not None
    assert slt_phrase.phrase is not None
    assert np.array_equal(new.phrase.weights, slt_phrase.phrase.weights)


def accepted(path: Path, read: Read) -> AcceptedTake:
    return AcceptedTake(Take(path.name, Analysis(read(path)), None), np.zeros(192, np.float32), 20.0)


def test_takes_of_something_else_are_left_out_and_named(takes: Takes, read: Read, phrase_tools: PhraseTools) -> None:
    own = OwnPhrase("okay nabu", phrase_tools)
    good = [accepted(path, read) for path in takes("slt", "okay_nabu", "enroll")[:3]]
    other = accepted(takes("slt", "alexa", "enroll")[0], read)
    faults: list[Fault] = []
    assert own.of_the_phrase("slt", [*good[:1], other, *good[1:]], 3, faults) == good
    assert [(fault.file, fault.reason) for fault in faults] == [(other.take.file, "another_phrase")]
    assert "the same words" in faults[0].told('"okay nabu"')
    with pytest.raises(EnrolmentRefused, match="2 of 3 takes are of one phrase, at least 3 must be"):
        own.of_the_phrase("slt", [*good[:2], other], 3, [])


def test_at_the_microphone_a_take_is_compared_with_the_earlier_ones(
    takes: Takes, read: Read, phrase_tools: PhraseTools
) -> None:
    own = OwnPhrase("okay nabu", phrase_tools)
    first, second = (accepted(path, read) for path in takes("slt", "okay_nabu", "enroll")[:2])
    other = accepted(takes("slt", "alexa", "enroll")[0], read)
    assert own.is_another(first, []) is None
    assert own.is_another(second, [first]) is None
    fault = own.is_another(other, [first])
    assert fault is not None
    assert fault.reason == "another_phrase"

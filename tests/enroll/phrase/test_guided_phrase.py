"""A phrase of one's own in the conversation at the microphone."""

from __future__ import annotations

from dataclasses import replace

from conftest import Read, Takes
from guided_person import Person, guide

from earmark.enroll.enrolment import Enroller
from earmark.enroll.guided.greeting import greet
from earmark.enroll.phrase.learn import PhraseTools
from earmark.enroll.phrase.own import OwnPhrase


def test_five_takes_at_the_microphone_make_a_phrase_and_another_word_is_asked_for_again(
    enroller: Enroller, phrase_tools: PhraseTools, takes: Takes, read: Read
) -> None:
    said = [read(path) for path in takes("slt", "okay_nabu", "enroll")]
    other = read(takes("slt", "alexa", "enroll")[0])
    person = Person([said[0], other, *said[1:]], [said[0]], ["", "", "n"])
    own = OwnPhrase("okay nabu", phrase_tools)
    greet(person, "anna", [None], is_kept=False, own=own)
    session = replace(guide(person, enroller, None), own=own)
    voiceprint = session.run().voiceprint
    assert voiceprint.keyword == "phrase:okay_nabu"
    assert voiceprint.phrase is not None
    assert len(voiceprint.phrase.takes) == 5
    assert 'The wake word is "okay nabu"' in person.text
    assert 'That was not "okay nabu" as before.' in person.text

"""An event as a line for people, and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from earmark.engine.event import Command, Event

HEARD = Event("detection", "okay_nabu", 20_000, 0.98765, "anna", 0.51234, "known_voice")


def test_a_line_says_when_what_who_and_why() -> None:
    assert HEARD.line("mic", as_json=False) == "+     1.25 s  okay_nabu 0.99  anna  voice 0.51  (known_voice)"
    rejection = replace(HEARD, type="rejection", person=None, reason="unknown_voice")
    assert rejection.line("mic", as_json=False) == (
        "-     1.25 s  okay_nabu 0.99  nobody known  voice 0.51  (unknown_voice)"
    )
    assert replace(rejection, type="near_miss").line("mic", as_json=False).startswith("- ")


@pytest.mark.parametrize("setting", ["", ":label", ":prefer", ":sensitivity"])
def test_where_nobody_is_enrolled_the_line_says_so_whatever_setting_decided(setting: str) -> None:
    """`nobody known` would mean that there is somebody, and that it was another."""
    event = replace(HEARD, person=None, speaker_score=None, reason=f"nobody_enrolled{setting}")
    assert event.line(None, as_json=False) == (
        f"+     1.25 s  okay_nabu 0.99  nobody is enrolled  (nobody_enrolled{setting})"
    )


@pytest.mark.parametrize(
    "reason", ["unknown_voice", "unknown_voice:label", "no_speech:prefer", "speaker_failed:accept"]
)
def test_where_somebody_is_enrolled_and_it_was_not_heard_who_it_was_nobody_known_is_said(reason: str) -> None:
    assert "  nobody known  " in replace(HEARD, person=None, speaker_score=None, reason=reason).line(None, False)


def test_json_has_milliseconds_and_four_digits() -> None:
    assert json.loads(HEARD.line("mic", as_json=True)) == {
        "type": "detection",
        "file": "mic",
        "keyword": "okay_nabu",
        "time_ms": 1250,
        "keyword_score": 0.9877,
        "person": "anna",
        "speaker_score": 0.5123,
        "reason": "known_voice",
    }
    nobody = json.loads(replace(HEARD, person=None, speaker_score=None).line(None, as_json=True))
    assert (nobody["file"], nobody["person"], nobody["speaker_score"]) == (None, None, None)
    assert '"Zoë"' in replace(HEARD, person="Zoë").line(None, as_json=True), "as it is written"


def test_a_confirmation_says_whom_the_wake_word_was_taken_for_and_a_command_alone_has_no_score() -> None:
    event = replace(HEARD, type="confirmation", reason="changed", command=Command("ben", 1234, 5678))
    assert event.line("mic", as_json=False) == "=     1.25 s  okay_nabu 0.99  anna  voice 0.51  (changed)"
    assert list(event.to_json("mic").items())[-3:] == [("woken_by", "ben"), ("speech_ms", 1234), ("end_ms", 5678)]
    alone = replace(event, keyword="free-speech", keyword_score=0.0, reason="known_voice")
    assert alone.line("mic", as_json=False) == "=     1.25 s  free-speech  anna  voice 0.51  (known_voice)"
    assert not {"woken_by", "speech_ms", "end_ms"} & set(HEARD.to_json("mic"))

"""A command whose wake word ran elsewhere: heard as it comes, and the same answer for any cut of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import Read

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import ModelError
from earmark.engine.event import Event
from earmark.engine.people.store import Voiceprint
from earmark.engine.settings.policy import Policy
from earmark.engine.sinks.wyoming.spoken import LISTENED_SAMPLES, Spoken
from earmark.engine.verifier import Heard, Verifier

CHUNK = 1024


class Counting(Verifier):
    """Counts the pieces that it hears."""

    count = 0
    broken = False

    def hear(self, crop: Int16, people: Iterable[Voiceprint]) -> Heard:
        self.count += 1
        if self.broken:
            raise ModelError("broken")
        return super().hear(crop, people)


@pytest.fixture(scope="module")
def command(read: Read, audio_dir: Path) -> Int16:
    """Two sentences, and the 0.7 s of quiet after which a satellite ends it."""
    rng = np.random.default_rng(1)
    parts = [read(audio_dir / f"slt_{what}_other_1.flac") for what in ("set_a_timer_for", "please_turn_the_lights")]
    samples = np.concatenate([*parts, np.zeros(RATE_HZ * 7 // 10, np.int16)])
    made: Int16 = (samples + rng.integers(-4, 5, len(samples))).astype(np.int16)
    return made


def said(spoken: Spoken, samples: Int16, verifier: Verifier, steps: Iterable[int]) -> None:
    start = 0
    for step in steps:
        spoken.push(samples[start : start + step], verifier)
        start += step
        if start >= len(samples):
            return


def whose(samples: Int16, verifier: Verifier, steps: Iterable[int]) -> Event:
    spoken = Spoken()
    said(spoken, samples, verifier, steps)
    return spoken.whose(verifier, Policy())[0]


def test_all_is_heard_while_it_comes_and_nothing_is_left_at_the_end(slt: Voiceprint, command: Int16) -> None:
    verifier, spoken = Counting([slt]), Spoken()
    said(spoken, command, verifier, itertools.repeat(CHUNK))
    assert verifier.count == 3
    event, refused = spoken.whose(verifier, Policy())
    assert verifier.count == 3
    assert (event.person, event.reason, refused) == ("slt", "known_voice", False)


def test_any_cut_gives_the_same_answer_to_the_last_bit(slt: Voiceprint, command: Int16) -> None:
    verifier = Verifier([slt])
    wanted = whose(command, verifier, [len(command)])
    for steps in (itertools.repeat(CHUNK), itertools.cycle([1, 319, 7000, 320, 40_001])):
        found = whose(command, verifier, steps)
        assert found == wanted
        assert found.speaker_score == wanted.speaker_score


def test_what_is_too_long_is_cut_at_the_same_sample(slt: Voiceprint, command: Int16) -> None:
    verifier = Verifier([slt])
    long = np.tile(command, 3)[: LISTENED_SAMPLES + 5_000]
    found = [whose(long, verifier, steps) for steps in ([len(long)], itertools.repeat(CHUNK))]
    assert found[0] == found[1]
    assert found[0].sample == LISTENED_SAMPLES


def test_who_comes_while_it_is_said_is_asked_as_everybody(slt: Voiceprint, command: Int16) -> None:
    """Of a person who is known by telephone alone another form of each piece is heard."""
    nobody, verifier, spoken = Verifier([]), Counting([slt]), Spoken()
    said(spoken, command, nobody, itertools.repeat(CHUNK))
    event, _ = spoken.whose(verifier, Policy())
    assert (event.person, verifier.count) == ("slt", 3)
    again, spoken = Counting([slt]), Spoken()
    said(spoken, command, verifier, itertools.repeat(CHUNK))
    assert spoken.whose(again, Policy())[0] == event
    assert again.count == 3


def test_a_network_that_fails_is_told_at_the_end(slt: Voiceprint, command: Int16) -> None:
    verifier, spoken = Counting([slt]), Spoken()
    verifier.broken = True
    said(spoken, command, verifier, itertools.repeat(CHUNK))
    event, refused = spoken.whose(verifier, Policy())
    assert (event.reason, refused) == ("speaker_failed:cancel", True)

"""Free speech beside the takes: from recordings into a voiceprint of its own, and by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Enrolled, Read
from helpers_store import assert_same, earmark

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import EnrolmentRefused
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people.loading import check_networks, usable_people
from earmark.engine.people.store import FREE_SPEECH, PersonStore, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.free_speech import FEWEST_PIECES, MOST_PIECES, enrol_speech
from earmark.enroll.learning.retrain import remade

pytestmark = pytest.mark.slow

TIMER, LIGHTS = "set_a_timer_for", "please_turn_the_lights"


@pytest.fixture(scope="module")
def talk(read: Read, audio_dir: Path) -> dict[str, Int16]:
    """Voice -> what it says beside the wake word, without what the tests say as commands."""
    made = {}
    for voice in ("slt", "rms"):
        paths = sorted([*audio_dir.glob(f"{voice}_*_other_1.flac"), *audio_dir.glob(f"{voice}_alexa_enroll_*.flac")])
        kept = [path for path in paths if TIMER not in path.name and LIGHTS not in path.name]
        made[voice] = np.concatenate([read(path) for path in kept])
    return made


@pytest.fixture(scope="module")
def speech(enrolled: Enrolled, enroller: Enroller, talk: dict[str, Int16]) -> Voiceprint:
    slt = enrolled("slt", "okay_nabu").voiceprint
    return enrol_speech(enroller, slt, [Recording("talk", talk["slt"])]).voiceprint


def test_it_knows_the_takes_and_the_speech(
    speech: Voiceprint, slt: Voiceprint, speaker: SpeakerNetwork, head: SpeakerHead, read: Read, audio_dir: Path
) -> None:
    pieces = len(speech.takes) - len(slt.takes)
    assert FEWEST_PIECES <= pieces <= MOST_PIECES
    assert (speech.name, speech.keyword, speech.binding.keyword, speech.learned) == ("slt", FREE_SPEECH, "", ())
    assert np.array_equal(speech.takes[: len(slt.takes)], slt.takes)
    assert len(speech.copies) == len(speech.elsewhere) == len(speech.takes)
    assert speech.report["wanted_far"] == slt.report["wanted_far"]
    verifier = Verifier([], speaker, head)
    said = {
        voice: speaker.embed(read(audio_dir / f"{voice}_{LIGHTS}_other_1.flac"))[None]
        for voice in ("slt", "rms", "awb")
    }
    margin = {voice: float(verifier.margin(speech, row)[0]) for voice, row in said.items()}
    before = float(verifier.margin(slt, said["slt"])[0])
    assert margin["slt"] > before + 0.1
    assert max(margin["rms"], margin["awb"]) < -0.15


def test_the_same_speech_gives_the_same_voiceprint(
    speech: Voiceprint, slt: Voiceprint, enroller: Enroller, talk: dict[str, Int16]
) -> None:
    assert_same(enrol_speech(enroller, slt, [Recording("talk", talk["slt"])]).voiceprint, speech)


@pytest.mark.parametrize(
    ("voices", "seconds", "why"),
    [
        (("slt",), 1, "pieces of speech, at least 4 are needed"),
        (("rms",), 60, "sound like somebody else"),
        (("rms", "slt"), 60, "sound like somebody else"),
        ((), 0, "0 pieces of speech"),
    ],
)
def test_too_little_or_somebody_elses_is_refused(
    slt: Voiceprint, enroller: Enroller, talk: dict[str, Int16], voices: tuple[str, ...], seconds: int, why: str
) -> None:
    samples = np.concatenate([*(talk[voice] for voice in voices), np.zeros(RATE_HZ, np.int16)])[: seconds * RATE_HZ]
    with pytest.raises(EnrolmentRefused, match=why) as refused:
        enrol_speech(enroller, slt, [Recording("talk", samples)])
    assert "half a minute" in str(refused.value)


def test_it_is_kept_loaded_retrained_and_erased_as_any_voiceprint(
    speech: Voiceprint, slt: Voiceprint, enroller: Enroller, tmp_path: Path
) -> None:
    store = PersonStore(tmp_path / "people")
    store.save(slt)
    store.save(speech)
    assert store.keywords("slt") == [FREE_SPEECH, "okay_nabu"]
    assert_same(store.load("slt", FREE_SPEECH), speech)
    people, faults = usable_people(store, [], enroller.speaker.card, enroller.head.card)
    assert ([person.keyword for person in people], faults) == ([FREE_SPEECH], [])
    check_networks(people[0], "", enroller.speaker.card, enroller.head.card)

    def none(_: str) -> object:
        raise AssertionError("no keyword network belongs to it")

    again = remade(store, "slt", FREE_SPEECH, enroller, none)  # type: ignore[arg-type]
    assert again.voiceprint.keyword == FREE_SPEECH
    assert len(again.voiceprint.takes) == len(speech.takes)
    store.remove("slt")
    assert list((tmp_path / "people").glob("*slt*")) == []


# --- by the commands


@pytest.fixture(scope="module")
def folder(talk: dict[str, Int16], read: Read, audio_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("talk")
    for voice, samples in talk.items():
        soundfile.write(made / f"{voice}.wav", samples, RATE_HZ)
        command = [
            read(audio_dir / "slt_okay_nabu_test_1.flac"),
            *(read(path) for path in audio_dir.glob(f"{voice}_{LIGHTS}*")),
        ]
        soundfile.write(
            made / f"{voice}_command.wav", np.concatenate([*command, np.zeros(RATE_HZ, np.int16)]), RATE_HZ
        )
    return made


def test_talk_is_added_to_who_is_enrolled_and_tells_whose_a_command_is(slt_store: Path, folder: Path) -> None:
    run = earmark("enroll", "slt", "--talk", folder / "slt.wav", "--store", slt_store, "--json")
    assert [(line["type"], line["keyword"], line["version"]) for line in run.events] == [("enrolled", FREE_SPEECH, 1)]
    assert run.events[0]["pieces"] >= FEWEST_PIECES
    assert [line["keywords"] for line in earmark("people", "list", "--store", slt_store, "--json").events] == [
        [FREE_SPEECH, "okay_nabu"]
    ]
    assert FREE_SPEECH in earmark("people", "show", "slt", "--store", slt_store).out
    earmark("people", "retrain", "slt", "--store", slt_store)
    for voice, reason in (("slt", "confirmed"), ("rms", "denied:cancel")):
        run = earmark(
            "replay", folder / f"{voice}_command.wav", "--confirm", "cancel", "--store", slt_store, "--json"
        )
        found = [(line["reason"], line["woken_by"]) for line in run.events if line["type"] == "confirmation"]
        assert found == [(reason, "slt")], voice
    run = earmark("replay", folder / "slt_command.wav", "--store", slt_store)
    assert "\n= " not in run.out


def test_talk_of_somebody_else_is_refused_and_the_wake_word_stays(slt_store: Path, folder: Path) -> None:
    run = earmark("enroll", "slt", "--talk", folder / "rms.wav", "--store", slt_store, code=3)
    assert "sound like somebody else" in run.err
    run = earmark("enroll", "slt", "--talk", folder / "none.wav", "--store", slt_store, "--json", code=3)
    assert [line["type"] for line in run.events] == ["refused"]
    assert PersonStore(slt_store).keywords("slt") == ["okay_nabu"]


def test_takes_and_talk_in_one_command(folder: Path, audio_dir: Path, tmp_path: Path) -> None:
    takes = sorted(audio_dir.glob("slt_okay_nabu_enroll_*.flac"))
    run = earmark("enroll", "slt", "--from", *takes, "--talk", folder / "slt.wav", "--store", tmp_path / "new")
    assert "free speech" in run.out
    assert "--confirm label" in run.out
    assert PersonStore(tmp_path / "new").keywords("slt") == [FREE_SPEECH, "okay_nabu"]
    assert json.loads(earmark("people", "list", "--store", tmp_path / "new", "--json").out)["name"] == "slt"

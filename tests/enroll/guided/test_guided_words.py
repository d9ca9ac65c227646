"""The guided session in the words of people: real networks and real speech, at a microphone without a clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pytest
from conftest import MakeNetwork, Read, Takes
from guided_person import WEBCAM, YETI, Person, Room, guide, microphone_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.audio.sources import Source
from earmark.engine.errors import DeviceError, EnrolmentRefused, InputError
from earmark.enroll.enrolment import Enroller, Enrolment
from earmark.enroll.guided.kept import KeptSession
from earmark.enroll.guided.listening import Listening, loudest_dbfs, somebody_speaks
from earmark.enroll.guided.microphones import HEARD, MicrophoneOfSession
from earmark.enroll.layout import LEAST_COLUMNS, cells
from earmark.enroll.takes.endpoint import Endpoint

pytestmark = pytest.mark.slow

NUMBERS = re.compile(r"-?\d+ dB|\d\.\d\d|\w_\w|%")
Said = Optional[Int16]
Talk = Callable[..., "tuple[Person, Enrolment | EnrolmentRefused | InputError]"]


@pytest.fixture(scope="module")
def good(takes: Takes, read: Read) -> list[Int16]:
    files = takes("rms", "okay_nabu", "enroll") + takes("rms", "okay_nabu", "test")
    return [read(path) for path in files]


@pytest.fixture(scope="module")
def hello(takes: Takes, read: Read) -> Int16:
    """A few words into the microphone."""
    return read(takes("rms", "okay maybe", "other")[0])


@pytest.fixture
def talk(enroller: Enroller, make_network: MakeNetwork, hello: Int16) -> Talk:
    """A session with a person who says these takes; what was shown, and what came of it."""

    def run(
        said: Sequence[Said], answers: Sequence[str] = ("n",), **options: object
    ) -> tuple[Person, Enrolment | EnrolmentRefused | InputError]:
        found = options.pop("found", (YETI,))
        words = options.pop("words", (hello,))
        named = {key: options.pop(key) for key in ("kept", "name") if key in options}
        person = Person(said, words, answers, **options)  # type: ignore[arg-type]
        try:
            return person, guide(person, enroller, make_network("okay_nabu"), found, **named).run()  # type: ignore[arg-type]
        except (EnrolmentRefused, InputError) as ended:
            return person, ended

    return run


def test_a_greeting_says_what_will_happen_and_what_to_say_and_no_figure_is_shown(
    talk: Talk, good: list[Int16]
) -> None:
    person, enrolment = talk(good[:5])
    assert isinstance(enrolment, Enrolment)
    assert len(enrolment.voiceprint.takes) == 5
    greeting = (
        "Hello! earmark will now learn the voice of anna. That is called enrolling, and takes about three minutes."
    )
    assert person.text.startswith(greeting)
    for text in (
        'The wake word is "Okay Nabu" (say: oh-kay nah-boo): it wakes the machine.',
        "You will say it 5 times",
        "To stop, press Ctrl and C at any time: what was good is kept then",
        'Say a few words into "Yeti Stereo Microphone"',
        "✓ It hears you well.",
        "✓ The room is quiet.",
        "A take is one recording of",
        'Each take counts down by itself: speak when "now" comes, and press nothing.',
        'Take 1 of 5: after "now", say "Okay Nabu" as you usually do.',
        "✓ Take 5 of 5 is good.",
    ):
        assert text in person.text
    assert not NUMBERS.search(person.text)


def test_with_verbose_the_figures_are_shown_too(talk: Talk, good: list[Int16], takes: Takes, read: Read) -> None:
    alexa = read(takes("rms", "alexa", "enroll")[0])
    person, _ = talk([good[0], alexa, *good[1:5]], verbose=True)
    assert re.search(r"It hears you well\. \(-\d+ dBFS at most\)", person.text)
    assert re.search(r"The room is quiet \(-7\d dBFS\)\.", person.text)
    assert re.search(r"Take 1 of 5 is good \(-\d+ dBFS, \d+ dB above the noise, heard with 0\.\d\d\)\.", person.text)
    assert re.search(r"keyword_not_heard: okay_nabu scored 0\.\d\d at best, it fires above 0\.85", person.text)


def test_another_word_another_voice_and_a_loud_one_are_named_in_words(
    talk: Talk, good: list[Int16], takes: Takes, read: Read
) -> None:
    alexa = read(takes("rms", "alexa", "enroll")[0])
    stranger = read(takes("rp_f3", "okay_nabu", "enroll")[0])
    loud = to_int16(to_float(good[6]) * (4 * 32768 / np.abs(good[6].astype(int)).max()))
    person, enrolment = talk([*good[:2], alexa, stranger, loud, *good[2:5]])
    assert isinstance(enrolment, Enrolment)
    assert re.findall(r"✗ ([^.:]+)", person.text) == [
        'That was not "Okay Nabu", or not clearly',
        "That sounded like somebody else",
        "That was too loud for the microphone",
    ]
    assert "If it was anna: say it in your usual voice" in person.text
    assert re.findall(r"Take 3 of 5, once more \((\d) tries left\):", person.text) == ["5", "4", "3"]


def test_where_somebody_else_said_the_first_take_it_is_told_which_goes(
    talk: Talk, good: list[Int16], takes: Takes, read: Read
) -> None:
    person, enrolment = talk([read(takes("rp_f3", "okay_nabu", "enroll")[0]), *good[:6]])
    assert isinstance(enrolment, Enrolment)
    assert "✗ Take 1 is asked for again: it sounded like somebody else." in person.text


def test_whoever_fails_twice_in_the_same_way_gets_a_tip_and_another_each_time(
    talk: Talk, good: list[Int16], takes: Takes, read: Read
) -> None:
    alexa = [read(path) for path in takes("rms", "alexa", "enroll")]
    person, _ = talk([alexa[0], good[0], *alexa[1:3], *good[1:5]])
    tip = "Come to arm's length of the microphone"
    assert person.text.count(tip) == 1
    assert person.text.count('That was not "Okay Nabu"') == 3


def test_whoever_says_another_word_all_the_time_is_told_what_to_try_and_what_is_kept(
    talk: Talk, good: list[Int16], takes: Takes, read: Read, tmp_path: Path
) -> None:
    alexa = [read(path) for path in takes("rms", "alexa", "enroll")]
    kept = KeptSession(tmp_path / "people", "anna", "okay_nabu", {}, tmp_path / "sessions")
    _, refused = talk([good[0], *alexa, alexa[0]], kept=kept)
    assert isinstance(refused, EnrolmentRefused)
    assert [fault.reason for fault in refused.faults] == ["keyword_not_heard"] * 6
    first, *others = str(refused).splitlines()
    assert first == ('anna was not enrolled. What was said did not sound like "Okay Nabu", again and again.')
    assert "      earmark enroll anna --keyword alexa" in others
    told = "1 good take is kept on this machine, without any sound: type the same command again"
    assert others[0].startswith(told), "bad news first, then what is kept, then what to do"
    assert others[1] == "What you can try:"


def test_where_nobody_speaks_into_the_microphone_it_is_asked_about_and_not_gone_on(
    talk: Talk, good: list[Int16], hello: Int16
) -> None:
    person, enrolment = talk(good[:5], ["", "", "n"], words=[None, None, hello])
    assert isinstance(enrolment, Enrolment)
    question = '✗ Nobody was heard. Is "Yeti Stereo Microphone" the right microphone?'
    assert person.text.count(question) == 2
    assert person.text.index("Now the room") > person.text.rindex(question)


def test_another_microphone_can_be_taken_where_nobody_is_heard(talk: Talk, good: list[Int16], hello: Int16) -> None:
    person, enrolment = talk(good[:5], ["", "n", "2", "n"], found=(YETI, WEBCAM), words=[None, hello])
    assert isinstance(enrolment, Enrolment)
    assert 'Say a few words into "HD Webcam C615"' in person.text


def test_two_takes_in_which_nobody_speaks_lead_to_the_question_and_another_microphone_begins_anew(
    talk: Talk, good: list[Int16]
) -> None:
    said = [good[0], None, None, *good[:5]]
    person, enrolment = talk(said, ["", "n", "2", "n"], found=(YETI, WEBCAM))
    assert isinstance(enrolment, Enrolment), "the first take of before is no copy: all begins anew"
    before, after = person.text.split('Is "Yeti Stereo Microphone" the right microphone?')
    assert before.count("✗ Nobody was heard.") == 2
    assert "✗" not in after, "what the other microphone heard is forgotten: the same take is no copy"
    assert "Take 2 of 5, once more" in before
    assert re.search(r'into "HD Webcam C615".* Now the room.* Take 1 of 5: ', after)


def test_with_the_right_microphone_the_takes_go_on(talk: Talk, good: list[Int16]) -> None:
    person, enrolment = talk([good[0], None, None, *good[1:5]], ["", "n"])
    assert isinstance(enrolment, Enrolment)
    assert person.text.count("Take 1 of 5") == 2  # asked for, and good


@pytest.mark.parametrize("answers", [[], [""], ["n"], ["n", "1"], ["n", "1", ""]])
@pytest.mark.parametrize("wanted", [None, "mic"])
def test_wherever_nobody_answers_each_microphone_is_given_back(wanted: str | None, answers: list[str]) -> None:
    """A process that ends with one open may crash in PortAudio."""
    person = Person([], [None], answers)
    opened: list[Room] = []

    def opening(_: str | None) -> Room:
        opened.append(Room(rms=30.0))
        return opened[-1]

    with pytest.raises(InputError):
        MicrophoneOfSession(person, wanted, opening, lambda: [YETI])
    assert opened
    assert all(room.is_closed for room in opened)


def test_a_microphone_that_gives_nothing_is_said_to_be_muted(hello: Int16) -> None:
    class Muted(Room):
        def __init__(self) -> None:
            super().__init__(rms=0.0)

    person = Person([], [None], ["n", "n"])
    with pytest.raises(InputError):
        MicrophoneOfSession(person, "mic", lambda _: Muted(), lambda: [YETI])
    assert (
        "✗ Nothing at all comes from the microphone. It may be muted or switched off: look for a switch"
        in person.text
    )
    assert hello.any()


def test_a_microphone_that_another_program_holds_is_said_so_and_another_can_be_taken(hello: Int16) -> None:
    person = Person([], [hello], ["", "2"])

    def open_source(device: str | None) -> Source:
        if device == YETI.device:
            raise DeviceError("microphone 'hw:1,0' cannot be opened: Device unavailable")
        return person.open(device)

    microphone = MicrophoneOfSession(person, None, open_source, lambda: [YETI, WEBCAM])
    assert microphone.device == WEBCAM.device
    assert '"Yeti Stereo Microphone" cannot be opened. Does another program record from it?' in person.text
    with pytest.raises(DeviceError, match="Device unavailable"):
        MicrophoneOfSession(person, None, open_source, lambda: [YETI])


def test_a_microphone_that_is_named_is_not_asked_for_and_called_by_its_label(hello: Int16) -> None:
    person = Person([], [hello])
    assert microphone_of(person, [YETI, WEBCAM], wanted=WEBCAM.device).label == "HD Webcam C615"
    assert microphone_of(person, [YETI, WEBCAM], wanted="no such").label == "no such"
    assert "Which microphone" not in person.text


def test_of_several_microphones_enter_takes_the_first_and_what_is_no_number_is_refused(hello: Int16) -> None:
    person = Person([], [hello], ["two", "0", "3", ""])
    assert microphone_of(person, [YETI, WEBCAM]).device == YETI.device
    assert person.text.count("is no number from 1 to 2.") == 3


@pytest.mark.parametrize(("dbfs", "word"), [*zip([-58.0, -39.0, -20.0, -4.0], HEARD)])
def test_the_level_is_said_in_words(hello: Int16, dbfs: float, word: str) -> None:
    louder = to_float(hello) * 10 ** ((dbfs - loudest_dbfs(hello)) / 20)
    person = Person([], [to_int16(louder)], ["", "g"])
    microphone_of(person)
    assert HEARD[word] in person.text
    tries = 1 if word == "good" else 2
    assert person.text.count("Say a few words") == person.text.count(HEARD[word]) == tries, "once more, then on"


def test_whoever_speaks_while_the_room_is_heard_is_asked_for_silence(
    talk: Talk, good: list[Int16], hello: Int16, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Person.say

    def say(self: Person, text: str, style: str = "", indent: str = "") -> None:
        said(self, text, style, indent)
        if text.startswith("Now the room"):
            self.room.play(np.concatenate([np.zeros(20_000, np.int16), hello]))  # behind the countdown

    monkeypatch.setattr(Person, "say", say)
    person, enrolment = talk(good[:5])
    assert isinstance(enrolment, Enrolment)
    assert "✗ Somebody spoke, or a television did. Once more, in silence, please. ✓ The room is quiet." in person.text


def test_noise_a_knock_and_silence_are_nobody_and_a_word_is_somebody(
    good: list[Int16], rng: np.random.Generator
) -> None:
    for rms in (0, 5, 100, 3000):
        noise = np.rint(rng.normal(0, rms, 80_000)).astype(np.int16)
        assert not somebody_speaks(noise)
        knocked = noise.copy()
        knocked[40_000:40_400] += rng.normal(0, 5_000, 400).astype(np.int16)
        assert not somebody_speaks(knocked)
        rustled = noise.copy()
        rustled[40_000:48_000] += rng.normal(0, 5_000, 8_000).astype(np.int16)
        assert not somebody_speaks(rustled), "as long as a word, and no voice"
    quiet = np.rint(rng.normal(0, 5, 80_000)).astype(np.int16)
    for take in good:
        heard = quiet.copy()
        heard[20_000 : 20_000 + len(take)] += take
        assert somebody_speaks(heard)
    assert not somebody_speaks(np.zeros(0, np.int16))


def test_at_each_now_there_is_a_beep_which_is_no_part_of_the_take(talk: Talk, good: list[Int16]) -> None:
    person, enrolment = talk(good[:5], beeps=True)
    assert isinstance(enrolment, Enrolment)
    assert person.shown.count("\a  now\n") == 5
    assert "speak after the beep and" in person.text
    assert "You have 10 seconds, then it beeps. If you hear no beep, count slowly to ten, then speak." in person.text
    silent, _ = talk(good[:5])
    assert "\a" not in silent.shown
    assert "beep" not in silent.text
    assert "count slowly to ten" in silent.text


def test_a_beep_from_a_loudspeaker_beside_the_microphone_is_over_before_a_take() -> None:
    tone = np.rint(8000 * np.sin(np.arange(RATE_HZ // 12) * 0.35)).astype(np.int16)

    class Beside(Person):
        def beep(self) -> None:
            super().beep()
            self.room.play(tone)

    person = Beside([], [None], beeps=True)
    listening = Listening(person.room, person)
    listening.now()
    assert person.shown == "\a  now\n"
    assert person.room.is_silent, "the beep was played, and is over"
    assert loudest_dbfs(listening.record("listening", Endpoint(-70.0))) < -60.0


def test_a_loud_room_waits_until_something_was_done_or_the_person_goes_on(talk: Talk) -> None:
    waiting, ended = talk([], ["", ""], rms=400.0)
    assert isinstance(ended, InputError)
    assert waiting.text.count("✗ It is loud here. Switch off what makes the noise") == 3
    assert "Take 1" not in waiting.text
    assert "Take 1 of 5" in talk([], ["g"], rms=400.0)[0].text


def test_whoever_does_not_answer_is_told_what_became_of_it_and_what_is_kept(
    talk: Talk, good: list[Int16], tmp_path: Path
) -> None:
    kept = KeptSession(tmp_path / "people", "anna", "okay_nabu", {}, tmp_path / "sessions")
    person, ended = talk([good[0], None, None], [], kept=kept)
    assert isinstance(ended, InputError)
    assert person.text.endswith(
        "✗ You did not answer, so earmark stopped. anna was not enrolled this time. 1 good take is kept on this "
        "machine, without any sound: type the same command again, and it goes on from there."
    )


def test_advice_is_not_contradicted_by_the_next_try_and_the_tries_left_are_said(
    talk: Talk, good: list[Int16], takes: Takes, read: Read
) -> None:
    alexa = read(takes("rms", "alexa", "enroll")[0])
    person, _ = talk([good[0], alexa, *good[1:5]])
    again = 'Take 2 of 5, once more (5 tries left): come back to the microphone. After "now", say "Okay Nabu" as you'
    assert again in person.text
    assert "Take 3 of 5: come back to where you were." in person.text, "the next one is varied again"


WHO = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=WHO, label=WHO, columns=st.integers(LEAST_COLUMNS, 100))
def test_a_whole_session_fits_any_width_whatever_people_and_microphones_are_called(
    talk: Talk, good: list[Int16], takes: Takes, read: Read, name: str, label: str, columns: int
) -> None:
    microphones = [type(YETI)("one", label, default=True), WEBCAM]
    alexa = read(takes("rms", "alexa", "enroll")[0])
    others = [read(path) for path in takes("slt", "okay_nabu", "enroll")[:2]]
    person, enrolment = talk(
        [good[0], alexa, None, None, *good[1:5]],
        ["", "", "y", "n"],
        found=microphones,
        name=name,
        columns=columns,
        others=others,
    )
    assert isinstance(enrolment, Enrolment)
    assert [line for line in person.shown.splitlines() if cells(line) > columns] == []

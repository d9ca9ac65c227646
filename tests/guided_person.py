"""A person at the microphone of a guided enrolment, without a clock: a room with noise, where recordings are played.

The session is the real one, with real networks; only the sound and the answers are given. What is shown comes at the
width of a terminal.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np

from earmark.engine.audio.devices import Microphone
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.audio.sources import Source
from earmark.engine.errors import InputError
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.guided.conversation import Guide
from earmark.enroll.guided.greeting import greet
from earmark.enroll.guided.kept import KeptSession
from earmark.enroll.guided.microphones import MicrophoneOfSession
from earmark.enroll.guided.screen import PLAIN, Answers, Screen
from earmark.enroll.training.train import TrainPlan

BLOCK_SAMPLES = RATE_HZ // 50
ROOM_RMS = 8.0  # −72 dBFS
REACTION_SAMPLES = RATE_HZ * 3 // 10  # nobody speaks at once
YETI = Microphone("Yeti Stereo Microphone: USB Audio (hw:1,0)", "Yeti Stereo Microphone", default=True)
WEBCAM = Microphone("HD Webcam C615: USB Audio (hw:2,0)", "HD Webcam C615", default=False)


class Room(Source):
    """A microphone that never ends: noise, and over it what is played."""

    name = "room"

    def __init__(self, rms: float = ROOM_RMS) -> None:
        self._rng, self._rms = np.random.default_rng(0), rms
        self._playing = np.zeros(0, np.int16)
        self.is_closed = False

    def play(self, samples: Int16) -> None:
        self._playing = np.concatenate([self._playing, np.zeros(REACTION_SAMPLES, np.int16), samples])

    @property
    def is_silent(self) -> bool:
        return not len(self._playing)

    def close(self) -> None:
        self.is_closed = True

    def _pieces(self) -> Iterator[Int16]:
        while True:
            piece = self._rng.standard_normal(BLOCK_SAMPLES) * self._rms
            played, self._playing = self._playing[:BLOCK_SAMPLES], self._playing[BLOCK_SAMPLES:]
            piece[: len(played)] += played
            yield np.clip(np.rint(piece), -32768, 32767).astype(np.int16)


class Person(Screen):
    """Speaks when the screen asks for it, and answers its questions; keeps what was shown.

    Args:
        takes: said one after the other, each at a "now"; None: nothing is said.
        words: said whenever the microphone is looked at, the last one again and again; None: nothing.
        answers: to the questions, in order; without any more nobody answers.
        others: what somebody else says, when asked to.
        columns: of the terminal.
        verbose: figures are asked for.
        beeps: the terminal has a beep.
        rms: of the noise in the room.
    """

    def __init__(
        self,
        takes: Sequence[Int16 | None],
        words: Sequence[Int16 | None],
        answers: Sequence[str] = (),
        others: Sequence[Int16] = (),
        columns: int | None = 80,
        verbose: bool = False,
        beeps: bool = False,
        rms: float = ROOM_RMS,
    ) -> None:
        super().__init__(Answers(), io.StringIO(), verbose, beeps)
        self._takes, self._words, self._given = list(takes), list(words), list(answers)
        self._others, self._columns = list(others), columns
        self._are_others_asked, self._rms = False, rms
        self.room = Room(rms)

    @property
    def columns(self) -> int | None:
        return self._columns

    @property
    def shown(self) -> str:
        assert isinstance(self._out, io.StringIO)
        return self._out.getvalue()

    @property
    def text(self) -> str:
        """What was shown, however it was wrapped."""
        return " ".join(self.shown.split())

    def say(self, text: str, style: str = PLAIN, indent: str = "") -> None:
        super().say(text, style, indent)
        if text == "now" and self._are_others_asked:
            for samples in self._others:
                self._play(samples)
            self._are_others_asked = False
        elif text == "now" and self._takes:
            self._play(self._takes.pop(0))
        elif text.startswith("Say a few words"):
            self._play(self._words.pop(0) if len(self._words) > 1 else self._words[0])
        elif text.startswith("Let them speak"):
            self._are_others_asked = True

    def ask(self, question: str) -> str:
        self.say(question)
        if not self._given:
            raise InputError("nobody answers")
        answer = self._given.pop(0)
        self._write(answer, PLAIN)
        return answer

    def typed(self) -> str | None:
        """Enter, when somebody else has spoken."""
        return "" if self._others and self.room.is_silent and "Let them speak" in self.shown else None

    def open(self, _device: str | None) -> Source:
        self.room = Room(self._rms)
        return self.room

    def _play(self, samples: Int16 | None) -> None:
        if samples is not None:
            self.room.play(samples)


def microphone_of(
    person: Person, found: Sequence[Microphone] = (YETI,), wanted: str | None = None
) -> MicrophoneOfSession:
    """As the session begins: the greeting is not part of it."""
    return MicrophoneOfSession(person, wanted, person.open, lambda: found)


def guide(
    person: Person,
    enroller: Enroller,
    keyword: KeywordNetwork | None,
    found: Sequence[Microphone] = (YETI,),
    kept: KeptSession | None = None,
    name: str = "anna",
) -> Guide:
    """A session up to its first question."""
    greet(person, name, [keyword])
    microphone = microphone_of(person, found)
    options = Options(plan=TrainPlan(copies=1, steps=1))  # what is learnt is not what is talked about
    return Guide(name, enroller, keyword, options, person, microphone, kept, quiet=True, other_word="alexa")

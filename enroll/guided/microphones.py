"""Which microphone a session listens to: by the name printed on it, and only one that hears somebody."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np

from earmark.engine.audio.devices import (
    Microphone,
    alsa_descriptions,
    is_monitor,
    named,
    no_microphone,
    server_microphone,
)
from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.audio.sources import Source
from earmark.engine.errors import DeviceError

from ..takes import words
from ..takes.endpoint import ABOVE_ROOM_DB, Endpoint
from ..takes.rules import QUIET_DBFS
from .listening import Listening, loudest_dbfs, somebody_speaks
from .meter import word_of
from .screen import ASK, BAD, GOOD, Screen

LOOK_SAMPLES = 8 * RATE_HZ  # it is over before, when something was said
HEARD = {
    "silence": f"It hears you, but hardly. Come closer, or {words.TURN_UP}.",
    "quiet": f"It hears you, but quietly. Come closer, or {words.TURN_UP}.",
    "good": "It hears you well.",
    "too loud": f"It hears you, but too loudly. Step back, or {words.TURN_DOWN}.",
}
"""Word of the meter -> what it means for who spoke."""


class MicrophoneOfSession:
    """The microphone that a session has; it may become another one.

    Args:
        screen: to ask on.
        wanted: a device that is named on the command line or in the settings; None: it is asked for.
        open_source: opens a device.
        found: the microphones, the likely one first; None: those of this machine.

    Raises:
        DeviceError: there is none, or the wanted one cannot be opened.
        InputError: nobody answers.
    """

    def __init__(
        self,
        screen: Screen,
        wanted: str | None,
        open_source: Callable[[str | None], Source],
        found: Callable[[], Sequence[Microphone]] | None = None,
    ) -> None:
        self._screen, self._open_source = screen, open_source
        self._found = found or microphones
        self.device = wanted
        """As `--device` takes it."""
        self.is_default = False
        """Whether it is used where none is named."""
        if wanted is None:
            self._choose_and_open()
        else:
            self.label = next((one.label for one in self._found() if one.device == wanted), wanted)
            self._use(open_source(wanted))
        with contextlib.ExitStack() as on_failure:  # nobody has it yet who could give it back
            on_failure.push(self)
            self._check()
            on_failure.pop_all()

    def __enter__(self) -> MicrophoneOfSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def choose_another(self) -> None:
        """Asks for it, and for a few words into it; what is heard until then comes from the old one."""
        self.source.close()
        self._choose_and_open()
        self._check()

    def is_right(self) -> bool:
        """Asks whether it is the microphone that is spoken into; yes: once more with it."""
        self._screen.say(f'Is "{self.label}" the right microphone?', ASK)
        question = "If it is, press Enter and speak again. If not, type n and press Enter."
        return not self._screen.ask(question).lower().startswith("n")

    def _use(self, source: Source) -> None:
        self.source = source
        self.listening = Listening(source, self._screen)

    def _choose_and_open(self) -> None:
        while True:
            one = self._chosen()
            self.device, self.label, self.is_default = one.device, one.label, one.default
            try:
                self._use(self._open_source(self.device))
            except DeviceError as error:
                self._screen.say(f'"{self.label}" cannot be opened. Does another program record from it?', BAD)
                self._screen.say(f"{error}", indent="  ")
                self._screen.say("If it is the service of earmark, stop that while you enrol:", indent="  ")
                self._screen.command("sudo systemctl stop earmark")
                if len(self._found()) == 1:
                    raise
            else:
                return

    def _chosen(self) -> Microphone:
        found = self._found()
        if not found:
            raise DeviceError(f"{no_microphone()}; or use --from FILE…")
        if len(found) == 1:
            if self.device is not None:
                self._screen.say(f'"{found[0].label}" is the only microphone that was found.')
            return found[0]
        self._screen.say("Which microphone will you speak into?", ASK)
        for number, one in enumerate(found, 1):
            what = "  (what this machine plays: no microphone)" if is_monitor(one.label) else ""
            self._screen.say(f"{one.label}{what}", indent=f"{number:3}  ")
        while True:
            answer = self._screen.ask("Type its number and press Enter. Enter alone takes number 1.")
            if not answer:
                return found[0]
            if answer.isdecimal() and 1 <= int(answer) <= len(found):
                return found[int(answer) - 1]
            self._screen.say(f'"{answer}" is no number from 1 to {len(found)}.', BAD)

    def _check(self) -> None:
        """Until somebody is heard; asks for another one where nobody is."""
        while True:
            self._screen.say(
                f'Say a few words into "{self.label}", from where you will usually speak: any words, in any '
                "language. It listens now, until it answers.",
                ASK,
            )
            if self._screen.moves:
                self._screen.say(
                    "While you speak, the bar should reach into the part between [ and ], and not beyond."
                )
            samples = self.listening.record("level", Endpoint(QUIET_DBFS - ABOVE_ROOM_DB, LOOK_SAMPLES))
            if self.listening.remark:
                self._screen.say(f"This microphone has {self.listening.remark}.")
            if somebody_speaks(samples):
                if self._is_level_enough(loudest_dbfs(samples)):
                    return
                continue
            nothing = not np.any(samples)
            self._screen.say(words.SILENT_MICROPHONE.live if nothing else "Nobody was heard.", BAD)
            if not self.is_right():
                self.choose_another()
                return

    def _is_level_enough(self, dbfs: float) -> bool:
        """Says it; where it is not good the person may change something and try again."""
        word, figures = word_of(dbfs), self._screen.figures(f"{dbfs:.0f} dBFS at most")
        if word == "good":
            self._screen.say(HEARD[word] + figures, GOOD)
            return True
        self._screen.say(HEARD[word] + figures, BAD)
        question = (
            "Press Enter to try again. Or type g and press Enter to go on as it is; more takes may be refused then."
        )
        return self._screen.ask(question).lower().startswith("g")


def microphones() -> list[Microphone]:
    """Those of this machine, the likely one first."""
    from earmark.engine.audio.microphone import input_devices  # needs a system library that `--from` does without

    return named(input_devices(), alsa_descriptions(), server_microphone())

"""A terminal to talk to a person: lines, a level meter, questions; colours and a moving meter where they can be.

Everything goes to standard error: standard output is for what came of it. No line is wider than the terminal.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any, TextIO

from earmark.engine.errors import InputError

from ..layout import columns_of, command_line, wrapped
from .meter import Meter, meter

try:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text
except ImportError:  # the extra `enroll` is not installed: plain lines will do
    Console = None  # type: ignore[assignment,misc]

GOOD, BAD, ASK, PLAIN = "green", "red", "bold", ""
MARKS = {GOOD: "✓ ", BAD: "✗ "}
"""Before the first line: red and green are the same to some people, and colours are nothing on a plain screen."""


class Answers:
    """Lines from standard input, waited for or not."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._pending = b""
        self._ended = False

    def line(self, wait: bool) -> str | None:
        """The next line without its end; None: none yet.

        Raises:
            InputError: standard input has ended.
        """
        while b"\n" not in self._pending and not self._ended:
            if not wait and not select.select([self._descriptor], [], [], 0)[0]:
                return None
            piece = os.read(self._descriptor, 1000)
            self._pending += piece
            self._ended = not piece
        if b"\n" not in self._pending:
            raise InputError(
                "nobody answers on standard input: run it in a terminal, or give recordings with --from FILE…"
            )
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").strip()


class Screen:
    """Plain lines: for pipes, screen readers and logs."""

    moves = False
    """Whether a meter moves on it."""

    def __init__(
        self, answers: Answers, out: TextIO = sys.stderr, verbose: bool = False, beeps: bool = False
    ) -> None:
        self._answers, self._out = answers, out
        self.verbose = verbose
        """Whether figures are shown."""
        self.beeps = beeps
        """Whether a beep can be heard, as far as anybody knows: terminals may be mute."""

    @property
    def columns(self) -> int | None:
        """How wide it is now; None: lines may have any length."""
        return columns_of(self._out)

    def say(self, text: str, style: str = PLAIN, indent: str = "") -> None:
        """A paragraph; what is good or bad has a mark."""
        for line in wrapped(text, self.columns, indent + MARKS.get(style, "")):
            self._write(line, style)

    def figures(self, text: str) -> str:
        """Figures behind a sentence, in brackets; nothing for who has not asked for them."""
        return f" ({text})" if self.verbose else ""

    def command(self, line: str) -> None:
        """What is to be typed: whole, so that it can be copied."""
        self._write(command_line(line, self.columns), PLAIN)

    def beep(self) -> None:
        """Where `beeps`: for whoever cannot see it from there. Over SSH it sounds where the person's terminal is."""
        self._out.write("\a")
        self._out.flush()

    def space(self) -> None:
        """An empty line."""
        self._write("", PLAIN)

    def meter(self, label: str, dbfs: float, left: str = "", zone: bool = True) -> None:
        """The level now; nothing is shown where nothing can move."""

    def still(self) -> None:
        """The meter is over."""

    def tick(self, text: str) -> None:
        """A second of a countdown."""
        self.say(text, indent="  ")

    def ask(self, question: str) -> str:
        """The answer to a question, without spaces around it."""
        self.say(question, ASK)
        return self._answers.line(wait=True) or ""

    def typed(self) -> str | None:
        """A line that was typed meanwhile."""
        return self._answers.line(wait=False)

    def _write(self, line: str, style: str) -> None:  # noqa: ARG002  colours are for others
        self._out.write(f"{line}\n")
        self._out.flush()


class RichScreen(Screen):
    """With colours, and a meter that moves."""

    moves = True

    def __init__(self, answers: Answers, verbose: bool = False, beeps: bool = False) -> None:
        super().__init__(answers, verbose=verbose, beeps=beeps)
        self._console = Console(stderr=True, highlight=False)
        self._live: Any = None

    @property
    def columns(self) -> int | None:
        """As the console sees it."""
        return columns_of(sys.stderr)

    def tick(self, text: str) -> None:
        """The meter shows it."""

    def meter(self, label: str, dbfs: float, left: str = "", zone: bool = True) -> None:
        """Moves the meter."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(_drawn(meter(label, dbfs, left, self.columns or 80, zone)), refresh=True)

    def still(self) -> None:
        """Takes the meter away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _write(self, line: str, style: str) -> None:
        self.still()
        self._console.print(Text(line, style=style), soft_wrap=True)


def _drawn(shown: Meter) -> Any:
    colour = GOOD if shown.is_good else BAD if shown.is_loud else PLAIN
    return Text.assemble(shown.before, (shown.bar, colour), (shown.rest, PLAIN), shown.behind)


def open_screen(plain: bool, verbose: bool = False, beeps: bool = True) -> Screen:
    """The right one for where standard error goes; a beep goes to a terminal only."""
    answers = Answers(sys.stdin.fileno())
    is_terminal = sys.stderr.isatty()
    if plain or Console is None or not is_terminal:
        return Screen(answers, verbose=verbose, beeps=beeps and is_terminal)
    return RichScreen(answers, verbose, beeps)

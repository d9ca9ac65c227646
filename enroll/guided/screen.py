"""A terminal to talk to a person: lines, a level meter, questions; colours and a moving meter where they can be.

Everything goes to standard error: standard output is for what came of it.
"""

from __future__ import annotations

import os
import select
import sys
from typing import Any, TextIO

from earmark.engine.errors import InputError

try:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text
except ImportError:  # the extra `enroll` is not installed: plain lines will do
    Console = None  # type: ignore[assignment,misc]

METER_DBFS = (-60.0, 0.0)
METER_CELLS = 30
GOOD, BAD, ASK, PLAIN = "green", "red", "bold", ""


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

    def __init__(self, answers: Answers, out: TextIO = sys.stderr) -> None:
        self._answers, self._out = answers, out

    def say(self, text: str, style: str = PLAIN) -> None:  # noqa: ARG002  colours are for others
        """One line."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def meter(self, label: str, dbfs: float, left: str = "") -> None:
        """The level now; nothing is shown where nothing can move."""

    def still(self) -> None:
        """The meter is over."""

    def tick(self, text: str) -> None:
        """A second of a countdown."""
        self.say(text)

    def ask(self, question: str) -> str:
        """The answer to a question, without spaces around it."""
        self.say(question, ASK)
        return self._answers.line(wait=True) or ""

    def typed(self) -> str | None:
        """A line that was typed meanwhile."""
        return self._answers.line(wait=False)


class RichScreen(Screen):
    """With colours, and a meter that moves."""

    moves = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers)
        self._console = Console(stderr=True, highlight=False)
        self._live: Any = None

    def say(self, text: str, style: str = PLAIN) -> None:
        """One line."""
        self.still()
        self._console.print(Text(text, style=style))

    def tick(self, text: str) -> None:
        """The meter shows it."""

    def meter(self, label: str, dbfs: float, left: str = "") -> None:
        """Moves the meter."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        low, high = METER_DBFS
        cells = round(METER_CELLS * min(max((dbfs - low) / (high - low), 0), 1))
        colour = BAD if dbfs > -3 else GOOD
        line = Text.assemble(
            f"  {label} ", ("█" * cells, colour), ("·" * (METER_CELLS - cells), "dim"), f" {dbfs:4.0f} dBFS  {left}"
        )
        self._live.update(line, refresh=True)

    def still(self) -> None:
        """Takes the meter away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def open_screen(plain: bool) -> Screen:
    """The right one for where standard error goes."""
    answers = Answers(sys.stdin.fileno())
    return Screen(answers) if plain or Console is None or not sys.stderr.isatty() else RichScreen(answers)

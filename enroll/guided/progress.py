"""Progress on standard error: bars on a terminal, a line a stage elsewhere, nothing when a machine listens.

Figures of the training are for those who ask for them.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from earmark.engine.networks.head import TrainLoss

from ..options import Watcher

try:
    from rich.progress import BarColumn, Progress, TextColumn
except ImportError:  # the extra `enroll` is not installed: lines will do
    Progress = None  # type: ignore[assignment,misc]


UNITS = {
    "listening": "recordings",
    "others": "recordings",
    "varying": "takes",
    "enrolling": "people",
    "hearing": "tries",
    "measuring": "people",
    "negative": "recordings",
}
"""What each stage counts."""
BAR_CELLS = 12  # with its name and its count it fits 40 columns


class Shown(Watcher):
    """Shows nothing; base of the two that do."""

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back."""


class Lines(Shown):
    """A line when a stage is over; with `verbose`, every tenth training step as well."""

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose

    def stage(self, name: str, done: int, total: int) -> None:
        """Prints when the stage is over."""
        if done == total:
            _say(f"{name}: {total} {UNITS[name]}")

    def step(self, number: int, loss: TrainLoss) -> None:
        """Prints the loss now and then."""
        if self._verbose and (number == 1 or number % 10 == 0):
            _say(f"training: step {number:3}, loss {loss.total:.4f}")


class Bars(Shown):
    """A bar a stage, on a terminal."""

    def __init__(self, total_steps: int, verbose: bool = False) -> None:
        columns = (
            TextColumn("{task.description:10}"),
            BarColumn(bar_width=BAR_CELLS),
            TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=_stderr_console())
        self._tasks: dict[str, Any] = {}
        self._total_steps, self._verbose = total_steps, verbose

    def __enter__(self) -> Shown:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        """Moves the stage's bar."""
        self._move(name, done, total, "")

    def step(self, number: int, loss: TrainLoss) -> None:
        """Moves the training bar; with `verbose`, shows the loss."""
        self._move("training", number, self._total_steps, f"loss {loss.total:.4f}" if self._verbose else "")

    def _move(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note="")
        self._progress.update(self._tasks[name], completed=done, note=note)


def progress(quiet: bool, total_steps: int, plain: bool = False, verbose: bool = False) -> Shown:
    """The right one for where standard error goes; `plain` means lines there too, `verbose` figures."""
    if quiet:
        return Shown()
    if Progress is not None and sys.stderr.isatty() and not plain:
        return Bars(total_steps, verbose)
    return Lines(verbose)


def _stderr_console() -> Any:
    from rich.console import Console  # only where rich was found

    return Console(stderr=True)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")

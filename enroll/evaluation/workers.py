"""Who does the work: threads with networks of their own. However many they are, the same comes out, bit for bit."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from .asking import Setup

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Workers(Protocol):
    """Whoever does a function of asking.py for many items."""

    def map(
        self, stage: str, work: Callable[[Setup, Item], Answer], items: Sequence[Item], setup: Setup
    ) -> list[Answer]:
        """The answers in the order of the items; `setup` is told how much of a stage is done."""
        ...


class Threads:
    """Threads of this process. The runtimes let go of the interpreter's lock while a network runs.

    Args:
        count: how many; 1: the work is done where it is asked for.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count

    def map(
        self, stage: str, work: Callable[[Setup, Item], Answer], items: Sequence[Item], setup: Setup
    ) -> list[Answer]:
        """As of `Workers`."""
        free: queue.SimpleQueue[Setup] = queue.SimpleQueue()
        for _ in range(min(self._count, len(items)) - 1):
            free.put(setup.twin())
        free.put(setup)

        def one(item: Item) -> Answer:
            mine = free.get()
            try:
                return work(mine, item)
            finally:
                free.put(mine)

        answers: list[Answer] = []
        with ThreadPoolExecutor(self._count) as pool:
            for answer in pool.map(one, items):  # where this is left by an error, what waits is not begun any more
                answers.append(answer)
                setup.told(stage, len(answers), len(items))
        return answers


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))

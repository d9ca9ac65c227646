"""`earmark evaluate` in shards that go to other processes, here or on other machines (scripts/studies/shards.py)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from earmark.engine.commands.parser import command_line

from ..evaluation.asking import Setup
from ..evaluation.workers import Answer, Item
from . import evaluate_command

SHARD = 20  # items; of people about ten seconds of work, beside which half a second to send it is little


class Shards:
    """Workers elsewhere: each opens its own networks, by the same options.

    Args:
        executor: where they are; any of `concurrent.futures`, and Dask's.
        options: of `earmark evaluate`.
    """

    def __init__(self, executor: Executor, options: Sequence[str]) -> None:
        self._executor, self._options = executor, tuple(options)

    def map(
        self, stage: str, work: Callable[[Setup, Item], Answer], items: Sequence[Item], setup: Setup
    ) -> list[Answer]:
        """As of `Workers`."""
        shards = [items[at : at + SHARD] for at in range(0, len(items), SHARD)]
        waiting = [self._executor.submit(of_shard, self._options, work, shard) for shard in shards]
        answers: list[Answer] = []
        for future in waiting:
            answers += future.result()
            setup.told(stage, len(answers), len(items))
        return answers


def of_shard(options: tuple[str, ...], work: Callable[[Setup, Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """What a worker does."""
    return [work(_setup(options), item) for item in items]


@functools.lru_cache(maxsize=1)
def _setup(options: tuple[str, ...]) -> Setup:
    return evaluate_command.setup_of(command_line().parse_args(["evaluate", *options]))

"""kill -9 in the middle of a change: the store is the old one or the new one. `scripts/kill9.py` tries every call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kills import OPERATIONS, Operation, tally, unavailable

MOST = 6  # calls of each operation, evenly spread; all of them take minutes
WHY_NOT = unavailable()
MEMORY = Path("/dev/shm")


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is some: a kill is not a power cut, and thousands of fsyncs wear a card out."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_killed_in_the_middle_the_store_is_the_old_one_or_the_new_one(operation: Operation, work: Path) -> None:
    result = tally(operation, work, MOST)
    assert result.others == []
    assert result.kills >= MOST

"""kill -9 in the middle of a change: the store is the old one or the new one. `scripts/studies/kill9.py` tries every
call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from helpers_store import environment
from kills import OPERATIONS, unavailable
from turns import is_shared

MOST = 5  # calls of each operation besides the renames, evenly spread; all of them take minutes
LEAST = 3  # kills of one that trains, which takes seconds each time
LIMIT_S = 560
WHY_NOT = unavailable()
MEMORY = Path("/dev/shm")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    """Operation -> what became of its kills; in memory where there is some: a kill is not a power cut."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        program = [sys.executable, str(REPOSITORY / "tests" / "kills.py"), str(MOST), folder]
        done = subprocess.run(
            program, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_killed_in_the_middle_the_store_is_the_old_one_or_the_new_one(
    found: dict[str, dict[str, Any]], name: str
) -> None:
    assert found[name]["others"] == []
    assert found[name]["kills"] >= (LEAST if not is_shared() else 1)

"""How much work an audio second is: counted, not timed."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed: nothing counts instructions")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the recorded counts are of x86-64")
def test_the_always_on_path_has_not_grown() -> None:
    """One wake word; at most 10 % more instructions than tests/golden/instructions.json has."""
    line = [sys.executable, str(REPOSITORY / "scripts" / "studies" / "instructions.py"), "--check"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""Disks that are full, and memory that is scarce."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest


class FullDisk:
    """os.fsync that fails at the call with a given number: 0, 1, …"""

    def __init__(self, fails_at: int) -> None:
        self.calls = 0
        self._fails_at = fails_at

    def __call__(self, _descriptor: int) -> None:
        self.calls += 1
        if self.calls == self._fails_at + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def allocating_less_than(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit_bytes
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def mounted_tmpfs(folder: Path, size: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "earmark-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)

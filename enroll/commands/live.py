"""`earmark bench --live`: what the daemon costs in real time, not in a loop over a file.

Audio comes through a pipe as a recorder gives it, 100 ms at a time. Between two pieces the processor sleeps and does
other things, so each finds cold caches: that is what a day costs. The kernel's own account of the process is read,
from outside. `scripts/studies/bench_live.py` has other programs measured alike.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.errors import ModelError
from earmark.engine.networks import runtime
from earmark.engine.processes.own import environment_for_others, find_program, own_command

BLOCK_SAMPLES = RATE_HZ // 10
LEAD_S = 12  # Python's start, and the five seconds and two after which a quiet room is left out
WINDOW_S = 10
PIPE_BYTES = 1 << 20  # half a minute: who feeds never waits for who reads, not even for its start
END_S = 5.0
NANOSECONDS = 1e-9


@dataclass(frozen=True)
class Cost:
    """Of one program in one sound, a second of real time."""

    core_shares: tuple[float, ...]
    """Of one core, in each window: 1 is all of it."""
    wakeups: float
    """How often it went to sleep and was woken, all threads together."""
    syscalls: float | None
    """None: `strace` is not there to count them."""

    def to_json(self) -> dict[str, Any]:
        """Shares rounded to a ten-thousandth of a percent."""
        shares = [round(share, 6) for share in self.core_shares]
        middle = round(statistics.median(self.core_shares), 6)
        return {
            "core_share": middle,
            "lowest": min(shares),
            "highest": max(shares),
            "wakeups_per_s": round(self.wakeups, 1),
            "syscalls_per_s": None if self.syscalls is None else round(self.syscalls, 1),
        }


def measure(sounds: dict[str, Int16], keywords: Sequence[str], windows: int) -> Iterator[dict[str, Any]]:
    """The daemon with nobody enrolled, in each sound: rows as JSON has them.

    Raises:
        ModelError: it ended before its time.
    """
    for sound, audio in sounds.items():
        with tempfile.TemporaryDirectory() as store:
            line = own_command("earmark.cli", "listen", "-", "--mode", "label", "--json", "--store", store)
            line += [word for keyword in keywords for word in ("--keyword", keyword)]
            yield {"sound": sound, **cost(line, audio, windows).to_json()}


def machine() -> dict[str, Any]:
    """What the figures are of, for who sends them in."""
    return {
        "earmark": version("earmark"),
        "processor": _processor(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "runtime": runtime.version(),
        "numpy": np.__version__,
        "window_s": WINDOW_S,
    }


def cost(line: Sequence[str], audio: Int16, windows: int, window_s: int = WINDOW_S) -> Cost:
    """Runs a program that hears standard input as 16 kHz int16 on one core, and feeds it in real time.

    Args:
        line: program and arguments.
        audio: (n,) int16, repeated.
        windows: so many are measured, after a lead that is not.
        window_s: length of each.

    Raises:
        ModelError: it ended before its time.
    """
    with _fed(line) as program:
        feed = _Feed(program, audio)
        feed.until(LEAD_S)
        looks = [account(program.pid)]
        for number in range(windows):
            feed.until(LEAD_S + (number + 1) * window_s)
            looks.append(account(program.pid))
    shares = [(after[0] - before[0]) / window_s for before, after in zip(looks, looks[1:])]
    wakeups = (looks[-1][1] - looks[0][1]) / (windows * window_s)
    return Cost(tuple(shares), wakeups, _syscalls(line, audio, window_s))


class _Feed:
    """Gives a program audio in real time from now on."""

    def __init__(self, program: subprocess.Popen[bytes], audio: Int16) -> None:
        whole = max(1, len(audio) // BLOCK_SAMPLES) * BLOCK_SAMPLES
        self._data, self._program = np.resize(audio, whole).astype("<i2").tobytes(), program
        self._start_s, self._blocks = time.monotonic(), 0

    def until(self, end_s: float) -> None:
        """Gives what there is up to so many seconds after the start.

        Raises:
            ModelError: nobody reads it.
        """
        assert self._program.stdin is not None
        while self._blocks * BLOCK_SAMPLES < end_s * RATE_HZ:
            self._blocks += 1  # a recorder gives a block when it is over
            time.sleep(max(0.0, self._start_s + self._blocks * BLOCK_SAMPLES / RATE_HZ - time.monotonic()))
            at = (self._blocks - 1) * 2 * BLOCK_SAMPLES % len(self._data)
            try:
                os.write(self._program.stdin.fileno(), self._data[at : at + 2 * BLOCK_SAMPLES])
            except BrokenPipeError as error:
                self._program.wait()
                raise ModelError(f"{self._program.args!r} ended before its time") from error


@contextlib.contextmanager
def _fed(line: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The program with a wide pipe to it, on one core where there are two; ended at the end."""
    import fcntl

    environment = {
        **environment_for_others(os.environ),
        "EARMARK_SETTINGS": "",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, env=environment) as program:
        assert program.stdin is not None
        try:
            fcntl.fcntl(program.stdin, getattr(fcntl, "F_SETPIPE_SZ", 1031), PIPE_BYTES)
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(program.pid, {max(os.sched_getaffinity(0))})
            yield program
        finally:
            program.stdin.close()  # before the kill: what strace watches outlives it, and ends with its input
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(END_S)
            program.kill()


def account(pid: int) -> tuple[float, int]:
    """Seconds of the processor, and how often it went to sleep, of all threads of a process that are there."""
    taken_ns = wakeups = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            taken_ns += int((thread / "schedstat").read_text("ascii").split()[0])
            status = (thread / "status").read_text("ascii", errors="replace")
            wakeups += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return taken_ns * NANOSECONDS, wakeups


def _syscalls(line: Sequence[str], audio: Int16, window_s: int) -> float | None:
    """A second, of another run, which is slower for being watched; None where nobody can."""
    strace = find_program("strace")
    if strace is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        watched = [strace, "-f", "-qq", "-ttt", "-e", "signal=none", "-o", str(calls), *line]
        with _fed(watched) as program:
            feed = _Feed(program, audio)
            feed.until(LEAD_S)
            start_s = time.time()
            feed.until(LEAD_S + window_s)
            end_s = time.time()
        counted = 0
        for call in calls.read_text("utf-8", errors="replace").splitlines():
            _, at_s, what = call.split(maxsplit=2)
            counted += start_s <= float(at_s) < end_s and not what.startswith("<...")
    return counted / window_s


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

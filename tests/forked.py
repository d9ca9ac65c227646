"""Runs of `earmark` that cost no start: a process that has loaded what they need forks for each of them.

A start takes a quarter of a second of processor, and the tests make more than a thousand. Each run is still a process
of its own, with the arguments, the folder, the environment and the standard streams that it is given. Starts from
nothing, and ends in which everything is taken apart, are tested where they matter: the daemon (live.py), and every
command in tests/test_start.py.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULE = "earmark.cli"
LOADED = (
    "scipy.signal",
    "soundfile",
    "soxr",
    "earmark.engine.detector",
    "earmark.engine.commands.parser",
    "earmark.engine.commands.people_commands",
    "earmark.engine.settings.reading",
    "earmark.enroll.commands.enroll_commands",
    "earmark.enroll.enrolment",
)
"""What takes most of a start. Not all that there is: the more is loaded, the longer a run takes to end."""
READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OPENBLAS_", "OMP_", "EARMARK_RUNTIME")
"""What begins so in the environment is read when a process starts, and never again."""


def environment(**changes: str) -> dict[str, str]:
    """That of the tests, without what would make a run depend on the machine."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EARMARK_", "PULSE_"))}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", "EARMARK_SETTINGS": "", **changes}


def begins_as_all(started: Mapping[str, str]) -> bool:
    """Whether a run in this environment can do without a start of its own."""
    return settled(started) == settled(environment())


def settled(started: Mapping[str, str]) -> dict[str, str]:
    """What of an environment cannot be changed any more once a process runs."""
    return {key: value for key, value in started.items() if key.startswith(READ_AT_START)}


def run(
    arguments: Sequence[str],
    stdin: bytes,
    cwd: Path | None,
    started: Mapping[str, str],
    limit_s: float,
    program: str = "",
) -> subprocess.CompletedProcess[bytes]:
    """As `subprocess.run` of `python -m earmark.cli` does it, in an environment that `begins_as_all`.

    Args:
        arguments: of the run.
        stdin: what it reads.
        cwd: its folder; None: this one.
        started: its environment.
        limit_s: it is killed after.
        program: what it runs instead, as with `python -c`.

    Raises:
        subprocess.TimeoutExpired: it hangs, and was killed.
    """
    request = {"arguments": list(arguments), "cwd": str(cwd or Path.cwd()), "environment": dict(started)}
    request["program"] = program
    (in_there, in_here), (out_here, out_there), (err_here, err_there) = (os.pipe() for _ in range(3))
    out, err = io.BytesIO(), io.BytesIO()
    streams = [
        threading.Thread(target=_feed, args=(in_here, stdin)),
        threading.Thread(target=_drain, args=(out_here, out)),
        threading.Thread(target=_drain, args=(err_here, err)),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.connect(_forking())
        socket.send_fds(asked, [b"."], [in_there, out_there, err_there])
        for descriptor in (in_there, out_there, err_there):
            os.close(descriptor)
        asked.sendall(json.dumps(request).encode())
        asked.shutdown(socket.SHUT_WR)
        for stream in streams:
            stream.start()
        answer = asked.makefile()
        pid = int(answer.readline())
        asked.settimeout(limit_s)
        try:
            code = int(answer.readline())
        except TimeoutError as error:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), limit_s) from error
        finally:
            for stream in streams:
                stream.join()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def _feed(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(content)


def _drain(descriptor: int, into: io.BytesIO) -> None:
    with open(descriptor, "rb") as pipe:
        into.write(pipe.read())


@functools.cache
def _forking() -> str:
    """The address of the process that forks; it ends with the tests."""
    address = f"\0earmark tests {os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, __file__, address[1:]], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(process.kill)
    return address


# --- the process that forks


def _load() -> None:
    for module in LOADED:
        importlib.import_module(module)
    assert "sounddevice" not in sys.modules, "it talks to the sound system when it is loaded"
    gc.collect()
    gc.freeze()  # or a run would look through all of it when it ends: 0.4 s


def _serve(address: str) -> str:
    """Returns in each process that is to be a run, and in no other; gives what is to be run, if it is not earmark."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks after those who wait for a run
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("\0" + address)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while listener in select.select([listener, sys.stdin], [], [])[0]:  # standard input ends with the tests
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _begin(connection)
            connection.close()
    os._exit(0)


def _begin(connection: socket.socket) -> str:
    """Forks a run and says its number, and how it ended; returns in the run alone, as `_serve`."""
    with connection:
        descriptors = socket.recv_fds(connection, 1, 3)[1]
        request = json.loads(connection.makefile().read())
        pid = os.fork()
        if pid:
            for descriptor in (
                0,
                1,
                2,
                *descriptors,
            ):  # whoever reads from the run waits for its end, and not for ours
                os.close(descriptor)
            connection.sendall(b"%d\n" % pid)
            connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os._exit(0)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["cwd"]  # as `python -m` has it
    sys.argv[1:] = request["arguments"]
    return str(request["program"])


def _run(program: str) -> None:
    """Runs it, or earmark, to its end. What ends as it should ends at once."""
    code: object = 0
    try:
        if program:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    if isinstance(code, int):  # else it is a text to be shown
        _end(code)
    sys.exit(str(code))


def _end(code: int) -> None:
    """As the interpreter ends, but for taking apart all that was loaded: half of a run's time, for nothing."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):  # the interpreter says what it thinks of it
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code & 0xFF)
    sys.exit(code)


if __name__ == "__main__":
    _load()
    _run(_serve(sys.argv[1]))

"""The passphrase of an encrypted store: taken out of the environment, and given to a process of our own by a socket.

What a process has in its environment when it starts can be read in /proc/PID/environ by every process of the same
user, until it has made itself private (private.py); and whatever it starts inherits it. So a process of ours finds
no passphrase there. It inherits one end of a socket, makes itself private, asks, and is answered. A pipe would not
do: others can open it anew in /proc/PID/fd meanwhile, which they cannot do with a socket.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

from .own import environment_for_own

if TYPE_CHECKING:
    import subprocess

VARIABLE = "EARMARK_PASSPHRASE"
SOCKET_VARIABLE = "EARMARK_PASSPHRASE_SOCKET"  # number of the descriptor that a process of ours has inherited
ASKED = b"?"
ASKED_S = 120.0  # until a process that was started is private: Python's own start, on a Pi that is busy with another

_KEPT: dict[str, str] = {}


def take(environment: MutableMapping[str, str] = os.environ) -> None:
    """Takes it out of the environment, or from who has started this process; call it once that is private.

    Raises:
        OSError, ValueError, OverflowError: the variable names no socket, or nobody answers.
    """
    number = environment.pop(SOCKET_VARIABLE, None)
    found = environment.pop(VARIABLE, "")
    if number is not None:
        found = _asked(int(number)) or found
    if found:
        _KEPT[VARIABLE] = found


def given(environment: Mapping[str, str] = os.environ) -> str | None:
    """The passphrase of an environment; of this process's own also what was taken out of it. None: there is none."""
    return environment.get(VARIABLE) or (_KEPT.get(VARIABLE) if environment is os.environ else None)


def run_with(
    passphrase: str | None, line: Sequence[str], changes: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command of ours to its end, as `subprocess.run` does; what it writes is in the result.

    Args:
        passphrase: for it; None: it gets none.
        line: program and arguments; the program calls `take`.
        changes: of the environment.
        timeout_s: after which it is ended.

    Raises:
        subprocess.TimeoutExpired: it was.
        OSError: it cannot be started.
    """
    import socket  # which, as subprocess, most commands do without
    import subprocess

    ours, theirs = socket.socketpair()
    with ours, theirs:
        told = {} if passphrase is None else {SOCKET_VARIABLE: str(theirs.fileno())}
        with subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment_for_own(os.environ), **changes, **told},
            pass_fds=[theirs.fileno()] if told else [],
        ) as process:
            try:
                theirs.close()
                if passphrase is not None:
                    ours.settimeout(min(ASKED_S, timeout_s))
                    with contextlib.suppress(OSError):  # it has ended before, and its own words tell why
                        if ours.recv(1) == ASKED:
                            ours.sendall(passphrase.encode("utf-8", "surrogateescape"))
                ours.close()
                said = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(line, process.returncode, *said)


def _asked(number: int) -> str:
    import socket

    parts = []
    with socket.socket(fileno=number) as connection:
        connection.settimeout(ASKED_S)
        connection.sendall(ASKED)
        while part := connection.recv(4096):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "surrogateescape")

"""Taking part in one round: Flower's SuperNode is started, sends one answer, and is ended again.

What the SuperNode runs is code of the server. So it should run as a user who can read nothing of the people: it gets
what the agent's socket gives. `join` refuses to start it as one who can.
"""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earmark.engine.errors import DaemonError, FleetError, InstallationError
from earmark.engine.processes.own import environment_for_others, find_program

from .asking import free_port, require_agent

PACKAGE, NODE = "flwr", "flower-supernode"
SENT = "Sent successfully"  # what the SuperNode says of an answer that has arrived (flwr 1.42.0)
REFUSED = "Failed to activate SuperNode"  # of a key that is not registered
GRACE_S = 5.0  # for the group to end by itself
# Nothing is told to whoever makes Flower, and nothing is looked for
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Fleet:
    """Where the fleet's server is, and who this home is there."""

    superlink: str
    """HOST:PORT."""
    certificates: Path
    """That the server's certificate is checked with."""
    key: Path
    """This home's private key, whose public one is registered there."""


def require_flower() -> None:
    """Raises InstallationError where Flower is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise InstallationError(
            "Flower is not installed in this environment: `scripts/setup .venv-fleet fleet` makes one that has it"
        )


def require_stranger(*stores: Path) -> None:
    """Raises FleetError where this user can read people: code of the server is to be run."""
    readable = [store for store in stores if os.access(store, os.R_OK | os.X_OK)]
    if readable or os.geteuid() == 0:
        raise FleetError(
            f"this user can read {(*readable, 'everything')[0]}, and what is joined runs code of its server: run "
            "`earmark fleet join` as another user, as the unit earmark-fleet-join does; or say --same-user if you "
            "trust the server"
        )


def join(fleet: Fleet, agent: Path, wait_s: float, tell: Callable[[str], object]) -> None:
    """Takes part in one round, waiting so long for it to begin and end.

    Raises:
        DaemonError: no agent answers, or the server cannot be reached or does not know this home's key.
        FleetError: no round was there in that time, or this home's answer was a refusal.
        InstallationError: Flower is not installed.
    """
    require_flower()
    require_agent(agent)
    for path in (fleet.certificates, fleet.key):
        if not path.is_file():
            raise FleetError(f"{path}: no such file: --certificates and --key name this home's ({path.name})")
    program = find_program(NODE, [sysconfig.get_path("scripts")])
    if program is None:
        raise InstallationError(
            f"{NODE} is not in {sysconfig.get_path('scripts')}, or others may write there: make the environment anew"
        )
    with tempfile.TemporaryDirectory(prefix="earmark-fleet-") as home:
        words = [program, "--superlink", fleet.superlink, "--root-certificates", str(fleet.certificates)]
        words += ["--auth-supernode-private-key", str(fleet.key), "--node-config", f'agent="{agent}"']
        words += ["--port", str(free_port()), "--max-wait-time", str(int(wait_s))]
        environment = {**environment_for_others(os.environ), **QUIET, "FLWR_HOME": home}
        node = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it is ended, too
        try:
            follow(node, wait_s, tell)
        finally:
            end(node)


def follow(node: subprocess.Popen[bytes], wait_s: float, tell: Callable[[str], object]) -> None:
    """Reads what the SuperNode says until its answer has arrived."""
    assert node.stdout is not None
    until_s, last, rest = time.monotonic() + wait_s, "", b""
    while (left_s := until_s - time.monotonic()) > 0:
        if not select.select([node.stdout], [], [], left_s)[0]:
            break
        piece = os.read(node.stdout.fileno(), 65536)
        if not piece:
            raise DaemonError(f"the SuperNode ended: {last or 'it said nothing'}: is the server's address right?")
        *lines, rest = (rest + piece).split(b"\n")
        for line in (each.decode("utf-8", "replace").strip() for each in lines):
            tell(line)
            if SENT in line:
                return
            if REFUSED in line:
                raise DaemonError(
                    f"the server does not let this home in ({line}): is its public key registered there?"
                )
            last = line or last
    raise FleetError(f"no round in {wait_s:.0f} s: nothing left this device (unless `earmark fleet status` says so)")


def end(node: subprocess.Popen[bytes]) -> None:
    """The SuperNode and all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(node.pid, number)
            node.wait(GRACE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    node.wait()

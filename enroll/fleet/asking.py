"""The other end of the agent's socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from earmark.engine.errors import DaemonError

FILE_NAME = "agent.sock"
SYSTEM_FOLDER = Path("/run/earmark-fleet")


def agent_socket(asked: str | None, environment: Mapping[str, str]) -> Path:
    """Where the agent's socket is: as asked, in the service manager's folder, the user's, or the system's."""
    if asked:
        return Path(asked).absolute()
    if environment.get("RUNTIME_DIRECTORY"):
        return Path(environment["RUNTIME_DIRECTORY"].split(":")[0]) / FILE_NAME
    if environment.get("XDG_RUNTIME_DIR"):
        return Path(environment["XDG_RUNTIME_DIR"]) / "earmark-fleet" / FILE_NAME
    return SYSTEM_FOLDER / FILE_NAME


def free_port() -> int:
    """A port of this machine that nothing listens on, at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_answered(path: Path) -> bool:
    """Whether an agent listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def require_agent(path: Path) -> None:
    """Raises DaemonError where no agent listens."""
    if not is_answered(path):
        raise DaemonError(f"{path}: no agent answers: start `earmark fleet agent`, or name its socket with --socket")

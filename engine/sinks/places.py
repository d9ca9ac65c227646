"""Where the daemon's socket is; apart from the socket itself, which needs asyncio: 13 ms and 7 MB."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "earmark.sock"
PROTOCOL = 2
"""What the socket can be asked for, as docs/service.md has it; the status says it. 1 knew `status` alone."""
SETTABLE = ("wake.mode", "wake.sensitivity", "wake.sensitivity_of", "people.sensitivity", "people.sensitivity_of")
"""What root and the daemon's own user can change through it, and the daemon keeps."""
SYSTEM_FOLDER = Path("/run/earmark")


def socket_path(setting: str, environment: Mapping[str, str]) -> Path | None:
    """Where the socket is made; `auto` is the service manager's runtime folder, else the user's, else nowhere."""
    if setting != "auto":
        return Path(setting) if setting else None
    if environment.get("RUNTIME_DIRECTORY"):
        return Path(environment["RUNTIME_DIRECTORY"].split(":")[0]) / FILE_NAME
    if environment.get("XDG_RUNTIME_DIR"):
        return Path(environment["XDG_RUNTIME_DIR"]) / "earmark" / FILE_NAME
    return None


def sockets_to_ask(setting: str, environment: Mapping[str, str]) -> list[Path]:
    """Where a daemon's socket may be, from the outside: the user's own daemon first, then the system's."""
    if setting != "auto":
        return [Path(setting)] if setting else []
    own = environment.get("XDG_RUNTIME_DIR")
    return [*([Path(own) / "earmark" / FILE_NAME] if own else []), SYSTEM_FOLDER / FILE_NAME]

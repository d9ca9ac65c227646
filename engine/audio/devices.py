"""What stands between this process and a microphone, without opening one; needs no PortAudio."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import DeviceError
from ..processes.own import own_code

ANSWER_S = 15.0  # starting Python and PortAudio takes a second, on the slowest board five
_ASK = """
import sys
from earmark.engine.errors import DeviceError
try:
    from earmark.engine.audio.microphone import require_listed
    require_listed(sys.argv[1] or None, int(sys.argv[2]) if sys.argv[2] else None)
except DeviceError as error:
    print(error)
    sys.exit(1)
"""


def require_device(device: str | None, channel: int | None = None) -> None:
    """Whether there is such a capture device with that channel, asked by another process.

    PortAudio knows the devices that there were when it was initialised, and cannot be initialised anew while one is
    open: who records cannot ask by itself.

    Raises:
        DeviceError: there is none; or the sound system does not answer.
    """
    try:
        done = subprocess.run(
            own_code(_ASK, device or "", "" if channel is None else str(channel)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"microphone {device or 'default'!r}: the sound system has not answered for {ANSWER_S:g} s"
        ) from error
    if done.returncode:
        lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
        raise DeviceError(lines[-1] if lines else f"microphone {device or 'default'!r}: cannot be asked for")


def no_microphone(**places: object) -> str:
    """That there is none, and what to do about it; arguments as `what_is_missing`."""
    return f"no microphone: {what_is_missing(**places) or 'plug one in, or start the sound server'}"  # type: ignore[arg-type]


def what_is_missing(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    may: Callable[[Path, int], bool] = os.access,
) -> str:
    """Why this process can see no sound card, and what to do; empty where it sees one that records.

    Args:
        root: of the file system.
        environment: of this process.
        may: `os.access`.
    """
    folder = root / "dev" / "snd"
    inside = is_container(root, environment)
    if not any(folder.glob("controlC*")):
        if inside:
            return (
                "this container has no /dev/snd: start it with `--device /dev/snd`, or with the sound server's socket"
            )
        return "there is no sound card in /dev/snd: plug one in, or load its driver"
    capture = sorted(folder.glob("pcmC*D*c"))
    if not capture:
        return "no sound card in /dev/snd records: plug in one that does"
    if not any(may(path, os.R_OK | os.W_OK) for path in capture):
        who = _user()
        if inside:
            return f"{who} may not open /dev/snd: start this container with `--group-add audio`"
        return (
            f"{who} may not open /dev/snd: `sudo usermod -aG audio {who}`, then log in again or restart the service"
        )
    return ""


def is_container(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a container, as Docker, Podman, Kubernetes and systemd mark theirs."""
    marks = (root / ".dockerenv", root / "run" / ".containerenv", root / "run" / "systemd" / "container")
    return "container" in environment or "KUBERNETES_SERVICE_HOST" in environment or any(map(Path.exists, marks))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in containers
        return f"user {os.getuid()}"

"""Which network's file may be opened here: one that we know, or one that another process has survived.

A network is native code in all but name: the runtime believes its file, and a wrong number in it ends the process. So
what is not ours is first tried in a process of its own (`trial`). That it went well is remembered by its checksum.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
from pathlib import Path

from ..errors import ModelError, system_text_of, text_of
from ..storage.user_folders import networks_folder
from . import runtime

_LOG = logging.getLogger(__name__)

PINNED = {
    # what ships (models/*.json)
    "4b1aaee8cf19ae35081bd9be2c802100f5c6bcbb3ef32917a09658e67850e609": "speaker.tflite",
    "b26ac3adecadd3311b1ea1dfaf3c5f56da76e3bb16f6736015f0a582fe32cda7": "head.tflite",
    "2effd817fccfd435e0b6a928dae32b581a7919d15c063fa193c98cf556b01ffb": "block.tflite",
    "3434106b47632202306c7b23ee58510db938a430d7f4dbf01bc8928218f124e9": "phrase.tflite",
    "64d884399e1cc1fa5d2b38df6a41d44931a49c654915390fd68c5abc08a0546d": "phrase_head.tflite",
    # what pymicro-wakeword carries
    "9011a8155b04de858c48038529235cbc0e42e9fca05a55bf588cb80a653a723b": "alexa.tflite",
    "21a7976add39ee24ec96c63d96b7aaa18e24d1d9824b963e451da8feb4b78b77": "hey_jarvis.tflite",
    "c2a9b6ed51182db72e014781d5a4ece1929dc232a40b5b4be384f0295f0e1571": "hey_mycroft.tflite",
    "d89128c4d16a72de429119fb2254ce46649553c2a24f5dd840175c80d7b9d094": "okay_nabu.tflite",
}
"""sha256 -> the networks that earmark was made and tested with; they are opened at once."""

RULES = 2  # raised whenever `inspection` or `trial` ask for more: what passed before is tried again
TRIAL_S = 60.0  # starting Python takes 0.2 s on a PC, 2 s on a Zero 2; computing is limited by the trial itself
PASSED: set[str] = set()
"""`kind-sha256` of what this process has admitted, beside what is pinned."""


def admit(content: bytes, sha256: str, name: str, kind: str) -> runtime.Model:
    """A network's file as `runtime.open_model` takes it.

    Args:
        content: of the file.
        sha256: of the content, in hex: who reads a file knows it already, and the largest takes a Zero 2 30 ms.
        name: for messages.
        kind: `keyword`, `speaker`, `head` or `block`: how it is tried.

    Raises:
        ModelError: it breaks a rule, or the runtime did not survive it.
    """
    if sha256 in PINNED or f"{kind}-{sha256}" in PASSED:
        return runtime.Model(content, name)
    record = f"{kind}-{sha256}-{RULES}-{runtime.version().replace(' ', '-')}"
    if not _is_remembered(record):
        _try(content, name, kind)
        _remember(record, name)
    PASSED.add(f"{kind}-{sha256}")
    return runtime.Model(content, name)


def _try(content: bytes, name: str, kind: str) -> None:
    import subprocess  # 5 ms that only a network from elsewhere costs

    from ..processes.own import environment_for_others, own_command

    # what a network reads beyond its memory is then never what it hopes for
    environment = {**environment_for_others(os.environ), "MALLOC_PERTURB_": "165", "OPENBLAS_NUM_THREADS": "1"}
    _LOG.info("%s: not a network that earmark knows: it is tried first", name)
    try:
        done = subprocess.run(
            own_command("earmark.engine.networks.trial", kind, name),
            input=content,
            capture_output=True,
            timeout=TRIAL_S,
            env=environment,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{name}: trying this network took longer than {TRIAL_S:g} s: it is not used") from error
    except OSError as error:
        raise ModelError(f"{name}: this network cannot be tried: {system_text_of(error)}") from error
    if done.returncode < 0:
        raise ModelError(
            f"{name}: the process that tried this network was ended by {_signal(-done.returncode)}: "
            "it is damaged or made to harm, and is not used: copy or download it again"
        )
    said = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise ModelError(said[-1] if said else f"{name}: trying this network ended with code {done.returncode}")


def _signal(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _is_remembered(record: str) -> bool:
    with contextlib.suppress(OSError, RuntimeError):
        state = os.lstat(networks_folder() / record)
        return stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid()
    return False


def _remember(record: str, name: str) -> None:
    """Where it cannot be, the network is tried again next time: that costs a start 0.3 s, and nothing else."""
    try:
        folder: Path = networks_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(folder / record, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except (OSError, RuntimeError) as error:
        _LOG.info("%s: that it was tried cannot be remembered: %s", name, text_of(error))

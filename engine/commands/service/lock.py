"""What the service should be made of: each package in one version, by its sha256 (requirements.txt beside this).

`scripts/parts/lock.py` writes that file. pip checks the sums when it installs; here only versions are compared.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.txt")
_PIN = re.compile(r"^([\w.-]+)==([\w.+!-]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)
_CONDITION = re.compile(r'(python_version|platform_machine) (==|<=|>=) "([\w.]+)"')
_BUILDS = {"setuptools"}
"""Makes a wheel, and is not needed to run."""


def pins(text: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Package -> version, for this Python and machine.

    Args:
        text: of the lock.
        environment: `python_version` and `platform_machine`; None: as here.
    """
    here = environment or {
        "python_version": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "platform_machine": platform.machine(),
    }
    return {name: version for name, version, marker in _PIN.findall(text) if _holds(marker, here)}


def remarks() -> list[str]:
    """Which packages are others than the lock's, and what puts that right; nothing where all are as locked."""
    others = []
    for name, version in pins(LOCK.read_text("utf-8")).items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "none"
        if found != version and name not in _BUILDS:
            others.append(f"{name} {found}, not {version}")
    if not others:
        return []
    return [
        f"{len(others)} packages are not those that earmark locks by their sums: {'; '.join(others[:3])}"
        f"{' …' if len(others) > 3 else ''}: `{install_line(sys.executable)}`"
    ]


def install_line(python: str) -> str:
    """What installs the packages of the lock."""
    words = [python, "-I", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    return shlex.join(words)


def _holds(marker: str, here: Mapping[str, str]) -> bool:
    """Whether a marker, of those that `scripts/parts/lock.py` writes, is true: `or` of `and` of comparisons."""
    return not marker or any(
        all(_compared(here[key], how, value) for key, how, value in _CONDITION.findall(part))
        for part in marker.split(" or ")
    )


def _compared(found: str, how: str, value: str) -> bool:
    left, right = (tuple(map(int, text.split("."))) if text[0].isdigit() else text for text in (found, value))
    return left == right or (how == "<=" and left < right) or (how == ">=" and left > right)  # type: ignore[operator]

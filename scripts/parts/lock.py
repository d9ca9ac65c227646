"""Writes anew what the service installs, each file by its sha256: `python scripts/parts/lock.py`.

pip resolves the requirements of setup.cfg once for each Python and machine of a supported system, and tells which
wheels it would take. Needs the network, and the Pythons of `PYTHONS` on the PATH. docs/supply_chain.md says when.
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "engine" / "commands" / "service" / "requirements.txt"
PYTHONS = ("3.11", "3.12", "3.13")
"""Of Debian and Raspberry Pi OS 12, Ubuntu 24.04, and Debian and Raspberry Pi OS 13."""
MACHINES = ("aarch64", "x86_64")
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35, 36)  # 2.36 is Debian 12's; the numbers are those for which wheels are made
EXTRAS = ("enroll", "service", "encryption", "zeroconf")
BUILDS = "setuptools"  # makes the wheel, where the service is installed from a clone
HEAD = """\
# Written by scripts/parts/lock.py: what the service installs, and nothing else.
#     pip install --require-hashes --only-binary :all: -r THIS_FILE
# Pythons: {pythons}
# machines: {machines}
"""
Target = tuple[str, str]
"""Python and machine."""


@dataclass
class Pin:
    """One version of a package, and where it is wanted."""

    name: str
    version: str
    licence: str
    hashes: set[str] = field(default_factory=set)
    targets: set[Target] = field(default_factory=set)
    needs: set[str] = field(default_factory=set)


def main() -> int:
    """Writes the file, and prints what has changed; with --check it only says whether anything has."""
    parser = argparse.ArgumentParser(description="Lock what the service installs.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a newer one is allowed")
    check = parser.parse_args().check
    old = LOCK.read_text("utf-8") if LOCK.exists() else ""
    new = "".join(written(resolved()))
    changes = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    print(*[line for line in changes if re.match(r"[-+][\w.-]+==", line)], sep="\n")
    if not check:
        LOCK.write_text(new, "utf-8")
    return 1 if check and new != old else 0


def requirements() -> list[str]:
    """What setup.cfg asks for, with the extras that a service may need, and what builds a wheel."""
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    extras = read["options.extras_require"]

    def lines(text: str) -> Iterator[str]:
        for line in filter(None, (line.strip() for line in text.splitlines())):
            inner = re.fullmatch(r"earmark\[(.*)\]", line)
            if inner:
                for name in inner[1].split(","):
                    yield from lines(extras[name])
            elif not line.startswith("#"):
                yield line

    wanted = [*lines(read["options"]["install_requires"])]
    for name in EXTRAS:
        wanted += lines(extras[name])
    return [*wanted, next(line for line in lines(extras["dev"]) if line.startswith(BUILDS))]


def resolved() -> list[Pin]:
    """All packages for all targets, by name."""
    pins: dict[tuple[str, str], Pin] = {}
    with tempfile.TemporaryDirectory() as folder:
        # one that tells licences; the index is asked, and nothing that this machine keeps
        pip = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": folder, "PIP_NO_INPUT": "1"}
        pip = {name: value for name, value in pip.items() if name not in ("PIP_FIND_LINKS", "PIP_CONSTRAINT")}
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "pip"], pip)
        for python in PYTHONS:
            for machine in MACHINES:
                print(f"Python {python} on {machine}", file=sys.stderr)
                report = json.loads(run(line_for(python, machine, folder), pip))
                for one in report["install"]:
                    add(pins, one, (python, machine))
    return sorted(pins.values(), key=lambda pin: (pin.name, pin.version))


def line_for(python: str, machine: str, folder: str) -> list[str]:
    """pip, told to resolve for a machine; for a Python it must be run by it: else markers are those of another."""
    line = [f"python{python}", "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    line += ["--target", f"{folder}/none", "--only-binary", ":all:", "--implementation", "cp"]
    line += ["--python-version", python, "--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    platforms = [f"manylinux_2_{number}_{machine}" for number in GLIBC] + [f"manylinux2014_{machine}"]
    return [*line, *(word for platform in platforms for word in ("--platform", platform)), *requirements()]


def run(line: Sequence[str], environment: dict[str, str]) -> str:
    """Its output; ends with what it said where it fails."""
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"lock.py: {' '.join(line[:4])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def add(pins: dict[tuple[str, str], Pin], one: dict[str, Any], target: Target) -> None:
    """A package of pip's report."""
    about = one["metadata"]
    key = normalized(about["name"]), about["version"]
    pin = pins.setdefault(key, Pin(*key, licence_of(about)))
    pin.hashes.add(one["download_info"]["archive_info"]["hashes"]["sha256"])
    pin.targets.add(target)
    for wanted in about.get("requires_dist", []):  # what is not wanted here is left out by `written`
        if "extra ==" not in wanted:
            name = normalized(re.match(r"[\w.-]+", wanted)[0])  # type: ignore[index]
            pin.needs.add(name)


def normalized(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(about: dict[str, Any]) -> str:
    """The licence as the package tells it: an SPDX expression, a short text, or a classifier."""
    expression, text = str(about.get("license_expression", "")), str(about.get("license", ""))
    if expression or (text and "\n" not in text and len(text) < 60):
        return expression or text
    classifiers = [line.split(" :: ")[-1] for line in about.get("classifier", []) if line.startswith("License")]
    return "; ".join(classifiers) or "not told"


def written(pins: Sequence[Pin]) -> Iterator[str]:
    """The file, line by line."""
    yield HEAD.format(pythons=" ".join(PYTHONS), machines=" ".join(MACHINES))
    known = {pin.name for pin in pins}
    for pin in pins:
        yield f"{pin.name}=={pin.version}{marker(pin.targets)}"
        for digits in sorted(pin.hashes):
            yield f" \\\n    --hash=sha256:{digits}"
        needs = sorted(pin.needs & known)
        yield f"\n    # licence: {pin.licence}\n" + (f"    # needs: {' '.join(needs)}\n" if needs else "")


def marker(targets: set[Target]) -> str:
    """Where a pin is for; nothing: everywhere.

    The pins of the oldest and the newest Python hold for those before and behind them, too: where no wheel has such a
    sum, pip says so, while a package without any pin would be missing without a word.
    """
    pythons = tuple(python for python in PYTHONS if any(python == each for each, _ in targets))
    if targets == {(python, machine) for python in PYTHONS for machine in MACHINES}:
        return ""
    if targets == {(python, machine) for python in pythons for machine in MACHINES}:
        if pythons == PYTHONS[: len(pythons)]:
            return f' ; python_version <= "{pythons[-1]}"'
        if pythons == PYTHONS[-len(pythons) :]:
            return f' ; python_version >= "{pythons[0]}"'
        return " ; " + " or ".join(f'python_version == "{python}"' for python in pythons)
    return " ; " + " or ".join(
        f'(python_version == "{python}" and platform_machine == "{machine}")' for python, machine in sorted(targets)
    )


if __name__ == "__main__":
    sys.exit(main())

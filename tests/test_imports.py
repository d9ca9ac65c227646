"""Who may import whom, and that the daemon stays light."""

from __future__ import annotations

import ast
import configparser
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Read, Takes

from earmark.engine.person import PersonStore, Voiceprint

ROOMS = ("engine", "enroll", "models")
FILES = sorted(
    [path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")] + [REPOSITORY / "cli.py"],
    key=lambda path: path.relative_to(REPOSITORY).as_posix(),
)

# What is imported -> the only files or folders that may
ALLOWED = {
    "earmark.enroll": ("enroll/", "models/"),
    "earmark.models": ("models/",),
    "earmark.cli": (),
    "tests": (),
    "scripts": (),
    "conftest": (),
    "tensorflow": ("models/",),
    "keras": ("models/",),
    "torch": ("models/",),
    "librosa": (),
    "matplotlib": ("enroll/",),
    "rich": ("enroll/",),
    "sounddevice": ("engine/microphone.py",),
    "soundfile": ("engine/files.py",),
    "threading": (
        "engine/daemon.py",
        "engine/microphone.py",
        "engine/runtime.py",
        "engine/sinks/",
        "engine/stats.py",
    ),
    "time": (
        "enroll/learn_commands.py",
        "engine/daemon.py",
        "engine/journal.py",
        "engine/microphone.py",
        "engine/sinks/",
        "engine/stats.py",
        "engine/systemd.py",
        "enroll/bench.py",
    ),
    "datetime": ("engine/journal.py", "engine/learn_commands.py", "engine/sinks/"),
    "signal": ("engine/daemon.py", "engine/sinks/hook.py"),
    "socket": ("engine/sinks/", "engine/status.py", "engine/systemd.py"),
    "wyoming": ("engine/sinks/wyoming.py",),
    "paho": ("engine/sinks/mqtt.py",),
    "prometheus_client": ("engine/sinks/metrics.py",),
    "cryptography": ("engine/vault.py",),
    "pickle": ("models/speaker_net.py",),
}

ONLY_FOR_US = {"dev", "build", "train"}  # extras
IMPORT_OF = {"paho-mqtt": "paho", "pymicro-features": "micro_features_cpp"}  # where it is not the package's name

HEAVY = {"tensorflow", "torch", "librosa", "matplotlib", "rich", "scipy", "soundfile", "sounddevice", "numba"}
HEAVY |= {"cryptography"}  # for a store that is encrypted, and for no other


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def module_name(path: Path) -> str:
    """engine/audio.py -> earmark.engine.audio."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(("earmark", *(part for part in parts if part != "__init__")))


def imported(path: Path) -> Iterator[str]:
    """Everything that a file imports, inside functions too; `from a import b` is a.b."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def texts(path: Path) -> Iterator[str]:
    """The strings of a file: a runtime is imported by its name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_the_files_are_found_and_their_imports_understood() -> None:
    assert {place(path) for path in FILES} >= {"engine/detector.py", "enroll/train.py", "models/export.py", "cli.py"}
    names = set(imported(REPOSITORY / "engine" / "detector.py"))
    assert names >= {"numpy", "earmark.engine.audio.Int16", "earmark.engine.frontend.Ring"}
    assert "earmark.engine.microphone.input_devices" in set(imported(REPOSITORY / "engine" / "doctor.py"))


@pytest.mark.parametrize("package", ALLOWED)
def test_only_the_permitted_files_import(package: str) -> None:
    users = {place(path) for path in FILES if any(is_inside(name, package) for name in imported(path))}
    assert {user for user in users if not user.startswith(ALLOWED[package])} == set()


def test_engine_has_no_import_cycle() -> None:
    modules = {module_name(path): path for path in FILES if place(path).startswith("engine/")}
    graph = {
        module: {other for name in imported(path) for other in modules if is_inside(name, other)} - {module}
        for module, path in modules.items()
    }
    package = graph.pop("earmark.engine")
    assert package <= {"earmark.engine"}, "engine/__init__.py is imported before every module: it imports none"
    order = list(
        graphlib.TopologicalSorter({key: uses - {"earmark.engine"} for key, uses in graph.items()}).static_order()
    )
    assert order.index("earmark.engine.errors") < order.index("earmark.engine.detector")


def test_what_an_installation_brings_is_imported() -> None:
    """A package that nothing uses costs a small machine its memory card."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    extras = config["options.extras_require"]
    wanted = [config["options"]["install_requires"], *(extras[name] for name in extras if name not in ONLY_FOR_US)]
    lines = [line for text in wanted for line in text.split("\n") if line and not line.startswith(("#", "earmark["))]
    packages = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines}
    assert packages >= {"numpy", "soxr", "matplotlib", "paho-mqtt", "cryptography"}
    files = [path for path in FILES if place(path).startswith(("cli", "engine", "enroll"))]
    names = {name for path in files for name in (*imported(path), *texts(path))}
    roots = {name.split(".")[0] for name in names}
    names_of = {package: IMPORT_OF.get(package, package.replace("-", "_")) for package in packages}
    assert {package for package, name in names_of.items() if name not in roots} == set()


@pytest.mark.parametrize("path", FILES, ids=place)
def test_no_global_statement(path: Path) -> None:
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Global)]
    assert lines == []


def test_the_daemon_loads_nothing_heavy(slt: Voiceprint, takes: Takes, read: Read, tmp_path: Path) -> None:
    """Not even to say whose voice it is."""
    PersonStore(tmp_path).save(slt)
    arguments = ["listen", "-", "--json", "--store", str(tmp_path)]
    program = (
        "import json, sys\n"
        "from earmark.cli import main\n"
        f"code = main({arguments!r})\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    take = read(takes("slt", "okay_nabu", "test")[0]).astype("<i2")
    done = subprocess.run([sys.executable, "-c", program], input=take.tobytes(), capture_output=True, check=False)
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (event["person"], event["keyword"]) == ("slt", "okay_nabu")
    loaded = {name.split(".")[0] for name in json.loads(stderr.splitlines()[-1])}
    assert loaded >= {"earmark", "numpy", "soxr"}
    assert loaded & HEAVY == set()

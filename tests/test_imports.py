"""Who may import whom, and that the daemon stays light."""

from __future__ import annotations

import ast
import configparser
import functools
import graphlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Read, Takes

from earmark.engine.people.store import PersonStore, Voiceprint

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
    "matplotlib": ("enroll/evaluation/plots.py",),
    "rich": ("enroll/guided/",),
    "sklearn": ("enroll/training/trainers/linear.py",),
    "sounddevice": ("engine/audio/microphone.py",),
    "soundfile": (
        "engine/audio/files.py",
        "enroll/training/telephone.py",
        "models/speech_pack.py",
        "models/speech_bank.py",
    ),
    "starlette": ("enroll/web/",),
    "uvicorn": ("enroll/web/serving.py",),
    "h11": ("enroll/web/serving.py",),
    "jinja2": ("enroll/web/pages.py",),
    "threading": (
        "engine/audio/microphone.py",
        "engine/audio/quiet_stderr.py",
        "engine/daemon/daemon.py",
        "engine/sinks/",
        "engine/storage/atomic.py",
        "enroll/web/hearing.py",
        "enroll/web/house.py",
    ),
    "concurrent": (
        "enroll/evaluation/workers.py",
        "enroll/commands/evaluate_shards.py",
        "models/speech_pack.py",
        "models/speech_bank.py",
    ),
    "multiprocessing": (),
    "time": (
        "engine/audio/microphone.py",
        "engine/daemon/",
        "engine/history/clock.py",
        "engine/history/journal.py",
        "engine/sinks/",
        "engine/commands/status.py",
        "enroll/commands/bench.py",
        "enroll/commands/live.py",
        "enroll/commands/learn_now.py",
        "enroll/web/access.py",
        "enroll/fleet/join.py",
        "enroll/fleet/ledger.py",
        "models/train_speaker.py",
    ),
    "datetime": (
        "engine/history/",
        "engine/commands/learn_commands.py",
        "engine/sinks/",
        "enroll/commands/fleet_commands.py",
        "enroll/web/",
    ),
    "signal": (
        "cli.py",
        "engine/daemon/daemon.py",
        "engine/networks/admission.py",
        "engine/sinks/hook.py",
        "enroll/fleet/join.py",
    ),
    "socket": (
        "engine/sinks/",
        "engine/commands/status.py",
        "engine/daemon/systemd.py",
        "engine/processes/passphrase.py",
        "enroll/commands/web_command.py",
        "enroll/web/hearing.py",
        "enroll/fleet/asking.py",
    ),
    "wyoming": ("engine/sinks/wyoming/",),
    "paho": ("engine/sinks/mqtt/",),
    "prometheus_client": ("engine/sinks/metrics.py",),
    "cryptography": ("engine/people/vault.py", "enroll/fleet/signed.py", "enroll/web/certificate.py"),
    "pickle": ("models/speaker_net.py",),
    "platformdirs": ("engine/storage/user_folders.py",),
}

# The rooms of engine/ from the ground up; a module imports from its own room and from those before it. What lies at
# the door of engine/ itself is between the people and the history, but for the errors, which everybody may raise.
DOOR = "door"
BELOW = ("errors", "processes", "storage", "audio", "features", "networks", "settings", "phrases", "people")
FLOORS = (*BELOW, DOOR, "history", "sinks", "daemon", "commands")

ONLY_FOR_US = {"dev", "build", "train", "cluster"}  # extras
IMPORT_OF = {
    "paho-mqtt": "paho",
    "pymicro-features": "micro_features_cpp",
    "scikit-learn": "sklearn",
}  # where it is not the package's name

HEAVY = {
    "tensorflow",
    "torch",
    "librosa",
    "matplotlib",
    "rich",
    "scipy",
    "soundfile",
    "sounddevice",
    "numba",
    "sklearn",
}
HEAVY |= {"starlette", "uvicorn", "jinja2", "wsproto"}
HEAVY |= {"cryptography"}  # for a store that is encrypted, and for no other


def place(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def module_name(path: Path) -> str:
    """engine/audio/samples.py -> earmark.engine.audio.samples."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(("earmark", *(part for part in parts if part != "__init__")))


@functools.cache  # each file is asked once for every package
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Everything that a file imports, inside functions too; `from a import b` is a.b."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def texts(path: Path) -> Iterator[str]:
    """The strings of a file: a runtime is imported by its name."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_the_files_are_found_and_their_imports_understood() -> None:
    found = {place(path) for path in FILES}
    assert found >= {"engine/detector.py", "enroll/training/train.py", "models/export.py", "cli.py"}
    names = imported(REPOSITORY / "engine" / "detector.py")
    assert names >= {"numpy", "earmark.engine.audio.samples.Int16", "earmark.engine.features.frontend.Ring"}
    assert "earmark.engine.audio.microphone.input_devices" in imported(
        REPOSITORY / "engine" / "commands" / "doctor.py"
    )


def floor(module: str) -> int:
    """engine.audio.files -> the floor of `audio`; of engine.detector that of the door."""
    parts = module.removeprefix("earmark.engine.").split(".")
    return FLOORS.index("errors" if parts == ["errors"] else parts[0] if len(parts) > 1 else DOOR)


def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    rooms = {path.name for path in (REPOSITORY / "engine").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(FLOORS) - {"errors", DOOR}


def test_no_arrow_of_engine_points_upward() -> None:
    modules = {module_name(path): path for path in FILES if place(path).startswith("engine/")}
    upward = {
        (module, name)
        for module, path in modules.items()
        for name in imported(path)
        for other in [max((m for m in modules if is_inside(name, m)), key=len, default="")]
        if path.name != "__init__.py" and other.count(".") > 1 and modules[other].name != "__init__.py"
        if floor(other) > floor(module)
    }
    assert upward == set()


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports each by its bare name."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_no_room_is_a_hall() -> None:
    """About ten files a room: more is a room in which nobody finds anything."""
    rooms = {path.parent for path in FILES if place(path).startswith(("engine/", "enroll/"))}
    counts = {place(room): len([*room.glob("*.py")]) - (room / "__init__.py").exists() for room in rooms}
    assert {room: count for room, count in counts.items() if count > 12} == {}


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
    rooms = {name for name, path in modules.items() if path.name == "__init__.py"}
    for room in rooms:
        assert graph.pop(room) <= rooms, "a package is imported before each of its modules: it imports none"
    order = list(graphlib.TopologicalSorter({key: uses - rooms for key, uses in graph.items()}).static_order())
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
    lines = [node.lineno for node in ast.walk(parsed(path)) if isinstance(node, ast.Global)]
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

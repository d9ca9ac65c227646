"""What is in the wheel and in the sdist, and that both are the same whenever they are made."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

MOST_WHEEL_BYTES = 8_000_000
MODELS = {"speaker.tflite", "head.tflite", "cohort.npz", "impostors.npz", "block.tflite"}
MODELS |= {"phrase.tflite", "phrase_head.tflite", "phrase_bank.npz"}
CARDS = {f"{name.split('.')[0]}.json" for name in MODELS}
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]  # setuptools has arguments of its own
print(build_meta.build_sdist(folder), build_meta.build_wheel(folder))
"""


def tracked() -> list[str]:
    """What a clone has; where there is no git, what lies here."""
    if shutil.which("git") is not None:
        line = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout.splitlines()
    left_out = {"build", "dist", "__pycache__"}
    paths = (path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*") if path.is_file())
    return [str(p) for p in paths if not any(part.startswith(".") or part in left_out for part in p.parts)]


def build(folder: Path) -> tuple[Path, Path]:
    """sdist and wheel of a copy of the repository."""
    source = folder / "source"
    for name in tracked():
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, source / name)
    return build_in(source, folder)


def build_in(source: Path, folder: Path) -> tuple[Path, Path]:
    """sdist and wheel of `source`, which setuptools writes into too, in `folder`."""
    line = [sys.executable, "-c", BUILD, str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(line, cwd=source, capture_output=True, text=True, env=environment, check=False)
    if done.returncode and "No module named 'setuptools'" in done.stderr:
        pytest.skip("this environment has no setuptools")
    if done.returncode and "invalid command 'bdist_wheel'" in done.stderr:
        pytest.skip("this environment's setuptools needs the package wheel")
    assert done.returncode == 0, done.stderr
    sdist, wheel = done.stdout.splitlines()[-1].split()
    return folder / sdist, folder / wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("first"))


def modules(room: str) -> set[str]:
    return {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / room).rglob("*.py")}


def test_the_wheel_has_the_program_and_the_networks_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = modules("engine") | modules("enroll") | {"__init__.py", "__main__.py", "cli.py", "models/__init__.py"}
    wanted |= {"py.typed"}
    wanted |= {f"models/{name}" for name in MODELS | CARDS}
    wanted |= {"engine/commands/service/requirements.txt"}
    page = ("static", "templates", "texts")
    for folder in ("engine/daemon/units", "engine/commands/diagnosis/recordings", *(f"enroll/web/{n}" for n in page)):
        wanted |= {f"{folder}/{path.name}" for path in (REPOSITORY / folder).iterdir()}
    (man_page,) = (name for name in names if name.endswith(".data/data/share/man/man1/earmark.1"))
    assert names - {man_page} == {f"earmark/{name}" for name in wanted}


def test_the_wheel_asks_for_no_tensorflow_and_names_both_licences(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        (place,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        lines = wheel.read(place).decode().splitlines()
        licences = {name.rsplit("/", 1)[1] for name in wheel.namelist() if ".dist-info/" in name}
    always = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert always
    assert not [line for line in always if "tensorflow" in line or "torch" in line]
    assert licences >= {"LICENSE", "NOTICE"}


def test_the_wheel_is_small_enough_for_a_small_machine(built: tuple[Path, Path]) -> None:
    assert built[1].stat().st_size <= MOST_WHEEL_BYTES


def test_the_sdist_has_what_the_wheel_is_made_of(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        names = {member.name.split("/", 1)[1] for member in sdist if member.isfile()}
    wanted = modules("engine") | modules("enroll") | {f"models/{name}" for name in MODELS | CARDS}
    assert names >= wanted | {"cli.py", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE", "NOTICE", "README.md"}
    left = {name for name in names if name.startswith(("tests", "scripts", "docs", ".", "models/folds"))}
    assert left == set()
    assert {name for name in names if name.startswith("models/") and name.endswith(".py")} == {"models/__init__.py"}


def test_the_same_source_gives_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    _, again = build(tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(built[1].read_bytes()).digest()


def test_the_sdist_gives_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    subprocess.run(["tar", "-x", "-f", built[0], "-C", tmp_path], check=True)
    (source,) = tmp_path.iterdir()
    folder = tmp_path / "again"
    folder.mkdir()
    _, again = build_in(source, folder)
    assert contents(again) == contents(built[1])
    assert again.read_bytes() == built[1].read_bytes()


def contents(wheel: Path) -> dict[str, bytes]:
    """Name -> bytes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def install_pi(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [str(REPOSITORY / "scripts" / "install_pi"), *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


def test_the_install_script_shows_what_it_would_do(tmp_path: Path) -> None:
    """Nothing of it is done here (scripts/check_install does it): the steps, in order, up to the service."""
    wheel = tmp_path / "earmark.whl"
    wheel.touch()
    done = install_pi("--dry-run", wheel.name, folder=tmp_path)
    if done.returncode == 1 and "64-bit" in done.stderr:
        pytest.skip("a 32-bit machine, which the script refuses")
    assert done.returncode == 0, done.stderr
    steps = [step[2:] for step in done.stderr.splitlines() if step.startswith("+ ")]
    assert steps[1].split()[:2] == ["env", "DEBIAN_FRONTEND=noninteractive"]
    assert Path("/opt/earmark").exists() or steps[2] == "/usr/bin/python3 -I -m venv /opt/earmark"
    pip, lock = "/opt/earmark/bin/pip install", REPOSITORY / "engine/commands/service/requirements.txt"
    if "no files are locked for Python" in done.stderr:  # Debian 12 and 13 have 3.11 and 3.13
        installs = [
            f"{pip} --no-cache-dir --upgrade {wheel}[enroll,service]",
            f"{pip} --no-deps --force-reinstall {wheel}",
        ]
    else:
        installs = [
            f"{pip} --no-cache-dir --require-hashes --only-binary :all: -r {lock}",
            f"{pip} --no-cache-dir --no-deps --no-build-isolation --force-reinstall {wheel}",
        ]
    earmark = "/opt/earmark/bin/earmark"
    assert steps[-4:] == [*installs, f"{earmark} service install", f"{earmark} service status"]


def test_the_install_script_asks_no_index_for_a_name(tmp_path: Path) -> None:
    done = install_pi("--dry-run", "earmark", folder=tmp_path)
    assert (done.returncode, done.stderr) == (2, "install_pi: earmark: no such wheel or folder\n")

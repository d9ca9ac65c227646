"""What scripts/parts/machine finds out of a machine: Python, missing packages, an environment that does not fit.

Programs of the machine are stubs in a folder that is the whole PATH, so that any machine can be tried.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import REPOSITORY

TOOLS = [
    "bash",
    "basename",
    "cat",
    "cut",
    "dirname",
    "du",
    "env",
    "flock",
    "grep",
    "head",
    "id",
    "mktemp",
    "readlink",
    "realpath",
    "rm",
    "sed",
    "sh",
    "stat",
    "tail",
    "tee",
]
OLD = "#!/bin/sh\ncase $2 in *print*) echo 3.8.10 ;; *exit*) exit 1 ;; esac\n"  # as it answers what it is asked
NEW = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
NO_VENV = "#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; *print*) echo 3.11.2 ;; esac\n"
BROKEN = "#!/bin/sh\necho cannot load libpython >&2\nexit 127\n"
DPKG = '#!/bin/sh\nfor last; do :; done\ngrep -qx "$last" "$0.has" || exit 1\nprintf "install ok installed"\n'


class Bare:
    """A machine with few programs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.path / name).symlink_to(found)

    def add(self, name: str, content: str) -> None:
        (self.path / name).write_text(content)
        (self.path / name).chmod(0o755)

    def debian(self, *packages: str, user: int = 1000) -> None:
        self.add("dpkg-query", DPKG)
        (self.path / "dpkg-query.has").write_text("".join(f"{package}\n" for package in packages))
        self.add("apt-get", '#!/bin/sh\necho "$*" >>"$0.log"\n')
        (self.path / "id").unlink()
        self.add("id", f"#!/bin/sh\necho {user}\n")

    def installed(self) -> list[str]:
        log = self.path / "apt-get.log"
        return [line for line in log.read_text().splitlines() if "assume-no" not in line] if log.exists() else []

    def run(self, script: str, code: int = 0, user: int | None = None, **variables: str) -> list[str]:
        """What bash says of it, a line each."""
        functions = (REPOSITORY / "scripts/parts/machine").read_text()  # which another user may not be able to read
        line = f"set -euo pipefail\n{functions}\n{script}"
        env = {"PATH": str(self.path), "HOME": str(self.path), **variables}
        cwd = REPOSITORY if user is None else "/"
        run = ["bash", "-c", line]
        done = subprocess.run(run, env=env, cwd=cwd, user=user, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path)


def one_line(lines: Sequence[str]) -> str:
    """The single line with something to type, and none but its introduction before it."""
    assert len(lines) == 2, lines
    assert lines[1].startswith("    sudo apt-get install --no-install-recommends "), lines
    return lines[1].split("--no-install-recommends ")[1]


# --- Python, and the packages


def test_without_python_everything_that_is_missing_is_told_in_one_line(bare: Bare) -> None:
    bare.debian()
    lines = bare.run("required=(libportaudio2); find_python; need_packages mosquitto strace; echo on", code=1)
    assert one_line(lines) == "libportaudio2 python3 python3-venv mosquitto strace"


def test_what_is_there_is_not_told(bare: Bare) -> None:
    bare.debian("libportaudio2", "strace")
    bare.add("python3", NEW)
    lines = bare.run("required=(libportaudio2); find_python; need_packages mosquitto strace; echo on")
    assert lines[0] == "on", "nothing is missing that it cannot do without"
    assert one_line(lines[1:]) == "mosquitto"
    bare.debian("libportaudio2", "mosquitto", "strace")
    assert bare.run("required=(libportaudio2); find_python; need_packages mosquitto; echo on") == ["on"]


def test_root_installs_it_all_at_once(bare: Bare) -> None:
    bare.debian(user=0)
    bare.run("required=(libportaudio2); find_python; need_packages mosquitto")
    assert bare.installed() == [
        "update -qq",
        "install -y -qq --no-install-recommends libportaudio2 python3 python3-venv mosquitto",
    ]


def test_what_tests_can_do_without_does_not_stop_root(bare: Bare) -> None:
    bare.debian(user=0)
    bare.add("apt-get", '#!/bin/sh\necho "$*" >>"$0.log"\ncase "$*" in *-y*mosquitto*) exit 100 ;; esac\n')
    lines = bare.run("required=(libportaudio2); find_python; need_packages mosquitto; echo on")
    assert "on" in lines
    assert "earmark: not all of mosquitto: their tests are skipped" in lines
    assert bare.installed()[-1].endswith("libportaudio2 python3 python3-venv")


def test_a_python_that_is_too_old_is_said_with_what_to_do(bare: Bare) -> None:
    bare.debian("libportaudio2")
    bare.add("python3", OLD)
    (line,) = bare.run("find_python; echo on", code=1)
    assert "python3 is Python 3.8.10, and 3.9 or later is needed" in line
    assert "PYTHON=python3.11 scripts/demo" in line


def test_a_later_python_beside_an_old_one_is_taken(bare: Bare) -> None:
    bare.add("python3", OLD)
    bare.add("python3.10", NEW)
    lines = bare.run('find_python; echo "$python"')
    assert lines == ["python3.10", "earmark: python3 is 3.8.10, and 3.9 is needed: taking python3.10"]
    (line,) = bare.run("find_python", code=1, PYTHON="python3")
    assert "python3 is Python 3.8.10" in line, "whoever names one means it"


@pytest.mark.parametrize("name", ["python3.12", "/opt/none/python"])
def test_a_python_that_was_named_and_is_not_there_is_said(bare: Bare, name: str) -> None:
    bare.debian()
    (line,) = bare.run("find_python", code=1, PYTHON=name)
    assert f"there is no program {name}" in line


def test_a_python_that_does_not_run_is_said(bare: Bare) -> None:
    bare.add("python3", BROKEN)
    (line,) = bare.run("find_python", code=1)
    assert line == "earmark: python3 does not run; install it again. It says: cannot load libpython"


def test_without_debian_a_missing_python_is_said(bare: Bare) -> None:
    (line,) = bare.run("find_python", code=1)
    assert "there is no program python3: install Python 3.9 or later" in line


def test_a_python_without_venv_is_said(bare: Bare) -> None:
    """Debian's own gets its package; another one is whoever's who installed it."""
    bare.debian("libportaudio2")
    bare.add("python3.12", NO_VENV)
    (line,) = bare.run("find_python", code=1, PYTHON="python3.12")
    assert "python3.12 has no modules venv and ensurepip" in line


# --- the environment


@pytest.fixture
def environment_folder(tmp_path: Path) -> Path:
    """One that fits, with a pip that runs, as `venv` leaves it; made without one, which would take seconds."""
    folder = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (folder / "bin" / "pip").write_text(f"#!{folder.resolve()}/bin/python\n")
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "pip").mkdir()
    (packages / "pip" / "__main__.py").write_text("")
    return folder


def misfit(bare: Bare, folder: Path) -> str:
    bare.add("python3", NEW)
    return "\n".join(bare.run(f"find_python; misfit '{folder}'"))


def test_an_environment_that_fits_stays(bare: Bare, environment_folder: Path) -> None:
    assert misfit(bare, environment_folder) == ""


def test_one_that_is_not_there_fits(bare: Bare, tmp_path: Path) -> None:
    assert misfit(bare, tmp_path / "none") == ""


@pytest.mark.parametrize("what", ["a file", "an empty folder", "a dead link", "half made", "a Python that died"])
def test_one_whose_python_does_not_run_does_not_fit(bare: Bare, environment_folder: Path, what: str) -> None:
    folder = environment_folder
    python = folder / "bin" / "python"
    if what in ("half made", "a Python that died"):
        python.unlink()
        if what == "a Python that died":
            python.symlink_to("/usr/bin/python3.7-which-was-here-once")
    else:
        shutil.rmtree(folder)
        if what == "a file":
            folder.touch()
        elif what == "an empty folder":
            folder.mkdir()
        else:
            folder.symlink_to("/none/x")
    assert misfit(bare, folder) == "its Python does not run"


def test_one_of_another_python_does_not_fit(bare: Bare, environment_folder: Path) -> None:
    python = environment_folder / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\necho 3.8 True\n")
    python.chmod(0o755)
    assert misfit(bare, environment_folder).startswith("it is of Python 3.8, and python3 is 3.")


def test_one_without_pip_does_not_fit(bare: Bare, environment_folder: Path) -> None:
    (packages,) = environment_folder.glob("lib/python3*/site-packages")
    shutil.rmtree(packages / "pip")
    assert misfit(bare, environment_folder) == "it has no pip that runs"


def test_one_without_its_mark_does_not_fit(bare: Bare, environment_folder: Path) -> None:
    (environment_folder / "pyvenv.cfg").unlink()
    assert misfit(bare, environment_folder) == "it is no virtual environment"


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "copied"])
def test_one_that_was_moved_or_copied_does_not_fit(bare: Bare, environment_folder: Path, moved: bool) -> None:
    elsewhere = environment_folder.with_name("elsewhere")
    if moved:
        environment_folder.rename(elsewhere)
    else:
        shutil.copytree(environment_folder, elsewhere, symlinks=True)
    assert misfit(bare, elsewhere) == "its folder was moved or copied"


@pytest.mark.slow
def test_what_does_not_fit_is_made_anew_and_that_is_said(bare: Bare, environment_folder: Path) -> None:
    (environment_folder / "pyvenv.cfg").unlink()
    (environment_folder / "mine").touch()
    bare.add("python3", NEW)
    lines = bare.run(f"find_python; make_environment '{environment_folder}' 7")
    assert lines == [
        f"earmark: {environment_folder} is made anew: it is no virtual environment",
        f"earmark: making {environment_folder}: it will have about 7 MB",
    ]
    assert not (environment_folder / "mine").exists()
    assert misfit(bare, environment_folder) == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_one_of_another_user_says_how_to_remove_it() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "env").mkdir()
        bare = Bare(folder)
        bare.add("python3", "#!/bin/sh\necho 3.11\n")
        lines = bare.run(f"python=python3; make_environment '{folder / 'env'}' 7", code=1, user=65534)
        assert lines == [
            f"earmark: {folder / 'env'} is made anew: its Python does not run",
            f"earmark: {folder / 'env'} is of the user root: remove it with `sudo rm -r {folder / 'env'}`, and start "
            "again",
        ]


# --- pip, which is not silent


def test_pip_says_what_it_fetches_and_how_much_is_there(bare: Bare, tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text(
        "Collecting numpy<2\n"
        "  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl.metadata (61 kB)\n"
        "  Downloading numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl (18.3 MB)\n"
        "Downloading https://example.org/x/scipy-1.17.1-cp311-cp311-manylinux_2_28_x86_64.whl (35.0 MB)\n"
        "Using cached ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_17_x86_64.whl (12 MB)\n"
        "Installing collected packages: numpy, scipy\n"
        "Successfully installed numpy-1.26.4\n"
    )
    lines = bare.run(f"shown '{tmp_path}' <'{said}'")
    assert lines == ["    numpy (18.3 MB)", "    scipy (35.0 MB)", "    ai_edge_litert (12 MB)", "    unpacking"]


@pytest.mark.slow
def test_a_pip_that_says_nothing_of_use_is_not_silent(bare: Bare, tmp_path: Path) -> None:
    """Neither one that says nothing, nor one that says ten things a second that are not for people."""
    for name in ("sleep", "seq"):
        (bare.path / name).symlink_to(shutil.which(name) or "")
    for said in ("sleep 3", "for i in $(seq 30); do echo Collecting x; sleep 0.1; done"):
        lines = bare.run(f"quiet_s=1; {{ {said}; }} | shown '{tmp_path}'")
        assert lines, said
        assert all(re.fullmatch(r"    … \d+ MB", line) for line in lines)


def test_what_a_pip_that_fails_has_said_is_shown(bare: Bare, environment_folder: Path) -> None:
    (packages,) = environment_folder.glob("lib/python3*/site-packages")
    (packages / "pip" / "__main__.py").write_text(
        "import sys\nprint('ERROR: no matching distribution')\nsys.exit(3)\n"
    )
    lines = bare.run(f"pip_install '{environment_folder}' nothing", code=3, TMPDIR=str(bare.path))
    assert lines == ["ERROR: no matching distribution"]
    assert not list(bare.path.glob("tmp.*"))

"""What starts in a folder where others may write runs nothing of theirs."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import forked
import pytest
from conftest import REPOSITORY
from helpers_store import environment

from earmark.engine.processes import own
from earmark.engine.processes.own import environment_for_others, find_program, own_code, own_command

SHADOWED = (
    "argparse",
    "json",
    "logging",
    "subprocess",
    "typing",
    "numpy",
    "runpy",
    "site",
    "platformdirs",
    "zeroconf",
)
PLANTED = "import os\nopen(os.environ['PLANTED'], 'a').write(__name__ + '\\n')\n"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with modules of the names that earmark loads, a program `python3`, and user's packages of the same."""
    folder = tmp_path / "hostile"
    user = folder / "user" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for place in (folder, user):
        (place / "earmark" / "engine").mkdir(parents=True)
        for package in ("earmark", "earmark/engine"):
            (place / package / "__init__.py").write_text(PLANTED)
        for module in (*SHADOWED, "earmark/cli", "earmark/__main__", "sitecustomize", "usercustomize"):
            (place / f"{module}.py").write_text(PLANTED)
    (user / "planted.pth").write_text("import os; open(os.environ['PLANTED'], 'a').write('pth')\n")
    for program in ("python", "python3", "systemctl", "env"):
        path = folder / program
        path.write_text('#!/bin/sh\necho "$0" >> "$PLANTED"\n')
        path.chmod(0o755)
    return folder


def run(line: list[str], hostile: Path) -> tuple[int, str, str]:
    """Exit code, output, and what of the hostile folder was run."""
    planted = hostile / "planted"
    planted.write_text("")
    surroundings = environment(
        PLANTED=str(planted),
        PATH=f".:{hostile}:{os.environ['PATH']}",
        PYTHONPATH=str(hostile),
        PYTHONUSERBASE=str(hostile / "user"),
        PYTHONSTARTUP=str(hostile / "json.py"),
    )
    done = subprocess.run(line, cwd=hostile, env=surroundings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr, planted.read_text()


def test_the_folder_is_hostile(hostile: Path) -> None:
    """Else the other tests here would say nothing."""
    assert run([sys.executable, "-m", "earmark.cli", "--help"], hostile)[2] != ""
    assert run([sys.executable, "-c", "import argparse"], hostile)[2] != ""


def test_a_module_of_ours_is_run_and_nothing_that_lies_around(hostile: Path) -> None:
    code, said, planted = run(own_command("earmark.cli", "settings", "show", "--json"), hostile)
    assert (code, planted) == (0, ""), said
    assert json.loads(said.splitlines()[0])["key"] == "audio.device"


def test_code_of_ours_is_run_and_nothing_that_lies_around(hostile: Path) -> None:
    code = "import argparse, json, platformdirs\nimport earmark.engine\nprint(sys.argv[1:])\n"
    assert run(own_code(code, "a b", ""), hostile) == (0, "['a b', '']\n", "")


def test_a_process_that_lies_in_the_working_folder_itself_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A clone that was never installed, called from the folder around it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(own, "_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "relative", "/usr/lib/python3"])
    assert own._places() == [str(tmp_path), "/usr/lib/python3"]
    own.forget_working_folder()
    assert sys.path == [str(tmp_path), "/usr/lib/python3"]
    monkeypatch.setattr(own, "_ROOT", "/elsewhere")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), "relative", "/usr/lib/python3"])
    own.forget_working_folder()
    assert sys.path == ["/usr/lib/python3"]
    assert own._places() == ["/usr/lib/python3", "/elsewhere"]


def test_what_is_not_ours_does_not_see_keys_nor_the_service_manager() -> None:
    secret = dict.fromkeys(own.SECRETS, "x")
    assert environment_for_others({**secret, "PATH": "/bin"}) == {"PATH": "/bin"}


def test_what_is_ours_finds_a_credential_and_never_a_passphrase() -> None:
    secret = dict.fromkeys(own.SECRETS, "x")
    assert own.environment_for_own({**secret, "PATH": "/bin"}) == {"PATH": "/bin", "CREDENTIALS_DIRECTORY": "x"}


def test_a_program_is_looked_for_in_absolute_folders_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hostile: Path
) -> None:
    """Where we are root, only where nobody else may write."""
    monkeypatch.chdir(hostile)
    good = tmp_path / "good"
    good.mkdir(mode=0o755)
    for path in ("", ".", ":.", f"hostile:../{hostile.name}:"):
        monkeypatch.setenv("PATH", path)
        assert find_program("systemctl") is None
        assert environment_for_others(os.environ)["PATH"] == os.defpath
        monkeypatch.setenv("PATH", f"{path}:{good}:")
        assert find_program("systemctl") is None
        assert environment_for_others(os.environ)["PATH"] == str(good)
        own.forget_relative_path()
        assert os.environ["PATH"] == str(good)
    assert find_program("systemctl", [".", ""]) is None
    file = Path(shutil.copy(hostile / "systemctl", good))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_program("systemctl") == find_program("systemctl", [str(good)]) == str(file)
    assert find_program("./systemctl") == str(hostile / "systemctl")
    good.chmod(0o777)
    assert find_program("systemctl") == str(file)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert find_program("systemctl") is None
    good.chmod(0o755)
    file.chmod(0o757)
    assert find_program("systemctl") is None
    file.chmod(0o755)
    assert (find_program("systemctl") == str(file)) == (file.stat().st_uid == 0)


def test_a_command_runs_no_program_that_lies_around(hostile: Path) -> None:
    """Neither do the libraries that it loads: `uname` and `ld` are started by Python's own."""
    for name in ("pactl", "wpctl", "uname", "ld", "gcc", "objdump", "strace"):
        shutil.copy(hostile / "systemctl", hostile / name)
    code = (
        "import platform, os\nfrom earmark import cli\nfrom earmark.engine.audio.devices import server_microphone\n"
        "cli.main = lambda: (server_microphone(), platform.processor(), 0)[2]\ncli.process()\n"
    )
    for path in ("", f":{os.environ['PATH']}", f".:{os.environ['PATH']}"):
        planted = hostile / "planted"
        planted.write_text("")
        done = forked.run((), b"", hostile, environment(PLANTED=str(planted), PATH=path), 60, code)
        assert (done.returncode, planted.read_text()) == (0, ""), done.stderr


STARTS = re.compile(
    r"(subprocess\.(run|Popen|call|check_call|check_output|getoutput|getstatusoutput))|"
    r"(asyncio\.create_subprocess_\w+)|(os\.(exec\w+|spawn\w+|posix_spawnp?|system|popen))"
)
CLEANED = re.compile(r"\benvironment_for_(others|own)\(os\.environ\)")


def test_whatever_starts_a_process_keeps_the_passphrase_from_it() -> None:
    """Each call says which environment, and that is one without it: itself, or by the name that was given to one."""
    found = set()
    for room in ("engine", "enroll"):
        for path in (REPOSITORY / room).rglob("*.py"):
            place = path.relative_to(REPOSITORY).as_posix()
            tree = ast.parse(path.read_text("utf-8"))
            assigned = {
                target.id: ast.unparse(node.value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):  # by its name alone it would not be found here
                    assert not [one.name for one in node.names if STARTS.fullmatch(f"{node.module}.{one.name}")], (
                        place
                    )
                if not (isinstance(node, ast.Call) and STARTS.fullmatch(ast.unparse(node.func))):
                    continue
                given = " ".join(ast.unparse(word.value) for word in node.keywords if word.arg == "env")
                said = " ".join([given, *(assigned.get(name, "") for name in re.findall(r"\w+", given))])
                assert CLEANED.search(said), f"{place}, line {node.lineno}: an environment without the passphrase"
                found.add(place)
    assert found >= {"engine/processes/passphrase.py", "engine/sinks/hook.py", "engine/audio/devices.py"}


def test_each_program_is_found_before_it_is_started() -> None:
    """By `find_program`, or it is one of ours: nothing is started by a name that PATH decides about."""
    found = set()
    for room in ("engine", "enroll"):
        for path in (REPOSITORY / room).rglob("*.py"):
            place, text = path.relative_to(REPOSITORY).as_posix(), path.read_text("utf-8")
            assert place == "engine/processes/own.py" or "shutil.which(" not in text, place
            if any(isinstance(node, ast.Call) and STARTS.fullmatch(ast.unparse(node.func)) for node in _nodes(text)):
                found.add(place)
                assert re.search(r"\b(find_program|own_command|own_code)\(", text) or place in GIVEN, place
    assert found >= {*GIVEN, "engine/sinks/hook.py", "engine/audio/devices.py", "engine/commands/service/steps.py"}


def _nodes(text: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(text))


GIVEN = ("engine/processes/passphrase.py",)  # its callers say what


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_what_a_command_makes_is_writable_by_nobody_else(tmp_path: Path, umask: int) -> None:
    """What libraries make, too; what is private stays so."""
    code = (
        f"import os\nos.umask({umask})\nfrom pathlib import Path\nfrom earmark import cli\n"
        "from earmark.engine.storage.atomic import make_folder, write_synced\n"
        "def main():\n"
        "    Path('by a library').mkdir()\n    Path('by a library/file').write_text('')\n"
        "    make_folder(Path('private'))\n    write_synced(Path('private/file'), b'')\n    return 0\n"
        "cli.main = main\nos._exit(cli.process())\n"
    )
    done = forked.run((), b"", tmp_path, environment(), 60, code)
    assert done.returncode == 0, done.stderr
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "by a library": 0o777 & ~(umask | 0o022),
        "by a library/file": 0o666 & ~(umask | 0o022),
        "private": 0o700,
        "private/file": 0o600,
    }


def test_nothing_in_earmark_starts_python_in_another_way() -> None:
    starters = {
        path.relative_to(REPOSITORY).as_posix()
        for room in ("engine", "enroll")
        for path in (REPOSITORY / room).rglob("*.py")
        if "sys.executable" in path.read_text("utf-8")
    }
    assert starters <= {"engine/processes/own.py", *SERVICE}


SERVICE = (  # told, into a unit or a line for a person, with -I; nothing is started there
    "engine/commands/service/commands.py",
    "engine/commands/service/lock.py",
    "engine/commands/service/unit.py",
)

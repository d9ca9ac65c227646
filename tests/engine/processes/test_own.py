"""What starts in a folder where others may write runs nothing of theirs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from helpers_store import environment

from earmark.engine.processes import own
from earmark.engine.processes.own import environment_for_others, own_code, own_command

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

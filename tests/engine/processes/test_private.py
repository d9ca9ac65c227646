"""Nobody else reads the memory of what holds voices and keys."""

from __future__ import annotations

import ctypes
import subprocess
from types import SimpleNamespace

import pytest
from helpers_store import environment

from earmark import cli
from earmark.engine.processes.own import own_code
from earmark.engine.processes.private import keep_private

AT_END = """
import atexit, ctypes, runpy, sys
atexit.register(lambda: print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))
sys.argv[1:] = ["--version"]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["earmark", "earmark.cli"])
def test_every_command_is_private_however_it_is_started(module: str) -> None:
    done = subprocess.run(
        own_code(AT_END.format(module=module)), capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.splitlines()[-1] == "dumpable 0"
    assert done.stderr == ""


def refused(*_: object) -> int:
    ctypes.set_errno(1)
    return -1


@pytest.mark.parametrize(
    ("library", "why"),
    [(SimpleNamespace(prctl=refused), "refused"), (SimpleNamespace(), "prctl")],
    ids=["not permitted", "no such call"],
)
def test_where_it_cannot_be_so_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], library: object, why: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: library)
    monkeypatch.setattr(cli, "main", lambda: 7)
    assert why in keep_private()
    assert cli.process() == 7
    said = capsys.readouterr().err
    assert said.startswith("earmark: others may read keys and voices in the memory of this process: ")
    assert why in said

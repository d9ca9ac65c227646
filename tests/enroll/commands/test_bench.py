"""`earmark bench`: that it measures every stage; how long they take is nobody's business here."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_store import Run, earmark

from earmark.engine.errors import ModelError
from earmark.enroll.commands import live

pytestmark = pytest.mark.slow

STEADY = ("gate", "frontend", "keyword network okay_nabu", "all that runs always, with sound")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    picture = tmp_path_factory.mktemp("bench") / "costs.png"
    line = ["bench", "--json", "--keyword", "okay_nabu", "--against", "pymicro-wakeword", "--plot", str(picture)]
    line += ["--runs", "2"]
    return earmark(*line), picture


def test_every_stage_is_measured_in_its_unit(run: tuple[Run, Path]) -> None:
    rows = {row["stage"]: row for row in run[0].events}
    assert len(rows) == len(run[0].events) == 16
    units = [row["unit"] for row in rows.values()]
    assert {unit: units.count(unit) for unit in units} == {"µs per 10 ms": 7, "×": 1, "ms": 5, "s": 2, "MB": 1}
    for row in rows.values():
        assert 0 < row["lowest"] <= row["median"] <= row["highest"]
        steady = row["unit"] == "µs per 10 ms"
        assert row["core_share"] == (pytest.approx(row["median"] / 10_000) if steady else None)
    assert set(rows) >= set(STEADY)


def test_a_picture_is_drawn(run: tuple[Run, Path]) -> None:
    assert run[1].read_bytes().startswith(b"\x89PNG")


def test_another_peer_is_refused_with_what_there_is() -> None:
    done = earmark("bench", "--against", "porcupine", code=2)
    assert "only pymicro-wakeword is known here" in done.err


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAD_S", 1)


@pytest.mark.usefixtures("soon")
def test_a_program_in_real_time_costs_something() -> None:
    reader = [sys.executable, "-c", "import sys\nwhile sys.stdin.buffer.read(3200): pass"]
    row = live.cost(reader, np.zeros(16_000, np.int16), windows=2, window_s=1).to_json()
    assert 0 < row["lowest"] <= row["core_share"] <= row["highest"] < 1
    assert row["wakeups_per_s"] > 0
    assert (row["syscalls_per_s"] is None) == (shutil.which("strace") is None)
    assert row["syscalls_per_s"] is None or row["syscalls_per_s"] >= row["wakeups_per_s"] / 2


@pytest.mark.usefixtures("soon")
def test_a_program_that_ends_before_its_time_is_an_error() -> None:
    with pytest.raises(ModelError, match="ended before its time"):
        live.cost([sys.executable, "-c", ""], np.zeros(1600, np.int16), windows=1, window_s=1)


def test_one_object_a_line(run: tuple[Run, Path]) -> None:
    for line in run[0].out.splitlines():
        json.loads(line)

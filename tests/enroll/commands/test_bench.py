"""`earmark bench`: that it measures every stage; how long they take is nobody's business here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_store import Run, earmark

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


def test_one_object_a_line(run: tuple[Run, Path]) -> None:
    for line in run[0].out.splitlines():
        json.loads(line)

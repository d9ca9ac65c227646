"""The file of events: only our own, by its own name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from earmark.engine.errors import DaemonError
from earmark.engine.settings.schema import Jsonl
from earmark.engine.sinks.base import Control
from earmark.engine.sinks.files import JsonlSink


def sink(path: Path) -> JsonlSink:
    return JsonlSink(Jsonl(path=str(path)), cast(Control, None))


@pytest.mark.parametrize("kind", ["link", "link to nothing", "second name", "somebody else's"])
def test_events_are_not_appended_to_what_somebody_else_chose(tmp_path: Path, kind: str) -> None:
    target, file = tmp_path / "precious", tmp_path / "events.jsonl"
    target.write_text("precious")
    if kind.startswith("link"):
        file.symlink_to(target if kind == "link" else tmp_path / "new")
    elif kind == "second name":
        os.link(target, file)
    elif os.geteuid() == 0:
        os.chown(target, 12345, -1)
        target.chmod(0o666)
        target.rename(file)
    else:
        pytest.skip("only root can make a file of somebody else")
    for look in (sink(file).probe, sink(file).open):
        with pytest.raises(DaemonError, match=r"is a link, which is not followed|belongs to somebody else"):
            look()
    assert {path.name for path in tmp_path.iterdir()} <= {"precious", "events.jsonl"}
    assert "precious" in (tmp_path / "precious" if kind != "somebody else's" else file).read_text()


def test_a_file_of_ones_own_grows_and_one_that_is_not_there_is_made(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for _ in range(2):
        sink(file).probe()
        sink(file).open()
        file.write_text("before\n")
    assert file.read_text() == "before\n"
    assert file.stat().st_mode & 0o777 == 0o600

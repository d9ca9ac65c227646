"""What an enrolment tells where others are enrolled already."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Takes
from helpers_store import earmark, environment


@pytest.mark.parametrize(("far_of", "counts"), [("home", True), ("person", False)])
def test_the_home_is_counted_where_the_share_of_strangers_is_its_own(
    slt_store: Path, takes: Takes, tmp_path: Path, far_of: str, counts: bool
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[people]\nfar_of = "{far_of}"\n', "utf-8")
    files = takes("rms", "okay_nabu", "enroll")
    where = {**environment(), "EARMARK_SETTINGS": str(settings)}
    run = earmark("enroll", "rms", "--from", *files, "--store", slt_store, env=where)
    told = " ".join(run.out.split())
    assert "rms: enrolled for okay_nabu" in told
    assert ("2 people are enrolled" in told) == counts

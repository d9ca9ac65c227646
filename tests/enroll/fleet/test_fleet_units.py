"""The units of a fleet: who sees the people has no network, and who has the network does not see them."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

FOLDER = REPOSITORY / "scripts" / "fleet"
AGENT, JOIN = "earmark-fleet-agent.service", "earmark-fleet-join.service"
MOST_EXPOSED = {AGENT: 0.5, JOIN: 2.0}  # as systemd-analyze counts it, 0…10


def service(name: str) -> dict[str, str]:
    read = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(FOLDER / name, "utf-8")
    return dict(read["Service"])


def test_the_agent_has_no_network_and_the_users_own_people() -> None:
    agent = service(AGENT)
    assert agent["User"] == "earmark"
    assert agent["PrivateNetwork"] == "yes"
    assert agent["RestrictAddressFamilies"] == "AF_UNIX"
    assert agent["IPAddressDeny"] == "any"
    assert agent["RuntimeDirectoryMode"] == "0750"
    assert agent["ExecStart"].endswith("fleet agent --group")


def test_who_runs_the_servers_code_is_made_for_it_and_sees_no_people() -> None:
    join = service(JOIN)
    assert join["DynamicUser"] == "yes"
    assert join["SupplementaryGroups"] == service(AGENT)["Group"] == "earmark-fleet"
    assert "/var/lib/earmark" in join["InaccessiblePaths"]
    assert join["ProtectHome"] == "yes"
    assert join["Type"] == "oneshot"
    assert "--same-user" not in join["ExecStart"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("name", [AGENT, JOIN])
def test_systemd_takes_the_units_and_finds_them_closed(name: str, tmp_path: Path) -> None:
    for unit in FOLDER.glob("earmark-fleet-*"):
        (tmp_path / unit.name).write_text(unit.read_text("utf-8").replace("@PYTHON@", sys.executable), "utf-8")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / name], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", tmp_path / name],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = float(told.stdout.split("Overall exposure level for")[1].split(":")[1].split()[0])
    assert exposure <= MOST_EXPOSED[name]

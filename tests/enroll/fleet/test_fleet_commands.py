"""`earmark fleet` as a person meets it: consent, status, and what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.cli import main
from earmark.engine.errors import DaemonError, FleetError, InstallationError
from earmark.enroll.fleet import asking, join


def test_nobody_takes_part_at_first_and_consent_can_be_withdrawn(
    slt_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--store", str(slt_store), "--folder", str(tmp_path / "fleet")]
    status = ["fleet", "status", "--folder", str(tmp_path / "fleet"), "--socket", str(tmp_path / "none.sock")]
    assert main(status) == 0
    told = capsys.readouterr().out
    assert "takes part: nobody" in told
    assert "nothing ever left this device" in told
    assert main(["fleet", "consent", "slt", *where]) == 0
    assert main([*status, "--json"]) == 0
    *_, line = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "agent": False,
        "consented": ["slt"],
        "epsilon_spent": 0.0,
        "epsilon_year": 8.0,
        "rounds": [],
    }
    assert main(["fleet", "consent", "slt", "--withdraw", *where]) == 0
    assert "takes part: nobody" in capsys.readouterr().out


def test_who_is_not_enrolled_cannot_consent(
    slt_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "consent", "anna", "--store", str(slt_store), "--folder", str(tmp_path / "fleet")]) == 2
    assert "no person 'anna'" in capsys.readouterr().err
    assert not (tmp_path / "fleet").exists()


def test_a_damaged_consent_is_none(slt_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir()
    for content in ("", "[]", '{"names": "slt"}', '{"names": [1]}'):
        (folder / "consent.json").write_text(content)
        assert main(["fleet", "status", "--folder", str(folder)]) == 2
        assert "nobody takes part; remove it, and consent again" in capsys.readouterr().err
    assert slt_store.is_dir()


def test_the_key_of_starts_is_its_owners_and_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography")
    path = tmp_path / "start.key"
    assert main(["fleet", "key", str(path)]) == 0
    assert len(capsys.readouterr().out.strip()) == 64
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, 32)
    assert main(["fleet", "key", str(path)]) == 2
    assert "name a new file" in capsys.readouterr().err


def test_join_does_not_run_as_who_can_read_the_people(slt_store: Path) -> None:
    with pytest.raises(FleetError, match="what is joined runs code of its server"):
        join.require_stranger(slt_store)


def test_join_says_that_flower_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(join, "PACKAGE", "no_such_package")
    fleet = join.Fleet("127.0.0.1:1", tmp_path / "ca.crt", tmp_path / "key")
    with pytest.raises(InstallationError, match=r"`scripts/setup \.venv-fleet fleet` makes one"):
        join.join(fleet, tmp_path / "agent.sock", 1.0, lambda _: None)


def test_join_without_an_agent_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(join, "PACKAGE", "json")  # stands for Flower
    fleet = join.Fleet("127.0.0.1:1", tmp_path / "ca.crt", tmp_path / "key")
    with pytest.raises(DaemonError, match="start `earmark fleet agent`"):
        join.join(fleet, tmp_path / "agent.sock", 1.0, lambda _: None)


@pytest.mark.parametrize(
    ("says", "error", "said"),
    [
        ("echo Starting; echo INFO: Sent successfully; sleep 60", None, ""),
        (
            "echo '[code: 2004] Failed to activate SuperNode.'; sleep 60",
            DaemonError,
            "is its public key registered there",
        ),
        ("echo no route to host; exit 1", DaemonError, "the SuperNode ended: no route to host"),
        ("echo Starting; sleep 60", FleetError, "no round in"),
    ],
)
def test_what_the_supernode_says_is_understood_and_it_is_ended(
    says: str, error: type[Exception] | None, said: str
) -> None:
    """A process group of a shell stands for it."""
    node = subprocess.Popen(
        ["/bin/sh", "-c", says], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        if error is None:
            join.follow(node, 20.0, lambda _: None)
        else:
            with pytest.raises(error, match=said):
                join.follow(node, 0.5 if error is FleetError else 20.0, lambda _: None)
    finally:
        join.end(node)
    assert node.poll() is not None
    assert node.stdout is not None
    with node.stdout as pipe:
        pipe.read()  # ends where nobody of the group is left to write


def test_the_agent_begins_and_ends(slt_store: Path, tmp_path: Path) -> None:
    """As a process of its own; the socket that it leaves is no obstacle to the next one."""
    path = tmp_path / "agent.sock"
    words = ["fleet", "agent", "--store", str(slt_store), "--folder", str(tmp_path / "fleet"), "--socket", str(path)]
    for _ in range(2):
        agent = subprocess.Popen(
            [sys.executable, "-m", "earmark", *words, "--json"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert agent.stdout is not None
            assert json.loads(agent.stdout.readline()) == {"socket": str(path)}
            asking.require_agent(path)
            agent.terminate()
            assert agent.wait(20) != 0
        finally:
            agent.kill()
            agent.communicate()

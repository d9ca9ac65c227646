"""`earmark doctor --bundle`: everything that a report needs, and nobody's voice, name or password."""

from __future__ import annotations

import json
import os
import platform
import stat
from pathlib import Path

import pytest
from helpers_store import earmark, environment, make_voiceprint

from earmark.engine.commands.diagnosis import report
from earmark.engine.commands.diagnosis.report import write_bundle
from earmark.engine.errors import StoreUnwritable
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.reading import load

SETTINGS = """
[mqtt]
host = "mqtt://earmark-account:hunter2@broker"
username = "earmark-account"
[hook]
command = ["/usr/bin/curl", "-H", "Authorization: Bearer s3cret"]
[people]
sensitivity_of = { "Zoë" = 0.7, Ann = 0.4 }
[wyoming]
uris = ["tcp://0.0.0.0:10400"]
"""


@pytest.fixture
def store(tmp_path: Path) -> PersonStore:
    store = PersonStore(tmp_path / "people")
    for name in ("anna", "Zoë", "al"):
        store.save(make_voiceprint(name))
    return store


def bundle(store: PersonStore, folder: Path, *findings: str) -> str:
    settings, file = folder / "earmark.toml", folder / "bundle.txt"
    settings.write_text(SETTINGS, "utf-8")
    write_bundle(file, findings, load(settings, {}, {"socket.path": ""}), store)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file.read_text("utf-8")


def test_names_of_people_are_replaced_by_one_each(
    store: PersonStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = {"people": ["anna", "berta"], "faults": ["/people/Zoë/okay_nabu/0001: damaged"], "people_count": 3}
    monkeypatch.setattr(report, "ask", lambda _paths: status)
    text = bundle(store, tmp_path, "FAILED   person store: 'anna' (okay_nabu) and al: annabel, so also fatal")
    for name in ("anna'", "berta", "Zoë", "Zo\\u00eb", "Ann ", '"Ann"', " al:"):
        assert name not in text, name
    assert "annabel, so also fatal" in text, "what only holds a name is left as it is"
    (line,) = [line for line in text.splitlines() if line.startswith("FAILED")]
    first, second = line.split("'")[1], line.split(" and ")[1].split(":")[0]
    assert first != second
    told = json.loads(text.split("=== daemon\n")[1])
    assert told["people"][0] == first
    assert told["faults"][0].split("/")[2] in text.split("=== settings")[1]


def test_what_opens_something_is_not_told(store: PersonStore, tmp_path: Path) -> None:
    text = bundle(store, tmp_path)
    for secret in ("earmark-account", "hunter2", "s3cret", "Bearer"):
        assert secret not in text, secret
    assert '[hook]command = ["/usr/bin/curl", (not told)]' in text
    assert '[wyoming]uris = ["tcp://0.0.0.0:10400"]' in text


def test_home_user_and_machine_are_not_told(
    store: PersonStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/mustermann")
    monkeypatch.setenv("LOGNAME", "mustermann")
    monkeypatch.setattr(platform, "node", lambda: "mustermanns-pi")
    text = bundle(store, tmp_path, "/home/mustermann/people of mustermann at mustermanns-pi")
    assert "mustermann" not in text
    assert "~/people of user at host" in text


def test_there_is_no_number_of_a_voiceprint_in_it(store: PersonStore, tmp_path: Path) -> None:
    text = bundle(store, tmp_path)
    centroid = store.load("anna", "okay_nabu").centroid
    assert not [value for value in centroid.tolist() if f"{value:.4f}" in text]
    assert len(text) < 20_000


def test_a_file_that_cannot_be_written_is_said(store: PersonStore, tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable, match="cannot be written: Is a directory"):
        write_bundle(tmp_path, [], load(None, {}, {"socket.path": ""}), store)


def test_the_doctor_writes_it_beside_what_it_prints(store: PersonStore, tmp_path: Path) -> None:
    """People who cannot be used, for they were made with other networks; the bundle is written all the same."""
    file = tmp_path / "bundle.txt"
    env = environment(EARMARK_WAKE_MODE="label", EARMARK_SOCKET_PATH="")
    run = earmark("doctor", "--store", store.folder, "--bundle", file, code=1, env=env)
    text = file.read_text("utf-8")
    assert "ok       the whole path: okay_nabu raises its probability to 0." in text
    assert "people cannot be used, and are left out: 'person-" in text
    assert "people cannot be used, and are left out: 'Zoë'" in run.out
    assert "written, without voices and names" in run.err
    for section in ("doctor", "versions", "machine", "environment", "settings", "daemon"):
        assert f"=== {section}\n" in text
    assert "EARMARK_WAKE_MODE\n" in text
    assert os.fsencode(str(file)) in run.err.encode()

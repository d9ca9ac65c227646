"""What was changed from outside stays so: through restarts and reloads, until somebody edits that setting."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.daemon.daemon import Daemon
from earmark.engine.daemon.kept import Kept
from earmark.engine.daemon.unnamed import Names
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Mqtt, People, Settings, Wake, keys
from earmark.engine.sinks.mqtt.discovery import KNOBS
from earmark.engine.sinks.places import SETTABLE

NOTHING: dict[str, str] = {}


def settings(tmp_path: Path, mode: str = "only", sensitivity: float = 0.5, **mqtt: Any) -> Settings:
    told = Mqtt(**{"host": "127.0.0.1", **mqtt})
    return Settings(
        people=People(store=str(tmp_path / "people")), wake=Wake(mode=mode, sensitivity=sensitivity), mqtt=told
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is kept, written once."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Kept().write(settings(tmp_path), {"wake.mode": "label", "people.sensitivity": "0.75"})
    (path,) = (tmp_path / "state" / "earmark" / "controls").iterdir()
    return path


def test_what_can_be_changed_from_outside_can_be_kept() -> None:
    assert {knob.key for knob in KNOBS.values()} < set(SETTABLE) <= {key for key, _ in keys()}


def test_what_was_changed_is_known_again_for_this_store_alone(file: Path, tmp_path: Path) -> None:
    assert Kept().read(settings(tmp_path)) == {"wake.mode": "label", "people.sensitivity": "0.75"}
    assert Kept().read(settings(tmp_path / "other")) == NOTHING
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("file")
def test_what_was_edited_since_counts_for_good(tmp_path: Path) -> None:
    both = {"wake.mode": "label", "people.sensitivity": "0.75"}
    assert Kept().read(settings(tmp_path, sensitivity=0.6)) == both
    assert Kept().read(settings(tmp_path, mode="prefer")) == {"people.sensitivity": "0.75"}
    assert Kept().read(settings(tmp_path)) == {"people.sensitivity": "0.75"}


@pytest.mark.usefixtures("file")
def test_where_nobody_may_change_anything_nothing_is_changed(tmp_path: Path) -> None:
    assert Kept().read(settings(tmp_path, controls=False)) == NOTHING
    assert Kept().read(settings(tmp_path, host="")) == NOTHING


def test_what_somebody_of_this_machine_changed_needs_no_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    first, mine, both = Kept(), {"people.sensitivity": "0.75"}, {"people.sensitivity": "0.75", "wake.mode": "label"}
    first.write(settings(tmp_path), mine, here=mine)
    first.write(settings(tmp_path), both, there=["wake.mode"])
    assert Kept().read(settings(tmp_path)) == both
    assert Kept().read(settings(tmp_path, host="")) == mine
    assert Kept().read(settings(tmp_path, controls=False)) == mine
    first.write(settings(tmp_path), both, there=["people.sensitivity"])
    assert Kept().read(settings(tmp_path, host="")) == NOTHING, "who changed it last says where it holds"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "5", '{"wake.mode": 5}', '{"wake.mode": {"is": "label"}}', "[" * 3000, " " * 5000, "\xff"],
)
def test_a_damaged_file_is_said_once_and_left_out(
    file: Path, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(content, "latin-1")
    kept = Kept()
    for _ in range(2):
        assert kept.read(settings(tmp_path)) == NOTHING
    assert caplog.text.count("what was changed from outside before is not known") == (content != "[]")


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    kept = Kept()
    for _ in range(2):
        kept.write(settings(tmp_path), {"wake.mode": "label"})
    assert caplog.text.count("holds until the next start only") == 1


def started(file: Path) -> Daemon:
    """A daemon with this settings file, that does not listen."""
    arguments = argparse.Namespace(source="-", json=True)
    arguments.load_settings = lambda changes: load(file, {}, dict(changes))
    arguments.loaded = arguments.load_settings({})
    return Daemon(arguments, Names(arguments.loaded.settings))


def test_a_microphone_that_is_lost_or_muted_is_told_once_and_so_is_that_it_hears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text(f'[people]\nstore = "{tmp_path}/people"\n[socket]\npath = ""\n')
    daemon = started(file)
    told: list[str | None] = []
    microphone: Any = SimpleNamespace(name="mic", fault=None, opened=1)
    monkeypatch.setattr(daemon, "_source", microphone)
    monkeypatch.setattr(
        daemon._outlets, "tell_microphone", lambda: told.append(daemon.status()["microphone"]["problem"])
    )
    silence, sound = np.zeros(59 * RATE_HZ, np.int16), np.full(RATE_HZ, 9, np.int16)
    for samples in (sound, silence, silence, silence, sound):
        daemon._watch_silence(samples)
        for _ in range(2):
            daemon._tell_microphone()
    for microphone.fault in ("unplugged", None):
        daemon._tell_microphone()
    assert told == ["nothing but zeros for 60 s: is it muted?", None, "unplugged", None]


def test_a_daemon_goes_on_as_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its keeper is asked here, in turn; no sink runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "earmark.toml"

    def write(mode: str, **mqtt: str) -> None:
        more = "".join(f"{key} = {value}\n" for key, value in mqtt.items())
        lines = f'[people]\nstore = "{tmp_path}/people"\n[socket]\npath = ""\n[wake]\nmode = "{mode}"\n'
        file.write_text(f'{lines}[mqtt]\nhost = "nowhere.invalid"\n{more}')

    def modes(daemon: Daemon, *job: str) -> tuple[str, float]:
        if job:
            monkeypatch.setattr(daemon._outlets, "replace", lambda *_: None)
            daemon._do(job)
        return daemon.household.policy.mode, daemon.household.policy.sensitivity

    write("only")
    first = started(file)
    assert modes(first) == ("only", 0.5)
    assert modes(first, "change", "wake.mode", "label") == ("label", 0.5)
    assert modes(first, "change", "wake.sensitivity", "0.75") == ("label", 0.75)
    assert modes(first, "people") == ("label", 0.75)
    assert modes(first, "reload") == ("label", 0.75)
    second = started(file)
    assert modes(second) == ("label", 0.75), "through a restart"
    assert "as it was changed from outside before: wake.mode is label, not only" in caplog.text
    write("prefer")
    assert modes(second, "reload") == ("prefer", 0.75), "what was edited last counts"
    assert modes(second, "change", "wake.mode", "only") == ("only", 0.75)
    assert modes(started(file)) == ("only", 0.75)
    write("only")
    assert modes(started(file)) == ("only", 0.75), "and what was chosen before the edit does not come back"
    write("prefer", controls="false")
    assert modes(started(file)) == ("prefer", 0.5), "and the file alone, where nobody else may say anything"

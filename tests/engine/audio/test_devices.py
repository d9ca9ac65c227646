"""Why there is no microphone, told from files: the sound cards, who may open them, and containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earmark.engine.audio.devices import is_container, no_microphone, what_is_missing


def machine(root: Path, *nodes: str) -> Path:
    """A root whose /dev/snd has these files."""
    (root / "dev" / "snd").mkdir(parents=True)
    for node in nodes:
        (root / "dev" / "snd" / node).touch()
    return root


def never(_path: Path, _mode: int) -> bool:
    return False


CARD = ("controlC0", "pcmC0D0c", "pcmC0D0p")


def test_a_machine_without_a_sound_card_is_told_so(tmp_path: Path) -> None:
    assert "no sound card in /dev/snd: plug one in" in what_is_missing(tmp_path, {})
    assert "no sound card in /dev/snd: plug one in" in what_is_missing(machine(tmp_path, "timer", "seq"), {})


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv", "run/systemd/container"])
def test_a_container_without_the_device_is_told_how_to_start_it(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / mark).touch()
    assert is_container(tmp_path, {})
    assert "--device /dev/snd" in what_is_missing(tmp_path, {})
    assert "--device /dev/snd" in no_microphone(root=tmp_path, environment={})


@pytest.mark.parametrize("variable", ["container", "KUBERNETES_SERVICE_HOST"])
def test_a_container_is_known_by_its_environment(tmp_path: Path, variable: str) -> None:
    assert is_container(tmp_path, {variable: "x"})
    assert not is_container(tmp_path, {"PATH": "x"})


def test_a_card_that_only_plays_is_no_microphone(tmp_path: Path) -> None:
    assert "records" in what_is_missing(machine(tmp_path, "controlC0", "pcmC0D0p"), {})


def test_who_may_not_open_the_card_is_told_the_group(tmp_path: Path) -> None:
    machine(tmp_path, *CARD)
    assert "usermod -aG audio " in what_is_missing(tmp_path, {}, never)
    assert "--group-add audio" in what_is_missing(tmp_path, {"container": "podman"}, never)


def test_where_a_card_can_be_opened_nothing_is_missing(tmp_path: Path) -> None:
    machine(tmp_path, *CARD, "pcmC1D0c")

    def second_only(path: Path, mode: int) -> bool:
        assert mode == os.R_OK | os.W_OK
        return path.name == "pcmC1D0c"

    assert what_is_missing(tmp_path, {}, second_only) == ""
    assert no_microphone(root=tmp_path, environment={}, may=second_only) == (
        "no microphone: plug one in, or start the sound server"
    )

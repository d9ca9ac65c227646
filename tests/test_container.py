"""The container and Home Assistant's add-on: what their files say, and what its entry point makes of options."""

from __future__ import annotations

import importlib.util
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import keys

PACKAGING = REPOSITORY / "scripts" / "packaging"
ADDON = PACKAGING / "addon"
# How the Supervisor has options described (home-assistant/supervisor, addons/options.py, and the developers' pages on
# the configuration of add-ons)
OPTION = re.compile(
    r"(bool|email|url|port|device(\(subsystem=[a-z]+\))?|(str|password|int|float)(\([\d.]*,[\d.]*\))?"
    r"|match\(.*\)|list\(.+\))\??"
)
MAPS = re.compile(
    "(data|ssl|addons|backup|share|media|homeassistant_config|all_addon_configs|addon_config)(:(rw|ro))?"
)
REQUIRED = {"name": str, "version": str, "slug": str, "description": str, "arch": list}
OPTIONAL = {
    "homeassistant": str,
    "startup": ("initialize", "system", "services", "application", "once"),
    "boot": ("auto", "manual", "manual_only"),
    "host_network": bool,
    "audio": bool,
    "map": list,
    "backup": ("hot", "cold"),
    "backup_exclude": list,
    "options": dict,
    "schema": dict,
}
BACKUP_FOLDERS = {"wakes", "networks"}


def module(place: Path) -> Any:
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


run = module(PACKAGING / "run.py")
containerfile = module(REPOSITORY / "scripts" / "parts" / "containerfile.py")
addon_options = module(REPOSITORY / "scripts" / "parts" / "addon_options.py")
CONTAINERFILE = (PACKAGING / "Containerfile").read_text("utf-8")
CONFIG = addon_options.read((ADDON / "config.yaml").read_text("utf-8"))


def settings_from(options: dict[str, Any], folder: Path) -> Any:
    """As the daemon reads the file that is made of options."""
    path = folder / "earmark.toml"
    run.write(path, run.toml_of(run.settings_of(options, folder / "password")))
    return load(path, {}).settings


# --- the image


def test_what_the_image_does_is_in_the_script_that_is_checked() -> None:
    """The Containerfile has one RUN: `scripts/check_container` runs that, and reads everything else from there."""
    (line,) = containerfile.words("run", CONTAINERFILE)
    assert line == "sh /usr/src/earmark/scripts/packaging/build /usr/src/earmark && rm -r /usr/src/earmark"
    names = {name for name, _ in containerfile.instructions(CONTAINERFILE)}
    assert names <= {
        "FROM", "COPY", "RUN", "ENV", "VOLUME", "WORKDIR", "EXPOSE", "USER", "HEALTHCHECK", "ENTRYPOINT", "CMD"
    }  # fmt: skip
    check = (REPOSITORY / "scripts" / "check_container").read_text("utf-8")
    assert [
        what for what in ("run", "env", "entrypoint", "cmd", "healthcheck", "user") if f"says {what}" not in check
    ] == []


def test_it_is_no_root_and_answers_for_its_health() -> None:
    assert containerfile.words("user", CONTAINERFILE) == ["earmark"]
    assert containerfile.words("healthcheck", CONTAINERFILE) == ["earmark", "status"]
    assert containerfile.words("entrypoint", CONTAINERFILE) == ["earmark-container"]
    assert containerfile.words("user", CONTAINERFILE, {"RUN_AS": "root"}) == ["root"]
    assert f"--uid {run.USER_ID} " in (PACKAGING / "build").read_text("utf-8")


def test_its_environment_is_settings_that_exist() -> None:
    environment = dict(word.split("=", 1) for word in containerfile.words("env", CONTAINERFILE))
    ours = {name: value for name, value in environment.items() if name.startswith("EARMARK_")}
    assert load(environment={**ours, "EARMARK_SETTINGS": ""}).settings.wyoming.uris == ("tcp://0.0.0.0:10400",)
    written = [value for name, value in environment.items() if name.startswith("XDG_") or name == "HOME"]
    assert all(value.startswith("/data") for value in written)


def test_a_containerfile_that_says_nothing_of_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no HEALTHCHECK"):
        containerfile.words("healthcheck", "FROM x\n")


def test_compose_names_settings_that_exist() -> None:
    named = set()
    for name in ("compose.yaml", "compose_microphone.yaml"):
        text = (PACKAGING / name).read_text("utf-8")
        named |= set(re.findall(r"^\s+(EARMARK_\w+):", text, re.MULTILINE))
        assert "\t" not in text
    known = {f"EARMARK_{key.upper().replace('.', '_')}" for key, _ in keys()}
    assert named
    assert named <= known


# --- the add-on


def test_its_configuration_is_as_home_assistant_wants_it() -> None:
    for key, kind in REQUIRED.items():
        assert isinstance(CONFIG[key], kind), key
    for key, value in CONFIG.items():
        wanted = {**REQUIRED, **OPTIONAL}[key]
        assert value in wanted if isinstance(wanted, tuple) else isinstance(value, wanted), key  # type: ignore[arg-type]
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", CONFIG["slug"])
    assert set(CONFIG["arch"]) <= {"aarch64", "amd64", "armhf", "armv7", "i386"}
    assert all(MAPS.fullmatch(one) for one in CONFIG["map"])
    build = addon_options.read((ADDON / "build.yaml").read_text("utf-8"))
    assert set(build) <= {"build_from", "args", "labels", "squash"}
    assert set(build["build_from"]) == set(CONFIG["arch"])
    assert build["args"] == {"RUN_AS": "root"}, "the options are root's"


def test_each_option_is_described_has_a_kind_and_is_understood() -> None:
    for option, kind in CONFIG["schema"].items():
        assert OPTION.fullmatch(kind[0] if isinstance(kind, list) else kind), option
    assert set(CONFIG["options"]) <= set(CONFIG["schema"])
    needed = {
        name
        for name, kind in CONFIG["schema"].items()
        if not str(kind[0] if isinstance(kind, list) else kind).endswith("?")
    }
    assert needed <= set(CONFIG["options"]), "what has no default must be optional, or the add-on does not start"
    assert set(CONFIG["schema"]) == {*run.KEYS, *run.OTHERS}
    assert {key for key, _ in keys()} >= set(run.KEYS.values())


@pytest.mark.parametrize("language", sorted(path.stem for path in (ADDON / "translations").iterdir()))
def test_each_option_has_words_in_each_language(language: str) -> None:
    found = addon_options.read((ADDON / "translations" / f"{language}.yaml").read_text("utf-8"))
    assert set(found) == {"configuration"}
    assert set(found["configuration"]) == set(CONFIG["schema"])
    assert all(set(one) == {"name", "description"} for one in found["configuration"].values())


def test_its_version_is_ours() -> None:
    integration = json.loads((REPOSITORY / "custom_components" / "earmark" / "manifest.json").read_text("utf-8"))
    declared = re.search(r"^version = (.*)$", (REPOSITORY / "setup.cfg").read_text("utf-8"), re.MULTILINE)
    assert declared is not None
    assert CONFIG["version"] == integration["version"] == declared[1]


def test_its_defaults_are_settings_of_the_daemon(tmp_path: Path) -> None:
    settings, ours = settings_from(CONFIG["options"], tmp_path), load(environment={"EARMARK_SETTINGS": ""}).settings
    assert settings.audio.device == "none"
    assert settings.wyoming.trusted == run.TRUSTED
    assert settings.wake == ours.wake
    assert settings.people == ours.people
    assert (settings.mqtt, settings.journal, settings.learning, settings.log) == (
        ours.mqtt,
        ours.journal,
        ours.learning,
        ours.log,
    )


def test_its_options_are_obeyed(tmp_path: Path) -> None:
    options = {
        **CONFIG["options"],
        "wake_words": ["okay_nabu", "alexa"],
        "mode": "label",
        "wake_word_sensitivity": 0.75,
        "voice_sensitivity": 1,
        "microphone": True,
        "trusted": ["192.168.1.5"],
        "keep_recordings": True,
        "learn": True,
        "names_in_log": True,
        "mqtt_host": "core-mosquitto",
        "mqtt_username": "earmark",
        "mqtt_password": "secret",
    }
    settings = settings_from(options, tmp_path)
    assert settings.wake.keywords == ("okay_nabu", "alexa")
    assert (settings.wake.mode, settings.wake.sensitivity, settings.people.sensitivity) == ("label", 0.75, 1)
    assert settings.audio.device == "", "the default one, which is Home Assistant's"
    assert settings.wyoming.trusted[-1] == "192.168.1.5"
    assert (settings.journal.enabled, settings.learning.enabled, settings.log.names) == (True, True, True)
    assert (settings.mqtt.host, settings.mqtt.username) == ("core-mosquitto", "earmark")
    assert settings.mqtt.password_file == str(tmp_path / "password")
    assert "secret" not in (tmp_path / "earmark.toml").read_text()


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no such option: modus; there are wake_words, mode"):
        run.settings_of({"modus": "only"}, Path("password"))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_comes_through(text: str) -> None:
    toml = run.toml_of({"mqtt": {"username": text, "discovery": text}})
    assert toml.count("\n[") == 1
    tomllib = pytest.importorskip("tomllib" if __import__("sys").version_info >= (3, 11) else "tomli")
    assert tomllib.loads(toml) == {"mqtt": {"username": text, "discovery": text}}


def test_what_it_writes_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "new" / "earmark.toml"
    run.write(path, "a")
    run.write(path, "b")
    assert path.read_text() == "b"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["earmark.toml"]


def test_whoever_has_three_recordings_is_to_be_enrolled(tmp_path: Path) -> None:
    for name, files in (
        ("anna", ["1.wav", "2.WAV", "3.flac", "notes.txt"]),
        ("ben", ["1.wav", "2.wav"]),
        (".x", ["1.wav"]),
    ):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    found = run.takes_in(tmp_path)
    assert list(found) == ["anna"]
    assert [Path(file).name for file in found["anna"]] == ["1.wav", "2.WAV", "3.flac"]
    assert run.takes_in(tmp_path / "none") == {}


@pytest.mark.parametrize("text", ["- a", "key", "\tkey: 1", "key:value"])
def test_of_yaml_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="line 1: "):
        addon_options.read(text)

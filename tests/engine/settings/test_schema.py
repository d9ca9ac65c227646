"""The settings: where they are from, what they may be, and how the running daemon follows them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from conftest import cut, cut_points
from helpers_store import Run, checked, command, earmark, environment
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from live import next_line

from earmark.engine.audio.samples import Int16
from earmark.engine.commands import settings_commands
from earmark.engine.errors import InputError, SettingsError
from earmark.engine.people.store import PersonStore, Voiceprint
from earmark.engine.settings import reading
from earmark.engine.settings.reading import MAX_FILE_BYTES, Loaded, as_toml, find_file, load
from earmark.engine.settings.schema import CHOSEN, NUMBER, NUMBERS, TEXT, TEXTS, WHOLE, YES_NO, Settings, keys
from earmark.engine.sinks.dispatch import check as check_sinks

KEYS = dict(keys())
LIMIT_S = 60


def value_of(loaded: Loaded, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(loaded.settings, section), name)


def variable(key: str) -> str:
    return "EARMARK_" + key.replace(".", "_").upper()


def loaded_from(text: str, env: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earmark.toml"
        path.write_bytes(text.encode())
        return load(path, env or {}, flags)


def refused(text: str = "", env: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> str:
    """The message of a refusal."""
    with pytest.raises(SettingsError) as caught:
        loaded_from(text, env, flags)
    return str(caught.value)


NAMED = (
    "[people]\nsensitivity_of = {table}\n",
    "[people]\nsensitivity = {table}\n",
    "[people]\nwatch_s = [1, [{table}]]\n",
    "[[people]]\nsensitivity_of = {table}\n",
    "people = [{table}]\n",
)


@given(
    name=st.text("abcXYZ äß'\"", min_size=3, max_size=12).filter(str.strip),
    value=st.sampled_from(["7.0", "'x'", "true"]),
)
def test_no_refusal_names_who_stands_in_a_table(name: str, value: str) -> None:
    """It may go to the system's journal, which names nobody; and the daemon that would hide names has not begun."""
    name = f"Q{name}Q"
    key = json.dumps(name, ensure_ascii=False)
    for text in NAMED:
        assert name not in refused(text.format(table=f"{{ {key} = {value} }}"))
    twice = f"{{ {key} = 0.1, {key} = 0.2 }}"
    assert name not in refused(f"[people]\nsensitivity_of = {twice}\n")
    assert name not in refused(f"[people.sensitivity_of]\n{key} = 0.1\n{key} = 0.2\n")
    for wrong in (f"{key} = {value}", twice, f"{key} = "):
        assert name not in refused(env={"EARMARK_PEOPLE_SENSITIVITY_OF": wrong})
        assert name not in refused(flags={"people.sensitivity_of": wrong})


def settings_or_refusal(*arguments: Any) -> Loaded | str:
    """What `load` gives, or the message of a refusal; nothing else may come of it."""
    try:
        return load(*arguments)
    except SettingsError as error:
        return str(error)


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^# (\w+ = )", r"\1", text)


# --- where they are from


def test_the_command_line_beats_the_environment_and_that_the_file() -> None:
    key, file = "wake.sensitivity", "[wake]\nsensitivity = 0.1\n"
    env, flags = {variable(key): "0.2"}, {key: "0.3"}
    found = [load(None, {"EARMARK_SETTINGS": ""}), loaded_from(file), loaded_from(file, env)]
    found.append(loaded_from(file, env, flags))
    assert [value_of(loaded, key) for loaded in found] == [0.5, 0.1, 0.2, 0.3]
    assert [dict(loaded.origins) for loaded in found[2:]] == [{key: variable(key)}, {key: "the command line"}]
    assert found[0].origins == {}
    assert found[1].origins == {key: str(found[1].file)}


def test_every_key_can_be_set_everywhere() -> None:
    for key, value in EXAMPLES.items():
        section, name = key.split(".")
        written = (
            json.dumps(value)
            if not isinstance(value, dict)
            else f"{{ {', '.join(f'{name} = {json.dumps(part)}' for name, part in value.items())} }}"
        )
        typed = value if isinstance(value, str) else written
        expected = tuple(value) if isinstance(value, list) else value
        assert expected != value_of(load(None, {"EARMARK_SETTINGS": ""}), key), f"{key}: the example is the default"
        assert value_of(loaded_from(f"[{section}]\n{name} = {written}\n"), key) == expected
        assert value_of(load(None, {"EARMARK_SETTINGS": "", variable(key): typed}), key) == expected
        assert value_of(load(None, {"EARMARK_SETTINGS": ""}, {key: typed}), key) == expected
    assert EXAMPLES.keys() == KEYS.keys()


EXAMPLES: dict[str, Any] = {
    key: {
        TEXT: (field.metadata["choices"] or ["", "", "broker one"])[-1],
        TEXTS: [(field.metadata["choices"] or ["x", "hey_jarvis"])[-1]],
        NUMBER: (field.metadata["low"] + field.metadata["high"]) / 4,
        WHOLE: int(field.metadata["high"]),
        YES_NO: not field.default,
        NUMBERS: {"anna": 0.25},
        CHOSEN: {"okay_nabu": (field.metadata["choices"] or [""])[-1]},
    }[field.metadata["kind"]]
    for key, field in KEYS.items()
}
EXAMPLES["wake.on_error"] = "accept"


def test_the_file_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("config", "home/.config"):
        (tmp_path / folder / "earmark").mkdir(parents=True)
        (tmp_path / folder / "earmark" / "earmark.toml").touch()
    in_home = tmp_path / "home/.config/earmark/earmark.toml"
    in_config = tmp_path / "config/earmark/earmark.toml"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for config_home, found in (("", in_home), (str(tmp_path / "config"), in_config)):
        monkeypatch.setenv("XDG_CONFIG_HOME", config_home)
        assert find_file({}) == found
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert find_file({}) == in_home
    assert find_file({"EARMARK_SETTINGS": ""}) is None
    assert find_file({"EARMARK_SETTINGS": "/nowhere/x.toml"}) == Path("/nowhere/x.toml")
    in_home.unlink()
    monkeypatch.setattr(reading, "SYSTEM_FILE", in_config)
    assert find_file({}) == in_config
    monkeypatch.setenv("HOME", "/" + "x" * 5000)
    with pytest.raises(SettingsError, match="too long"):
        load(None, {})


def test_who_has_no_home_folder_has_the_settings_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_config_path", homeless)
    monkeypatch.setattr(reading, "SYSTEM_FILE", tmp_path / "earmark.toml")
    assert find_file({}) is None
    (tmp_path / "earmark.toml").touch()
    assert find_file({}) == tmp_path / "earmark.toml"


# --- what explains itself


def test_every_key_is_explained() -> None:
    for key, field in KEYS.items():
        assert len(field.metadata["text"]) > 5, key
    for section in dataclasses.fields(Settings):
        assert getattr(Settings(), section.name).__doc__.count("\n") == 0


def test_no_two_keys_share_a_variable() -> None:
    assert len({variable(key) for key in KEYS}) == len(KEYS)


def test_show_is_a_file_that_gives_the_same_settings(tmp_path: Path) -> None:
    path = tmp_path / "earmark.toml"
    path.write_text('[wake]\nmode = "label"\n[people.sensitivity_of]\n"Zoë O\'Slt" = 1e-7\n')
    run = earmark("settings", "show", "--settings", path, "--set", 'hook.command=["a\\u007f", "#"]')
    shown, again = tmp_path / "shown.toml", tmp_path / "again.toml"
    shown.write_text(run.out)
    again.write_text(uncommented(run.out))
    original = load(path, {}, {"hook.command": ["a\x7f", "#"]})
    for copy in (shown, again):
        assert load(copy, {}).settings == original.settings
    assert set(load(shown, {}).origins) == {"wake.mode", "people.sensitivity_of", "hook.command"}
    assert set(load(again, {}).origins) == KEYS.keys()
    assert [line.split("=")[0].strip("# ") for line in run.out.splitlines() if " = " in line] == [
        key.split(".")[1] for key in KEYS
    ]


def test_show_as_json_says_where_each_is_from() -> None:
    env = environment(EARMARK_MQTT_PORT="8883")
    lines = earmark("settings", "show", "--json", "--set", "wake.mode=label", env=env).events
    assert [line["key"] for line in lines] == list(KEYS)
    set_by = {line["key"]: (line["value"], line["from"]) for line in lines if line["from"] != "default"}
    assert set_by == {"mqtt.port": (8883, "EARMARK_MQTT_PORT"), "wake.mode": ("label", "the command line")}
    assert all(line["text"] for line in lines)


def test_check_judges_as_the_daemon_does(tmp_path: Path) -> None:
    path = tmp_path / "earmark.toml"
    path.write_text('[wake]\nmode = "label"\n')
    assert earmark("settings", "check", path).out == f"{path}: good, 1 settings differ from their defaults\n"
    assert earmark("settings", "check", path, "--json").events == [
        {"file": str(path), "set": {"wake.mode": str(path)}}
    ]
    assert "no file: good" in earmark("settings", "check").out
    path.write_text('[wake]\nkeywords = ["okay_nabob"]\n')
    judged = earmark("settings", "check", path, code=2)
    assert judged.err == earmark("listen", "-", "--settings", path, code=2).err
    assert "okay_nabob" in judged.err
    assert judged.out == ""


# --- what they may be


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[wakes]\n", "no section [wakes]: did you mean wake?"),
        ("[wake]\nmodes = 1\n", "no setting 'wake.modes': did you mean wake.mode"),
        ("mode = 'only'\n", "no section [mode]"),
        ("wake = 1\n", "wake=1 must be a section: [wake]"),
        ("[[wake]]\n", "must be a section: [wake]"),
        ("[wake.mode]\nonly = true\n", "wake.mode=(a table of 1) must be only or prefer or label"),
        ("[wake]\nkeywords = []\n", "wake.keywords=[] must be a list of texts, not empty"),
        ("[wake]\nkeywords = [1]\n", "wake.keywords=[1] must be a list of texts"),
        ("[wake]\nkeywords = 'okay_nabu'\n", "must be a list of texts"),
        ("[wake.sensitivity_of]\nanna = 2\n", 'must be a table of numbers within 0…1, as in {"anna" = 0.6}'),
        ("[people.sensitivity_of]\na = 0\nb = 2\nc = 'x'\n", "(a table of 3: number 2 is 2, number 3 is 'x') must"),
        ("[hook]\nevents = ['detections']\n", "must be a list of detection or rejection"),
        ("[mqtt]\ntls = 1\n", "mqtt.tls=1 must be true or false"),
        ("[mqtt]\nport = 1.0\n", "mqtt.port=1.0 must be a whole number within 1…65535"),
        ("[mqtt]\nport = true\n", "mqtt.port=True must be a whole number"),
        ("[mqtt]\nhost = 5\n", "mqtt.host=5 must be a text"),
        ('[mqtt]\nhost = "a\\u0000"\n', "without a zero byte"),
        ('[hook]\ncommand = ["a\\u0000"]\n', "without a zero byte"),
        ("[wake]\nsensitivity = nan\n", "wake.sensitivity=nan must be a number within 0…1"),
        ("[wake]\nsensitivity = 1979-05-27\n", "must be a number within 0…1"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_rule(text: str, message: str) -> None:
    assert message in refused(text)


BORDERS = [
    (key, field.metadata["kind"], field.metadata["low"], field.metadata["high"])
    for key, field in KEYS.items()
    if field.metadata["kind"] in (NUMBER, WHOLE, NUMBERS)
]


@pytest.mark.parametrize(("key", "kind", "low", "high"), BORDERS, ids=[border[0] for border in BORDERS])
def test_each_number_ends_at_its_borders(key: str, kind: str, low: float, high: float) -> None:
    step = 1 if kind == WHOLE else 1e-9
    assert low < high

    def given_value(number: float) -> Any:
        number = int(number) if kind == WHOLE else number
        return {"anna": number} if kind == NUMBERS else number

    for number in (low, high):
        assert value_of(loaded_from("", flags={key: given_value(number)}), key) == given_value(number)
    for number in (low - step, high + step * high, float("inf"), 10**400):
        if isinstance(number, int) or kind != WHOLE or number < 1e300:
            assert f"within {low:g}…{high:g}" in refused(flags={key: given_value(number)})


def test_an_unknown_variable_or_flag_is_refused_with_the_nearest() -> None:
    assert "did you mean EARMARK_MQTT_HOST" in refused(env={"EARMARK_MQTT_HOTS": "x"})
    assert "did you mean mqtt.host" in refused(flags={"mqtt.hots": "x"})
    assert "there are audio.device" in refused(flags={"?": "x"})
    assert load(None, {"EARMARK_SETTINGS": "", "EARMARK_RUNTIME": "x", "OTHER": "y"}).origins == {}
    for name in ("MQT_HOST", "WAKE_MODES", "MQTT_PASSWORD", "AUDIO_DEV", "METRIC_PORT", "WYOMING_URI"):
        assert f"EARMARK_{name} in the environment is no setting: did you mean EARMARK_" in refused(
            env={f"EARMARK_{name}": "x"}
        )
    run = earmark("listen", "-", env=environment(EARMARK_MQTT_HOTS="x"), code=2)
    assert "did you mean EARMARK_MQTT_HOST" in run.err


def test_variables_of_others_are_left_out_and_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Kubernetes tells each container of the services beside it, one of which may be called earmark-mqtt."""
    links = {
        "EARMARK_SERVICE_HOST": "10.0.0.1",
        "EARMARK_SERVICE_PORT": "10400",
        "EARMARK_SERVICE_PORT_WYOMING": "10400",
        "EARMARK_PORT": "tcp://10.0.0.1:10400",
        "EARMARK_PORT_10400_TCP": "tcp://10.0.0.1:10400",
        "EARMARK_PORT_10400_TCP_PROTO": "tcp",
        "EARMARK_MQTT_PORT": "tcp://10.0.0.2:1883",
        "EARMARK_MQTT_PORT_1883_TCP_ADDR": "10.0.0.2",
        "EARMARK_MQTT_SERVICE_HOST": "10.0.0.2",
        "EARMARK_METRICS_PORT": "tcp://[fd00::1]:9105",
        "EARMARK_VERSION": "1.2",
        "EARMARK_IMAGE_TAG": "latest",
    }
    ours = {"EARMARK_SETTINGS": "", "EARMARK_WYOMING_URIS": "tcp://0.0.0.0:10400", "EARMARK_WAKE_MODE": "label"}
    loaded = load(None, {**links, **ours})
    assert set(loaded.origins) == {"wyoming.uris", "wake.mode"}
    assert loaded.settings.wyoming.uris == ("tcp://0.0.0.0:10400",)
    (record,) = caplog.records
    assert record.getMessage().partition(": ")[2].split(", ") == sorted(links)
    assert "must be a whole number" in refused(env={"EARMARK_MQTT_PORT": "http"})


@pytest.mark.parametrize(
    ("host", "write"),
    [
        ("mqtt://broker.local:1883", 'write mqtt.host = "broker.local", mqtt.port = 1883'),
        ("mqtts://broker.local:8883/", 'write mqtt.host = "broker.local", mqtt.port = 8883, mqtt.tls = true'),
        ("tcp://192.168.1.5", 'write mqtt.host = "192.168.1.5"'),
        ("broker.local:1883", 'write mqtt.host = "broker.local", mqtt.port = 1883'),
        ("[fd00::1]:1883", 'write mqtt.host = "fd00::1", mqtt.port = 1883'),
        ("[fd00::1]", 'write mqtt.host = "fd00::1"'),
        (" broker.local", 'write mqtt.host = "broker.local"'),
        ("my broker", "no blanks"),
        ("mqtt://anna:secret@broker:1883", "mqtt.username and mqtt.password_file"),
        ("anna:secret@broker", "mqtt.username and mqtt.password_file"),
        ("http://broker/a/b", "the name or the address of a host alone"),
        ("a" * 70, "no name of a host"),
    ],
)
def test_a_broker_that_is_more_than_a_host_is_refused_with_what_to_write(
    host: str, write: str, tmp_path: Path
) -> None:
    pytest.importorskip("paho.mqtt")
    file = tmp_path / "earmark.toml"
    file.write_text(f"[mqtt]\nhost = {json.dumps(host)}\n")
    with pytest.raises(SettingsError) as refusal:
        settings_commands.check(argparse.Namespace(file=str(file), json=False))
    assert write in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("host", ["broker", "broker.local", "192.168.1.5", "fd00::1", "::1", "bröker.local", "a_b"])
def test_a_broker_that_is_a_host_is_taken(host: str) -> None:
    check_sinks(loaded_from("", flags={"mqtt.host": host}).settings)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"wyoming.uris": "127.0.0.1:10400"}, "must be tcp://HOST:PORT"),
        ({"hook.command": "/bin/true,{persn}"}, "there are {type}"),
        ({"mqtt.host": "broker", "mqtt.topic": "a/#"}, "mqtt.topic"),
        ({"mqtt.host": "broker", "mqtt.password_file": "/x"}, "mqtt.username"),
    ],
)
def test_settings_that_a_sink_refuses_are_not_good(flags: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        check_sinks(loaded_from("", flags=flags).settings)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("wake.keywords", "okay_nabu, alexa,", ("okay_nabu", "alexa")),
        ("wake.keywords", '["a, b"]', ("a, b",)),
        ("hook.command", "", ()),
        ("wake.sensitivity_of", "okay_nabu = 0.6, alexa = 1", {"okay_nabu": 0.6, "alexa": 1.0}),
        ("people.sensitivity_of", '{"Zoë" = 0.6}', {"Zoë": 0.6}),
        ("people.sensitivity_of", "", {}),
        ("mqtt.port", "0x10", 16),
        ("mqtt.host", "5", "5"),
        ("mqtt.host", '"quoted"', '"quoted"'),
        ("mqtt.tls", "true", True),
        ("wake.sensitivity", "1", 1.0),
    ],
)
def test_what_is_typed_has_the_type_of_its_key(key: str, text: str, value: Any) -> None:
    found = [value_of(load(None, {"EARMARK_SETTINGS": "", variable(key): text}), key)]
    found.append(value_of(load(None, {"EARMARK_SETTINGS": ""}, {key: text}), key))
    assert found == [value, value]
    assert [type(item) for item in found] == [type(value)] * 2


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("mqtt.tls", "yes"),
        ("mqtt.port", ""),
        ("mqtt.port", "1\nother = 2"),
        ("mqtt.port", "1e3"),
        ("wake.sensitivity", "0,5"),
        ("wake.sensitivity_of", "alexa"),
        ("wake.sensitivity_of", "a.b = 1"),
        ("wake.sensitivity_of", "a = 1}\nx = {"),
        ("wake.keywords", ""),
        ("wake.keywords", "[["),
        ("wake.mode", "Only"),
    ],
)
def test_what_is_typed_wrongly_is_refused(key: str, text: str) -> None:
    for message in (refused(env={variable(key): text}), refused(flags={key: text})):
        assert f"{key}=" in message
        assert "must be" in message


# --- hostile files


DEEP = 5_000


@hypothesis_settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@example(b"[audio]\ndevice = " + b"[" * DEEP)
@example(b"[audio]\ndevice = " + b"{a=" * DEEP)
@example(b"[audio]\ndevice" + b".a" * DEEP + b" = 1")
@example(b"[audio.device" + b".a" * DEEP + b"]")
@example(b"[wake.sensitivity_of" + b".a" * DEEP + b"]")
@example(b"audio" + b".a" * DEEP + b" = 1")
@example(b"[mqtt]\nport = 0x" + b"f" * 5_000)
@example(b"[mqtt]\nport = " + b"9" * 5_000)
@example(b"mqtt = 0x" + b"f" * 5_000)
@example(b"[wake]\nsensitivity = 1e999")
@example(b"\xef\xbb\xbf[wake]")
@example(b"a" * MAX_FILE_BYTES)
@example(b"[wake]\nmode = 'only'\n" + b"#" * MAX_FILE_BYTES)
def test_any_file_is_settings_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earmark.toml"
        path.write_bytes(content)
        found = settings_or_refusal(path, {})
    if isinstance(found, str):
        assert found.startswith(str(path))
        assert len(found) < 2000
    else:
        found.settings.policy()


_LINES = st.tuples(
    st.sampled_from([*KEYS, "wake.modes", "wake", "mode"]),
    st.one_of(
        st.sampled_from(["true", "[]", "{}", "nan", "-inf", "1979-05-27", '"only"', '["x"]', "0x" + "f" * 4000]),
        st.integers().map(str),
        st.floats().map(repr),
        st.text(max_size=20).map(json.dumps),
    ),
)


@hypothesis_settings(max_examples=300)
@given(st.lists(_LINES, max_size=5))
def test_any_values_are_settings_or_refused(lines: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earmark.toml"
        path.write_bytes("".join(f"{key} = {value}\n" for key, value in lines).encode())
        loaded = settings_or_refusal(path, {})
    if isinstance(loaded, str):
        return
    for key, value in lines:
        if key not in KEYS:  # `wake = {}` is a section without keys
            continue
        number = value_of(loaded, key)
        if KEYS[key].metadata["kind"] in (NUMBER, WHOLE):
            assert KEYS[key].metadata["low"] <= number <= KEYS[key].metadata["high"], value


@hypothesis_settings(max_examples=200)
@given(st.sampled_from(list(KEYS)), st.one_of(st.text(max_size=50), st.sampled_from(["[" * DEEP, "0x" + "f" * 5000])))
def test_anything_typed_is_a_setting_or_refused(key: str, text: str) -> None:
    found = settings_or_refusal(None, {"EARMARK_SETTINGS": ""}, {key: text})
    if isinstance(found, str):
        assert found.startswith(f"--set: {key}=")


def valid(key: str) -> st.SearchStrategy[Any]:
    rule = KEYS[key].metadata
    text = (
        st.sampled_from(rule["choices"]) if rule["choices"] else st.text(max_size=10).filter(lambda t: "\0" not in t)
    )
    number = st.floats(rule["low"], rule["high"]) if rule["kind"] in (NUMBER, NUMBERS) else st.nothing()
    return {
        TEXT: text,
        TEXTS: st.lists(text, min_size=int(rule["low"]), max_size=3),
        YES_NO: st.booleans(),
        NUMBER: number,
        WHOLE: st.integers(int(rule["low"]), int(rule["high"])),
        NUMBERS: st.dictionaries(st.text(max_size=10), number, max_size=3),
        CHOSEN: st.dictionaries(st.text(max_size=10), text, max_size=3),
    }[rule["kind"]]


@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional={key: valid(key) for key in KEYS}))
def test_valid_settings_survive_being_shown(values: dict[str, Any]) -> None:
    loaded = load(None, {"EARMARK_SETTINGS": ""}, {key: value for key, value in values.items() if value != ""})
    text = as_toml(loaded)
    assert loaded_from(text).settings == loaded.settings
    assert loaded_from(uncommented(text)).settings == loaded.settings
    assert set(loaded_from(text).origins) == set(loaded.origins)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "x.toml", "No such file")):
        with pytest.raises(SettingsError, match=reason):
            load(path, {})
    with pytest.raises(SettingsError, match="more than"):
        load(Path("/dev/zero"), {})


def test_the_policy_keeps_its_own_rules() -> None:
    with pytest.raises(InputError, match="mode='all'"):
        dataclasses.replace(Settings(), wake=dataclasses.replace(Settings().wake, mode="all")).policy()


# --- in the running daemon


class Daemon:
    """`earmark listen -` with a service manager's socket, by which each reload and its end can be waited for."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(LIMIT_S)
        self.process = subprocess.Popen(
            command("listen", "-", "--json", *arguments),
            env=environment(NOTIFY_SOCKET=str(folder / "notify")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._socket.close()

    def feed(self, audio: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(audio)
        self.process.stdin.flush()

    def until(self, text: str) -> None:
        """Waits for the datagram that says it."""
        while text not in self._socket.recv(1 << 16).decode().split("\n"):
            pass

    def reload(self, *, wait: bool) -> None:
        self.process.send_signal(signal.SIGHUP)
        self.until("RELOADING=1")
        if wait:
            self.until("READY=1")

    def end(self) -> Run:
        out, err = self.process.communicate(timeout=LIMIT_S)
        return checked(self.process.returncode, out, err)


@pytest.fixture
def store(slt: Voiceprint, tmp_path: Path) -> Path:
    PersonStore(tmp_path / "people").save(slt)
    return tmp_path / "people"


@pytest.fixture
def undisturbed(store: Path, scene: Int16) -> list[dict[str, Any]]:
    """The scene's events where nothing is reloaded."""
    return earmark("listen", "-", "--json", "--store", store, stdin=scene.astype("<i2").tobytes()).events


@pytest.mark.slow
@hypothesis_settings(
    max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None, derandomize=True
)
@given(points=cut_points(48 * 16_000, most=12))
def test_reloads_lose_no_sample(
    store: Path, scene: Int16, undisturbed: list[dict[str, Any]], points: list[int]
) -> None:
    """The pipe is cut and the signals are sent where it suits nobody, in the middle of a sample too."""
    raw = scene.astype("<i2").tobytes()
    with tempfile.TemporaryDirectory() as name:
        settings = Path(name) / "earmark.toml"
        settings.touch()
        arguments: list[str | Path] = ["--store", store, "--settings", settings]
        with Daemon(Path(name), *arguments) as daemon:
            daemon.feed(raw[:3201])
            daemon.until("READY=1")
            rest = raw[3201:]
            for number, piece in enumerate(bytes_between(rest, points)):
                daemon.feed(piece)
                # another silence_warning_s: what belongs to the source must not open it anew
                settings.write_text(f"[audio]\nsilence_warning_s = {number + 1}\nstall_s = {number + 1}\n")
                daemon.reload(wait=number % 2 == 1 or number == len(points))  # the last, before the pipe ends
            run = daemon.end()
    assert run.err.count("earmark: reloaded") == len(points) + 1
    assert run.err.count("listening to") == 1
    assert len(undisturbed) == 7
    assert run.events == undisturbed


def bytes_between(raw: bytes, points: list[int]) -> list[bytes]:
    return [piece.tobytes() for piece in cut(np.frombuffer(raw, np.uint8), [2 * point + 1 for point in points])]


@pytest.mark.slow
def test_a_reload_changes_what_comes_after_it(store: Path, tmp_path: Path, scene: Int16) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[wake]\nmode = "only"\n')
    raw = scene.astype("<i2").tobytes()
    with Daemon(tmp_path, "--store", store, "--settings", settings) as daemon:
        daemon.feed(raw)
        assert daemon.process.stdout is not None
        before = [json.loads(daemon.process.stdout.readline()) for _ in range(7)]
        settings.write_text('[wake]\nmode = "label"\n')
        daemon.reload(wait=True)
        daemon.feed(raw)
        run = daemon.end()
    assert {event["reason"] for event in before} == {"known_voice", "unknown_voice"}
    assert {event["type"] for event in before} == {"detection", "rejection"}
    assert {(event["type"], event["reason"]) for event in run.events} == {
        ("detection", "known_voice"),
        ("detection", "unknown_voice:label"),
    }


@pytest.mark.slow
def test_a_broken_file_keeps_the_old_settings(store: Path, tmp_path: Path, scene: Int16) -> None:
    settings = tmp_path / "earmark.toml"
    settings.write_text('[wake]\nmode = "label"\n')
    raw = scene.astype("<i2").tobytes()
    with Daemon(tmp_path, "--store", store, "--settings", settings) as daemon:
        daemon.feed(raw[:3200])
        daemon.until("READY=1")
        for content in (b"[wake", b"\xff", b"[wake]\nmod = 1", b"[mqtt]\nport = 0x" + 5000 * b"f"):
            settings.write_bytes(content)
            daemon.reload(wait=True)
        daemon.feed(raw[3200:])
        run = daemon.end()
    assert run.err.count("; everything stays as it was\n") == 4
    assert run.err.count("earmark: reloaded") == 0
    assert {event["type"] for event in run.events} == {"detection"}


@pytest.mark.slow
def test_people_who_come_and_go_are_noticed(slt: Voiceprint, tmp_path: Path, scene: Int16) -> None:
    store = PersonStore(tmp_path / "people")
    raw = scene.astype("<i2").tobytes()
    arguments: list[str | Path] = ["--store", store.folder, "--mode", "label", "--set", "people.watch_s=0.05"]
    with Daemon(tmp_path, *arguments) as daemon:
        assert daemon.process.stdout is not None

        def who() -> set[str | None]:
            daemon.feed(raw)
            return {json.loads(daemon.process.stdout.readline())["person"] for _ in range(7)}  # type: ignore[union-attr]

        def noticed(known: str) -> None:
            assert daemon.process.stderr is not None
            while (line := next_line(daemon.process.stderr)) != b"earmark: reloaded: mode label, known: %b\n" % (
                known.encode()
            ):
                assert line == b"earmark: listening to -\n"

        assert who() == {None}
        store.save(slt)
        noticed("slt")
        assert who() == {"slt", None}
        store.remove("slt")
        noticed("nobody")
        assert who() == {None}


def test_a_store_that_becomes_unusable_does_not_end_the_watch(slt: Voiceprint, tmp_path: Path) -> None:
    """First it cannot even be listed, then its only person cannot be read, then she is enrolled again."""
    store = PersonStore(tmp_path / "people")
    with Daemon(tmp_path, "--store", store.folder, "--set", "people.watch_s=0.05") as daemon:
        stderr = daemon.process.stderr
        assert stderr is not None
        assert stderr.readline() == b"earmark: listening to -\n"
        store.folder.symlink_to("people")
        assert b"Too many levels of symbolic links; everything stays as it was" in next_line(stderr)
        (tmp_path / "damaged" / "slt" / "okay_nabu" / "0001").mkdir(parents=True)
        (tmp_path / "link").symlink_to("damaged")
        (tmp_path / "link").replace(store.folder)
        assert b"/0001: cannot be read" in (line := stderr.readline())
        assert line.endswith(b"; everything stays as it was\n")
        store.save(slt)
        assert stderr.readline() == b"earmark: reloaded: mode only, known: slt\n"

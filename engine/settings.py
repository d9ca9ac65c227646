"""The settings: one frozen tree, from a TOML file < the environment < the command line.

Every key stands once, here, with its default, its rule and its explanation; `earmark settings show` prints them all.
In the environment `mqtt.host` is `EARMARK_MQTT_HOST`, on the command line `--set mqtt.host=broker`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .policy import MODES, NEUTRAL, ON_ERROR, Policy

PREFIX = "EARMARK_"
FILE_VARIABLE = "EARMARK_SETTINGS"
SYSTEM_FILE = Path("/etc/earmark/earmark.toml")
COMMAND_LINE = "the command line"
EVENT_PREFIX = "EARMARK_EVENT_"  # what the command hook tells its program, which may well be `earmark status`
_NOT_OURS = (FILE_VARIABLE, "EARMARK_PASSPHRASE", "EARMARK_RUNTIME", "EARMARK_TEST_DATA")

_NO_ZERO = " without a zero byte"  # no path and no argument of a program can have one
MAX_FILE_BYTES = 1 << 20  # a hundred times a file with every key in it

TEXT, TEXTS, NUMBER, WHOLE, YES_NO, NUMBERS = (
    "text",
    "list of texts",
    "number",
    "whole number",
    "true or false",
    "table",
)


def _key(kind: str, default: Any, text: str, low: float = 0, high: float = 0, choices: tuple[str, ...] = ()) -> Any:
    """A key: its kind, default and explanation, and what it may be; of a list of texts `low` is the least length."""
    metadata = {"kind": kind, "text": text, "low": low, "high": high, "choices": choices}
    if kind == NUMBERS:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Audio:
    """Where the sound comes from."""

    device: str = _key(
        TEXT, "", "microphone: a name or a part of it, plughw:CARD=…; empty: the default one; none: only satellites"
    )
    wait_for_device: bool = _key(
        YES_NO, False, "go on without a microphone that is not there yet; a service always does"
    )
    stall_s: float = _key(NUMBER, 1.0, "a microphone that delivers nothing for so long is opened again", 0.2, 60)
    silence_warning_s: float = _key(NUMBER, 60.0, "so much digital silence is worth a warning; 0: never", 0, 86_400)


@dataclass(frozen=True)
class Wake:
    """What wakes it."""

    keywords: tuple[str, ...] = _key(
        TEXTS, ("okay_nabu",), "wake words: built-in names, or microWakeWord manifests", 1
    )
    mode: str = _key(
        TEXT, "only", "only: known people; prefer, label: everybody, known people by name", choices=MODES
    )
    on_error: str = _key(TEXT, "reject", "what becomes of a wake word if the speaker side fails", choices=ON_ERROR)
    sensitivity: float = _key(NUMBER, NEUTRAL, "of the wake words: 0.5 as published, more hears more", 0, 1)
    sensitivity_of: Mapping[str, float] = _key(NUMBERS, {}, "the same for single wake words: name = number", 0, 1)
    skip_quiet: bool = _key(YES_NO, True, "rest while the room is quiet; no wake word is lost by it")


@dataclass(frozen=True)
class People:
    """Whom it knows."""

    store: str = _key(TEXT, "", "folder of the people; empty: ~/.local/share/earmark/people")
    models: str = _key(TEXT, "", "folder of a speaker network, head and cohort of your own; empty: the built-in ones")
    key_file: str = _key(
        TEXT, "", "key of an encrypted store; empty: systemd's credential earmark.key, if there is one"
    )
    sensitivity: float = _key(
        NUMBER, NEUTRAL, "of the voices: 0.5 as enrolled; 1 lets in ten times as many strangers, 0 a tenth", 0, 1
    )
    sensitivity_of: Mapping[str, float] = _key(NUMBERS, {}, "the same for single people: name = number", 0, 1)
    watch_s: float = _key(NUMBER, 5.0, "look so often whether somebody was enrolled or erased; 0: never", 0, 3600)


@dataclass(frozen=True)
class Jsonl:
    """Events into a file, one JSON object a line."""

    path: str = _key(TEXT, "", "the file, appended to, mode 0600; empty: no file")


@dataclass(frozen=True)
class Socket:
    """Events and the state to programs on this machine, through a Unix socket."""

    path: str = _key(
        TEXT, "auto", "mode 0660; auto: earmark.sock in the runtime folder, but not for a pipe; empty: none"
    )


@dataclass(frozen=True)
class Wyoming:
    """A wake service for Home Assistant and its satellites."""

    uris: tuple[str, ...] = _key(
        TEXTS, (), "where to listen: tcp://127.0.0.1:10400, unix:///run/…; empty: not at all"
    )
    zeroconf: bool = _key(YES_NO, False, "announce the tcp port in the local network")
    clients: int = _key(WHOLE, 32, "more at once are turned away", 1, 1000)


@dataclass(frozen=True)
class Mqtt:
    """Events, state and controls through a broker, with Home Assistant's discovery."""

    host: str = _key(TEXT, "", "of the broker; empty: no MQTT")
    port: int = _key(WHOLE, 1883, "of the broker", 1, 65_535)
    username: str = _key(TEXT, "", "at the broker")
    password_file: str = _key(TEXT, "", "its first line is the password")
    tls: bool = _key(YES_NO, False, "encrypt, with the system's certificates")
    topic: str = _key(TEXT, "earmark", "what all our topics begin with; one for each daemon at a broker")
    discovery: str = _key(TEXT, "homeassistant", "prefix of Home Assistant's discovery; empty: no discovery")
    name: str = _key(TEXT, "earmark", "of the device, as Home Assistant shows it")


@dataclass(frozen=True)
class Hook:
    """A program that is run at each event."""

    command: tuple[str, ...] = _key(
        TEXTS, (), 'program and arguments, never a shell: ["/usr/bin/notify", "{person}"]'
    )
    events: tuple[str, ...] = _key(
        TEXTS, ("detection",), "which events: detection, rejection", choices=("detection", "rejection")
    )
    timeout_s: float = _key(NUMBER, 10.0, "it is killed after so long", 0.1, 600)


@dataclass(frozen=True)
class Journal:
    """What woke it and what nearly did, with the sound, to look at later."""

    enabled: bool = _key(YES_NO, False, "keep 2 s of sound around each wake and near-miss, mode 0600")
    folder: str = _key(TEXT, "", "empty: ~/.local/share/earmark/wakes")
    most: int = _key(WHOLE, 500, "the oldest are erased beyond so many (64 kB each)", 1, 100_000)
    days: float = _key(NUMBER, 7.0, "older ones are erased", 0.01, 3650)


@dataclass(frozen=True)
class Learning:
    """Learning on, from what woke it; embeddings only, in the people's store."""

    enabled: bool = _key(
        YES_NO, False, "learn accepted wakes that are beyond doubt, one a day, and what strangers sound like here"
    )
    update_s: float = _key(
        NUMBER, 86_400.0, "so often the daemon runs `earmark learn now`; 0: only you do", 0, 31 * 86_400
    )


@dataclass(frozen=True)
class Metrics:
    """Counters for Prometheus."""

    port: int = _key(WHOLE, 0, "http://127.0.0.1:PORT/metrics; 0: none", 0, 65_535)
    address: str = _key(TEXT, "127.0.0.1", "another one than loopback shows who is at home to the network")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    audio: Audio = field(default_factory=Audio)
    wake: Wake = field(default_factory=Wake)
    people: People = field(default_factory=People)
    jsonl: Jsonl = field(default_factory=Jsonl)
    socket: Socket = field(default_factory=Socket)
    wyoming: Wyoming = field(default_factory=Wyoming)
    mqtt: Mqtt = field(default_factory=Mqtt)
    hook: Hook = field(default_factory=Hook)
    journal: Journal = field(default_factory=Journal)
    learning: Learning = field(default_factory=Learning)
    metrics: Metrics = field(default_factory=Metrics)

    def policy(self) -> Policy:
        """What they say of who may wake it."""
        return Policy(
            mode=self.wake.mode,  # type: ignore[arg-type]  # Policy checks it
            on_error=self.wake.on_error,  # type: ignore[arg-type]
            sensitivity=self.wake.sensitivity,
            sensitivity_of=self.wake.sensitivity_of,
            voice_sensitivity=self.people.sensitivity,
            voice_sensitivity_of=self.people.sensitivity_of,
            skip_quiet=self.wake.skip_quiet,
        )


@dataclass(frozen=True)
class Loaded:
    """Settings, and where they are from."""

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    """key -> the file, the variable or the flag that set it; keys at their default are not in it."""


def keys() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every key by its full name, in order."""
    for section in dataclasses.fields(Settings):
        for key in dataclasses.fields(section.default_factory):  # type: ignore[arg-type]
            yield f"{section.name}.{key.name}", key


_KEYS = dict(keys())


def find_file(environment: Mapping[str, str]) -> Path | None:
    """`$EARMARK_SETTINGS` (empty: no file), else the user's, else the system's, if there is one."""
    if FILE_VARIABLE in environment:
        return Path(environment[FILE_VARIABLE]) if environment[FILE_VARIABLE] else None
    home = environment.get("XDG_CONFIG_HOME") or (
        Path(environment["HOME"]) / ".config" if "HOME" in environment else ""
    )
    candidates = [Path(home) / "earmark" / "earmark.toml"] if home else []
    return next((path for path in [*candidates, SYSTEM_FILE] if _may_be_there(path)), None)


def _may_be_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # whoever reads it says why it cannot be
        return True


def load(
    file: Path | None = None, environment: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None
) -> Loaded:
    """The settings in force.

    Args:
        file: the TOML file; None: the one that `find_file` finds, perhaps none.
        environment: variables; those that begin with EARMARK_ are settings.
        flags: full key -> value, a text as it was typed or a value of the key's own type.

    Raises:
        SettingsError: something is unknown or against its rule; the message names the place and the rule.
    """
    file = file or find_file(environment)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if file is not None:
        for key, value in _flat(parsed(file), str(file)).items():
            values[key], origins[key] = _checked(key, value, str(file)), str(file)
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(EVENT_PREFIX) and name not in _NOT_OURS:
            key = _key_of_variable(name)
            values[key], origins[key] = _checked(key, _typed(key, environment[name], name), name), name
    for key, value in (flags or {}).items():
        _require_known(key, "--set")
        typed = _typed(key, value, "--set") if isinstance(value, str) else value
        values[key], origins[key] = _checked(key, typed, "--set"), COMMAND_LINE
    sections: dict[str, dict[str, Any]] = {}
    for full, value in values.items():
        section, key = full.split(".")
        sections.setdefault(section, {})[key] = value
    defaults = Settings()
    settings = dataclasses.replace(
        defaults, **{name: dataclasses.replace(getattr(defaults, name), **sub) for name, sub in sections.items()}
    )
    return Loaded(settings, file, origins)


def parsed(file: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        SettingsError: it cannot be read, or is none.
    """
    try:
        with file.open("rb") as opened:  # perhaps a pipe, or a device without an end
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{file}: the settings have more than {MAX_FILE_BYTES} bytes")
        text = content.decode("utf-8")
    except OSError as error:
        raise SettingsError(f"{file}: the settings cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{file}: the settings are not UTF-8: {error}") from error
    try:
        return toml(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: the settings are not TOML: {error}") from error


def toml(text: str) -> dict[str, Any]:
    """What a TOML text says; the parser is loaded only where there is something to parse.

    Raises:
        ValueError, RecursionError: it is none.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    parsed: dict[str, Any] = tomllib.loads(text)
    return parsed


def _flat(tree: Mapping[str, Any], place: str) -> dict[str, Any]:
    """{"mqtt": {"host": …}} -> {"mqtt.host": …}, every key known."""
    sections = [section.name for section in dataclasses.fields(Settings)]
    flat = {}
    for section, content in tree.items():
        if section not in sections:
            raise SettingsError(f"{place}: no section [{_shown(section)[1:-1]}]{_near(section, sections)}")
        if not isinstance(content, dict):
            raise SettingsError(f"{place}: {section}={_shown(content)} must be a section: [{section}]")
        for key, value in content.items():
            _require_known(f"{section}.{key}", place)
            flat[f"{section}.{key}"] = value
    return flat


def _require_known(key: str, place: str) -> None:
    if key not in _KEYS:
        raise SettingsError(f"{place}: no setting {_shown(key)}{_near(key, list(_KEYS))}")


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f": did you mean {' or '.join(near)}?" if near else f": there are {', '.join(known)}"


def _key_of_variable(name: str) -> str:
    variables = {PREFIX + key.replace(".", "_").upper(): key for key in _KEYS}
    if name not in variables:
        raise SettingsError(f"{name} in the environment is no setting{_near(name, list(variables))}")
    return variables[name]


def _typed(key: str, text: str, place: str) -> Any:
    """A text from the environment or the command line, as a value of the key's kind."""
    kind = _KEYS[key].metadata["kind"]
    if kind == TEXT:
        return text
    if kind == TEXTS and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == NUMBERS and not text.lstrip().startswith("{"):
        text = "{" + text + "}"
    try:
        parsed = toml(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    if len(parsed) != 1:  # or there were more lines, with keys of their own
        raise SettingsError(f"{place}: {key}={_shown(text)} must be {_rule_text(key)}")
    return parsed["value"]


def _checked(key: str, value: Any, place: str) -> Any:
    """The value, if it keeps the key's rule."""
    rule = _KEYS[key].metadata
    kind, choices, low, high = rule["kind"], rule["choices"], rule["low"], rule["high"]
    if kind == TEXT and _is_text(value, choices):
        return value
    if kind == TEXTS and isinstance(value, (list, tuple)) and len(value) >= low:
        if all(_is_text(part, choices) for part in value):
            return tuple(value)
    elif kind == YES_NO and isinstance(value, bool):
        return value
    elif kind == NUMBER and _is_number(value, low, high):
        return float(value)
    elif kind == WHOLE and isinstance(value, int) and _is_number(value, low, high):
        return value
    elif kind == NUMBERS and isinstance(value, dict) and all(_is_number(part, low, high) for part in value.values()):
        return {name: float(part) for name, part in value.items()}
    raise SettingsError(f"{place}: {key}={_shown(value)} must be {_rule_text(key)}")


def _is_text(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and "\0" not in value and (not choices or value in choices)


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _shown(value: Any) -> str:
    """A value in a message; a file may hold numbers and nestings that Python does not write out."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"(a {type(value).__name__} too large to show)"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _rule_text(key: str) -> str:
    rule = _KEYS[key].metadata
    kind, choices, limits = rule["kind"], " or ".join(rule["choices"]), f"within {rule['low']:g}…{rule['high']:g}"
    if kind in (NUMBER, WHOLE):
        return f"a {kind} {limits}"
    if kind == NUMBERS:
        return f'a table of numbers {limits}, as in {{"anna" = 0.6}}'
    if kind == TEXTS:
        return f"a list of {choices or 'texts'}{', not empty' if rule['low'] else ''}{'' if choices else _NO_ZERO}"
    return choices or (kind if kind == YES_NO else f"a text{_NO_ZERO}")


def as_toml(loaded: Loaded) -> str:
    """All settings as a TOML file with every key explained; what is at its default is commented out."""
    lines = []
    for section in dataclasses.fields(Settings):
        values = getattr(loaded.settings, section.name)
        lines += ["", f"[{section.name}]", f"# {type(values).__doc__}"]
        for key in dataclasses.fields(values):
            full, rule, value = f"{section.name}.{key.name}", key.metadata, getattr(values, key.name)
            set_by = loaded.origins.get(full)
            note = f"  # {rule['text']}" + (f"  [{toml_text(set_by)[1:-1]}]" if set_by else "")
            line = f"{'' if set_by else '# '}{key.name} = {_toml_value(value)}{note}"
            lines.append(line)
    return "\n".join(lines[1:]) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_text(name)} = {part}" for name, part in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return toml_text(value) if isinstance(value, str) else json.dumps(value)


def toml_text(text: str) -> str:
    """A basic string of TOML: like JSON's, but DEL must not stand in it as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")

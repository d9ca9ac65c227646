"""Reads the settings: a TOML file < the environment < the command line; and writes them as TOML.

In the environment `mqtt.host` is `EARMARK_MQTT_HOST`, on the command line `--set mqtt.host=broker`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SettingsError, did_you_mean, system_text_of, text_of
from ..storage.edited import MARK, decoded
from ..storage.user_folders import settings_file
from .schema import CHOSEN, NUMBER, NUMBERS, TABLES, TEXT, TEXTS, WHOLE, YES_NO, Settings, keys

PREFIX = "EARMARK_"
FILE_VARIABLE = "EARMARK_SETTINGS"
SYSTEM_FILE = Path("/etc/earmark/earmark.toml")
COMMAND_LINE = "the command line"
EVENT_PREFIX = "EARMARK_EVENT_"  # what the command hook tells its program, which may well be `earmark status`
_NOT_OURS = (FILE_VARIABLE, "EARMARK_PASSPHRASE", "EARMARK_RUNTIME", "EARMARK_TEST_DATA")
_NO_ZERO = " without a zero byte"  # no path and no argument of a program can have one
MOST_DOTS = (
    500  # of a line: the work of the parser grows with the square of a key's parts; 128 kB of one took 3 minutes
)
MAX_FILE_BYTES = 1 << 18  # twenty times a file with every key in it


@dataclass(frozen=True)
class Loaded:
    """Settings, and where they are from."""

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    """key -> the file, the variable or the flag that set it; keys at their default are not in it."""


_LOG = logging.getLogger(__name__)

_KEYS = dict(keys())
_VARIABLES = {PREFIX + key.replace(".", "_").upper(): key for key in _KEYS}
MISSPELT = 0.75  # of difflib's ratio: MQT_HOST and MQTT_HOST have 0.94, VERSION and the nearest one 0.42
# Kubernetes and Docker tell each container of the services beside it. One that is called `earmark-mqtt` makes
# EARMARK_MQTT_PORT=tcp://10.0.0.1:1883, EARMARK_MQTT_PORT_1883_TCP_ADDR, EARMARK_MQTT_SERVICE_HOST and so on.
_LINK = re.compile(r"(tcp|udp|sctp)://[^/\s]+:\d+")
_LINK_NAME = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")


_QUOTED_KEY = re.compile(r"""key (?:'.*'|".*")""")


def find_file(environment: Mapping[str, str]) -> Path | None:
    """`$EARMARK_SETTINGS` (empty: no file), else that of this process's user, else the system's, if there is one."""
    if FILE_VARIABLE in environment:
        return Path(environment[FILE_VARIABLE]) if environment[FILE_VARIABLE] else None
    candidates = [SYSTEM_FILE]
    with contextlib.suppress(RuntimeError):  # a user without a home folder has no settings in it
        candidates.insert(0, settings_file())
    return next((path for path in candidates if _may_be_there(path)), None)


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
    foreign = []
    for given in sorted(environment):
        name = given.removeprefix(
            MARK
        )  # the first of a file that an editor has marked, as `docker --env-file` has it
        if name.startswith(PREFIX) and not name.startswith(EVENT_PREFIX) and name not in _NOT_OURS:
            found = _VARIABLES.get(name)
            if _LINK_NAME.search(name) or (name.endswith("_PORT") and _LINK.fullmatch(environment[given])):
                foreign.append(name)
            elif found is None:
                _refuse_misspelt(name)
                foreign.append(name)
            else:
                values[found] = _checked(found, _typed(found, environment[given], name), name)
                origins[found] = name
    if foreign:
        _LOG.warning("left out, for in the environment they are no settings: %s", ", ".join(foreign))
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
        text = decoded(content)
    except OSError as error:
        raise SettingsError(f"{file}: the settings cannot be read: {system_text_of(error)}") from error
    except ValueError as error:
        raise SettingsError(f"{file}: the settings are not UTF-8: {text_of(error)}") from error
    try:
        return toml(text)
    except (ValueError, RecursionError) as error:
        said = _QUOTED_KEY.sub("key", text_of(error))  # perhaps of a person
        raise SettingsError(f"{file}: the settings are not TOML: {said}") from None


def toml(text: str) -> dict[str, Any]:
    """What a TOML text says; the parser is loaded only where there is something to parse.

    Raises:
        ValueError, RecursionError: it is none.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots: a list may have several lines")
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
    return did_you_mean(name, known) or f": there are {', '.join(known)}"


def _refuse_misspelt(name: str) -> None:
    """Raises SettingsError for a variable that is so near to a setting that it was meant to be one.

    Others are not ours, as containers have them: EARMARK_VERSION.
    """
    ends = {variable[len(PREFIX) :]: variable for variable in _VARIABLES}
    near = difflib.get_close_matches(name[len(PREFIX) :], ends, n=2, cutoff=MISSPELT)
    if near:
        meant = " or ".join(ends[end] for end in near)
        raise SettingsError(f"{name} in the environment is no setting: did you mean {meant}?")


def _typed(key: str, text: str, place: str) -> Any:
    """A text from the environment or the command line, as a value of the key's kind."""
    kind = _KEYS[key].metadata["kind"]
    if kind == TEXT:
        return text
    if kind == TEXTS and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind in TABLES and not text.lstrip().startswith("{"):
        text = "{" + text + "}"
    try:
        parsed = toml(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    if len(parsed) != 1:  # or there were more lines, with keys of their own
        given = "…" if kind in TABLES else _shown(text)  # with names of people in it
        raise SettingsError(f"{place}: {key}={given} must be {_rule_text(key)}")
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
    elif kind in TABLES and isinstance(value, dict):  # whose keys are not shown
        wrong = [
            (n, part)
            for n, part in enumerate(value.values(), 1)
            if not (_is_number(part, low, high) if kind == NUMBERS else _is_text(part, choices))
        ]
        if not wrong:
            return {name: float(part) if kind == NUMBERS else part for name, part in value.items()}
        said = ", ".join(f"number {n} is {_shown(part)}" for n, part in wrong[:3])
        raise SettingsError(f"{place}: {key}=(a table of {len(value)}: {said}) must be {_rule_text(key)}")
    raise SettingsError(f"{place}: {key}={_shown(value)} must be {_rule_text(key)}")


def _is_text(value: Any, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and "\0" not in value and (not choices or value in choices)


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _shown(value: Any) -> str:
    """A value in a message; a file may hold numbers and nestings that Python does not write out.

    The keys of a table may be people, and the message may go to a log that names nobody.
    """
    try:
        text = _written(value)
    except (ValueError, RecursionError):
        return f"(a {type(value).__name__} too large to show)"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return f"(a table of {len(value)})"
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, list) else repr(value)


def _rule_text(key: str) -> str:
    rule = _KEYS[key].metadata
    kind, choices, limits = rule["kind"], " or ".join(rule["choices"]), f"within {rule['low']:g}…{rule['high']:g}"
    if kind in (NUMBER, WHOLE):
        return f"a {kind} {limits}"
    if kind == NUMBERS:
        return f'a table of numbers {limits}, as in {{"anna" = 0.6}}'
    if kind == CHOSEN:
        return f'a table of {choices}, as in {{"okay_nabu" = "{rule["choices"][-1]}"}}'
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
            line = f"{'' if set_by else '# '}{key.name} = {toml_value(value)}{note}"
            lines.append(line)
    return "\n".join(lines[1:]) + "\n"


def toml_value(value: Any) -> str:
    """A value of a setting as TOML writes it."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_text(name)} = {toml_value(part)}" for name, part in value.items())
        return "{ " + inner + " }" if inner else "{}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return toml_text(value) if isinstance(value, str) else json.dumps(value)


def toml_text(text: str) -> str:
    """A basic string of TOML: like JSON's, but DEL must not stand in it as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")

"""The files that Home Assistant wants beside an integration: what they must have, and that they agree.

As its own checks want it (home-assistant/core, script/hassfest) of a custom integration, and HACS of a repository.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

INTEGRATION = REPOSITORY / "custom_components" / "earmark"
PLATFORMS = ("binary_sensor", "event", "sensor", "stt", "wake_word")
MOST_LINES = 425  # of code, besides imports: what a person can read before they let it into their home
MANIFEST: dict[str, type] = {
    "domain": str,
    "name": str,
    "after_dependencies": list,
    "codeowners": list,
    "config_flow": bool,
    "dependencies": list,
    "documentation": str,
    "integration_type": str,
    "iot_class": str,
    "issue_tracker": str,
    "requirements": list,
    "version": str,
    "zeroconf": list,
}
BLUEPRINTS = sorted((REPOSITORY / "blueprints" / "automation" / "earmark").glob("*.yaml"))
# What YAML 1.1 takes for truth, and Home Assistant refuses as a name
NO_NAMES = re.compile(r"^\s*(yes|no|on|off|true|false|y|n):", re.IGNORECASE | re.MULTILINE)


def read(name: str) -> Any:
    return json.loads((INTEGRATION / name).read_text("utf-8"))


def shape(value: Any) -> Any:
    """The keys, without what is said."""
    return {key: shape(one) for key, one in value.items()} if isinstance(value, dict) else type(value).__name__


def translation_keys(platform: str) -> set[str]:
    """What entities of a platform are called: the second argument of each that is added."""
    tree = ast.parse((INTEGRATION / f"{platform}.py").read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 2]
    return {
        str(call.args[1].value)
        for call in calls
        if isinstance(call.args[1], ast.Constant) and isinstance(call.args[0], ast.Attribute)
    }


def lines_of_code(path: Path) -> int:
    """Without blank lines, comments, docstrings and imports."""
    text = path.read_text("utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        says = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        if says or isinstance(node, (ast.Import, ast.ImportFrom)):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [one for one in tokenize.generate_tokens(io.StringIO(text).readline) if one.type not in blank]
    return len({line for one in tokens for line in range(one.start[0], one.end[0] + 1)} - left_out)


def test_the_manifest_is_as_home_assistant_wants_it() -> None:
    manifest = read("manifest.json")
    assert {key: type(value) for key, value in manifest.items()} == MANIFEST
    keys = list(manifest)
    assert keys[:2] == ["domain", "name"]
    assert keys[2:] == sorted(keys[2:])
    assert manifest["domain"] == INTEGRATION.name
    assert manifest["integration_type"] in ("device", "entity", "hardware", "helper", "hub", "service", "system")
    assert manifest["iot_class"] == "local_push"
    assert manifest["config_flow"] is True
    assert (INTEGRATION / "config_flow.py").is_file()
    assert all(manifest[key].startswith("https://") for key in ("documentation", "issue_tracker"))
    assert manifest["zeroconf"] == [{"type": "_wyoming._tcp.local.", "name": "earmark*"}]


def test_what_the_daemon_announces_is_what_it_looks_for() -> None:
    from earmark.engine.sinks.wyoming.announcement import SERVICE_TYPE, instance_name

    (wanted,) = read("manifest.json")["zeroconf"]
    assert wanted["type"] == SERVICE_TYPE
    assert instance_name("0" * 6).lower().startswith(wanted["name"].removesuffix("*"))


def test_hacs_is_told_the_oldest_release() -> None:
    told = json.loads((REPOSITORY / "hacs.json").read_text("utf-8"))
    assert set(told) <= {"name", "homeassistant", "render_readme", "content_in_root", "country", "hacs", "filename"}
    assert told["homeassistant"] == "2024.11.0"
    assert "2024.11" in (REPOSITORY / "docs" / "home_assistant.md").read_text("utf-8")


@pytest.mark.parametrize("language", sorted(path.stem for path in (INTEGRATION / "translations").iterdir()))
def test_each_language_says_all_of_it(language: str) -> None:
    assert shape(read(f"translations/{language}.json")) == shape(read("strings.json"))


def test_english_is_what_the_strings_say() -> None:
    assert read("translations/en.json") == read("strings.json")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_entity_has_a_name(platform: str) -> None:
    found = translation_keys(platform)
    assert found
    if platform not in ("stt", "wake_word"):  # it is called as its device is
        assert found == set(read("strings.json")["entity"][platform])
    assert set(read("icons.json")["entity"].get(platform, {})) <= found


def test_each_error_that_a_form_can_show_has_words() -> None:
    text = (INTEGRATION / "config_flow.py").read_text("utf-8")
    assert set(re.findall(r'return "(\w+)", str', text)) == set(read("strings.json")["config"]["error"])


def test_the_action_is_described_as_it_is() -> None:
    text = (INTEGRATION / "services.yaml").read_text("utf-8")
    described = set(re.findall(r"^    (\w+):$", text, re.MULTILINE))
    (service,) = read("strings.json")["services"].values()
    assert described == set(service["fields"]) == {"device_id", "satellite"}
    assert "speaker:\n" in text


def test_it_is_short_enough_to_be_read() -> None:
    assert sum(lines_of_code(path) for path in INTEGRATION.glob("*.py")) <= MOST_LINES


def test_it_asks_for_nothing_that_is_not_there() -> None:
    """Only Home Assistant and Python: it brings no package along."""
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for path in INTEGRATION.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for alias in node.names
    }
    roots = {name.split(".")[0] for name in imported}
    python = {"__future__", "asyncio", "collections", "contextlib", "contextvars", "dataclasses", "datetime", "json"}
    assert roots - {"homeassistant", "voluptuous"} <= python | {"logging", "socket", "time", "typing"}


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_uses_each_of_its_inputs_and_no_other(blueprint: Path) -> None:
    text = blueprint.read_text("utf-8")
    declared = set(re.findall(r"^    (\w+):$", text.split("  input:\n")[1].split("\nmode:")[0], re.MULTILINE))
    assert declared == set(re.findall(r"!input (\w+)", text))
    assert "domain: automation" in text
    assert 'min_version: "2024.11.0"' in text
    assert NO_NAMES.findall(text) == []

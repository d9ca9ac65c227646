"""The page's unit: what it may write is where the page writes, and the daemon is not disturbed by it."""

from __future__ import annotations

import configparser
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import REPOSITORY
from helpers_store import save_cosine
from serving_page import Served, journal_in

from earmark.engine.storage.user_folders import SERVICE_FOLDER
from earmark.enroll.web import access

pytestmark = pytest.mark.slow

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_written: list[Path] | None = None


def service(name: str) -> dict[str, str]:
    read = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(REPOSITORY / "engine" / "daemon" / "units" / name, "utf-8")
    return dict(read["Service"])


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if _written is not None and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        flags = arguments[2]
        if isinstance(flags, int) and flags & WRITES:
            _written.append(Path(os.fsdecode(arguments[0])).absolute())


@contextmanager
def written() -> Iterator[list[Path]]:
    """The files that this process opens for writing meanwhile, in any thread."""
    global _written  # a hook of the interpreter stays for ever
    if not hasattr(watch, "is_set"):
        sys.addaudithook(watch)
        watch.is_set = True  # type: ignore[attr-defined]
    found: list[Path] = []
    _written = found
    try:
        yield found
    finally:
        _written = None


def test_it_writes_where_the_daemons_people_are_and_nowhere_else() -> None:
    web, daemon = service("earmark-web.service"), service("earmark.service")
    for key in ("User", "Group", "StateDirectory", "StateDirectoryMode", "UMask", "WorkingDirectory"):
        assert web[key] == daemon[key], key
    assert Path("/var/lib", web["StateDirectory"]) == SERVICE_FOLDER
    assert access.web_folder(SERVICE_FOLDER / "people") == SERVICE_FOLDER / "web"
    assert web["ProtectSystem"] == "strict"
    assert web["PrivateTmp"] == web["ProtectHome"] == "yes"
    assert "ReadWritePaths" not in web
    assert "RuntimeDirectory" not in web, "systemd would remove the daemon's socket when the page ends"


def test_whatever_the_page_writes_lies_where_its_unit_lets_it_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory, and the temporary folder of its own."""
    state, temporary = tmp_path / "earmark", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    save_cosine(state / "people", "anna")
    journal_in(state, {"person": "anna"})
    with written() as found, Served(state) as served:
        visitor = served.log_in()
        token = {"x_csrf_token": visitor.ask("GET", "/", Accept="text/html").text.split('name="csrf" content="')[1]}
        token["x_csrf_token"] = token["x_csrf_token"].partition('"')[0]
        for path, body in (
            ("/people/export", {"name": "anna"}),
            ("/wakes/label", {"numbers": [1], "label": "noise"}),
            ("/people/rename", {"name": "anna", "new_name": "berta"}),
            ("/people/erase", {"name": "berta", "typed": "berta"}),
        ):
            answer = visitor.ask("POST", path, json.dumps(body), **token)
            assert answer.status == 200, answer.text
    places = {path.relative_to(state).parts[0] for path in found if path.is_relative_to(state)}
    assert places == {"people", "wakes", "web"}
    own = (state, temporary, Path(os.devnull))
    assert [path for path in found if not any(path.is_relative_to(folder) for folder in own)] == []

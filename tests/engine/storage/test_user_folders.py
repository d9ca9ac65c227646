"""Where things are when nobody says where."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers_store import environment

from earmark.engine.history.journal import open_journal
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.schema import Journal
from earmark.engine.storage import user_folders

FOLDERS: list[tuple[Callable[[], Path], str, str, str]] = [
    (lambda: PersonStore().folder, "XDG_DATA_HOME", ".local/share", "earmark/people"),
    (lambda: open_journal(Journal()).folder, "XDG_DATA_HOME", ".local/share", "earmark/wakes"),
    (user_folders.sessions_folder, "XDG_STATE_HOME", ".local/state", "earmark/sessions"),
    (user_folders.settings_file, "XDG_CONFIG_HOME", ".config", "earmark/earmark.toml"),
    (user_folders.config_home, "XDG_CONFIG_HOME", ".config", ""),
]


@pytest.mark.parametrize(("folder", "variable", "default", "inside"), FOLDERS)
def test_a_folder_is_where_the_variable_says_or_in_the_home_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: Callable[[], Path],
    variable: str,
    default: str,
    inside: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    assert folder() == tmp_path / default / inside
    monkeypatch.setenv(variable, "")
    assert folder() == tmp_path / default / inside
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert folder() == tmp_path / "elsewhere" / inside
    assert list(tmp_path.iterdir()) == [], "nobody makes it by asking"


def test_the_library_that_knows_them_is_loaded_by_who_asks_and_by_nobody_else(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from earmark.engine.daemon import daemon\n"
        "from earmark.engine.people.store import PersonStore\n"
        f"PersonStore({str(tmp_path)!r}).names()\n"
        "before = 'platformdirs' in sys.modules\n"
        "PersonStore()\n"
        "print(before, 'platformdirs' in sys.modules)\n"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == "False True\n"

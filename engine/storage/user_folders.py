"""Where a user's files are when nobody says where: the folders of the XDG Base Directory Specification.

The library that knows them is loaded by the first who asks: it is 3 ms of a start (`python -X importtime`), and
0.4 MB of a daemon's memory, unless all folders are named.
"""

from __future__ import annotations

from pathlib import Path

APP = "earmark"


def people_folder() -> Path:
    """`$XDG_DATA_HOME/earmark/people`, by default `~/.local/share/earmark/people`."""
    return data_folder() / "people"


def journal_folder() -> Path:
    """`$XDG_DATA_HOME/earmark/wakes`, by default `~/.local/share/earmark/wakes`."""
    return data_folder() / "wakes"


def sessions_folder() -> Path:
    """Of enrolments that were broken off: `$XDG_STATE_HOME/earmark/sessions`, by default `~/.local/state/…`."""
    from platformdirs import user_state_path

    return user_state_path(APP) / "sessions"


def data_folder() -> Path:
    """`$XDG_DATA_HOME/earmark`, by default `~/.local/share/earmark`.

    Raises:
        RuntimeError: there is neither this variable nor a home folder; so do all others here.
    """
    from platformdirs import user_data_path

    return user_data_path(APP)


def config_home() -> Path:
    """`$XDG_CONFIG_HOME`, by default `~/.config`: of all programs."""
    from platformdirs import user_config_path

    return user_config_path()


def settings_file() -> Path:
    """`$XDG_CONFIG_HOME/earmark/earmark.toml`, by default `~/.config/earmark/earmark.toml`."""
    return config_home() / APP / "earmark.toml"

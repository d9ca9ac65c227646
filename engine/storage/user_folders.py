"""Where a user's files are when nobody says where: the folders of the XDG Base Directory Specification.

The people and wakes of root are those of this machine's service, where there is one: so `sudo earmark enroll anna`
enrols for whoever listens. `commands/which_store.py` tells everybody else which of two stores is meant.

The library that knows them is loaded by the first who asks: it is 3 ms of a start (`python -X importtime`), and
0.4 MB of a daemon's memory, unless all folders are named.
"""

from __future__ import annotations

import os
from pathlib import Path

APP = "earmark"
SERVICE_FOLDER = Path("/var/lib/earmark")  # StateDirectory= of engine/daemon/units/earmark.service


def people_folder() -> Path:
    """`people` in `data_folder()`, by default `~/.local/share/earmark/people`."""
    return data_folder() / "people"


def journal_folder() -> Path:
    """`wakes` in `data_folder()`, by default `~/.local/share/earmark/wakes`."""
    return data_folder() / "wakes"


def sessions_folder() -> Path:
    """Of enrolments that were broken off: `$XDG_STATE_HOME/earmark/sessions`, by default `~/.local/state/…`."""
    from platformdirs import user_state_path

    return user_state_path(APP) / "sessions"


def is_of_service() -> bool:
    """Whether this process's user keeps what the service of this machine keeps: root, and the service's own user.

    From `earmark service install` on, and also when only people and settings are left of it.
    """
    try:
        owner = SERVICE_FOLDER.stat().st_uid
    except OSError:
        return False
    return owner != 0 and os.geteuid() in (0, owner)


def networks_folder() -> Path:
    """Of the networks from elsewhere that were tried and found good: `$XDG_STATE_HOME/earmark/networks`."""
    from platformdirs import user_state_path

    return user_state_path(APP) / "networks"


def seals_folder(store: Path) -> Path:
    """Where it is remembered which stores are sealed: `$XDG_STATE_HOME/earmark/seals`, by default `~/.local/state/…`.

    Of the service's store it is `/var/lib/earmark/seals`, whoever asks: the service, or who calls commands for it.
    """
    if store.parent == SERVICE_FOLDER:
        return SERVICE_FOLDER / "seals"
    from platformdirs import user_state_path

    return user_state_path(APP) / "seals"


def controls_folder(store: Path) -> Path:
    """Where it is remembered what was changed from outside: `$XDG_STATE_HOME/earmark/controls`, as `seals_folder`."""
    return seals_folder(store).with_name("controls")


def data_folder() -> Path:
    """`$XDG_DATA_HOME/earmark`; by default the service's for root, and for others `~/.local/share/earmark`.

    Raises:
        RuntimeError: there is neither this variable nor a home folder; so do all others here.
    """
    if not os.environ.get("XDG_DATA_HOME") and is_of_service():
        return SERVICE_FOLDER
    return own_data_folder()


def own_data_folder() -> Path:
    """`$XDG_DATA_HOME/earmark`, by default `~/.local/share/earmark`, of every user.

    Raises:
        RuntimeError: there is neither this variable nor a home folder.
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

"""Which people and wakes a command means where nobody says, and what to say where this machine has two.

1. `--store`, `people.store` and the environment name one.
2. Else `$XDG_DATA_HOME/earmark`.
3. Else, for root and the service's own user, those of the service, where this machine has one (`/var/lib/earmark`).
4. Else one's own, `~/.local/share/earmark`.

The last three are `storage/user_folders.data_folder`. Who is left with the fourth on a machine with a service is told
here: what he enrols, the service does not hear.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from ...errors import InputError
from ...people.store import PersonStore
from ...settings.schema import Settings
from ...sinks.places import sockets_to_ask
from ...storage import user_folders
from ...storage.user_folders import config_home, is_of_service, own_data_folder

SERVICE_UNIT = Path("/etc/systemd/system/earmark.service")


def service_elsewhere(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of this machine's service, where a command means another one's, though nobody named one.

    Not where one's own daemon runs, or is installed: that reads what one's own commands write.
    """
    folder = user_folders.SERVICE_FOLDER
    if is_of_service() or not (SERVICE_UNIT.exists() and folder.is_dir()):
        return None
    if environment.get("XDG_DATA_HOME") and own_data_folder() == folder:  # the service itself
        return None
    own = sockets_to_ask("auto", environment)[:-1]  # the last one is the system's
    if any(path.exists() for path in (*own, config_home() / "systemd" / "user" / SERVICE_UNIT.name)):
        return None
    return folder


def require_heard(arguments: argparse.Namespace) -> None:
    """Before somebody is enrolled where this machine's service does not hear it.

    Raises:
        InputError: a store would be taken that nobody named, beside that of the service.
    """
    folder = None if _is_named(arguments) else service_elsewhere()
    if folder is None:
        return
    own = own_data_folder() / "people"
    raise InputError(
        f"this machine's service hears the people in {folder / 'people'}: enrol there with `{_with_sudo()}`. In a "
        f"store of your own, which the service does not hear: --store {shlex.quote(str(own))}{_taken_there(own)}"
    )


def say_two_stores(arguments: argparse.Namespace) -> None:
    """One line, where somebody's own people are looked at, and those of the service are others."""
    folder = None if _is_named(arguments) else service_elsewhere()
    if folder is not None:
        own = own_data_folder() / "people"
        print(
            f"earmark: these are your own, {own}; this machine's service hears those in {folder / 'people'}: "
            f"`{_with_sudo()}`{_taken_there(own)}",
            file=sys.stderr,
        )


def say_two_journals(settings: Settings) -> None:
    """The same of the wakes."""
    folder = None if settings.journal.folder else service_elsewhere()
    if folder is not None:
        print(
            f"earmark: these are your own, {own_data_folder() / 'wakes'}; those of this machine's service are in "
            f"{folder / 'wakes'}: `{_with_sudo()}`",
            file=sys.stderr,
        )


def _is_named(arguments: argparse.Namespace) -> bool:
    return "people.store" in arguments.loaded.origins


def _with_sudo() -> str:
    """What was typed, with sudo before it."""
    return shlex.join(["sudo", "earmark", *sys.argv[1:]])


def _taken_there(own: Path) -> str:
    """How those who are enrolled in one's own store get into the other one."""
    names = PersonStore(own).names()
    if not names:
        return ""
    name = shlex.quote(names[0])
    return (
        f". {', '.join(names)} {'is' if len(names) == 1 else 'are'} in your own; into the service's with `earmark "
        f"people export {name} --to {name}.tar && sudo earmark people import {name}.tar`"
    )

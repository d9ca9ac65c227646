"""`earmark service`: the daemon as a systemd service, of the system or of one user.

What is to be done is a list of steps, each of which can be shown; a person could do the same by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EarmarkError, PersonError, ServiceError
from ...people.store import PersonStore
from ...processes.own import find_program
from ...settings.reading import Loaded, as_toml, load
from ...settings.schema import Settings
from ...sinks.places import sockets_to_ask
from ...storage.user_folders import SERVICE_FOLDER, config_home, own_data_folder
from ..status import ask
from . import lock
from .steps import SUDO_PATH, Link, Remove, Run, Step, Try, Write, do_all, path_in, run
from .unit import command_beside, command_of, own_paths, require_own_environment, require_visible, unit, web_unit

UNIT = "earmark.service"
WEB_UNIT = "earmark-web.service"  # off until somebody enables it
RUNNING = ("initializing", "starting", "running", "degraded", "maintenance", "stopping")
ON_PATH = Path("/usr/local/bin/earmark")  # sudo finds it there, as every user does
SYSUSERS = """\
# Written by `earmark service install`.
u earmark - "earmark wake word" /var/lib/earmark
m earmark audio
"""
SETTINGS_HEAD = """\
# What earmark's service is told. Uncomment a line to change it; then
#     {check}
#     {reload}

"""


@dataclass(frozen=True)
class Place:
    """Where everything of a service is; `root` is the folder of an image, or `/`."""

    user: bool
    root: Path
    config: Path
    """Folder of settings: `/etc`, or the user's."""
    unit: Path
    settings: Path
    data: Path
    """The daemon's own folder: people and wakes."""

    @property
    def live(self) -> bool:
        """Whether it is this machine, and systemd is to be told."""
        return self.root == Path("/")

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that speaks to the right service manager."""
        return ("systemctl", "--user") if self.user else ("systemctl",)

    @property
    def web_unit(self) -> Path:
        """The page's unit, which a user's own service lacks."""
        return self.unit.with_name(WEB_UNIT)

    @property
    def wanted_by(self) -> Path:
        """The link that starts it."""
        target = "default" if self.user else "multi-user"
        return self.unit.parent / f"{target}.target.wants" / UNIT

    def inside(self, path: Path) -> Path:
        """A path as it is once the image runs -> the path here."""
        return path_in(self.root, path)


def place(user: bool, root: str | None, environment: Mapping[str, str]) -> Place:
    """Where things belong.

    Raises:
        ServiceError: there is no home folder, or the user's service is wanted by `sudo`.
    """
    folder = Path(root).absolute() if root else Path("/")
    if not user:
        config, units, data = Path("/etc"), Path("/etc/systemd/system"), SERVICE_FOLDER
    else:
        if os.geteuid() == 0 and "SUDO_USER" in environment and not root:
            raise ServiceError("--user is for the service of whoever types it: the same without sudo")
        if not environment.get("HOME"):
            raise ServiceError("--user needs HOME, the folder of the user: it is not set")
        config, data = config_home(), own_data_folder()
        units = config / "systemd" / "user"
    return Place(user, folder, config, units / UNIT, config / "earmark" / "earmark.toml", data)


def install(arguments: argparse.Namespace) -> int:
    """Writes unit and settings, and starts the service."""
    where = place(arguments.user, arguments.root, os.environ)
    steps = install_steps(where, arguments.python)
    if not arguments.dry_run:
        _require_rights(where)
    do_all(steps, arguments)
    if arguments.json:
        return 0
    print(f"settings   {where.settings}")
    for line in lock.remarks() if where.live and arguments.python is None else ():
        print(f"packages   {line}")
    if where.user:
        print(f"people     {shlex.quote(command_beside(arguments.python))} enroll NAME")
        if where.live:
            print("state      earmark service status --user")
            print("always     loginctl enable-linger, if it is to run while you are not logged in")
        return 0
    command = _found_by_sudo(where, command_beside(arguments.python))
    print(f"people     sudo {command} enroll NAME")
    if where.live:
        print(f"state      sudo {command} status")
        print(
            "who asks   sudo usermod -aG earmark YOU; once you have logged in again, `earmark status` answers you too"
        )
        for line in left_behind(os.environ):
            print(f"others     {line}")
    return 0


def left_behind(environment: Mapping[str, str]) -> Iterator[str]:
    """Who is enrolled by the user who types sudo, where the service does not hear them."""
    user = environment.get("SUDO_USER")
    if not user:
        return
    with contextlib.suppress(KeyError, PersonError):  # no such user, or people that cannot be read: not asked for
        names = PersonStore(Path(pwd.getpwnam(user).pw_dir, ".local/share/earmark/people")).names()
        for name in map(shlex.quote, names):
            yield (
                f"{name} is in the people of {user}, which the service does not hear: `earmark people export {name} "
                f"--to {name}.tar && sudo earmark people import {name}.tar`"
            )


def uninstall(arguments: argparse.Namespace) -> int:
    """Stops the service and removes its unit; people and settings stay."""
    where = place(arguments.user, arguments.root, os.environ)
    if not arguments.dry_run:
        _require_rights(where)
    do_all(uninstall_steps(where), arguments)
    if arguments.json:
        return 0
    print(f"settings   {where.settings} stays\npeople     {where.data} stays")
    erase = f"rm -r {shlex.quote(str(where.settings.parent))} {shlex.quote(str(where.data))}"
    print(f"erase      {erase}{'' if where.user else '; userdel earmark'}")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """What systemd says of the service, and what the daemon says itself; exit 1 where it does not run."""
    where = place(arguments.user, None, os.environ)
    _require_systemd(where)
    facts: dict[str, Any] = {
        "unit": str(where.unit) if where.unit.exists() else None,
        "enabled": run((*where.systemctl, "is-enabled", UNIT)).stdout.strip() or "not-found",
        "active": run((*where.systemctl, "is-active", UNIT)).stdout.strip() or "unknown",
        "settings": str(where.settings) if where.settings.exists() else None,
    }
    text = run((*where.systemctl, "show", "--property=StatusText", "--value", UNIT)).stdout.strip()
    facts["says"] = text or None
    try:
        settings = load(where.settings, {}).settings if where.settings.exists() else Settings()
        sockets = sockets_to_ask(settings.socket.path, os.environ)
        facts["daemon"] = ask(sockets[:1] if where.user else sockets[-1:])
    except EarmarkError as error:  # a broken file, or a daemon that does not answer: a fact as the others are
        facts["fault"] = str(error)
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        if "daemon" in facts:
            facts["daemon"] = "answers `earmark status`"
        print("\n".join(f"{key:10} {value or 'none'}" for key, value in facts.items()))
    return 0 if facts["active"] == "active" else 1


def install_steps(where: Place, python: str | None = None) -> list[Step]:
    """What `install` does, in order.

    Raises:
        ServiceError: the interpreter cannot be seen from inside the service.
        SettingsError: there are settings already, and they cannot be used.
    """
    if not where.user:
        require_visible([python] if python else own_paths())
    elif not python:
        require_own_environment()
    settings = where.inside(where.settings)
    if settings.exists() and (where.live or not settings.is_symlink()):  # in an image it leads into ours
        load(settings, environment={})
    unit_text = unit(where.user, python or sys.executable, str(where.settings))
    prefix = "systemctl --user" if where.user else "sudo systemctl"
    head = SETTINGS_HEAD.format(
        check=f"earmark settings check {shlex.quote(str(where.settings))}", reload=f"{prefix} reload earmark"
    )
    toml = head + as_toml(Loaded(Settings(), None, {}))
    steps: list[Step] = (
        [Run((python or sys.executable, "-I", "-m", "earmark.cli", "--version"))] if where.live else []
    )
    if not where.user:
        sysusers = where.inside(Path("/etc/sysusers.d/earmark.conf"))
        steps.append(Write(sysusers, SYSUSERS))
        if where.live:
            steps += [
                Run(("systemd-sysusers", str(sysusers))),
                Run(("install", "-d", "-m", "0700", "-o", "earmark", "-g", "earmark", str(where.data))),
            ]
    steps += [
        Write(settings, toml, 0o600 if where.user else 0o644, keep=True),
        Write(where.inside(where.unit), unit_text),
    ]
    if not where.user:
        steps.append(Write(where.inside(where.web_unit), web_unit(python or sys.executable, str(where.settings))))
        for path, target in _on_path(where, command_beside(python)):
            steps.append(Link(where.inside(path), target, keep=True))
    if not where.live:
        return [*steps, Link(where.inside(where.wanted_by), f"../{UNIT}")]
    steps += [
        Run((*where.systemctl, "daemon-reload")),
        Run((*where.systemctl, "enable", UNIT)),
        Run((*where.systemctl, "--no-block", "restart", UNIT)),  # READY may take until somebody plugs a microphone in
    ]
    if not where.user:  # a page that runs is of the version before
        steps.append(Run((*where.systemctl, "--no-block", "try-restart", WEB_UNIT)))
    return steps


def uninstall_steps(where: Place) -> list[Step]:
    """What `uninstall` does, in order."""
    unit_file = where.inside(where.unit)
    steps: list[Step] = []
    if where.live and not where.user and where.web_unit.exists():
        steps.append(Run((*where.systemctl, "disable", "--now", WEB_UNIT)))
    if where.live and unit_file.exists():
        steps.append(Run((*where.systemctl, "disable", "--now", UNIT)))
        if _has_broker(where.settings):  # Home Assistant would show its device for ever
            command = (sys.executable, "-I", "-m", "earmark.cli", "mqtt", "forget")
            steps.append(Try((*command, "--settings", str(where.settings))))
    if not where.live:
        steps.append(Remove(where.inside(where.wanted_by)))
        if not where.user:
            steps.append(Remove(where.inside(where.wanted_by.with_name(WEB_UNIT))))
    steps.append(Remove(unit_file))
    if not where.user:
        steps.append(Remove(where.inside(where.web_unit)))
        steps.append(Remove(where.inside(Path("/etc/sysusers.d/earmark.conf"))))
        steps += [Remove(where.inside(path), target) for path, target in _on_path(where, command_of(unit_file))]
    if where.live:
        steps.append(Run((*where.systemctl, "daemon-reload")))
    return steps


def _has_broker(settings: Path) -> bool:
    """Whether these settings name one; those that cannot be read do not."""
    with contextlib.suppress(EarmarkError):
        return settings.exists() and bool(load(settings, environment={}).settings.mqtt.host)
    return False


def _on_path(where: Place, command: str) -> Iterator[tuple[Path, str]]:
    """The link by which everybody finds a command, with its target; none where it is on the PATH of sudo as it is."""
    target = Path(command)
    if str(target.parent) not in SUDO_PATH and (not where.live or target.exists()):
        yield ON_PATH, command


def _found_by_sudo(where: Place, command: str) -> str:
    """What to type behind sudo: `earmark`, unless another one is found under that name."""
    found = find_program("earmark", SUDO_PATH)
    is_other = where.live and (found is None or Path(found).resolve() != Path(command).resolve())
    return shlex.quote(command) if is_other else "earmark"


def _require_rights(where: Place) -> None:
    if where.live:
        _require_systemd(where)
        if not where.user and os.geteuid() != 0:
            raise ServiceError("a service of the system is root's to change: the same with sudo, or with --user")


def _require_systemd(where: Place) -> None:
    """Raises ServiceError where no service manager answers."""
    state = run((*where.systemctl, "is-system-running")).stdout.strip()
    if state not in RUNNING:
        whose = "of this user " if where.user else ""
        raise ServiceError(
            f"no systemd {whose}runs here ({state or 'no answer'}): start `earmark listen` by what starts your "
            "services, or use --root to install into an image"
        )

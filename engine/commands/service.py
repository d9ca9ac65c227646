"""`earmark service`: the daemon as a systemd service, of the system or of one user.

What is to be done is a list of steps, each of which can be shown; a person could do the same by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ..errors import EarmarkError, ServiceError, system_text_of
from ..settings.reading import Loaded, as_toml, load
from ..settings.schema import Settings
from ..sinks.places import sockets_to_ask
from ..storage.atomic import replace_synced
from ..storage.user_folders import config_home, data_folder
from .status import ask

UNIT = "earmark.service"
TEMPLATES = Path(__file__).parents[1] / "daemon" / "units"
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # ProtectHome=yes and PrivateTmp=yes of the system unit
COMMAND_LIMIT_S = 90  # what systemd itself gives a service to stop
RUNNING = ("initializing", "starting", "running", "degraded", "maintenance", "stopping")
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
class Write:
    """A file with this content and mode; `keep`: only where there is none."""

    path: Path
    content: str
    mode: int = 0o644
    keep: bool = False

    def __str__(self) -> str:
        return f"write {self.path}"

    def do(self) -> str:
        """What came of it."""
        if self.path.exists() and (self.keep or self.path.read_bytes() == self.content.encode()):
            return "kept" if self.keep else "unchanged"
        self.path.parent.mkdir(0o755, parents=True, exist_ok=True)
        replace_synced(self.path, self.content.encode(), mode=self.mode)
        return "written"


@dataclass(frozen=True)
class Link:
    """A link to a target, as `systemctl enable` makes it."""

    path: Path
    target: str

    def __str__(self) -> str:
        return f"ln -sf {self.target} {shlex.quote(str(self.path))}"

    def do(self) -> str:
        """What came of it."""
        if self.path.is_symlink() and os.readlink(self.path) == self.target:  # noqa: PTH115  Path's is not the text
            return "unchanged"
        self.path.parent.mkdir(0o755, parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self.target)
        return "written"


@dataclass(frozen=True)
class Remove:
    """A file or a link that must not be there."""

    path: Path

    def __str__(self) -> str:
        return f"rm {shlex.quote(str(self.path))}"

    def do(self) -> str:
        """What came of it."""
        if not os.path.lexists(self.path):
            return "unchanged"
        self.path.unlink()
        return "removed"


@dataclass(frozen=True)
class Run:
    """A command that must succeed."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)

    def do(self) -> str:
        """What came of it.

        Raises:
            ServiceError: it failed; the message has what it said.
        """
        done = _run(self.words)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise ServiceError(f"`{self}` failed with exit code {done.returncode}: {said or 'it said nothing'}")
        return "done"


Step = Union[Write, Link, Remove, Run]


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
    def wanted_by(self) -> Path:
        """The link that starts it."""
        target = "default" if self.user else "multi-user"
        return self.unit.parent / f"{target}.target.wants" / UNIT

    def inside(self, path: Path) -> Path:
        """A path as it is once the image runs -> the path here."""
        return self.root / path.relative_to("/")


def place(user: bool, root: str | None, environment: Mapping[str, str]) -> Place:
    """Where things belong.

    Raises:
        ServiceError: there is no home folder, or the user's service is wanted by `sudo`.
    """
    folder = Path(root).absolute() if root else Path("/")
    if not user:
        config, units, data = Path("/etc"), Path("/etc/systemd/system"), Path("/var/lib/earmark")
    else:
        if os.geteuid() == 0 and "SUDO_USER" in environment and not root:
            raise ServiceError("--user is for the service of whoever types it: the same without sudo")
        if not environment.get("HOME"):
            raise ServiceError("--user needs HOME, the folder of the user: it is not set")
        config, data = config_home(), data_folder()
        units = config / "systemd" / "user"
    return Place(user, folder, config, units / UNIT, config / "earmark" / "earmark.toml", data)


def install(arguments: argparse.Namespace) -> int:
    """Writes unit and settings, and starts the service."""
    where = place(arguments.user, arguments.root, os.environ)
    steps = install_steps(where, arguments.python)
    if not arguments.dry_run:
        _require_rights(where)
    _do(steps, arguments)
    if arguments.json:
        return 0
    command = shlex.quote(str(Path(arguments.python or sys.executable).with_name("earmark")))
    if where.user:
        enroll, status = f"{command} enroll NAME --from TAKE...", "earmark service status --user"
    else:
        enroll = f"sudo -u earmark {command} enroll NAME --store {where.data}/people --from TAKE..."
        status = "earmark service status"
    print(f"settings   {where.settings}\npeople     {enroll}")
    if where.live:
        print(f"state      {status}")
    if where.live and where.user:
        print("always     loginctl enable-linger, if it is to run while you are not logged in")
    if where.live and not where.user:
        print("who asks   sudo adduser YOU earmark, and `earmark status` answers you")
    return 0


def uninstall(arguments: argparse.Namespace) -> int:
    """Stops the service and removes its unit; people and settings stay."""
    where = place(arguments.user, arguments.root, os.environ)
    if not arguments.dry_run:
        _require_rights(where)
    _do(uninstall_steps(where), arguments)
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
        "enabled": _run((*where.systemctl, "is-enabled", UNIT)).stdout.strip() or "not-found",
        "active": _run((*where.systemctl, "is-active", UNIT)).stdout.strip() or "unknown",
        "settings": str(where.settings) if where.settings.exists() else None,
    }
    text = _run((*where.systemctl, "show", "--property=StatusText", "--value", UNIT)).stdout.strip()
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
        _require_visible([python] if python else _own_paths())
    settings = where.inside(where.settings)
    if settings.exists():
        load(settings, environment={})
    unit_text = unit(where.user, python or sys.executable, str(where.settings))
    prefix = "systemctl --user" if where.user else "sudo systemctl"
    head = SETTINGS_HEAD.format(
        check=f"earmark settings check {shlex.quote(str(where.settings))}", reload=f"{prefix} reload earmark"
    )
    toml = head + as_toml(Loaded(Settings(), None, {}))
    steps: list[Step] = [Run((python or sys.executable, "-m", "earmark.cli", "--version"))] if where.live else []
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
    if not where.live:
        return [*steps, Link(where.inside(where.wanted_by), f"../{UNIT}")]
    return [
        *steps,
        Run((*where.systemctl, "daemon-reload")),
        Run((*where.systemctl, "enable", UNIT)),
        Run((*where.systemctl, "--no-block", "restart", UNIT)),  # READY may take until somebody plugs a microphone in
    ]


def uninstall_steps(where: Place) -> list[Step]:
    """What `uninstall` does, in order."""
    unit_file = where.inside(where.unit)
    steps: list[Step] = []
    if where.live and unit_file.exists():
        steps.append(Run((*where.systemctl, "disable", "--now", UNIT)))
    if not where.live:
        steps.append(Remove(where.inside(where.wanted_by)))
    steps.append(Remove(unit_file))
    if not where.user:
        steps.append(Remove(where.inside(Path("/etc/sysusers.d/earmark.conf"))))
    if where.live:
        steps.append(Run((*where.systemctl, "daemon-reload")))
    return steps


def unit(user: bool, python: str, settings: str) -> str:
    """The text of the unit.

    Args:
        user: a user's own, or the system's.
        python: absolute path of the interpreter.
        settings: absolute path of the settings, as the service sees it.

    Raises:
        ServiceError: a path cannot stand in a unit.
    """
    template = (TEMPLATES / ("earmark-user.service" if user else "earmark.service")).read_text("utf-8")
    if not set(python).isdisjoint("'\"\\"):
        raise ServiceError(f"{python} must have no quotes and no backslash: systemd starts no such program")
    # the program itself is no place for a variable, so its $ is one; in arguments $$ is one
    return template.replace("@PYTHON@", _word(python)).replace("@SETTINGS@", _word(settings).replace("$", "$$"))


def _word(text: str) -> str:
    """A path as one word of ExecStart: systemd.service(5), command lines, and systemd.unit(5), specifiers."""
    if not Path(text).is_absolute() or not text.isprintable():
        raise ServiceError(f"{text!r} must be an absolute path of printable characters to stand in a unit")
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return escaped if set(escaped).isdisjoint(" '\"\\;") else f'"{escaped}"'


def _own_paths() -> Iterator[str]:
    """What the interpreter that runs this needs to see."""
    for path in (sys.executable, sys.prefix, sys.base_prefix, __file__):
        yield path
        yield os.path.realpath(path)


def _require_visible(paths: Sequence[str] | Iterator[str]) -> None:
    for path in paths:
        hidden = next((folder for folder in HIDDEN if Path(path).is_relative_to(folder)), None)
        if hidden:
            raise ServiceError(
                f"{path} is below {hidden}, which a system service does not see: install earmark into /opt "
                "(`sudo python3 -m venv /opt/earmark && sudo /opt/earmark/bin/pip install …`) and use "
                "`sudo /opt/earmark/bin/earmark service install`, or install your own service with --user"
            )


def _require_rights(where: Place) -> None:
    if where.live:
        _require_systemd(where)
        if not where.user and os.geteuid() != 0:
            raise ServiceError("a service of the system is root's to change: the same with sudo, or with --user")


def _require_systemd(where: Place) -> None:
    """Raises ServiceError where no service manager answers."""
    state = _run((*where.systemctl, "is-system-running")).stdout.strip()
    if state not in RUNNING:
        whose = "of this user " if where.user else ""
        raise ServiceError(
            f"no systemd {whose}runs here ({state or 'no answer'}): start `earmark listen` by what starts your "
            "services, or use --root to install into an image"
        )


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Raises:
        ServiceError: it does not end.
    """
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {system_text_of(error)}")
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"`{shlex.join(words)}` has not ended after {COMMAND_LIMIT_S} s") from error


def _do(steps: Sequence[Step], arguments: argparse.Namespace) -> None:
    """Does the steps and shows each; with `--dry-run` only shows them, files with their content.

    Raises:
        ServiceError: a step failed; those before it are done, and can be done again.
    """
    for step in steps:
        try:
            result = "dry run" if arguments.dry_run else step.do()
        except OSError as error:
            raise ServiceError(f"`{step}` failed: {system_text_of(error)}") from error
        content = step.content if isinstance(step, Write) and arguments.dry_run else None
        if arguments.json:
            print(json.dumps({"step": str(step), "result": result, **({"content": content} if content else {})}))
        else:
            print(f"{step}" if result in ("done", "dry run") else f"{step}  ({result})", flush=True)
            if content:
                print("".join(f"    {line}\n" for line in content.splitlines()), end="")

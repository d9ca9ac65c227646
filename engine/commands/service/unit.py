"""The text of a service's unit, and what may stand in it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import site
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import ServiceError
from .lock import LOCK

TEMPLATES = Path(__file__).parents[2] / "daemon" / "units"
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # ProtectHome=yes and PrivateTmp=yes of the system unit
EXEC_START = re.compile(r'^ExecStart="?(?P<python>[^"\n]+?)"?(?: -[A-Za-z])* -m earmark', re.MULTILINE)


def unit(user: bool, python: str, settings: str) -> str:
    """The text of the unit.

    Args:
        user: a user's own, or the system's.
        python: absolute path of the interpreter.
        settings: absolute path of the settings, as the service sees it.

    Raises:
        ServiceError: a path cannot stand in a unit.
    """
    return _filled("earmark-user.service" if user else "earmark.service", python, settings)


def web_unit(python: str, settings: str) -> str:
    """The same of the page's unit, which is the system's."""
    return _filled("earmark-web.service", python, settings)


def _filled(name: str, python: str, settings: str) -> str:
    template = (TEMPLATES / name).read_text("utf-8")
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


def own_paths() -> Iterator[str]:
    """What the interpreter that runs this needs to see."""
    for path in (sys.executable, sys.prefix, sys.base_prefix, __file__):
        yield path
        yield os.path.realpath(path)


def require_own_environment() -> None:
    """Nothing where earmark lies in an environment.

    Raises:
        ServiceError: it is among a user's own packages, which a service does not look for.
    """
    folder = site.getusersitepackages()
    if Path(__file__).is_relative_to(folder):
        raise ServiceError(
            f"earmark is installed in {folder}, where a service does not look: any program may put modules there; "
            "install it into an environment, as with `pipx install`"
        )


def require_visible(paths: Sequence[str] | Iterator[str]) -> None:
    """Nothing for what a service of the system can see.

    Raises:
        ServiceError: it is in somebody's home folder, or in one of temporary files; the message says where to put it.
    """
    for path in paths:
        hidden = next((folder for folder in HIDDEN if Path(path).is_relative_to(folder)), None)
        if hidden:
            raise ServiceError(
                f"{path} is below {hidden}, which a system service does not see. {_into_opt()}. Or install your own "
                "service, with --user"
            )


def _into_opt() -> str:
    """How what runs this gets into /opt, from where it was installed from."""
    try:
        told = json.loads(importlib.metadata.distribution("earmark").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        told = {}
    url = urllib.parse.urlsplit(told.get("url", ""))
    source = Path(urllib.parse.unquote(url.path)) if url.scheme == "file" else None
    script = source / "scripts" / "install_pi" if source else None
    if script and script.exists():
        return f"`sudo {shlex.quote(str(script))}` installs earmark into /opt/earmark"
    what = str(source) if source and source.suffix == ".whl" and source.exists() else "WHEEL"
    return (
        "Install earmark into /opt: `sudo python3 -I -m venv /opt/earmark && sudo /opt/earmark/bin/pip install "
        f"--no-deps {shlex.quote(what)} && sudo /opt/earmark/bin/pip install --require-hashes --only-binary :all: -r "
        f"/opt/earmark/lib/python3*/site-packages/earmark/engine/commands/service/{LOCK.name} && sudo "
        "/opt/earmark/bin/earmark service install`"
    )


def command_beside(python: str | None) -> str:
    """The program `earmark` beside an interpreter, by default our own."""
    return str(Path(python or sys.executable).with_name("earmark"))


def command_of(unit_file: Path) -> str:
    """The program `earmark` beside the interpreter of a unit that is there; else beside our own."""
    try:
        found = EXEC_START.search(unit_file.read_text("utf-8"))
    except FileNotFoundError:
        found = None
    return command_beside(found["python"].replace("%%", "%") if found else None)

"""`earmark doctor --bundle FILE`: what a report of a fault needs, as one text file without anybody's voice or name.

It holds no voiceprint, no recording and no event. The names of people, of the user, of this machine and of the home
folder are replaced; so is what opens something: accounts, and the arguments of the hook's program.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import EarmarkError, StoreUnwritable, system_text_of
from ...people.store import PersonStore
from ...settings.reading import Loaded, as_toml
from ...sinks.places import sockets_to_ask
from ...storage.atomic import replace_synced
from ..status import ask
from ..versions import lines as versions

TOLD = ("EARMARK_", "PULSE_", "ALSA_", "PIPEWIRE_")  # of the environment, names alone
MASKED = "(not told)"
ACCOUNT = r"[^/@\s\"]+(?=@)"  # in what should be a host, and is a URL
SHORTEST = 2  # characters of what is replaced beside names of people: one letter stands in every word
PUBLIC = ("root", "earmark", "localhost")  # says nothing about anybody


def write_bundle(file: Path, findings: Iterable[str], loaded: Loaded, store: PersonStore) -> None:
    """Writes the file, mode 0600.

    Args:
        file: where.
        findings: the doctor's, a line each.
        loaded: the settings in force.
        store: the people, for their names.

    Raises:
        StoreUnwritable: it cannot be written.
    """
    status = _status(loaded)
    hide = _Hider([*_people(store), *loaded.settings.people.sensitivity_of, *status.get("people", [])])
    sections = {
        "doctor": findings,
        "versions": versions(),
        "machine": filter(None, _machine()),
        "environment": sorted(name for name in os.environ if name.startswith(TOLD)),
        "settings": _settings(loaded),
        "daemon": json.dumps(status, indent=1, ensure_ascii=False).splitlines(),
    }
    text = "".join(f"=== {title}\n{hide(chr(10).join(lines))}\n\n" for title, lines in sections.items())
    try:
        replace_synced(file, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise StoreUnwritable(f"{file}: cannot be written: {system_text_of(error)}") from error


class _Hider:
    """Replaces names in texts: each person by a number of its own."""

    def __init__(self, people: Iterable[str]) -> None:
        self._instead: dict[str, str] = {}
        for name in sorted(set(people)):
            self._instead[name] = f"person-{len(self._instead) + 1}"
        for name, instead in ((str(Path.home()), "~"), (_user(), "user"), (platform.node(), "host")):
            if len(name) >= SHORTEST and name not in (*PUBLIC, "/"):
                self._instead.setdefault(name, instead)
        longest_first = sorted(self._instead, key=len, reverse=True)
        # also as JSON and TOML write them
        texts = {form: name for name in longest_first for form in (name, json.dumps(name)[1:-1])}
        self._texts = texts
        self._pattern = re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in texts) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda match: self._instead[self._texts[match[0]]], text)


def _people(store: PersonStore) -> list[str]:
    try:
        return store.names()
    except EarmarkError:  # the doctor has said why
        return []


def _status(loaded: Loaded) -> dict[str, Any]:
    try:
        return ask(sockets_to_ask(loaded.settings.socket.path, os.environ))
    except EarmarkError as error:
        return {"answer": str(error)}


def _settings(loaded: Loaded) -> Iterator[str]:
    """Those that differ from their defaults, without what opens something."""
    yield f"# {loaded.file or 'no file'}"
    section = ""
    for line in as_toml(loaded).splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith("#"):
            key, _, rest = line.partition(" = ")
            value = rest.partition("  # ")[0]
            if (section, key) == ("[mqtt]", "username"):
                value = MASKED
            elif (section, key) == ("[hook]", "command"):
                value = f"[{json.dumps(loaded.settings.hook.command[0])}, {MASKED}]"
            yield f"{section}{key} = {re.sub(ACCOUNT, MASKED, value)}"


def _machine() -> Iterator[str]:
    yield " ".join(platform.uname()[2:])
    yield _read("/etc/os-release", "PRETTY_NAME=")
    yield _read("/proc/device-tree/model")
    for key in ("model name", "Model", "Features", "flags"):
        yield _read("/proc/cpuinfo", key)
    yield _read("/proc/meminfo", "MemTotal")
    yield f"user {os.geteuid()}, groups {sorted(os.getgroups())}"
    yield f"sound cards: {', '.join(sorted(path.name for path in Path('/dev/snd').glob('*'))) or 'no /dev/snd'}"


def _read(file: str, begins: str = "") -> str:
    """The first line of a file that begins so; empty where there is none."""
    try:
        text = Path(file).read_text("utf-8", "replace").replace("\0", "")
    except OSError:
        return ""
    return next((line.strip() for line in text.splitlines() if line.startswith(begins)), "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        return ""

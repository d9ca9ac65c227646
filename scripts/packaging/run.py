#!/usr/bin/env python3
"""The entry point of the container, and of Home Assistant's add-on: `earmark-container [COMMAND …]`, else `listen`.

An add-on has its options in /data/options.json. Of them settings are made; whose recordings lie in /share/earmark is
enrolled, and whoever is to be erased is. Then it is the user `earmark`, and becomes the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA, SHARE = Path("/data"), Path("/share/earmark")
USER_ID, AUDIO = 10400, "audio"
EARMARK = "/opt/earmark/bin/earmark"
FEWEST_TAKES = 3
SOUND = (".wav", ".flac", ".ogg")
# The machine itself, and the network in which Home Assistant's Supervisor has add-ons, and Home Assistant at its gate
TRUSTED = ("127.0.0.0/8", "::1", "unix", "172.30.32.0/23")

# option -> key of the settings
KEYS = {
    "wake_words": "wake.keywords",
    "mode": "wake.mode",
    "wake_word_sensitivity": "wake.sensitivity",
    "voice_sensitivity": "people.sensitivity",
    "announce": "wyoming.zeroconf",
    "trusted": "wyoming.trusted",
    "keep_recordings": "journal.enabled",
    "learn": "learning.enabled",
    "names_in_log": "log.names",
    "mqtt_host": "mqtt.host",
    "mqtt_username": "mqtt.username",
}
OTHERS = ("microphone", "mqtt_password", "erase")


def settings_of(options: Mapping[str, Any], password_file: Path) -> dict[str, dict[str, Any]]:
    """The sections of the settings that an add-on's options stand for.

    Raises:
        ValueError: there is no such option.
    """
    unknown = sorted(set(options) - {*KEYS, *OTHERS})
    if unknown:
        raise ValueError(f"no such option: {', '.join(unknown)}; there are {', '.join((*KEYS, *OTHERS))}")
    found: dict[str, dict[str, Any]] = {"audio": {"device": "" if options.get("microphone") else "none"}}
    for option, key in KEYS.items():
        if option in options:
            section, name = key.split(".")
            value = [*TRUSTED, *options[option]] if option == "trusted" else options[option]
            found.setdefault(section, {})[name] = value
    if options.get("mqtt_password"):
        found.setdefault("mqtt", {})["password_file"] = str(password_file)
    return found


def toml_of(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """As a file of TOML, in which texts, numbers, truth and lists are written as in JSON."""
    lines = ["# Made of the options of the add-on at each start: change it there"]
    for section, keys in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
    return "\n".join(lines).replace("\x7f", "\\u007f") + "\n"


def write(path: Path, text: str) -> None:
    """With mode 0600, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def takes_in(folder: Path) -> dict[str, list[str]]:
    """Name -> recordings; each person has a folder of that name, with three at least."""
    people = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    takes = {one.name: sorted(str(path) for path in one.iterdir() if path.suffix.lower() in SOUND) for one in people}
    return {name: files for name, files in takes.items() if len(files) >= FEWEST_TAKES}


def known() -> set[str]:
    """Who is enrolled."""
    done = subprocess.run([EARMARK, "people", "list", "--json"], capture_output=True, text=True, check=False)
    return {json.loads(line)["name"] for line in done.stdout.splitlines()}


def keep_people(erase: list[str]) -> None:
    """Erases whom the options name, and enrols whoever has recordings and is not known; says what comes of it."""
    for name in sorted(known() & set(erase)):
        subprocess.run([EARMARK, "people", "remove", name], check=False)
    there = known()
    for name, files in takes_in(SHARE).items():
        if name not in there and name not in erase:
            subprocess.run([EARMARK, "enroll", name, "--from", *files], check=False)


def become_user() -> None:
    """An add-on starts as root, whose /data is; what it hears is no business of root's."""
    import grp

    for path in (DATA, *DATA.rglob("*")):
        os.lchown(path, USER_ID, USER_ID)
    os.setgroups([grp.getgrnam(AUDIO).gr_gid])
    os.setgid(USER_ID)
    os.setuid(USER_ID)


def has_sound() -> bool:
    """Whether there is a sound card, or a sound server that somebody named."""
    return Path("/dev/snd").is_dir() or "PULSE_SERVER" in os.environ


def main() -> None:
    """Ends as the command."""
    options_file = DATA / "options.json"
    options = json.loads(options_file.read_text("utf-8")) if options_file.exists() else None
    os.umask(0o077)
    if options is not None:
        password_file = DATA / "earmark" / "mqtt_password"
        write(DATA / "earmark" / "earmark.toml", toml_of(settings_of(options, password_file)))
        write(password_file, options.get("mqtt_password") or "")
    if os.geteuid() == 0:
        become_user()
    if options is not None:
        keep_people(options.get("erase", []))
    elif not has_sound():
        os.environ.setdefault("EARMARK_AUDIO_DEVICE", "none")  # only satellites
    os.execv(EARMARK, [EARMARK, *(sys.argv[1:] or ["listen"])])


if __name__ == "__main__":
    main()

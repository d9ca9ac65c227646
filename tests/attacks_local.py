"""What somebody with an account on the machine may try."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from attacking import attack
from helpers_store import earmark, environment

from earmark.engine.errors import DaemonError, SettingsError
from earmark.engine.processes.own import own_code, own_command
from earmark.engine.settings.schema import Hook, Jsonl
from earmark.engine.sinks.files import JsonlSink
from earmark.engine.sinks.hook import HookSink
from earmark.engine.sinks.server import bind_unix

NOBODY: Any = None
STARTERS = [
    (),
    ("env",),
    ("/usr/bin/env", "-i", "A=b"),
    ("nice", "-n", "5"),
    ("timeout", "5"),
    ("sudo", "-u", "anna"),
    ("setsid", "ionice", "-c", "3"),
    ("stdbuf", "-oL"),
    ("find", "/", "-exec"),
    ("unknown-starter", "--fast"),
]
TAKERS_OF_CODE = [
    ("sh", "-c", "{}"),
    ("/bin/bash", "-lc", "{}"),
    ("bash", "-x", "-c", "{}"),
    ("busybox", "sh", "-c", "{}"),
    ("python3", "-c", "{}"),
    ("/usr/bin/python3.11", "-I", "-c", "{}"),
    ("perl", "-e", "{}"),
    ("perl", "-e{}"),
    ("ruby", "-e", "{}"),
    ("node", "--eval={}"),
    ("node", "-p", "{}"),
    ("php", "-r", "{}"),
    ("lua5.4", "-e", "{}"),
    ("awk", "{}"),
    ("sed", "-n", "s/x/{}/p"),
    ("env", "-S", "{}"),
    ("env", "-S{}"),
    ("su", "anna", "-c", "{}"),
    ("ssh", "pi@lamp", "say", "{}"),
    ("watch", "{}"),
    ("sh -c", "-c", "{}"),
]


@attack(
    "local user", "modules and programs in the working folder, PYTHONPATH, PATH and user's packages", cases=4, few=4
)
def foreign_modules(work: Path, cases: int) -> Iterator[str]:
    user = work / "user" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for place in (work, user):
        (place / "earmark").mkdir(parents=True)
        for module in ("earmark/__init__", "earmark/cli", "argparse", "json", "subprocess", "numpy", "sitecustomize"):
            (place / f"{module}.py").write_text("import os\nopen(os.environ['PLANTED'], 'a').write(__name__)\n")
    for name in ("python3", "env"):
        (work / name).write_text('#!/bin/sh\necho ran >> "$PLANTED"\n')
        (work / name).chmod(0o755)
    planted = work / "planted"
    surroundings = environment(
        PLANTED=str(planted),
        PATH=f".:{work}:{os.environ['PATH']}",
        PYTHONPATH=str(work),
        PYTHONUSERBASE=str(work / "user"),
    )
    lines = (
        own_command("earmark.cli", "settings", "show"),
        own_command("earmark.cli", "learn", "now", "--help"),
        own_code("import argparse, json, earmark.engine.errors"),
        [sys.executable, "-I", "-u", "-m", "earmark.cli", "--help"],  # as the units start it
    )
    for line in lines[:cases]:
        planted.write_text("")
        done = subprocess.run(line, cwd=work, env=surroundings, capture_output=True, check=False)
        yield f"{line[-1]}: {planted.read_text()} {done.returncode}" if planted.read_text() or done.returncode else ""


@attack("local user", "names that become code of a hook", cases=len(STARTERS) * len(TAKERS_OF_CODE), few=40)
def names_that_become_code(_work: Path, cases: int) -> Iterator[str]:
    every = [(starter, taker) for starter in STARTERS for taker in TAKERS_OF_CODE]
    for starter, taker in every[:cases]:
        command = (*starter, *(word.replace("{}", "say {person}") for word in taker))
        try:
            HookSink(dataclasses.replace(Hook(), command=command), NOBODY).check()
            yield f"taken: {command}"
        except SettingsError:
            yield ""


@attack("local user", "files in the place of sockets and of the file of events", cases=6, few=6)
def files_in_the_place_of_others(work: Path, cases: int) -> Iterator[str]:
    precious = work / "precious"
    precious.write_text("precious")
    for number in range(cases):
        place = work / f"place{number}"
        if number % 3 == 0:
            os.link(precious, place)
        elif number % 3 == 1:
            place.symlink_to(precious)
        else:
            os.mkfifo(place)
        if number < 3:
            try:
                bind_unix(place, 0o660).close()
                yield f"{number}: replaced by a socket"
            except OSError:
                yield "" if precious.read_text() == "precious" and os.path.lexists(place) else "destroyed"
        elif number % 3 == 2:
            yield ""  # a pipe of one's own may be the file of events
        else:
            try:
                JsonlSink(Jsonl(path=str(place)), cast(Any, None)).open()
                yield f"{number}: appended to"
            except DaemonError:
                yield "" if precious.read_text() == "precious" else "changed"


@attack("local user", "images whose links lead out of them", cases=3, few=1)
def links_out_of_an_image(work: Path, cases: int) -> Iterator[str]:
    for number in range(cases):
        host, image = work / f"host{number}", work / f"image{number}"
        (host / "etc").mkdir(parents=True)
        image.mkdir()
        (image / "etc").symlink_to((host / "etc", f"../{host.name}/etc", host / "etc" / "..")[number])
        earmark("service", "install", "--root", image, "--python", "/opt/earmark/bin/python")
        yield "" if not any((host / "etc").iterdir()) else "written outside"

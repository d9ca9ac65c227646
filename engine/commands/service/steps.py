"""What installing and removing a service does, step by step: each can be shown, and a person could do it by hand."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from ...errors import ServiceError, system_text_of
from ...processes.own import environment_for_others, find_program
from ...storage.atomic import replace_synced

SUDO_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")  # Debian's secure_path
MOST_LINKS = 40  # on one path, as Linux has it
COMMAND_LIMIT_S = 90  # what systemd itself gives a service to stop


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
        if self.path.is_symlink() and self.keep:  # in an image it may lead out of it
            return "kept"
        if (
            self.path.exists()
            and not self.path.is_symlink()
            and (self.keep or self.path.read_bytes() == self.content.encode())
        ):
            return "kept" if self.keep else "unchanged"
        self.path.parent.mkdir(0o755, parents=True, exist_ok=True)
        replace_synced(self.path, self.content.encode(), mode=self.mode)
        return "written"


@dataclass(frozen=True)
class Link:
    """A link to a target, as `systemctl enable` makes it; `keep`: what is there and is no link stays."""

    path: Path
    target: str
    keep: bool = False

    def __str__(self) -> str:
        return f"ln -sf {shlex.quote(self.target)} {shlex.quote(str(self.path))}"

    def do(self) -> str:
        """What came of it."""
        if self.keep and self.path.exists() and not self.path.is_symlink():
            return "kept"
        if self.path.is_symlink() and os.readlink(self.path) == self.target:  # noqa: PTH115  Path's is not the text
            return "unchanged"
        self.path.parent.mkdir(0o755, parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self.target)
        return "written"


@dataclass(frozen=True)
class Remove:
    """A file or a link that must not be there; `target`: only if it is a link to this."""

    path: Path
    target: str | None = None

    def __str__(self) -> str:
        return f"rm {shlex.quote(str(self.path))}"

    def do(self) -> str:
        """What came of it."""
        if not os.path.lexists(self.path):
            return "unchanged"
        if self.target is not None and not (self.path.is_symlink() and os.readlink(self.path) == self.target):  # noqa: PTH115
            return "kept"
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
        done = run(self.words)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise ServiceError(f"`{self}` failed with exit code {done.returncode}: {said or 'it said nothing'}")
        return "done"


@dataclass(frozen=True)
class Try(Run):
    """A command that may fail: what it would have done is somebody else's to keep or to lose."""

    def do(self) -> str:
        """What came of it."""
        try:
            return super().do()
        except ServiceError as error:
            return f"failed, and that is left: {error}"


Step = Union[Write, Link, Remove, Run, Try]


def path_in(root: Path, path: Path) -> Path:
    """Where an absolute path of an image is from outside, its links followed as the image itself will follow them.

    A link of the image to `/etc` is one to its own `/etc`: followed from outside, it would lead into this machine's.
    The last part of the path is not followed.

    Raises:
        ServiceError: the links go round in a circle.
    """
    if root == Path("/"):
        return path
    waiting, found, left = list(path.parts[1:]), root, MOST_LINKS
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            found = found if found == root else found.parent
        elif waiting and (found / part).is_symlink():
            left -= 1
            if left < 0:
                raise ServiceError(f"{path} in {root} cannot be found: its links go round in a circle")
            target = (found / part).readlink()
            found = root if target.is_absolute() else found
            waiting = [*(one for one in target.parts if one != "/"), *waiting]
        else:
            found = found / part
    return found


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Raises:
        ServiceError: it does not end.
    """
    try:
        return subprocess.run(
            words,
            executable=_program(words),
            env=environment_for_others(os.environ),
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


def _program(words: Sequence[str]) -> str:
    """The file of a program of the system: not from a folder that somebody put first on root's PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    found = find_program(words[0], None if "--user" in words else SUDO_PATH)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return found


def do_all(steps: Sequence[Step], arguments: argparse.Namespace) -> None:
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

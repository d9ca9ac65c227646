"""What the pages show and change: the people, the journal, the daemon; and the log of what was changed.

Whoever is erased is erased from that log too, by name; that somebody was stays.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.engine.errors import EarmarkError, InstallationError
from earmark.engine.history.journal import Journal
from earmark.engine.history.journal_entry import Entry
from earmark.engine.people.store import PersonStore
from earmark.engine.processes.own import environment_for_own, own_command
from earmark.engine.settings.schema import Settings
from earmark.engine.sinks.places import sockets_to_ask
from earmark.engine.storage.atomic import make_folder, read_limited, replace_synced

from .live import Live

AUDIT_FILE = "audit.jsonl"
MOST_AUDIT_BYTES = 1 << 20  # some 8,000 lines; then the older half is dropped
ERASED = "(erased)"
COMMAND_S = 300.0  # `learn now` of a household takes seconds, on the slowest board a minute or two


@dataclass
class House:
    """One household, as this process knows it."""

    settings: Settings
    store: PersonStore
    journal: Journal
    folder: Path
    """Of what is the page's own: `access.web_folder`."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """EARMARK_…, so that a command of ours has the same settings."""
    secure: bool = False
    """Whether the page is served by HTTPS, or on loopback: browsers lend their microphone to no other."""

    def __post_init__(self) -> None:
        self.live = Live(self.sockets)
        self.audit = Audit(self.folder)

    def sockets(self) -> list[Path]:
        """Where the daemon's may be."""
        return sockets_to_ask(self.settings.socket.path, os.environ)

    def entries(self, most: int) -> Iterator[Entry | int]:
        """The newest entries of the journal, newest first; of a damaged one its number.

        Raises:
            WakeError: the journal may not be read.
        """
        for number in self.journal.numbers()[: -most - 1 : -1]:
            try:
                yield self.journal.read(number)
            except EarmarkError:
                yield number

    def command(self, *arguments: str) -> list[str]:
        """One of our commands, in a process of its own: program and arguments."""
        return own_command("earmark.cli", *arguments)

    def run(self, *arguments: str, may_fail: bool = False) -> list[dict[str, Any]]:
        """What one of our commands says with `--json`, a line each.

        Raises:
            InstallationError: it failed; its last line says why.
        """
        try:
            done = subprocess.run(
                self.command(*arguments, "--json"),
                env={**environment_for_own(os.environ), **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InstallationError(f"earmark {arguments[0]} did not end within {COMMAND_S:g} s") from error
        if done.returncode and not may_fail:
            last: Sequence[str] = done.stderr.strip().splitlines()[-1:]
            raise InstallationError("".join(last).removeprefix("earmark: ") or f"earmark {arguments[0]} failed")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@dataclass(frozen=True)
class Wanted:
    """What is to be enrolled, and where it is heard."""

    name: str
    keyword: str
    """A built-in wake word, or `any-phrase`."""
    store: str
    sockets: list[str]
    """Of the daemon; empty: the browser's microphone is heard."""
    key_file: str = ""
    models: str = ""
    far: float = 0.01


class Audit:
    """The log of one folder: a JSON object a line, mode 0600."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / AUDIT_FILE
        self._lock = threading.Lock()  # changes are made in several threads

    def add(self, who: str, what: str, **facts: Any) -> None:
        """Writes a line, before what it says is done.

        Args:
            who: address of the browser.
            what: is done.
            facts: of whom, from what, to what.

        Raises:
            OSError: it cannot be written; then nothing must be changed.
        """
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        line = json.dumps({"at": at, "who": who, "what": what, **facts}, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            make_folder(self.file.parent)
            if self.file.exists() and self.file.stat().st_size + len(line) > MOST_AUDIT_BYTES:
                lines = self.file.read_bytes().splitlines(keepends=True)
                replace_synced(self.file, b"".join(lines[len(lines) // 2 :]))
            with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as opened:
                opened.write(line)
                opened.flush()
                os.fsync(opened.fileno())

    def lines(self, most: int) -> list[dict[str, Any]]:
        """The newest, newest first."""
        with self._lock:
            if not self.file.exists():
                return []
            told = read_limited(self.file, 2 * MOST_AUDIT_BYTES).splitlines()
        return [json.loads(line) for line in told[: -most - 1 : -1]]

    def forget(self, name: str) -> None:
        """Takes a person's name out of all lines."""
        told = self.lines(MOST_AUDIT_BYTES)[::-1]
        hidden = [{key: ERASED if value == name else value for key, value in one.items()} for one in told]
        with self._lock:
            if hidden:
                text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in hidden)
                replace_synced(self.file, text.encode())

"""A program that is run at each event: arguments, environment and standard input tell it what was heard.

There is never a shell. What stands for `{person}` is one argument whatever the name holds; a name may begin with a
dash, so a program that takes options should be given `--name={person}`, or a `--` before it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import DaemonError, SettingsError, system_text_of, text_of
from ..settings.reading import EVENT_PREFIX
from .base import Control, Notice, Sink

_LOG = logging.getLogger(__name__)

EVENT_TYPES = ("detection", "rejection")
PLACEHOLDERS = (
    "type",
    "keyword",
    "person",
    "reason",
    "time_ms",
    "keyword_score",
    "speaker_score",
    "source",
    "at",
)
_NOTHING, _SOMETHING = dict.fromkeys(PLACEHOLDERS, ""), dict.fromkeys(PLACEHOLDERS, "x")
SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "zsh")
KEPT_BYTES = 4096  # of the end of standard error
PIPE_BYTES = 65_536  # a pipe's capacity: what can still be in it when the program has ended
LOOK_S = 0.05  # how often is looked whether it has ended
# The service manager talks to the daemon, not to what it starts; and the key of the people is nobody else's.
_NOT_FOR_HOOKS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "EARMARK_PASSPHRASE")

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class HookSink(Sink):
    """Runs one program at a time; events wait meanwhile, and are dropped and counted where too many do."""

    name = "hook"

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._command: tuple[str, ...] = settings.command
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Looks whether the command can work.

        Raises:
            SettingsError: it cannot: an unknown placeholder or event.
        """
        for type_ in self._settings.events:
            if type_ not in EVENT_TYPES:
                raise SettingsError(f"hook.events has {type_!r}: there are {', '.join(EVENT_TYPES)}")
        program, *arguments = self._command
        for argument in arguments:
            fill(argument, _NOTHING)
        if _BRACES.search(program):
            raise SettingsError(
                f"hook.command: the program {program!r} must be the same at every event, without braces"
            )
        if Path(program).name in SHELLS and any(
            option.startswith("-") and "c" in option and fill(script, _NOTHING) != fill(script, _SOMETHING)
            for option, script in zip(arguments, arguments[1:])
        ):
            raise SettingsError(
                "hook.command: a placeholder in a shell's script would run whatever a name holds: write "
                f"${EVENT_PREFIX}PERSON and the like there"
            )

    def probe(self) -> None:
        """Raises SettingsError where there is no such program."""
        program = self._command[0]
        if shutil.which(program) is None:
            raise SettingsError(f"hook.command: there is no program {program!r} that can be run: give its whole path")

    def open(self) -> None:
        """Looks at both.

        Raises:
            SettingsError: it cannot work.
        """
        self.check()
        self.probe()
        atexit.register(self._kill)  # a hook that runs when the daemon ends, ends too

    def send(self, notice: Notice) -> None:
        """Runs it, if it wants such events.

        Raises:
            DaemonError: it cannot be run, took too long, or failed.
        """
        if notice.event.type not in self._settings.events:
            return
        values = values_of(notice)
        program, *arguments = self._command
        own = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_HOOKS}
        told = {EVENT_PREFIX + name.upper(): value for name, value in values.items()}
        try:
            self._process = subprocess.Popen(
                [program, *(fill(argument, values) for argument in arguments)],
                env={**own, **told},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # ours is for events
                stderr=subprocess.PIPE,
                start_new_session=True,  # a group of its own, so that what it starts can be killed with it
            )
        except OSError as error:
            raise DaemonError(f"hook {program} cannot be run: {system_text_of(error)}") from error
        except ValueError as error:  # a zero byte, half a character
            raise DaemonError(f"hook {program} cannot be told of this event: {text_of(error)}") from error
        with self._process as process:
            assert process.stdin is not None
            assert process.stderr is not None
            with contextlib.suppress(BrokenPipeError):  # it need not read; and so little always fits into a pipe
                process.stdin.write(json.dumps(notice.to_json()).encode() + b"\n")
                process.stdin.close()
            try:
                last = self._wait(program, process, process.stderr)
            finally:
                self._kill()
        if process.returncode:
            raise DaemonError(f"hook {program} {_ending(process.returncode)}{f': {last}' if last else ''}")

    def close(self) -> None:
        """Nothing runs between events."""
        atexit.unregister(self._kill)

    def _wait(self, program: str, process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
        """Until it has ended -> the last line of its standard error.

        Raises:
            DaemonError: it has not, in time.
        """
        deadline_s = time.monotonic() + self._settings.timeout_s
        tail, is_open = b"", True
        os.set_blocking(errors.fileno(), False)
        while process.poll() is None:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise DaemonError(f"hook {program} was killed: it took {self._settings.timeout_s:g} s")
            if not is_open:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(left_s)
            elif select.select([errors], [], [], min(left_s, LOOK_S))[0]:
                piece = os.read(errors.fileno(), PIPE_BYTES)
                tail, is_open = (tail + piece)[-KEPT_BYTES:], bool(piece)
        with contextlib.suppress(BlockingIOError):  # what it has started may hold the pipe, and go on
            tail = (tail + os.read(errors.fileno(), PIPE_BYTES))[-KEPT_BYTES:]
        lines = tail.decode("utf-8", "backslashreplace").strip().splitlines()
        return lines[-1] if lines else ""

    def _kill(self) -> None:
        """The program and whatever it has started, if it still runs."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def values_of(notice: Notice) -> dict[str, str]:
    """What the placeholders stand for; what is not known is empty."""
    event = notice.to_json()
    event["source"] = event.pop("file")
    return {name: "" if event[name] is None else str(event[name]) for name in PLACEHOLDERS}


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders filled; `{{` and `}}` are braces.

    Raises:
        SettingsError: a placeholder is not known, or a brace alone.
    """

    def one(match: re.Match[str]) -> str:
        text, name = match.group(0), match.group(1)
        if text in ("{{", "}}"):
            return text[0]
        if name is None or name not in values:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise SettingsError(
                f"hook.command: {template[:80]!r} has {text[:80]}: there are {known}; a brace is {{{{ or }}}}"
            )
        return values[name]

    return _BRACES.sub(one, template)


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"

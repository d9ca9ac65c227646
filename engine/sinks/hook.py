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
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import DaemonError, SettingsError, system_text_of, text_of
from ..processes.own import environment_for_others, find_program
from ..settings.reading import EVENT_PREFIX
from .base import Control, Notice, Sink

_LOG = logging.getLogger(__name__)

EVENT_TYPES = ("detection", "rejection", "confirmation")
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
# Programs by their names, without a version. What takes code behind an option:
INTERPRETERS = (  # noqa: SIM905  a word a line would be two screens
    "sh ash bash busybox csh dash fish ksh mksh nu posh pwsh rbash tcsh toybox xonsh yash zsh bun deno elixir emacs "
    "erl expect gdb groovy guile irb java jshell julia lua luajit node nodejs ocaml octave osascript perl php psql "
    "pypy python raku rscript ruby runghc sbcl scala sqlite swift tclsh vi vim wish"
).split()
# What takes a whole command line behind one, and what takes code, or makes a command line, of any argument:
WRAPPERS = ("env", "runuser", "script", "su", "flock", "flatpak-spawn")
TAKERS = ("awk", "bc", "dc", "dsh", "eval", "gawk", "jq", "mawk", "nawk", "parallel", "pdsh", "sed", "ssh", "watch")
_CODE = re.compile(r"-[A-Za-z]*[ceErpSx](=.*)?|--(eval|exec|execute|command|code|print|run|script)(=.*)?")
_LINE = re.compile(r"-[A-Za-z]*[cS](=.*)?|--(command|split-string)(=.*)?")
_ATTACHED = re.compile(
    r"(-[A-Za-z]*[ceErpSx]|--(eval|exec|execute|command|code|print|run|script|split-string)=).*", re.S
)
KEPT_BYTES = 4096  # of the end of standard error
PIPE_BYTES = 65_536  # a pipe's capacity: what can still be in it when the program has ended
LOOK_S = 0.05  # how often is looked whether it has ended

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class HookSink(Sink):
    """Runs one program at a time; events wait meanwhile, and are dropped and counted where too many do."""

    name = "hook"

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._command: tuple[str, ...] = settings.command
        self._program: str | None = None
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
        code = next((argument for argument in _code_in(self._command) if _has_text(argument)), None)
        if code is not None:
            raise SettingsError(
                f"hook.command: {code[:80]!r} is code to the program that gets it, which would run whatever a name "
                f"holds: write ${EVENT_PREFIX}PERSON and the like there, which is in its environment"
            )

    def probe(self) -> None:
        """Raises SettingsError where there is no such program."""
        program = self._command[0]
        if find_program(program) is None:
            raise SettingsError(f"hook.command: there is no program {program!r} that can be run: give its whole path")

    def open(self) -> None:
        """Looks at both.

        Raises:
            SettingsError: it cannot work.
        """
        self.check()
        self.probe()
        self._program = find_program(self._command[0])
        atexit.register(self._kill)  # a hook that runs when the daemon ends, ends too

    def send(self, notice: Notice) -> None:
        """Runs it, if it wants such events.

        Raises:
            DaemonError: it cannot be run, took too long, or failed.
        """
        if notice.event.type not in self._settings.events or not notice.trusted:
            return
        values = values_of(notice)
        program, *arguments = self._command
        own = environment_for_others(os.environ)
        told = {EVENT_PREFIX + name.upper(): value for name, value in values.items()}
        try:
            self._process = subprocess.Popen(
                [program, *(fill(argument, values) for argument in arguments)],
                executable=self._program,
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


def _code_in(command: Sequence[str]) -> Iterator[str]:
    """The arguments that somebody may take for code: what follows an option for it, wherever an interpreter is named.

    `env`, `nice`, `sudo -u`, `timeout 5` and the like start the program that their arguments name: so each word is
    looked at as if it were one. The names are a list; what is not on it and takes code by another option is beyond
    this check. What never fails is the environment.
    """
    options: list[re.Pattern[str]] = []
    takes_all = False
    for before, word in zip(("", *command), command):
        if takes_all or any(option.fullmatch(before) for option in options) or (options and _ATTACHED.match(word)):
            yield word
        for part in word.split() or [word]:  # several words that something splits
            name = re.sub(r"[0-9.-]*(\.exe)?$", "", Path(part).name)
            options += [_CODE] * (name in INTERPRETERS) + [_LINE] * (name in WRAPPERS)
            takes_all = takes_all or name in TAKERS


def _has_text(argument: str) -> bool:
    """Whether something stands in it that somebody else may have chosen."""
    return fill(argument, _NOTHING) != fill(argument, _SOMETHING)


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"

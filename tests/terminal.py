"""`earmark enroll` on a pseudo-terminal, watched and answered; every wait ends, and fails where it ends in vain."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from helpers_store import command
from sound_server import SoundServer

LIMIT_S = 120.0
NOW = "  now\n"  # a line of its own


class Terminal:
    """`earmark enroll` on a pseudo-terminal."""

    def __init__(self, server: SoundServer, *arguments: str | Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command("enroll", *arguments),
            env={**server.env, "TERM": "xterm", "COLUMNS": "120"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self._shown = b""
        self._read_to = 0

    @property
    def text(self) -> str:
        """Everything that was shown."""
        return self._shown.decode(errors="ignore").replace("\r\n", "\n")

    def shows(self, *texts: str) -> str:
        """Waits until one of the texts is shown, behind what was waited for before; which it was."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            rest = self.text[self._read_to :]  # a line's end or a letter that is half there comes with the next
            found = min((text for text in texts if text in rest), key=rest.index, default=None)
            if found is not None:
                self._read_to += rest.index(found) + len(found)
                return found
            assert time.monotonic() < deadline, f"none of {texts} came:\n{self.text[-3000:]}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self._shown += os.read(self._master, 4096)
                except OSError:  # the other side is closed
                    raise AssertionError(f"it ended before {texts}:\n{self.text[-3000:]}") from None

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ends(self) -> int:
        """The exit code."""
        reader = threading.Thread(target=self._drain)
        reader.start()
        code = self.process.wait(LIMIT_S)
        reader.join(LIMIT_S)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _drain(self) -> None:
        try:
            while piece := os.read(self._master, 4096):
                self._shown += piece
        except OSError:
            pass


def _own_terminal() -> None:
    """So that Ctrl-C reaches the process, and is not ignored, as it is in what a shell started in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def say_hello(terminal: Terminal, server: SoundServer, words: Path) -> None:
    """A few words into the microphone when its level is looked at."""
    terminal.shows("Say a few words into")
    server.play(words)
    terminal.shows("It hears you well.")


def speak(terminal: Terminal, server: SoundServer, files: Iterator[Path], takes: int) -> None:
    """Says the next file at each "now", until so many were good."""
    while takes:
        if terminal.shows(NOW, "✓ Take") == "✓ Take":
            takes -= 1
        else:
            server.play(next(files))

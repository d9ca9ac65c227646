"""A running `earmark listen`, watched line by line; every wait ends, and fails the test where it ends in vain."""

from __future__ import annotations

import contextlib
import errno
import json
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pytest
from helpers_store import Run, checked, command, earmark, environment
from sound_server import until

LIMIT_S = 60.0
NOBODY = "earmark: nobody is enrolled"  # as in most of these daemons: `lines` has it, what `wait` gives has not


def next_line(stream: IO[bytes]) -> bytes:
    """The next line of standard error but for that nobody is enrolled."""
    while (line := stream.readline()).startswith(NOBODY.encode()):
        pass
    return line


@contextmanager
def may_be_cut_off() -> Iterator[None]:
    """What is sent here is sent to somebody who may hang up at any moment: then the rest is left."""
    try:
        yield
    except ConnectionError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTCONN:  # what shutdown() says of a connection that is gone, and no ConnectionError
            raise


class Live:
    """The daemon as a subprocess; `feed` writes to its standard input, where it listens to that."""

    def __init__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command("listen", *arguments, "--json"),
            env=env or environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        """Of standard error, so far."""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_out, args=(self.process.stdout,)),
            threading.Thread(target=self._read_err, args=(self.process.stderr,)),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self._end()

    def feed(self, content: bytes) -> None:
        """To its standard input, at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def event(self) -> dict[str, Any]:
        """The next one on standard output."""
        try:
            return self._events.get(timeout=LIMIT_S)
        except queue.Empty:
            raise AssertionError(f"no event came; standard error: {self.lines}") from None

    def says(self, text: str, count: int = 1) -> None:
        """Waits for so many lines on standard error that have the text."""
        until(
            lambda: sum(text in line for line in self.lines) >= count, f"{count} × {text!r} in {self.lines}", LIMIT_S
        )

    def status(self, socket: Path) -> dict[str, Any]:
        """What `earmark status` says."""
        (answer,) = earmark("status", "--json", "--set", f"socket.path={socket}").events
        return answer

    def descriptors(self) -> list[str]:
        """What its open descriptors are, as the kernel has it."""
        found = []
        try:
            for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    found.append(str(link.readlink()))
        except PermissionError:
            pytest.skip("only root may look into a private process")
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Run:
        """Ends it by a signal; what it left behind, events that were not fetched included."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> Run:
        """Closes its standard input and waits for its end."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it does not end; standard error: {self.lines}") from None
        self._end()
        rest = []
        while not self._events.empty():
            rest.append(json.dumps(self._events.get()))
        said = [line for line in self.lines if not line.startswith(NOBODY)]
        return checked(self.process.returncode, "\n".join(rest).encode(), "\n".join(said).encode())

    def _end(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)

    def _read_out(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._events.put(json.loads(line))

    def _read_err(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.lines.append(line.decode().rstrip("\n"))

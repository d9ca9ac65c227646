"""What the sinks share that listen on a socket: an event loop in a thread, and who may connect."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from .base import Sink

_LOG = logging.getLogger(__name__)

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""What is done with one connection."""
OPEN_S = 10.0  # binding a socket takes no time; a name that must be looked up can


class Server(Sink):
    """A sink with an event loop in a thread of its own; `serve` is where it begins."""

    async def serve(self) -> None:
        """Binds what is to be bound, and returns; its tasks go on until `close`.

        Raises:
            Exception: it cannot be bound.
        """
        raise NotImplementedError

    def open(self) -> None:
        """Starts the loop; returns when everything is bound."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=f"server {self.name}", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.serve(), self.loop).result(OPEN_S)
        except BaseException:
            self.close()
            raise

    def for_each(self, client: Client) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """What asyncio's servers take: each connection gets a task of `client`.

        Given a coroutine itself, asyncio logs every task that is cancelled at the end as an error.
        """
        tasks: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                _LOG.error("server %s: a connection failed", self.name, exc_info=task.exception())

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self.loop.create_task(client(reader, writer))
            tasks.add(task)
            task.add_done_callback(done)

        return begin

    def close(self) -> None:
        """Ends every task of the loop and the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(OPEN_S)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening Unix socket with these permissions from its first moment on; one that nobody serves is replaced.

    Raises:
        OSError: somebody serves it, or it cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, f"{path} is served already: is another daemon running?")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        listening.bind(str(temporary))
        temporary.chmod(mode)
        listening.listen(64)
        listening.setblocking(False)
        temporary.rename(path)
    except BaseException:
        listening.close()
        temporary.unlink(missing_ok=True)
        raise
    return listening

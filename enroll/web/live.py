"""What the daemon says, passed on to the pages that are open: one connection to its socket, however many look."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from earmark.engine.errors import DaemonError, text_of

MAX_LINE_BYTES = 1 << 20
RETRIES_S = (0.5, 1.0, 2.0, 4.0)  # then every four seconds
STATUS_S = 5.0  # so often counters are asked for while somebody looks
ANSWER_S = 5.0
KEPT_EVENTS = 50
QUEUE_MESSAGES = 100  # a page that is so far behind is in a pocket: it gets what comes next
Message = dict[str, Any]


class Live:
    """The connection, and who is told.

    Args:
        places: where the daemon's socket may be, the likely one first.
    """

    def __init__(self, places: Callable[[], Sequence[Path]]) -> None:
        self._places = places
        self._pages: set[asyncio.Queue[Message]] = set()
        self._writer: asyncio.StreamWriter | None = None
        self.status: Message | None = None
        """As it was said last; None: no daemon answers."""
        self.problem = "it was not asked yet"
        """Why no daemon answers."""
        self.events: deque[Message] = deque(maxlen=KEPT_EVENTS)
        """Heard since this process began, oldest first."""

    def join(self) -> asyncio.Queue[Message]:
        """A page that is open: what it is told comes out of the queue, the state first."""
        queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_MESSAGES)
        self._pages.add(queue)
        queue.put_nowait(self._state())
        self._ask("status")
        if len(self._pages) == 1:
            self._ask("follow")
        return queue

    def leave(self, queue: asyncio.Queue[Message]) -> None:
        """It was closed; the daemon measures nothing for nobody."""
        self._pages.discard(queue)
        if not self._pages:
            self._ask("unfollow")

    async def run(self) -> None:
        """Until it is cancelled: connects, again and again, and passes on."""
        tries = 0
        while True:
            try:
                await self._converse()
                tries = 0
            except (OSError, DaemonError, ValueError) as error:
                was, self.status, self.problem = self.status, None, text_of(error)
                if was is not None or tries == 0:
                    self._tell(self._state())
            tries += 1
            await asyncio.sleep(RETRIES_S[min(tries, len(RETRIES_S)) - 1])

    async def _converse(self) -> None:
        reader, writer = await connect(self._places())
        self._writer = writer
        asking = asyncio.create_task(self._keep_asking())
        try:
            self._ask("status")
            if self._pages:
                self._ask("follow")
            while line := await reader.readline():
                self._hear(json.loads(line))
            raise DaemonError("the daemon has ended")
        finally:
            self._writer = None
            asking.cancel()
            writer.close()

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            if self._pages:
                self._ask("status")

    def _ask(self, request: str) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(request.encode() + b"\n")

    def _hear(self, told: Message) -> None:
        kind = told.get("type")
        if kind == "status":
            self.status = told
            self._tell(self._state())
        elif kind == "changed":
            self._ask("status")
        elif kind == "level":
            self._tell(told)
        elif kind in ("detection", "rejection", "near_miss", "confirmation"):
            self.events.append(told)
            self._tell(told)

    def _state(self) -> Message:
        if self.status is None:
            return {"type": "gone", "why": self.problem}
        return self.status

    def _tell(self, message: Message) -> None:
        for queue in self._pages:
            if queue.full():
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
            queue.put_nowait(message)


async def connect(places: Sequence[Path]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first socket at which a daemon listens.

    Raises:
        DaemonError: there is none.
    """
    said = []
    for place in places:
        try:
            return await asyncio.open_unix_connection(str(place), limit=MAX_LINE_BYTES)
        except OSError as error:
            said.append(f"{place}: {text_of(error)}")
    raise DaemonError(f"no daemon answers ({'; '.join(said) or 'no socket'})")


async def change(places: Sequence[Path], key: str, value: str) -> None:
    """Changes a setting of the daemon.

    Raises:
        DaemonError: it refuses, with why; or none answers.
    """
    reader, writer = await connect(places)
    try:
        writer.write(f"set {key} {value}\n".encode())
        answer = await asyncio.wait_for(_answer(reader), ANSWER_S)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise DaemonError(f"the daemon does not answer: {text_of(error)}") from error
    finally:
        writer.close()
    if answer["type"] == "error":
        raise DaemonError(str(answer["text"]))


async def _answer(reader: asyncio.StreamReader) -> Message:
    while line := await reader.readline():
        told: Message = json.loads(line)
        if told.get("type") in ("set", "error"):
            return told
    raise DaemonError("the daemon has ended")

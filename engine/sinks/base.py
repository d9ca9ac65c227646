"""The interface of the sinks, and the thread and bounded queue that keep each of them apart from the detector."""

from __future__ import annotations

import datetime
import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..audio import Int16
from ..detector import Event
from ..stats import Stats

_LOG = logging.getLogger(__name__)

QUEUE_NOTICES = 64  # a wake word takes a second to say: a minute of nothing else, while a sink is stuck
CLOSE_S = 0.3  # what a sink gets to send the rest; all close at once, and a service must end within a second


@dataclass(frozen=True)
class Notice:
    """An event, as sinks get it."""

    event: Event
    source: str
    """The microphone or the client that heard it."""
    at_s: float
    """Seconds since 1970, by the daemon's clock when the event was decided."""
    clip: Int16 | None = None
    """(n,) int16 at 16 kHz around it, for sinks that want clips."""

    def to_json(self) -> dict[str, Any]:
        """The event as the command line prints it, and when it was (UTC, ISO 8601)."""
        at = datetime.datetime.fromtimestamp(self.at_s, datetime.timezone.utc)
        return {**self.event.to_json(self.source), "at": at.isoformat(timespec="milliseconds")}


class Sink(ABC):
    """Somewhere that events go. Everything but the constructor and `state` runs in the sink's own thread."""

    name: str
    """As the counters call it."""
    wants_clips = False
    """It gets notices with a clip, half a second after the event, near misses too; else those without, at once."""

    def open(self) -> None:  # noqa: B027  most have nothing to open
        """Called once, before the first notice.

        Raises:
            Exception: it cannot work; it is logged and counted, and `send` is called all the same.
        """

    @abstractmethod
    def send(self, notice: Notice) -> None:
        """Passes one event on; may take its time.

        Raises:
            Exception: whatever went wrong; it is logged and counted, and the next notice comes all the same.
        """

    def state(self, state: Mapping[str, Any]) -> None:  # noqa: B027  most do not tell it
        """The daemon's state has changed (mode, sensitivities, people); called from any thread, must not block."""

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """Called once, at the end."""


class Outbox:
    """A sink with its queue and thread: putting something in never waits."""

    def __init__(self, sink: Sink, stats: Stats) -> None:
        self.sink, self._stats = sink, stats
        self.failure: Exception | None = None
        """The last failure; None once something was sent again."""
        self._queue: queue.Queue[Notice | None] = queue.Queue(QUEUE_NOTICES)
        self._dropping = False
        self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many notices wait."""
        return self._queue.qsize()

    def put(self, notice: Notice) -> None:
        """Queues a notice, or drops and counts it where the queue is full."""
        try:
            self._queue.put_nowait(notice)
            self._dropping = False
        except queue.Full:
            self._stats.add("dropped", sink=self.sink.name)
            if not self._dropping:  # once, not at each event
                _LOG.warning("sink %s is stuck: events are dropped", self.sink.name)
            self._dropping = True

    def close(self) -> None:
        """Lets the sink send what it has, for 0.3 s; what hangs is left hanging."""
        self.ask_to_close()
        self._thread.join(CLOSE_S)

    def ask_to_close(self) -> None:
        """The first half of `close`, so that many close at the same time."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            _LOG.warning("sink %s is stuck: %d events are lost", self.sink.name, self.depth)

    def _run(self) -> None:
        self._try("open", self.sink.open)
        while (notice := self._queue.get()) is not None:
            if self._try("send", self.sink.send, notice):
                self._stats.add("sent", sink=self.sink.name)
        self._try("close", self.sink.close)

    def _try(self, what: str, call: Any, *arguments: Any) -> bool:
        try:
            call(*arguments)
        except Exception as error:  # whatever a sink's library raises: it is said, counted, and stays in its thread
            if self.failure is None or str(self.failure) != str(error):
                _LOG.warning("sink %s: %s failed: %s", self.sink.name, what, error or type(error).__name__)
            self._stats.add("failed", sink=self.sink.name)
            self.failure = error
            return False
        if what == "send":
            self.failure = None
        return True

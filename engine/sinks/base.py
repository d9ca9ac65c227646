"""The interface of the sinks, and the thread and bounded queue that keep each of them apart from the detector."""

from __future__ import annotations

import datetime
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..audio.samples import Int16
from ..errors import text_of
from ..event import Event
from ..household import Household
from .stats import Stats

_LOG = logging.getLogger(__name__)

QUEUE_NOTICES = 64  # a wake word takes a second to say: a minute of nothing else, while a sink is stuck
CLOSE_S = 0.3  # what a sink gets to send the rest; all close at once, and a service must end within a second
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0  # doubled from one to the other where opening fails
OWN = "mic"
"""This machine's own microphone or pipe, as the source of an event."""
STUCK, NOT_OPEN = "stuck: events are dropped", "not open yet"


@dataclass(frozen=True)
class Notice:
    """An event, as sinks get it."""

    event: Event
    source: str
    """The microphone or the client that heard it."""
    at_s: float
    """Seconds since 1970 by this machine's clock, when the word had been said."""
    clip: Int16 | None = None
    """(n,) int16 at 16 kHz around it, for sinks that want clips."""
    peer: str = ""
    """Who heard it, where that was somebody in the network: an address, or `unix`; empty: this machine itself."""
    trusted: bool = True
    """Whether it may be learned from and may run the hook; who it is in the network has not been shown."""
    made_s: float = field(default_factory=time.monotonic, compare=False)
    """When this was made, by a clock that nobody sets: how late it is does not depend on the one of `at_s`."""

    @property
    def heard_by(self) -> str:
        """The same at each of its events: `mic`, or the client's address without its port, or `unix`."""
        return self.peer or OWN

    def to_json(self) -> dict[str, Any]:
        """The event as the command line prints it, when it was (UTC, ISO 8601), and `source`, who heard it."""
        at = datetime.datetime.fromtimestamp(self.at_s, datetime.timezone.utc)
        event = self.event.to_json(self.source)
        return {**event, "at": at.isoformat(timespec="milliseconds"), "source": self.heard_by}


@dataclass(frozen=True)
class Heard:
    """What the daemon's own microphone has just given, for who follows it live."""

    end: int
    """Position behind the last of the samples, counted since the source was opened first."""
    samples: Int16
    """(n,) int16 at 16 kHz."""
    scores: Mapping[str, float]
    """wake word -> its keyword score, 0…1."""


class Control(Protocol):
    """What sinks may ask of the daemon, from any thread and without waiting."""

    household: Household
    """As it is now."""
    stats: Stats

    @property
    def journal(self) -> bool:
        """Whether somebody keeps the sound around events: notices with a clip are wanted."""

    def change(self, key: str, value: str, here: bool = False) -> None:
        """Changes a setting, by its full key, and keeps that; a value against its rule is refused and said.

        `here`: who asked for it is a user of this machine who may, and not somebody at the broker.
        """

    def status(self) -> dict[str, Any]:
        """How the daemon is, as JSON has it."""

    def publish(self, notice: Notice) -> None:
        """Something was heard elsewhere than in the daemon's own microphone: it goes to all sinks."""


class Sink:
    """Somewhere that events go, or somebody who serves others.

    Everything but the constructor and `state` runs in the sink's own thread.

    Args:
        settings: its section.
        control: of the daemon.
    """

    name = "sink"
    """As settings and counters call it."""
    wants: Literal["events", "all", "clips", "nothing"] = "events"
    """`events` come at once; `all` too, and near misses, where the settings ask for those; `clips` half a second
    later, with near misses, and have a clip, which is empty of a confirmation."""
    idle_s: float | None = None
    """`idle` is called where nothing came for so long; None: never."""
    counts_sent = False
    """Whether it counts itself what was sent, when somebody has confirmed it."""
    fault: str | None = None
    """Why it cannot work now, where it knows that without an event; None: it can, as far as it knows."""
    note: str | None = None
    """What its user should know although it works, as a client that was cut off; None: nothing."""
    follows = False
    """Whether it wants what the microphone gives, as it comes."""
    replaces: Sink | None = None
    """The running one in whose place it comes at a reload, and whose places will be free then."""

    def __init__(self, settings: Any, control: Control) -> None:
        self._settings, self._control = settings, control

    def check(self) -> None:
        """Looks whether the settings can work, and at nothing else; called by `earmark settings check` and a reload.

        Raises:
            EarmarkError: they cannot.
        """

    def probe(self) -> None:
        """Looks whether files and places can be had, before a reload replaces a sink that works by this one.

        Raises:
            EarmarkError: they cannot.
        """

    def open(self) -> None:
        """Called before the first notice, and again after a while where it failed.

        Raises:
            Exception: it cannot work now; that is logged, counted and shown.
        """

    def send(self, notice: Notice) -> None:
        """Passes one event on; may take its time.

        Raises:
            Exception: whatever went wrong; it is logged and counted, and the next notice comes all the same.
        """

    def idle(self) -> None:
        """Nothing came for a while; called where it was opened.

        Raises:
            Exception: as `send`.
        """

    def state(self) -> None:
        """The household has changed, or a change was refused; called from any thread, must not wait."""

    def microphone(self) -> None:
        """It is lost or silent, or hears again, as the status says; called from any thread, must not wait."""

    def heard(self, heard: Heard) -> None:
        """What came, where it `follows`; called from the detector's thread, must not wait."""

    def close(self) -> None:
        """Called once, at the end, where it was opened."""


class Outbox:
    """A sink with its queue and thread: putting something in never waits."""

    def __init__(self, sink: Sink, stats: Stats) -> None:
        self.sink, self._stats = sink, stats
        self.failure: Exception | None = None
        """Why the last thing that was tried failed; None: it did not."""
        self._queue: queue.Queue[Notice | None] = queue.Queue(QUEUE_NOTICES)
        self._dropping = self._is_open = False
        self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """How many notices wait."""
        return self._queue.qsize()

    @property
    def fault(self) -> str | None:
        """Why it does not do its work now; None: it does. Never empty."""
        if self._dropping:
            return STUCK
        return self.sink.fault or (text_of(self.failure) if self.failure else None if self._is_open else NOT_OPEN)

    def put(self, notice: Notice) -> None:
        """Queues a notice, or drops and counts it where the queue is full."""
        try:
            self._queue.put_nowait(notice)
            self._dropping = False
        except queue.Full:
            self._stats.add("dropped", sink=self.sink.name)
            if not self._dropping:  # once, not at each event
                _LOG.warning("sink %s is %s", self.sink.name, STUCK)
            self._dropping = True

    def ask_to_close(self) -> None:
        """The first half of closing, so that many close at the same time; `join` is the second."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            _LOG.warning("sink %s is stuck: %d events are lost", self.sink.name, self.depth)

    def join(self, wait_s: float | None = None) -> None:
        """The second half: lets the sink send what it has, for 0.3 s or so long; what hangs is left hanging."""
        self._thread.join(CLOSE_S if wait_s is None else wait_s)

    def _run(self) -> None:
        self._is_open, retry_s = self._try("open", self.sink.open), FIRST_RETRY_S
        while True:
            try:
                notice = self._queue.get(timeout=self.sink.idle_s if self._is_open else retry_s)
            except queue.Empty:
                if self._is_open:
                    self._try("idle", self.sink.idle)
                    continue
                self._is_open, retry_s = self._try("open", self.sink.open), min(2 * retry_s, LAST_RETRY_S)
                continue
            if notice is None:
                break
            if not self._is_open:
                self._stats.add("failed", sink=self.sink.name)
            elif self._try("send", self.sink.send, notice) and not self.sink.counts_sent:
                self._stats.add("sent", sink=self.sink.name)
        if self._is_open:
            self._try("close", self.sink.close)

    def _try(self, what: str, call: Callable[..., None], *arguments: Any) -> bool:
        try:
            call(*arguments)
        except Exception as error:  # whatever a sink's library raises: it is said, counted, and stays in its thread
            if self.failure is None or text_of(self.failure) != text_of(error):
                _LOG.warning("sink %s: %s failed: %s", self.sink.name, what, text_of(error))
            self._stats.add("failed", sink=self.sink.name)
            self.failure = error
            return False
        self.failure = None
        return True

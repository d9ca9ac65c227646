"""Counters for Prometheus: one page, `GET /metrics`, on loopback unless told otherwise.

The server is our own: the one of prometheus_client starts a thread for each connection and waits for it without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..errors import text_of
from .base import Control, Notice
from .server import Address, Server, is_own_name

_LOG = logging.getLogger(__name__)

PATH = "/metrics"
MAX_HEAD_BYTES = 8192
MAX_CONNECTIONS = 16  # at once; a scraper needs one
PAUSE_S = 1.0  # where the system has no room for another connection
LIMIT_S = 5.0  # of a whole connection

_COUNTERS = {  # of Stats -> its labels and what it counts; these are on the page even while they are 0
    "overruns": ((), "How often the microphone dropped audio because nobody fetched it in time."),
    "device_lost": ((), "How often the microphone was lost."),
    "reloads": ((), "Settings or people loaded again."),
    "reload_failures": ((), "Reloads and changes that were refused."),
    "events": (("type", "keyword", "reason"), "What was heard, near misses included where a journal is kept."),
    "clients": (("server",), "Connections to the other servers."),
    "turned_away": (("server",), "Connections that were too many, or did not read."),
    "limited": (("server",), "Events of peers in the network that were too many to be passed on."),
    "refused": (("sink",), "Commands from outside that break a rule."),
}
_SINK_COUNTERS = {
    "sent": "Events that were passed on.",
    "dropped": "Events that found the queue full.",
    "failed": "What a sink tried in vain.",
}


class MetricsSink(Server):
    """Serves the counters; wants no events."""

    name = "metrics"
    wants = "nothing"

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(control))
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: list[asyncio.Task[None]] = []  # oldest first
        self.places = [Address(self._settings.address, self._settings.port)]

    async def begin(self, listening: socket.socket) -> Callable[[], object]:
        """Serves a port."""
        return self.keep(self._accept(listening)).cancel

    def send(self, notice: Notice) -> None:
        """Is not called."""

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)  # else nobody but the loop's weak set would hold it
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        """Takes every connection; of too many the oldest gives way, so that who says nothing delays nobody."""
        with listening:
            while True:
                try:
                    connection, _ = await self.loop.sock_accept(listening)
                except OSError as error:  # gone before we came, or no descriptor is left
                    _LOG.warning("metrics: a connection could not be taken: %s", text_of(error))
                    await asyncio.sleep(PAUSE_S)
                    continue
                self._control.stats.add("clients", server=self.name)
                if len(self._connections) >= MAX_CONNECTIONS:  # a scraper is done in some milliseconds
                    self._connections.pop(0).cancel()
                    self._control.stats.add("turned_away", server=self.name)
                task = self._start(self._client(connection))
                self._connections.append(task)
                task.add_done_callback(functools.partial(self._forget, connection))

    def _forget(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        connection.close()  # of a task that was cancelled before it had begun, too
        if task in self._connections:
            self._connections.remove(task)

    async def _client(self, connection: socket.socket) -> None:
        # gone, half a request, slow
        with connection, contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
            reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_HEAD_BYTES)
            try:
                await asyncio.wait_for(self._converse(reader, writer), LIMIT_S)
            finally:
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_response("431 Request Header Fields Too Large"))
        else:
            writer.write(self._answer(head))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()  # not before everything is in the system's hands

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.split(b"\r\n", 1)[0].partition(b" ")
        target, _, protocol = rest.partition(b" ")
        if not protocol.startswith(b"HTTP/1."):
            return _response("400 Bad Request")
        if not self._is_ours(head):
            return _response("421 Misdirected Request", body=b"this name is not ours: see metrics.hosts\n")
        if target.split(b"?", 1)[0] != PATH.encode():
            return _response("404 Not Found", body=b"the only page is /metrics\n")
        if method != b"GET":
            return _response("405 Method Not Allowed", "Allow: GET\r\n")
        return _response("200 OK", kind=CONTENT_TYPE_LATEST, body=generate_latest(self._registry))

    def _is_ours(self, head: bytes) -> bool:
        """Whether it is asked for by a name of this machine.

        A page in somebody's browser may give its own name our address, and read what comes back (DNS rebinding).
        """
        names = [value.strip() for name, _, value in _headers(head) if name.strip().lower() == b"host"]
        if not names:
            return True  # of HTTP/1.0; a browser always sends one
        return len(names) == 1 and is_own_name(names[0].decode("latin-1"), self._settings.hosts)


def _headers(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]


class _Collector:
    """Reads the daemon's own counters at each scrape; keeps none of its own."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering does not collect: the daemon may not be finished yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The page."""
        status = self._control.status()
        version = GaugeMetricFamily("earmark_info", "Which earmark runs; always 1.", labels=["version"])
        version.add_metric([status["version"]], 1)
        yield version
        microphone = status["microphone"]
        yield GaugeMetricFamily("earmark_uptime_seconds", "Since the daemon started.", status["uptime_s"])
        yield GaugeMetricFamily("earmark_cpu_share", "Of one core, since the daemon started.", status["cpu_share"])
        yield CounterMetricFamily("earmark_audio_seconds", "Audio that was heard.", status["audio_s"])
        yield CounterMetricFamily("earmark_device_openings", "Of the microphone.", microphone["opened"])
        yield GaugeMetricFamily("earmark_microphone_up", "1: audio comes.", float(not microphone["fault"]))
        yield GaugeMetricFamily("earmark_microphone_silent_seconds", "Nothing but zeros.", microphone["silent_s"])
        yield GaugeMetricFamily("earmark_people", "Who is enrolled and can be used.", len(status["people"]))
        for name, (labels, text) in _COUNTERS.items():
            yield _counter(f"earmark_{name}", text, labels, status["counts"].get(name, []))
        yield from self._sinks(status)
        yield _latency(status["latency_ms"])

    def _sinks(self, status: dict[str, Any]) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("earmark_sink_queue_depth", "Events that wait.", labels=["sink"])
        works = GaugeMetricFamily("earmark_sink_up", "0: its last attempt failed.", labels=["sink"])
        for name, sink in status["sinks"].items():
            waiting.add_metric([name], sink["waiting"])
            works.add_metric([name], float(sink["failure"] is None))
        yield waiting
        yield works
        for name, text in _SINK_COUNTERS.items():
            found = {count["sink"]: count["count"] for count in status["counts"].get(name, [])}
            metric = CounterMetricFamily(f"earmark_sink_{name}", text, labels=["sink"])
            for sink in {**status["sinks"], **found}:
                metric.add_metric([sink], found.get(sink, 0))
            yield metric


def _counter(name: str, text: str, labels: tuple[str, ...], counts: list[dict[str, Any]]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=labels)
    if not labels:
        metric.add_metric([], sum(count["count"] for count in counts))
    for count in counts if labels else ():
        metric.add_metric([count.get(label, "") for label in labels], count["count"])
    return metric


def _latency(latency: dict[str, Any]) -> Metric:
    """Milliseconds each in its own bucket -> seconds, each bucket with all below it, as Prometheus has it."""
    buckets, below = [], 0
    for edge, count in latency["up_to"].items():
        below += count
        buckets.append(("+Inf" if edge == "inf" else str(int(edge) / 1000), below))
    text = "From the sample at which the keyword passed to the event."
    return HistogramMetricFamily("earmark_event_latency_seconds", text, buckets, latency["sum"] / 1000)


def _response(status: str, headers: str = "", kind: str = "text/plain; charset=utf-8", body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}"
    return head.encode() + b"Connection: close\r\n\r\n" + body

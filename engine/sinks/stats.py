"""The daemon's counters, for `earmark status`, MQTT and Prometheus. Any thread may count."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from typing import Any

from ..audio.samples import RATE_HZ

LATENCY_BUCKETS_MS = (10, 20, 30, 40, 60, 80, 120, 250, 500, 1000)
"""Upper edges; what is slower falls into one more."""

Labels = tuple[tuple[str, str], ...]


class Stats:
    """Counters that only grow, and one histogram.

    Names that are in use: `events` (type, keyword, reason), `sent`, `dropped` and `failed` (sink), `overruns`,
    `device_lost`, `reloads`, `reload_failures`, `clients` (of `wyoming` those that sent audio), `turned_away` and
    `limited` (server), `refused` (sink).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._latency = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self._latency_sum_ms = 0.0
        self._samples = 0
        self._started_s, self._started_cpu_s = time.monotonic(), time.process_time()

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Counts something."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += amount

    def heard(self, samples: int) -> None:
        """So many samples of the daemon's own microphone went through the detector."""
        with self._lock:
            self._samples += samples

    def latency(self, milliseconds: float) -> None:
        """An event came so long after the sample at which the keyword score passed: audio awaited, and computing."""
        with self._lock:
            self._latency[bisect_left(LATENCY_BUCKETS_MS, milliseconds)] += 1
            self._latency_sum_ms += milliseconds

    def total(self, name: str, **labels: str) -> int:
        """The sum over everything counted under a name that has these labels."""
        wanted = set(labels.items())
        with self._lock:
            return sum(n for (counted, found), n in self._counts.items() if counted == name and wanted <= set(found))

    def counts(self) -> dict[tuple[str, Labels], int]:
        """name, labels -> how often."""
        with self._lock:
            return dict(self._counts)

    def snapshot(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        uptime_s = time.monotonic() - self._started_s
        cpu_s = time.process_time() - self._started_cpu_s
        with self._lock:
            counts, latency = dict(self._counts), list(self._latency)
            samples, sum_ms = self._samples, self._latency_sum_ms
        grouped: dict[str, Any] = {}
        for (name, labels), count in sorted(counts.items()):
            grouped.setdefault(name, []).append({**dict(labels), "count": count})
        edges = [*map(str, LATENCY_BUCKETS_MS), "inf"]
        return {
            "uptime_s": round(uptime_s, 1),
            "audio_s": round(samples / RATE_HZ, 5),  # a sample is 0.0000625 s
            "cpu_share": round(cpu_s / max(uptime_s, 1e-3), 4),
            "counts": grouped,
            "latency_ms": {"up_to": dict(zip(edges, latency)), "sum": round(sum_ms, 1), "count": sum(latency)},
        }

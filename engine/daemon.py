"""The detector on live audio: the room with a clock, signals and threads.

The main thread takes audio from the source and pushes it through the detector; it waits for nothing but audio. A
microphone is read by a thread of its own, each sink has one, and one more, the keeper, does what takes time: it loads
settings and people again and hands them over as a finished `House`.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import queue
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from types import FrameType
from typing import Any

import numpy as np

from .audio import RATE_HZ, Int16
from .detector import Event
from .errors import AudioError, DaemonError, EarmarkError, PersonError
from .house import House, Listener, load_house
from .person import PersonStore
from .settings import Loaded, Settings, Socket
from .sinks.base import Notice, Outbox, Sink
from .sinks.files import ConsoleSink
from .sinks.unix import socket_path
from .sources import IdleSource, PolledPipe, Source, StdinSource
from .stats import Stats
from .systemd import Notifier

_LOG = logging.getLogger(__name__)

POLL_S = 0.1  # so long a source waits for audio before it lets the daemon look at other things
SILENT_PEAK = 1  # of int16: a microphone that is on is never so quiet, its own noise is louder
NO_DEVICE = "none"
END_S = 5.0  # what sinks get when a pipe has ended: nobody waits for us
HUNG_EXIT_CODE = 1


@dataclass(frozen=True)
class _SinkKind:
    """How a sink is made, and when; its module is loaded only then."""

    module: str
    type: str
    extra: str
    """The optional dependency that its module needs."""
    wanted: Callable[[Settings], object]


_SINKS = {  # by the section of the settings
    "jsonl": _SinkKind("files", "JsonlSink", "", lambda settings: settings.jsonl.path),
    "socket": _SinkKind("unix", "UnixSink", "", lambda settings: socket_path(settings.socket.path, os.environ)),
    "hook": _SinkKind("hook", "HookSink", "", lambda settings: settings.hook.command),
    "mqtt": _SinkKind("mqtt", "MqttSink", "mqtt", lambda settings: settings.mqtt.host),
    "wyoming": _SinkKind("wyoming", "WyomingSink", "wyoming", lambda settings: settings.wyoming.uris),
    "journal": _SinkKind("journal", "JournalSink", "", lambda settings: settings.journal.enabled),
    "metrics": _SinkKind("metrics", "MetricsSink", "metrics", lambda settings: settings.metrics.port),
}


def listen(arguments: argparse.Namespace) -> int:
    """Tells the events of a microphone, or of a pipe until its end; SIGINT and SIGTERM stop it with exit 0."""
    _keep_standard_error()
    with Daemon(arguments) as daemon:
        daemon.run()
    return 0


class Daemon:
    """Everything that runs while `earmark listen` does; sinks know it as their `Control`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._loaded: Loaded = arguments.loaded
        self.stats = Stats()
        self._seen = self._store_state()  # before the people are loaded: whoever comes between is noticed
        self.house: House = load_house(self._loaded.settings)
        """As it is now; replaced as a whole, by the keeper."""
        self._notifier = Notifier(os.environ)
        self._source: Source | None = None
        self._reopen = False
        self._stopping = False
        self._silent_samples = 0
        self._live = arguments.source != "-"
        self._console = ConsoleSink(arguments.json, self)
        self._outboxes: dict[str, Outbox] = {"stdout": Outbox(self._console, self.stats)} if self._live else {}
        self._jobs: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self._changes: dict[str, str] = {}
        self._keeper = Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Daemon:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._ask_for_reload)
        settings = self._loaded.settings
        self._outboxes = self._sinks(self._new_sinks(settings, settings, {}), settings, self._outboxes)
        self._keeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._notifier.stopping()
        wait_s = END_S if kind is None and not self._stopping else None
        boxes = list(self._outboxes.values())
        for box in boxes:
            box.ask_to_close()
        for box in boxes:
            box.join(wait_s)

    def run(self) -> None:
        """Until the source ends or a signal comes."""
        listener = Listener(self.house, clips=self.journal)
        while not self._stopping:
            self._reopen = False
            with self._open_source() as self._source:
                self._say_source(self._source)
                if self._hear(self._source, listener):
                    break

    def _hear(self, source: Source, listener: Listener) -> bool:
        """Pushes what the source gives; whether it has ended."""
        overruns = 0
        for block in source:
            if self._stopping:
                self._report(listener, [], source.name, 0.0, at_end=True)
                return True
            if self._reopen:
                return False
            if source.overruns > overruns:
                self.stats.add("overruns", source.overruns - overruns)
                overruns = source.overruns
            if not len(block.samples):
                if isinstance(source, IdleSource):
                    self._notifier.audio()
                self._tell_status()
                continue
            self._notifier.audio()
            listener.follow(self.house, clips=self.journal)
            start_s = time.perf_counter()
            events = listener.push(block.samples)
            computed_s = time.perf_counter() - start_s
            self.stats.heard(len(block.samples))
            self._report(listener, events, source.name, computed_s)
            self._watch_silence(block.samples)
            self._tell_status()
            self._fail_with_output()
        self._report(listener, listener.finish(), source.name, 0.0, at_end=True)
        return True

    def _report(
        self, listener: Listener, events: list[Event], source: str, computed_s: float, at_end: bool = False
    ) -> None:
        for event in events:
            waited_s = (listener.samples - event.sample) / RATE_HZ
            if event.type != "near_miss":
                self.stats.latency(1000 * (waited_s + computed_s))
            self.publish(Notice(event, source, time.time() - waited_s))
        for event, clip in listener.clips(now=at_end):
            self.publish(Notice(event, source, time.time() - (listener.samples - event.sample) / RATE_HZ, clip))

    # --- what sinks may ask

    @property
    def journal(self) -> bool:
        """Whether notices with a clip are wanted."""
        return self._loaded.settings.journal.enabled

    def publish(self, notice: Notice) -> None:
        """To every sink that wants it."""
        event, clip = notice.event, notice.clip is not None
        if not clip:
            self.stats.add("events", type=event.type, keyword=event.keyword, reason=event.reason)
        if event.type == "near_miss" and not clip:
            return
        if not clip and not self._live:
            self._console.send(notice)
        for box in list(self._outboxes.values()):
            if box.sink.wants == ("clips" if clip else "events"):
                box.put(notice)

    def change(self, key: str, value: str) -> None:
        """A setting, until the next reload."""
        self._jobs.put(("change", key, value))

    def status(self) -> dict[str, Any]:
        """How the daemon is."""
        from importlib.metadata import version

        house, source = self.house, self._source
        boxes = list(self._outboxes.items())
        return {
            "type": "status",
            "version": version("earmark"),
            "pid": os.getpid(),
            **self.stats.snapshot(),
            "microphone": {
                "name": source.name if source else "",
                "fault": source.fault if source else "not open yet",
                "opened": source.opened if source else 0,
                "silent_s": self._silent_samples // RATE_HZ,
            },
            "keywords": [manifest.name for manifest in house.manifests],
            "mode": house.policy.mode,
            "on_error": house.policy.on_error,
            "sensitivity": house.policy.sensitivity,
            "voice_sensitivity": house.policy.voice_sensitivity,
            "people": house.names,
            "faults": list(house.faults),
            "settings_file": str(self._loaded.file) if self._loaded.file else None,
            "sinks": {
                name: {
                    "waiting": box.depth,
                    "dropped": self.stats.total("dropped", sink=name),
                    "failed": self.stats.total("failed", sink=name),
                    "failure": box.sink.fault or (str(box.failure) if box.failure else None),
                }
                for name, box in boxes
            },
        }

    # --- the keeper

    def _keep(self) -> None:
        """Reloads on demand, and when the store has changed."""
        while True:
            watch_s = self._loaded.settings.people.watch_s
            try:
                job = self._jobs.get(timeout=watch_s or None)
            except queue.Empty:
                now = self._store_state()
                if now == self._seen:
                    continue
                self._seen, job = now, ("people",)
            try:
                self._do(job)
            except EarmarkError as error:
                self.stats.add("reload_failures")
                _LOG.error("%s; everything stays as it was", error)
            except Exception:  # a keeper that is gone would never reload again
                self.stats.add("reload_failures")
                _LOG.exception("the reload failed; everything stays as it was")
            for box in self._outboxes.values():
                box.sink.state()

    def _do(self, job: tuple[str, ...]) -> None:
        if job[0] == "reload":
            self._notifier.reloading()
        changes = {} if job[0] == "reload" else {**self._changes, **({job[1]: job[2]} if job[0] == "change" else {})}
        try:
            self._replace(job[0], changes)
        finally:
            if job[0] == "reload":
                self._notifier.reloaded()

    def _replace(self, why: str, changes: dict[str, str]) -> None:
        """Settings, house and sinks, or none of them."""
        old = self._loaded.settings
        loaded = self._arguments.load_settings(changes) if why != "people" else self._loaded
        house = load_house(loaded.settings)
        new_sinks = self._new_sinks(loaded.settings, old, self._outboxes)
        self._loaded, self.house, self._changes = loaded, house, changes
        if why != "change":
            self.stats.add("reloads")
            _LOG.warning("reloaded: mode %s, known: %s", house.policy.mode, ", ".join(house.names) or "nobody")
        microphones = [(audio.device, audio.stall_s) for audio in (loaded.settings.audio, old.audio)]
        self._reopen = self._reopen or (self._live and microphones[0] != microphones[1])
        self._outboxes = self._sinks(new_sinks, loaded.settings, self._outboxes)

    def _wants(self, section: str, settings: Settings) -> bool:
        is_service = self._live or getattr(settings, section) != Socket()  # a pipe is a run, no service
        return is_service and bool(_SINKS[section].wanted(settings))

    def _new_sinks(self, wanted: Settings, old: Settings, running: Mapping[str, Outbox]) -> dict[str, Sink]:
        """Those that do not run yet, or with other settings; not open yet."""
        return {
            section: self._make_sink(kind, getattr(wanted, section))
            for section, kind in _SINKS.items()
            if self._wants(section, wanted)
            and (section not in running or getattr(wanted, section) != getattr(old, section))
        }

    def _sinks(self, new: Mapping[str, Sink], wanted: Settings, running: Mapping[str, Outbox]) -> dict[str, Outbox]:
        """The sinks that run from now on; those that a new one replaces, or that nobody wants, are closed before."""
        kept = {name for name in running if name == "stdout" or (name not in new and self._wants(name, wanted))}
        going = [box for name, box in running.items() if name not in kept]
        for box in going:
            box.ask_to_close()
        for box in going:
            box.join()
        return {
            **{name: running[name] for name in running if name in kept},
            **{section: Outbox(sink, self.stats) for section, sink in new.items()},
        }

    def _make_sink(self, kind: _SinkKind, settings: Any) -> Sink:
        try:
            module = importlib.import_module(f"earmark.engine.sinks.{kind.module}")
        except ImportError as error:
            raise DaemonError(f"{error}: `pip install 'earmark[{kind.extra}]'`") from error
        sink: Sink = getattr(module, kind.type)(settings, self)
        return sink

    def _store_state(self) -> object:
        """Another one whenever somebody was enrolled or erased, and when the store cannot be read any more."""
        try:
            return PersonStore(self._loaded.settings.people.store or None).fingerprint()
        except PersonError as error:
            return str(error)

    # --- the source

    def _open_source(self) -> Source:
        if self._arguments.source == "-":
            if sys.stdin is None:
                raise AudioError("standard input is closed: `earmark listen -` takes audio from it")
            return StdinSource(PolledPipe(sys.stdin.fileno(), POLL_S))
        audio = self._loaded.settings.audio
        if audio.device == NO_DEVICE:
            return IdleSource(lambda: time.sleep(POLL_S))
        from .microphone import MicrophoneSource  # needs a system library that a pipe does without

        wait = audio.wait_for_device or self._notifier.managed
        return MicrophoneSource(audio.device or None, wait, audio.stall_s)

    def _say_source(self, source: Source) -> None:
        _LOG.info("known: %s", ", ".join(self.house.names) or "nobody")
        print(f"earmark: listening to {source.name}", file=sys.stderr, flush=True)

    def _watch_silence(self, samples: Int16) -> None:
        """Digital silence for a minute is worth a word: a muted microphone looks like a quiet house."""
        limit = self._loaded.settings.audio.silence_warning_s * RATE_HZ
        before = self._silent_samples
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENT_PEAK)
        self._silent_samples = len(samples) - 1 - int(loud[-1]) if len(loud) else before + len(samples)
        if limit and before < limit <= self._silent_samples:
            _LOG.warning("the microphone has given nothing but zeros for %g s: is it muted?", limit / RATE_HZ)
        if limit and before >= limit and len(loud):
            _LOG.warning("the microphone gives sound again")

    def _tell_status(self) -> None:
        """One line for the service manager."""
        source, house = self._source, self.house
        what = (source.fault if source else None) or f"listening to {source.name if source else ''}"
        self._notifier.status(f"{what}; mode {house.policy.mode}; known: {', '.join(house.names) or 'nobody'}")

    def _fail_with_output(self) -> None:
        """Standard output that nobody reads any more is the end, as for any program in a pipe."""
        box = self._outboxes.get("stdout")
        if box is not None and isinstance(box.failure, OSError):
            raise box.failure

    # --- signals: they only leave a mark

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _ask_for_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._jobs.put(("reload",))


def _keep_standard_error() -> None:
    """Gives Python's standard error a descriptor of its own: the one that C libraries write to is away at times."""
    if sys.stderr is None:
        return
    own = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(own)
    sys.stderr = own

"""The sinks that a daemon runs: which, from the settings; each in its outbox; replaced at a reload."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DaemonError, text_of
from ..settings.schema import Settings, Socket
from .base import Control, Heard, Notice, Outbox, Sink
from .files import ConsoleSink
from .places import socket_path

STDOUT = "stdout"


@dataclass(frozen=True)
class _Kind:
    """How a sink is made, and when; its module is loaded only then."""

    module: str
    type: str
    extra: str
    """The optional dependency that its module needs."""
    wanted: Callable[[Settings], object]


_KINDS = {  # by the section of the settings
    "jsonl": _Kind("files", "JsonlSink", "", lambda settings: settings.jsonl.path),
    "socket": _Kind("unix", "UnixSink", "", lambda settings: socket_path(settings.socket.path, os.environ)),
    "hook": _Kind("hook", "HookSink", "", lambda settings: settings.hook.command),
    "mqtt": _Kind("mqtt.sink", "MqttSink", "mqtt", lambda settings: settings.mqtt.host),
    "wyoming": _Kind("wyoming.sink", "WyomingSink", "wyoming", lambda settings: settings.wyoming.uris),
    "journal": _Kind("journal", "JournalSink", "", lambda settings: settings.journal.enabled),
    "learning": _Kind("learning", "LearningSink", "", lambda settings: settings.learning.enabled),
    "metrics": _Kind("metrics", "MetricsSink", "metrics", lambda settings: settings.metrics.port),
}


class Dispatch:
    """All that an event goes to.

    Args:
        control: what the sinks may ask.
        console: standard output.
        live: a microphone: standard output gets an outbox as the others do. Else it is written at once, and who reads
            a pipe slowly slows the pipe, as in any pipeline.
    """

    def __init__(self, control: Control, console: ConsoleSink, live: bool) -> None:
        self._control, self._console, self._live = control, console, live
        self._boxes = {STDOUT: Outbox(console, control.stats)} if live else {}

    def prepare(self, wanted: Settings, old: Settings | None = None) -> dict[str, Sink]:
        """The sinks that do not run yet, or with other settings; not open yet.

        Args:
            wanted: what is to be in force.
            old: what is: a sink that works is given up only for one of which all that can be looked at is good. None:
                at the start, where one that cannot work does not keep the others from it.

        Raises:
            EarmarkError: one cannot be made, or would not work; nothing has changed.
        """
        made = {
            section: _make(kind, getattr(wanted, section), self._control)
            for section, kind in _KINDS.items()
            if self._wants(section, wanted)
            and (section not in self._boxes or getattr(wanted, section) != getattr(old, section))
        }
        for section, sink in made.items() if old else ():
            sink.check()
            sink.replaces = self._boxes[section].sink if section in self._boxes else None
            sink.probe()
            sink.replaces = None
        return made

    def replace(self, new: Mapping[str, Sink], wanted: Settings) -> None:
        """Begins with the new ones; those that they replace, or that nobody wants any more, are closed before."""
        kept = {
            name: box
            for name, box in self._boxes.items()
            if name == STDOUT or (name not in new and self._wants(name, wanted))
        }
        _close([box for name, box in self._boxes.items() if name not in kept])
        self._boxes = {**kept, **{section: Outbox(sink, self._control.stats) for section, sink in new.items()}}

    def publish(self, notice: Notice) -> None:
        """To every sink that wants it."""
        if notice.clip is not None:
            wanting = {"clips"}
        else:
            wanting = {"all"} if notice.event.type == "near_miss" else {"all", "events"}
        if "events" in wanting and not self._live:
            self._console.send(notice)
        for box in self._boxes.values():
            if box.sink.wants in wanting:
                box.put(notice)

    def tell_state(self) -> None:
        """The household has changed, or a change was refused."""
        for box in self._boxes.values():
            box.sink.state()

    def tell_microphone(self) -> None:
        """It is lost or silent, or hears again."""
        for box in self._boxes.values():
            box.sink.microphone()

    @property
    def follows(self) -> bool:
        """Whether somebody wants what the microphone gives, as it comes."""
        return any(box.sink.follows for box in self._boxes.values())

    def tell_heard(self, heard: Heard) -> None:
        """To whoever follows."""
        for box in self._boxes.values():
            if box.sink.follows:
                box.sink.heard(heard)

    def raise_output_failure(self) -> None:
        """Standard output that nobody reads any more is the end, as for any program in a pipe.

        Raises:
            OSError: it could not be written.
        """
        box = self._boxes.get(STDOUT)
        if box is not None and isinstance(box.failure, OSError):
            raise box.failure

    def report(self) -> dict[str, dict[str, Any]]:
        """name -> how it is, as JSON has it."""
        stats = self._control.stats
        return {
            name: {
                "waiting": box.depth,
                "dropped": stats.total("dropped", sink=name),
                "failed": stats.total("failed", sink=name),
                "failure": box.fault,
                "note": box.sink.note,
            }
            for name, box in self._boxes.items()
        }

    def close(self, wait_s: float | None = None) -> None:
        """Lets each send what it has, for 0.3 s or so long; all at the same time."""
        _close(list(self._boxes.values()), wait_s)

    def _wants(self, section: str, settings: Settings) -> bool:
        is_service = self._live or getattr(settings, section) != Socket()  # a pipe is a run, no service
        return is_service and bool(_KINDS[section].wanted(settings))


def check(settings: Settings) -> None:
    """Raises EarmarkError where a sink that the settings want cannot work with them."""
    for section, kind in _KINDS.items():
        if kind.wanted(settings):
            _make(kind, getattr(settings, section), None).check()


def _make(kind: _Kind, settings: Any, control: Control | None) -> Sink:
    """Raises EarmarkError where it cannot be made; without a control it can be checked only."""
    try:
        module = importlib.import_module(f"earmark.engine.sinks.{kind.module}")
    except ImportError as error:
        raise DaemonError(f"{text_of(error)}: `pip install 'earmark[{kind.extra}]'`") from error
    sink: Sink = getattr(module, kind.type)(settings, control)
    return sink


def _close(boxes: list[Outbox], wait_s: float | None = None) -> None:
    for box in boxes:
        box.ask_to_close()
    for box in boxes:
        box.join(wait_s)

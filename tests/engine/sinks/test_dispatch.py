"""Which events go to which sinks."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from earmark.engine.errors import EarmarkError
from earmark.engine.event import Event
from earmark.engine.settings.reading import load
from earmark.engine.settings.schema import Settings
from earmark.engine.sinks.base import Notice, Sink
from earmark.engine.sinks.dispatch import Dispatch
from earmark.engine.sinks.files import ConsoleSink
from earmark.engine.sinks.stats import Stats

LIMIT_S = 60
KINDS = ("detection", "rejection", "near_miss")


def notice(kind: str, with_clip: bool = False) -> Notice:
    event: Any = Event(kind, "okay_nabu", 16_000, 0.9, None, None, "unknown_voice")  # type: ignore[arg-type]
    return Notice(event, "mic", 1e9, np.zeros(9, np.int16) if with_clip else None)


class Recorder(Sink):
    """Writes down what comes."""

    def __init__(self, wants: Any) -> None:
        self.name = self.wants = wants
        self.came: list[tuple[str, bool]] = []

    def send(self, notice: Notice) -> None:
        self.came.append((notice.event.type, notice.clip is not None))


@pytest.mark.parametrize("live", [False, True], ids=["pipe", "microphone"])
def test_every_sink_gets_what_it_wants_and_nothing_else(live: bool) -> None:
    """Near misses only to who wants all, clips only to who wants clips; standard output is as any other sink."""
    control: Any = SimpleNamespace(stats=Stats())
    console: Any = Recorder("events")
    sinks = {wants: Recorder(wants) for wants in ("events", "all", "clips", "nothing")}
    dispatch = Dispatch(control, console, live)
    dispatch.replace(sinks, Settings())
    for kind in KINDS:
        dispatch.publish(notice(kind))
        dispatch.publish(notice(kind, with_clip=True))
    dispatch.close(LIMIT_S)
    plain = [(kind, False) for kind in KINDS]
    assert sinks["all"].came == plain
    assert sinks["events"].came == console.came == plain[:2]
    assert sinks["clips"].came == [(kind, True) for kind in KINDS]
    assert sinks["nothing"].came == []


def test_a_pipe_is_written_at_once_and_a_microphone_never_waits_for_standard_output() -> None:
    control: Any = SimpleNamespace(stats=Stats())
    console: Any = Recorder("events")
    piped = Dispatch(control, console, live=False)
    piped.publish(notice("detection"))
    assert console.came == [("detection", False)], "before anything is closed"
    assert piped.report() == {}
    live = Dispatch(control, console, live=True)
    assert set(live.report()) == {"stdout"}
    live.close(LIMIT_S)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"jsonl.path": "/nowhere/events.jsonl"}, "jsonl.path=/nowhere/events.jsonl: cannot be written"),
        ({"jsonl.path": "/"}, "cannot be written"),
        ({"hook.command": "/nowhere/lamp"}, "no program '/nowhere/lamp'"),
        ({"mqtt.host": "tcp://broker"}, 'write mqtt.host = "broker"'),
        ({"mqtt.host": "broker", "mqtt.username": "anna", "mqtt.password_file": "/nowhere"}, "cannot be read"),
        (
            {"journal.enabled": True, "journal.folder": "/dev/null/wakes"},
            "journal.folder: /dev/null/wakes cannot be written",
        ),
        ({"metrics.port": 9105, "metrics.address": "192.0.2.1"}, "metrics: 192.0.2.1:9105: "),
        ({"wyoming.uris": "unix:///proc/earmark/s"}, "wyoming: /proc/earmark/s: "),
    ],
)
def test_a_reload_gives_up_no_sink_for_one_that_cannot_work(flags: dict[str, Any], text: str) -> None:
    """At the start the same one is made, so that it does not keep the others from working."""
    control: Any = SimpleNamespace(stats=Stats(), household=None)
    outlets: Any = Dispatch(control, cast(ConsoleSink, Recorder("events")), live=True)
    wanted = load(None, {}, {"socket.path": "", **flags}).settings
    assert len(outlets.prepare(wanted)) == 1
    with pytest.raises(EarmarkError, match=re.escape(text)):
        outlets.prepare(wanted, Settings())
    outlets.close()

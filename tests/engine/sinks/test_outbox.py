"""A sink's queue and thread, without a clock: what is counted, what is dropped, and how it is tried again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from earmark.engine.event import Event
from earmark.engine.sinks import base
from earmark.engine.sinks.base import Notice, Outbox, Sink
from earmark.engine.sinks.stats import Stats

NOTICE = Notice(Event("detection", "okay_nabu", 16_000, 0.9, "anna", 0.8, "known_voice"), "mic", 1e9)
LIMIT_S = 60  # of waiting for a thread: it hangs


class Scripted:
    """Instead of a queue: gives what the test wrote down, and at its end the end.

    Args:
        script: what `get` gives in order; `queue.Empty` where nothing came in time.
    """

    def __init__(self, *script: object) -> None:
        self._script = iter(script)
        self.waited_s: list[float | None] = []
        """How long each `get` would have waited."""

    def get(self, timeout: float | None) -> Notice | None:
        self.waited_s.append(timeout)
        given: Any = next(self._script, None)
        if given is queue.Empty:
            raise queue.Empty
        taken: Notice | None = given
        return taken


class Recorder(Sink):
    """Writes down what it is told to do; fails where the test says so."""

    name = "recorder"

    def __init__(self, fails: Callable[[str, int], bool] = lambda _what, _number: False) -> None:
        self.calls: list[str] = []
        self._fails = fails

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self._fails(what, self.calls.count(what)):
            raise OSError(f"{what} {self.calls.count(what)}")

    def open(self) -> None:
        self._called("open")

    def send(self, notice: Notice) -> None:
        assert notice is NOTICE
        self._called("send")

    def idle(self) -> None:
        self._called("idle")

    def close(self) -> None:
        self._called("close")


Run = Callable[..., "tuple[Scripted, Stats, Outbox]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an outbox to the end of a script."""

    def outbox(sink: Sink, *script: object) -> tuple[Scripted, Stats, Outbox]:
        scripted, stats = Scripted(*script), Stats()
        stand_in = SimpleNamespace(Queue=lambda _size: scripted, Empty=queue.Empty, Full=queue.Full)
        monkeypatch.setattr(base, "queue", stand_in)
        box = Outbox(sink, stats)
        box.join(LIMIT_S)
        return scripted, stats, box

    return outbox


# --- trying again


def test_a_sink_that_cannot_be_opened_is_tried_after_one_second_and_then_ever_more_rarely(run: Run) -> None:
    sink = Recorder(lambda what, _number: what == "open")
    scripted, stats, box = run(sink, *[queue.Empty] * 8)
    assert scripted.waited_s == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert sink.calls == ["open"] * 9, "and what was never open is not closed"
    assert stats.total("failed", sink="recorder") == 9
    assert str(box.failure) == "open 9"


def test_from_when_it_is_open_it_waits_for_notices_and_is_idle_as_it_wants(run: Run) -> None:
    sink = Recorder(lambda what, number: what == "open" and number < 3)
    sink.idle_s = 5.5
    scripted, _, box = run(sink, queue.Empty, queue.Empty, queue.Empty, queue.Empty)
    assert scripted.waited_s == [1, 2, 5.5, 5.5, 5.5]
    assert sink.calls == ["open"] * 3 + ["idle"] * 2 + ["close"]
    assert box.failure is None


def test_a_sink_that_is_never_idle_waits_for_ever(run: Run) -> None:
    scripted, _, _ = run(Recorder(), NOTICE)
    assert scripted.waited_s == [None, None]


def test_what_comes_while_it_is_not_open_is_lost_and_counted_and_brings_no_new_try(run: Run) -> None:
    sink = Recorder(lambda what, number: what == "open" and number < 2)
    scripted, stats, _ = run(sink, NOTICE, NOTICE, queue.Empty, NOTICE)
    assert scripted.waited_s[:3] == [1, 1, 1]
    assert sink.calls == ["open", "open", "send", "close"]
    assert (stats.total("failed", sink="recorder"), stats.total("sent", sink="recorder")) == (3, 1)


def test_a_notice_that_fails_is_counted_and_the_next_one_comes_all_the_same(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Recorder(lambda what, number: what == "send" and number == 1)
    _, stats, box = run(sink, NOTICE, NOTICE)
    assert sink.calls == ["open", "send", "send", "close"]
    assert (stats.total("failed", sink="recorder"), stats.total("sent", sink="recorder")) == (1, 1)
    assert box.failure is None
    assert [record.getMessage() for record in caplog.records] == ["sink recorder: send failed: send 1"]


def test_the_same_failure_is_said_once(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Recorder):
        def send(self, _notice: Notice) -> None:
            raise OSError("no broker")

    _, stats, _ = run(Stubborn(), NOTICE, NOTICE, NOTICE)
    assert stats.total("failed", sink="recorder") == 3
    assert len(caplog.records) == 1


# --- what its user is told


class Silent(Recorder):
    """Fails, and does not say why, as a time limit does."""

    def send(self, _notice: Notice) -> None:
        raise TimeoutError

    def close(self) -> None:
        raise TimeoutError


def test_a_failure_without_a_text_shows_its_type(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    _, _, box = run(Silent(), NOTICE, NOTICE)
    assert [record.getMessage() for record in caplog.records] == ["sink recorder: send failed: TimeoutError"]
    assert box.fault == "TimeoutError"


def test_another_failure_without_a_text_is_said_too(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Twice(Recorder):
        def send(self, _notice: Notice) -> None:
            self._called("send")
            raise TimeoutError if self.calls.count("send") == 1 else InterruptedError

    run(Twice(), NOTICE, NOTICE)
    assert [record.getMessage()[-16:] for record in caplog.records] == ["ed: TimeoutError", "InterruptedError"]


def test_a_sink_is_without_a_fault_only_when_it_is_open() -> None:
    begun = threading.Event()

    class Slow(Recorder):
        def open(self) -> None:
            assert begun.wait(LIMIT_S)

    box = Outbox(Slow(), Stats())
    assert box.fault == "not open yet"
    begun.set()
    box.ask_to_close()
    box.join(LIMIT_S)
    assert box.fault is None


def test_a_fault_that_the_sink_knows_itself_comes_first(run: Run) -> None:
    sink = Recorder(lambda what, _number: what == "close")
    _, _, box = run(sink)
    assert box.fault == "close 1"
    sink.fault = "not connected"
    assert box.fault == "not connected"


# --- a queue that is full


class Stuck(Recorder):
    """Its first notice takes until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()

    def send(self, notice: Notice) -> None:
        self.begun.set()
        assert self.released.wait(LIMIT_S)
        super().send(notice)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    sink = Stuck()
    yield sink
    sink.released.set()


def test_a_stuck_sink_has_sixty_four_waiting_and_the_rest_is_dropped_and_said_once(
    stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    stats = Stats()
    box = Outbox(stuck, stats)
    box.put(NOTICE)
    assert stuck.begun.wait(LIMIT_S)
    for _ in range(64):
        box.put(NOTICE)
    assert (box.depth, stats.total("dropped", sink="recorder")) == (64, 0)
    box.put(NOTICE)
    box.put(NOTICE)
    assert stats.total("dropped", sink="recorder") == 2
    assert [record.getMessage() for record in caplog.records] == ["sink recorder is stuck: events are dropped"]
    assert box.fault == "stuck: events are dropped"
    box.ask_to_close()
    assert "64 events are lost" in caplog.text
    box.join(0)


def test_closing_sends_what_waits_first() -> None:
    sink, stats = Recorder(), Stats()
    box = Outbox(sink, stats)
    for _ in range(10):
        box.put(NOTICE)
    box.ask_to_close()
    box.join(LIMIT_S)
    assert sink.calls == ["open", *["send"] * 10, "close"]
    assert stats.total("sent", sink="recorder") == 10

"""Enrolment from a page, by the browser's microphone and by the daemon's: the real session in its own process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Read, Takes
from helpers_store import environment
from live import Live
from serving_page import Served, Visitor, frame, frames
from sound_server import until

from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.people.store import PersonStore
from earmark.enroll.web.house import Wanted

pytestmark = pytest.mark.slow

PIECE = RATE_HZ // 10
ROOM_RMS = 8.0  # −72 dBFS
AHEAD = 8  # tenths of a second that nobody has heard yet: the session counts samples, and hears as fast as it can
PATIENCE_S = 0.1  # until one more is sent all the same: what is not listened to is never told as heard


class Person:
    """Somebody in a room before a microphone: there is always noise, and a take at each "now".

    Args:
        send: gives the microphone a tenth of a second.
        takes: said one after the other.
    """

    def __init__(self, send: Callable[[Int16], None], takes: list[Int16]) -> None:
        self._send, self._takes = send, takes
        self._rng, self._lock = np.random.default_rng(0), threading.Lock()
        self._saying = self._said = np.zeros(0, np.int16)
        self._is_over, self._ahead = threading.Event(), threading.Semaphore(AHEAD)
        self._thread = threading.Thread(target=self._be_there, daemon=True)
        self._thread.start()

    def speak(self) -> None:
        """Says the next take."""
        with self._lock:
            pause = np.zeros(3 * PIECE, np.int16)
            self._said = self._takes.pop(0)
            self._saying = np.concatenate([self._saying, pause, self._said])

    def say_it_again(self) -> None:
        """Whoever was too late for the microphone says the same next; silence is not repeated."""
        if self._said.any():
            self._takes.insert(0, self._said)

    def was_heard(self) -> None:
        """A tenth of a second more was listened to."""
        self._ahead.release()

    def leave(self) -> None:
        """No more sound."""
        self._is_over.set()
        self._thread.join()

    def _be_there(self) -> None:
        while not self._is_over.is_set():
            self._ahead.acquire(timeout=PATIENCE_S)
            piece = self._rng.standard_normal(PIECE) * ROOM_RMS
            with self._lock:
                said, self._saying = self._saying[:PIECE], self._saying[PIECE:]
            piece[: len(said)] += said
            try:
                self._send(np.clip(np.rint(piece), -32_768, 32_767).astype(np.int16))
            except OSError:
                return


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def said(takes: Takes, read: Read) -> list[Int16]:
    return [read(path) for path in takes("slt", "okay_nabu", "enroll")]


class Page:
    """One end of a WebSocket, at which two may speak at once: the person and the microphone."""

    def __init__(self, visitor: Visitor) -> None:
        status, self.connection = visitor.shake_hands("/enrol/talk")
        assert status == 101
        self.connection.settimeout(120)
        self._lock = threading.Lock()
        self.told = frames(self.connection, self._send)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def say(self, content: object) -> None:
        """A message."""
        self._send(frame(json.dumps(content).encode()))

    def hear(self, piece: Int16) -> None:
        """What the browser's microphone gives."""
        self._send(frame(piece.tobytes(), 2))

    def _send(self, content: bytes) -> None:
        with self._lock:
            self.connection.sendall(content)


def begin(visitor: Visitor, rate_hz: int, name: str = "anna") -> Page:
    page = Page(visitor)
    page.say({"name": name, "keyword": "okay_nabu", "rate_hz": rate_hz})
    return page


def lead(page: Page, person: Person, stop_after: int = 99) -> list[dict[str, Any]]:
    """Does what the page asks for, until it is over, or so many takes are good; what it said but for levels."""
    heard = []
    for message in page.told:
        if message["type"] == "level":
            person.was_heard()
            continue
        heard.append(message)
        if message["type"] == "now":
            person.speak()
        elif message["type"] == "verdict" and message["reason"] in ("nothing_said", "cut_off"):
            person.say_it_again()
        elif message["type"] == "ask":
            page.say({"answer": "yes" if message["what"] in ("go_on", "microphone") else "no"})
        elif message["type"] in ("done", "refused", "error", "taken"):
            break
        if sum(one["type"] == "verdict" and one["reason"] == "take" for one in heard) >= stop_after:
            break
    return heard


def is_over(served: Served, visitor: Visitor) -> bool:
    """Whether somebody else may begin: what cannot be a name is refused for that then."""
    served.now_s += 1000  # whatever was asked before is forgiven
    with begin(visitor, RATE_HZ, "unknown") as page:
        return bool(next(page.told)["type"] != "taken")


def test_a_voice_is_learned_through_the_browser_broken_off_and_gone_on_with(
    served: Served, said: list[Int16], tmp_path: Path
) -> None:
    visitor = served.log_in()

    def through(stop_after: int, sounds: list[Int16]) -> list[dict[str, Any]]:
        with begin(visitor, RATE_HZ) as page:
            person = Person(page.hear, list(sounds))
            try:
                return lead(page, person, stop_after)
            finally:
                person.leave()

    first = through(2, [np.zeros(PIECE, np.int16), *said[:2]])
    kinds = [(one["type"], one.get("reason")) for one in first]
    assert kinds[:3] == [("begin", None), ("room", None), ("verdict", "quiet")]
    assert ("verdict", "nothing_said") in kinds, "nobody spoke at first: it is asked for again"
    until(lambda: is_over(served, visitor), "the session has ended, and kept what was good", 120)
    assert not (tmp_path / "people").exists()

    second = through(99, said[2:])
    assert [one["takes"] for one in second if one["type"] == "facts"] == [2]
    asked = [one["what"] for one in second if one["type"] == "ask"]
    assert [what for what in asked if what != "microphone"] == ["go_on", "others"]
    done = second[-1]
    assert done["type"] == "done", done
    assert (done["name"], done["alike"], done["one_in"]) == ("anna", [], 100)
    assert 85 <= done["heard"] <= 99
    assert len(done["picture"]["own"]) == 5
    person = PersonStore(tmp_path / "people").load("anna", "okay_nabu")
    assert len(person.takes) == 5
    text = json.dumps(second)
    for value in person.takes.ravel()[:100]:
        assert f"{float(value):.4f}" not in text, "no value of an embedding is sent to a browser"
    assert "About" in visitor.page("/person?name=anna")
    assert [line["what"] for line in served.house.audit.lines(9)].count("enrol") == 2


def test_a_voice_is_learned_through_the_daemons_own_microphone(
    served: Served, said: list[Int16], tmp_path: Path
) -> None:
    """By its socket, while it listens: no sound card has to serve two."""
    arguments = ("-", "--store", tmp_path / "people", "--set", f"socket.path={tmp_path / 's'}")
    with Live(*arguments, env=environment(XDG_STATE_HOME=str(tmp_path / "state"))) as daemon:
        daemon.says("listening to -")
        with begin(served.log_in(), 0) as page:
            person = Person(lambda piece: daemon.feed(piece.tobytes()), list(said))
            try:
                done = lead(page, person)[-1]
            finally:
                person.leave()
        assert (done["type"], done["name"]) == ("done", "anna"), done
        assert daemon.stop().code == 0
    assert PersonStore(tmp_path / "people").keywords("anna") == ["okay_nabu"]


def test_without_a_daemon_its_microphone_is_refused_with_what_to_do(served: Served) -> None:
    with begin(served.log_in(), 0) as page:
        last = next(one for one in page.told if one["type"] in ("error", "done"))
    assert "use the browser's microphone" in last["text"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "unknown", "keyword": "okay_nabu", "rate_hz": 16_000},
        {"name": "anna", "keyword": "/etc/passwd", "rate_hz": 16_000},
        {"name": "anna", "keyword": "okay_nabu", "rate_hz": 1},
        {"name": 5, "keyword": "okay_nabu", "rate_hz": 16_000},
        {"keyword": "okay_nabu"},
        [],
    ],
)
def test_what_cannot_be_enrolled_is_refused_at_once(served: Served, wanted: object) -> None:
    with Page(served.log_in()) as page:
        page.say(wanted)
        assert next(page.told)["type"] == "error"


def test_one_person_enrols_at_a_time(served: Served) -> None:
    visitor = served.log_in()
    with begin(visitor, RATE_HZ) as page:
        assert next(page.told)["type"] == "begin"
        with begin(visitor, RATE_HZ, "ben") as second:
            assert next(second.told)["type"] == "taken"


def test_what_is_wanted_fits_one_argument_of_a_program() -> None:
    assert json.dumps(vars(Wanted("a" * 200, "okay_nabu", "/x", []))).isascii()

"""What an enrolment from the page hears and is told: standard input, the browser's microphone, the daemon's."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from earmark.engine.audio.samples import FULL_SCALE, AudioFormat, Converter, Int16
from earmark.engine.audio.sources import Source
from earmark.engine.errors import DeviceError, InputError, text_of

POLL_S = 0.05  # as a microphone is asked
MOST_PIECES = 300  # of a tenth of a second or more: what came before nobody will want


class Lines:
    """Standard input: answers, and the sound of a browser's microphone; read as it comes, whatever else is done."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor, self._ended = descriptor, False
        self._answers: deque[str] = deque()
        self._sound: deque[Int16] = deque(maxlen=MOST_PIECES)
        self._converters: dict[int, Converter] = {}
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def look(self, wait_s: float) -> None:
        """Waits until something has come, but no longer.

        Raises:
            InputError: the page was closed.
        """
        with self._news:
            if not (self._ended or self._answers or self._sound):
                self._news.wait(wait_s)
            if self._ended:
                raise InputError("the page was closed")

    def answer(self) -> str | None:
        """The next one that is there."""
        with self._news:
            return self._answers.popleft() if self._answers else None

    def sound(self) -> Int16:
        """What came of the browser's microphone since the last look."""
        with self._news:
            found: Int16 = np.concatenate([np.zeros(0, np.int16), *self._sound])
            self._sound.clear()
            return found

    def _read(self) -> None:
        try:
            with open(self._descriptor, "rb", closefd=False) as lines:
                for line in lines:
                    self._take(json.loads(line))
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _take(self, told: Mapping[str, Any]) -> None:
        with self._news:
            if told["type"] == "sound":
                self._hear(int(told["rate_hz"]), base64.b64decode(told["pcm"]))
            elif told["type"] == "answer":
                self._answers.append(str(told["answer"]))
            self._news.notify_all()

    def _hear(self, rate_hz: int, pcm: bytes) -> None:
        if rate_hz not in self._converters:
            self._converters[rate_hz] = Converter(AudioFormat(rate_hz=rate_hz, channels=1))
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / FULL_SCALE
        self._sound.append(self._converters[rate_hz].push(samples[:, None]))


class BrowserSource(Source):
    """The microphone of the browser."""

    name = "browser"

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def skip(self) -> None:
        """What was not fetched yet is not heard."""
        self._lines.sound()

    def _pieces(self) -> Iterator[Int16 | None]:
        while True:
            self._lines.look(POLL_S)
            samples = self._lines.sound()
            yield samples if len(samples) else None


class DaemonSource(Source):
    """The daemon's own microphone, as its socket gives it: no sound card has to serve two.

    It is read in a thread, for the daemon cuts off who does not read, and a take is worked on for seconds.

    Args:
        places: where the socket may be.
        lines: looked at meanwhile, so that a page that was closed ends it.

    Raises:
        DeviceError: no daemon gives its sound.
    """

    name = "daemon"

    def __init__(self, places: list[str], lines: Lines) -> None:
        self._lines = lines
        self._connection = _connected(places)
        self._connection.sendall(b"follow sound\n")
        self._sound: deque[Int16] = deque(maxlen=MOST_PIECES)
        self._news, self._why = threading.Condition(), ""
        threading.Thread(target=self._read, daemon=True).start()

    def skip(self) -> None:
        """What was not fetched yet is not heard."""
        with self._news:
            self._sound.clear()

    def close(self) -> None:
        """The daemon has one client less."""
        with contextlib.suppress(OSError):  # it has hung up already
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _pieces(self) -> Iterator[Int16 | None]:
        while True:
            self._lines.look(0)
            with self._news:
                if not self._sound and not self._why:
                    self._news.wait(POLL_S)
                if self._why:
                    raise DeviceError(self._why)
                found, self._sound = [*self._sound], deque(maxlen=MOST_PIECES)
            yield np.concatenate(found) if found else None

    def _read(self) -> None:
        why = "the daemon went away"
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    told = json.loads(line)
                    if told["type"] == "error":
                        why = str(told["text"])
                        break
                    if told["type"] == "level":
                        with self._news:
                            pcm = base64.b64decode(told["pcm"])
                            self._sound.append(np.frombuffer(pcm, "<i2").astype(np.int16))
                            self._news.notify_all()
        except (OSError, ValueError) as error:
            why = f"the daemon went away: {text_of(error)}"
        with self._news:
            self._why = why
            self._news.notify_all()


def _connected(places: list[str]) -> socket.socket:
    for place in places:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(place)
        except OSError:
            connection.close()
        else:
            return connection
    raise DeviceError(
        "no daemon answers, so its microphone cannot be heard: start it, or use the browser's microphone"
    )

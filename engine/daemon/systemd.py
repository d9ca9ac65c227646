"""What a service manager is told, by the protocol of sd_notify(3): datagrams to the socket that it names."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

from ..errors import text_of

_LOG = logging.getLogger(__name__)


class Notifier:
    """Does nothing where no service manager asked.

    Args:
        environment: `NOTIFY_SOCKET` (a path, or `@` and an abstract name), `WATCHDOG_USEC` and `WATCHDOG_PID`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.managed = bool(address)
        """Whether somebody is told."""
        watchdog = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # half of it, as sd_watchdog_enabled(3) recommends
        self._watchdog_s = int(watchdog) / 2e6 if watchdog.isdecimal() and is_ours and int(watchdog) else None
        self._fed_s = float("-inf")
        self._heard = self._ready = self._reloading = False
        self._alive = False
        self._status = ""
        self._deaf = False

    def audio(self) -> None:
        """Audio has just flowed: the service is ready, and alive."""
        self._heard = True
        self._live()

    def waiting(self) -> None:
        """It has all but a microphone, and waits for one: ready too, so that nothing at boot waits for it.

        From the first audio on only audio shows that it is alive, so that a microphone that is lost gets one restart.
        """
        if not self._heard:
            self._live()

    def _live(self) -> None:
        self._alive = True  # first, for the keeper's thread asks for it
        if not self._ready:
            self._ready = self.tell("READY=1")
        now_s = time.monotonic()
        if self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s and self.tell("WATCHDOG=1"):
            self._fed_s = now_s

    def status(self, text: str) -> bool:
        """One line for `systemctl status`, sent when it changes; whether it is the one that is shown now."""
        text = " ".join(text.splitlines())  # what follows a line's end would be a message of its own
        if text != self._status and self.tell(f"STATUS={text}"):
            self._status = text
        return text == self._status

    def reloading(self) -> None:
        """Between this and `reloaded` the service manager waits; one that still waits for READY is not told."""
        if self._alive:
            self._reloading = self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Ready again; where that cannot be said now, the next audio says it."""
        if self._reloading:
            self._reloading = False
            self._ready = self.tell("READY=1")

    def stopping(self) -> None:
        """The last word."""
        self.tell("STOPPING=1")

    def tell(self, message: str) -> bool:
        """One datagram, without waiting; whether it was taken. The first failure is logged: the detector goes on."""
        if not self.managed:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
                connection.sendto(message.encode(errors="backslashreplace"), self._address)
        except OSError as error:
            if not self._deaf:
                _LOG.warning("the service manager cannot be told %r: %s", message, text_of(error))
            self._deaf = True
            return False
        self._deaf = False
        return True

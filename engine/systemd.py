"""What a service manager is told, by the protocol of sd_notify(3): datagrams to the socket that it names."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping

_LOG = logging.getLogger(__name__)


class Notifier:
    """Does nothing where no service manager asked.

    Args:
        environment: `NOTIFY_SOCKET` (a path, or `@` and an abstract name) and `WATCHDOG_USEC`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.managed = bool(address)
        """Whether somebody is told."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket:
            self._socket.setblocking(False)
        watchdog = environment.get("WATCHDOG_USEC", "")
        # half of it, as sd_watchdog_enabled(3) recommends
        self._watchdog_s = int(watchdog) / 2e6 if watchdog.isdigit() and int(watchdog) else None
        self._fed_s = float("-inf")
        self._ready = False
        self._status = ""

    def audio(self) -> None:
        """Audio has just flowed: the service is ready, and alive."""
        if not self._ready:
            self._ready = True
            self.tell("READY=1")
        now_s = time.monotonic()
        if self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s:
            self._fed_s = now_s
            self.tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, sent when it changes."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")

    def reloading(self) -> None:
        """Between this and `reloaded` the service manager waits."""
        self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Ready again, if it was."""
        if self._ready:
            self.tell("READY=1")

    def stopping(self) -> None:
        """The last word."""
        self.tell("STOPPING=1")

    def tell(self, message: str) -> None:
        """One datagram; that nobody takes it is logged, for the detector goes on without."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            _LOG.warning("the service manager cannot be told %r: %s", message, error)

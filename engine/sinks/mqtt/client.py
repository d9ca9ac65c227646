"""A client of MQTT that keeps no message larger than ours can be.

paho-mqtt collects a whole message before anybody may look at it, and the protocol allows 256 MB: whoever may publish
to a topic that is read here could end a daemon that may have 512 MB. There is no setting for it, so what is read from
the connection is looked at. Nor are there limits for how many it keeps, of what came and of what waits to be sent: a
broker that uses that is left.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho

MOST_BYTES = 16 * 1024  # of a message with its topic, which has up to 1,000; the longest that means something has 24
PIECE_BYTES = 64 * 1024
MOST_WAITING = 1000  # messages of ours: each command has three answers, and a broker reads thousands a second
_QOS = 0x06  # the bits of it in a header; we subscribe to everything with QoS 0
_PINGRESP = 0xD0  # a message without content, after which nothing happens


class LimitedClient(paho.Client):
    """Reads what is too large and drops it: the connection stays, and so does what comes behind.

    What is dropped is not confirmed, so subscriptions are to have QoS 0.
    """

    def _handle_publish(self) -> Any:
        """What nobody asked for in this way ends the connection: paho keeps messages of QoS 2 without limit."""
        if self._in_packet["command"] & _QOS:
            return paho.MQTT_ERR_PROTOCOL
        return super()._handle_publish()

    def _packet_queue(self, *arguments: Any, **more: Any) -> Any:
        """What waits to be sent to a broker that does not read has no limit of its own either."""
        result = super()._packet_queue(*arguments, **more)
        connection: Any = self.socket()
        if len(self._out_packet) > MOST_WAITING and connection is not None:
            with contextlib.suppress(OSError):  # it is gone
                connection.shutdown(socket.SHUT_RDWR)  # which the loop notices; the next connection begins anew
        return result

    on_too_large: Callable[[int], None] | None = None
    """Called with the size of what was dropped, in bytes."""

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho reads with; it asks for all that a message lacks, and adds up what it gets."""
        packet: Any = self._in_packet
        if not packet["have_remaining"] or packet["remaining_length"] <= MOST_BYTES:
            return super()._sock_recv(bufsize)
        content = super()._sock_recv(min(bufsize, PIECE_BYTES))
        if not content or len(content) < packet["to_process"]:
            packet["to_process"] -= len(content)
            if not content:
                return content
            self._last_bytes_received, self._ping_t = time.monotonic(), 0.0  # it lives, and answers pings afterwards
            raise BlockingIOError  # nothing to add up; paho comes back for the rest
        size_bytes = packet["remaining_length"]
        packet["command"], packet["remaining_length"], packet["to_process"] = _PINGRESP, 0, len(content)
        if self.on_too_large is not None:
            self.on_too_large(size_bytes)
        return content


def at_once(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Small messages are sent when they are there: else the second of two waits until the first is confirmed."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

"""What a peer in the network and a user of the broker may try."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from attacking import attack
from paho.mqtt.enums import CallbackAPIVersion

from earmark.engine.sinks.mqtt.client import LimitedClient
from earmark.engine.sinks.peers import AHEAD_S, EVENTS, EVENTS_A_SECOND, FACTOR, Bucket, Held, Peer, who_gives_way

MINUTE_S = 60.0
MESSAGE_BYTES = 256 * 1024 * 1024 - 1  # the largest that the protocol knows


@attack("network peer", "silent and greedy connections that take all places", cases=64, few=64)
def connections_that_take_all_places(_work: Path, cases: int) -> Iterator[str]:
    """Home Assistant comes when all 32 places are taken by one address, which speaks or is silent."""
    for number in range(1, cases + 1):
        one = Held("10.0.0.66", 0.0 if number % 2 else float(number + 30))
        many = [Held(f"10.0.0.{n}", 0.0) for n in range(32)]
        places = {
            "one address": who_gives_way([one] * 32, "192.168.1.2", False, 32, 30.0),
            "many addresses": who_gives_way(many, "192.168.1.2", True, 32, 30.0),
        }
        yield ", ".join(f"{number}: shut out by {who}" for who, place in places.items() if place is None)


@attack("network peer", "wakes without end, to fill journal and queue", cases=45, few=45)
def wakes_without_end(_work: Path, cases: int) -> Iterator[str]:
    """23 a second, as fast audio makes them; each second is a case."""
    peer, told = Peer(), 0
    for second in range(cases):
        told += sum(peer.may_tell(1000.0 + second) for _ in range(23))
        yield "" if told <= EVENTS + 1 + EVENTS_A_SECOND * second else f"{told} after {second} s"


@attack("network peer", "one voice after another, to find one that is known", cases=60, few=60)
def voices_one_after_another(_work: Path, cases: int) -> Iterator[str]:
    """34 a second; each minute is a case."""
    peer, judged = Peer(), 0
    for minute in range(cases):
        for n in range(34 * 60):
            now_s = 1000.0 + MINUTE_S * minute + n / 34
            if not peer.locked_s(now_s):
                judged += 1
                peer.rejected(now_s)
        yield "" if judged <= 25 * (minute + 1) else f"{judged} after {minute + 1} min"


@attack("network peer", "audio that is faster than time", cases=600, few=600)
def audio_faster_than_time(_work: Path, cases: int) -> Iterator[str]:
    """Who sends as fast as he may; each second of it is a case."""
    bucket, now_s = Bucket(AHEAD_S, FACTOR), 1000.0
    for second in range(1, cases + 1):
        now_s += bucket.owe(1.0, now_s)
        yield "" if second <= AHEAD_S + FACTOR * (now_s - 1000.0) + 1e-6 else f"{second} s in {now_s - 1000:g} s"


class Endless:
    """A connection with one message of any size, of which nothing is kept."""

    def __init__(self, size_bytes: int) -> None:
        length, rest = b"", size_bytes
        while rest:
            length += bytes([rest % 128 | (128 if rest > 127 else 0)])
            rest //= 128
        self._head, self._left = b"\x30" + length, size_bytes

    def recv(self, most: int) -> bytes:
        if self._head:
            piece, self._head = self._head[:most], self._head[most:]
            return piece
        if not self._left:
            raise BlockingIOError
        piece = bytes(min(most, self._left))
        self._left -= len(piece)
        return piece


@attack("broker user", "the largest message that MQTT knows, to a topic that is read", cases=4, few=1)
def messages_of_256_mb(_work: Path, cases: int) -> Iterator[str]:
    for _ in range(cases):
        dropped: list[int] = []
        client = LimitedClient(CallbackAPIVersion.VERSION2, "attack")
        client.on_too_large = dropped.append
        client._sock = cast(Any, Endless(MESSAGE_BYTES))
        tracemalloc.start()
        try:
            while not dropped:
                client._packet_read()
            used = tracemalloc.get_traced_memory()[1]
            yield "" if used < 10_000_000 else f"{used} bytes of memory"
        finally:
            tracemalloc.stop()
            client._sock = None  # it would close it

"""How much an address may do: nobody who reaches the port has shown who it is.

A peer is an address of IPv4, a network of 64 bits of IPv6, which is what one machine may choose from, or all who use
the Unix sockets. Home Assistant is one peer whatever number of satellites stands behind it, so what counts by peer is
generous, and what a stream alone may do is not.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import SettingsError

UNIX = "unix"
MOST_PEERS = 1024  # that are remembered; who has been silent for longest is forgotten
EVENTS, EVENTS_A_SECOND = 30.0, 0.5  # passed on: a household with ten satellites that all hear each word has a tenth
REJECTIONS, REJECTIONS_A_SECOND = 20.0, 1 / 3  # voices that nobody knows: a party of strangers has a few a minute
LOCKOUT_S, LONGEST_LOCKOUT_S = 60.0, 900.0  # doubled from one to the other
FORGIVEN_S = 3600.0  # so long after the last lockout the next one is a first one again
# Read from it: 32 satellites (`wyoming.clients`) behind one address, with chunks of 16 ms
READS, READS_A_SECOND = 4000.0, 2000.0
AHEAD_S, FACTOR = 10.0, 1.25  # a stream may be so far ahead of its time, and a quarter faster: a bad network


class Bucket:
    """Of tokens: `burst` at once, then so many a second. Time is what the caller says it is."""

    def __init__(self, burst: float, a_second: float) -> None:
        self._burst, self._a_second = burst, a_second
        self._tokens, self._seen_s = burst, 0.0

    def take(self, amount: float, now_s: float) -> bool:
        """Whether there was so much; only then it is gone."""
        self._refill(now_s)
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def owe(self, amount: float, now_s: float) -> float:
        """Takes it, and returns how many seconds to wait until it will have been there."""
        self._refill(now_s)
        self._tokens -= amount
        return max(0.0, -self._tokens / self._a_second)

    def _refill(self, now_s: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._seen_s) * self._a_second)
        self._seen_s = max(self._seen_s, now_s)


class Peer:
    """What one of them has done."""

    def __init__(self) -> None:
        self._events = Bucket(EVENTS, EVENTS_A_SECOND)
        self._rejections = Bucket(REJECTIONS, REJECTIONS_A_SECOND)
        self._reads = Bucket(READS, READS_A_SECOND)
        self._locked_until_s = 0.0
        self._lockout_s = LOCKOUT_S

    def may_tell(self, now_s: float) -> bool:
        """Whether one event more of it is passed on."""
        return self._events.take(1, now_s)

    def read(self, now_s: float) -> float:
        """One message more has been read; for how many seconds the next one is to wait."""
        return self._reads.owe(1, now_s)

    def rejected(self, now_s: float) -> bool:
        """A voice that nobody knows; whether that was one too many: it is locked out from now on."""
        if self._rejections.take(1, now_s):
            return False
        if now_s - self._locked_until_s > FORGIVEN_S:
            self._lockout_s = LOCKOUT_S
        self._locked_until_s = now_s + self._lockout_s
        self._lockout_s = min(2 * self._lockout_s, LONGEST_LOCKOUT_S)
        return True

    def locked_s(self, now_s: float) -> float:
        """How long it is locked out yet; 0: it is not."""
        return max(0.0, self._locked_until_s - now_s)


class Peers:
    """All of them, those that were seen last."""

    def __init__(self) -> None:
        self._peers: OrderedDict[str, Peer] = OrderedDict()

    def of(self, host: str) -> Peer:
        """The one of an address; a new one is made."""
        name = peer_of(host)
        self._peers.setdefault(name, Peer())
        self._peers.move_to_end(name)
        if len(self._peers) > MOST_PEERS:
            self._peers.popitem(last=False)
        return self._peers[name]


def peer_of(host: str) -> str:
    """The name of the peer that an address belongs to."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host if address is None else str(address)


def host_of(address: str) -> str:
    """HOST:PORT, [HOST]:PORT or `unix` -> the host, without brackets."""
    return address.rpartition(":")[0].strip("[]") or address


class Allowed:
    """A list of addresses and networks, as the settings have it.

    Args:
        key: of the settings, for messages.
        texts: `192.168.1.5`, `192.168.1.0/24`, `fd00::/8`, or `unix`.

    Raises:
        SettingsError: one is none of these.
    """

    def __init__(self, key: str, texts: Iterable[str]) -> None:
        self._networks = []
        self._unix = False
        for text in texts:
            if text == UNIX:
                self._unix = True
                continue
            try:
                self._networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError as error:
                raise SettingsError(
                    f"{key}={text!r} must be an address or a network, as 192.168.1.5 or 192.168.1.0/24, or unix"
                ) from error

    def __contains__(self, host: object) -> bool:
        if host == UNIX:
            return self._unix
        address = _address(str(host))
        return address is not None and any(address in network for network in self._networks)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """As a number, without the zone of a link-local one; IPv4 inside IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Held(NamedTuple):
    """A place that somebody has."""

    peer: str
    silent_s: float
    """For how long nothing has been heard of it."""
    trusted: bool = False


def who_gives_way(held: Sequence[Held], newcomer: str, trusted: bool, most: int, enough_s: float) -> int | None:
    """Whose place a newcomer gets where all are taken.

    The one that has been silent for longest, and long enough; of these one of the peer that has most. Where none has
    been, anybody who is not trusted gives way to who is. Else one of a peer that holds more than half of all places,
    unless it is the newcomer's own. Who is trusted gives way to nobody who is not.

    Args:
        held: the places.
        newcomer: the peer of the new one.
        trusted: whether it is.
        most: how many places there are.
        enough_s: who has been silent for so long gives way.

    Returns:
        The index of the place; None: the newcomer is turned away.
    """
    counts = Counter(one.peer for one in held)
    may = [n for n, one in enumerate(held) if trusted or not one.trusted]
    silent = [n for n in may if held[n].silent_s >= enough_s]
    lesser = [n for n in may if trusted and not held[n].trusted]
    greedy = [n for n in may if counts[held[n].peer] > most / 2 and held[n].peer != newcomer]
    return max(silent or lesser or greedy, key=lambda n: (counts[held[n].peer], held[n].silent_s), default=None)

"""TLS for the wake service: certificates, and connections that have not shown yet who they are.

Whoever connects and then says nothing holds a descriptor of the process until the handshake's time is over. So there
are only so many of those, and each peer has its share: who has most gives way to who has less, and who has as many as
the others is turned away. Whom the settings trust finds a place always, and gives way to nobody else.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from ...errors import SettingsError, text_of
from ...settings.schema import Wyoming
from ..peers import Allowed, peer_of

_LOG = logging.getLogger(__name__)

HANDSHAKE_S = 5.0
MOST_PROVING = 64  # handshakes at once; one takes some milliseconds, 64 descriptors are a sixteenth of what there are
PAUSE_S = 1.0  # where no connection can be taken

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


def context(settings: Wyoming) -> ssl.SSLContext | None:
    """What connections are encrypted with; None: they are not.

    Raises:
        SettingsError: a file cannot be used.
    """
    if not settings.tls_certificate:
        if settings.tls_key or settings.tls_clients:
            raise SettingsError("wyoming.tls_key and wyoming.tls_clients want wyoming.tls_certificate too")
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
        if settings.tls_clients:
            made.load_verify_locations(settings.tls_clients)
            made.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl's errors are some, too
        raise SettingsError(
            f"wyoming.tls_certificate, tls_key or tls_clients cannot be used: {text_of(error)}"
        ) from error
    return made


class Handshakes:
    """Takes connections, and hands over those that have shown who they are.

    Args:
        context: what they are encrypted with.
        connected: what takes those that are.
        limit: the longest line of a client, in bytes.
        refused: whether an address may not connect at all; asked before anything else.
        trusted: whose handshakes give way to each other only.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        connected: Connected,
        limit: int,
        refused: Callable[[str], bool],
        trusted: Allowed,
    ) -> None:
        self._context, self._connected, self._limit = context, connected, limit
        self._refused, self._trusted = refused, trusted
        self._proving: dict[asyncio.Task[None], str] = {}  # oldest first -> their address

    async def run(self, listening: socket.socket) -> None:
        """Until it is cancelled, which closes the socket."""
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    connection, address = await loop.sock_accept(listening)
                except OSError as error:  # gone before we came, or no descriptor is left
                    _LOG.warning("wyoming: a connection could not be taken: %s", text_of(error))
                    await asyncio.sleep(PAUSE_S)
                    continue
                await asyncio.sleep(0)  # in a flood accepting would never wait, and nobody else would have a turn
                host = address[0]
                if self._refused(host) or not self._makes_room(host):
                    connection.close()
                    continue
                task = loop.create_task(self._prove(connection))
                self._proving[task] = host
                task.add_done_callback(functools.partial(self._forget, connection))

    def _makes_room(self, host: str) -> bool:
        """Whether there is a place for one more, perhaps one that another one gives up."""
        if len(self._proving) < MOST_PROVING:
            return True
        is_trusted = host in self._trusted
        places = [(task, peer_of(one)) for task, one in self._proving.items() if one not in self._trusted]
        if not places and is_trusted:
            places = [(task, peer_of(one)) for task, one in self._proving.items()]
        held = Counter(peer for _, peer in places)
        most, count = held.most_common(1)[0] if held else ("", 0)
        if not count or (not is_trusted and count <= held[peer_of(host)] + 1):
            return False
        place = next(task for task, peer in places if peer == most)
        self._proving.pop(place)
        place.cancel()
        return True

    def _forget(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._proving.pop(task, None)
        if task.cancelled():  # perhaps before it had begun
            connection.close()

    async def _prove(self, connection: socket.socket) -> None:
        """The handshake; whoever passes it is a client like any other."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=self._limit, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._connected, loop=loop)
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, asyncio.TimeoutError) as error:  # no TLS, no certificate, gone, or too slow
            _LOG.info("wyoming: a handshake failed: %s", text_of(error))

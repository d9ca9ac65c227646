"""Says in the local network where the wake service is, by mDNS, as Home Assistant looks for it.

It may fail at any time, for there is a moment at boot without a network, and a name can be taken: then that is told,
and tried again. Where the machine has got other addresses, those are announced instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ...errors import DaemonError, text_of

_LOG = logging.getLogger(__name__)

SERVICE_TYPE = "_wyoming._tcp.local."
MACHINE_ID = Path("/etc/machine-id")
LOOK_S = 5.0  # how often is looked for other addresses; a lease or a cable changes them
GOODBYE_S = 0.2  # of the 0.3 s that a sink has to close
TRIES = 3  # with another name each, at once; then it is tried again after LOOK_S
MOST_HOST = 40  # characters; the whole name may have 63 bytes
# To whom it would speak, to see through which of its addresses. Nobody has the addresses of documentation (RFC 5737,
# RFC 3849), so the way to them is the default route; where there is none, that of mDNS may have a route.
OUTSIDE = {
    socket.AF_INET: ("192.0.2.1", "224.0.0.251"),
    socket.AF_INET6: ("2001:db8::1",),
}


class Announcement:
    """Of one service, for as long as `run` runs.

    Args:
        listening: family, host and port of each TCP socket of the service.
        tell: is told why it is not announced, or None when it is.
    """

    def __init__(self, listening: Callable[[], list[tuple[Any, ...]]], tell: Callable[[str | None], None]) -> None:
        self._listening, self._tell = listening, tell
        self._announced: tuple[int, list[str]] | None = None
        self._zeroconf: Any = None
        self._fault: str | None = None
        self._own_id: str | None = None

    async def run(self) -> None:
        """Announces, looks, announces again; does not end by itself."""
        while True:
            try:
                await self._look()
                fault = None
            except Exception as error:  # zeroconf raises what it likes; the service itself is served all the same
                fault = f"not announced: {text_of(error)}"
                if fault != self._fault:
                    _LOG.warning("wyoming: %s; it is tried again, and served all the same", fault)
            if self._fault and not fault:
                _LOG.warning("wyoming: announced at %s now", ", ".join(self._announced[1] if self._announced else ()))
            self._fault = fault
            self._tell(fault)
            await asyncio.sleep(LOOK_S)

    async def withdraw(self) -> None:
        """Says goodbye.

        Raises:
            asyncio.TimeoutError: it could not be said in time.
        """
        zeroconf, self._zeroconf, self._announced = self._zeroconf, None, None
        if zeroconf is not None:
            await asyncio.wait_for(zeroconf.async_close(), GOODBYE_S)

    async def _look(self) -> None:
        port, addresses = wanted = announced(self._listening())
        if wanted == self._announced:
            return
        with contextlib.suppress(asyncio.TimeoutError):
            await self.withdraw()
        if not addresses:
            raise DaemonError("this machine has no address in a network yet")
        import_zeroconf()
        from zeroconf import NonUniqueNameException
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        # By the interfaces of these addresses alone. Those of IPv4 are enough where there are any: for those of IPv6
        # all interfaces must be listed.
        old = [address for address in addresses if ":" not in address]
        self._zeroconf = AsyncZeroconf(interfaces=old or addresses)
        for left in reversed(range(TRIES)):
            self._own_id = own_id = self._own_id or machine_id(port)
            info = AsyncServiceInfo(
                SERVICE_TYPE,
                f"{instance_name(own_id)}.{SERVICE_TYPE}",
                addresses=[ip_address(address).packed for address in addresses],
                port=port,
                server=f"earmark-{own_id}.local.",  # not the machine's own name, which another responder looks after
            )
            try:
                await self._zeroconf.async_register_service(info)
            except NonUniqueNameException as error:
                self._own_id = secrets.token_hex(3)  # machines that were copied have the same id
                if not left:
                    raise DaemonError(f"the name {info.name} is taken") from error
            else:
                break
        self._announced = wanted


def import_zeroconf() -> None:
    """Raises DaemonError where that package is not installed."""
    try:
        import zeroconf.asyncio  # noqa: F401
    except ImportError as error:
        raise DaemonError(
            f"wyoming.zeroconf needs another package ({text_of(error)}): `pip install 'earmark[zeroconf]'`"
        ) from error


def announced(listening: list[tuple[Any, ...]]) -> tuple[int, list[str]]:
    """The port of the first TCP socket, and the addresses at which others reach it.

    An address of loopback alone is announced to this machine alone.
    """
    port = next((port for _, _, port in listening), 0)
    found = []
    for family, host, its_port in listening:
        address = own_address(family) if host in ("0.0.0.0", "::") else host
        if its_port == port and address:
            found.append(address)
    outside = [address for address in dict.fromkeys(found) if not ip_address(address).is_loopback]
    return port, outside or [address for address in dict.fromkeys(found) if address != "::1"]


def own_address(family: int) -> str | None:
    """The address through which this machine speaks to others; None: it speaks to nobody. Nothing is sent."""
    for target in OUTSIDE[socket.AddressFamily(family)]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            address: str = probe.getsockname()[0]
            if not ip_address(address).is_loopback:
                return address
    return None


def instance_name(own_id: str) -> str:
    """As people see it: with the machine's name, and an id because many machines are called `raspberrypi`."""
    host = socket.gethostname().split(".")[0][:MOST_HOST]
    return f"earmark {host} {own_id}"


def machine_id(port: int, file: Path = MACHINE_ID) -> str:
    """Six digits that are this machine's and this port's, at every start; random where the machine has no id.

    The id itself must not be told to others (machine-id(5)); a hash of it may.
    """
    try:
        text = file.read_text("ascii").strip()
    except (OSError, ValueError):
        text = ""
    if len(text) != 32 or not text.strip("0"):
        return secrets.token_hex(3)
    return hashlib.sha256(f"earmark {text} {port}".encode()).hexdigest()[:6]

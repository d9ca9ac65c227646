"""What the sinks share that listen on a socket: an event loop in a thread, and who may connect."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import os
import re
import socket
import stat
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

from ..errors import DaemonError, system_text_of, text_of
from .base import FIRST_RETRY_S, LAST_RETRY_S, Control, Sink

_LOG = logging.getLogger(__name__)

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""What is done with one connection."""
OPEN_S = 10.0  # binding a socket takes no time; a name that must be looked up can
LOOKUP_S = 3.0  # for the name of a host: the other places must not wait for a name server that is not there yet
MODE = 0o660  # of Unix sockets
BACKLOG = 1024  # connections wait in the system; where that is full, the next one tries again a second later


HOME_DOMAINS = ("local", "lan", "home", "home.arpa", "internal", "localdomain", "fritz.box")


class Address(NamedTuple):
    """Where a TCP server is to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Place = Union[Path, Address]
"""A Unix socket, or an address."""


class _Served(NamedTuple):
    """A place that is served: how to stop that, its sockets, and the inode of a Unix socket."""

    stop: list[Callable[[], object]]
    sockets: list[socket.socket]
    inode: int


class Server(Sink):
    """A sink with an event loop in a thread of its own, which listens at `places`.

    A place that cannot be had does not keep the others from being served: it is said, and tried again. So is a Unix
    socket that somebody deleted.
    """

    places: Sequence[Place] = ()
    """Where; set by the constructor."""

    def __init__(self, settings: Any, control: Control) -> None:
        super().__init__(settings, control)
        self._served: dict[Place, _Served] = {}
        self._lacking: dict[Place, str] = {}
        self._notes: dict[object, str] = {}
        self._faults: dict[object, str] = {}
        self._kept: set[asyncio.Task[None]] = set()

    async def begin(self, listening: socket.socket) -> Callable[[], object]:
        """Serves who connects to a listening socket; returns how to stop, which closes it."""
        raise NotImplementedError

    async def serve(self) -> None:
        """Binds what can be bound, and returns; its tasks go on until `close`.

        Raises:
            DaemonError: nothing can be bound.
        """
        await self._bind()
        if not self._served:
            raise DaemonError("; ".join(self._lacking.values()))
        self.keep(self._stay_bound())

    def probe(self) -> None:
        """Binds what the running one does not have, and lets it go.

        Raises:
            DaemonError: a place cannot be had.
        """
        had = self.replaces.places if isinstance(self.replaces, Server) else ()
        ports = {place.port for place in had if isinstance(place, Address)}
        for place in self.places:
            try:
                if isinstance(place, Address):
                    for listening in asyncio.run(bind_tcp(place))[0] if place.port not in ports else []:
                        listening.close()
                elif place not in had:
                    bind_unix(place, MODE).close()
                    place.unlink()
            except (OSError, asyncio.TimeoutError, UnicodeError) as error:
                raise DaemonError(f"{self.name}: {place}: {text_of(error)}") from error

    def open(self) -> None:
        """Starts the loop; returns when everything is bound that can be."""
        self._served, self._lacking, self._faults = {}, {}, {}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=f"server {self.name}", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.serve(), self.loop).result(OPEN_S)
        except BaseException:
            self.close()
            raise

    def addresses(self) -> list[tuple[Any, ...]]:
        """Family, host and port of each TCP socket that listens."""
        sockets = [one for served in self._served.values() for one in served.sockets]
        return [(one.family, *one.getsockname()[:2]) for one in sockets if one.family != socket.AF_UNIX]

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the loop without which the sink does not do its work; that it ended is said."""
        task = self.loop.create_task(work)
        self._kept.add(task)  # else nobody but the loop's weak set would hold it

        def done(task: asyncio.Task[None]) -> None:
            self._kept.discard(task)
            if not task.cancelled():
                error = task.exception()
                fault = f"stopped: {text_of(error) if error else 'nobody knows why'}"
                self.tell_fault(task, fault)
                _LOG.error("%s: %s", self.name, fault, exc_info=error)

        task.add_done_callback(done)
        return task

    def tell_fault(self, about: object, fault: str | None) -> None:
        """What does not work of something, or None; it is shown with the places that are not served."""
        self._faults.pop(about, None)
        if fault:
            self._faults[about] = fault
        self.fault = "; ".join([*self._lacking.values(), *self._faults.values()]) or None

    def tell_note(self, about: object, note: str | None) -> None:
        """What the user should know about something, or None."""
        self._notes.pop(about, None)
        if note:
            self._notes[about] = note
        self.note = "; ".join(self._notes.values()) or None

    async def _bind(self) -> None:
        """Serves what is not served yet, where it can be."""
        missing = [place for place in dict.fromkeys(self.places) if place not in self._served]
        found = await asyncio.gather(*map(self._sockets, missing), return_exceptions=True)
        for place, result in zip(missing, found):
            if isinstance(result, BaseException):
                if not isinstance(result, (OSError, asyncio.TimeoutError, UnicodeError)):
                    raise result
                why = system_text_of(result) if isinstance(result, OSError) else text_of(result)
                fault = why if str(place) in why else f"{place}: {why}"
                if self._served and fault != self._lacking.get(place):
                    _LOG.warning("%s: %s; it is tried again", self.name, fault)
                self._lacking[place] = fault
                continue
            sockets, others = result
            stop = [await self.begin(listening) for listening in sockets]
            self._served[place] = _Served(stop, sockets, place.stat().st_ino if isinstance(place, Path) else 0)
            if self._lacking.pop(place, None):
                _LOG.warning("%s: listens at %s now", self.name, place)
            for note in others:
                _LOG.warning("%s: %s", self.name, note)
            self.tell_note(place, "; ".join(others))
        self.tell_fault("places", None)

    async def _sockets(self, place: Place) -> tuple[list[socket.socket], list[str]]:
        if isinstance(place, Path):
            return [bind_unix(place, MODE)], []
        elsewhere = [other for other in self.places if other != place]
        return await bind_tcp(place, [other for other in elsewhere if isinstance(other, Address)])

    async def _stay_bound(self) -> None:
        """Tries again what could not be had, ever more rarely, and what is gone."""
        retry_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)
            for place in [place for place in self._served if not self._is_there(place)]:
                _LOG.warning("%s: somebody deleted %s; it is made anew", self.name, place)
                self._stop(place)
            await self._bind()

    def _is_there(self, place: Place) -> bool:
        try:
            return not isinstance(place, Path) or place.stat().st_ino == self._served[place].inode
        except OSError:
            return False

    def _stop(self, place: Place) -> None:
        for stop in self._served.pop(place).stop:
            stop()

    def for_each(self, client: Client) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """What asyncio's servers take: each connection gets a task of `client`.

        Given a coroutine itself, asyncio logs every task that is cancelled at the end as an error.
        """
        tasks: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
            tasks.discard(task)
            if task.cancelled():  # perhaps before it has begun
                writer.transport.abort()
            elif task.exception() is not None:
                _LOG.error("server %s: a connection failed", self.name, exc_info=task.exception())

        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self.loop.create_task(client(reader, writer))
            tasks.add(task)
            task.add_done_callback(functools.partial(done, writer=writer))

        return begin

    def close(self) -> None:
        """Ends every task of the loop and the loop; removes the Unix sockets that are still ours."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(OPEN_S)
        for place in self._served:
            if isinstance(place, Path) and self._is_there(place):
                with contextlib.suppress(FileNotFoundError):
                    place.unlink()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for served in self._served.values():
            for stop in served.stop:
                stop()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(asyncio.sleep(0))  # connections are closed one round after their tasks
        self.loop.close()


def is_own_name(host: str, more: Collection[str] = ()) -> bool:
    """Whether a `Host` of HTTP is this machine: an address, `localhost`, its own name, or one of `more`.

    A page in somebody's browser may give its own name our address, and read what comes back (DNS rebinding).
    """
    found = re.fullmatch(r"\[([^\]]*)\](:\d*)?|([^:]*)(:\d*)?", host.lower())
    if found is None:
        return False
    host = found[1] or found[3] or ""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    own = socket.gethostname().lower().partition(".")[0]
    known = {"localhost", own, *(f"{own}.{domain}" for domain in HOME_DOMAINS), socket.gethostname().lower()}
    return host.rstrip(".") in known | {name.lower() for name in more}


async def bind_tcp(place: Address, elsewhere: Sequence[Address] = ()) -> tuple[list[socket.socket], list[str]]:
    """Listening sockets at each address of a host that can be had.

    `::` is every address of this machine, of both families; each family has a socket of its own, so that it does not
    matter what the system says of that (`net.ipv6.bindv6only`).

    Args:
        place: host and port.
        elsewhere: what is bound for itself, and so is not bound here too.

    Returns:
        One socket or more, and what is said of those addresses that could not be had.

    Raises:
        OSError: none could be had.
        asyncio.TimeoutError: the name of the host was not found within 3 s.
    """
    lookup = asyncio.get_running_loop().getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    try:
        found = await asyncio.wait_for(lookup, LOOKUP_S)
    except asyncio.TimeoutError as error:
        raise asyncio.TimeoutError(f"the name of the host was not found within {LOOKUP_S:g} s") from error
    wanted = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
    if (socket.AF_INET6, "::") in wanted and Address("0.0.0.0", place.port) not in elsewhere:
        wanted.append((socket.AF_INET, "0.0.0.0"))
    sockets: list[socket.socket] = []
    faults: list[tuple[str, OSError]] = []
    for family, host in wanted:
        try:
            sockets.append(_listening(family, Address(host, place.port)))
        except OSError as error:
            faults.append((host, error))
    if not sockets:
        raise faults[0][1]
    return sockets, [f"{place} is not served at {host}: {system_text_of(error)}" for host, error in faults]


def _listening(family: int, address: Address) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was ours a moment ago
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A listening Unix socket with these permissions from its first moment on; one that nobody serves is replaced.

    Raises:
        OSError: somebody serves it, something else is there, or it cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        raise OSError(errno.EEXIST, f"{path} is there already and is no socket: it is left alone; name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, f"{path} is served already: is another daemon running?")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        listening.bind(str(temporary))
        temporary.chmod(mode)
        listening.listen(64)
        listening.setblocking(False)
        temporary.rename(path)
    except BaseException:
        listening.close()
        temporary.unlink(missing_ok=True)
        raise
    return listening

"""`earmark web`: the page for a phone, until SIGINT or SIGTERM; and with `--code` a new code for it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from earmark.engine.commands.service.which_store import say_two_stores
from earmark.engine.daemon.unnamed import is_journal
from earmark.engine.errors import InstallationError, SettingsError, text_of
from earmark.engine.history.journal import open_journal
from earmark.engine.people.keys import secret_from
from earmark.engine.people.store import PersonStore
from earmark.engine.settings.reading import COMMAND_LINE, PREFIX, Loaded, toml_value
from earmark.engine.sinks.server import Address, bind_tcp


def web(arguments: argparse.Namespace) -> int:
    """Serves the page."""
    try:
        from ..web import access
    except ImportError as error:
        raise InstallationError(f"{text_of(error)}: `pip install 'earmark[web]'`") from error
    say_two_stores(arguments)
    folder = access.web_folder(PersonStore(arguments.store).folder)
    if arguments.code:
        print(access.new_code(folder))
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(arguments, folder))
    return 0


async def _serve(arguments: argparse.Namespace, folder: Path) -> None:
    try:
        from ..web import access, certificate, serving
        from ..web.house import House
    except ImportError as error:
        raise InstallationError(f"{text_of(error)}: `pip install 'earmark[web]'`") from error
    loaded: Loaded = arguments.loaded
    section = loaded.settings.web
    secure = not (_is_loopback(section.address) or section.ingress)
    store = PersonStore(arguments.store, secret_from(arguments.key_file))  # nobody is asked on a terminal here
    house = House(loaded.settings, store, open_journal(loaded.settings.journal), folder, variables(loaded))
    house.secure = secure or _is_loopback(section.address)
    sessions = access.Sessions(None if section.ingress else folder)
    pair = certificate.own_certificate(folder, list(_names())) if secure else None
    app = serving.page(house, sessions, access.Limits(), secure)
    try:
        sockets, _ = await bind_tcp(Address(section.address, section.port))
    except (OSError, asyncio.TimeoutError, UnicodeError) as error:
        raise InstallationError(
            f"web.address={section.address!r}, web.port={section.port}: cannot be listened on: {text_of(error)}"
        ) from error
    _say(section.address, section.port, secure)
    if pair is not None:
        print(f"  fingerprint of its certificate (SHA-256): {certificate.fingerprint(pair[0])}", file=sys.stderr)
    if not section.ingress and is_journal(sys.stderr, os.environ):  # which others read, and which keeps it
        print("  a code to log in with: sudo earmark web --code", file=sys.stderr, flush=True)
    elif not section.ingress:
        print(f"  code, good once within ten minutes: {access.new_code(folder)}", file=sys.stderr)
        print("  another one: earmark web --code", file=sys.stderr, flush=True)
    listening = asyncio.create_task(house.live.run())
    try:
        await serving.server(app, pair).serve(sockets)
    finally:
        listening.cancel()


def variables(loaded: Loaded) -> dict[str, str]:
    """The settings of the command line as variables, so that a command that we start has them, too."""
    found = {"EARMARK_SETTINGS": str(loaded.file) if loaded.file else ""}
    for key, origin in loaded.origins.items():
        if origin == COMMAND_LINE:
            section, name = key.split(".")
            value = getattr(getattr(loaded.settings, section), name)
            found[PREFIX + key.replace(".", "_").upper()] = value if isinstance(value, str) else toml_value(value)
    return found


def _say(address: str, port: int, secure: bool) -> None:
    scheme = "https" if secure else "http"
    host = f"[{address}]" if ":" in address else address
    if address in ("0.0.0.0", "::"):
        host = socket.gethostname()
    print(f"earmark: the page is at {scheme}://{host}:{port}/", file=sys.stderr, flush=True)


def _names() -> Iterator[str]:
    """What a browser may call this machine, for its certificate."""
    own = socket.gethostname().partition(".")[0]
    yield from (own, f"{own}.local", "localhost", "127.0.0.1", "::1")
    with contextlib.suppress(OSError):
        for found in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            with contextlib.suppress(ValueError):
                yield str(ipaddress.ip_address(str(found[4][0]).partition("%")[0]))


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError as error:
        raise SettingsError(f"web.address={address!r} must be an address, as 127.0.0.1 or 0.0.0.0") from error

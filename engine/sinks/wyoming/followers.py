"""Clients that follow what the daemon hears, from every microphone and satellite: Home Assistant's integration does.

It is an extension of the protocol that no other client sees. Whoever sends `earmark-follow` gets `earmark-state` at
once and whenever it changes, and `earmark-event` for each detection and rejection. Names say who is at home, so the
sink asks first whether the client is trusted.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from typing import Any, Protocol

from wyoming.event import Event

from ...errors import ProtocolError
from ..base import Control, Notice
from .announcement import MACHINE_ID

STATE, HEARD = "earmark-state", "earmark-event"
NOT_TRUSTED = "not-trusted"
LOOK_S = 2.0  # how often is looked for other people, and for a microphone that was lost


class Follower(Protocol):
    """A client, as far as it follows."""

    host: str

    def write(self, event: Event) -> None:
        """Sends it without waiting; ProtocolError: the client does not read."""

    def end(self, why: str) -> None:
        """Cuts it off."""


class Followers:
    """All of them; everything runs in the loop of the sink.

    Args:
        control: of the daemon.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._clients: set[Follower] = set()
        self._told: dict[str, Any] = {}

    def add(self, client: Follower) -> None:
        """Tells it the state, and what comes from now on."""
        self.look()  # else the others would never be told of what has changed just now
        self._clients.add(client)
        self._told = self._state()
        self._write(Event(STATE, self._told), client)

    def __contains__(self, client: object) -> bool:
        return client in self._clients

    def remove(self, client: Follower) -> None:
        """It is gone, or has never followed."""
        self._clients.discard(client)

    def tell(self, notice: Notice) -> None:
        """Something was heard; before somebody new is named they are known."""
        self.look()
        self._write(Event(HEARD, {**notice.to_json(), "host": notice.peer}))
        if self._clients:
            self._control.stats.add("sent", sink="wyoming")

    def look(self) -> None:
        """Tells the state where it is another one."""
        if self._clients and self._told != (state := self._state()):
            self._told = state
            self._write(Event(STATE, state))

    async def run(self) -> None:
        """Looks from time to time; does not end by itself."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def _write(self, event: Event, *clients: Follower) -> None:
        """To these, or to all; the state says to each by which address it is known."""
        for client in clients or list(self._clients):
            more = {"you": client.host} if event.type == STATE else {}
            try:
                client.write(Event(event.type, {**event.data, **more}))
            except ProtocolError as error:
                client.end(str(error))

    def _state(self) -> dict[str, Any]:
        """What somebody needs who shows this daemon: who it is, whom it knows, and whether it hears."""
        status, household = self._control.status(), self._control.household
        microphone = status.get("microphone", {})
        warning_s = household.settings.audio.silence_warning_s
        problem = microphone.get("fault")
        if not problem and 0 < warning_s <= microphone.get("silent_s", 0):
            problem = "nothing but digital silence: it is probably muted"
        return {
            "id": own_id(),
            "name": socket.gethostname().split(".")[0],
            "version": status.get("version", ""),
            "keywords": [{"name": one.name, "phrase": one.wake_word} for one in household.words],
            "people": household.names,
            "mode": household.policy.mode,
            "transcribes": bool(household.settings.wyoming.transcribe),
            "microphone": {"name": microphone.get("name", ""), "problem": problem},
        }


def own_id() -> str:
    """Twelve digits that are this machine's at every start; of its name, where it has no id, as in a container.

    The id itself must not be told to others (machine-id(5)); a hash of it may.
    """
    try:
        text = MACHINE_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        text = ""
    known = text if len(text) == 32 else socket.gethostname()
    return hashlib.sha256(f"earmark follow {known}".encode()).hexdigest()[:12]

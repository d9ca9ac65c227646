"""One daemon: its state, what it heard last, and which satellite that was."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_HOST, CONF_PORT, EVENT_STATE_CHANGED
from homeassistant.core import Event, EventStateChangedData, HomeAssistant, callback
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util

from .protocol import FAULTS, NotTrusted, follow

DOMAIN = "earmark"
SOMEBODY_ELSE = "somebody else"
RETRY_S = (1, 2, 5, 10, 30)
FRESH_S = 3.0  # from the wake that a satellite had from the daemon itself until Home Assistant sees it listening
TELLING = ("known_voice", "unknown_voice")  # else too little was said, or two spoke
CURRENT_S = 120.0  # what goes on later in the same context, as the end of a timer, is not the pipeline's run
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wake:
    """A wake word that was heard."""

    hub: Hub
    person: str | None
    keyword: str
    """Empty: it was heard elsewhere, and who spoke is known by the command."""
    at: datetime = field(default_factory=dt_util.utcnow)
    host: str = ""
    """Of the satellite that was connected to the daemon; empty: the daemon's own microphone, or not known."""
    seen_s: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Who it was, for people."""
        return self.person or SOMEBODY_ELSE

    @property
    def age_s(self) -> float:
        """For how long it has been known here."""
        return time.monotonic() - self.seen_s


CURRENT: ContextVar[Wake | str | None] = ContextVar("earmark_wake", default=None)
"""The wake of the pipeline's run that is going on; of a satellite that asks the daemon itself its entity, for its
wake may be told a moment later. A run is one task from the wake word on; what it starts, as an automation by a
sentence or a conversation agent, gets a copy of its context. So several runs never mix."""


class Hub:
    """Follows the daemon of a config entry, and tells the entities."""

    def __init__(self, hass: HomeAssistant, entry: ConfigEntry) -> None:
        self.hass, self.title, self.entry_id = hass, entry.title, entry.entry_id
        self.id = entry.unique_id or entry.entry_id
        self.host, self.port = entry.data[CONF_HOST], entry.data[CONF_PORT]
        self.state: dict[str, Any] = {}
        self.fault: str | None = "not connected yet"
        self.speakers: dict[str, Wake] = {}
        """Entity and device of each satellite -> who woke it for what it does now, or did last."""
        self.streams = 0
        """How many runs of pipelines wait for a wake word of this daemon."""
        self._listeners: dict[Callable[[Wake | None], None], None] = {}
        entry.async_on_unload(hass.bus.async_listen(EVENT_STATE_CHANGED, self._satellite, _is_satellite))

    def listen(self, listener: Callable[[Wake | None], None]) -> Callable[[], None]:
        """Calls it with each wake, and with None where something else changed; returns how to end that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    async def run(self) -> None:
        """Connects, again and again."""
        tries = 0
        while True:
            try:
                async for kind, data in follow(self.host, self.port):
                    tries, self.fault = 0, None
                    self._take(kind, data)
            except NotTrusted as error:
                if self.fault != str(error):
                    _LOG.warning("%s does not tell Home Assistant who speaks: %s", self.title, error)
                self.fault = str(error)
            except FAULTS as error:
                _LOG.info("%s:%s: %s; it is tried again", self.host, self.port, error)
                self.fault = str(error) or "no answer"
            self.tell()
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1

    def tell(self, wake: Wake | None = None) -> None:
        """The entities."""
        for listener in list(self._listeners):
            listener(wake)

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "earmark-state":
            self.state = data
            dr.async_get(self.hass).async_get_or_create(
                config_entry_id=self.entry_id, identifiers={(DOMAIN, self.id)}, sw_version=data["version"]
            )
            self.tell()
        elif data["type"] == "detection":
            at = dt_util.parse_datetime(data["at"]) or dt_util.utcnow()
            wake = Wake(self, data["person"], data["keyword"], at, data.get("host", ""))
            self.tell(wake)
            if wake.host and not (self.streams and wake.host == self.state["you"]):  # from us: what runs it will tell
                self.hass.async_create_task(self._place(wake), eager_start=True)

    async def _place(self, wake: Wake) -> None:
        """A satellite that was connected to the daemon itself is one of Home Assistant's, by its address."""
        entries = self.hass.config_entries.async_entries("wyoming")
        for entry in sorted(entries, key=lambda entry: bool(entry.data[CONF_HOST] != wake.host)):
            found = entry.data[CONF_HOST] == wake.host or await self._is_address(entry.data[CONF_HOST], wake.host)
            for entity in er.async_entries_for_config_entry(er.async_get(self.hass), entry.entry_id):
                if found and entity.domain == "assist_satellite":
                    self._spoke(entity.entity_id, wake)

    async def _is_address(self, name: str, address: str) -> bool:
        try:
            return address in {found[0] for *_, found in await self.hass.loop.getaddrinfo(name, None)}
        except OSError:
            return False

    def _spoke(self, satellite: str, wake: Wake | None) -> None:
        entity = er.async_get(self.hass).async_get(satellite)
        for key in (satellite, *([entity.device_id] if entity and entity.device_id else [])):
            self.speakers.pop(key, None)
            if wake:
                self.speakers[key] = wake
        self.tell()

    def commanded(self, whose: dict[str, Any]) -> None:
        """A command of the run that goes on says who speaks, unless the wake word has named somebody."""
        run = CURRENT.get()
        woken = self.speakers.get(run) if isinstance(run, str) else run
        if whose.get("reason", "").split(":")[0] in TELLING and not (woken and woken.person):
            wake = Wake(self, whose["person"], "")
            CURRENT.set(wake)
            of_run = [run] if isinstance(run, str) else [key for key, one in self.speakers.items() if one is run]
            for key in of_run:
                self._spoke(key, wake)

    @callback
    def _satellite(self, event: Event[EventStateChangedData]) -> None:
        """A satellite begins to listen; called within the task of its pipeline's run, so its wake is known."""
        satellite, wake = event.data["entity_id"], CURRENT.get()
        if isinstance(wake, Wake):
            self._spoke(satellite, wake if wake.hub is self else None)
            return
        CURRENT.set(satellite)
        known = self.speakers.get(satellite)
        if known is None or not known.host or known.age_s > FRESH_S:  # by a button, or another wake word engine
            self._spoke(satellite, None)


@callback
def _is_satellite(data: EventStateChangedData) -> bool:
    new = data["new_state"]
    return bool(data["entity_id"].startswith("assist_satellite.") and new and new.state == "listening")


def speaker(hass: HomeAssistant, *ids: str | None) -> dict[str, Any]:
    """Who spoke: of the run of a pipeline that this is called in, or else of a satellite or device."""
    run = CURRENT.get()
    wake = run if isinstance(run, Wake) and run.age_s < CURRENT_S else None
    if wake is None:
        ids = (run, *ids) if isinstance(run, str) else ids
        hubs = [entry.runtime_data for entry in hass.config_entries.async_loaded_entries(DOMAIN)]
        known = [hub.speakers[key] for hub in hubs for key in ids if key in hub.speakers]
        wake = max(known, key=lambda wake: wake.seen_s, default=None)
    if wake is None:
        return {"name": "unknown", "person": None, "wake_word": None, "at": None, "age_s": None}
    said = {"name": wake.name, "person": wake.person, "wake_word": wake.keyword or None}
    return {**said, "at": wake.at.isoformat(), "age_s": round(wake.age_s, 3)}

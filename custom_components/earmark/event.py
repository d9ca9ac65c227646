"""Each wake, by the name of who spoke."""

from __future__ import annotations

from homeassistant.components.event import EventEntity
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddEntitiesCallback

from .entity import EarmarkEntity
from .hub import SOMEBODY_ELSE, Wake


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry, add: AddEntitiesCallback) -> None:
    """One for each daemon."""
    add([WokenBy(entry.runtime_data, "woken_by")])


class WokenBy(EarmarkEntity, EventEntity):
    """The same person twice is two events."""

    @property
    def event_types(self) -> list[str]:
        """Everybody whom the daemon knows."""
        return [*self.hub.state.get("people", ()), SOMEBODY_ELSE]

    @callback
    def heard(self, wake: Wake | None) -> None:
        """A wake is an event."""
        if wake is not None and wake.name in self.event_types:
            self._trigger_event(wake.name, {"wake_word": wake.keyword, "host": wake.host, "at": wake.at.isoformat()})
        super().heard(wake)

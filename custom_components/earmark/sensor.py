"""Who woke it last, and when."""

from __future__ import annotations

from typing import Any

from homeassistant.components.sensor import RestoreSensor, SensorDeviceClass
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddEntitiesCallback

from .entity import EarmarkEntity
from .hub import Wake


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry, add: AddEntitiesCallback) -> None:
    """Two for each daemon."""
    add([LastPerson(entry.runtime_data, "last_person"), LastWake(entry.runtime_data, "last_wake")])


class LastWake(EarmarkEntity, RestoreSensor):
    """When. It is as it was after a restart of Home Assistant."""

    _attr_native_value: Any = None
    _attr_device_class: SensorDeviceClass | None = SensorDeviceClass.TIMESTAMP
    _shown = "at"

    async def async_added_to_hass(self) -> None:
        """Takes over what it was."""
        await super().async_added_to_hass()
        if self._attr_native_value is None and (last := await self.async_get_last_sensor_data()):
            self._attr_native_value = last.native_value

    @callback
    def heard(self, wake: Wake | None) -> None:
        """A wake, or None."""
        if wake is not None:
            self._attr_native_value = getattr(wake, self._shown)
        super().heard(wake)


class LastPerson(LastWake):
    """Who; by satellite, too: for templates, where an action cannot be used."""

    _attr_device_class = None
    _shown = "name"
    _unrecorded_attributes = frozenset({"speakers", "times"})

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Entity and device of each satellite -> who woke it for what it does now or did last, and when."""
        known = self.hub.speakers.items()
        names, times = ({key: getattr(wake, what) for key, wake in known} for what in ("name", "at"))
        return {"speakers": names, "times": times}

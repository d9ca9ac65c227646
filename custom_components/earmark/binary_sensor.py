"""Whether the daemon is there, and whether its microphone is."""

from __future__ import annotations

from typing import Any

from homeassistant.components.binary_sensor import BinarySensorDeviceClass, BinarySensorEntity
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddEntitiesCallback

from .entity import EarmarkEntity


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry, add: AddEntitiesCallback) -> None:
    """Two for each daemon."""
    add([Connected(entry.runtime_data, "connected"), Microphone(entry.runtime_data, "microphone")])


class Connected(EarmarkEntity, BinarySensorEntity):
    """Off: no daemon answers, or it does not let Home Assistant follow."""

    _attr_device_class = BinarySensorDeviceClass.CONNECTIVITY
    _attr_entity_category = EntityCategory.DIAGNOSTIC

    @property
    def is_on(self) -> bool:
        """Whether it is."""
        return self.hub.fault is None

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Why not."""
        return {"fault": self.hub.fault}


class Microphone(EarmarkEntity, BinarySensorEntity):
    """On: it is lost, or it gives nothing but silence."""

    _attr_device_class = BinarySensorDeviceClass.PROBLEM
    _attr_entity_category = EntityCategory.DIAGNOSTIC

    @property
    def is_on(self) -> bool | None:
        """None: not known, for nobody says it."""
        return bool(self.extra_state_attributes["problem"]) if self.hub.fault is None else None

    @property
    def extra_state_attributes(self) -> dict[str, Any]:
        """Which one, and what is wrong."""
        return dict(self.hub.state.get("microphone", {"name": None, "problem": None}))

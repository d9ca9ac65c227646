"""What the entities share."""

from __future__ import annotations

from homeassistant.core import callback
from homeassistant.helpers.device_registry import DeviceInfo
from homeassistant.helpers.entity import Entity

from .hub import DOMAIN, Hub, Wake


class EarmarkEntity(Entity):
    """Never unavailable: what has happened stays true while the daemon is down, and one sensor says that it is."""

    _attr_has_entity_name = True
    _attr_should_poll = False

    def __init__(self, hub: Hub, key: str) -> None:
        self.hub, self._attr_translation_key, self._attr_unique_id = hub, key, f"{hub.id}_{key}"
        self._attr_device_info = DeviceInfo(
            identifiers={(DOMAIN, hub.id)}, name=hub.title, manufacturer="earmark", model="wake word detector"
        )

    async def async_added_to_hass(self) -> None:
        """From now on it is told."""
        await super().async_added_to_hass()
        self.async_on_remove(self.hub.listen(self.heard))

    @callback
    def heard(self, wake: Wake | None) -> None:
        """A wake, or None: something else has changed."""
        self.async_write_ha_state()

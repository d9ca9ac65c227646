"""earmark in Home Assistant: who spoke, from the daemon's Wyoming port. No broker is needed."""

from __future__ import annotations

from typing import Any

import voluptuous as vol
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import ATTR_DEVICE_ID, Platform
from homeassistant.core import HomeAssistant, ServiceCall, SupportsResponse
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers import llm

from .hub import DOMAIN, Hub, speaker
from .speaker_api import SpeakerApi

PLATFORMS = [Platform.BINARY_SENSOR, Platform.EVENT, Platform.SENSOR, Platform.STT, Platform.WAKE_WORD]
CONFIG_SCHEMA = cv.config_entry_only_config_schema(DOMAIN)
IDS = {ATTR_DEVICE_ID: vol.Maybe(cv.string), "satellite": vol.Maybe(cv.entity_id)}  # None: as the trigger has it
SPEAKER_SCHEMA = vol.Schema({vol.Optional(key): kind for key, kind in IDS.items()})


async def async_setup(hass: HomeAssistant, config: dict[str, Any]) -> bool:
    """The action, and what language models may ask; both are for all daemons together."""

    async def answer(call: ServiceCall) -> dict[str, Any]:
        return speaker(hass, call.data.get(ATTR_DEVICE_ID), call.data.get("satellite"))

    hass.services.async_register(DOMAIN, "speaker", answer, SPEAKER_SCHEMA, SupportsResponse.ONLY)
    llm.async_register_api(hass, SpeakerApi(hass=hass))
    return True


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry) -> bool:
    """One daemon."""
    hub = entry.runtime_data = Hub(hass, entry)
    await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
    entry.async_create_background_task(hass, hub.run(), f"earmark {hub.host}")
    return True


async def async_unload_entry(hass: HomeAssistant, entry: ConfigEntry) -> bool:
    """It is taken away, or loaded anew."""
    return bool(await hass.config_entries.async_unload_platforms(entry, PLATFORMS))

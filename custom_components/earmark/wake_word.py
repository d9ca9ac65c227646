"""The wake word engine for pipelines: as Wyoming's, but it knows who spoke."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable

from homeassistant.components.wake_word import DetectionResult, WakeWord, WakeWordDetectionEntity
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddEntitiesCallback

from .entity import EarmarkEntity
from .hub import CURRENT, Wake
from .protocol import FAULTS, Chunk, detect

PAUSE_S = 1.0  # a satellite begins anew at once, however often
_LOG = logging.getLogger(__name__)


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry, add: AddEntitiesCallback) -> None:
    """One for each daemon."""
    add([Engine(entry.runtime_data, "wake_word")])


class Engine(EarmarkEntity, WakeWordDetectionEntity):
    """Each run of a pipeline has a connection of its own."""

    _attr_name = None

    async def get_supported_wake_words(self) -> list[WakeWord]:
        """What the daemon listens for."""
        return [WakeWord(one["name"], one["phrase"], one["phrase"]) for one in self.hub.state.get("keywords", ())]

    async def _async_process_audio_stream(
        self, stream: AsyncIterable[Chunk], wake_word_id: str | None
    ) -> DetectionResult | None:
        CURRENT.set(None)
        self.hub.streams += 1
        try:
            found = await detect(self.hub.host, self.hub.port, stream, wake_word_id)
        except FAULTS as error:
            _LOG.info("%s:%s: %s", self.hub.host, self.hub.port, error)
            await asyncio.sleep(PAUSE_S)
            return None
        finally:
            self.hub.streams -= 1
        if found is None:
            return None
        data, queued = found
        CURRENT.set(Wake(self.hub, data.get("speaker"), data["name"]))  # this task goes on to what was said
        phrases = {word.id: word.phrase or word.id for word in await self.get_supported_wake_words()}
        return DetectionResult(data["name"], phrases.get(data["name"], data["name"]), data.get("timestamp"), queued)

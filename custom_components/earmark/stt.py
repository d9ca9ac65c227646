"""Speech-to-text by the service behind the daemon: who spoke comes with the text."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from datetime import timedelta
from typing import ClassVar

from homeassistant.components.stt import (
    AudioBitRates,
    AudioChannels,
    AudioCodecs,
    AudioFormats,
    AudioSampleRates,
    SpeechMetadata,
    SpeechResult,
    SpeechResultState,
    SpeechToTextEntity,
)
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.entity_platform import AddEntitiesCallback

from .entity import EarmarkEntity
from .hub import Wake
from .protocol import FAULTS, languages, transcribe

SCAN_INTERVAL = timedelta(seconds=30)  # the service behind may come later than the daemon
_LOG = logging.getLogger(__name__)


async def async_setup_entry(hass: HomeAssistant, entry: ConfigEntry, add: AddEntitiesCallback) -> None:
    """One for each daemon that has a service behind it, as soon as that is known."""

    @callback
    def look(_: Wake | None = None) -> None:
        if entry.runtime_data.state.get("transcribes"):
            stop()
            add([Transcriber(entry.runtime_data, "stt")], update_before_add=True)

    stop = entry.runtime_data.listen(look)
    entry.async_on_unload(stop)


class Transcriber(EarmarkEntity, SpeechToTextEntity):
    """For pipelines whose wake word was heard elsewhere."""

    _attr_name = None
    _attr_should_poll = True
    _languages: tuple[str, ...] = ()
    supported_formats: ClassVar = [AudioFormats.WAV]
    supported_codecs: ClassVar = [AudioCodecs.PCM]
    supported_bit_rates: ClassVar = [AudioBitRates.BITRATE_16]
    supported_sample_rates: ClassVar = [AudioSampleRates.SAMPLERATE_16000]
    supported_channels: ClassVar = [AudioChannels.CHANNEL_MONO]

    @property
    def supported_languages(self) -> list[str]:
        """As the service behind has said last."""
        return list(self._languages)

    async def async_update(self) -> None:
        """Asks for the languages; those of before are good while the service is down."""
        try:
            self._languages = tuple(await languages(self.hub.host, self.hub.port)) or self._languages
        except FAULTS as error:
            _LOG.info("%s:%s: %s", self.hub.host, self.hub.port, error)

    async def async_process_audio_stream(
        self, metadata: SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> SpeechResult:
        """One command."""
        try:
            text, whose = await transcribe(self.hub.host, self.hub.port, stream, metadata.language)
        except FAULTS as error:
            _LOG.info("%s:%s: %s", self.hub.host, self.hub.port, error)
            return SpeechResult(None, SpeechResultState.ERROR)
        self.hub.commanded(whose)
        return SpeechResult(text, SpeechResultState.SUCCESS)

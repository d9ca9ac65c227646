"""The microphone of a session with its meter: what is said into it, counted in samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from earmark.engine.audio.offset import OffsetRemover, remark_on
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.audio.sources import Source
from earmark.engine.errors import DeviceError

from ..takes import measure
from ..takes.endpoint import Endpoint
from ..takes.others import LEVEL_CHANGE_DB
from ..takes.rules import OTHERS_QUIET_DBFS
from .screen import Screen

LOST_BLOCKS = 200  # of nothing, 50 ms each: ten seconds in which a microphone may come back
METER_SAMPLES = RATE_HZ // 10
BEEP_SAMPLES = (
    RATE_HZ * 4 // 10
)  # a terminal's beep through a loudspeaker beside the microphone; nobody speaks sooner
WORD_SAMPLES = RATE_HZ * 3 // 10  # a short word
VOICED = 0.5  # of the power: as the rule `quiet_without_a_voice` has it


class Listening:
    """What a source gives, piece by piece."""

    def __init__(self, source: Source, screen: Screen) -> None:
        self._source, self._screen = source, screen
        self._blocks = iter(source)
        self._offset = OffsetRemover()
        self._unshown = 0

    @property
    def remark(self) -> str | None:
        """What is to be said of the microphone's constant offset; None: nothing."""
        return remark_on(self._offset.offset)

    def pieces(self) -> Iterator[Int16]:
        """What is heard from now on.

        Raises:
            DeviceError: nothing for ten seconds, or the source has ended.
        """
        self._source.skip()
        empty = 0
        for block in self._blocks:
            empty = 0 if len(block.samples) else empty + 1
            if empty > LOST_BLOCKS:
                raise DeviceError(f"the microphone gives nothing: {self._source.fault or 'is it unplugged?'}")
            samples = self._offset.push(block.samples)
            if len(samples):
                yield samples
        raise DeviceError(f"{self._source.name}: the audio has ended")

    def record(self, label: str, endpoint: Endpoint, until_typed: bool = False, zone: bool = True) -> Int16:
        """(n,) int16 until the endpoint, or a typed line, says that it is over; `zone`: somebody is to speak."""
        heard = [np.zeros(0, np.int16)]
        for samples in self.pieces():
            heard.append(samples)
            self._show(label, heard, zone=zone)
            if endpoint.push(samples) or (until_typed and self._screen.typed() is not None):
                break
        self._screen.still()
        return np.concatenate(heard)

    def countdown(self, seconds: int) -> None:
        """Waits, counted in what the microphone hears."""
        heard = [np.zeros(0, np.int16)]
        count, shown = 0, 0
        for samples in self.pieces():
            count += len(samples)
            heard.append(samples)
            left = seconds - count // RATE_HZ
            if left <= 0:
                break
            self._show("ready", heard, f"{left} …", zone=False)
            if left != shown:
                shown = left
                self._screen.tick(f"{left} …")
        self._screen.still()

    def now(self) -> None:
        """Says that it is time. The beep is over before, so that it is no part of what is recorded."""
        if self._screen.beeps:
            self._screen.beep()
            self.record("ready", Endpoint(0.0, BEEP_SAMPLES), zone=False)
        self._screen.say("now", indent="  ")

    def _show(self, label: str, heard: list[Int16], left: str = "", zone: bool = True) -> None:
        """Moves the meter ten times a second: more would only fill a slow line."""
        self._unshown += len(heard[-1])
        if self._unshown >= METER_SAMPLES:
            self._unshown = 0
            self._screen.meter(label, loudest_dbfs(np.concatenate(heard[-10:])[-METER_SAMPLES:]), left, zone)


def somebody_speaks(samples: Int16) -> bool:
    """Whether there is a word in (n,) int16: it rises above the rest, and has a voice.

    Steady noise does not rise, and a knock or a key has no voice.
    """
    if len(samples) < WORD_SAMPLES or loudest_dbfs(samples) < OTHERS_QUIET_DBFS:
        return False
    share = min(0.1, WORD_SAMPLES / len(samples))
    return measure.level_change_db(samples, share) >= LEVEL_CHANGE_DB and measure.voicing(samples) >= VOICED


def loudest_dbfs(samples: Int16) -> float:
    """RMS level of the loudest tenth of a second of (n,) int16, n ≥ 1."""
    starts = range(0, max(len(samples) - METER_SAMPLES, 0) + 1, METER_SAMPLES // 5)
    return max(measure.dbfs(samples[start : start + METER_SAMPLES]) for start in starts)

"""The wall clock, which may be wrong, beside one that nobody sets: whether it was stepped, and how long ago."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_S = 60.0  # clocks drift by less in a week (100 ppm); who sets one by hand or from the network moves it farther


def boot_s() -> float:
    """Seconds since any moment, by a clock that nobody sets and that does not stop in standby."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WatchedClock:
    """One process's look at the clock.

    Args:
        clock: seconds since 1970, as this machine believes.
        steady: as `boot_s`.
    """

    def __init__(self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = boot_s) -> None:
        self._clock, self._steady = clock, steady
        self._looked_s = clock(), steady()
        self._unstepped_since_s = self._looked_s[1]

    def look(self) -> tuple[float, float]:
        """What the clock says now, and by how much it was stepped since the last look; 0.0: it only went on."""
        now_s, steady_s = self._clock(), self._steady()
        step_s = (now_s - self._looked_s[0]) - (steady_s - self._looked_s[1])
        self._looked_s = now_s, steady_s
        if abs(step_s) <= STEP_S:
            return now_s, 0.0
        self._unstepped_since_s = steady_s
        return now_s, step_s

    @property
    def unstepped_s(self) -> float:
        """For so long it has gone on, as of the last look."""
        return self._looked_s[1] - self._unstepped_since_s

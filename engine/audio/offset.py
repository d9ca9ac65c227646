"""A constant offset is found and taken off before anything is measured.

Microphones with a PDM or I2S output add up to some per cent of full scale to each sample. Nobody hears that, but
levels, spectra and pauses are measured wrongly with it. A high-pass would change every voice a little; this takes a
number off. What is left does not depend on the offset at all: the same sound with another one gives the same bits,
as long as no sample was clipped.

The offset is the mean where the sound is quietest, for what is loud may have a mean of its own: synthetic voices have
up to 900 of 32768 over 100 ms. Means, spreads and their order are computed in integers, so that an offset shifts the
mean and changes nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .samples import FULL_SCALE, RATE_HZ, Int16

TILE_SAMPLES = RATE_HZ // 10  # 100 ms: five periods of 50 Hz hum and six of 60 Hz, of which nothing is left in a mean
# A stream is looked at twice a second. Its first half second is kept back: no wake word is over by then, and in most
# there is a pause.
STRETCH_SAMPLES = 5 * TILE_SAMPLES
LAST_TILES = 30  # 3 s: nobody speaks for so long without a pause of 100 ms
QUIET_SHARE = 5  # one in so many tiles is quiet
# −78 dBFS. So near to the offset that it has, a stream goes on with it, and as near as the quiet tiles are loud: that
# is rumble, and each change is a small click.
LEAST_CHANGE = 4
RUN_SAMPLES = RATE_HZ // 1000  # one value for so long is no sound: what a device gives before it hears
NAMED_SHARE = 0.005  # of full scale: real microphones without the fault have at most a tenth of it
MOST_SHARE = 0.1  # of full scale, for which it is tried; more takes too much of the range


class _Tile(NamedTuple):
    """100 ms of sound in integers: with another offset c, `total` is c times the samples more, `spread` the same."""

    spread: int
    """n Σx² − (Σx)², which is n² times the variance."""
    total: int
    samples: int

    @property
    def mean(self) -> int:
        """Rounded."""
        return (2 * self.total + self.samples) // (2 * self.samples)


def _tiles(samples: Int16) -> list[_Tile]:
    """The whole tiles in (n,) int16; of less than one, what there is. Sums below 2^53 are exact in float64."""
    count = len(samples) // TILE_SAMPLES
    rows = samples[: count * TILE_SAMPLES].reshape(count, -1) if count else samples[None]
    wide = rows.astype(np.float64)
    totals = np.add.reduce(wide, axis=1).tolist()
    np.multiply(wide, wide, out=wide)
    squares = np.add.reduce(wide, axis=1).tolist()
    length = rows.shape[1]
    return [
        _Tile(length * int(square) - int(total) ** 2, int(total), length) for total, square in zip(totals, squares)
    ]


def _quiet(tiles: list[_Tile]) -> _Tile:
    """The median, by its mean, of the quietest fifth; tiles of one value tell nothing where there are others."""
    heard = [tile for tile in tiles if tile.spread] or tiles
    quietest = sorted(heard)[: max(1, len(heard) // QUIET_SHARE)]
    return sorted(quietest, key=lambda tile: tile.total)[(len(quietest) - 1) // 2]


def offset_of(samples: Int16) -> int:
    """The constant offset of a recording, (n,) int16; 0 where it is empty."""
    whole = max(1, len(samples) // TILE_SAMPLES) * TILE_SAMPLES
    starts = range(0, min(whole, len(samples)), STRETCH_SAMPLES)
    tiles = [tile for start in starts for tile in _tiles(samples[start : min(start + STRETCH_SAMPLES, whole)])]
    return _quiet(tiles).mean if tiles else 0


def without_offset(samples: Int16) -> tuple[Int16, int]:
    """(n,) int16 of a recording -> the same without its offset, and the offset.

    One value at the beginning or at the end for 1 ms or longer becomes zero, whichever it is.
    """
    offset = offset_of(samples)
    cleaned = _less(samples, offset)
    for backwards in (False, True) if len(samples) else ():
        edge = samples[::-1] if backwards else samples
        run = _run(edge, int(edge[0]))
        if run >= RUN_SAMPLES and edge[0] != offset:
            cleaned = cleaned.copy()
            cleaned[len(samples) - run if backwards else 0 :][:run] = 0
    return cleaned, offset


class OffsetRemover:
    """Takes the offset off a stream; what comes out does not depend on how it is cut.

    The first half second of sound is kept back until it comes to an end; from then on nothing waits. What one value
    makes up at the very beginning, as the zeros before a device hears anything, comes out at once as zeros.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        self.offset = 0
        """What is taken off now."""
        self._sure = False
        self._begun = False
        self._still: int | None = None  # the value at the beginning that has come out as zeros so far
        self._held: Int16 = np.zeros(0, np.int16)
        self._heard: list[Int16] = []  # of the half second that has begun, what has come out
        self._heard_samples = 0
        self._tiles: list[_Tile] = []

    @property
    def held_samples(self) -> int:
        """How many samples have been pushed and have not come out."""
        return 0 if self._sure else len(self._held)

    def push(self, samples: Int16) -> Int16:
        """(n,) int16, any n ≥ 0 -> (m,) int16, those that may go on."""
        if self._sure:
            return self._follow(samples)
        self._held = np.concatenate([self._held, samples])
        silent = self._silent_beginning()
        if len(self._held) < STRETCH_SAMPLES:
            return silent
        known, rest = self._held[:STRETCH_SAMPLES], self._held[STRETCH_SAMPLES:]
        self._tiles = _tiles(known)
        self.offset = _quiet(self._tiles).mean
        self._sure, self._held = True, known[:0]
        return np.concatenate([silent, _less(known, self.offset), self._follow(rest)])

    def _silent_beginning(self) -> Int16:
        """Zeros for what can be told of one value at the beginning; that much is no longer held."""
        if self._begun or not len(self._held):
            return self._held[:0]
        run = _run(self._held, int(self._held[0]) if self._still is None else self._still)
        if self._still is None and run >= RUN_SAMPLES:
            self._still = int(self._held[0])
        self._begun = run < len(self._held)
        if self._still is None:
            return self._held[:0]
        self._held = self._held[run:]
        return np.zeros(run, np.int16)

    def finish(self) -> Int16:
        """What is still kept back: the stream is over, or goes on after a silence that needs no correction."""
        if self._sure:
            return self._held[:0]
        rest, offset = without_offset(self._held)
        self.offset, self._held = offset, self._held[:0]
        return rest

    def _follow(self, samples: Int16) -> Int16:
        """Takes the offset off, and looks for another one at the end of each half second."""
        cleaned = []
        while True:
            piece = samples[: STRETCH_SAMPLES - self._heard_samples]
            samples = samples[len(piece) :]
            cleaned.append(_less(piece, self.offset))
            self._heard.append(piece.copy())
            self._heard_samples += len(piece)
            if self._heard_samples == STRETCH_SAMPLES:
                self._look()
            if not len(samples):
                return cleaned[0] if len(cleaned) == 1 else np.concatenate(cleaned)

    def _look(self) -> None:
        self._tiles = [*self._tiles, *_tiles(np.concatenate(self._heard))][-LAST_TILES:]
        self._heard, self._heard_samples = [], 0
        quiet = _quiet(self._tiles)
        change = quiet.mean - self.offset
        if abs(change) > LEAST_CHANGE and (change * quiet.samples) ** 2 > quiet.spread:
            self.offset = quiet.mean


def remark_on(offset: int) -> str | None:
    """What a person is told of an offset in units of int16: one line with what to do; None: it is as usual."""
    share = abs(offset) / FULL_SCALE
    if share < NAMED_SHARE:
        return None
    has = f"a constant offset of {100 * share:.1f} % of full scale"
    if share <= MOST_SHARE:
        return f"{has}, as many PDM and I2S microphones have: it is taken off, nothing is to be done"
    return (
        f"{has}, which leaves too little of the range for loud speech: look for a high-pass filter "
        "among its controls (`alsamixer`), or take another microphone"
    )


def _less(samples: Int16, offset: int) -> Int16:
    """(n,) int16 less the offset; what would leave the range of int16 stays at its end."""
    if offset == 0:
        return samples
    cleaned: Int16
    if offset > 0:
        cleaned = np.maximum(samples, np.int16(offset - FULL_SCALE))
    else:
        cleaned = np.minimum(samples, np.int16(FULL_SCALE - 1 + offset))
    cleaned -= np.int16(offset)
    return cleaned


def _run(samples: Int16, value: int) -> int:
    """How many samples at the beginning of (n,) int16 have that value."""
    other = samples != value
    first = int(other.argmax()) if len(other) else 0
    return first if len(other) and other[first] else len(other)

"""The activity gate: which hops of a stream are worth listening to, so that a quiet room costs next to nothing.

It looks at the level of the audio alone, before the frontend. What it leaves out is a stretch of steady noise
between two stretches of the same: frontend and keyword networks hear the audio as if it had been cut out, while every
position still counts it. `scripts/studies/quiet.py` measures that no wake word is lost.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from ..audio.samples import Int16
from .frontend import HOP_SAMPLES

TILE_HOPS = 10  # 100 ms, a vowel: over so long the level of white noise stays within a tenth of its mean
_TILE_SAMPLES = TILE_HOPS * HOP_SAMPLES
_SECOND_TILES = 10
# The level of a tile is its mean |x[n] - x[n - 4]|. A difference over 4 samples passes most at 2 kHz and 3 dB less at
# 1 and 3 kHz, where speech has its formants; hum and rumble (-22 dB at 50 Hz) and an offset hardly count.
_LAG_SAMPLES = 4
# Loud is what has 1.25 times (2 dB) the level of the quietest tile of the last five seconds: more than steady noise
# ever has, and what speech has that is 3 dB weaker than the noise; the networks miss it there.
FLOOR_SECONDS = 5
LOUD_RATIO = 1.25
# White noise of -57 dBFS has this level. In louder noise the networks hear words that raise no tile's level by 2 dB.
ALWAYS_LOUD = 50
ALWAYS_QUIET = 2  # the last bits flicker; a word with a peak of -40 dBFS has ten times that level
AFTER_HOPS = 200  # 2 s: more than a keyword network remembers, and than a candidate waits for its decision
# 2.4 s at least: a soft onset, and six times what the frontend's estimate of the noise remembers (0.4 s to 1/e)
BEFORE_HOPS = 240
# What is left out is whole inferences for strides of 1, 2, 3, 4 and 6 frames: the networks stay in step.
CUT_HOPS = 12

_NO_LEVEL = 1 << 40

Span = tuple[int, int]
"""First hop, and the hop behind the last."""


class ActivityGate:
    """Worth listening to is everything from 2.4 s before a loud tile until two seconds after it.

    That does not depend on how the stream is cut: levels are sums of integers over whole tiles of the stream. Its
    first five seconds are heard in any case.
    """

    def __init__(self) -> None:
        self.enabled = True
        """Else everything is loud, from the next tile on."""
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        self._rest: Int16 = np.zeros(_LAG_SAMPLES, np.int16)  # what the next tile's level needs of the past
        self._tiles = 0  # looked at so far
        self._next = 0  # the hop behind the last one that was heard or left out
        self._until = FLOOR_SECONDS * _SECOND_TILES * TILE_HOPS
        self._floors: deque[int] = deque([_NO_LEVEL], maxlen=FLOOR_SECONDS)
        self._quietest = _NO_LEVEL  # tile of the second that has begun
        self._late: list[Span] = []  # hops of the last push that were heard when the tile behind them was whole

    @property
    def is_resting(self) -> bool:
        """Whether nothing that has been pushed waits to be heard, or is to be heard until there is a loud tile."""
        return self._next == self._until

    @property
    def unlooked_samples(self) -> int:
        """So many must follow before the next tile is whole, and is looked at."""
        return _TILE_SAMPLES + _LAG_SAMPLES - len(self._rest)

    def push(self, samples: Int16) -> list[Span]:
        """(n,) int16, n up to 1 s -> what is to be heard now, in order, all of it hops that are whole.

        A span begins where the last one ended, or later; it may begin up to 2.6 s before what is pushed.
        """
        self._late = []
        joined = np.concatenate([self._rest, samples])
        count = (len(joined) - _LAG_SAMPLES) // _TILE_SAMPLES
        self._rest = joined[count * _TILE_SAMPLES :]
        spans: list[Span] = []
        if count:
            for level in _levels(joined[: count * _TILE_SAMPLES + _LAG_SAMPLES]):
                self._look(level, spans)
        hops = self._tiles * TILE_HOPS + (len(self._rest) - _LAG_SAMPLES) // HOP_SAMPLES
        self._hear(min(self._until, hops), spans)  # of a tile that has only begun, what is heard in any case
        return spans

    def heard_at(self, sample: int) -> int:
        """When what ends at a sample was heard, of the last push: then, or when a tile behind it had turned out loud.

        That is the same for any cut of the stream.
        """
        hop = -(-sample // HOP_SAMPLES)
        return next((end * HOP_SAMPLES for begin, end in self._late if begin < hop <= end), sample)

    def _look(self, level: int, spans: list[Span]) -> None:
        """The next tile, by the sum of its steps."""
        self._quietest = min(self._quietest, level)
        limit = min(LOUD_RATIO * min(self._quietest, *self._floors), ALWAYS_LOUD * _TILE_SAMPLES)
        if not self.enabled or level > max(limit, ALWAYS_QUIET * _TILE_SAMPLES):
            begin = self._tiles * TILE_HOPS - BEFORE_HOPS
            if begin > self._until:  # the noise was long enough to leave some of it out
                self._hear(self._until, spans)
                self._next = begin - (begin - self._until) % CUT_HOPS
            self._late.append((self._until, (self._tiles + 1) * TILE_HOPS))
            self._until = max(self._until, (self._tiles + 1) * TILE_HOPS + AFTER_HOPS)
        self._tiles += 1
        if self._tiles % _SECOND_TILES == 0:
            self._floors.append(self._quietest)
            self._quietest = _NO_LEVEL

    def _hear(self, end: int, spans: list[Span]) -> None:
        if end <= self._next:
            return
        begin = self._next
        if spans and spans[-1][1] == begin:
            begin = spans.pop()[0]
        spans.append((begin, end))
        self._next = end


def _levels(samples: Int16) -> list[int]:
    """(4 + 1600 n,) int16 -> n sums of the steps over 4 samples."""
    wide = samples.astype(np.int32)
    steps = wide[_LAG_SAMPLES:] - wide[:-_LAG_SAMPLES]
    np.abs(steps, out=steps)
    levels: list[int] = np.add.reduce(steps.reshape(-1, _TILE_SAMPLES), axis=1, dtype=np.int32).tolist()
    return levels

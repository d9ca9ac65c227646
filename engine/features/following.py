"""What is said after a wake word, cut into pieces that the speaker network can take; no model, no clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..audio.samples import RATE_HZ, Int16

TILE_SAMPLES = RATE_HZ // 50  # 20 ms
PIECE_TILES = 65  # 1.3 s: the most that the speaker network takes at once
PAUSE_TILES = 15  # 0.3 s without speech end a piece that is long enough: who speaks then may be another
SHORT_TILES = 25  # 0.5 s: of less speech an embedding says little
END_TILES = 40  # 0.8 s of quiet, and the command is over
AWAITED_TILES = 150  # 3 s: so long somebody may wait for a beep before the command
LEARNED_TILES = 15  # 0.3 s: so often it learns what is quiet, where nothing was heard before
MOST_TILES = 300  # 6 s after the wake word it is over in any case
BEFORE_SAMPLES = 2 * RATE_HZ  # of the sound before: its quiet parts are the noise, its loud ones the voice

# As the activity gate, by |x[n] - x[n - 4]|: hum and an offset hardly count (engine/features/activity.py)
_LAG_SAMPLES = 4
_ABOVE_QUIET = 1.5  # 3.5 dB
_BELOW_LOUD = 1 / 32  # 30 dB
_QUIET_PERCENTILE, _LOUD_PERCENTILE = 10, 80
_HANG_TILES = 5  # 100 ms: soft ends, and the gaps before plosives
_ONSET_TILES = 2  # 40 ms before what is loud: soft beginnings


@dataclass(frozen=True)
class Piece:
    """Up to 1.3 s of speech."""

    samples: Int16
    """(n,) without the pauses longer than 0.1 s."""
    end: int
    """Position in samples behind its last loud tile, counted from the wake word."""
    whole_at: int
    """Position at which it was whole, counted from the wake word."""
    speech_samples: int
    """Of it, how much was loud enough."""


class Follower:
    """The speech after a wake word, piece by piece.

    The levels of the sound before say what is quiet and what is loud; where there is none before, the levels of what
    has come so far do, looked at anew every 0.3 s. All that counts are whole tiles of 20 ms behind the wake
    word, so that any cut of the stream gives the same pieces.

    Args:
        before: (n,) int16, up to 2 s of the sound before; n ≥ 324. None: there is none.
        ends: quiet, or six seconds, end it.
    """

    def __init__(self, before: Int16 | None, ends: bool = True) -> None:
        self._ends = ends
        self._limit = 0.0
        self._learns = before is None
        self._levels: list[np.int64] = []  # of all tiles, where it learns
        self._waiting: list[Int16] = []  # tiles that are looked at when it has learned of them
        before = np.zeros(_LAG_SAMPLES, np.int16) if before is None else before
        before = before[(len(before) - _LAG_SAMPLES) % TILE_SAMPLES :]
        if not self._learns:
            self._limit = _limit(_levels(before))
        self._rest: Int16 = before[len(before) - _LAG_SAMPLES :]
        self._tiles = 0
        self._buffer: list[Int16] = []
        self._loud = 0  # tiles of the buffer
        self._recent: list[Int16] = []  # quiet tiles that may be an onset
        self._quiet = 0  # tiles since the last loud one
        self._heard = 0  # loud tiles in all
        self.ended = False

    @property
    def samples(self) -> int:
        """How far it has looked, counted from the wake word."""
        return self._tiles * TILE_SAMPLES

    def push(self, samples: Int16) -> list[Piece]:
        """(n,) int16 that follow what was pushed before -> the pieces that they complete; none after the end."""
        if self.ended:
            return []
        joined = np.concatenate([self._rest, samples])
        count = (len(joined) - _LAG_SAMPLES) // TILE_SAMPLES
        self._rest = joined[count * TILE_SAMPLES :]
        pieces: list[Piece] = []
        if not count:
            return pieces
        whole = joined[: count * TILE_SAMPLES + _LAG_SAMPLES]
        for number, level in enumerate(_levels(whole)):
            start = number * TILE_SAMPLES + _LAG_SAMPLES
            tile = whole[start : start + TILE_SAMPLES]
            if self._learns:
                self._learn(tile, level, pieces)
            else:
                self._look(tile, bool(level > self._limit), pieces)
            if self.ended:
                break
        return pieces

    def _learn(self, tile: Int16, level: np.int64, pieces: list[Piece]) -> None:
        """What is quiet and what is loud; the tiles since the last time are looked at then."""
        self._levels.append(level)
        self._waiting.append(tile)
        if len(self._waiting) == LEARNED_TILES:
            self._look_at_waiting(pieces)

    def _look_at_waiting(self, pieces: list[Piece]) -> None:
        if not self._waiting:
            return
        self._limit = _limit(np.array(self._levels))
        waiting, self._waiting = self._waiting, []
        for tile, level in zip(waiting, self._levels[-len(waiting) :]):
            if not self.ended:
                self._look(tile, bool(level > self._limit), pieces)

    def finish(self) -> list[Piece]:
        """The stream is over, or nobody listens on."""
        pieces: list[Piece] = []
        if not self.ended:
            self._look_at_waiting(pieces)
            self._cut(pieces)
            self.ended = True
        return pieces

    def _look(self, tile: Int16, loud: bool, pieces: list[Piece]) -> None:
        self._tiles += 1
        if loud:
            self._buffer += [*self._recent, tile]
            self._recent = []
            self._quiet, self._loud, self._heard = 0, self._loud + 1, self._heard + 1
        else:
            self._quiet += 1
            if self._buffer and self._quiet <= _HANG_TILES:
                self._buffer.append(tile)
            else:
                self._recent = [*self._recent, tile][-_ONSET_TILES:]
        long_enough = self._loud >= SHORT_TILES and self._quiet >= PAUSE_TILES
        if len(self._buffer) >= PIECE_TILES or long_enough:
            self._cut(pieces)
        # the last sound of the wake word is no command yet
        over = self._quiet >= END_TILES if self._heard >= SHORT_TILES else self._tiles >= AWAITED_TILES
        if self._ends and (over or self._tiles >= MOST_TILES):
            self._cut(pieces)
            self.ended = True

    def _cut(self, pieces: list[Piece]) -> None:
        if self._loud >= SHORT_TILES:
            end = (self._tiles - self._quiet) * TILE_SAMPLES
            pieces.append(Piece(np.concatenate(self._buffer), end, self.samples, self._loud * TILE_SAMPLES))
            self._buffer, self._loud = [], 0


def pieces_of(samples: Int16) -> list[Piece]:
    """All that is said in (n,) int16, in order; its own levels say what is quiet and what is loud."""
    if len(samples) < TILE_SAMPLES + _LAG_SAMPLES:
        return []
    follower = Follower(samples, ends=False)
    return follower.push(samples) + follower.finish()


def _limit(levels: npt.NDArray[np.int64]) -> float:
    """(n,) levels of tiles -> what is loud is above it."""
    quiet, loud = np.percentile(levels, [_QUIET_PERCENTILE, _LOUD_PERCENTILE])
    return max(_ABOVE_QUIET * float(quiet), _BELOW_LOUD * float(loud))


def _levels(samples: Int16) -> npt.NDArray[np.int64]:
    """(4 + 320 n,) int16 -> (n,) sums of the steps over 4 samples."""
    wide = samples.astype(np.int32)
    steps = np.abs(wide[_LAG_SAMPLES:] - wide[:-_LAG_SAMPLES])
    sums: npt.NDArray[np.int64] = steps.reshape(-1, TILE_SAMPLES).sum(axis=1, dtype=np.int64)
    return sums

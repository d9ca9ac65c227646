"""Several channels -> one: which of them hold the voice.

An average of all is right for two microphones side by side. It is wrong where a channel is dead, where one is wired
the other way round and cancels the rest, and where an array has the sound of its own loudspeaker on a channel, as a
reference for cancelling the echo. The covariance of the channels tells them: microphones of one device hear the same
at nearly the same time, a reference is another sound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .samples import FULL_SCALE, AudioFormat, Float32

DEAD_RMS = 8 / FULL_SCALE  # −72 dBFS, which is noise of a converter with nothing connected; …
DEAD_SHARE = 0.1  # … and 20 dB below the loudest
ALIKE = 0.5  # correlation of two microphones that hear the same; at 10 cm a voice has 0.6 and more
UNLIKE = 0.3  # less has nothing in common; the negative of it cancels
AUDIBLE_RMS = 1e-3  # −60 dBFS: below it, microphones in a quiet room have only noise of their own
LOOK_S = 0.1  # so often a live stream decides anew
SAY_AFTER = 10  # looks: the first few may be wrong
FORGET_S = 10.0  # what was so long ago counts a third

Mono = Callable[[Float32], Float32]
"""float32 (n, channels) -> float32 (n,)."""


@dataclass(frozen=True)
class Mix:
    """How the channels become one."""

    weights: Float32
    """(channels,); zero: left out, negative: turned over."""
    remarks: tuple[str, ...] = ()
    """What was noticed, a phrase each."""

    def __call__(self, frames: Float32) -> Float32:
        """float32 (n, channels) -> float32 (n,)."""
        kept = np.flatnonzero(self.weights)
        if len(kept) == len(self.weights) and (self.weights > 0).all():
            mean: Float32 = frames.mean(axis=1, dtype=np.float32)
            return mean
        signed = frames[:, kept] * np.sign(self.weights[kept])
        mixed: Float32 = signed.mean(axis=1, dtype=np.float32)
        return mixed


@dataclass(frozen=True)
class OneChannel:
    """The channel that somebody named, from 0."""

    number: int

    def __call__(self, frames: Float32) -> Float32:
        """float32 (n, channels) -> float32 (n,)."""
        return frames[:, self.number]


def one_channel(number: int, channels: int) -> OneChannel:
    """The channel of that number.

    Raises:
        AudioError: there is none.
    """
    if not 0 <= number < channels:
        has = "1 channel, number 0" if channels == 1 else f"{channels} channels, 0 to {channels - 1}"
        raise AudioError(f"there is no channel {number}: it has {has}")
    return OneChannel(number)


class Covariance:
    """Sums over frames, from which powers and correlations follow."""

    def __init__(self, channels: int) -> None:
        self._count = 0.0
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))

    def push(self, frames: Float32) -> None:
        """float32 (n, channels)."""
        wide = np.nan_to_num(np.clip(frames, -1, 1).astype(np.float64))  # what is no number is said elsewhere
        self._count += len(frames)
        self._sums += wide.sum(axis=0)
        self._products += wide.T @ wide

    def fade(self, share: float) -> None:
        """What came before counts so much of what it did."""
        self._count *= share
        self._sums *= share
        self._products *= share

    def matrix(self) -> npt.NDArray[np.float64]:
        """(channels, channels): covariances, a constant offset left out."""
        count = max(self._count, 1.0)
        means = self._sums / count
        found: npt.NDArray[np.float64] = self._products / count - np.outer(means, means)
        symmetric: npt.NDArray[np.float64] = (found + found.T) / 2
        return symmetric


def choose(covariance: npt.NDArray[np.float64]) -> Mix:
    """(channels, channels) -> how to mix them."""
    channels = len(covariance)
    rms = np.sqrt(np.maximum(np.diag(covariance), 0))
    dead = (rms < DEAD_RMS) & (rms <= DEAD_SHARE * rms.max()) & (rms.max() > 0)
    alive = np.flatnonzero(~dead)
    remarks = [f"{_named(np.flatnonzero(dead))} dead and left out"] if dead.any() else []
    scale = np.where(rms > 0, rms, np.inf)
    alike = covariance / np.outer(scale, scale)
    kept, remark = _without_reference(alive, alike, rms)
    if remark:
        remarks.append(remark)
    among = np.abs(alike[np.ix_(kept, kept)])
    root = kept[int(np.argmax(np.round(among.sum(axis=1), 6)))]
    turned = np.array([number for number in kept if alike[root, number] < -UNLIKE], dtype=int)
    if len(turned):
        remarks.append(
            f"{_named(turned)} the other way round than {_numbers([root])}, so that they would cancel: turned over"
        )
    weights = np.zeros(channels, np.float32)
    weights[kept] = 1 / len(kept)
    weights[turned] *= -1
    return Mix(weights, tuple(remarks))


def _without_reference(
    alive: npt.NDArray[np.intp], alike: npt.NDArray[np.float64], rms: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], str]:
    """The channels that hear the same, and what to say of the others."""
    if len(alive) < 2:
        return alive, ""
    group = max(_groups(alive, alike), key=len)  # the first of those as large
    others = np.array([number for number in alive if number not in group], dtype=int)
    strange = [number for number in others if np.abs(alike[number, group]).max() < UNLIKE]
    if len(group) > 1 and strange:
        kept = np.array([number for number in alive if number not in strange])
        return kept, (
            f"{_named(strange)} another sound than {_numbers(group)}, as what a loudspeaker plays, and left out"
        )
    if len(group) == 1 and len(strange) == len(others) and (rms[alive] > AUDIBLE_RMS).all():
        return alive, (
            f"{_numbers(alive)} have nothing in common, and are mixed: if one is what a loudspeaker plays, "
            "choose another one with --channel"
        )
    return alive, ""


def _groups(alive: npt.NDArray[np.intp], alike: npt.NDArray[np.float64]) -> list[list[int]]:
    """The channels, each with those that are like it, or like one that is; in the order of their first ones.

    Each row is looked at once: a file may have a thousand channels.
    """
    joined = np.abs(alike) >= ALIKE
    left = np.zeros(len(alike), bool)
    left[alive] = True
    groups = []
    while left.any():
        group = [int(np.argmax(left))]
        left[group[0]] = False
        for member in group:  # it grows
            new = np.flatnonzero(joined[member] & left)
            left[new] = False
            group += new.tolist()
        groups.append(sorted(group))
    return groups


def _numbers(numbers: npt.ArrayLike) -> str:
    found = [str(number) for number in np.atleast_1d(np.asarray(numbers))]
    return f"channel {found[0]}" if len(found) == 1 else f"channels {', '.join(found[:-1])} and {found[-1]}"


def _named(numbers: npt.ArrayLike) -> str:
    return f"{_numbers(numbers)} {'is' if np.size(numbers) == 1 else 'are'}"


def mix_of_stream(audio_format: AudioFormat, channel: int | None, say: Callable[[str], object]) -> Mono | None:
    """How a stream that has not ended becomes one channel: the one that is named, or those that hold the voice.

    None: it has only one. `say` is told what is noticed.

    Raises:
        AudioError: there is no such channel.
    """
    if channel is not None:
        return one_channel(channel, audio_format.channels)
    return LiveMix(audio_format, say) if audio_format.channels > 1 else None


class LiveMix:
    """The channels of a stream that has not ended: looks at what came ten times a second.

    What comes out depends on nothing that comes later, nor on how the stream is cut.
    """

    def __init__(self, audio_format: AudioFormat, say: Callable[[str], object]) -> None:
        self._say = say
        self._seen: dict[str, int] = {}
        self._look_frames = max(1, round(LOOK_S * audio_format.rate_hz))
        self._covariance = Covariance(audio_format.channels)
        self._mix = Mix(np.full(audio_format.channels, 1 / audio_format.channels, np.float32))
        self._window: list[Float32] = []
        self._waiting = 0

    def __call__(self, frames: Float32) -> Float32:
        """float32 (n, channels) -> float32 (n,)."""
        mixed = []
        while len(frames):
            piece = frames[: self._look_frames - self._waiting]
            frames = frames[len(piece) :]
            mixed.append(self._mix(piece))
            self._window.append(piece.copy())
            self._waiting += len(piece)
            if self._waiting == self._look_frames:
                self._look()
        return np.concatenate([np.zeros(0, np.float32), *mixed])

    def _look(self) -> None:
        self._covariance.fade(np.exp(-LOOK_S / FORGET_S))
        self._covariance.push(np.concatenate(self._window))
        self._window, self._waiting = [], 0
        covariance = self._covariance.matrix()
        if np.sqrt(np.diag(covariance).max()) < AUDIBLE_RMS:
            return  # a quiet room tells nothing
        self._mix = choose(covariance)
        for remark in self._mix.remarks:
            self._seen[remark] = self._seen.get(remark, 0) + 1
            if self._seen[remark] == SAY_AFTER:
                self._say(remark)

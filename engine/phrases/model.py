"""What is learned of a phrase, and how like it something is: a trained gate, and then the takes themselves.

The score of a moment is half the gate's and half that of the takes. Each is brought to one scale for all phrases: 0
is what one second in ten of other speech reaches, 1 what the takes have (docs/research/phrase.md).

* **The gate** is a logistic regression over the last eight features (models/phrase_head_net.py trains it).
* **The takes** are compared by dynamic time warping (H. Sakoe and S. Chiba, 1978) of features: the mean cosine along
  the best path that ends now, for the best three of the takes. Speech may be twice as fast or as slow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..audio.samples import Float32
from ..errors import InputError
from .network import FEATURES

PREFIX = "phrase:"
"""Wake words that are phrases of people are called so: no network of a published word has such a name."""
WINDOW = 8  # features that the gate hears
LOOK = 4  # features, 320 ms, in which gate and takes need not agree about the moment
BEST_TAKES = 3
MOST_TAKE_FEATURES = 25  # 2 s: a longer take is no phrase
SLOPE = 8.0  # of the score's sigmoid: 0.1 above the threshold is a probability of 0.69
CUTOFF = 0.5
"""Probability of a score that just reaches the threshold."""
MOST_TEXT = 60
NEVER = -9.0  # on the common scale: nothing that was ever heard


class Scale(NamedTuple):
    """What is 0 and what is 1 on the common scale."""

    other: float
    own: float

    def of(self, raw: float) -> float:
        """A raw score on it."""
        return (raw - self.other) / (self.own - self.other)


@dataclass(frozen=True, eq=False)
class PhraseModel:
    """What is learned of one person's phrase; part of the voiceprint."""

    text: str
    """As it was typed."""
    weights: Float32
    """(8, 32) of the gate, the oldest feature first."""
    bias: float
    takes: tuple[Float32, ...] = field(repr=False)
    """(n, 32) features of each take, n from 2 to 25."""
    gate_scale: Scale
    take_scale: Scale
    threshold: float
    """Score from which on it is the phrase."""


def keyword_of(text: str) -> str:
    """The wake word's name for a phrase as it was typed: "Ahoy, house!" -> `phrase:ahoy_house`.

    Raises:
        InputError: there is no letter or digit in it, or it is too long.
    """
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())
    if not words or len(text) > MOST_TEXT or not text.isprintable():
        raise InputError(f"phrase {text!r:.80} must have letters, and at most {MOST_TEXT} characters")
    return PREFIX + "_".join(words)


def is_phrase(keyword: str) -> bool:
    """Whether a wake word is a phrase of people's own."""
    return keyword.startswith(PREFIX)


def gate_of(model: PhraseModel, window: Float32) -> float:
    """(8, 32) the last features -> raw score of the gate."""
    return float(np.vdot(model.weights, window)) + model.bias


class TakesInStream:
    """Compares a stream with takes, moment by moment."""

    def __init__(self, takes: Sequence[Float32]) -> None:
        self._lengths = np.array([len(take) for take in takes])
        self._takes = np.zeros((len(takes), int(self._lengths.max()), FEATURES), np.float32)
        for row, take in zip(self._takes, takes):
            row[: len(take)] = take
        self._which = np.arange(len(takes))
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        none = np.full(self._takes.shape[:2], -np.inf, np.float32)
        self._before, self._last = none, none  # sums of the best paths through so much of a take, two and one ago
        self._old = np.zeros_like(none)  # cosines of one moment ago

    def push(self, feature: Float32) -> float:
        """(32,) the next feature -> mean over the best three takes of the mean cosine along the path that ends here.

        A step of the path goes on by one in both, by two in the stream (the mean of both counts), or by two in the
        take. Minus infinity until a take can have been said.
        """
        now: Float32 = self._takes @ feature
        last, best = self._last, np.empty_like(now)
        best[:, 0] = now[:, 0]
        slow = self._before[:, :-1] + np.float32(0.5) * (self._old[:, 1:] + now[:, 1:])
        np.maximum(last[:, :-1] + now[:, 1:], slow, out=best[:, 1:])
        np.maximum(best[:, 2:], last[:, :-2] + now[:, 1:-1] + now[:, 2:], out=best[:, 2:])
        self._before, self._last, self._old = last, best, now
        means = np.sort(best[self._which, self._lengths - 1] / self._lengths)
        return float(means[-BEST_TAKES:].sum()) / min(BEST_TAKES, len(means))


class PhraseHearing:
    """The score of one phrase in a stream, moment by moment; any cut of it gives the same bits."""

    def __init__(self, model: PhraseModel) -> None:
        self._model, self._takes = model, TakesInStream(model.takes)
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        self._takes.reset()
        self._window = np.zeros((WINDOW, FEATURES), np.float32)
        self._gates = [NEVER] * LOOK
        self._likenesses = [NEVER] * LOOK

    def push(self, feature: Float32) -> float:
        """(32,) the next feature -> the score now."""
        self._window = np.concatenate([self._window[1:], feature[None]])
        self._gates = [*self._gates[1:], self._model.gate_scale.of(gate_of(self._model, self._window))]
        self._likenesses = [*self._likenesses[1:], self._model.take_scale.of(self._takes.push(feature))]
        return 0.5 * max(self._gates) + 0.5 * max(max(self._likenesses), NEVER)


def scores(model: PhraseModel, features: Float32) -> Float32:
    """(t, 32) features of a stream from its beginning -> (t,) what `PhraseHearing` gives, all at once."""
    hearing = PhraseHearing(model)
    return np.array([hearing.push(feature) for feature in features], np.float32)

"""Takes in, what is learned of the phrase out: copies, features, a trained gate, the takes, scales and threshold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.features.mel import HOP_SAMPLES, WINDOW_SAMPLES
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model
from earmark.engine.phrases.codec import rounded
from earmark.engine.phrases.model import (
    MOST_TAKE_FEATURES,
    WINDOW,
    PhraseModel,
    Scale,
    TakesInStream,
    scores,
)
from earmark.engine.phrases.network import FEATURES, STRIDE_FRAMES, PhraseNetwork

from .copies import COPIES, Copy, copies_of
from .gate import Examples, PhraseGate

STEPS, LEARNING_RATE, PULL = 60, 0.02, 1e-3  # of each round; docs/research/phrase.md
HARD, AT_RANDOM = 1000, 1500  # windows of the bank: of each round, of both
TAKE_WEIGHT = 4.0  # of a take itself, against 1 of a variation of it
MOST_TALK = 600  # windows of the owner's other speech: 48 s
BLOCK = 12  # features, about a second: what "one second in ten of other speech" counts
OTHER_SHARE = 0.9
THRESHOLD = 0.5  # docs/research/phrase.md
TALK_MARGIN = 0.05  # by so much the threshold is above what the owner's other speech reaches
MOST_THRESHOLD = 0.75  # a quarter of what the takes have is left to their owner

_STRIDE_SAMPLES = STRIDE_FRAMES * HOP_SAMPLES
_FIRST_END = (STRIDE_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES  # where the first feature of a stream ends
# Of a take as it is compared: features that end from 0.3 s after its start, when they have begun to hear it, to
# 0.12 s after its end
_INTO_SAMPLES, _BEYOND_SAMPLES = 4_800, 1_920


@dataclass(frozen=True)
class PhraseTools:
    """What learning a phrase needs; it serves any number of phrases."""

    network: PhraseNetwork
    gate: PhraseGate
    bank: Float32
    """(n, 32) features of other speech."""

    @classmethod
    def load(cls, folder: Path = MODELS_DIR) -> PhraseTools:
        """With the networks and the bank of a folder; by default those that earmark carries.

        Raises:
            ModelError: one is damaged, or they do not belong together.
        """
        card = load_card("phrase_bank", folder)
        with np.load(io.BytesIO(read_model(card, folder)), allow_pickle=False) as arrays:
            rows = arrays["rows"].astype(np.float32) / np.float32(card.parameters["scale"])
        return cls(PhraseNetwork(folder), PhraseGate(folder), rows)

    def hear(self, samples: Int16) -> Float32:
        """(n,) int16, as a stream of its own -> (m, 32) features."""
        self.network.reset()
        return self.network.push(samples)


@dataclass(frozen=True)
class LearnedPhrase:
    """What came of it."""

    model: PhraseModel
    report: dict[str, Any]
    """What was measured, for people to read."""


def learn_phrase(
    text: str, takes: Sequence[Analysis], tools: PhraseTools, talk: Sequence[Int16] = (), seed: int = 0
) -> LearnedPhrase:
    """Learns to tell a phrase from everything else.

    Args:
        text: the phrase as it was typed.
        takes: of it, two at least, one utterance each.
        tools: networks and bank.
        talk: (n,) int16 each of the owner's other speech; it is told from the phrase, and raises the threshold.
        seed: of the variations.

    Raises:
        AudioError: there is no speech in a take.
    """
    heard = [_Heard.of(take, tools, [seed, number]) for number, take in enumerate(takes)]
    other = np.concatenate([np.zeros((0, FEATURES), np.float32), *map(tools.hear, talk)])
    weights, bias = _train(heard, other, tools, np.random.default_rng([seed, len(takes)]))
    weights, kept = rounded(weights), tuple(one.take for one in heard)
    gate_scale = Scale(_usual(_gates(weights, bias, tools.bank)), _own_gate(weights, bias, heard))
    take_scale = Scale(_usual(_likeness(kept, _some(tools.bank))), _own_likeness(heard))
    model = PhraseModel(text, weights, bias, kept, gate_scale, take_scale, THRESHOLD)
    said = float(scores(model, other).max()) if len(other) else None
    threshold = THRESHOLD if said is None else min(MOST_THRESHOLD, max(THRESHOLD, said + TALK_MARGIN))
    model = PhraseModel(text, weights, bias, kept, gate_scale, take_scale, threshold)
    own = [float(scores(model, one.features[0]).max()) for one in heard]
    report = {"threshold": round(threshold, 4), "takes": [round(score, 4) for score in own]}
    report["wakes_an_hour"] = round(_an_hour(scores(model, _some(tools.bank)) > threshold), 1)
    if said is not None:
        report["talk"] = round(said, 4)
    return LearnedPhrase(model, report)


@dataclass(frozen=True)
class _Heard:
    """A take and its copies, as features."""

    features: list[Float32]
    """(m, 32) of each copy; the first is the take itself."""
    spans: list[tuple[int, int]]
    """In each, the features between which the phrase begins and ends."""
    take: Float32
    """(n, 32) what is compared with."""

    @classmethod
    def of(cls, take: Analysis, tools: PhraseTools, seed: Sequence[int], copies: int = COPIES) -> _Heard:
        made = copies_of(take, seed, copies)
        features = [tools.hear(copy.samples) for copy in made]
        return cls(features, [_span(copy) for copy in made], rounded(_compared(made[0], features[0])))


def _span(copy: Copy) -> tuple[int, int]:
    """The first features that end after the phrase's begin and after its end."""
    start, end = (-(-(position - _FIRST_END) // _STRIDE_SAMPLES) for position in (copy.start, copy.end))
    return max(0, start), end


def _compared(copy: Copy, features: Float32) -> Float32:
    """(n, 32) of a take, n from 2 to 25: of a longer one, its end."""
    first = -(-(copy.start + _INTO_SAMPLES - _FIRST_END) // _STRIDE_SAMPLES)
    last = (copy.end + _BEYOND_SAMPLES - _FIRST_END) // _STRIDE_SAMPLES
    first = max(0, min(first, last - 1))
    return features[first : last + 1][-MOST_TAKE_FEATURES:]


def _windows(features: Float32) -> Float32:
    """(n, 32) -> (n, 256): each with the seven before it; the first is repeated."""
    padded = np.concatenate([np.repeat(features[:1], WINDOW - 1, axis=0), features])
    return np.concatenate([padded[k : k + len(features)] for k in range(WINDOW)], axis=1)


def _train(
    heard: Sequence[_Heard], talk: Float32, tools: PhraseTools, rng: np.random.Generator
) -> tuple[Float32, float]:
    """Two rounds: the second sees what of the bank the first one took for the phrase."""
    own, weight, around = [], [], []
    for one in heard:
        for number, (features, (start, end)) in enumerate(zip(one.features, one.spans)):
            windows = _windows(features)
            own.append(windows[end : end + 2])  # that end up to 160 ms after the phrase
            weight += [TAKE_WEIGHT if number == 0 else 1.0] * len(own[-1])
            around.append(windows[: start + 1 : 3])  # before it: not yet the phrase
    positive = np.concatenate(own)
    bank = _windows(tools.bank)
    said = _windows(talk)[:: max(1, -(-len(talk) // MOST_TALK))] if len(talk) else np.zeros((0, bank.shape[1]))
    negative = [np.concatenate(around), said, bank[rng.choice(len(bank), min(AT_RANDOM, len(bank)), replace=False)]]
    direction, weights, bias = positive.mean(axis=0), np.zeros(0, np.float32), 0.0
    for _ in range(2):
        negative.append(bank[np.argsort(-(bank @ direction), kind="stable")[:HARD]])
        weights, bias = _fit(tools.gate, positive, np.array(weight, np.float32), np.concatenate(negative))
        direction = weights.reshape(-1)
    return weights, bias


def _fit(gate: PhraseGate, positive: Float32, weight: Float32, negative: Float32) -> tuple[Float32, float]:
    """Trains the gate from zero; both sides weigh the same."""
    negative = negative[-(gate.rows - len(positive)) :].astype(np.float32)
    examples = Examples(
        np.concatenate([positive, negative]),
        np.concatenate([np.ones(len(positive)), np.zeros(len(negative))]).astype(np.float32),
        np.concatenate([weight / weight.sum(), np.full(len(negative), 1 / len(negative))]).astype(np.float32),
    )
    gate.initialize()
    for _ in range(STEPS):
        gate.train(examples, LEARNING_RATE, PULL)
    return gate.get_weights()


def _gates(weights: Float32, bias: float, features: Float32) -> Float32:
    return np.asarray(_windows(features) @ weights.reshape(-1) + np.float32(bias), np.float32)


def _likeness(takes: Sequence[Float32], features: Float32) -> Float32:
    stream = TakesInStream(takes)
    return np.array([stream.push(feature) for feature in features], np.float32)


def _some(bank: Float32) -> Float32:
    """A quarter of it, in pieces of eight seconds: of all of it the quantile would be the same."""
    piece = 8 * BLOCK
    return np.concatenate([bank[start : start + piece] for start in range(0, len(bank), 4 * piece)])


def _an_hour(passes: npt.NDArray[np.bool_]) -> float:
    """How often an hour it is passed; moments in one second count once."""
    blocks = passes[: len(passes) // BLOCK * BLOCK].reshape(-1, BLOCK).any(axis=1)
    return float(blocks.sum() / (len(passes) * _STRIDE_SAMPLES / RATE_HZ / 3600))


def likeness_to_others(takes: Sequence[Analysis], tools: PhraseTools) -> list[float]:
    """Of each of two takes or more, how like the others it is: the mean cosine along the path, of the best three.

    Raises:
        AudioError: there is no speech in a take.
    """
    heard = [_Heard.of(take, tools, [0], copies=1) for take in takes]
    return [_to_others(heard, number) for number in range(len(heard))]


def _usual(raw: Float32) -> float:
    """What nine seconds in ten of other speech stay below."""
    blocks = raw[: len(raw) // BLOCK * BLOCK].reshape(-1, BLOCK).max(axis=1)
    return float(np.quantile(blocks, OTHER_SHARE))


def _own_gate(weights: Float32, bias: float, heard: Sequence[_Heard]) -> float:
    """The mean over takes and copies."""
    return float(np.mean([_gates(weights, bias, each).max() for one in heard for each in one.features]))


def _own_likeness(heard: Sequence[_Heard]) -> float:
    """The mean over the takes, each compared with the others."""
    return float(np.mean([_to_others(heard, number) for number in range(len(heard))]))


def _to_others(heard: Sequence[_Heard], number: int) -> float:
    others = [each.take for at, each in enumerate(heard) if at != number]
    return float(_likeness(others, heard[number].features[0]).max())

"""Recipe: a speaker network with fewer channels (`speaker_net.py`), so that it ships and runs in little memory.

A channel is worth what the embedding would change without it: the square of the derivative of a random projection
of the unit embedding by a factor on the channel's deviation from its mean (the diagonal of Fisher's information, as
in L. Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018), summed over what the
network shall hear. Channels of the least worth for what they weigh go first; what a channel was on average goes into
the biases of those who listened to it. Training mends the rest (`train_speaker.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .speaker_net import DILATIONS, Array, Weights, layers_of

Mask = npt.NDArray[np.bool_]


class Worth(NamedTuple):
    """What was measured of a network, by the names of its channels (`channels`)."""

    fisher: dict[str, Array]
    """(channels,) of each group that may lose some."""
    means: dict[str, Array]
    """(channels,) mean of what each layer is given: NAME.in, NAME.narrow, NAME.context, transitN.in, dense.in."""


def channels(weights: Weights) -> dict[str, int]:
    """How many channels each group has that may lose some: of a layer's output (its own name), of what it narrows
    to, of its context, and of each transit. The front stays whole: it is small, and hears everything."""
    counts = {}
    for block in range(1, len(DILATIONS) + 1):
        for layer in layers_of(weights, block):
            name = f"block{block}.{layer}"
            counts[name] = weights[f"{name}.local.weight"].shape[2]
            counts[f"{name}.narrow"] = weights[f"{name}.narrow.weight"].shape[1]
            counts[f"{name}.context"] = weights[f"{name}.context1.weight"].shape[1]
        counts[f"transit{block}"] = weights[f"transit{block}.weight"].shape[1]
    return counts


def costs(weights: Weights) -> dict[str, float]:
    """About how many weights one channel of each group takes along."""
    result: dict[str, float] = {}
    for block in range(1, len(DILATIONS) + 1):
        layers = layers_of(weights, block)
        listeners = [weights[f"block{block}.{layer}.narrow.weight"].shape[1] for layer in layers]
        transit = weights[f"transit{block}.weight"]
        for number, layer in enumerate(layers):
            name = f"block{block}.{layer}"
            _, narrow, growth = weights[f"{name}.local.weight"].shape
            context = weights[f"{name}.context1.weight"].shape[1]
            result[name] = sum(listeners[number + 1 :]) + transit.shape[1] + 3 * narrow + context
            result[f"{name}.narrow"] = len(weights[f"{name}.scale"]) + 3 * growth + context
            result[f"{name}.context"] = narrow + growth
        following = [
            weights[f"block{block + 1}.{layer}.narrow.weight"].shape[1] for layer in layers_of(weights, block + 1)
        ]
        result[f"transit{block}"] = len(transit) + (sum(following) or 2 * weights["dense.weight"].shape[1])
    return result


def pruned(weights: Weights, worth: Worth, size: int) -> Weights:
    """The network that keeps what is worth most, with at most about `size` weights."""
    costs_ = costs(weights)
    worths = {name: worth.fisher[name] / costs_[name] for name in channels(weights)}
    every = np.sort(np.concatenate(list(worths.values())))
    lowest, highest = 0, len(every) - 1
    while lowest < highest:  # the first limit that leaves few enough
        middle = (lowest + highest) // 2
        kept = without(weights, {name: _above(values, every[middle]) for name, values in worths.items()}, worth.means)
        if sum(values.size for values in kept.values()) > size:
            lowest = middle + 1
        else:
            highest = middle
    return without(weights, {name: _above(values, every[lowest]) for name, values in worths.items()}, worth.means)


def _above(values: Array, limit: float) -> Mask:
    """Which are above; at least the largest."""
    keep: Mask = values > limit
    keep[np.argmax(values)] = True
    return keep


def without(weights: Weights, keep: dict[str, Mask], means: dict[str, Array]) -> Weights:
    """The network with the channels that `keep` has; the others are on average there, in the biases."""
    result = dict(weights)
    present = np.ones(len(weights["delay.bias"]), bool)  # of what the next layer is given
    for block in range(1, len(DILATIONS) + 1):
        for layer in layers_of(weights, block):
            name = f"block{block}.{layer}"
            growth, narrow, context = keep[name], keep[f"{name}.narrow"], keep[f"{name}.context"]

            def heard(part: str, mean: Array, left: Mask, name: str = name) -> Array:
                """What the channels that go, all but `left`, add to each output of a part on average."""
                kernel = weights[f"{name}.{part}.weight"]
                matrix = kernel if kernel.ndim == 2 else kernel.sum(axis=0)
                return np.asarray(mean[~left] @ matrix[~left])

            biases = {
                "narrow": heard("narrow", means[f"{name}.in"], present)[narrow],
                "local": heard("local", means[f"{name}.narrow"], narrow)[growth],
                "context1": heard("context1", 2 * means[f"{name}.narrow"], narrow)[context],
                "context2": heard("context2", means[f"{name}.context"], context)[growth],
            }
            outputs = {"narrow": narrow, "local": growth, "context1": context, "context2": growth}
            inputs = {"narrow": present, "local": narrow, "context1": narrow, "context2": context}
            for part, bias in biases.items():
                kernel = weights[f"{name}.{part}.weight"]
                result[f"{name}.{part}.weight"] = kernel[..., inputs[part], :][..., outputs[part]]
                result[f"{name}.{part}.bias"] = weights[f"{name}.{part}.bias"][outputs[part]] + bias
            for part in ("scale", "shift"):
                result[f"{name}.{part}"] = weights[f"{name}.{part}"][present]
            present = np.concatenate([present, growth])
        name = f"transit{block}"
        gone = means[f"{name}.in"][~present] @ weights[f"{name}.weight"][~present]
        for part in ("scale", "shift"):
            result[f"{name}.{part}"] = weights[f"{name}.{part}"][present]
        result[f"{name}.weight"] = weights[f"{name}.weight"][present][:, keep[name]]
        result[f"{name}.bias"] = (weights[f"{name}.bias"] + gone)[keep[name]]
        present = keep[name]
    for part in ("scale", "shift"):
        result[f"out.{part}"] = weights[f"out.{part}"][present]
    both = np.concatenate([present, present])  # means, then deviations
    result["dense.bias"] = weights["dense.bias"] + means["dense.in"][~both] @ weights["dense.weight"][~both]
    result["dense.weight"] = weights["dense.weight"][both]
    return {name: np.ascontiguousarray(values, np.float32) for name, values in result.items()}

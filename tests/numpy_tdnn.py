"""`models/tdnn_net.py` in numpy, in float64: forward and backward, by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy_block import loss_of

from earmark.models.flat_net import VARIANCE_FLOOR
from earmark.models.tdnn_net import BLOCKS, DILATIONS

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]
NORM_FLOOR = 1e-5
NEAR = 1e-6  # of the largest input of a relu: float32 may see it on the other side of 0


class Layer(NamedTuple):
    """What the way back needs of a mixed, normalised and cut layer."""

    given: Array
    unit: Array
    deviation: Array
    before_relu: Array


def passed(
    weights: Weights, x: Array, valid: Array, weight: Array, take: Any, is_take: Array
) -> tuple[float, Weights, int]:
    """Loss of a batch, its gradient by each of the weights, and how many inputs of a relu are near its kink."""
    counts = valid[:, :, None]
    gradients: Weights = {}
    layers: list[Layer] = []

    def finished(name: str, given: Array) -> Array:
        mixed = given @ weights[name] + weights[f"{name}.bias"]
        apart = mixed - mixed.mean(axis=2, keepdims=True)
        deviation = np.sqrt((apart**2).mean(axis=2, keepdims=True) + NORM_FLOOR)
        unit = apart / deviation
        before = unit * weights[f"{name}.gain"] + weights[f"{name}.shift"]
        layers.append(Layer(given, unit, deviation, before))
        return np.asarray(np.maximum(before, 0) * counts)

    def back(name: str, layer: Layer, above: Array) -> Array:
        """The gradient by what the layer was given; those by its weights are put down."""
        above = above * np.where(layer.before_relu > 0, counts, 0.0)
        gradients[f"{name}.gain"] = (above * layer.unit).sum(axis=(0, 1))
        gradients[f"{name}.shift"] = above.sum(axis=(0, 1))
        by_unit = above * weights[f"{name}.gain"]
        centred = by_unit - by_unit.mean(axis=2, keepdims=True)
        by_mixed = (centred - layer.unit * (by_unit * layer.unit).mean(axis=2, keepdims=True)) / layer.deviation
        gradients[name] = np.einsum("bti,bto->io", layer.given, by_mixed)
        gradients[f"{name}.bias"] = by_mixed.sum(axis=(0, 1))
        return np.asarray(by_mixed @ weights[name].T)

    y = finished("in", np.concatenate(neighbours(x * counts, 1), axis=2))
    given = []
    for block in range(BLOCKS):
        near = neighbours(y, DILATIONS[block % 3])
        given.append(near)
        taps = weights[f"block{block}.taps"]
        y = y + finished(f"block{block}", sum(each * tap for each, tap in zip(near, taps)))
    number = valid.sum(axis=1, keepdims=True)
    mean = (y * counts).sum(axis=1) / number
    apart = (y - mean[:, None]) * counts
    deviation = np.sqrt((apart**2).sum(axis=1) / (number - 1) + VARIANCE_FLOOR)
    pooled = np.concatenate([mean, deviation], axis=1)
    loss, by_embeddings = loss_of(pooled @ weights["out"] + weights["out.bias"], weight, take, is_take)
    gradients["out"], gradients["out.bias"] = pooled.T @ by_embeddings, by_embeddings.sum(axis=0)
    by_mean, by_deviation = np.split(by_embeddings @ weights["out"].T, 2, axis=1)
    by_apart = 2 * apart * (by_deviation * 0.5 / deviation / (number - 1))[:, None] * counts
    by_y = by_apart + ((by_mean - by_apart.sum(axis=1)) / number)[:, None] * counts
    for block in reversed(range(BLOCKS)):
        name, dilation = f"block{block}", DILATIONS[block % 3]
        by_given = back(name, layers[1 + block], by_y)
        gradients[f"{name}.taps"] = np.array([(by_given * each).sum(axis=(0, 1)) for each in given[block]])
        for tap, kernel in enumerate(weights[f"{name}.taps"]):
            by_y = by_y + moved(by_given * kernel, (tap - 1) * dilation)
    back("in", layers[0], by_y)
    largest = max(float(np.abs(layer.before_relu).max()) for layer in layers)
    near_kink = sum(int(np.sum((np.abs(layer.before_relu) < NEAR * largest) & (counts > 0))) for layer in layers)
    return loss, gradients, near_kink


def neighbours(x: Array, dilation: int) -> list[Array]:
    """(b, t, c): each frame's left neighbour at a distance, itself, and the right one; zeros around."""
    return [moved(x, dilation), x, moved(x, -dilation)]


def moved(x: Array, by: int) -> Array:
    """(b, t, c) later by so many frames, or earlier; what leaves is lost, what comes is zero."""
    out = np.zeros_like(x)
    if by == 0:
        return x
    if by > 0:
        out[:, by:] = x[:, :-by]
    else:
        out[:, :by] = x[:, -by:]
    return out

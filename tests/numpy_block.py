"""`models/block_net.py` and the loss of `models/flat_net.py` in numpy, in float64: forward and backward, by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.models.flat_net import VARIANCE_FLOOR
from earmark.models.head_net import MARGIN, SCALE

Array = npt.NDArray[np.float64]


class Passed(NamedTuple):
    """What came of a batch."""

    loss: float
    embeddings: Array
    by_embeddings: Array
    by_weights: dict[str, Array]
    near_kink: int
    """Inputs of a relu so near 0 that float32 may see them on the other side."""


def passed(weights: dict[str, Array], x: Array, valid: Array, weight: Array, take: Any, is_take: Array) -> Passed:
    """Loss of a batch and its gradients by the embeddings and by each of the weights."""
    hidden = x @ weights["transit"] + weights["transit_bias"]
    active = np.maximum(hidden, 0)
    counts = valid[:, :, None]
    number = valid.sum(axis=1, keepdims=True)
    mean = (active * counts).sum(axis=1) / number
    apart = (active - mean[:, None]) * counts
    deviation = np.sqrt((apart**2).sum(axis=1) / (number - 1) + VARIANCE_FLOOR)
    pooled = np.concatenate([mean, deviation], axis=1)
    embeddings = pooled @ weights["dense"] + weights["dense_bias"]
    loss, by_embeddings = loss_of(embeddings, weight, take, is_take)
    by_pooled = by_embeddings @ weights["dense"].T
    by_mean, by_deviation = np.split(by_pooled, 2, axis=1)
    by_apart = 2 * apart * (by_deviation * 0.5 / deviation / (number - 1))[:, None] * counts
    by_mean = by_mean - by_apart.sum(axis=1)
    by_hidden = (by_apart + (by_mean / number)[:, None] * counts) * (hidden > 0)
    gradients = {
        "transit": np.einsum("bti,btc->ic", x, by_hidden),
        "transit_bias": by_hidden.sum(axis=(0, 1)),
        "dense": pooled.T @ by_embeddings,
        "dense_bias": by_embeddings.sum(axis=0),
    }
    near = int(np.sum((np.abs(hidden) < 1e-6 * np.abs(hidden).max()) & (counts > 0)))
    return Passed(loss, embeddings, by_embeddings, gradients, near)


def loss_of(embeddings: Array, weight: Array, take: Any, is_take: Array) -> tuple[float, Array]:
    """The loss of rows of any length, and its gradient by them."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows = embeddings / lengths
    own_weight = weight * is_take
    mixed = (take[:, None] != take[None, :]) * own_weight[None, :]
    means = mixed @ rows
    mean_lengths = np.linalg.norm(means, axis=1, keepdims=True)
    prototypes = means / mean_lengths
    own = SCALE * ((rows * prototypes).sum(axis=1, keepdims=True) - MARGIN)
    pushed = (weight * (1 - is_take))[None, :] * np.exp(SCALE * rows @ rows.T - own)
    odds = pushed.sum(axis=1)
    loss = float(np.log1p(odds) @ own_weight / own_weight.sum())
    by_other = pushed * (own_weight / own_weight.sum() / (1 + odds))[:, None]
    by_own = -by_other.sum(axis=1, keepdims=True)
    by_prototypes = SCALE * by_own * rows
    by_means = (by_prototypes - prototypes * (prototypes * by_prototypes).sum(axis=1, keepdims=True)) / mean_lengths
    by_rows = SCALE * (by_other @ rows + by_other.T @ rows + by_own * prototypes) + mixed.T @ by_means
    return loss, (by_rows - rows * (rows * by_rows).sum(axis=1, keepdims=True)) / lengths

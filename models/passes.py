"""Recipe: the speaker network over the rows of a step, as torch runs it or as graphs of an accelerator.

Needs torch (extra `train`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from .speaker_net import EMBEDDING_SIZE, Weights
from .speaker_torch import Network

Tensor = Any  # torch's, which has no types where torch is not installed
Pass = Callable[[Tensor, Tensor], Tensor]
"""(b, frames, 80) power mel and (b,) lengths -> (b, 192)."""

# A graph has one shape: the rows of a step by their length, the shortest first, and the frames that each part of them
# has room for. What is longer than its part has room for loses its end, as a word that was cut off does.
BUCKETS = (0.34, 76), (0.33, 100), (0.33, 131)
LEAST_COSINE, LEAST_SLOPE_COSINE = 0.99, 0.95  # bfloat16 alone leaves 0.9999 and 0.988


def frozen(weights: Weights, device: Any) -> Network:
    """The network on a device, that learns nothing."""
    network: Network = Network(weights).to(device).requires_grad_(False)
    return network


def fast(device: Any) -> Any:
    """bfloat16 where torch thinks it safe."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def fast_pass(net: Network) -> Pass:
    """The network in bfloat16, for rows of any length."""

    def passed(frames: Tensor, lengths: Tensor) -> Tensor:
        with fast(frames.device):
            return net(frames[:, : int(lengths.max())], lengths).float()

    return passed


def graphed(net: Network, most_rows: int, device: Any) -> Pass:
    """The network in bfloat16 as CUDA graphs, one for each of BUCKETS, for at most so many rows.

    Without, the accelerator waits for the processor that tells it the small steps one by one: 118 ms of work in
    650 ms. Torch makes no graphs while PYTORCH_CUDA_ALLOC_CONF says `expandable_segments`.
    """

    class Fast(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
            with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False):
                return self.net(frames, lengths).float()

    counts = [round(share * most_rows) for share, _ in BUCKETS[:-1]]
    counts.append(most_rows - sum(counts))
    samples = tuple(
        (torch.rand(count, longest, 80, device=device) + 0.01, torch.full((count,), longest, device=device))
        for count, (_, longest) in zip(counts, BUCKETS)
    )
    made = torch.cuda.make_graphed_callables(tuple(Fast() for _ in BUCKETS), samples, allow_unused_input=True)

    def passed(frames: Tensor, lengths: Tensor) -> Tensor:
        rows = len(lengths)
        if rows < most_rows:  # filled up with the first ones again
            fill = torch.arange(most_rows, device=device) % rows
            frames, lengths = frames[fill], lengths[fill]
        order = lengths.argsort()
        outputs, at = [], 0
        for network, count, (_, longest) in zip(made, counts, BUCKETS):
            part = order[at : at + count]
            outputs.append(network(frames[part, :longest].contiguous(), lengths[part].clamp(max=longest)))
            at += count
        return torch.cat(outputs)[order.argsort()][:rows]

    return passed


def compare(net: Network, passed: Pass, frames: Tensor, lengths: Tensor) -> str:
    """How near embeddings and gradients of a pass are to those of the network, in words.

    Raises:
        RuntimeError: not near: the graphs cannot be trained with.
    """
    lengths = lengths.clamp(max=BUCKETS[0][1])  # so that no row loses its end, whatever part it is in
    directions = torch.randn(len(lengths), EMBEDDING_SIZE, device=lengths.device)
    found = []
    for way in (passed, fast_pass(net)):
        net.zero_grad(set_to_none=True)
        embeddings = functional.normalize(way(frames, lengths), dim=1)
        (embeddings * directions).sum().backward()
        slopes = [values.grad.detach().flatten().clone() for values in net.parameters() if values.grad is not None]
        found.append((embeddings.detach().clone(), torch.cat(slopes)))
    net.zero_grad(set_to_none=True)
    cosine = (found[0][0] * found[1][0]).sum(1)
    slope = functional.cosine_similarity(found[0][1], found[1][1], dim=0)
    said = f"cosine {cosine.min():.4f} at least, {cosine.mean():.5f} on average; of the gradients {slope:.4f}"
    if cosine.mean() < LEAST_COSINE or slope < LEAST_SLOPE_COSINE:
        raise RuntimeError(f"the graphs say something else than the network ({said}): train with --no-graph")
    return said

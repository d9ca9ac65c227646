"""Recipe: the speaker network of `speaker_net.py` in torch, for rows of different lengths at once.

Like the numpy one to 1e-4; with `watch`, it also measures what each of its channels is worth (`prune_speaker.py`).
Needs torch (extra `train`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .prune_speaker import Worth
from .speaker_net import DILATIONS, FLOOR, Array, Weights, layers_of

Tensor = Any  # torch's, which has no types where torch is not installed

_VARIANCE_FLOOR = 1e-7  # the square root's slope stays finite where a channel is nothing


class Network(torch.nn.Module):  # type: ignore[misc]
    """Power mel of several rows, filled up with zeros, to embeddings.

    Args:
        weights: by the names of `speaker_net.py`.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._values = torch.nn.ParameterDict(
            {name.replace(".", "/"): torch.nn.Parameter(torch.tensor(values)) for name, values in weights.items()}
        )
        self._layers = [layers_of(weights, block) for block in range(1, len(DILATIONS) + 1)]
        self._watched: dict[str, int] = {}
        self._gates: dict[str, Tensor] = {}
        self._means: dict[str, Array] = {}
        self._fisher: dict[str, Array] = {}
        self._passes = 0

    def weights(self) -> Weights:
        """By the names of `speaker_net.py`."""
        return {name.replace("/", "."): values.detach().cpu().numpy().copy() for name, values in self._values.items()}

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """(b, frames, 80) power mel and (b,) lengths -> (b, 192)."""
        return self.back(self.front(mel, lengths), (lengths + 1) // 2)

    def front(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """(b, frames, 80) and (b,) lengths -> (b, 128, (frames + 1) // 2): what lies before the blocks."""
        there = (torch.arange(mel.shape[1], device=mel.device) < lengths[:, None]).float()
        frames = torch.log(mel.clamp(min=FLOOR))
        mean = (frames * there[..., None]).sum(dim=1) / lengths[:, None]
        x = ((frames - mean[:, None]) * there[..., None]).transpose(1, 2)[:, None]
        if x.is_cuda:  # (b, inputs, mels, frames); on a CPU torch 2.13 dies of it, backwards
            x = x.contiguous(memory_format=torch.channels_last)
        there = there[:, None, None]  # what lies behind a row's end stays zero, as in a row alone

        def convolved(name: str, x: Tensor, stride: int = 1) -> Tensor:
            kernel = self._of(f"{name}.weight").permute(3, 2, 1, 0).contiguous()
            padding = kernel.shape[2] // 2, kernel.shape[3] // 2
            return functional.conv2d(x, kernel, self._of(f"{name}.bias"), (stride, 1), padding)

        x = torch.relu(convolved("front.in", x))
        there = there.to(x.dtype)
        x = x * there
        for stage in (1, 2):
            for number in (0, 1):
                name, stride = f"front.{stage}.{number}", 2 - number
                y = torch.relu(convolved(f"{name}.first", x, stride)) * there
                past = x if number else convolved(f"{name}.past", x, stride)
                x = torch.relu(convolved(f"{name}.second", y) + past) * there
        x = torch.relu(convolved("front.out", x, 2)) * there
        x = x.permute(0, 2, 1, 3).flatten(1, 2)  # frequency first
        kernel = self._of("delay.weight").permute(2, 1, 0)
        return torch.relu(functional.conv1d(x, kernel, self._of("delay.bias"), stride=2, padding=2))

    def back(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(b, 128, half frames) of the front and (b,) lengths -> (b, 192)."""
        there = (torch.arange(x.shape[2], device=x.device) < lengths[:, None]).to(x.dtype)[:, None]
        counts = lengths[:, None, None].float()
        self._start(x)
        for block, dilation in enumerate(DILATIONS, 1):
            for layer in self._layers[block - 1]:
                name = f"block{block}.{layer}"
                x = torch.cat([x, self._layer(name, x, there, counts, dilation)], dim=1)
            name = f"transit{block}"
            x = self._activated(name, x)
            self._note(f"{name}.in", x, there)
            x = self._gated(name, self._linear(name, x))
        x = (self._activated("out", x) * there).float()
        mean = x.sum(dim=2, keepdim=True) / counts
        variance = (((x - mean) * there) ** 2).sum(dim=2, keepdim=True) / (counts - 1)
        statistics = torch.cat([mean, torch.sqrt(variance + _VARIANCE_FLOOR)], dim=1)
        self._note("dense.in", statistics)
        return self._linear("dense", statistics)[..., 0]

    def _layer(self, name: str, x: Tensor, there: Tensor, counts: Tensor, dilation: int) -> Tensor:
        x = self._activated(name, x)
        self._note(f"{name}.in", x, there)
        narrow = self._gated(f"{name}.narrow", torch.relu(self._linear(f"{name}.narrow", x)) * there)
        self._note(f"{name}.narrow", narrow, there)
        kernel, bias = self._of(f"{name}.local.weight").permute(2, 1, 0), self._of(f"{name}.local.bias")
        local = functional.conv1d(narrow, kernel, bias, 1, dilation, dilation)
        context = torch.relu(self._linear(f"{name}.context1", 2 * narrow.sum(dim=2, keepdim=True) / counts))
        self._note(f"{name}.context", context)
        mask = torch.sigmoid(self._linear(f"{name}.context2", self._gated(f"{name}.context", context)))
        return self._gated(name, local * mask)

    def _of(self, name: str) -> Tensor:
        return self._values[name.replace(".", "/")]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.conv1d(x, self._of(f"{name}.weight").t()[:, :, None], self._of(f"{name}.bias"))

    def _activated(self, name: str, x: Tensor) -> Tensor:
        scale, shift = self._of(f"{name}.scale"), self._of(f"{name}.shift")
        return torch.relu(torch.addcmul(shift[:, None].to(x.dtype), x, scale[:, None].to(x.dtype)))

    # What a channel is worth

    def watch(self, channels: dict[str, int]) -> None:
        """From now on each pass notes means and has gates on these channels; `count` adds up their worth."""
        self._watched = channels
        self._fisher = {name: np.zeros(count) for name, count in channels.items()}

    def count(self) -> None:
        """Adds up the squared derivatives that `backward` has just left, and forgets them."""
        for name, gate in self._gates.items():
            self._fisher[name] += (gate.grad.float() ** 2).sum(dim=0).cpu().numpy()
            gate.grad = None

    def worth(self) -> Worth:
        """Of the passes so far."""
        return Worth(self._fisher, {name: total / self._passes for name, total in self._means.items()})

    def _start(self, x: Tensor) -> None:
        self._gates = {
            name: torch.ones(len(x), count, device=x.device, requires_grad=True)
            for name, count in self._watched.items()
        }
        self._passes += 1

    def _gated(self, name: str, x: Tensor) -> Tensor:
        """A factor on the deviation of each channel from its mean: without a channel its mean stays."""
        if name not in self._gates:
            return x
        mean = x.mean(dim=(0, 2), keepdim=True).detach()
        return mean + (x - mean) * self._gates[name][:, :, None]

    def _note(self, name: str, x: Tensor, there: Tensor | None = None) -> None:
        """Adds the mean of each channel of (b, channels, t)."""
        if not self._watched:
            return
        x = x.detach().float()
        mean = x.mean(dim=(0, 2)) if there is None else (x * there).sum(dim=(0, 2)) / there.sum()
        self._means[name] = self._means.get(name, np.zeros(x.shape[1])) + mean.cpu().numpy()

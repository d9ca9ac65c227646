"""Networks that say what a test tells them to, where the numbers must be exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from helpers_store import make_voiceprint

from earmark.engine.audio.samples import Int16
from earmark.engine.networks.card import KeywordManifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Verdict, Verifier

STRIDE = 3
CUTOFF = 0.5  # of the scripted keyword networks

Verify = Callable[[Int16], Verdict]


class Scripted(KeywordNetwork):
    """Says what it was told to, whatever it hears, then zero. Where its window is one, these are the means."""

    def __init__(
        self,
        manifest: KeywordManifest,
        name: str,
        probabilities: Sequence[float],
        stride: int = STRIDE,
        window: int = 1,
    ) -> None:
        self.manifest = replace(manifest, name=name, probability_cutoff=CUTOFF, sliding_window_size=window)
        self.stride = stride
        self._script = np.zeros(1000, np.float32)
        self._script[: len(probabilities)] = probabilities
        self.reset()

    def reset(self) -> None:
        self._frames = 0

    def push(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        start = self._frames // self.stride
        self._frames += len(frames)
        return self._script[start : self._frames // self.stride]


class Told(Verifier):
    """Knows people for some wake words, and is told what each crop is."""

    def __init__(self, keywords: Sequence[str], verify: Verify) -> None:
        super().__init__([])
        self.people = [make_voiceprint(keyword=keyword) for keyword in keywords]
        self._told = verify
        self.crops: list[Int16] = []

    def verify(self, crop: Int16, keyword: str, policy: Policy = Policy()) -> Verdict:  # noqa: ARG002, B008
        self.crops.append(crop)
        return self._told(crop) if self.enrolled(keyword) else Verdict(None, None)


def known(_crop: Int16) -> Verdict:
    """Anna says everything."""
    return Verdict("anna", 0.9)


def stranger(_crop: Int16) -> Verdict:
    """Nobody known says anything."""
    return Verdict(None, 0.1)

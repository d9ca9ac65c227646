"""Phrases as wake words: what stands in the detector where a published word has its keyword network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..audio.samples import Float32
from ..networks.card import MODELS_DIR, KeywordManifest, load_card
from .model import CUTOFF, SLOPE, PhraseHearing, PhraseModel
from .network import STRIDE_FRAMES, features_sha256


@dataclass(frozen=True)
class PhraseManifest(KeywordManifest):
    """A phrase that people of the store have enrolled."""

    models: tuple[PhraseModel, ...] = field(default=(), repr=False)
    """Of each of them: what one says is heard by that one's alone, so they do not disturb each other."""


def manifest_of(keyword: str, models: Iterable[PhraseModel], folder: Path = MODELS_DIR) -> PhraseManifest:
    """What a phrase says of itself, as a published word's manifest does.

    Raises:
        ModelError: there is no phrase network in the folder.
    """
    models = tuple(models)
    card = load_card("phrase", folder)
    return PhraseManifest(
        name=keyword,
        wake_word=models[0].text,
        model_path=folder / card.file,
        model_sha256=features_sha256(folder),
        probability_cutoff=CUTOFF,
        sliding_window_size=1,
        trained_languages=(),
        models=models,
    )


class PhraseSpotter:
    """A phrase in a stream of features: the surest of the people who have enrolled it.

    Args:
        manifest: of the phrase.
        block: how many features come at once.
    """

    stride = STRIDE_FRAMES

    def __init__(self, manifest: PhraseManifest, block: int) -> None:
        self.manifest, self.block = manifest, block
        self._hearings = [(model.threshold, PhraseHearing(model)) for model in manifest.models]

    def reset(self) -> None:
        """Forgets the stream."""
        for _, hearing in self._hearings:
            hearing.reset()

    def push(self, features: Float32) -> npt.NDArray[np.float32]:
        """(n, 32), any n ≥ 0 -> (n,) float32 in 0…1; above 0.5 somebody's phrase was just said."""
        sure = np.array([self._surest(feature) for feature in features], np.float64)
        probabilities: npt.NDArray[np.float32] = (1 / (1 + np.exp(-SLOPE * sure))).astype(np.float32)
        return probabilities

    def _surest(self, feature: Float32) -> float:
        """How far above the threshold, of whoever is farthest."""
        return max(hearing.push(feature) - threshold for threshold, hearing in self._hearings)

"""The phrase network: sound in, what was said out, as 96 numbers every 80 ms; state per stream.

Its features are computed once, for all phrases and all people. `models/phrase_net.py` says what it is.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.samples import Float32, Int16
from ..errors import ModelError
from ..features.mel import HOP_SAMPLES, WINDOW_SAMPLES
from ..networks import runtime
from ..networks.admission import admit
from ..networks.card import MODELS_DIR, Card, load_card, read_model
from .mel import MELS, SILENCE, log_mel

STRIDE_FRAMES = 8
"""Frames of an embedding: 80 ms."""
WINDOW_FRAMES = 76  # that an embedding sees: 775 ms
EMBEDDING_SIZE = 96
FEATURES = 32


class PhraseNetwork:
    """Google's speech embedding in our own interpreter.

    It takes blocks of a fixed length, `block_frames`, and keeps what its layers still need of the past, so that
    nothing is computed twice. Before the stream it has heard silence. Embedding number i ends at the sample that
    frame 8 i + 7 ends at, and sees the 775 ms before it.

    Args:
        folder: of `phrase.json` and `phrase_bank.json`, and the files that they name.
        whitened: whether it is to give features; else the recipe of the whitening wants the embeddings alone.

    Raises:
        ModelError: the network or the whitening is damaged, or they do not belong together.
    """

    def __init__(self, folder: Path = MODELS_DIR, whitened: bool = True) -> None:
        self.card = load_card("phrase", folder)
        model = admit(read_model(self.card, folder), self.card.sha256, self.card.file, "phrase")
        self._interpreter = runtime.open_model(model)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._mel, self._state_in = (self._of_rank(inputs, rank) for rank in (3, 2))
        self._embedding, self._state_out = (self._of_rank(outputs, rank) for rank in (3, 2))
        self.block_frames = int(self._interpreter.get_tensor(self._mel).shape[1])
        """10 ms each; so much is heard at once."""
        self.block = self.block_frames // STRIDE_FRAMES
        """Features that come at once."""
        self._block_samples = self.block_frames * HOP_SAMPLES
        nothing = np.zeros(EMBEDDING_SIZE, np.float32), np.zeros((EMBEDDING_SIZE, FEATURES), np.float32)
        self.sha256, self._mean, self._whitening = (
            _whitening(folder, self.card) if whitened else (self.card.sha256, *nothing)
        )
        self._first: Float32 = self._heard_silence()
        self.reset()

    def reset(self) -> None:
        """Forgets the stream."""
        self._state = self._first
        self._rest: Int16 = np.zeros(0, np.int16)

    def push(self, samples: Int16) -> Float32:
        """(n,) int16, any n ≥ 0 -> (m, 32) float32, the features of the blocks that became whole.

        A feature is an embedding, whitened, of unit length.
        """
        # block by block: of more rows at once a matrix product may round otherwise
        rows = [self._whitened(block) for block in self._blocks(samples)]
        return np.concatenate(rows) if rows else np.zeros((0, FEATURES), np.float32)

    def embed(self, samples: Int16) -> Float32:
        """As `push`, (m, 96): the embeddings themselves."""
        return np.concatenate([np.zeros((0, EMBEDDING_SIZE), np.float32), *self._blocks(samples)])

    def _blocks(self, samples: Int16) -> list[Float32]:
        joined = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        overlap = WINDOW_SAMPLES - HOP_SAMPLES
        count = max(0, (len(joined) - overlap) // self._block_samples)
        starts = range(0, count * self._block_samples, self._block_samples)
        self._rest = joined[count * self._block_samples :]
        return [self._run(log_mel(joined[at : at + self._block_samples + overlap])) for at in starts]

    def _whitened(self, embeddings: Float32) -> Float32:
        features: Float32 = (embeddings - self._mean) @ self._whitening
        features /= np.sqrt(np.einsum("ij,ij->i", features, features))[:, None] + np.float32(1e-9)
        return features

    def _run(self, mel: Float32) -> Float32:
        """(block_frames, 32) -> (block_frames / 8, 96)."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._mel, mel[None])
        interpreter.set_tensor(self._state_in, self._state)
        interpreter.invoke()
        self._state = interpreter.get_tensor(self._state_out)
        embeddings: Float32 = interpreter.get_tensor(self._embedding)[0]
        return embeddings

    def _heard_silence(self) -> Float32:
        """The state after more silence than an embedding sees."""
        self._state = np.zeros_like(self._interpreter.get_tensor(self._state_in))
        silence = np.full((self.block_frames, MELS), SILENCE, np.float32)
        for _ in range(0, WINDOW_FRAMES + STRIDE_FRAMES, self.block_frames):
            self._run(silence)
        return self._state

    def _of_rank(self, details: list[dict[str, Any]], rank: int) -> int:
        """The index of the tensor of one side that has so many dimensions."""
        found = [int(tensor["index"]) for tensor in details if len(tensor["shape"]) == rank]
        if len(details) != 2 or len(found) != 1:
            raise ModelError(f"{self.card.file}: it must have a tensor of three dimensions and one of two a side")
        return found[0]


def features_sha256(folder: Path = MODELS_DIR) -> str:
    """What features are made with: the bank's sum, for whitening is in it, and it is made with one network.

    Raises:
        ModelError: the card cannot be read.
    """
    return load_card("phrase_bank", folder).sha256


def _whitening(folder: Path, network: Card) -> tuple[str, Float32, Float32]:
    """Of the bank that enrolment trains against: its sum, (96,) the mean, and (96, 32) what is whitened by."""
    card = load_card("phrase_bank", folder)
    if card.parameters.get("phrase_sha256") != network.sha256:
        raise ModelError(f"{card.file}: it was made with another phrase network: install earmark again")
    with np.load(io.BytesIO(read_model(card, folder)), allow_pickle=False) as arrays:
        mean, whitening = arrays["mean"], arrays["whitening"]
    if mean.shape != (EMBEDDING_SIZE,) or whitening.shape != (EMBEDDING_SIZE, FEATURES):
        raise ModelError(f"{card.file}: mean {mean.shape} and whitening {whitening.shape} are of another network")
    return card.sha256, mean, whitening

"""The speaker network: a crop of speech in, an embedding of the voice out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..audio.samples import RATE_HZ, Float32, Int16, to_float
from ..errors import ModelError
from ..features import mel
from ..features.speech import Analysis
from . import runtime
from .admission import admit
from .card import MODELS_DIR, Card, load_card, read_model

CROP_SAMPLES = 6 * RATE_HZ // 5  # 1.2 s: the longest shipped wake word, spoken slowly, ends before the network fires
MAX_SPEECH_SAMPLES = 13 * RATE_HZ // 10  # 1.3 s: the longest crop that the network was trained on


def network_input(crop: Int16, start: int, end: int, bands: mel.Bands) -> Float32:
    """What a network hears of (n,) int16, spoken between `start` and `end`: power mel (frames, mels).

    At most 1.3 s of it, brought to the network's level. The noise stays, as it did in what the shipped network was
    trained on: subtracted, it left less of the voice (docs/research/speaker_network.md).
    """
    speech = to_float(crop[start : min(end, start + MAX_SPEECH_SAMPLES)])
    return mel.power_mel(mel.to_level(speech), bands)


class Utterance(NamedTuple):
    """What is known of one utterance."""

    embedding: Float32
    """(embedding_size,), of unit length."""
    snr_db: float
    """Of the speech over the noise around it: `Analysis.snr_db`."""
    high_db: float = 0.0
    """How much of it lies above 4.6 kHz: `Analysis.high_db`."""
    clipped_share: float = 0.0
    """How much of it is cut off: `Analysis.clipped_share`."""
    mel: Float32 | None = None
    """(frames, mels) power mel that the network heard; None where only the embedding is known."""


class SpeakerNetwork:
    """A network that turns the power mel of an utterance into an embedding, one pass an utterance.

    The shipped one is a smaller CAM++ (models/README.md); any other does that takes a mel which the engine makes,
    and has a card (docs/extending.md, "A speaker network").

    Args:
        folder: of `speaker.json` and the file that it names.
        delegate: whether it may use the runtime's delegate: half the time for 6 MB, and embeddings that are rounded
            otherwise (docs/research/speaker_network.md).

    Raises:
        ModelError: the network is damaged or does not fit its card, or wants another mel than the engine makes.
    """

    def __init__(self, folder: Path = MODELS_DIR, delegate: runtime.Delegate = "off") -> None:
        self._opened = (folder, delegate)
        self.card = load_card("speaker", folder)
        self.bands = _bands_of(self.card)
        model = admit(read_model(self.card, folder), self.card.sha256, self.card.file, "speaker")
        self._interpreter = runtime.open_model(model, runtime.uses_delegate(delegate))
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        output = self._interpreter.get_output_details()[0]
        self._output = int(output["index"])
        self.embedding_size = int(output["shape"][-1])

    def twin(self) -> SpeakerNetwork:
        """Another one like it, for another thread."""
        return SpeakerNetwork(*self._opened)

    def embed(self, crop: Int16) -> Float32:
        """The embedding alone of what `hear` hears."""
        return self.hear(crop).embedding

    def hear(self, crop: Int16) -> Utterance:
        """(n,) int16 of about one utterance -> its embedding and SNR.

        Trims to the speech, at most 1.3 s of it, brings it to the network's level, and embeds it.

        Raises:
            AudioError: there is no speech in it.
            ModelError: the network gave something that is no embedding.
        """
        return self.hear_analysed(Analysis(crop))

    def hear_analysed(self, crop: Analysis) -> Utterance:
        """`hear`, of a crop that was measured before."""
        frames = network_input(crop.samples, *crop.bounds, self.bands)
        return Utterance(self.embed_mel(frames), crop.snr_db, crop.high_db, crop.clipped_share, frames)

    def embed_mel(self, frames: Float32) -> Float32:
        """(frames, mels) power mel, as `Utterance.mel` -> (embedding_size,), of unit length.

        Raises:
            ModelError: the network gave something that is no embedding.
        """
        embedding = self._run(frames)
        length = float(np.linalg.norm(embedding))
        if not np.isfinite(length) or length == 0.0:
            raise ModelError(
                f"{self.card.file}: the embedding of {len(frames)} frames is not finite: `earmark doctor`"
            )
        unit: Float32 = embedding / np.float32(length)
        return unit

    def _run(self, frames: Float32) -> Float32:
        """(frames, mels) -> (embedding_size,)."""
        embedding: Float32 = runtime.run(self._interpreter, self._input, self._output, frames, self.card.file)[0]
        return embedding


def _bands_of(card: Card) -> mel.Bands:
    """The power mel that a network's card asks for.

    Raises:
        ModelError: the engine makes no such mel.
    """
    made = (mel.VOICE, mel.WORD)
    for bands in made:
        asked = {"scale": mel.WORD.scale, **card.parameters}  # cards did not name it while there was but one
        if {name: asked.get(name) for name in bands.parameters} == bands.parameters:
            return bands
    raise ModelError(
        f"{card.file}: its card asks for {card.parameters}: the engine makes "
        + " or ".join(str(bands.parameters) for bands in made)
    )

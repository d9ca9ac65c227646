"""The speaker network: a crop of speech in, an embedding of the voice out."""

from __future__ import annotations

import numpy as np

from . import mel, runtime
from .audio import RATE_HZ, Float32, Int16, to_float
from .card import MODELS_DIR, Card, load_card, read_model
from .errors import AudioError, ModelError

EMBEDDING_SIZE = 512
CROP_SAMPLES = 6 * RATE_HZ // 5  # 1.2 s: the longest shipped wake word, spoken slowly, ends before the network fires
MIN_SPEECH_SAMPLES = RATE_HZ // 10  # 0.1 s; a shorter crop holds a click, not a word
REPEATED_SAMPLES = 8 * RATE_HZ // 5  # 1.6 s: the length the network was trained on (Wan et al. 2018)
_ENVELOPE_SAMPLES = RATE_HZ // 40  # 25 ms
_FLOOR = 1e-3  # speech = within 30 dB of the loudest 25 ms
_MARGIN_SAMPLES = RATE_HZ // 20  # 50 ms kept on both sides: soft onsets and tails


def locate_speech(samples: Int16) -> tuple[int, int]:
    """Start and end of what is spoken in (n,) int16: all within 30 dB of the loudest 25 ms, and 50 ms around it.

    Raises:
        AudioError: all samples are zero, or what is spoken is shorter than 0.2 s.
    """
    power = np.square(samples.astype(np.float64))
    sums = np.cumsum(np.pad(power, (_ENVELOPE_SAMPLES // 2 + 1, _ENVELOPE_SAMPLES - _ENVELOPE_SAMPLES // 2 - 1)))
    envelope = sums[_ENVELOPE_SAMPLES:] - sums[:-_ENVELOPE_SAMPLES]
    loud = np.flatnonzero(envelope > envelope.max(initial=0.0) * _FLOOR)
    if not len(loud) or loud[-1] - loud[0] < MIN_SPEECH_SAMPLES:
        raise AudioError(
            f"nothing said: {0 if not len(loud) else 1000 * (loud[-1] - loud[0]) // RATE_HZ} ms of sound in "
            f"{1000 * len(samples) // RATE_HZ} ms, at least {1000 * MIN_SPEECH_SAMPLES // RATE_HZ} ms are needed"
        )
    return max(0, int(loud[0]) - _MARGIN_SAMPLES), min(len(samples), int(loud[-1]) + _MARGIN_SAMPLES)


class SpeakerNetwork:
    """GE2E (L. Wan et al., "Generalized end-to-end loss for speaker verification", 2018) on two views of a crop.

    The network reads the crop as it is, and repeated to 1.6 s; both 256-d outputs are concatenated and scaled to
    unit length. On held-out speakers that is better than either alone (docs/architecture.md).

    Raises:
        ModelError: the shipped network is damaged or does not fit its card.
    """

    def __init__(self, card: Card | None = None) -> None:
        self.card = card or load_card("speaker")
        self._interpreter = runtime.open_model(read_model(self.card, MODELS_DIR), self.card.file)
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        self._output = int(self._interpreter.get_output_details()[0]["index"])

    def embed(self, crop: Int16) -> Float32:
        """(n,) int16 of about one utterance -> (512,) float32 of unit length.

        Trims to the speech, brings it to the network's level, and embeds it.

        Raises:
            AudioError: there is no speech in it.
            ModelError: the network gave something that is no embedding.
        """
        start, end = locate_speech(crop)
        speech = mel.to_level(to_float(crop[start:end]))
        views = [self._run(speech), self._run(np.resize(speech, REPEATED_SAMPLES))]
        embedding: Float32 = (np.concatenate(views) / np.sqrt(len(views))).astype(np.float32)
        if not np.isfinite(embedding).all() or not np.any(embedding):
            raise ModelError(
                f"{self.card.file}: the embedding of {end - start} samples is not finite: `earmark doctor`"
            )
        return embedding

    def _run(self, speech: Float32) -> Float32:
        """float32 (n,) -> (256,) of unit length."""
        frames = mel.power_mel(speech)[None]
        interpreter = self._interpreter
        interpreter.resize_tensor_input(self._input, frames.shape)
        interpreter.allocate_tensors()
        interpreter.reset_all_variables()  # else the LSTM goes on where the last utterance ended
        interpreter.set_tensor(self._input, frames)
        interpreter.invoke()
        embedding: Float32 = interpreter.get_tensor(self._output)[0]
        return embedding

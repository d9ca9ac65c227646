"""The speaker network: a crop of speech in, an embedding of the voice out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import mel, runtime
from .audio import RATE_HZ, Float32, Int16, to_float
from .card import MODELS_DIR, Card, load_card, read_model
from .errors import AudioError, ModelError

EMBEDDING_SIZE = 512
CROP_SAMPLES = 6 * RATE_HZ // 5  # 1.2 s: the longest shipped wake word, spoken slowly, ends before the network fires
MIN_SPEECH_SAMPLES = RATE_HZ // 10  # 0.1 s; a shorter crop holds a click, not a word
REPEATED_SAMPLES = 8 * RATE_HZ // 5  # 1.6 s: the length the network was trained on (Wan et al. 2018)

# What counts as spoken: found on 300 clips of asc, dsp and gsc with recorded noise and rooms, against the bounds of
# the clean clip. At 10 dB SNR it covers 94 % of the word with 35 % too much around it, an energy trim 100 and 58 %.
_NOISE_PERCENTILE = 20  # a fifth of a crop is pause or the gaps of the word, in each band: that is the noise
_NOISE_FRAMES = 5  # over so many frames the bands are averaged first: a single frame's power scatters
_NOISE_SHARE = 1.5  # of the noise is subtracted
_FLOOR = 1e-3  # speech = within 30 dB of the loudest 30 ms, …
_QUIET_PERCENTILE, _ABOVE_QUIET = 15, 4.0  # … and 6 dB above the quiet frames that are left
_MARGIN_FRAMES = 5  # 50 ms kept on both sides: soft onsets and tails


def locate_speech(samples: Int16) -> tuple[int, int]:
    """Start and end of what is spoken in (n,) int16, and 50 ms around it.

    Spoken is what lies within 30 dB of the loudest 30 ms and 6 dB above the quiet part, after each mel band's noise
    has been subtracted.

    Raises:
        AudioError: all samples are zero, or what is spoken is shorter than 0.1 s.
    """
    power = mel.power_mel(to_float(samples))
    noise = np.percentile(_moving_mean(power, _NOISE_FRAMES), _NOISE_PERCENTILE, axis=0)
    clear = _moving_mean(np.maximum(power - _NOISE_SHARE * noise, 0).sum(axis=1, keepdims=True), 3)[:, 0]
    loud = _above(clear, max(clear.max() * _FLOOR, _ABOVE_QUIET * float(np.percentile(clear, _QUIET_PERCENTILE))))
    if (loud[-1] - loud[0]) * mel.HOP_SAMPLES < MIN_SPEECH_SAMPLES:  # a drawn-out vowel, or noise as loud as the word
        whole = _moving_mean(power.sum(axis=1, keepdims=True), 3)[:, 0]
        loud = _above(whole, whole.max() * _FLOOR)
    length = int(loud[-1] - loud[0]) * mel.HOP_SAMPLES
    if length < MIN_SPEECH_SAMPLES:
        raise AudioError(
            f"nothing said: {1000 * length // RATE_HZ} ms of sound in {1000 * len(samples) // RATE_HZ} ms, "
            f"at least {1000 * MIN_SPEECH_SAMPLES // RATE_HZ} ms are needed"
        )
    start, end = loud[0] - _MARGIN_FRAMES, loud[-1] + _MARGIN_FRAMES
    return max(0, int(start) * mel.HOP_SAMPLES), min(len(samples), int(end) * mel.HOP_SAMPLES)


def _above(envelope: Float32, floor: float) -> npt.NDArray[np.intp]:
    """Frame numbers, at least one: [0] where nothing is."""
    loud = np.flatnonzero(envelope > floor)
    return loud if len(loud) else np.zeros(1, np.intp)


def _moving_mean(rows: Float32, count: int) -> Float32:
    """(t, k) -> (t, k): the mean of `count` (odd) rows around each; what lies beyond the ends is zero."""
    sums = np.cumsum(np.pad(rows, ((count // 2 + 1, count // 2), (0, 0))), axis=0, dtype=np.float64)
    mean: Float32 = ((sums[count:] - sums[:-count]) / count).astype(np.float32)
    return mean


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

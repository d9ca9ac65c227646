"""The speaker network: a crop of speech in, an embedding of the voice out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..audio.samples import RATE_HZ, Float32, Int16, to_float
from ..errors import AudioError, ModelError, text_of
from ..features import mel
from . import runtime
from .card import MODELS_DIR, Card, load_card, read_model

CROP_SAMPLES = 6 * RATE_HZ // 5  # 1.2 s: the longest shipped wake word, spoken slowly, ends before the network fires
MIN_SPEECH_SAMPLES = RATE_HZ // 10  # 0.1 s; a shorter crop holds a click, not a word
MAX_SPEECH_SAMPLES = 13 * RATE_HZ // 10  # 1.3 s: the longest crop that the network was trained on

_NOISE_PERCENTILE = 20  # a fifth of a crop is pause or the gaps of the word, in each band: that is the noise
_NOISE_FRAMES = 5  # over so many frames the bands are averaged first: a single frame's power scatters

# What counts as spoken: found on 300 clips of asc, dsp and gsc with recorded noise and rooms, against the bounds of
# the clean clip. At 10 dB SNR it covers 94 % of the word with 35 % too much around it, an energy trim 100 and 58 %.
_NOISE_SHARE = 1.5  # times the noise is subtracted
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
    return _locate(power, noise_of(power), len(samples))


def snr_db(samples: Int16) -> float:
    """Of what is spoken in (n,) int16 over the noise around it, -30…120; a clip of a quiet studio has 50.

    Raises:
        AudioError: as `locate_speech`.
    """
    power = mel.power_mel(to_float(samples))
    noise = noise_of(power)
    start, end = _locate(power, noise, len(samples))
    return _snr_db(_frames(power, start, end), noise)


def _frames(power: Float32, start: int, end: int) -> Float32:
    """(t, k) power mel of a crop -> that between two of its samples."""
    return power[start // mel.HOP_SAMPLES : end // mel.HOP_SAMPLES + 1]


def _snr_db(frames: Float32, noise: Float32) -> float:
    """(t, k) power mel of the speech with its noise, and the (k,) noise alone."""
    both, alone = float(frames.sum()), float(noise.sum()) * len(frames)
    return float(10 * np.log10(max(both - alone, 1e-3 * both) / max(alone, 1e-12 * both)))


def noise_of(power: Float32) -> Float32:
    """(t, k) power mel of a crop -> (k,): what each band holds when nobody speaks."""
    quiet: Float32 = np.percentile(_moving_mean(power, _NOISE_FRAMES), _NOISE_PERCENTILE, axis=0).astype(np.float32)
    return quiet


def _locate(power: Float32, noise: Float32, samples: int) -> tuple[int, int]:
    """`locate_speech` on the (t, k) power mel of so many samples and its (k,) noise."""
    clear = _moving_mean(np.maximum(power - _NOISE_SHARE * noise, 0).sum(axis=1, keepdims=True), 3)[:, 0]
    loud = _above(clear, max(clear.max() * _FLOOR, _ABOVE_QUIET * float(np.percentile(clear, _QUIET_PERCENTILE))))
    if (loud[-1] - loud[0]) * mel.HOP_SAMPLES < MIN_SPEECH_SAMPLES:  # a drawn-out vowel, or noise as loud as the word
        whole = _moving_mean(power.sum(axis=1, keepdims=True), 3)[:, 0]
        loud = _above(whole, whole.max() * _FLOOR)
    length = int(loud[-1] - loud[0]) * mel.HOP_SAMPLES
    if length < MIN_SPEECH_SAMPLES:
        raise AudioError(
            f"nothing said: {1000 * length // RATE_HZ} ms of sound in {1000 * samples // RATE_HZ} ms, "
            f"at least {1000 * MIN_SPEECH_SAMPLES // RATE_HZ} ms are needed"
        )
    start, end = loud[0] - _MARGIN_FRAMES, loud[-1] + _MARGIN_FRAMES
    return max(0, int(start) * mel.HOP_SAMPLES), min(samples, int(end) * mel.HOP_SAMPLES)


def _above(envelope: Float32, floor: float) -> npt.NDArray[np.intp]:
    """Frame numbers, at least one: [0] where nothing is."""
    loud = np.flatnonzero(envelope > floor)
    return loud if len(loud) else np.zeros(1, np.intp)


def _moving_mean(rows: Float32, count: int) -> Float32:
    """(t, k) -> (t, k): the mean of `count` (odd) rows around each; what lies beyond the ends is zero."""
    sums = np.cumsum(np.pad(rows, ((count // 2 + 1, count // 2), (0, 0))), axis=0, dtype=np.float64)
    mean: Float32 = ((sums[count:] - sums[:-count]) / count).astype(np.float32)
    return mean


def network_input(crop: Int16, start: int, end: int, bands: mel.Bands) -> Float32:
    """What a network hears of (n,) int16, spoken between `start` and `end`: power mel (frames, mels).

    At most 1.3 s of it, brought to the network's level. The noise stays: subtracted, as it was in what the shipped
    network was trained on, it left less of the voice (docs/research/speaker_network.md).
    """
    speech = to_float(crop[start : min(end, start + MAX_SPEECH_SAMPLES)])
    return mel.power_mel(mel.to_level(speech), bands)


class Utterance(NamedTuple):
    """What is known of one utterance."""

    embedding: Float32
    """(embedding_size,), of unit length."""
    snr_db: float
    """Of the speech over the noise around it."""


class SpeakerNetwork:
    """A network that turns the power mel of an utterance into an embedding, one pass an utterance.

    The shipped one is a smaller CAM++ (models/README.md); any other does that takes a mel which the engine makes,
    and has a card (docs/extending.md, "A speaker network").

    Args:
        folder: of `speaker.json` and the file that it names.

    Raises:
        ModelError: the network is damaged or does not fit its card, or wants another mel than the engine makes.
    """

    def __init__(self, folder: Path = MODELS_DIR) -> None:
        self.card = load_card("speaker", folder)
        self.bands = _bands_of(self.card)
        # It is asked a few times an hour: what counts is the memory it keeps (docs/research/speaker_network.md)
        self._interpreter = runtime.open_model(read_model(self.card, folder), self.card.file, delegate=False)
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        output = self._interpreter.get_output_details()[0]
        self._output = int(output["index"])
        self.embedding_size = int(output["shape"][-1])

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
        power = mel.power_mel(to_float(crop))
        noise = noise_of(power)
        start, end = _locate(power, noise, len(crop))
        embedding = self._run(network_input(crop, start, end, self.bands))
        length = float(np.linalg.norm(embedding))
        if not np.isfinite(length) or length == 0.0:
            raise ModelError(
                f"{self.card.file}: the embedding of {end - start} samples is not finite: `earmark doctor`"
            )
        return Utterance(embedding / np.float32(length), _snr_db(_frames(power, start, end), noise))

    def _run(self, frames: Float32) -> Float32:
        """(frames, mels) -> (embedding_size,)."""
        interpreter = self._interpreter
        try:
            interpreter.resize_tensor_input(self._input, (1, *frames.shape))
            interpreter.allocate_tensors()
            interpreter.set_tensor(self._input, frames[None])
            interpreter.invoke()
            embedding: Float32 = interpreter.get_tensor(self._output)[0]
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{self.card.file}: {runtime.version()} fails: {text_of(error)}: `earmark doctor`"
            ) from error
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

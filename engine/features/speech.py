"""Where speech lies in a recording, and how far it stands above the noise: computed once, and handed on."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from ..audio.samples import RATE_HZ, Float32, Int16, to_float
from ..errors import AudioError
from . import mel

MIN_SPEECH_SAMPLES = RATE_HZ // 10  # 0.1 s; a shorter crop holds a click, not a word

NOISE_PERCENTILE = 20  # a fifth of a crop is pause or the gaps of the word, in each band: that is the noise
NOISE_FRAMES = 5  # over so many frames the bands are averaged first: a single frame's power scatters

# Of the 40 bands, the middles of which lie at 0.6 to 3 kHz, where most of a voice is, and above 4.6 kHz: a line of
# 8 kHz has nothing there, 55 dB below the middle; nine in ten microphones have more than -40 dB
_VOICE_BANDS, _HIGH_BANDS = slice(8, 26), slice(34, None)
_AT_THE_TOP = 0.98  # of the largest sample: so near to it are those that were cut off

# What counts as spoken: found on 300 clips of asc, dsp and gsc with recorded noise and rooms, against the bounds of
# the clean clip. At 10 dB SNR it covers 94 % of the word with 35 % too much around it, an energy trim 100 and 58 %.
NOISE_SHARE = 1.5  # times the noise is subtracted
_FLOOR = 1e-3  # speech = within 30 dB of the loudest 30 ms, …
_QUIET_PERCENTILE, _ABOVE_QUIET = 15, 4.0  # … and 6 dB above the quiet frames that are left
_MARGIN_FRAMES = 5  # 50 ms kept on both sides: soft onsets and tails


class Analysis:
    """What is measured on one recording or crop: each figure once, when it is first asked for.

    The mel is what costs. So whoever has an analysis hands it on instead of the samples.

    Args:
        samples: (n,) int16 at 16 kHz, n ≥ 1; nobody may change them afterwards.
    """

    def __init__(self, samples: Int16) -> None:
        self.samples = samples

    @functools.cached_property
    def power(self) -> Float32:
        """(1 + n // 160, 40) power mel `mel.WORD`."""
        return mel.power_mel(to_float(self.samples))

    @functools.cached_property
    def noise(self) -> Float32:
        """(40,) power in each band when nobody speaks, by `noise_of`."""
        return noise_of(self.power)

    @functools.cached_property
    def bounds(self) -> tuple[int, int]:
        """Start and end, in samples, of what is spoken, and 50 ms around it.

        Spoken is what lies within 30 dB of the loudest 30 ms and 6 dB above the quiet part, after each mel band's
        noise has been subtracted.

        Raises:
            AudioError: all samples are zero, or what is spoken is shorter than 0.1 s.
        """
        return _locate(self.power, self.noise, len(self.samples))

    @functools.cached_property
    def snr_db(self) -> float:
        """Of what is spoken over the noise around it, -30…120; a clip of a quiet studio has 50.

        Raises:
            AudioError: as `bounds`.
        """
        start, end = self.bounds
        frames = self.power[start // mel.HOP_SAMPLES : end // mel.HOP_SAMPLES + 1]
        both, alone = float(frames.sum()), float(self.noise.sum()) * len(frames)
        return float(10 * np.log10(max(both - alone, 1e-3 * both) / max(alone, 1e-12 * both)))

    @functools.cached_property
    def high_db(self) -> float:
        """Power above 4.6 kHz to that between 0.6 and 3 kHz, of what is spoken; a telephone has less than -45.

        Raises:
            AudioError: as `bounds`.
        """
        start, end = self.bounds
        bands = self.power[start // mel.HOP_SAMPLES : end // mel.HOP_SAMPLES + 1].mean(axis=0, dtype=np.float64)
        high, voice = bands[_HIGH_BANDS].mean(), bands[_VOICE_BANDS].mean()
        return float(10 * np.log10((high + 1e-12) / (voice + 1e-12)))

    @functools.cached_property
    def clipped_share(self) -> float:
        """Of the samples of what is spoken, how many lie at the largest one, 0…1: few, where nothing is cut off.

        Raises:
            AudioError: as `bounds`.
        """
        start, end = self.bounds
        size = np.abs(self.samples[start:end].astype(np.int32))
        return float(np.mean(size >= _AT_THE_TOP * size.max()))


def locate_speech(samples: Int16) -> tuple[int, int]:
    """`Analysis.bounds` of (n,) int16, for who asks nothing else of them.

    Raises:
        AudioError: all samples are zero, or what is spoken is shorter than 0.1 s.
    """
    return Analysis(samples).bounds


def noise_of(power: Float32) -> Float32:
    """(t, k) power mel of a crop -> (k,): what each band holds when nobody speaks."""
    quiet: Float32 = np.percentile(_moving_mean(power, NOISE_FRAMES), NOISE_PERCENTILE, axis=0).astype(np.float32)
    return quiet


def _locate(power: Float32, noise: Float32, samples: int) -> tuple[int, int]:
    """`Analysis.bounds` on the (t, k) power mel of so many samples and its (k,) noise."""
    clear = _moving_mean(np.maximum(power - NOISE_SHARE * noise, 0).sum(axis=1, keepdims=True), 3)[:, 0]
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

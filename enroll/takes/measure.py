"""What is measured on a recording before anybody says whether it is a good take."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Float32, Int16, to_float
from earmark.engine.features.mel import HOP_SAMPLES, power_mel
from earmark.engine.features.speech import NOISE_FRAMES, NOISE_PERCENTILE, NOISE_SHARE, Analysis

CLIPPED_LEVEL = 32_700  # of full scale 32768
ACTIVE_DB = -25.0  # of the loudest 30 ms: vowels and loud fricatives; tails, breath and the room lie below
PAUSE_SAMPLES = RATE_HZ // 4  # longer than any gap within a word: a stop's closure takes up to 0.15 s
CLICK_SAMPLES = RATE_HZ * 15 // 100  # a microphone's or a key's pop is shorter, a syllable mostly longer
CLICK_MARGIN_SAMPLES = RATE_HZ // 10  # in which it dies away
TOUCH_SAMPLES = 3 * HOP_SAMPLES  # a click so near to an end of the recording touches it
ROOM_FRAMES, ROOM_BANDS = 20, 5  # of some 0.2 s the loudest, and of 40 mel bands the five that rise most
ROOM_HOLDS_DB = -8.0  # noise so far below the room's is another: what was measured as the room has passed
VOICE_FRAME_SAMPLES, VOICE_HOP_SAMPLES = RATE_HZ * 40 // 1000, RATE_HZ * 20 // 1000  # three periods of a low voice
VOICE_LAGS = RATE_HZ // 400, RATE_HZ // 70  # the pitch of voices, 70 to 400 Hz
VOICE_LOUD_SHARE = 0.3  # of the loudest frame's power: vowels, …
VOICE_PERCENTILE = 70  # … of which one in three must be clear
LEVEL_FRAME_SAMPLES = 480
MOST_SHIFT = RATE_HZ * 3 // 20  # 0.3 s of every second sample: where the network fires differs by less
STEADY_LOUD_SHARE = 0.05  # of the 30 ms frames of a recording, which are perhaps all that is said in it


class Sound(Analysis):
    """One recording, measured for the verdicts (`rules.py`); each figure when it is first asked for.

    Args:
        samples: (n,) int16 at 16 kHz, n ≥ 1, not all of them zero, without an offset.
        room: (40,) power of the room while nobody spoke, by `room_power`, if it is known.
        offset: what was taken off each sample.
    """

    def __init__(self, samples: Int16, room: Float32 | None = None, offset: int = 0) -> None:
        super().__init__(samples)
        self.room, self.offset = room, offset

    @classmethod
    def of(cls, samples: Int16, room: Float32 | None = None) -> Sound:
        """(n,) int16 as they were recorded, whose offset is taken off."""
        cleaned, offset = without_offset(samples)
        return cls(cleaned, room, offset)

    def part(self, start: int, end: int) -> Sound:
        """What lies between two of its samples; the same object where that is all of it."""
        if (start, end) == (0, len(self.samples)):
            return self
        return Sound(self.samples[start:end].copy(), self.room, self.offset)  # a view would keep all of it in memory

    @property
    def length_samples(self) -> int:
        """From the first sound to the last."""
        start, end = self.bounds
        return end - start

    @functools.cached_property
    def level_dbfs(self) -> float:
        """RMS of what is spoken."""
        return dbfs(self.samples[slice(*self.bounds)])

    @functools.cached_property
    def clipped_share(self) -> float:
        """How much of what is spoken is at full scale, as it was recorded or without its offset, 0…1."""
        speech = self.samples[slice(*self.bounds)].astype(np.int32)
        loudest = np.maximum(np.abs(speech), np.abs(speech + self.offset))
        return float(np.mean(loudest >= CLIPPED_LEVEL))

    @functools.cached_property
    def worst_snr_db(self) -> float:
        """What is spoken over the noise in the recording or in the room, whichever is louder: −10…100.

        For verdicts alone. `Analysis.snr_db`, with which tries are compared with takes, knows no room, and takes the
        noise as it is; here it counts `NOISE_SHARE` times, or noise that scatters above its estimate would be a word.
        """
        noise = self._noise_power
        if self.room is not None:
            noise = max(noise, float(self.room.sum()))
        start, end = (bound // HOP_SAMPLES for bound in self.bounds)
        loud = float(self.power[start : max(end, start + 1)].mean(axis=0).sum())
        return float(10 * np.log10(max(loud - noise, 0.1 * noise) / noise)) if noise > 0 else 100.0

    @functools.cached_property
    def above_room_db(self) -> float | None:
        """How far its loudest 0.2 s rise above the room; infinite where that noise is gone, None: no room is known.

        The mean of two: all bands together, and the fifth of those that rise most.
        """
        if self.room is None:
            return None
        whole = float(self.room.sum())
        if self._noise_power < whole * 10 ** (ROOM_HOLDS_DB / 10):
            return np.inf
        kernel = np.ones(ROOM_FRAMES) / ROOM_FRAMES
        total = np.convolve(self.power.sum(axis=1), kernel, "same").max() / max(whole, 1e-20)
        bands = np.array([np.convolve(band, kernel, "same").max() for band in self.power.T])
        risen = np.sort(bands / np.maximum(self.room, 1e-20))[-ROOM_BANDS]
        return float(5 * np.log10(max(total * risen, 1e-20)))

    @functools.cached_property
    def level_change_db(self) -> float:
        """The loudest twentieth of its 30 ms over the quiet tenth."""
        return level_change_db(self.samples, STEADY_LOUD_SHARE)

    @functools.cached_property
    def voicing(self) -> float:
        """How periodic its loud parts are, 0…1: the function of this name."""
        return voicing(self.samples)

    @functools.cached_property
    def active_samples(self) -> int:
        """How long it is within 25 dB of the loudest 30 ms."""
        return int(np.sum(self._relative_db[0] > ACTIVE_DB)) * HOP_SAMPLES

    @functools.cached_property
    def edges_db(self) -> tuple[float, float]:
        """Level of the first and the last 20 ms, of the loudest 30 ms."""
        relative_db = self._relative_db[0]
        first, last = (
            float(10 * np.log10(np.mean(10 ** (piece / 10)))) for piece in (relative_db[1:3], relative_db[-3:-1])
        )
        return first, last

    @functools.cached_property
    def floor_db(self) -> float:
        """Level of the quiet tenth of 30 ms, of the loudest 30 ms."""
        return float(np.percentile(self._relative_db[1][1:-1], 10))

    @functools.cached_property
    def spoken_samples(self) -> int:
        """How long is spoken, pauses longer than 0.25 s left out."""
        return sum(end - start for start, end in self._groups)

    def without_clicks(self) -> tuple[int, int]:
        """Its bounds without a click at its start or end.

        A click touches the end, is no longer than 0.15 s, and a pause parts it from the rest.
        """
        groups = list(self._groups)
        start, end = 0, len(self.samples)
        if len(groups) > 1 and groups[0][0] <= TOUCH_SAMPLES and groups[0][1] - groups[0][0] <= CLICK_SAMPLES:
            start = groups.pop(0)[1] + CLICK_MARGIN_SAMPLES
        if (
            len(groups) > 1
            and groups[-1][1] >= end - TOUCH_SAMPLES
            and groups[-1][1] - groups[-1][0] <= CLICK_SAMPLES
        ):
            end = groups[-1][0] - CLICK_MARGIN_SAMPLES
        return start, end

    @functools.cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """Start and end of each stretch within 25 dB of the loudest 30 ms that pauses part."""
        active = np.flatnonzero(self._relative_db[1] > ACTIVE_DB)
        parts = np.split(active, np.flatnonzero(np.diff(active) * HOP_SAMPLES > PAUSE_SAMPLES) + 1)
        count = len(self.samples)
        return [(int(part[0]) * HOP_SAMPLES, min(count, int(part[-1]) * HOP_SAMPLES)) for part in parts if len(part)]

    @functools.cached_property
    def _relative_db(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(t,) level of each frame, and of the 30 ms around it, of the loudest 30 ms."""
        total = self.power.sum(axis=1).astype(np.float64) + 1e-20
        smooth = np.convolve(np.pad(total, 1, "edge"), np.ones(3) / 3, "valid")
        loudest = smooth.max()
        return 10 * np.log10(total / loudest), 10 * np.log10(smooth / loudest)

    @functools.cached_property
    def _noise_power(self) -> float:
        """Power of the noise over all bands, `NOISE_SHARE` times.

        Estimated as `Analysis.noise`, but from whole averages alone: at the ends, where a cut word is loud, that one
        counts what lies beyond as silence. Nine frames are the least that have five such averages.
        """
        power = self.power
        kernel = np.ones(NOISE_FRAMES) / NOISE_FRAMES
        averaged = np.array([np.convolve(band, kernel, "valid") for band in power.T]) if len(power) > 8 else power.T
        return float(NOISE_SHARE * np.percentile(averaged, NOISE_PERCENTILE, axis=1).sum())


def dbfs(samples: Int16) -> float:
    """RMS level of (n,) int16, n ≥ 1; −120 where nothing is."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return float(10 * np.log10(max(power, 1e-3)) - 20 * np.log10(FULL_SCALE))


def room_power(samples: Int16) -> Float32:
    """(n,) int16 in which nobody speaks -> (40,) mean power in each mel band, for `Sound`."""
    mean: Float32 = power_mel(to_float(samples)).mean(axis=0)
    return mean


def level_change_db(samples: Int16, loud_share: float = 0.1) -> float:
    """The loud share of the 30 ms frames of (n,) int16 over the quiet tenth."""
    count = len(samples) // LEVEL_FRAME_SAMPLES
    if not count:
        return 0.0
    frames = samples[: count * LEVEL_FRAME_SAMPLES].reshape(count, LEVEL_FRAME_SAMPLES)
    quiet, loud = np.percentile(np.mean(np.square(frames, dtype=np.float64), axis=1), (10, 100 * (1 - loud_share)))
    return float(10 * np.log10(max(loud, 1e-3) / max(quiet, 1e-3)))


def likeness(one: Int16, other: Int16) -> float:
    """How alike the waveforms of two (n,) int16 are, 0…1, whatever their level and which way round they are.

    The highest normalised cross-correlation within 0.3 s, over what both have then; of every second sample, for the
    voice lies below 4 kHz. A coding keeps the waveform, saying it again does not.
    """
    first, second = (samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1) for samples in (one, other))
    if min(len(first), len(second)) < 2 * MOST_SHIFT:
        return 0.0
    size = 1 << (len(first) + len(second)).bit_length()
    spectra = np.fft.rfft(first, size) * np.conj(np.fft.rfft(second, size))
    shifts = np.r_[0 : MOST_SHIFT + 1, -MOST_SHIFT:0]
    correlation = np.fft.irfft(spectra, size)[shifts]
    shift = int(shifts[np.argmax(np.abs(correlation))])
    first, second = first[max(0, shift) :], second[max(0, -shift) :]
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    power = float(first @ first) * float(second @ second)
    return float(abs(first @ second) / np.sqrt(power)) if power > 0 else 0.0


def voicing(samples: Int16) -> float:
    """How periodic the loud parts of (n,) int16 are, 0…1: vowels alone have 0.9 and more, with noise at 0 dB half.

    The highest peak of each frame's autocorrelation within the pitch of voices, divided by the window's own
    (P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
    sampled sound", 1993): r is the periodic share of the power.
    """
    signal = samples.astype(np.float64)
    signal = np.pad(signal, (0, max(0, VOICE_FRAME_SAMPLES - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, VOICE_FRAME_SAMPLES)[::VOICE_HOP_SAMPLES]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.mean(frames**2, axis=1)
    loud = power >= VOICE_LOUD_SHARE * power.max()
    low, high = VOICE_LAGS
    window = np.hanning(VOICE_FRAME_SAMPLES)
    own, found = (_autocorrelation(rows, high + 2) for rows in (window[None], frames[loud] * window))
    lags = found / np.maximum(found[:, :1], 1e-9) / (own / own[:, :1])
    inner = lags[:, low : high + 1]
    is_peak = (inner >= lags[:, low - 1 : high]) & (inner >= lags[:, low + 1 : high + 2])
    best = np.minimum(np.where(is_peak, inner, 0).max(axis=1), 1.0)
    return float(np.percentile(best, VOICE_PERCENTILE))


def _autocorrelation(frames: npt.NDArray[np.float64], lags: int) -> npt.NDArray[np.float64]:
    """(t, n) -> (t, lags)."""
    size = 2 * frames.shape[1]
    found: npt.NDArray[np.float64] = np.fft.irfft(np.abs(np.fft.rfft(frames, size, axis=1)) ** 2, axis=1)[:, :lags]
    return found

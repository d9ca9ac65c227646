"""What is measured on a recording before anybody says whether it is a good take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Float32, Int16, to_float
from earmark.engine.features.mel import HOP_SAMPLES, power_mel
from earmark.engine.networks.speaker import locate_speech

CLIPPED_LEVEL = 32_700  # of full scale 32768
NOISE_PERCENTILE, NOISE_SHARE, NOISE_FRAMES = 20, 1.5, 5  # as `locate_speech` takes a band's noise
ACTIVE_DB = -25.0  # of the loudest 30 ms: vowels and loud fricatives; tails, breath and the room lie below
PAUSE_SAMPLES = RATE_HZ // 4  # longer than any gap within a word: a stop's closure takes up to 0.15 s
CLICK_SAMPLES = RATE_HZ * 15 // 100  # a microphone's or a key's pop is shorter, a syllable mostly longer
CLICK_MARGIN_SAMPLES = RATE_HZ // 10  # in which it dies away
STEADY_DB = 3.0  # the loud twentieth of 30 ms frames over the quiet tenth: rain, a tap, an engine have 1 to 3 dB
ROOM_FRAMES, ROOM_BANDS = 20, 5  # of some 0.2 s the loudest, and of 40 mel bands the five that rise most
ABOVE_ROOM_DB = 5.0  # both together; lasting noise alone rises so far in 1 of 5, with a word at 0 dB in 24 of 25
ROOM_HOLDS_DB = -8.0  # noise so far below the room's is another: what was measured as the room has passed
VOICE_FRAME_SAMPLES, VOICE_HOP_SAMPLES = RATE_HZ * 40 // 1000, RATE_HZ * 20 // 1000  # three periods of a low voice
VOICE_LAGS = RATE_HZ // 400, RATE_HZ // 70  # the pitch of voices, 70 to 400 Hz
VOICE_LOUD_SHARE = 0.3  # of the loudest frame's power: vowels, …
VOICE_PERCENTILE = 70  # … of which one in three must be clear
LEVEL_FRAME_SAMPLES = 480


@dataclass(frozen=True)
class Sound:
    """One recording, measured."""

    samples: Int16
    """(n,) int16."""
    start: int
    end: int
    """Of what is spoken, by `locate_speech`."""
    level_dbfs: float
    """RMS of what is spoken."""
    clipped_share: float
    """Of its samples, at full scale."""
    snr_db: float
    """Of it over the noise, −10 at worst; 100 where there is none."""
    active_samples: int
    """How long it is within 25 dB of the loudest 30 ms."""
    edges_db: tuple[float, float]
    """Level of the first and the last 20 ms, of the loudest 30 ms."""
    floor_db: float
    """Level of the quiet tenth of 30 ms, likewise."""
    is_room: bool
    """Whether there is nothing in it but the room, or, where that is not known, but steady noise."""

    @classmethod
    def of(cls, samples: Int16, room: Float32 | None) -> Sound:
        """(n,) int16, and the (40,) power of the room by `room_power`, if it is known.

        Raises:
            AudioError: all samples are zero, or there is less than 0.1 s of sound.
        """
        start, end = locate_speech(samples)
        power = power_mel(to_float(samples))
        speech = samples[start:end]
        clipped = np.mean(np.abs(speech.astype(np.int32)) >= CLIPPED_LEVEL)
        relative_db, smooth_db = _relative_db(power)
        edges = [10 * np.log10(np.mean(10 ** (piece / 10))) for piece in (relative_db[1:3], relative_db[-3:-1])]
        return cls(
            samples,
            start,
            end,
            dbfs(speech),
            float(clipped),
            _snr_db(power, start, end, room),
            int(np.sum(relative_db > ACTIVE_DB)) * HOP_SAMPLES,
            (float(edges[0]), float(edges[1])),
            float(np.percentile(smooth_db[1:-1], 10)),
            level_change_db(samples, 0.05) < STEADY_DB if room is None else _is_room(power, room),
        )

    @property
    def length(self) -> int:
        """Samples from the first sound to the last."""
        return self.end - self.start


def dbfs(samples: Int16) -> float:
    """RMS level of (n,) int16, n ≥ 1; −120 where nothing is."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return float(10 * np.log10(max(power, 1e-3)) - 20 * np.log10(FULL_SCALE))


def room_power(samples: Int16) -> Float32:
    """(n,) int16 in which nobody speaks -> (40,) mean power in each mel band, for `Sound.of`."""
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


def without_clicks(samples: Int16) -> tuple[int, int]:
    """Bounds of (n,) int16 without a click at its start or end.

    A click touches the end, is no longer than 0.15 s, and a pause parts it from the rest.
    """
    groups = _groups(samples, PAUSE_SAMPLES)
    start, end = 0, len(samples)
    touch = 3 * HOP_SAMPLES
    if len(groups) > 1 and groups[0][0] <= touch and groups[0][1] - groups[0][0] <= CLICK_SAMPLES:
        start = groups.pop(0)[1] + CLICK_MARGIN_SAMPLES
    if len(groups) > 1 and groups[-1][1] >= end - touch and groups[-1][1] - groups[-1][0] <= CLICK_SAMPLES:
        end = groups[-1][0] - CLICK_MARGIN_SAMPLES
    return start, end


def spoken_samples(samples: Int16) -> int:
    """How long is spoken in (n,) int16, pauses longer than 0.25 s left out."""
    return sum(end - start for start, end in _groups(samples, PAUSE_SAMPLES))


def _groups(samples: Int16, pause_samples: int) -> list[tuple[int, int]]:
    """Start and end of each stretch of (n,) int16 within 25 dB of the loudest 30 ms that pauses part."""
    active = np.flatnonzero(_relative_db(power_mel(to_float(samples)))[1] > ACTIVE_DB)
    parts = np.split(active, np.flatnonzero(np.diff(active) * HOP_SAMPLES > pause_samples) + 1)
    return [
        (int(part[0]) * HOP_SAMPLES, min(len(samples), int(part[-1]) * HOP_SAMPLES)) for part in parts if len(part)
    ]


def _relative_db(power: Float32) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(t, 40) -> (t,) level of each frame, and of the 30 ms around it, of the loudest 30 ms."""
    total = power.sum(axis=1).astype(np.float64) + 1e-20
    smooth = np.convolve(np.pad(total, 1, "edge"), np.ones(3) / 3, "valid")
    loudest = smooth.max()
    return 10 * np.log10(total / loudest), 10 * np.log10(smooth / loudest)


def _is_room(power: Float32, room: Float32) -> bool:
    """Whether there is nothing in (t, 40) but the (40,) room: as loud as it was, and nothing rises above it."""
    if _noise(power) < float(room.sum()) * 10 ** (ROOM_HOLDS_DB / 10):
        return False
    kernel = np.ones(ROOM_FRAMES) / ROOM_FRAMES
    total = np.convolve(power.sum(axis=1), kernel, "same").max() / max(float(room.sum()), 1e-20)
    bands = np.array([np.convolve(band, kernel, "same").max() for band in power.T]) / np.maximum(room, 1e-20)
    risen = np.sort(bands)[-ROOM_BANDS]
    return bool(5 * np.log10(max(total * risen, 1e-20)) < ABOVE_ROOM_DB)


def _noise(power: Float32) -> float:
    """Power over all bands of the quiet part of (t, 40)."""
    kernel = np.ones(NOISE_FRAMES) / NOISE_FRAMES
    averaged = np.array([np.convolve(band, kernel, "valid") for band in power.T]) if len(power) > 8 else power.T
    return float(NOISE_SHARE * np.percentile(averaged, NOISE_PERCENTILE, axis=1).sum())


def _snr_db(power: Float32, start: int, end: int, room: Float32 | None) -> float:
    """Speech between start and end of (t, 40) to the noise, in it or in the (40,) room, whichever is worse."""
    noise = _noise(power)
    if room is not None:
        noise = max(noise, float(room.sum()))
    loud = float(power[start // HOP_SAMPLES : max(end // HOP_SAMPLES, start // HOP_SAMPLES + 1)].mean(axis=0).sum())
    return float(10 * np.log10(max(loud - noise, 0.1 * noise) / noise)) if noise > 0 else 100.0


def _autocorrelation(frames: npt.NDArray[np.float64], lags: int) -> npt.NDArray[np.float64]:
    """(t, n) -> (t, lags)."""
    size = 2 * frames.shape[1]
    found: npt.NDArray[np.float64] = np.fft.irfft(np.abs(np.fft.rfft(frames, size, axis=1)) ** 2, axis=1)[:, :lags]
    return found

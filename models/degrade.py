"""Recipe: what becomes of a voice on the way to a microphone, for many clips at once on an accelerator.

A row is one clip in a buffer (`speech_rows.py`). Everything that filters is a product in the frequency domain over
FFT_SAMPLES: what runs over the end of the buffer comes in at its beginning, as the tail of something said before.

In the order of what happens: a room, noise at some SNR from another place of a room, a microphone, clipping, a line
of 8 kHz, few bits, and a cut that is not where the word begins and ends. What is left is the power mel that the
engine would give to the network (`engine/features`), its noise still in it.

The chances and ranges below were set by hand, wide enough for a living room, a car and a telephone; none is tuned.
Needs torch (extra `train`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.features import mel
from earmark.engine.features.speech import (
    _ABOVE_QUIET,
    _FLOOR,
    _MARGIN_FRAMES,
    _QUIET_PERCENTILE,
    MIN_SPEECH_SAMPLES,
    NOISE_FRAMES,
    NOISE_PERCENTILE,
    NOISE_SHARE,
)

from .speech_rows import MAX_SPEECH_SAMPLES

Tensor = Any  # torch's, which has no types where torch is not installed

FFT_SAMPLES = 32_768  # the next power of two after the buffer's 28,800
HOP = mel.HOP_SAMPLES

MICROPHONE_CHANCE = 0.6
ROOM_CHANCE, ROOM_RT60_S, ROOM_DIRECT_DB = 0.55, (0.15, 0.9), (-6.0, 10.0)
DAMPED_SHARE, DAMPED_HZ = (0.35, 1.0), 2500.0  # curtains swallow high frequencies sooner
NOISE_KINDS = ("none", "recorded", "babble", "talker", "coloured", "hum")
NOISE_CHANCES = (0.15, 0.27, 0.16, 0.17, 0.15, 0.1)
NOISE_SNR_DB = ((0.0, 0.0), (-3.0, 25.0), (0.0, 20.0), (1.0, 20.0), (-3.0, 25.0), (-3.0, 25.0))
BABBLE_VOICES = 6  # at most; 3 at least
CLIPPING_CHANCE, CLIPPING_DB = 0.15, (0.0, 16.0)  # over the loudest sample of the speech
NARROW_CHANCE, NARROW_LOW_HZ, NARROW_HIGH_HZ = 0.22, (60.0, 380.0), (2900.0, 3950.0)
COMPANDED_CHANCE = 0.6  # of the narrow ones: mu-law
MU = 255.0  # ITU-T G.711
LEVEL_DB = (-45.0, 0.0)  # of the loudest sample, before 16 bits (or 8, companded) are left of it
CUT_CHANCE, CUT_KEPT = 0.15, (0.55, 0.95)
LOCATED_CHANCE = 0.6  # else: where the clean clip has its speech, with edges that stray
START_SHIFT_S, END_SHIFT_S = (-0.12, 0.06), (-0.06, 0.12)
_AROUND_S = (0.04, 0.25)  # what the engine is given beside the speech


class Sounds(NamedTuple):
    """What is mixed in, all of it on the device."""

    voices: Tensor
    """(n,) int16: sentences, one after the other."""
    noises: Tensor
    """(m,) int16: recordings, one after the other."""


class Degrader:
    """Draws what happens to each row.

    Args:
        sounds: what is mixed in.
        device: of all tensors.
        seed: of all chance.
    """

    def __init__(self, sounds: Sounds, device: Any, seed: int) -> None:
        self._sounds = sounds
        self._device = device
        self._chance = torch.Generator(device).manual_seed(seed)
        self._hertz = torch.fft.rfftfreq(FFT_SAMPLES, 1 / RATE_HZ).to(device)
        self._octaves = torch.log2(self._hertz.clamp(min=40.0) / 40.0) / math.log2(200.0)  # 0…1 from 40 to 8000 Hz
        self._features = {bands: _Mel(bands, device) for bands in (mel.WORD, mel.VOICE)}

    # Chance

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Of a shape, evenly between the two."""
        return low + (high - low) * torch.rand(shape, generator=self._chance, device=self._device)

    def happens(self, chance: float, rows: int) -> Tensor:
        """(b,) of 0 and 1."""
        return (self.uniform(0, 1, rows) < chance).float()

    def normal(self, *shape: int) -> Tensor:
        """Of a shape, mean 0 and deviation 1."""
        return torch.randn(shape, generator=self._chance, device=self._device)

    # Rows

    def heard(
        self, clips: Tensor, bounds: Tensor, degraded: Tensor, coded: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the engine would give to the network of each row: power mel (b, frames, 80), and frames of it (b,).

        Args:
            clips: (b, n) float, full scale 1.0, at 16 kHz.
            bounds: (b, 2) where the speech begins and ends in each, in samples.
            degraded: (b,) bool; the others stay as they are.
            coded: (b,) bool; rows that were through a codec already, which nothing but a bad cut happens to.
        """
        waves = self.degrade(clips, bounds, degraded if coded is None else degraded & ~coded)
        return self.spectra(waves, bounds, degraded)

    def degrade(self, clips: Tensor, bounds: Tensor, degraded: Tensor, narrow: bool = True) -> Tensor:
        """What the microphone's electronics hand on of each row; those that are not degraded stay as they are."""
        rows = len(clips)
        speech = self._inside(bounds, clips.shape[1])
        waves = torch.fft.rfft(clips, FFT_SAMPLES)
        room = self._rooms(rows)
        roomy = self.happens(ROOM_CHANCE, rows)[:, None]
        waves = waves * (1 + roomy * (room - 1))
        noise, kinds = self._noise(rows, clips.shape[1])
        noise = torch.fft.rfft(noise, FFT_SAMPLES)
        noise = noise * (1 + roomy * (room.roll(1, 0) - 1))  # from another place of some room
        clean = torch.fft.irfft(waves, FFT_SAMPLES)[:, : clips.shape[1]]
        extra = torch.fft.irfft(noise, FFT_SAMPLES)[:, : clips.shape[1]]
        power = (clean**2 * speech).sum(1) / speech.sum(1)
        extra_power = (extra**2 * speech).sum(1) / speech.sum(1)
        low = torch.tensor([low for low, _ in NOISE_SNR_DB], device=self._device)[kinds]
        high = torch.tensor([high for _, high in NOISE_SNR_DB], device=self._device)[kinds]
        snr_db = low + (high - low) * self.uniform(0, 1, rows)
        gain = torch.sqrt(power / extra_power.clamp(min=1e-12)) * 10 ** (-snr_db / 20) * (kinds > 0)
        mixture = clean + gain[:, None] * extra
        filtered = torch.fft.irfft(torch.fft.rfft(mixture, FFT_SAMPLES) * self._microphones(rows), FFT_SAMPLES)
        filtered = filtered[:, : clips.shape[1]]
        peak = (filtered.abs() * speech).amax(1, keepdim=True).clamp(min=1e-6)
        over = 10 ** (-self.uniform(*CLIPPING_DB, rows) / 20)
        limit = torch.where(self.happens(CLIPPING_CHANCE, rows) > 0, over, torch.full_like(over, 1e3))[:, None] * peak
        out = filtered.clamp(-limit, limit)
        if narrow:
            out = self._narrowed(out)
        return torch.where(degraded[:, None], out, clips)

    def spectra(self, waves: Tensor, bounds: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """What the engine would give to the network of each row: (b, frames, 80) power mel, and lengths (b,)."""
        rows = len(waves)
        around = [(self.uniform(*_AROUND_S, rows) * RATE_HZ).long() for _ in range(2)]
        first = (bounds[:, 0] - around[0]).clamp(min=0) // HOP * HOP
        last = torch.minimum(bounds[:, 1] + around[1], torch.full_like(first, waves.shape[1]))
        waves = waves * self._inside(torch.stack([first, last], 1), waves.shape[1])
        located = self._located(waves, first, last)
        shifts = torch.stack([self.uniform(*START_SHIFT_S, rows), self.uniform(*END_SHIFT_S, rows)], 1) * RATE_HZ
        strayed = bounds + shifts.long()
        strayed = torch.stack([torch.maximum(strayed[:, 0], first), torch.minimum(strayed[:, 1], last)], 1)
        take = (self.happens(LOCATED_CHANCE, rows) > 0) | ~degraded
        crop = torch.where(take[:, None], located, strayed)
        length = (crop[:, 1] - crop[:, 0]).clamp(MIN_SPEECH_SAMPLES, MAX_SPEECH_SAMPLES)
        cut = (self.happens(CUT_CHANCE, rows) > 0) & degraded
        kept = torch.where(cut, self.uniform(*CUT_KEPT, rows), torch.ones(rows, device=self._device))
        shorter = (length * kept).long().clamp(min=MIN_SPEECH_SAMPLES)
        from_end = (self.happens(0.3, rows) > 0) & cut  # the beginning is lost less often than the end
        start = torch.where(from_end, crop[:, 0] + length - shorter, crop[:, 0]) // HOP * HOP
        shorter = shorter // HOP * HOP
        index = start[:, None] + torch.arange(MAX_SPEECH_SAMPLES, device=self._device)
        there = (torch.arange(MAX_SPEECH_SAMPLES, device=self._device) < shorter[:, None]).float()
        speech = waves.gather(1, index.clamp(max=waves.shape[1] - 1)) * there
        rms = torch.sqrt((speech**2).sum(1, keepdim=True) / shorter[:, None])
        level = 10 ** (mel.LEVEL_DBFS / 20)
        return self._features[mel.VOICE](speech * (level / rms.clamp(min=1e-9))), 1 + shorter // HOP

    def _inside(self, bounds: Tensor, length: int) -> Tensor:
        """(b, 2) -> (b, length) of 1 between the bounds and 0 outside."""
        at = torch.arange(length, device=self._device)
        return ((at >= bounds[:, :1]) & (at < bounds[:, 1:])).float()

    def _located(self, waves: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """`engine.features.speech._locate` of each row between `first` and `last` -> (b, 2)."""
        power = self._features[mel.WORD](waves)
        frame = torch.arange(power.shape[1], device=self._device)
        there = (frame >= first[:, None] // HOP) & (frame <= last[:, None] // HOP)
        noise = _percentile(_moving_mean(power, NOISE_FRAMES), there, NOISE_PERCENTILE)
        clear = _moving_mean((power - NOISE_SHARE * noise[:, None]).clamp(min=0).sum(2, keepdim=True), 3)
        clear = clear[:, :, 0] * there
        quiet = _percentile(clear[:, :, None], there, _QUIET_PERCENTILE)[:, 0]
        limit = torch.maximum(clear.amax(1) * _FLOOR, _ABOVE_QUIET * quiet)
        bounds = _ends(clear > limit[:, None])
        whole = _moving_mean(power.sum(2, keepdim=True), 3)[:, :, 0] * there
        short = (bounds[:, 1] - bounds[:, 0]) * HOP < MIN_SPEECH_SAMPLES
        bounds = torch.where(short[:, None], _ends(whole > whole.amax(1, keepdim=True) * _FLOOR), bounds)
        start = torch.maximum((bounds[:, 0] - _MARGIN_FRAMES) * HOP, first)
        end = torch.minimum((bounds[:, 1] + _MARGIN_FRAMES) * HOP, last)
        return torch.stack([start, torch.maximum(end, start + MIN_SPEECH_SAMPLES)], 1)

    # What happens to them

    def _microphones(self, rows: int) -> Tensor:
        """(b, bins) gains: a random walk over frequency, a high pass, a low pass and a resonance, each by chance."""
        steps = self.normal(rows, 12) * self.uniform(0.5, 4.0, rows, 1)
        walk = torch.cumsum(steps, 1)
        walk = walk - walk.mean(1, keepdim=True)
        at = self._octaves * 11
        left = at.long().clamp(max=10)
        share = at - left
        gain_db = walk[:, left] * (1 - share) + walk[:, left + 1] * share
        low = self.uniform(60, 450, rows, 1)
        order = 1 + 3 * self.uniform(0, 1, rows, 1)
        high_pass = -10 * order * torch.log10(1 + (low / self._hertz.clamp(min=5.0)) ** 2)
        gain_db = gain_db + self.happens(0.4, rows)[:, None] * high_pass
        high = self.uniform(2500, 7500, rows, 1)
        low_pass = -10 * (1 + 3 * self.uniform(0, 1, rows, 1)) * torch.log10(1 + (self._hertz / high) ** 4)
        gain_db = gain_db + self.happens(0.3, rows)[:, None] * low_pass
        centre = 150 * 2 ** (5.2 * self.uniform(0, 1, rows, 1))
        width = self.uniform(0.1, 0.7, rows, 1)
        octaves = torch.log2(self._hertz.clamp(min=5.0) / centre)
        gain_db = gain_db + self.happens(0.4, rows)[:, None] * self.uniform(-12, 12, rows, 1) * torch.exp(
            -((octaves / width) ** 2)
        )
        gain_db = gain_db * self.happens(MICROPHONE_CHANCE, rows)[:, None]
        return 10 ** (gain_db.clamp(-60, 30) / 20)

    def _rooms(self, rows: int) -> Tensor:
        """(b, bins): Polack's rooms, whose high frequencies decay faster than their low ones."""
        length = FFT_SAMPLES // 2
        rt60_s = self.uniform(*ROOM_RT60_S, rows, 1)
        shorter_s = rt60_s * self.uniform(*DAMPED_SHARE, rows, 1)
        noise = torch.fft.rfft(self.normal(rows, length), FFT_SAMPLES)
        share = 1 / (1 + (self._hertz / DAMPED_HZ) ** 2)
        time_s = torch.arange(length, device=self._device) / RATE_HZ
        low = torch.fft.irfft(noise * share, FFT_SAMPLES)[:, :length] * 10 ** (-3 * time_s / rt60_s)
        high = torch.fft.irfft(noise * (1 - share), FFT_SAMPLES)[:, :length] * 10 ** (-3 * time_s / shorter_s)
        tail = (low + high) * (time_s >= self.uniform(0.001, 0.01, rows, 1))
        direct_db = self.uniform(*ROOM_DIRECT_DB, rows, 1)
        tail = tail * 10 ** (-direct_db / 20) / torch.sqrt((tail**2).sum(1, keepdim=True).clamp(min=1e-12))
        return 1 + torch.fft.rfft(tail, FFT_SAMPLES)

    def _noise(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """(b, length), and of which of NOISE_KINDS each is (b,)."""
        chances = torch.tensor(NOISE_CHANCES, device=self._device)
        kinds = torch.multinomial(chances, rows, replacement=True, generator=self._chance)
        noise = torch.zeros(rows, length, device=self._device)
        for number, kind in enumerate(NOISE_KINDS):
            chosen = torch.nonzero(kinds == number)[:, 0]
            if number and len(chosen):
                noise[chosen] = getattr(self, f"_{kind}")(len(chosen), length)
        return noise, kinds

    def _recorded(self, rows: int, length: int) -> Tensor:
        """Pieces at another speed, with other tone controls, some of them two at once."""
        noise = self._sped(self._sounds.noises, rows, length)
        second = self.happens(0.35, rows) * 10 ** (-self.uniform(0, 12, rows) / 20)
        noise = noise / self._strength(noise) + second[:, None] * self._clatter(rows, length)
        return self._coloured_by_chance(noise)

    def _strength(self, rows: Tensor) -> Tensor:
        """(b, n) -> (b, 1): RMS."""
        return torch.sqrt((rows**2).mean(1, keepdim=True)).clamp(min=1e-5)

    def _coloured_by_chance(self, noise: Tensor) -> Tensor:
        """Other tone controls for some rows."""
        spectrum = torch.fft.rfft(noise, FFT_SAMPLES) * self._microphones(len(noise))
        return torch.fft.irfft(spectrum, FFT_SAMPLES)[:, : noise.shape[1]]

    def _sped(self, recording: Tensor, rows: int, length: int) -> Tensor:
        """(rows, length) float from anywhere in it, each at a speed of its own."""
        speed = 2 ** self.uniform(-0.6, 0.6, rows, 1)
        at = torch.arange(length, device=self._device) * speed
        start = self.uniform(0, 1, rows, 1) * (len(recording) - 2 * length)
        at = start.double() + at
        left = at.long()
        share = (at - left).float()
        return (recording[left].float() * (1 - share) + recording[left + 1].float() * share) / 32768

    def _clatter(self, rows: int, length: int) -> Tensor:
        """(rows, length) of strength 1: knocks that ring, as of dishes; some so many that they are rain."""
        rate = 10 ** self.uniform(-3.7, -1.5, rows, 1)
        knocks = (self.uniform(0, 1, rows, length) < rate).float() * self.normal(rows, length)
        time_s = torch.arange(FFT_SAMPLES // 4, device=self._device) / RATE_HZ
        decay_s = 10 ** self.uniform(-2.7, -0.7, rows, 1)
        ring = self.normal(rows, FFT_SAMPLES // 4) * torch.exp(-time_s / decay_s)
        for _ in range(2):
            tone = torch.sin(2 * math.pi * 200 * 2 ** self.uniform(0, 4.5, rows, 1) * time_s)
            ring = ring + self.uniform(0, 3, rows, 1) * tone * torch.exp(-time_s / decay_s)
        heard = torch.fft.irfft(torch.fft.rfft(knocks, FFT_SAMPLES) * torch.fft.rfft(ring, FFT_SAMPLES), FFT_SAMPLES)
        heard = heard[:, :length] + 1e-4 * self.normal(rows, length)
        return heard / self._strength(heard)

    def _babble(self, rows: int, length: int) -> Tensor:
        voices = self._cut(self._sounds.voices, rows * BABBLE_VOICES, length).view(rows, BABBLE_VOICES, length)
        there = (torch.arange(BABBLE_VOICES, device=self._device) < self.uniform(3, 7, rows, 1)).float()
        return (voices * (there * self.uniform(0.4, 1, rows, BABBLE_VOICES))[..., None]).sum(1)

    def _talker(self, rows: int, length: int) -> Tensor:
        return self._cut(self._sounds.voices, rows, length)

    def _coloured(self, rows: int, length: int) -> Tensor:
        slope = self.uniform(0, 1.1, rows, 1)
        spectrum = torch.fft.rfft(self.normal(rows, FFT_SAMPLES)) * (self._hertz.clamp(min=50) / 50) ** -slope
        swell = 1 + self.happens(0.3, rows)[:, None] * 0.9 * torch.sin(
            2 * math.pi * (self.uniform(0.5, 8, rows, 1) * torch.arange(length, device=self._device) / RATE_HZ)
        )
        return torch.fft.irfft(spectrum * self._microphones(rows))[:, :length] * swell

    def _hum(self, rows: int, length: int) -> Tensor:
        """Steady tones with harmonics, or up to three that are struck, swell and glide: an engine, a fan, a tune."""
        time_s = torch.arange(length, device=self._device) / RATE_HZ
        heard = 0.05 * self.normal(rows, length)
        struck = self.happens(0.5, rows)[:, None]
        for number in range(3):
            there = 1.0 if number == 0 else struck * self.happens(0.7, rows)[:, None]
            pitch_hz = 70 * 2 ** self.uniform(0, 3.2, rows, 1)
            glide = 1 + 0.02 * struck * torch.sin(2 * math.pi * self.uniform(1, 7, rows, 1) * time_s)
            onset_s = self.uniform(-1.0, 1.5, rows, 1)
            decay_s = 10 ** self.uniform(-1.2, 0.5, rows, 1)
            since = time_s - onset_s
            envelope = 1 + struck * ((since > 0) * torch.exp(-since.clamp(min=0) / decay_s) - 1)
            turns = pitch_hz * torch.cumsum(glide, 1) / RATE_HZ
            slope = self.uniform(0.3, 1.8, rows, 1)
            for harmonic in range(1, 12):
                sounds = (pitch_hz * harmonic < 7900).float()
                phase = self.uniform(0, 1, rows, 1)
                heard = heard + there * envelope * sounds * harmonic**-slope * torch.sin(
                    2 * math.pi * (harmonic * turns + phase)
                )
        return self._coloured_by_chance(heard)

    def _cut(self, recording: Tensor, rows: int, length: int) -> Tensor:
        """(rows, length) float from anywhere in it."""
        start = (self.uniform(0, 1, rows, 1) * (len(recording) - length)).long()
        return recording[start + torch.arange(length, device=self._device)].float() / 32768

    def _narrowed(self, waves: Tensor) -> Tensor:
        """Some rows through 8 kHz; all of them at some level through 16 bits, or companded 8."""
        rows = len(waves)
        narrow = self.happens(NARROW_CHANCE, rows)[:, None]
        low, high = self.uniform(*NARROW_LOW_HZ, rows, 1), self.uniform(*NARROW_HIGH_HZ, rows, 1)
        band = torch.sigmoid((high - self._hertz) / 25) / torch.sqrt(1 + (low / self._hertz.clamp(min=1)) ** 8)
        spectrum = torch.fft.rfft(waves, FFT_SAMPLES)
        waves = torch.fft.irfft(spectrum * (1 + narrow * (band - 1)), FFT_SAMPLES)[:, : waves.shape[1]]
        peak = waves.abs().amax(1, keepdim=True).clamp(min=1e-6)
        scaled = waves / peak * 10 ** (self.uniform(*LEVEL_DB, rows, 1) / 20)
        companded = narrow * self.happens(COMPANDED_CHANCE, rows)[:, None]
        # At 16 kHz, so that half of what mu-law adds falls above 4 kHz, where the next filter takes it away
        law = torch.sign(scaled) * torch.log1p(MU * scaled.abs()) / math.log1p(MU)
        law = torch.round(law * 127) / 127
        law = torch.sign(law) * torch.expm1(law.abs() * math.log1p(MU)) / MU
        linear = torch.round(scaled * 32768) / 32768
        rounded = linear + companded * (math.sqrt(2) * (law - scaled) + scaled - linear)
        last = 1 + companded * ((self._hertz < 4000).float() - 1)
        return torch.fft.irfft(torch.fft.rfft(rounded, FFT_SAMPLES) * last, FFT_SAMPLES)[:, : waves.shape[1]]


class _Mel:
    """`mel.power_mel` of many rows."""

    def __init__(self, bands: mel.Bands, device: Any) -> None:
        phase = np.arange(mel.WINDOW_SAMPLES) * 2 * np.pi / mel.WINDOW_SAMPLES
        self._window = torch.tensor(0.5 - 0.5 * np.cos(phase), dtype=torch.float32, device=device)
        self._filters = torch.tensor(mel.filters(bands), device=device)
        self._size = bands.fft_samples

    def __call__(self, waves: Tensor) -> Tensor:
        """(b, n) -> (b, 1 + n // 160, mels)."""
        half = mel.WINDOW_SAMPLES // 2
        frames = torch.nn.functional.pad(waves, (half, half)).unfold(1, mel.WINDOW_SAMPLES, HOP)
        spectrum = torch.fft.rfft(frames * self._window, self._size)
        return (spectrum.real**2 + spectrum.imag**2) @ self._filters


def _moving_mean(rows: Tensor, count: int) -> Tensor:
    """(b, t, k): the mean of `count` (odd) rows around each; what lies beyond the ends is zero."""
    half = count // 2
    padded = torch.nn.functional.pad(rows, (0, 0, half, half))
    return sum(padded[:, number : number + rows.shape[1]] for number in range(count)) / count


def _percentile(rows: Tensor, there: Tensor, percent: float) -> Tensor:
    """(b, t, k) -> (b, k): numpy's, over the frames that are there."""
    ordered = rows.masked_fill(~there[..., None], math.inf).sort(dim=1).values
    at = (there.sum(1) - 1).float() * percent / 100
    low = at.long()
    share = (at - low)[:, None]
    pick = low[:, None, None].expand(-1, 1, rows.shape[2])
    last = (there.sum(1) - 1)[:, None, None].expand(-1, 1, rows.shape[2])
    below, above = ordered.gather(1, pick)[:, 0], ordered.gather(1, torch.minimum(pick + 1, last))[:, 0]
    return below + share * (above - below)


def _ends(loud: Tensor) -> Tensor:
    """(b, t) bool -> (b, 2): the first and the last that are; 0, 0 where none is."""
    frames = torch.arange(loud.shape[1], device=loud.device)
    last = (loud * frames).amax(1)
    first = torch.where(loud, frames, loud.shape[1]).amin(1)
    return torch.stack([torch.minimum(first, last), last], 1)

"""Whether a microphone records and a loudspeaker plays: each for a second."""

from __future__ import annotations

import numpy as np

from ...audio.offset import remark_on, without_offset
from ...audio.samples import FULL_SCALE, RATE_HZ
from ...errors import DeviceError

RECORDED_SAMPLES = RATE_HZ
EMPTY_BLOCKS = 100  # of nothing, 50 ms each: what a USB microphone takes to begin, many times over
TONE_HZ, TONE_S, TONE_PEAK = 440.0, 0.5, 0.1


def record(device: str | None, channel: int | None) -> str:
    """Records for a second; how loud it was.

    Raises:
        DeviceError: there is no microphone, it gives nothing, or nothing but zeros.
    """
    from ...audio.microphone import MicrophoneSource  # needs a system library; that it is missing is a finding

    pieces, count, empty = [], 0, 0
    with MicrophoneSource(device, False, channel=channel) as source:
        for block in source:
            pieces.append(block.samples)
            count += len(block.samples)
            empty = 0 if len(block.samples) else empty + 1
            if count >= RECORDED_SAMPLES or empty > EMPTY_BLOCKS:
                break
        name = source.name
    cleaned, offset = without_offset(np.concatenate(pieces or [np.zeros(0, np.int16)]))
    heard = cleaned.astype(np.float64)
    if not len(heard):
        raise DeviceError(f"{name}: it gives nothing: plug it in again, or choose another with audio.device")
    if not heard.any():
        raise DeviceError(
            f"{name}: it gives nothing but zeros: unmute it (alsamixer, pactl), or choose another with audio.device"
        )
    level_dbfs = 20 * np.log10(np.sqrt(np.mean(heard**2)) / FULL_SCALE)
    remark = remark_on(offset)
    return f"{name}: {len(heard) / RATE_HZ:.1f} s, at {level_dbfs:.0f} dBFS{f'; it has {remark}' if remark else ''}"


def play_tone() -> str:
    """Plays half a second.

    Raises:
        DeviceError: there is no output, or it went away.
    """
    from ...audio.microphone import play

    samples = np.arange(int(TONE_S * RATE_HZ)) * (2 * np.pi * TONE_HZ / RATE_HZ)
    play((TONE_PEAK * FULL_SCALE * np.sin(samples)).astype(np.int16))
    return f"a tone of {TONE_S:g} s was played"

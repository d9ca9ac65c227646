"""Recordings as WAV files: 16 kHz, mono, 16 bit, nothing else."""

from __future__ import annotations

import io
import wave

import numpy as np

from .samples import RATE_HZ, Int16


def to_wav(samples: Int16) -> bytes:
    """(n,) int16 at 16 kHz -> a WAV."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype(np.int16).tobytes())
    return content.getvalue()


def from_wav(content: bytes) -> Int16:
    """A WAV -> (n,) int16 at 16 kHz.

    Raises:
        Exception: it is none, or of another format; what `wave` raises on bytes made to harm is no closed list.
    """
    with wave.open(io.BytesIO(content), "rb") as file:
        form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        if form != (1, 2, RATE_HZ):
            raise ValueError(f"channels, bytes a sample and rate are {form}, they must be {(1, 2, RATE_HZ)}")
        frames = file.readframes(file.getnframes())
        if len(frames) != 2 * file.getnframes():
            raise ValueError("the sound is truncated")
    return np.frombuffer(frames, np.int16)

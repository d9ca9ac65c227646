"""Whatever a person would give as audio, as a source."""

from __future__ import annotations

import os
from typing import Union

import numpy as np

from ..errors import AudioError
from .channels import one_channel
from .samples import RATE_HZ, Float32, Int16
from .sources import ArraySource, Source

Audio = Union[str, "os.PathLike[str]", Source, Int16, Float32]
"""A path, a source, or an array."""


def open_source(audio: Audio, rate_hz: int = RATE_HZ, floats: bool = False, channel: int | None = None) -> Source:
    """A source as it is; a path as a file; an array as what `ArraySource` takes.

    Args:
        audio: what is to be heard.
        rate_hz: of an array; a file says it itself.
        floats: an array holds floats, full scale = 1.0.
        channel: of a file, only this one, from 0; None: those that hold the voice.

    Raises:
        AudioError: it is none of these, or what `FileSource` and `ArraySource` raise.
    """
    if isinstance(audio, Source):
        return audio
    if isinstance(audio, np.ndarray):
        if channel:
            one_channel(channel, 1)
        return ArraySource(audio, rate_hz=rate_hz, floats=floats)
    if isinstance(audio, (str, os.PathLike)):
        from .files import FileSource  # libsndfile is nothing that the daemon needs

        return FileSource(audio, channel=channel)
    raise AudioError(f"audio is a {type(audio).__name__}, it must be a path, a source or a numpy array (n,) of int16")

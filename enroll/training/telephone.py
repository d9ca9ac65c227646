"""A voice by telephone, and through an amplifier that is too small for it.

float32 (n,) at 16 kHz, full scale 1.0, in and out.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from earmark.engine.audio.samples import RATE_HZ, Float32
from earmark.engine.errors import InputError
from earmark.engine.features.narrow import LINE_HZ, LINE_ORDER, LINE_RATE_HZ

CODECS = {"mu-law": "ULAW", "gsm": "GSM610"}  # ITU-T G.711 and GSM 06.10, as libsndfile has them


def line(samples: Float32, codec: str | None = "mu-law") -> Float32:
    """Through a telephone line: 8 kHz, 300…3400 Hz, and a codec of `CODECS` (None: none; GSM filters by itself).

    Raises:
        InputError: no such codec.
    """
    narrow = soxr.resample(samples, RATE_HZ, LINE_RATE_HZ)
    if codec != "gsm":
        narrow = sosfilt(_line_band(), narrow).astype(np.float32)
    if codec is not None:
        narrow = _coded(narrow, codec)
    wide: Float32 = soxr.resample(narrow, LINE_RATE_HZ, RATE_HZ)
    return _as_long(wide, len(samples))


def _coded(narrow: Float32, codec: str) -> Float32:
    """(n,) at 8 kHz -> what a codec leaves of it."""
    try:
        subtype = CODECS[codec]
    except KeyError:
        raise InputError(f"no codec {codec!r}: there are {', '.join(CODECS)}") from None
    content = io.BytesIO()
    soundfile.write(content, np.clip(narrow, -1, 1), LINE_RATE_HZ, format="WAV", subtype=subtype)
    content.seek(0)
    coded, _ = soundfile.read(content, dtype="float32")
    return _as_long(coded, len(narrow))  # GSM has blocks of 20 ms


@functools.lru_cache(maxsize=1)
def _line_band() -> npt.NDArray[np.float64]:
    return np.asarray(butter(LINE_ORDER, LINE_HZ, "bandpass", fs=LINE_RATE_HZ, output="sos"))


def clipped(samples: Float32, over_db: float) -> Float32:
    """What is left where the loudest sample lies `over_db` over full scale; as loud at its peaks as before."""
    limit = float(np.abs(samples).max()) * 10 ** (-over_db / 20)
    return np.clip(samples, -limit, limit)


def _as_long(samples: Float32, length: int) -> Float32:
    """Cut, or filled up with zeros."""
    fitted = np.zeros(length, np.float32)
    fitted[: min(length, len(samples))] = samples[:length]
    return fitted

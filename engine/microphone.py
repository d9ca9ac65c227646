"""Microphones as a source, by PortAudio. Importing this module needs the system library libportaudio2."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

from .audio import RATE_HZ, AudioFormat, Converter, Int16
from .errors import DeviceError
from .sources import Source

try:
    import sounddevice
except OSError as error:  # the Python package is there, the library is not
    raise DeviceError(f"{error}: install PortAudio (`apt install libportaudio2`)") from error

_LOG = logging.getLogger(__name__)

BLOCK_MS = 20
POLL_S = 0.005  # a quarter of a block
STALL_S = 2.0  # a microphone that gives nothing for so long is gone: PortAudio itself never says so


class MicrophoneSource(Source):
    """A capture device, by PortAudio.

    It is polled, never called back: polled reads survive a dying sound server and need no writable-executable
    memory. A device that cannot do 16 kHz mono is opened as it is and converted.

    Args:
        device: a name, a part of a name, or None for the default; `earmark devices` lists them.

    Raises:
        DeviceError: there is no such device, it is busy, or it stops to deliver for 2 s.
    """

    def __init__(self, device: str | None = None) -> None:
        self.name = device or "default"
        self._stream, self._format = self._open(device)
        self._converter = Converter(self._format)

    def _open(self, device: str | None) -> tuple[Any, AudioFormat]:
        try:
            info = sounddevice.query_devices(device, "input")
            wanted = AudioFormat(RATE_HZ, 1)
            native = AudioFormat(round(info["default_samplerate"]), min(2, info["max_input_channels"]))
            try:
                return self._start(info["index"], wanted), wanted
            except sounddevice.PortAudioError as error:
                _LOG.info("%s refuses 16 kHz mono (%s): opening it at %s", info["name"], error, native)
                return self._start(info["index"], native), native
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"microphone {self.name!r} cannot be opened: {error}; `earmark devices` lists what there is, "
                "and `earmark listen -` takes audio from a pipe"
            ) from error

    def _start(self, index: int, audio_format: AudioFormat) -> Any:
        stream = sounddevice.InputStream(
            device=index,
            samplerate=audio_format.rate_hz,
            channels=audio_format.channels,
            dtype="float32",
            blocksize=audio_format.rate_hz * BLOCK_MS // 1000,
        )
        stream.start()
        return stream

    def _pieces(self) -> Iterator[Int16]:
        block_frames = self._format.rate_hz * BLOCK_MS // 1000
        last_s = time.monotonic()
        while True:
            if self._stream.read_available >= block_frames:
                frames, overflowed = self._stream.read(block_frames)
                self.overruns += bool(overflowed)
                last_s = time.monotonic()
                yield self._converter.push(frames)
            elif time.monotonic() - last_s > STALL_S:
                raise DeviceError(f"microphone {self.name!r} has delivered nothing for {STALL_S} s: is it unplugged?")
            else:
                time.sleep(POLL_S)

    def close(self) -> None:
        """Gives the device back, at once: `stop` would wait for ever on a wedged device."""
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)


def input_devices() -> list[dict[str, Any]]:
    """The capture devices: index, name, channels, default rate in Hz, and whether it is the default."""
    default = sounddevice.default.device[0]
    return [
        {
            "index": info["index"],
            "name": info["name"],
            "channels": info["max_input_channels"],
            "rate_hz": round(info["default_samplerate"]),
            "default": info["index"] == default,
        }
        for info in sounddevice.query_devices()
        if info["max_input_channels"] > 0
    ]

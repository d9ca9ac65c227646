"""Microphones as a source, by PortAudio. Importing this module needs the system library libportaudio2."""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from ..errors import AudioError, DeviceError, SoundSystemHangs, text_of
from .channels import mix_of_stream, one_channel
from .devices import what_is_missing
from .quiet_stderr import silenced
from .samples import RATE_HZ, AudioFormat, Converter, Int16, to_float
from .sources import Source

try:
    import sounddevice
except OSError as error:  # the Python package is there, the library is not
    raise DeviceError(f"{text_of(error)}: install PortAudio (`apt install libportaudio2`)") from error

_LOG = logging.getLogger(__name__)

BLOCK_MS = 20
POLL_S = 0.005  # a quarter of a block
STALL_S = 1.0  # fifty blocks: a device that gives nothing for so long is gone, and PortAudio itself never says so
FIRST_AUDIO_S = 3.0  # a source that was asleep may take this long to wake: an idle monitor of PulseAudio takes 1.8 s
GATHERED_BLOCKS = 50  # 1 s, in which a detector cuts it anyway
QUEUE_BLOCKS = 500  # 10 s: whoever listens may be that late before audio is lost
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 0.5  # grows from one to the other: a device that is back is heard within 2 s
HANG_S = 5.0  # opening and closing take milliseconds; a sound system that takes so long will not come back
WAIT_S = 0.05  # so long a look for audio waits
TOO_FAST = 2.0  # × real time, …
TOO_FAST_AFTER_S = 3.0  # … since opening, the backlog of the device's buffer not counted
BACKLOG_S = 1.0
SOUND_CARDS = Path("/sys/class/sound")


class _Lost(Exception):
    """The device that was open is no longer there."""


class _NoChannel(DeviceError):
    """The device is there, and has not got the channel that is asked for."""


class MicrophoneSource(Source):
    """A capture device, by PortAudio, that is opened again whenever it goes away.

    A thread of its own polls it. It is never called back: polled reads survive a dying sound server and need no
    writable-executable memory. A device that cannot do 16 kHz mono is opened as it is and converted. While there is
    none the source gives empty blocks; what was said meanwhile is missing, and the positions go on without a gap.

    Args:
        device: a name, a part of a name, `plughw:CARD=…` or `hw:…`, or None for the default; `earmark devices` lists
            them.
        wait: go on where there is no such device yet; else only where it is there and busy.
        stall_s: a device that gives nothing for so long is opened again.
        channel: only this one of it, from 0; None: what the sound system makes of them, or those that hold the voice.

    Raises:
        DeviceError: there is no such device, or it has no such channel.
        SoundSystemHangs: it has not answered for 5 s.
    """

    def __init__(
        self,
        device: str | None = None,
        wait: bool = False,
        stall_s: float = STALL_S,
        channel: int | None = None,
    ) -> None:
        self.name = device or "default"
        self.fault: str | None = None
        """Why there is no audio now; None: there is, or the device was just opened for the first time."""
        self.opened = 0
        """How often the device was opened and gave audio."""
        self._device, self._stall_s, self._channel = device, stall_s, channel
        self._stream: Any = None
        self._opened_s = self._last_s = 0.0
        self._frames = 0
        self._missing_s = 0.0  # of the next block, when it was looked for
        self._busy_since: float | None = None
        self._failure: Exception | None = None
        """What ended the capture thread, which nothing should."""
        self._blocks: queue.Queue[Int16] = queue.Queue(QUEUE_BLOCKS)
        self._gathered_s = 0.0
        self._stopping = threading.Event()
        try:
            self._open_anew()
        except _NoChannel:
            raise
        except DeviceError as error:
            if not wait:
                require_listed(device)
            self._say_fault(str(error))
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # before PortAudio's own end: a process that ends with it inside may crash

    def _pieces(self) -> Iterator[Int16 | None]:
        while True:
            if self._blocks.qsize() * BLOCK_MS < 1000 * self._gathered_s:
                self._stopping.wait(self._gathered_s)
            try:
                yield self._waiting_audio()
            except queue.Empty:
                if self._failure is not None:
                    raise self._failure from None  # a daemon that ends is started again; one that is deaf is not
                if self._hangs():
                    raise SoundSystemHangs(
                        f"microphone {self.name!r}: the sound system has not answered for {HANG_S:g} s: restart the "
                        "sound server, or plug the microphone in again"
                    ) from None
                yield None

    def _waiting_audio(self) -> Int16:
        """What there is; raises queue.Empty where nothing comes for a while."""
        blocks = [self._blocks.get(timeout=WAIT_S)]
        for _ in range(min(self._blocks.qsize(), GATHERED_BLOCKS - 1) if self._gathered_s else 0):
            blocks.append(self._blocks.get_nowait())  # nobody else takes any
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def gather(self, samples: int) -> None:
        """The queue is looked at that much later."""
        self._gathered_s = samples / RATE_HZ

    def skip(self) -> None:
        """Empties the queue."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()

    def close(self) -> None:
        """Gives the device back; a sound system that hangs is left hanging."""
        atexit.unregister(self.close)
        self._stopping.set()
        while self._thread.is_alive() and not self._hangs():
            self._thread.join(WAIT_S)

    def _hangs(self) -> bool:
        since = self._busy_since
        return since is not None and time.monotonic() - since > HANG_S

    def _run(self) -> None:
        try:
            self._capture()
        except Exception as error:  # said where audio is waited for
            self._failure = error

    def _capture(self) -> None:
        """The capture thread: reads while there is a device, looks for it while there is none."""
        retry_s = FIRST_RETRY_S
        while not self._stopping.is_set():
            if self._stream is None:
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                if not self._stopping.is_set():
                    self._try_again()
                continue
            try:
                samples = self._read()
            except (_Lost, sounddevice.PortAudioError) as error:
                self._say_fault(f"microphone {self.name!r}: {text_of(error)}")
                self._release()
                continue
            if samples is None:
                time.sleep(max(POLL_S, self._missing_s))
                continue
            retry_s = FIRST_RETRY_S
            try:
                self._blocks.put_nowait(samples)
            except queue.Full:
                self.overruns += 1
        self._release()

    def _read(self) -> Int16 | None:
        """The next block; None: not yet.

        Raises:
            _Lost: nothing for too long, or more than there can be.
        """
        block_frames = self._format.rate_hz * BLOCK_MS // 1000
        now_s = time.monotonic()
        missing = block_frames - self._stream.read_available
        if missing > 0:
            self._missing_s = missing / self._format.rate_hz
            if now_s - self._last_s > (self._stall_s if self._frames else max(self._stall_s, FIRST_AUDIO_S)):
                raise _Lost(f"nothing for {now_s - self._last_s:.0f} s: is it unplugged?")
            return None
        with self._calling():  # a device that is wedged may promise more than it gives
            frames, overflowed = self._stream.read(block_frames)
        self.overruns += bool(overflowed)
        self._last_s = now_s
        if not self._frames:
            self.opened += 1
            if self.fault:
                _LOG.warning("microphone %r is back", self.name)
            self.fault = None
        self._frames += block_frames
        open_s, delivered_s = now_s - self._opened_s, self._frames / self._format.rate_hz
        if open_s > TOO_FAST_AFTER_S and delivered_s > TOO_FAST * open_s + BACKLOG_S:
            raise _Lost(f"{delivered_s:.0f} s of audio in {open_s:.0f} s: that is no microphone")
        return self._converter.push(to_float(frames))

    def _try_again(self) -> None:
        try:
            with self._calling(), silenced():  # PortAudio writes ten lines at each attempt
                _look_for_devices()
                self._open()
        except (DeviceError, sounddevice.PortAudioError) as error:
            self._say_fault(text_of(error))

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Around calls of PortAudio, which may not return: whoever waits for audio sees since when."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    def _say_fault(self, fault: str) -> None:
        if fault != self.fault:  # once, not every second
            _LOG.warning("%s; trying again", fault)
        self.fault = fault

    def _release(self) -> None:
        """`abort`, not `stop`, which would wait for ever on a wedged device."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with self._calling(), silenced():
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)

    def _open(self) -> None:
        try:
            info = sounddevice.query_devices(_portaudio_name(self._device), "input")
            stream = self._start_as_it_can(info)
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(_cannot_be_opened(self._device, error)) from error
        mix = mix_of_stream(
            self._format, self._channel, lambda remark: _LOG.warning("microphone %r: %s", self.name, remark)
        )
        self._converter = Converter(self._format, mix)
        self._opened_s = self._last_s = time.monotonic()
        self._frames = 0
        self._stream = stream

    def _open_anew(self) -> None:
        """Opens it; if it is not there, once more among the devices that there are now."""
        try:
            self._open()
        except DeviceError:
            with silenced():
                _look_for_devices()
            self._open()

    def _start_as_it_can(self, info: Any) -> Any:
        """At 16 kHz with the channels that are needed, else at its own rate with two, else with all that it has.

        Raises:
            PortAudioError: it refuses all of these.
            DeviceError: it has no such channel.
        """
        most, own_rate_hz = info["max_input_channels"], round(info["default_samplerate"])
        _require_channel(self._device, self._channel, most)
        needed = 1 if self._channel is None else self._channel + 1
        *others, last = (
            AudioFormat(RATE_HZ, needed),
            AudioFormat(own_rate_hz, min(max(2, needed), most)),
            AudioFormat(own_rate_hz, most),
        )
        for self._format in others:
            try:
                return self._start(info["index"], self._format)
            except sounddevice.PortAudioError as error:
                _LOG.info("%s refuses %s (%s)", info["name"], self._format, text_of(error))
        self._format = last
        return self._start(info["index"], last)

    def _start(self, index: int, audio_format: AudioFormat) -> Any:
        stream = sounddevice.InputStream(
            device=index,
            samplerate=audio_format.rate_hz,
            channels=audio_format.channels,
            dtype="int16",  # what nearly every microphone has; PortAudio converts the others
            blocksize=audio_format.rate_hz * BLOCK_MS // 1000,
        )
        stream.start()
        return stream


def _look_for_devices() -> None:
    """PortAudio knows only the devices that were there when it was initialised; nothing may be open now."""
    sounddevice._terminate()
    sounddevice._initialize()


def require_listed(device: str | None, channel: int | None = None) -> None:
    """Raises DeviceError where PortAudio does not list the device with that channel; it may still be busy."""
    try:
        info = sounddevice.query_devices(_portaudio_name(device), "input")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DeviceError(_cannot_be_opened(device, error)) from error
    _require_channel(device, channel, info["max_input_channels"])


def _require_channel(device: str | None, channel: int | None, channels: int) -> None:
    try:
        if channel is not None:
            one_channel(channel, channels)
    except AudioError as error:
        raise _NoChannel(f"microphone {device or 'default'!r}: {error}") from error


def _cannot_be_opened(device: str | None, error: Exception) -> str:
    """What is wrong, and what to do; where there is no microphone at all, what is missing."""
    lacking = "" if input_devices() else what_is_missing()
    return (
        f"microphone {device or 'default'!r} cannot be opened: {text_of(error)}; {lacking and lacking + '; '}"
        "`earmark devices` lists what there is, and `earmark listen -` takes audio from a pipe"
    )


def _portaudio_name(device: str | None, cards: Path = SOUND_CARDS) -> str | None:
    """ALSA's `plughw:CARD=Device,DEV=0` as PortAudio lists it, `(hw:1,0)`; any other name as it is.

    PortAudio numbers the cards; a name stays where a number changes with the order of plugging in. What `plughw`
    would convert is converted here.
    """
    match = re.fullmatch(r"(?:plug|sys)?(?:hw|default):(?:CARD=)?([^,=]+)(?:,(?:DEV=)?(\d+))?", device or "")
    if match is None:
        return device
    card, number = match[1], match[2] or "0"
    if not card.isdigit():
        for path in sorted(cards.glob("card*/id")):
            if path.read_text("utf-8").strip() == card:
                card = path.parent.name[len("card") :]
    return f"(hw:{card},{number})"


def play(samples: Int16) -> None:
    """Plays (n,) int16 at 16 kHz on the default output, and returns when it has been heard.

    A device that cannot do 16 kHz mono gets what it can do.

    Raises:
        DeviceError: there is no output, or it went away.
    """
    try:
        info = sounddevice.query_devices(None, "output")
        formats = [
            AudioFormat(RATE_HZ, 1),
            AudioFormat(round(info["default_samplerate"]), min(2, info["max_output_channels"])),
        ]
        for audio_format in formats:
            options = {"samplerate": audio_format.rate_hz, "channels": audio_format.channels, "dtype": "int16"}
            try:
                sounddevice.check_output_settings(info["index"], **options)
                break
            except sounddevice.PortAudioError as error:
                _LOG.info("%s refuses %s: %s", info["name"], audio_format, text_of(error))
        if audio_format.rate_hz != RATE_HZ:
            samples = soxr.resample(samples, RATE_HZ, audio_format.rate_hz)
        frames = np.repeat(samples[:, None], audio_format.channels, axis=1)
        with sounddevice.RawOutputStream(device=info["index"], **options) as stream:  # its end waits for the last one
            stream.write(frames.tobytes())
    except (sounddevice.PortAudioError, ValueError) as error:
        raise DeviceError(
            f"nothing can be played: {text_of(error)}; plug a loudspeaker in or start the sound server, or copy the "
            "sound with `earmark wakes export`"
        ) from error


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

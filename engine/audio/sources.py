"""Where audio comes from. Each source is an iterator of `Block` and closes itself::

    with StdinSource(sys.stdin.buffer) as source:
        for block in source: ...

A source delivers 16 kHz mono int16 whatever it reads, and numbers its samples without a gap. Files and microphones
have modules of their own (`files`, `microphone`), so that only who wants them loads their libraries.
"""

from __future__ import annotations

import logging
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

import numpy as np

from ..errors import AudioError
from .channels import mix_of_stream
from .pipes import FloatsInPipe, is_too_short, sound_at
from .samples import RATE_HZ, AudioFormat, Block, Converter, Float32, Int16, checked, to_float

_LOG = logging.getLogger(__name__)

_NOTHING = np.zeros(0, np.int16)
BLOCK_SAMPLES = 16_000  # large enough that Python's share of the cost vanishes, small enough for flat memory
AHEAD = 2  # times as much as was to be gathered: no microphone gives that
STDIN_BLOCK_BYTES = 3_200  # 100 ms: what a pipe is asked for; it may give less


class Source(ABC):
    """Base of the sources: context manager, iterator of blocks, `overruns` counted."""

    name: str
    """What events call this source."""
    overruns: int = 0
    """How often the device dropped audio because nobody fetched it in time."""
    fault: str | None = None
    """Why there is no audio now, where there should be."""
    opened: int = 1
    """How often it was opened."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        """The blocks in order; a live source gives an empty one where there is nothing yet, several a second."""
        first_sample = 0
        for samples in self._pieces():
            if samples is None:
                yield Block(_NOTHING, first_sample)
            elif len(samples):
                yield Block(samples, first_sample)
                first_sample += len(samples)

    @abstractmethod
    def _pieces(self) -> Iterator[Int16 | None]:
        """The audio in order, in pieces of any length, empty ones included; None: nothing yet."""

    def gather(self, samples: int) -> None:  # noqa: B027  only what is live has something to wait for
        """Whoever listens would rather have so many samples at once next time; 0: what there is."""

    def skip(self) -> None:  # noqa: B027  only what is live has something to skip
        """Forgets what was heard and not fetched yet: what comes next is said from now on."""

    def close(self) -> None:  # noqa: B027  a source with nothing to give back is common
        """Gives the file or device back; memory and pipes have nothing to give. Closing twice is allowed."""


class Readable(Protocol):
    """What a binary stream must be able to do: sys.stdin.buffer, a socket's file, io.BytesIO."""

    def read1(self, size: int, /) -> bytes | None:
        """At most `size` bytes, as soon as there are any; none at the end; None where it did not want to wait."""


class PolledPipe:
    """A file descriptor as `Readable` that waits `poll_s` at most, whether it is blocking or not."""

    def __init__(self, descriptor: int, poll_s: float) -> None:
        self._descriptor, self._poll_s = descriptor, poll_s
        self._end = select.poll()
        self._end.register(descriptor, 0)  # nothing but that the other side has closed it

    def rest(self, wait_s: float) -> None:
        """Sleeps, whatever comes meanwhile; not where the other side has closed the pipe."""
        self._end.poll(1000 * wait_s)

    def read1(self, size: int, /) -> bytes | None:
        """At most `size` bytes; none at the end; None: nothing yet."""
        if not select.select([self._descriptor], [], [], self._poll_s)[0]:
            return None
        try:
            return os.read(self._descriptor, size)
        except BlockingIOError:  # somebody else who holds the pipe was faster
            return None


class ArraySource(Source):
    """Samples that are already in memory, in blocks of `block_samples`.

    Args:
        samples: (n,) int16; n ≥ 0.
        block_samples: 1 or more.
        name: what events call it.
        rate_hz: of the samples, 4000 to 384000; another one than 16000 is converted.
        floats: the samples are floats instead, full scale = 1.0.

    Raises:
        AudioError: something of it is otherwise (`samples.checked` has the rules).
    """

    def __init__(
        self,
        samples: Int16 | Float32,
        block_samples: int = BLOCK_SAMPLES,
        name: str = "array",
        rate_hz: int = RATE_HZ,
        floats: bool = False,
    ) -> None:
        if block_samples < 1:
            raise AudioError(f"block_samples={block_samples} must be 1 or more")
        self.name = name
        self._samples = checked(samples, floats)
        self._block_samples = block_samples
        self._converter = None if rate_hz == RATE_HZ else Converter(AudioFormat(rate_hz, 1))

    def _pieces(self) -> Iterator[Int16]:
        pieces = (
            self._samples[start : start + self._block_samples]
            for start in range(0, len(self._samples), self._block_samples)
        )
        if self._converter is None:
            yield from pieces
            return
        self._converter.reset()
        for piece in pieces:
            yield self._converter.push(to_float(piece)[:, None])
        yield self._converter.finish()


class StdinSource(Source):
    """Raw signed 16-bit little-endian audio at 16 kHz from a pipe, until its end.

    Blocks come as soon as the pipe has anything, so a live `arecord … |` has no added delay. The header of a WAV in
    this format is passed over. Half a frame at the end is dropped and logged; floats are logged.

    Args:
        stream: of bytes.
        name: what events call it.
        channels: in it, interleaved.
        channel: only this one, from 0; None: those that hold the voice.

    Raises:
        AudioError: there is no such channel; while iterating: it is a recording in a format of its own, or it ends
            before it has begun.
    """

    def __init__(self, stream: Readable, name: str = "-", channels: int = 1, channel: int | None = None) -> None:
        self.name = name
        self._stream, self._channels = stream, channels
        self._gathered_samples = 0
        audio_format = AudioFormat(RATE_HZ, channels)
        try:
            self._converter = Converter(audio_format, mix_of_stream(audio_format, channel, _say_of_pipe))
        except AudioError as error:
            raise AudioError(f"standard input: {error}; audio.channels says how many it has") from error

    def _pieces(self) -> Iterator[Int16 | None]:
        rest, frame_bytes, heard_frames = b"", 2 * self._channels, 0
        floats = FloatsInPipe()
        for data in self._sound():
            if data is None:
                yield None
                continue
            data = rest + data
            whole = len(data) // frame_bytes * frame_bytes
            rest = data[whole:]
            samples = np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False)
            heard_frames += len(samples) // self._channels
            if floats.found(samples):
                _say_of_pipe("it looks like floats, not 16-bit integers: `arecord -f S16_LE`, ffmpeg `-f s16le`")
            frames = samples.reshape(-1, self._channels)
            yield samples if self._channels == 1 else self._converter.push(to_float(frames))
        if rest:
            _LOG.warning("standard input ended with half a sample: is it really 16-bit audio?")
        if not heard_frames:
            raise AudioError("the pipe ended after 0 s: did the program before it start?")
        if heard_frames < RATE_HZ // 2:
            _say_of_pipe(f"the pipe ended after {heard_frames / RATE_HZ:.2g} s")

    def _sound(self) -> Iterator[bytes | None]:
        """What the pipe gives; of a WAV what stands behind its header."""
        begin, data = b"", None
        while data is None or (data and is_too_short(begin)):
            data = self._stream.read1(STDIN_BLOCK_BYTES)
            begin += data or b""
            if data is None:
                yield None
        yield begin[sound_at(begin, self._channels) :]
        size = STDIN_BLOCK_BYTES
        while data != b"":
            wanted = self._gathered_samples
            if wanted and isinstance(self._stream, PolledPipe) and (data is None or len(data) < size):
                self._stream.rest(wanted / RATE_HZ)  # else the pipe is ahead of time, and is read as it comes
            size = max(STDIN_BLOCK_BYTES, AHEAD * wanted * 2 * self._channels)
            data = self._stream.read1(size)
            yield data

    def gather(self, samples: int) -> None:
        """The pipe is looked at that much later; one that has more than twice that much is not waited for."""
        self._gathered_samples = samples


def _say_of_pipe(remark: str) -> None:
    _LOG.warning("standard input: %s", remark)


class IdleSource(Source):
    """No audio at all, for a daemon that only serves satellites: `wait` is called between two looks."""

    name = "none"

    def __init__(self, wait: Callable[[], object]) -> None:
        self._wait = wait

    def _pieces(self) -> Iterator[None]:
        while True:
            self._wait()
            yield None

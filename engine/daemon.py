"""The detector on live audio: the only room with signals."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
from types import FrameType

from .console import make_detector, print_event
from .errors import AudioError
from .sources import Source, StdinSource

_LOG = logging.getLogger(__name__)


class _Stop(BaseException):
    """Raised where the program stands when SIGINT or SIGTERM comes."""


def listen(arguments: argparse.Namespace) -> int:
    """Prints the events of a microphone, or of a pipe until its end; SIGINT and SIGTERM stop it with exit 0."""
    detector = make_detector(arguments)
    name = arguments.device if arguments.source is None else "-"
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        with _open_source(arguments) as source:
            print(f"earmark: listening to {source.name}", file=sys.stderr, flush=True)
            for event in detector.run(source):
                print_event(event, name, arguments.json)
            _LOG.info("%s ended, %d overruns", source.name, source.overruns)
    except _Stop:
        _LOG.info("stopped")
    return 0


def _open_source(arguments: argparse.Namespace) -> Source:
    if arguments.source == "-":
        if sys.stdin is None:
            raise AudioError("standard input is closed: `earmark listen -` takes audio from it")
        os.set_blocking(sys.stdin.fileno(), True)  # else "nothing yet" would read as the end
        return StdinSource(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)))
    from .microphone import MicrophoneSource  # needs a system library that a pipe does without

    return MicrophoneSource(arguments.device)


def _stop(number: int, _frame: FrameType | None) -> None:
    """A second signal must not interrupt the clean-up after the first."""
    signal.signal(number, signal.SIG_IGN)
    raise _Stop

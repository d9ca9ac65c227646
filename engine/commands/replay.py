"""Commands that need only the engine. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys

from ..audio.devices import no_microphone
from ..audio.files import FileSource
from ..errors import AudioError
from .arguments import make_detector


def replay(arguments: argparse.Namespace) -> int:
    """Runs recordings through the detector; each file is a stream of its own."""
    detector = make_detector(arguments)
    failed = 0
    for path in arguments.files:
        detector.reset()
        if not arguments.json and len(arguments.files) > 1:
            print(path, flush=True)
        try:
            with FileSource(path, channel=arguments.channel) as source:
                for event in detector.run(source):
                    print(event.line(source.name, arguments.json), flush=True)
        except AudioError as error:
            failed += 1
            print(f"earmark: {error}", file=sys.stderr)
    return AudioError.exit_code if failed else 0


def devices(arguments: argparse.Namespace) -> int:
    """The capture devices; exit 1 where there is none."""
    from ..audio.microphone import input_devices  # needs a system library that the other commands do without

    found = input_devices()
    for device in found:
        if arguments.json:
            print(json.dumps(device, ensure_ascii=False))
        else:
            mark = "*" if device["default"] else " "
            print(f"{mark} {device['name']}  ({device['channels']} channels, {device['rate_hz']} Hz)")
    if not found:
        print(f"earmark: {no_microphone()}", file=sys.stderr)
    return 0 if found else 1

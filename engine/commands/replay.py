"""Commands that need only the engine. Each takes the parsed arguments and returns an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..audio.devices import alsa_descriptions, named, no_microphone, server_microphone
from ..audio.files import FileSource
from ..audio.samples import RATE_HZ
from ..detector import FLUSH_SAMPLES
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
        events, error = 0, None
        try:
            with FileSource(path, channel=arguments.channel) as source:
                for event in detector.run(source):
                    events += 1
                    print(event.line(source.name, arguments.json), flush=True)
        except AudioError as audio_error:
            failed += 1
            error = str(audio_error)
            print(f"earmark: {error}", file=sys.stderr)
        at_end = FLUSH_SAMPLES if error is None else 0  # the silence behind what was heard to its end
        heard_s = (detector.samples - at_end) / RATE_HZ
        if arguments.json:
            print(json.dumps(_end_of_file(path, heard_s, events, error), ensure_ascii=False), flush=True)
        elif not events and error is None:
            print(f"nothing heard in {heard_s:.1f} s", flush=True)
    return AudioError.exit_code if failed else 0


def _end_of_file(path: str, heard_s: float, events: int, error: str | None) -> dict[str, Any]:
    """What `--json` tells at the end of each file: that it was heard, and how much of it."""
    return {
        "type": "file",
        "file": path,
        "duration_ms": round(1000 * heard_s),
        "events": events,
        "error": error,
    }


def devices(arguments: argparse.Namespace) -> int:
    """The capture devices; exit 1 where there is none."""
    from ..audio.microphone import input_devices  # needs a system library that the other commands do without

    found = input_devices()
    labels = {one.device: one.label for one in named(found, alsa_descriptions(), server_microphone())}
    for device in found:
        name, label = device["name"], labels.get(device["name"])
        if arguments.json:
            print(json.dumps({**device, "label": label}, ensure_ascii=False))
        else:
            mark = "*" if device["default"] else " "
            known = "" if label in (None, name) else f"  {label}"
            print(f"{mark} {name}  ({device['channels']} channels, {device['rate_hz']} Hz){known}")
    if not found:
        print(f"earmark: {no_microphone()}", file=sys.stderr)
    return 0 if found else 1

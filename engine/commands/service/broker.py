"""`earmark mqtt`: what a daemon has left at its broker."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...errors import DaemonError, SettingsError, text_of
from ...settings.reading import load


def forget(arguments: argparse.Namespace) -> int:
    """Takes back the device and every topic that the broker keeps of a daemon which does not run."""
    file = Path(arguments.settings) if arguments.settings else None
    settings = load(file, flags=dict(arguments.set or [])).settings.mqtt
    if not settings.host:
        raise SettingsError("mqtt.host is not set: there is no broker to tell, as in `--set mqtt.host=broker.local`")
    try:
        from ...sinks.mqtt import forget as module
    except ImportError as error:
        raise DaemonError(f"{text_of(error)}: `pip install 'earmark[mqtt]'`") from error
    topics = module.forget(settings, arguments.topic or "")
    for topic in topics:
        print(json.dumps({"forgotten": topic}, ensure_ascii=False) if arguments.json else f"forgotten  {topic}")
    return 0

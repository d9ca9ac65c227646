"""Settings that were changed from outside, and stay so through restarts: what is set in Home Assistant is set.

The file says of each what the settings said then. Where they say something else now, somebody has edited them since,
and what was edited last counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import text_of
from ..settings.schema import Settings
from ..storage.atomic import make_folder, read_limited, replace_synced
from ..storage.user_folders import controls_folder, people_folder

_LOG = logging.getLogger(__name__)

KEYS = ("wake.mode", "wake.sensitivity", "people.sensitivity")
"""What can be changed from outside."""
MOST_BYTES = 4096


class Kept:
    """One file for each store of people, in the folder of what is remembered."""

    def __init__(self) -> None:
        self._said = ""

    def read(self, settings: Settings) -> dict[str, str]:
        """What is to be changed in settings, which are as they were given: key -> value, as `load` takes it.

        Nothing where nobody may change anything from outside. What was edited since is forgotten; what cannot be read
        is said.
        """
        if not settings.mqtt.host or not settings.mqtt.controls:
            return {}
        try:
            content = json.loads(read_limited(_path(settings), MOST_BYTES))
            pairs = {key: (str(content[key]["was"]), str(content[key]["is"])) for key in KEYS if key in content}
        except FileNotFoundError:
            return {}
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._say(f"what was changed from outside before is not known: {text_of(error)}")
            return {}
        held = {key: value for key, (was, value) in pairs.items() if was == str(value_of(settings, key))}
        if len(held) < len(pairs):  # for good: it does not come back where the edit is taken back
            self.write(settings, held)
        return held

    def write(self, settings: Settings, changes: Mapping[str, str]) -> None:
        """Keeps them; where that cannot be done it is said, and they hold until the end.

        Args:
            settings: as they were given, without the changes.
            changes: key -> value.
        """
        content = {key: {"was": str(value_of(settings, key)), "is": value} for key, value in changes.items()}
        try:
            path = _path(settings)
            make_folder(path.parent)
            replace_synced(path, json.dumps(content, indent=1).encode() + b"\n")
        except (OSError, RuntimeError) as error:
            self._say(f"what is changed from outside holds until the next start only: {text_of(error)}")

    def _say(self, what: str) -> None:
        if what != self._said:  # once, not at each change
            _LOG.warning("%s", what)
        self._said = what


def value_of(settings: Settings, key: str) -> Any:
    """Of a setting, by its full key."""
    section, name = key.split(".")
    return getattr(getattr(settings, section), name)


def _path(settings: Settings) -> Path:
    """Raises RuntimeError where this user has no folder for what is remembered."""
    store = Path(settings.people.store or people_folder()).absolute()
    return controls_folder(store) / f"{hashlib.sha256(os.fsencode(store)).hexdigest()[:32]}.json"

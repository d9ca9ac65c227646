"""Settings that were changed from outside, and stay so through restarts: what is set in Home Assistant is set.

The file says of each what the settings said then. Where they say something else now, somebody has edited them since,
and what was edited last counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import text_of
from ..settings.schema import Settings
from ..sinks.places import SETTABLE
from ..storage.atomic import make_folder, read_limited, replace_synced
from ..storage.user_folders import controls_folder, people_folder

_LOG = logging.getLogger(__name__)

MOST_BYTES = 64 << 10  # a number for each of a thousand people


class Kept:
    """One file for each store of people, in the folder of what is remembered."""

    def __init__(self) -> None:
        self._said = ""
        self._here: set[str] = set()  # keys that somebody of this machine changed

    def read(self, settings: Settings) -> dict[str, str]:
        """What is to be changed in settings, which are as they were given: key -> value, as `load` takes it.

        Of what came through the broker nothing, where nobody may change anything that way. What was edited since is
        forgotten; what cannot be read is said.
        """
        try:
            content = json.loads(read_limited(_path(settings), MOST_BYTES))
            pairs = {key: (str(content[key]["was"]), str(content[key]["is"])) for key in SETTABLE if key in content}
            self._here = {key for key in pairs if content[key].get("here") is True}
        except FileNotFoundError:
            return {}
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._say(f"what was changed from outside before is not known: {text_of(error)}")
            return {}
        if not settings.mqtt.host or not settings.mqtt.controls:
            pairs = {key: pair for key, pair in pairs.items() if key in self._here}
        held = {key: value for key, (was, value) in pairs.items() if was == str(value_of(settings, key))}
        if len(held) < len(pairs):  # for good: it does not come back where the edit is taken back
            self.write(settings, held)
        return held

    def write(
        self, settings: Settings, changes: Mapping[str, str], here: Iterable[str] = (), there: Iterable[str] = ()
    ) -> None:
        """Keeps them; where that cannot be done it is said, and they hold until the end.

        Args:
            settings: as they were given, without the changes.
            changes: key -> value.
            here: keys that somebody of this machine has just changed.
            there: keys that somebody at the broker has.
        """
        self._here = (self._here | set(here)) - set(there)
        content: dict[str, dict[str, object]] = {
            key: {"was": str(value_of(settings, key)), "is": value} for key, value in changes.items()
        }
        for key in self._here & content.keys():
            content[key]["here"] = True
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

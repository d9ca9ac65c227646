"""What the broker keeps of a daemon: its retained topics, said at each connection, and as soon as they change."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection
from typing import Any

from ...errors import text_of
from ...settings.schema import Mqtt
from ..base import Control
from .checks import topic_of
from .discovery import KNOBS, OFFLINE, ONLINE, discovery, is_trigger, node_of, renamed, trigger_of, voices_of

_LOG = logging.getLogger(__name__)

HASH_DIGITS = 12  # of a sha256, as everywhere
RETAINED = ("availability", "last", "triggers", "microphone", "diagnostics", *KNOBS)
"""Below the topic."""


class State:
    """Whoever speaks holds `_lock`, so that the last that is said is true; nothing is said without a connection.

    Args:
        settings: of MQTT.
        control: of the daemon.
        publish: tells the broker something that it is to keep: a topic and a text.
    """

    def __init__(self, settings: Mqtt, control: Control, publish: Callable[[str, str], None]) -> None:
        self._settings, self._control, self._publish = settings, control, publish
        self._topic = topic_of(settings)
        self._lock = threading.Lock()
        self._is_connected = self._is_over = False
        self._last: dict[str, Any] | None = None
        self._voices: dict[str, set[str]] = {}  # who is known -> what their voiceprints are, as `voices_of` has it
        self._told: list[str] | None = None  # the people that Home Assistant knows of
        self._commands = False  # whether it knows that commands are told, too

    @property
    def knows_last(self) -> bool:
        """Whether there is a last wake."""
        return self._last is not None

    def introduce(self) -> None:
        """Everything that somebody needs who has not heard of us; that we are there comes last."""
        with self._lock:
            self._is_connected = True
            if self._is_over:
                return
            self._told = None
            self._tell_people()
            if self._last is not None:
                self._say("last", as_json(self._last))
            self._say_policy()
            self._say_microphone()
            self._say_diagnostics()
            self._say("availability", ONLINE)

    def lose(self) -> None:
        """The connection."""
        with self._lock:
            self._is_connected = False

    def end(self) -> None:
        """Says goodbye; nothing is said behind it."""
        with self._lock:
            if self._speaks:
                self._say("availability", OFFLINE)
            self._is_over = True

    def wake(self, event: dict[str, Any]) -> None:
        """Somebody woke it; to be called before the event itself is told."""
        with self._lock:
            self._tell_people()  # an event of somebody whom Home Assistant does not know of is lost there
            self._last = event
            self._say("last", as_json(event))

    def people(self) -> None:
        """Somebody is about to be named."""
        with self._lock:
            if self._speaks:
                self._tell_people()

    def household(self) -> None:
        """It has changed."""
        with self._lock:
            if self._speaks:
                self._tell_people()
                self._say_policy()
                self._say_diagnostics()

    def policy(self) -> None:
        """What is in force, to whoever wanted something else."""
        with self._lock:
            if self._speaks:
                self._say_policy()

    def microphone(self) -> None:
        """It is lost or silent, or hears again."""
        with self._lock:
            if self._speaks:
                self._say_microphone()

    def diagnostics(self) -> None:
        """A counter has changed."""
        with self._lock:
            if self._speaks:
                self._say_diagnostics()

    def contradict(self) -> None:
        """An older connection of ours that the broker gives up only now leaves its last will behind."""
        with self._lock:
            if self._speaks:
                self._say("availability", ONLINE)

    def take_over(self, payload: bytes) -> None:
        """The last wake that an earlier daemon told of: whoever is erased since is named in it no more."""
        with self._lock:
            if self._last is not None or not self._speaks:
                return
            try:
                last = json.loads(payload)
                person = last["person"]
                if not (person is None or isinstance(person, str)):
                    raise ValueError(f"person={person!r:.80} must be a text")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                _LOG.warning("mqtt: %s/last is none of earmark's: %s", self._topic, text_of(error))
                return
            self._last = last
            self._tell_people()

    def take_back(self, payload: bytes) -> None:
        """The triggers that an earlier daemon has left, of people who are gone since."""
        try:
            triggers = json.loads(payload)
            if not isinstance(triggers, list) or not all(map(is_trigger, triggers)):
                raise ValueError(f"{triggers!r:.80} must be a list of triggers")
        except (ValueError, RecursionError) as error:
            _LOG.warning("mqtt: %s/triggers is none of earmark's: %s", self._topic, text_of(error))
            return
        with self._lock:
            gone = set(triggers) - set(map(trigger_of, self._told or ()))
            if gone and self._speaks:
                self._say_discovery(gone)

    # --- with the lock held

    @property
    def _speaks(self) -> bool:
        return self._is_connected and not self._is_over

    def _tell_people(self) -> None:
        """Home Assistant of those who are known, if they are others; and nobody of those who are not any more."""
        voices = voices_of(self._control.household.people)
        commands = _tells_commands(self._control)
        if self._settings.discovery and (self._told, self._commands) != (sorted(voices), commands):
            self._commands = commands
            triggers = {trigger_of(name) for name in self._told or ()}
            self._told = sorted(voices)
            self._say_discovery(triggers - set(map(trigger_of, voices)))
        before, self._voices = self._voices, voices
        if self._last is not None and self._last["person"] not in (None, *voices):
            self._last = {**self._last, "person": renamed(before.get(self._last["person"], set()), voices)}
            self._say("last", as_json(self._last))

    def _say_discovery(self, gone: Collection[str]) -> None:
        """With triggers that are to be taken back, which takes a message of its own."""
        settings = self._settings
        for back in (gone, ()) if gone else ((),):
            told = discovery(
                self._topic,
                settings.name,
                settings.controls,
                self._told or (),
                back,
                settings.area,
                settings.page,
                self._commands,
            )
            self._publish(discovery_topic(settings.discovery, self._topic), as_json(told))
        self._say("triggers", as_json(sorted(map(trigger_of, self._told or ()))))

    def _say_policy(self) -> None:
        policy = self._control.household.policy
        for knob in KNOBS.values():
            self._say(knob.name, knob.read(policy))

    def _say_microphone(self) -> None:
        self._say("microphone", as_json({"why": self._control.status()["microphone"]["problem"]}))

    def _say_diagnostics(self) -> None:
        household, stats = self._control.household, self._control.stats
        told = {
            "people": len(household.names),
            "rejections": stats.total("events", type="rejection"),
            "models": household.cards[0].sha256[:HASH_DIGITS],
        }
        self._say("diagnostics", as_json(told))

    def _say(self, name: str, payload: str) -> None:
        self._publish(f"{self._topic}/{name}", payload)


def _tells_commands(control: Control) -> bool:
    """Whether somebody may be told whose command it was."""
    household = control.household
    asked = {household.policy.confirm, *household.policy.confirm_of.values()} - {"off"}
    return bool(asked) or bool(household.settings.wyoming.transcribe)


def discovery_topic(prefix: str, topic: str) -> str:
    """Where Home Assistant is told of the device."""
    return f"{prefix}/device/{node_of(topic)}/config"


def as_json(value: object) -> str:
    """As people read it."""
    return json.dumps(value, ensure_ascii=False)

"""What Home Assistant is told through the broker, and the settings that can be changed from there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ...errors import InputError
from ...people.voiceprint import Voiceprint
from ...settings.policy import MODES, Policy

STEP = 0.05  # of the sliders
ONLINE, OFFLINE = "online", "offline"
_NUMBER = re.compile(rb"[01](\.[0-9]{0,20})?")  # Home Assistant writes 0.15000000000000002


_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")  # what Home Assistant does not take in a discovery topic

SOMEBODY_ELSE = "somebody else"
# An event without a type is none for Home Assistant: a rejection, or one that it does not know
WOKEN_BY = (
    f"{{{{ dict(value_json, event_type=value_json.person or '{SOMEBODY_ELSE}') | tojson "
    "if value_json.type == 'detection' else '' }}"
)
WOKEN_BY_NAME = f"{{{{ (value_json.person or '{SOMEBODY_ELSE}') if value_json.type == 'detection' else '' }}}}"


# Of a command: who said it, where that could be told
SPOKEN_BY = (
    f"{{{{ dict(value_json, event_type=value_json.person or '{SOMEBODY_ELSE}') | tojson "
    "if value_json.type == 'confirmation' and (value_json.person or value_json.reason.split(':')[0] in "
    "['confirmed', 'denied', 'unknown_voice']) else '' }}"
)
CANCELLED = "cancelled"
"""The type of event for Home Assistant of a confirmation that takes the wake back."""


@dataclass(frozen=True)
class Knob:
    """A setting that can be changed through the broker."""

    name: str
    """Its topic."""
    key: str
    """In the settings."""
    parse: Callable[[bytes], str]
    """A command -> the value as the settings take it; InputError for anything else."""
    read: Callable[[Policy], str]
    """What is in force."""
    entity: dict[str, Any]
    """For Home Assistant."""


def _mode(payload: bytes) -> str:
    text = payload.decode("ascii", "replace")
    if text not in MODES:
        raise InputError(f"must be one of {', '.join(MODES)}")
    return text


def _share(payload: bytes) -> str:
    if not _NUMBER.fullmatch(payload) or not 0 <= float(payload) <= 1:
        raise InputError("must be a number within 0…1, as 0.55")
    return str(float(payload))


_SLIDER = {  # in percent; the topics have shares
    "platform": "number",
    "min": 0,
    "max": 100,
    "step": 100 * STEP,
    "mode": "slider",
    "unit_of_measurement": "%",
    "value_template": "{{ (value | float * 100) | round(1) }}",
    "command_template": "{{ value / 100 }}",
    "entity_category": "config",
}
MODE_WORDS = {
    "only": "Known people only",
    "prefer": "Everybody, known people preferred",
    "label": "Everybody, known people named",
}
"""What Home Assistant shows for each mode; it has no translations for what a broker says."""


DIAGNOSTICS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("people", "People", "mdi:account-multiple", {"state_class": "measurement"}),
    ("rejections", "Rejections", "mdi:account-cancel", {"state_class": "total_increasing"}),
    ("models", "Models", "mdi:brain", {}),
)
"""What `diagnostics` tells: its key, what people call it, its icon, and what else Home Assistant is to know."""

KNOBS = {
    knob.name: knob
    for knob in (
        Knob(
            "mode",
            "wake.mode",
            _mode,
            lambda policy: policy.mode,
            {
                "platform": "select",
                "name": "Mode",
                "icon": "mdi:account-lock",
                "options": [MODE_WORDS[mode] for mode in MODES],
                "value_template": f"{{{{ {MODE_WORDS}[value] }}}}",
                "command_template": f"{{{{ {dict(zip(MODE_WORDS.values(), MODE_WORDS))}[value] }}}}",
                "entity_category": "config",
            },
        ),
        Knob(
            "sensitivity",
            "wake.sensitivity",
            _share,
            lambda policy: str(policy.sensitivity),
            {**_SLIDER, "name": "Wake word sensitivity", "icon": "mdi:ear-hearing"},
        ),
        Knob(
            "voice_sensitivity",
            "people.sensitivity",
            _share,
            lambda policy: str(policy.voice_sensitivity),
            {**_SLIDER, "name": "Voice sensitivity", "icon": "mdi:account-voice"},
        ),
    )
}


def discovery(
    topic: str,
    device: str,
    controls: bool = True,
    people: Iterable[str] = (),
    gone: Iterable[str] = (),
    area: str = "",
    page: str = "",
    commands: bool = False,
) -> dict[str, Any]:
    """What Home Assistant is told: one message for the whole device, as its documentation recommends for several
    entities; it comes or goes as a whole (since Home Assistant 2024.11).

    Args:
        topic: what all topics begin with; the identifiers follow from it, so they stay when the name changes.
        device: its name, for people.
        controls: whether settings can be changed.
        people: who can wake it; their names are the types of events, and the triggers, that automations choose from.
        gone: triggers to be taken back, as `trigger_of` calls them. Leaving one out does not do that: one message
            must have nothing but its platform. So it has of controls that there are not.
        area: the room that is suggested for it; empty: none.
        page: a link for people; empty: none.
        commands: whether it is told whose command it was.
    """
    node, release, people = node_of(topic), version("earmark"), sorted(set(people))
    # What has happened stays true while the daemon is down: these have no availability. With one, Home Assistant
    # would show them anew at each start, and automations would run for a wake of yesterday
    last = {"state_topic": f"{topic}/last", "json_attributes_topic": f"{topic}/last"}
    entities: dict[str, dict[str, Any]] = {
        "woken_by": {
            "platform": "event",
            "name": "Woken by",
            "icon": "mdi:account-voice",
            "event_types": [*people, SOMEBODY_ELSE],
            "state_topic": f"{topic}/event",
            "value_template": WOKEN_BY,
        },
        "last_person": {
            "platform": "sensor",
            "name": "Last person",
            "icon": "mdi:account-voice",
            "value_template": f"{{{{ value_json.person or '{SOMEBODY_ELSE}' }}}}",
            **last,
        },
        "last_wake_word": {
            "platform": "sensor",
            "name": "Last wake word",
            "icon": "mdi:microphone-message",
            "value_template": "{{ value_json.keyword | replace('_', ' ') | title }}",
            **last,
        },
        "last_wake": {
            "platform": "sensor",
            "name": "Last wake",
            "device_class": "timestamp",
            "value_template": "{{ value_json.at }}",
            "state_topic": f"{topic}/last",
        },
        "wake": {
            "platform": "event",
            "name": "Wake",
            "icon": "mdi:account-question",
            "event_types": ["detection", "rejection", "confirmation", CANCELLED],
            "state_topic": f"{topic}/event",
        },
    }
    if commands:
        entities["spoken_by"] = {
            "platform": "event",
            "name": "Spoken by",
            "icon": "mdi:account-check",
            "event_types": [*people, SOMEBODY_ELSE],
            "state_topic": f"{topic}/event",
            "value_template": SPOKEN_BY,
        }
    for knob in KNOBS.values() if controls else ():
        entities[knob.name] = {
            **knob.entity,
            "state_topic": f"{topic}/{knob.name}",
            "command_topic": f"{topic}/{knob.name}/set",
            "availability_topic": f"{topic}/availability",
        }
    now = {"availability_topic": f"{topic}/availability", "entity_category": "diagnostic"}
    entities["microphone"] = {
        "platform": "binary_sensor",
        "name": "Microphone",
        "device_class": "problem",
        "state_topic": f"{topic}/microphone",
        "value_template": "{{ 'ON' if value_json.why else 'OFF' }}",
        "json_attributes_topic": f"{topic}/microphone",
        **now,
    }
    for name, words, icon, more in DIAGNOSTICS:
        entities[name] = {
            "platform": "sensor",
            "name": words,
            "icon": icon,
            "state_topic": f"{topic}/diagnostics",
            "value_template": f"{{{{ value_json.{name} }}}}",
            **more,
            **now,
        }
    entities["running"] = {  # has no availability: that it does not run is what it says
        "platform": "binary_sensor",
        "name": "Running",
        "device_class": "running",
        "entity_category": "diagnostic",
        "state_topic": f"{topic}/availability",
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
    }
    for name, entity in entities.items():
        entity["unique_id"] = f"{node}_{name}"
    for person in (*people, SOMEBODY_ELSE):
        entities[trigger_of(person)] = {
            "platform": "device_automation",
            "automation_type": "trigger",
            "type": "woken by",
            "subtype": person,
            "topic": f"{topic}/event",
            "payload": person,
            "value_template": WOKEN_BY_NAME,
        }
    entities.update({name: {"platform": "device_automation"} for name in gone})
    if not commands:  # perhaps it was
        entities["spoken_by"] = {"platform": "event"}
    if not controls:  # perhaps there were some
        entities.update({knob.name: {"platform": knob.entity["platform"]} for knob in KNOBS.values()})
    return {
        "device": {
            "identifiers": [node],
            "name": device,
            "manufacturer": "earmark",
            "model": "wake word detector",
            "sw_version": release,
            **({"suggested_area": area} if area else {}),
            **({"configuration_url": page} if page else {}),
        },
        "origin": {"name": "earmark", "sw_version": release, **({"support_url": page} if page else {})},
        "components": entities,
    }


def trigger_of(person: str) -> str:
    """What the trigger "woken by PERSON" is called in a discovery message."""
    return f"woken_by_{hashlib.sha256(person.encode()).hexdigest()[:8]}"


def is_trigger(name: object) -> bool:
    """Whether `trigger_of` could have called one so."""
    return isinstance(name, str) and re.fullmatch("woken_by_[0-9a-f]{8}", name) is not None


def node_of(topic: str) -> str:
    """A topic as an identifier of safe characters; different topics have different ones."""
    if topic.startswith("earmark") and not _UNSAFE.search(topic):
        return topic
    digest = hashlib.sha256(topic.encode()).hexdigest()[:8]
    return f"earmark_{_UNSAFE.sub('_', topic)[:40]}_{digest}"


def voices_of(people: Iterable[Voiceprint]) -> dict[str, set[str]]:
    """Each person's name -> digests of their takes, which a new name does not change."""
    found: dict[str, set[str]] = {}
    for person in people:
        found.setdefault(person.name, set()).add(hashlib.sha256(person.takes.tobytes()).hexdigest())
    return found


def renamed(voices: set[str], people: Mapping[str, set[str]]) -> str | None:
    """Who has these voiceprints now; None: nobody."""
    return next((name for name, theirs in people.items() if voices & theirs), None)

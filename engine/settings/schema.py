"""The settings: one frozen tree.

Every key stands once, here, with its default, its rule and its explanation; `earmark settings show` prints them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .policy import CONFIRMS, FARS_OF, MODES, NEUTRAL, ON_ERROR, Policy

TEXT, TEXTS, NUMBER, WHOLE, YES_NO, NUMBERS, CHOSEN = (
    "text",
    "list of texts",
    "number",
    "whole number",
    "true or false",
    "table",
    "table of choices",
)
TABLES = (NUMBERS, CHOSEN)

DAY_S = 86_400
"""Of everything that is kept for a number of days."""


def _key(kind: str, default: Any, text: str, low: float = 0, high: float = 0, choices: tuple[str, ...] = ()) -> Any:
    """A key: its kind, default and explanation, and what it may be; of a list of texts `low` is the least length."""
    metadata = {"kind": kind, "text": text, "low": low, "high": high, "choices": choices}
    if kind in TABLES:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Audio:
    """Where the sound comes from."""

    device: str = _key(
        TEXT, "", "microphone: a name or a part of it, plughw:CARD=…; empty: the default one; none: only satellites"
    )
    channel: int = _key(
        WHOLE,
        -1,
        "only this channel of it, from 0; -1: those that hold the voice, without dead and reference ones",
        -1,
        63,
    )
    channels: int = _key(WHOLE, 1, "of the raw audio that `earmark listen -` takes from a pipe", 1, 64)
    wait_for_device: bool = _key(
        YES_NO, False, "go on without a microphone that is not there yet; a service always does"
    )
    stall_s: float = _key(NUMBER, 1.0, "a microphone that delivers nothing for so long is opened again", 0.2, 60)
    silence_warning_s: float = _key(NUMBER, 60.0, "so much digital silence is worth a warning; 0: never", 0, DAY_S)


@dataclass(frozen=True)
class Wake:
    """What wakes it."""

    keywords: tuple[str, ...] = _key(
        TEXTS, ("okay_nabu",), "wake words: built-in names, or microWakeWord manifests", 1
    )
    mode: str = _key(
        TEXT, "only", "only: known people; prefer, label: everybody, known people by name", choices=MODES
    )
    on_error: str = _key(TEXT, "reject", "what becomes of a wake word if the speaker side fails", choices=ON_ERROR)
    sensitivity: float = _key(NUMBER, NEUTRAL, "of the wake words: 0.5 as published, more hears more", 0, 1)
    sensitivity_of: Mapping[str, float] = _key(NUMBERS, {}, "the same for single wake words: name = number", 0, 1)
    confirm: str = _key(
        TEXT,
        "off",
        "listen on, and say whose command followed; cancel: take the wake back where it was nobody's who is known",
        choices=CONFIRMS,
    )
    confirm_of: Mapping[str, str] = _key(
        CHOSEN, {}, "the same for single wake words: name = choice", choices=CONFIRMS
    )
    end_of_speech: bool = _key(
        YES_NO, False, "with confirm: follow a command to its end, and say when its speaker had said it"
    )
    skip_quiet: bool = _key(YES_NO, True, "rest while the room is quiet; no wake word is lost by it")


@dataclass(frozen=True)
class People:
    """Whom it knows."""

    store: str = _key(TEXT, "", "folder of the people; empty: ~/.local/share/earmark/people")
    models: str = _key(TEXT, "", "folder of a speaker network, head and cohort of your own; empty: the built-in ones")
    key_file: str = _key(
        TEXT, "", "key of an encrypted store; empty: systemd's credential earmark.key, if there is one"
    )
    sensitivity: float = _key(
        NUMBER, NEUTRAL, "of the voices: 0.5 as enrolled; 1 lets in ten times as many strangers, 0 a tenth", 0, 1
    )
    sensitivity_of: Mapping[str, float] = _key(NUMBERS, {}, "the same for single people: name = number", 0, 1)
    far_of: str = _key(
        TEXT, "home", "whose --far is kept: home: of all together, person: of each one alone", choices=FARS_OF
    )
    speaker_delegate: str = _key(
        TEXT,
        "auto",
        "who it was in half the time, for 6 MB, under LiteRT alone: on, off, or auto: on where there are 768 MB",
        choices=("auto", "on", "off"),
    )
    watch_s: float = _key(NUMBER, 5.0, "look so often whether somebody was enrolled or erased; 0: never", 0, 3600)


@dataclass(frozen=True)
class Jsonl:
    """Events into a file, one JSON object a line."""

    path: str = _key(TEXT, "", "the file, appended to, mode 0600; empty: no file")


@dataclass(frozen=True)
class Socket:
    """Events and the state to programs on this machine, through a Unix socket."""

    path: str = _key(
        TEXT, "auto", "mode 0660; auto: earmark.sock in the runtime folder, but not for a pipe; empty: none"
    )


@dataclass(frozen=True)
class Wyoming:
    """A wake service for Home Assistant and its satellites."""

    uris: tuple[str, ...] = _key(
        TEXTS, (), "where to listen: tcp://127.0.0.1:10400, unix:///run/…; empty: not at all"
    )
    zeroconf: bool = _key(YES_NO, False, "announce the tcp port in the local network")
    name: str = _key(TEXT, "", "of the service, as Home Assistant shows it; empty: mqtt.name")
    clients: int = _key(WHOLE, 32, "so many at once; then who is silent gives way", 1, 1000)
    allow: tuple[str, ...] = _key(
        TEXTS, (), "who may connect: addresses, networks as 192.168.1.0/24, unix; empty: everybody who reaches it"
    )
    trusted: tuple[str, ...] = _key(
        TEXTS,
        ("127.0.0.0/8", "::1", "unix"),
        "whose wakes run the hook and are learned from, without limits of their number; as in allow",
    )
    transcribe: str = _key(
        TEXT,
        "",
        "a speech-to-text service to pass commands on to, and to say who spoke: tcp://whisper:10300; empty: none",
    )
    together_s: float = _key(
        NUMBER,
        0.0,
        "satellites that hear it so soon after each other are one event, which comes later by it; 0: not",
        0,
        2,
    )
    tls_certificate: str = _key(TEXT, "", "PEM file of this service for tcp; empty: no TLS")
    tls_key: str = _key(TEXT, "", "its private key")
    tls_clients: str = _key(TEXT, "", "PEM file of who has signed the certificates of clients; empty: any client")
    channel: int = _key(
        WHOLE, -1, "only this channel of what has several, from 0; -1: those that hold the voice", -1, 7
    )
    channel_of: Mapping[str, float] = _key(NUMBERS, {}, "the same for single satellites: address = number", -1, 7)


@dataclass(frozen=True)
class Mqtt:
    """Events, state and controls through a broker, with Home Assistant's discovery."""

    host: str = _key(TEXT, "", "of the broker; empty: no MQTT")
    port: int = _key(WHOLE, 1883, "of the broker", 1, 65_535)
    username: str = _key(TEXT, "", "at the broker")
    password_file: str = _key(TEXT, "", "its first line is the password")
    tls: bool = _key(YES_NO, False, "encrypt, with the system's certificates")
    topic: str = _key(
        TEXT, "", "what all our topics begin with, one for each daemon; empty: earmark- and this machine's name"
    )
    discovery: str = _key(TEXT, "homeassistant", "prefix of Home Assistant's discovery; empty: no discovery")
    name: str = _key(TEXT, "earmark", "of the device, as Home Assistant shows it")
    area: str = _key(TEXT, "", "room that Home Assistant suggests for the device, as Kitchen; empty: none")
    page: str = _key(TEXT, "", "link on the device's page: https://…; empty: none")
    controls: bool = _key(YES_NO, True, "mode and sensitivities may be changed through the broker, and stay so")


@dataclass(frozen=True)
class Hook:
    """A program that is run at each event."""

    command: tuple[str, ...] = _key(
        TEXTS, (), 'program and arguments, never a shell: ["/usr/bin/notify", "{person}"]'
    )
    events: tuple[str, ...] = _key(
        TEXTS,
        ("detection",),
        "which events: detection, rejection, confirmation",
        choices=("detection", "rejection", "confirmation"),
    )
    timeout_s: float = _key(NUMBER, 10.0, "it is killed after so long", 0.1, 600)


@dataclass(frozen=True)
class Journal:
    """What woke it and what nearly did, with the sound, to look at later."""

    enabled: bool = _key(YES_NO, False, "keep 2 s of sound around each wake and near-miss, mode 0600")
    folder: str = _key(TEXT, "", "empty: ~/.local/share/earmark/wakes")
    most: int = _key(WHOLE, 500, "the oldest are erased beyond so many (64 kB each)", 1, 100_000)
    days: float = _key(NUMBER, 7.0, "older ones are erased", 0.01, 3650)


@dataclass(frozen=True)
class Learning:
    """Learning on, from what woke it; embeddings only, in the people's store."""

    enabled: bool = _key(
        YES_NO, False, "learn accepted wakes that are beyond doubt, one a day, and what strangers sound like here"
    )
    update_s: float = _key(
        NUMBER, float(DAY_S), "so often the daemon runs `earmark learn now`; 0: only you do", 0, 31 * DAY_S
    )


@dataclass(frozen=True)
class Metrics:
    """Counters for Prometheus."""

    port: int = _key(WHOLE, 0, "http://127.0.0.1:PORT/metrics; 0: none", 0, 65_535)
    address: str = _key(TEXT, "127.0.0.1", "another one than loopback shows who is at home to the network")
    hosts: tuple[str, ...] = _key(
        TEXTS, (), "names by which it is asked for, beside localhost, addresses and this machine's own name"
    )


@dataclass(frozen=True)
class Web:
    """The page of `earmark web`, a process of its own."""

    address: str = _key(
        TEXT,
        "127.0.0.1",
        "where it listens; another one than loopback is served by HTTPS, with a certificate of its own",
    )
    port: int = _key(WHOLE, 8480, "of the page", 1, 65_535)
    hosts: tuple[str, ...] = _key(
        TEXTS, (), "names by which it is asked for, beside localhost, addresses and this machine's own name"
    )
    ingress: str = _key(
        TEXT,
        "",
        "address of a proxy that knows who asks, as Home Assistant's: only it is served, without a code; empty: none",
    )


@dataclass(frozen=True)
class Log:
    """What it writes of itself."""

    names: bool = _key(YES_NO, False, "name people to systemd, in the unit's status and the system's journal, too")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    audio: Audio = field(default_factory=Audio)
    wake: Wake = field(default_factory=Wake)
    people: People = field(default_factory=People)
    jsonl: Jsonl = field(default_factory=Jsonl)
    socket: Socket = field(default_factory=Socket)
    wyoming: Wyoming = field(default_factory=Wyoming)
    mqtt: Mqtt = field(default_factory=Mqtt)
    hook: Hook = field(default_factory=Hook)
    journal: Journal = field(default_factory=Journal)
    learning: Learning = field(default_factory=Learning)
    metrics: Metrics = field(default_factory=Metrics)
    web: Web = field(default_factory=Web)
    log: Log = field(default_factory=Log)

    def policy(self) -> Policy:
        """What they say of who may wake it."""
        return Policy(
            mode=self.wake.mode,  # type: ignore[arg-type]  # Policy checks it
            on_error=self.wake.on_error,  # type: ignore[arg-type]
            sensitivity=self.wake.sensitivity,
            sensitivity_of=self.wake.sensitivity_of,
            voice_sensitivity=self.people.sensitivity,
            voice_sensitivity_of=self.people.sensitivity_of,
            far_of=self.people.far_of,  # type: ignore[arg-type]
            confirm=self.wake.confirm,  # type: ignore[arg-type]
            confirm_of=self.wake.confirm_of,  # type: ignore[arg-type]
            end_of_speech=self.wake.end_of_speech,
            skip_quiet=self.wake.skip_quiet,
        )


def keys() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every key by its full name, in order."""
    for section in dataclasses.fields(Settings):
        for key in dataclasses.fields(section.default_factory):  # type: ignore[arg-type]
            yield f"{section.name}.{key.name}", key

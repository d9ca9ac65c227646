"""Capture devices without opening one: whether there is one, why there is none, what people call them; no PortAudio.

PortAudio knows a sound card as `USB PnP Sound Device: Audio (hw:1,0)`, and what the sound server gives as `pulse` or
`default`. What these are is asked of ALSA, of PulseAudio and of PipeWire.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DeviceError
from ..processes.own import environment_for_others, find_program, own_code
from .quiet_stderr import silenced

LISTED_S = 15.0  # starting Python and PortAudio takes a second, on the slowest board five
_ASK = """
import sys
from earmark.engine.errors import DeviceError
try:
    from earmark.engine.audio.microphone import require_listed
    require_listed(sys.argv[1] or None, int(sys.argv[2]) if sys.argv[2] else None)
except DeviceError as error:
    print(error)
    sys.exit(1)
"""
SOUND_CARDS = Path("/proc/asound")
SERVER_ANSWERS_S = 3.0  # asking a sound server takes 20 ms; one that is stuck must keep nobody waiting
SERVER_DEVICES = ("default", "pipewire", "pulse")
"""What ALSA calls the sound server; `default` is it where one runs."""
CONVERTERS = (
    *("dmix", "dsnoop", "front", "hw", "iec958", "jack", "lavrate", "null", "oss", "plughw", "samplerate", "speex"),
    *("speexrate", "spdif", "surround", "sysdefault", "upmix", "usbstream", "vdownmix", "/dev/dsp"),
)
"""Devices of ALSA that lead to another one of the list; a name may have more behind it, as `sysdefault:CARD=PCH`."""
MICROPHONE_WORDS = ("array", "cam", "headset", "mic", "usb", "voice", "webcam")
NO_MICROPHONE_WORDS = ("digital", "dummy", "hdmi", "loopback", "monitor", "null", "output", "s/pdif")

Say = Callable[[Sequence[str]], str]
"""A command line -> what it writes; empty where it cannot be run, or fails."""


def require_device(device: str | None, channel: int | None = None) -> None:
    """Whether there is such a capture device with that channel, asked by another process.

    PortAudio knows the devices that there were when it was initialised, and cannot be initialised anew while one is
    open: who records cannot ask by itself.

    Raises:
        DeviceError: there is none; or the sound system does not answer.
    """
    try:
        done = subprocess.run(
            own_code(_ASK, device or "", "" if channel is None else str(channel)),
            env=environment_for_others(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LISTED_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"microphone {device or 'default'!r}: the sound system has not answered for {LISTED_S:g} s"
        ) from error
    if done.returncode:
        lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
        raise DeviceError(lines[-1] if lines else f"microphone {device or 'default'!r}: cannot be asked for")


def no_microphone(**places: object) -> str:
    """That there is none, and what to do about it; arguments as `what_is_missing`."""
    return f"no microphone: {what_is_missing(**places) or 'plug one in, or start the sound server'}"  # type: ignore[arg-type]


def what_is_missing(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    may: Callable[[Path, int], bool] = os.access,
) -> str:
    """Why this process can see no sound card, and what to do; empty where it sees one that records.

    Args:
        root: of the file system.
        environment: of this process.
        may: `os.access`.
    """
    folder = root / "dev" / "snd"
    inside = is_container(root, environment)
    if not any(folder.glob("controlC*")):
        if inside:
            return (
                "this container has no /dev/snd: start it with `--device /dev/snd`, or with the sound server's socket"
            )
        return "there is no sound card in /dev/snd: plug one in, or load its driver"
    capture = sorted(folder.glob("pcmC*D*c"))
    if not capture:
        return "no sound card in /dev/snd records: plug in one that does"
    if not any(may(path, os.R_OK | os.W_OK) for path in capture):
        who = _user()
        if inside:
            return f"{who} may not open /dev/snd: start this container with `--group-add audio`"
        return (
            f"{who} may not open /dev/snd: `sudo usermod -aG audio {who}`, then log in again or restart the service"
        )
    return ""


def is_container(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a container, as Docker, Podman, Kubernetes and systemd mark theirs."""
    marks = (root / ".dockerenv", root / "run" / ".containerenv", root / "run" / "systemd" / "container")
    return "container" in environment or "KUBERNETES_SERVICE_HOST" in environment or any(map(Path.exists, marks))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a number without a name, as in containers
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Microphone:
    """A capture device, for people."""

    device: str
    """As `--device` and `audio.device` take it."""
    label: str
    """What is printed on it; no two microphones of a machine have the same."""
    default: bool
    """Whether it is used where none is named."""


def named(
    devices: Sequence[Mapping[str, Any]],
    descriptions: Mapping[str, str],
    server: str | None,
    cards: Path = SOUND_CARDS,
) -> list[Microphone]:
    """The capture devices of PortAudio by their names for people, the likely microphone first.

    First come those whose name says microphone, headset, array or webcam, and those at USB: whoever plugs one in
    wants to use it. Of these the default is first. Last come monitors of what is played, and digital inputs. Devices
    that only lead to others of the list are left out, if anything else is left.

    Args:
        devices: as `microphone.input_devices` gives them.
        descriptions: ALSA's, by the name of a device (`alsa_descriptions`).
        server: what the sound server records from (`server_microphone`); None: there is no server.
        cards: where the kernel says which card is at USB.
    """
    wanted = [device for device in devices if not _is_converter(device["name"])] or list(devices)
    through_server = [device for device in wanted if device["name"] in SERVER_DEVICES]
    if server is not None and through_server:  # all of them are the same microphone
        one = max(through_server, key=lambda device: device["default"])
        wanted = [device for device in wanted if device is one or device not in through_server]
    on_card = Counter(_card_of(device["name"]) for device in wanted)
    labels = {}
    hardware = [device["name"] for device in wanted if _card_of(device["name"])]
    only_card = hardware[0] if server is None and len(hardware) == 1 else None
    if only_card and any(device["name"] == "default" for device in wanted):  # ALSA's default leads to it
        wanted = [device for device in wanted if device["name"] != only_card]
    for device in wanted:
        name = device["name"]
        if server is not None and name in SERVER_DEVICES:
            labels[name] = server
        elif name == "default":
            labels[name] = _label_of_card(only_card, several=False) if only_card else "the default of this system"
        elif _card_of(name):
            labels[name] = _label_of_card(name, several=on_card[_card_of(name)] > 1)
        else:
            labels[name] = descriptions.get(name) or name
    for more in (_place_of, str):  # of two that are called the same: where it is, or all that PortAudio says
        shown = Counter(labels.values())
        labels = {name: label if shown[label] == 1 else f"{label} ({more(name)})" for name, label in labels.items()}
    microphones = [Microphone(name, label, _is_default(name, devices)) for name, label in labels.items()]
    return sorted(microphones, key=lambda one: _unlikelihood(one, cards))


def alsa_descriptions() -> dict[str, str]:
    """Name of a device of ALSA's configuration -> the first line of its description, as `arecord -L` lists them.

    Empty where there is no ALSA.
    """
    found: dict[str, str] = {}
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:  # and so PortAudio has no device of ALSA's either
        return found
    alsa.snd_device_name_get_hint.restype = ctypes.c_void_p
    alsa.snd_device_name_get_hint.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    hints = ctypes.POINTER(ctypes.c_void_p)()
    with silenced():
        if alsa.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) != 0:
            return found
    number = 0
    while hints[number]:
        texts = []
        for key in (b"NAME", b"DESC"):
            pointer = alsa.snd_device_name_get_hint(hints[number], key)
            texts.append(ctypes.string_at(pointer).decode(errors="replace") if pointer else "")
            libc.free(pointer)
        name, description = texts
        if name and description:
            found[name] = description.splitlines()[0]
        number += 1
    alsa.snd_device_name_free_hint(hints)
    return found


def server_microphone(say: Say | None = None) -> str | None:
    """The description of what the sound server records from, as `Yeti Stereo Microphone`; None: there is no server.

    `pactl` asks PulseAudio, or PipeWire in its place; `wpctl` asks PipeWire.
    """
    say = say or _said_by
    default = re.search(r"^Default Source: (.+)$", say(["pactl", "info"]), re.MULTILINE)
    if default:
        sources = say(["pactl", "list", "sources"])
        described = re.search(
            rf"^\s*Name: {re.escape(default[1])}\n(?:\s+.*\n)*?\s*Description: (.+)$", sources, re.MULTILINE
        )
        return described[1].strip() if described else default[1]
    described = re.search(r'node\.description = "(.+)"', say(["wpctl", "inspect", "@DEFAULT_AUDIO_SOURCE@"]))
    return described[1] if described else None


def is_monitor(label: str) -> bool:
    """Whether it records what this machine plays."""
    return "monitor" in label.lower()


_CARD = re.compile(r"(?P<card>.+?): (?P<device>.*) \((?P<place>hw:(?P<number>\d+),\d+)\)")


def _is_converter(name: str) -> bool:
    return re.sub(r"\d+$", "", name.split(":")[0]) in CONVERTERS or name in CONVERTERS


def _is_default(name: str, devices: Iterable[Mapping[str, Any]]) -> bool:
    return any(device["default"] for device in devices if device["name"] == name)


def _card_of(name: str) -> str | None:
    match = _CARD.fullmatch(name)
    return match["card"] if match else None


def _place_of(name: str) -> str:
    match = _CARD.fullmatch(name)
    return match["place"] if match else name


def _label_of_card(name: str, several: bool) -> str:
    """`USB PnP Sound Device`, and its input as well where the card has several."""
    match = _CARD.fullmatch(name)
    if match is None:
        return name
    card = f"built in ({match['card']})" if "hda" in match["card"].lower() else match["card"]
    return f"{card}, {match['device'].strip('- ') or match['place']}" if several else card


def _unlikelihood(one: Microphone, cards: Path) -> tuple[bool, bool, bool]:
    """Of the likely microphone it is the least."""
    words = one.label.lower()
    match = _CARD.fullmatch(one.device)
    at_usb = match is not None and (cards / f"card{match['number']}" / "usbid").exists()
    likely = at_usb or any(word in words for word in MICROPHONE_WORDS)
    return any(word in words for word in NO_MICROPHONE_WORDS), not likely, not one.default


def _said_by(line: Sequence[str]) -> str:
    file = find_program(line[0])
    if file is None:  # without that program a microphone has no name
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [file, *line[1:]],
            env={**environment_for_others(os.environ), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SERVER_ANSWERS_S,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
    return ""

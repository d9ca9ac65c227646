"""`earmark status`: asks the running daemon how it is."""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import DaemonError, text_of
from ..settings.reading import load
from ..sinks.places import sockets_to_ask
from ..storage.owners import refusal

ANSWER_S = 5.0
MAX_ANSWER_BYTES = 1 << 20
PLACE_S = 0.02  # until a place among those who wait is looked for again


def status(arguments: argparse.Namespace) -> int:
    """Prints it; exit 1 where no daemon answers."""
    settings = load(
        Path(arguments.settings) if arguments.settings else None, flags=dict(arguments.set or [])
    ).settings
    answer = ask(sockets_to_ask(settings.socket.path, os.environ))
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print("\n".join(_lines(answer)))
    return 0


def ask(paths: list[Path]) -> dict[str, Any]:
    """The state of the first daemon that answers.

    Raises:
        DaemonError: none does.
    """
    tried, refused = [], False
    for path in paths:
        try:
            answer = _ask(path)
            if answer is not None:
                return answer
            tried.append(f"{path}: no answer")
        except OSError as error:
            refused = refused or isinstance(error, PermissionError)
            tried.append(f"{path}: {refusal(error, path, os.W_OK)}")
        except ValueError as error:
            tried.append(f"{path}: {text_of(error)}")
    said = "; ".join(tried) or "no socket"
    if refused:
        raise DaemonError(f"no daemon answers you: {said}")
    raise DaemonError(
        f"no daemon answers ({said}): start one with `earmark listen` or `systemctl start earmark`, or name its "
        "socket with `--set socket.path=…`"
    )


def _ask(path: Path) -> dict[str, Any] | None:
    """What a daemon says within the time and the size that an answer may take; None: nothing that is one.

    Whoever serves the socket may send without end: neither the time between two pieces counts nor the length of one.

    Raises:
        OSError, ValueError: it cannot be asked.
    """
    deadline_s = time.monotonic() + ANSWER_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        _connect(connection, path, deadline_s)
        connection.sendall(b"status\n")
        received = b""
        while (left_s := deadline_s - time.monotonic()) > 0 and len(received) < MAX_ANSWER_BYTES:
            connection.settimeout(left_s)
            piece = connection.recv(65_536)
            *lines, received = (received + piece).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                if isinstance(answer, dict) and answer.get("type") == "status":  # events may come before it
                    return answer
            if not piece:
                return None
    raise ValueError(f"no answer within {ANSWER_S:g} s")


def _connect(connection: socket.socket, path: Path, deadline_s: float) -> None:
    """Where so many wait already that there is no place among them, Linux says so at once to whoever has a time limit
    (connect(2), EAGAIN): then again, until the deadline.

    Raises:
        OSError: nobody serves there, or there was no place until then.
    """
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(PLACE_S)


def _lines(answer: dict[str, Any]) -> list[str]:
    microphone = answer["microphone"]
    counts = answer["counts"]
    latency = answer["latency_ms"]
    silent_s = microphone["silent_s"]
    hearing = microphone["fault"] or (f"silent for {silent_s} s" if silent_s else "hears")
    overruns = sum(count["count"] for count in counts.get("overruns", []))
    lines = [
        f"earmark {answer['version']}, process {answer['pid']}, up {_duration(answer['uptime_s'])}, "
        f"{100 * answer['cpu_share']:.1f} % of a core",
        f"microphone   {microphone['name']}: {hearing}; {_duration(answer['audio_s'])} heard, "
        f"{overruns} overruns, opened {microphone['opened']} times",
        f"wake words   {', '.join(answer['keywords'])}; mode {answer['mode']}, on_error {answer['on_error']}",
        f"people       {', '.join(answer['people']) or 'nobody is enrolled'}",
        f"  store      {answer['store']}",
        *(f"  unusable   {fault}" for fault in answer["faults"]),
        *(f"  note       {remark}" for remark in answer.get("remarks", [])),  # an older daemon has none
    ]
    for count in counts.get("events", []):
        lines.append(f"{count['type']:12} {count['count']:6}  {count['keyword']}, {count['reason']}")
    if latency["count"]:
        lines.append(f"latency      {latency['sum'] / latency['count']:.0f} ms mean of {latency['count']} events")
    for name, sink in answer["sinks"].items():
        state = sink["failure"] or "good"
        lines.append(f"sink {name:8} {state}; {sink['waiting']} waiting, {sink['dropped']} dropped")
        if sink.get("note"):
            lines.append(f"  note       {sink['note']}")
    return lines


def _duration(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"

"""A guided enrolment as a new user lives it: `python scripts/studies/enrolment_session.py`, docs/enrolment_*.

A pseudo-terminal, a private sound server with a virtual microphone, the synthetic voices of tests/audio. The session
is broken off after two takes and continued; then once more with colours. Needs PulseAudio, as
tests/enroll/guided/test_conversation.py.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np
from heading import fields
from rich.console import Console
from rich.text import Text
from sound_server import SoundServer
from terminal import NOW, Terminal, say_hello, speak

DOCS, AUDIO = ROOT / "docs", ROOT / "tests" / "audio"
ROOM_SECONDS, ROOM_RMS = 300, 8  # −72 dBFS


def recordings(voice: str, phrase: str, *roles: str) -> list[Path]:
    """Of tests/audio, in the order of the takes."""
    with (AUDIO / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [(voice, phrase, role) for role in roles]
    return [AUDIO / row["path"] for row in rows if (row["voice"], row["phrase"], row["role"]) in wanted]


HELLO = recordings("rms", "okay maybe", "other")[0]
"""A few words into the microphone."""


def broken_off(server: SoundServer, arguments: list[str], good: Iterator[Path]) -> str:
    """Two good takes, two that are not, and Ctrl-C."""
    terminal = Terminal(server, *arguments, "--plain")
    try:
        terminal.shows("Which microphone will you speak into?")
        terminal.types("\n")
        say_hello(terminal, server, HELLO)
        terminal.shows(NOW)
        server.play(recordings("rms", "alexa", "enroll")[0])
        speak(terminal, server, good, 2)
        terminal.shows(NOW)
        server.play(recordings("rp_f3", "okay_nabu", "enroll")[0])
        terminal.shows(NOW)
        terminal.types("\x03")
        terminal.ends()
    finally:
        terminal.close()
    return terminal.text


def continued(server: SoundServer, arguments: list[str], good: Iterator[Path]) -> str:
    """The other three, and somebody else."""
    picture = str(DOCS / "enrolment_scores.png")
    terminal = Terminal(server, *arguments, "--device", "mic", "--plot", picture, "--plain")
    try:
        say_hello(terminal, server, HELLO)
        terminal.shows("Go on with them?")
        terminal.types("\n")
        speak(terminal, server, good, 3)
        terminal.shows("Record somebody else?")
        terminal.types("y\n")
        terminal.shows("Let them speak")
        terminal.shows(NOW)
        for path in recordings("slt", "okay_nabu", "enroll")[:4]:
            server.play(path)
        terminal.types("\n")
        terminal.shows("Record one more?")
        terminal.types("n\n")
        code = terminal.ends()
    finally:
        terminal.close()
    if code:
        raise SystemExit(f"exit code {code}:\n{terminal.text}")
    return terminal.text


def in_colours(server: SoundServer, arguments: list[str], good: Iterator[Path]) -> str:
    """What the screen shows in the middle of a take, as SVG."""
    terminal = Terminal(server, *arguments, "--device", "mic")
    try:
        say_hello(terminal, server, HELLO)
        terminal.shows("✓ The room is quiet.")
        terminal.shows(NOW)
        server.play(recordings("rms", "alexa", "enroll")[0])
        speak(terminal, server, good, 1)
        terminal.shows(NOW)
        server.play(next(good))
        shown = terminal.text
        terminal.types("\x03")
        terminal.ends()
    finally:
        terminal.close()
    lines = [line.split("\x1b[2K")[-1] for line in shown.split("\n")]  # what was drawn over is gone
    console = Console(record=True, width=121, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(re.sub(r"\x1b\[\?25[lh]|\x1b\[1A", "", line) for line in lines)))
    svg = console.export_svg(title="earmark enroll anna", clear=True)
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # whoever looks needs no network


def main() -> int:
    """Runs the sessions and writes what they showed."""
    good = recordings("rms", "okay_nabu", "enroll", "test")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        room = np.random.default_rng(0).standard_normal(ROOM_SECONDS * 16_000) * ROOM_RMS
        (home / "room.raw").write_bytes(room.astype("<i2").tobytes())
        arguments = ["anna", "--store", str(home / "people")]
        elsewhere = ["anna", "--store", str(home / "elsewhere")]
        with SoundServer(home, home / "room.raw") as server:
            said = iter(good * 3)
            first = broken_off(server, arguments, said)
            second = continued(server, arguments, said)
            (DOCS / "enrolment_screen.svg").write_text(in_colours(server, elsewhere, said), "utf-8")
    text = f"$ earmark enroll anna\n{first}\n$ earmark enroll anna --device mic --plot scores.png\n{second}"
    text = text.replace(name, "~").replace("^C", "^C\n")
    top = "".join(f"# {field}\n" for field in fields(__file__))
    (DOCS / "research" / "enrolment_session.txt").write_text(top + text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A day of audio through the daemon at full speed: `python scripts/studies/soak.py > docs/research/soak.md`.

Speech, noise and silence, with wake words of a known and of an unknown voice planted at known places. The daemon runs
as its users run it, as a process of its own, with an event file, a journal and its socket. At the end every planted
wake word must have been found once, by the right name, every sample must have gone through, and memory must not have
grown after the first hour. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16
from earmark.engine.commands.service.unit import TEMPLATES
from earmark.engine.commands.status import ask
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.store import PersonStore
from earmark.engine.spotting import find_wakes
from earmark.enroll.enrolment import Enroller, Recording

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
OWN, STRANGER = "slt", "rms"
SEED = 20_241_124
WAKE_EVERY_S = (120, 600)
"""Between these many seconds the next wake word is planted."""
STRETCH_S = (5, 60)
ASK_EVERY_S = 300
AFTER_S = 1.0  # an event belongs to the planted recording in which it comes, or so long behind it
MAX_GROWTH_KB = 1024


@dataclass(frozen=True)
class Planted:
    """A wake word in the stream."""

    start: int
    """Its first sample."""
    end: int
    """Behind its last sample."""
    own: bool


def main() -> int:
    """Feeds, compares, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of audio (24)")
    hours = parser.parse_args().hours
    with tempfile.TemporaryDirectory() as folder:
        return _soak(Path(folder), hours)


def _soak(folder: Path, hours: float) -> int:
    enroller, network = Enroller.load(), KeywordNetwork(load_manifest("okay_nabu"))
    recordings = [Recording.read(str(file)) for file in sorted(AUDIO.glob(f"{OWN}_okay_nabu_enroll_*.flac"))]
    PersonStore(folder / "people").save(enroller.enrol(OWN, recordings, network).voiceprint)
    settings = {
        "people.store": folder / "people",
        "people.watch_s": 0.01,  # what goes by the clock goes as much faster as the audio, or its share is not seen
        "jsonl.path": folder / "events.jsonl",
        "socket.path": folder / "socket",
        "journal.enabled": "true",
        "journal.folder": folder / "wakes",
        "journal.most": 50,
        "audio.silence_warning_s": 0,  # the stream has long silence on purpose
    }
    flags = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    begin_s = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "earmark.cli", "listen", "-", "--json", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **_unit_environment()},
    ) as daemon:
        assert daemon.stdin is not None
        events: list[dict[str, object]] = []
        errors: list[str] = []
        readers = [
            threading.Thread(target=lambda: events.extend(map(json.loads, daemon.stdout or ()))),
            threading.Thread(target=lambda: errors.extend(line.decode() for line in daemon.stderr or ())),
        ]
        for reader in readers:
            reader.start()
        planted: list[Planted] = []
        memory_kb: list[int] = []
        fed = 0
        for piece in _stream(int(hours * 3600 * RATE_HZ), planted):
            daemon.stdin.write(piece.astype("<i2").tobytes())
            if fed // (ASK_EVERY_S * RATE_HZ) != (fed + len(piece)) // (ASK_EVERY_S * RATE_HZ):
                ask([folder / "socket"])  # as somebody does who watches it
            if fed // (3600 * RATE_HZ) != (fed + len(piece)) // (3600 * RATE_HZ):
                memory_kb.append(_rss_kb(daemon.pid))
                print(f"{len(memory_kb)} h: {memory_kb[-1]} kB", file=sys.stderr)
            fed += len(piece)
        daemon.stdin.flush()
        while _samples(state := ask([folder / "socket"])) < fed:
            time.sleep(0.1)
        memory_kb.append(_rss_kb(daemon.pid))
        daemon.stdin.close()
        code = daemon.wait()
        for reader in readers:
            reader.join()
    took_s = time.monotonic() - begin_s
    lines = (folder / "events.jsonl").read_text().splitlines()
    journalled = len(list((folder / "wakes").glob("[0-9]*")))
    return _report(hours, fed, planted, events, memory_kb, state, (code, errors, len(lines), journalled, took_s))


def _stream(length: int, planted: list[Planted]) -> Iterator[Int16]:
    """Pieces of the stream; what was planted so far is in `planted`."""
    rng = np.random.default_rng(SEED)
    network = KeywordNetwork(load_manifest("okay_nabu"))
    speech = [read_audio(file) for file in sorted(AUDIO.glob("*_other_*.flac"))]
    words = {
        own: [word for word in _recordings(voice) if len(find_wakes(word, network).candidates) == 1]
        for own, voice in ((True, OWN), (False, STRANGER))
    }
    at, next_wake = 0, int(rng.integers(*WAKE_EVERY_S)) * RATE_HZ
    while at < length:
        if at >= next_wake:
            own = bool(rng.random() < 0.5)
            word = words[own][int(rng.integers(len(words[own])))]
            quiet = np.zeros(2 * RATE_HZ, np.int16)  # so that it is found whatever came before
            yield quiet
            yield word
            planted.append(Planted(at + len(quiet), at + len(quiet) + len(word), own))
            yield quiet
            at += 2 * len(quiet) + len(word)
            next_wake = at + int(rng.integers(*WAKE_EVERY_S)) * RATE_HZ
            continue
        samples = int(rng.integers(*STRETCH_S)) * RATE_HZ
        kind = rng.integers(3)
        if kind == 0:
            piece = np.zeros(samples, np.int16)
        elif kind == 1:
            level = 10 ** rng.uniform(0.5, 3.5)
            piece = np.clip(rng.standard_normal(samples) * level, -32_768, 32_767).astype(np.int16)
        else:
            clips = [speech[int(i)] for i in rng.integers(len(speech), size=samples // (2 * RATE_HZ) + 1)]
            piece = np.concatenate(clips)
        yield piece
        at += len(piece)


def _recordings(voice: str) -> list[Int16]:
    return [read_audio(file) for file in sorted(AUDIO.glob(f"{voice}_okay_nabu_test_*.flac"))]


def _report(
    hours: float,
    fed: int,
    planted: list[Planted],
    events: list[dict[str, object]],
    memory_kb: list[int],
    state: dict[str, Any],
    end: tuple[int, list[str], int, int, float],
) -> int:
    code, errors, lines, journalled, took_s = end
    found, others = [0] * len(planted), []
    wrong = 0
    starts = [word.start for word in planted]
    for event in events:
        sample = int(event["time_ms"]) * RATE_HZ // 1000  # type: ignore[call-overload]
        before = bisect.bisect(starts, sample) - 1
        if before < 0 or sample > planted[before].end + AFTER_S * RATE_HZ:
            others.append(event)
            continue
        found[before] += 1
        wrong += (event["person"] == OWN) != planted[before].own
    growth_kb = max(memory_kb[1:], default=memory_kb[0]) - memory_kb[0]
    lost = fed - _samples(state)
    speed = fed / RATE_HZ / took_s
    good = (
        code == 0
        and set(found) == {1}
        and not wrong
        and not lost
        and growth_kb < MAX_GROWTH_KB
        and lines == len(events)
    )
    print(heading("A day of audio", __file__))
    print(f"`--hours {hours:g}`: {runtime.version()}, Python {platform.python_version()};")
    print(f"{fed / RATE_HZ / 3600:.1f} h of audio in {took_s / 60:.0f} min, {speed:.0f} times real time.")
    print("Speech, noise and silence in turn; event file, journal (50 entries kept) and socket are on.\n")
    print("| what | measured | wanted |\n|---|---|---|")
    own = sum(word.own for word in planted)
    print(f"| wake words planted | {len(planted)}: {own} of the known voice, {len(planted) - own} of another | |")
    print(f"| found once | {found.count(1)} | {len(planted)} |")
    print(f"| found twice or more, not found | {sum(n > 1 for n in found)}, {found.count(0)} | 0, 0 |")
    print(f"| named wrongly | {wrong} | 0 |")
    accepted = sum(event["person"] is not None for event in others)
    print(f"| other events: accepted, rejected | {accepted}, {len(others) - accepted} | |")
    print(f"| samples fed less samples heard | {lost} | 0 |")
    print(
        f"| memory (kB) after the first hour, at its most, growth | {memory_kb[0]}, {max(memory_kb)}, {growth_kb} "
        f"| growth < {MAX_GROWTH_KB} |"
    )
    print(f"| lines in the event file | {lines} | {len(events)} |")
    print(f"| entries in the journal | {journalled} | at most 50 |")
    print(f"| exit code, lines on standard error | {code}, {len(errors)} | 0, 1 |")
    print("\nMemory after each hour (resident, kB): " + ", ".join(map(str, memory_kb)) + ".")
    for line in errors[1:]:
        print(line.rstrip(), file=sys.stderr)
    return 0 if good else 1


def _unit_environment() -> dict[str, str]:
    """How the service's unit sets the memory allocator."""
    lines = (TEMPLATES / "earmark.service").read_text().splitlines()
    words = " ".join(line.partition("=")[2] for line in lines if line.startswith("Environment=")).split()
    return {name: value for name, _, value in (word.partition("=") for word in words) if name.startswith("MALLOC_")}


def _samples(state: dict[str, Any]) -> int:
    """How many samples the daemon has heard."""
    return round(float(state["audio_s"]) * RATE_HZ)


def _rss_kb(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())

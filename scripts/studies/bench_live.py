"""earmark and its peers in real time, through a pipe: `python scripts/studies/bench_live.py [--peers DIR]`.

Writes docs/research/live.json and prints the part of docs/research/benchmarks.md that `bench_peers.py` makes of it.
All are fed alike, 100 ms at a time, one after the other. earmark is the daemon, pymicro-wakeword its own program;
openWakeWord has none, and its classes are given 80 ms at a time. A quarter of an hour, hardly any of it busy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_peers import AUDIO_OF, OPENWAKEWORD_NAME, REPOSITORY, WORD, openwakeword

from earmark.engine.processes.own import own_command
from earmark.enroll.commands import live

RESULTS = REPOSITORY / "docs" / "research" / "live.json"
PEER = "pymicro-wakeword"


def main() -> int:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description="Compare with other wake word detectors in real time.")
    parser.add_argument("--peers", type=Path, default=REPOSITORY / ".venv-peers", metavar="DIR")
    parser.add_argument("--windows", type=int, default=5, metavar="N", help="of 10 s each (5)")
    parser.add_argument("--note", default="", metavar="TEXT", help="what else is to be known, as what ran beside it")
    arguments = parser.parse_args()
    loop = str(REPOSITORY / "scripts" / "studies" / "bench_loop.py")
    rows = []
    with tempfile.TemporaryDirectory() as store:
        daemon = ["earmark.cli", "listen", "-", "--mode", "label", "--json", "--store", store, "--keyword", WORD]
        lines = {
            "earmark": own_command(*daemon),
            PEER: [sys.executable, "-m", "pymicro_wakeword", "--model", WORD],
            OPENWAKEWORD_NAME: [openwakeword(arguments.peers), loop, "openwakeword", "-", WORD],
        }
        for sound, make in AUDIO_OF.items():
            for detector, line in lines.items():
                print(f"{sound}: {detector}", file=sys.stderr)
                cost = live.cost(line, make(60), arguments.windows)
                rows.append({"detector": detector, "sound": sound, **cost.to_json()})
    day = datetime.datetime.now(datetime.timezone.utc).date()
    results = {"measured": str(day), "machine": live.machine(), "note": arguments.note, "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n".join(section(results)))
    return 0


def section(results: dict[str, Any]) -> Iterator[str]:
    """The part of the page, of what live.json has."""
    rows, machine = results["rows"], results["machine"]
    yield "## Live"
    yield ""
    yield f"Measured {results['measured']} by `scripts/studies/bench_live.py` ([figures](live.json))."
    yield f"{machine['runtime']}, Python {machine['python']}, {machine['processor']}; nothing is emulated or scaled."
    yield f"Medians of windows of {machine['window_s']} s in real time, by the kernel's account of the whole process."
    if results["note"]:
        yield results["note"]
    yield ""
    yield "| sound | detector | share of a core | over pymicro-wakeword | wake-ups a second | system calls a second |"
    yield "|---|---|---|---|---|---|"
    peers = {row["sound"]: row["core_share"] for row in rows if row["detector"] == PEER}
    for row in rows:
        calls = "not counted" if row["syscalls_per_s"] is None else f"{row['syscalls_per_s']:.1f}"
        over = row["core_share"] / peers[row["sound"]]
        yield (
            f"| {row['sound']} | {row['detector']} | {100 * row['core_share']:.3f} % | {over:.2f} "
            f"| {row['wakeups_per_s']:.1f} | {calls} |"
        )
    yield ""


if __name__ == "__main__":
    sys.exit(main())

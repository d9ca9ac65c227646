"""Instructions that an audio second costs, counted by valgrind: `scripts/studies/instructions.py [--record |
--check]`.

A count does not depend on what else the machine does. `scripts/studies/always_on.py` hears sixteen seconds and has
the last fifteen counted: the always-on path without Python's start. `--record` writes the count of the installed
runtime into tests/golden/instructions.json, once a release; `--check` fails where it has grown by more than 10 %.
valgrind has no AVX-512, so the kernels are those of AVX2 on every x86 processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from earmark.engine.networks import runtime

REPOSITORY = Path(__file__).parents[2]
RECORDED = REPOSITORY / "tests" / "golden" / "instructions.json"
COUNTED_S = 15
MOST_GROWTH = 1.10
KEYWORDS = ("okay_nabu",)


def main() -> int:
    """Counts and prints; exit code 1 where `--check` finds more than it may."""
    parser = argparse.ArgumentParser(description="Count instructions per audio second.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--record", action="store_true")
    what.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    recorded = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}
    counted = per_second()
    print(f"{runtime.version()}, {platform.machine()}: {counted:,} instructions per audio second")
    if arguments.record:
        recorded[runtime.NAME] = {"with": runtime.version(), "instructions_per_audio_second": counted}
        RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", "utf-8")
    if arguments.check:
        before = recorded[runtime.NAME]["instructions_per_audio_second"]
        print(f"recorded: {before:,}, now {100 * (counted / before - 1):+.1f} %")
        return 1 if counted > MOST_GROWTH * before else 0
    return 0


def per_second() -> int:
    """Of the always-on path with one wake word, on speech."""
    line = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null", sys.executable]
    line += [str(REPOSITORY / "scripts" / "studies" / "always_on.py"), str(COUNTED_S), *KEYWORDS]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{' '.join(line)} failed with exit code {done.returncode}:\n{done.stderr}")
    return int(found[1]) // COUNTED_S


if __name__ == "__main__":
    sys.exit(main())

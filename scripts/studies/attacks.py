"""Every attack on the list, with what it broke: `python scripts/studies/attacks.py > docs/research/attacks.md`.

The attacks themselves are in tests/attacks_….py; tests/attacking.py says how to add one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from attacking import listed, tried
from heading import NONE, heading

MEMORY = Path("/dev/shm")
TEXT = """\
Called with `--share {share:g}`: that share of the cases of each attack was tried.

Who attacks, what is tried, and how often it was tried today. *Broken* is what came to pass and must not. It is to be
0 in every row. `SECURITY.md` says what is promised to whom, and what is not.
"""


def main() -> int:
    """Tries and prints; exit 1 if anything was broken."""
    parser = argparse.ArgumentParser(description="Run the attacks.")
    parser.add_argument("--only", default="", metavar="TEXT", help="attacks in whose name or attacker it is")
    parser.add_argument("--but", default="\n", metavar="TEXT", help="not those")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of each (1.0)")
    arguments = parser.parse_args()
    logging.disable()  # what is said of a file made to harm is not of interest here
    print(heading("Attacks", __file__, NONE))
    print(TEXT.format(share=arguments.share))
    print("| who | what | cases | broken | s |\n|---|---|---|---|---|")
    told: list[str] = []
    cases = broken = 0
    for one in listed():
        if arguments.only not in f"{one.attacker}: {one.name}" or arguments.but in one.name:
            continue
        start_s = time.monotonic()
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            result = tried(one, Path(folder), max(1, round(arguments.share * one.cases)))
        cells = (one.attacker, one.name, result.cases, result.broken, round(time.monotonic() - start_s))
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        told += [f"{one.name}: {text}" for text in result.told]
        cases, broken = cases + result.cases, broken + result.broken
    print(f"| **all** | | {cases} | {broken} | |")
    print(*told, sep="\n", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

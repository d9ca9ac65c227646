"""Files made to harm, in every format of ours: `python scripts/studies/fuzz.py --cases 10000 >
docs/research/fuzz.md`.

Half of the cases of a format are honest files with changed bytes, half are put together wrongly by hypothesis where
there is a recipe for that (tests/fuzzing.py).
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fuzzing import MADE, Ground, Outcome, Read, flips
from heading import NONE, heading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY = Path("/dev/shm")
TEXT = """\
Called with `--cases {cases} --seed {seed}{only}`. Each file is read as earmark reads it, imports and tidying
included.

* *Changed bytes* are flips, cuts, repetitions, insertions and numbers at the edge.
* *Signed anew* means that the checksums were made right again afterwards, as somebody would who means harm.
* *Accepted* are files in which the change means nothing: white space, or another number where any number may stand.
* A *crash* is anything but an error of earmark's own tree, or a change outside the store.
"""


def main() -> int:
    """Tries, judges and prints; exit 1 if anything but an error of our own came of a file."""
    parser = argparse.ArgumentParser(description="Read files made to harm.")
    parser.add_argument("--cases", type=int, default=10_000, help="in all (10000)")
    parser.add_argument("--only", default="", metavar="TEXT", help="formats in whose name it is: recording")
    parser.add_argument("--seed", type=int, default=0, help="of the changed bytes (0)")
    arguments = parser.parse_args()
    logging.disable()  # what is remarked of a recording is no crash
    print(heading("Files made to harm", __file__, NONE))
    only = f" --only {arguments.only}" if arguments.only else ""
    print(TEXT.format(cases=arguments.cases, seed=arguments.seed, only=only))
    print("| format | how | cases | accepted | refused, as | crashes |\n|---|---|---|---|---|---|")
    crashes: list[str] = []
    total = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        ground = Ground(Path(folder))
        reads = {name: read for name, read in ground.reads().items() if arguments.only in name}
        share = arguments.cases // (len(reads) + len(reads.keys() & MADE.keys())) + 1
        for name, (content, read) in reads.items():
            changed = Outcome()
            for case in flips(content, share, arguments.seed):
                ground.judge(read, case, changed)
            rows = [("changed bytes", changed)]
            if name in MADE:
                rows.append(("put together", _made(ground, read, MADE[name], share)))
            for how, outcome in rows:
                refused = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.refused.items()))
                cells = (name, how, outcome.cases, outcome.accepted, refused, len(outcome.wrong))
                print(f"| {' | '.join(map(str, cells))} |", flush=True)
                crashes += [f"{name}, {how}: {fault}" for fault in outcome.wrong]
                total += outcome.cases
    print(f"| **all** | | {total} | | | {len(crashes)} |")
    print(*crashes, sep="\n", file=sys.stderr)
    return 1 if crashes else 0


def _made(ground: Ground, read: Read, strategy: st.SearchStrategy[bytes], count: int) -> Outcome:
    outcome = Outcome()

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck]
    )
    @given(strategy)
    def judged(content: bytes) -> None:
        ground.judge(read, content, outcome)

    judged()
    return outcome


if __name__ == "__main__":
    sys.exit(main())

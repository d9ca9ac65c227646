"""kill -9 at every system call of every change of the store: `python scripts/studies/kill9.py >
docs/research/kill9.md`.

Needs strace, and the right to trace (tests/kills.py says how it is done). Takes a quarter of an hour.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from heading import NONE, heading
from kills import CALLS, OPERATIONS, tally, unavailable

MEMORY = Path("/dev/shm")  # a kill is not a power cut: what is written and not yet synced is there all the same

HEAD = """\
A process that changes the store is killed by strace at a system call, which is then not carried out. There is one
process for each call that it makes of these kinds: {calls}.

Afterwards everything that a reader finds is compared with what was before and with what was to come. That is:
voiceprints and recordings, what waits to be learned, the journal, and the session of a broken-off enrolment. It is
compared again after the next change has tidied. No unfinished file may be left then, and nothing that was erased.

A change *in parts* is whole person by person and wake by wake. Each must be the old one or the new one, and the same
command once more must lead to what was to come. That is not asked of `retrain`, which would make another version.

Rows in backticks are commands from their arguments on, with the networks, the training and the journal. Such a run
takes seconds. So it is killed at every rename, with which a change begins to count, and at a sample of the other
calls, evenly spread. The last column has how many calls there are.
"""


def main() -> int:
    """Kills, judges and prints; exit 1 if any store was neither the old one nor the new one."""
    why_not = unavailable()
    if why_not:
        print(why_not, file=sys.stderr)
        return 1
    print(heading("kill -9 at every call", __file__, NONE))
    print(HEAD.format(calls=", ".join(CALLS)))
    print("| change | killed at | all old | all new | in parts | another, or unreadable | of so many calls |")
    print("|---|---|---|---|---|---|---|")
    faults = []
    total = [0, 0, 0, 0, 0, 0]
    for operation in OPERATIONS:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            result = tally(operation, Path(folder))
        faults += [f"{operation.name}: {fault}" for fault in result.others]
        other = result.kills - result.old - result.new - result.parts
        row = [result.kills, result.old, result.new, result.parts, other, result.calls]
        total = [before + more for before, more in zip(total, row)]
        print(f"| {operation.name} | {' | '.join(map(str, row))} |", flush=True)
    print(f"| **all** | {' | '.join(map(str, total))} |")
    print(
        "\nWhere old and new are read alike (`encrypt`, `decrypt`, a change that counts already), it is called old."
    )
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

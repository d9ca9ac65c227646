"""kill -9 at every system call of every change of the store: `python scripts/kill9.py > docs/kills.md`.

Needs strace, and the right to trace (tests/kills.py says how it is done). Takes some minutes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from kills import CALLS, OPERATIONS, tally, unavailable

MEMORY = Path("/dev/shm")  # a kill is not a power cut: what is written and not yet synced is there all the same


def main() -> int:
    """Kills, judges and prints; exit 1 if any store was neither the old one nor the new one."""
    why_not = unavailable()
    if why_not:
        print(why_not, file=sys.stderr)
        return 1
    print("# kill -9 at every call\n")
    print(
        "`python scripts/kill9.py`: a process that changes the store is killed by strace at a system call, which is"
    )
    print("then not carried out; one process for each call that it makes of these kinds: " + ", ".join(CALLS) + ".")
    print(
        "Afterwards every voiceprint and recording that a reader finds is compared with the store before and with the"
    )
    print("store that was to come, again after the next change has tidied, and no unfinished file may be left then.")
    print("`encrypt` and `decrypt` are whole for each person, and must be completed by another call.\n")
    print("| change | killed at | the old store | the new store | another, or unreadable |\n|---|---|---|---|---|")
    faults = []
    total = [0, 0, 0, 0]
    for operation in OPERATIONS:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            result = tally(operation, Path(folder))
        faults += [f"{operation.name}: {fault}" for fault in result.others]
        row = [result.kills, result.old, result.new, result.kills - result.old - result.new]
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

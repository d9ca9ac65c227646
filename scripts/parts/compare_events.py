"""Whether two machines say the same: `python scripts/parts/compare_events.py HERE.jsonl THERE.jsonl`, for
check_arm64.

Each file has what `earmark enroll --json` and `earmark replay --json` print. The events must be the same, with the
same times; scores may differ by `TOLERANCE`, for the networks' kernels round in another order. Exit code 1 if not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TOLERANCE = 0.02  # an int8 network's probability has steps of 1/256, and a mean of five of them decides
SAME = ("type", "keyword", "time_ms", "person", "reason")
SCORES = ("keyword_score", "speaker_score")


def main() -> int:
    """Compares and prints."""
    here, there = (_events(Path(path)) for path in sys.argv[1:3])
    apart = {
        key: max((abs(a[key] - b[key]) for a, b in zip(here, there) if a[key] is not None), default=0.0)
        for key in SCORES
    }
    same = len(here) == len(there) and all(a[key] == b[key] for a, b in zip(here, there) for key in SAME)
    close = max(apart.values()) <= TOLERANCE
    print(f"events: {len(there)} there, {len(here)} here; {', '.join(SAME)}: {'the same' if same else 'DIFFERENT'}")
    print("scores: at most " + ", ".join(f"{value:.4f} apart ({key})" for key, value in apart.items()))
    if not same or not close:
        for event in (*here, *there):
            print(json.dumps(event), file=sys.stderr)
    return 0 if same and close and here else 1


def _events(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line for line in lines if line.get("type") in ("detection", "rejection")]


if __name__ == "__main__":
    sys.exit(main())

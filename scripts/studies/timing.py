"""How long something takes the processor, for the studies of costs."""

from __future__ import annotations

import time
from collections.abc import Callable


def lowest(run: Callable[[], object], runs: int) -> float:
    """ms of processor time, after one run that is not counted."""
    run()
    taken = []
    for _ in range(runs):
        start_s = time.process_time()
        run()
        taken.append(1000 * (time.process_time() - start_s))
    return min(taken)

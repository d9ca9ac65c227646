"""`earmark evaluate` for lists that are too long for one machine: the same numbers, to the last digit.

    python scripts/studies/shards.py --processes 4 TRIALS.csv --any-phrase --json rates.json
    python scripts/studies/shards.py --scheduler tcp://HOST:8786 TRIALS.csv --any-phrase --json rates.json

All other options are those of `earmark evaluate`. The work is parted into shards of some people or tries each. They
go to processes of this machine, or to the workers of a Dask scheduler (`pip install "earmark[cluster]"`): on one
machine `dask scheduler`, on the others `dask worker tcp://HOST:8786 --nthreads 1 --nworkers auto`. Every worker has
earmark installed, and the recordings at the paths of the list. What `--keep` keeps lies on each worker's machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from earmark.engine.commands.parser import command_line
from earmark.enroll.commands import evaluate_command
from earmark.enroll.commands.evaluate_shards import Shards
from earmark.enroll.evaluation.workers import processors


def main() -> int:
    """Measures, as `earmark evaluate` does."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--scheduler", metavar="ADDRESS", help="of Dask; none: processes of this machine")
    own.add_argument("--processes", type=int, default=processors(), help="of this machine (one a processor)")
    chosen, options = own.parse_known_args()
    arguments = command_line().parse_args(["evaluate", *options])
    if chosen.scheduler:
        from distributed import Client  # an extra, and slow

        with Client(chosen.scheduler) as client:
            return evaluate_command.evaluate_with(arguments, Shards(client.get_executor(), options))
    # new interpreters, and no copies of this one: a runtime's networks do not survive being copied
    with ProcessPoolExecutor(chosen.processes, multiprocessing.get_context("spawn")) as pool:
        return evaluate_command.evaluate_with(arguments, Shards(pool, options))


if __name__ == "__main__":
    sys.exit(main())

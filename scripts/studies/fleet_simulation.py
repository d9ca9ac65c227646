"""The fleet's round in Flower's own simulation: `.venv-fleet/bin/python scripts/studies/fleet_simulation.py CACHE`.

Needs `flwr[simulation]`, which is Ray. A hundred homes of fold 0 (`fleet_data.py`) train in one round. The mean that
Flower makes is compared with the mean of the same changes in numpy. CACHE is that of `scripts/studies/fleet`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import folds
import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from earmark.enroll.fleet.contribution import trained_from
from earmark.enroll.training.calibrate import centroid
from earmark.enroll.training.train import TakeEmbeddings

HOMES, FOLD = 100, 0
client, server = ClientApp(), ServerApp()
CACHE = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
with np.load(CACHE / f"fleet-{FOLD}.npz") as arrays:
    TAKES = arrays["homes"][:HOMES]


def after_training(number: int, start: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The start as one home's training leaves it."""
    enroller = folds.enroller(FOLD)
    takes = [TakeEmbeddings(rows[0], rows[1:]) for rows in TAKES[number]]
    negatives, _ = enroller.cohorts("any-phrase", centroid(takes))
    return trained_from(enroller.head, start, takes, negatives)


@client.train()  # type: ignore[untyped-decorator,unused-ignore]
def train(message: Message, context: Context) -> Message:
    """One home."""
    (start,) = message.content.array_records["arrays"].to_numpy_ndarrays()
    trained = after_training(int(context.node_config["partition-id"]), start)
    content = RecordDict({"arrays": ArrayRecord([trained]), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content=content, reply_to=message)


@server.main()  # type: ignore[untyped-decorator,unused-ignore]
def main(grid: Grid, _context: Context) -> None:
    """One round, and the same in numpy."""
    built_in = folds.enroller(FOLD).head.start()
    assert built_in is not None
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=HOMES, min_available_nodes=HOMES)
    began_s = time.monotonic()
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord([built_in[0]]), num_rounds=1)
    took_s = time.monotonic() - began_s
    (made,) = result.arrays.to_numpy_ndarrays()
    wanted = np.mean([after_training(number, built_in[0]) for number in range(HOMES)], axis=0)
    print(
        f"{HOMES} homes, one round: {took_s:.0f} s; at most {np.abs(made - wanted).max():.1e} from numpy", flush=True
    )


if __name__ == "__main__":
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=HOMES,
        backend_config={
            "init_args": {"num_cpus": 1, "logging_level": "ERROR"},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )

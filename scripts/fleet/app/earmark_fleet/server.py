"""The server: rounds by one of Flower's own strategies, each saved, measured and published as a signed start.

Flower resumes nothing. So a round is on disk before the next one begins, and a run that is started again goes on
behind the newest round that is there.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, Strategy

from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.head import SpeakerHead
from earmark.engine.storage.atomic import make_folder, replace_synced
from earmark.enroll.enrolment import Enroller
from earmark.enroll.fleet import signed, trial

app = ServerApp()


def strategy_of(kind: str, homes: int, malicious: float) -> Strategy:
    """One of Flower's, for at least so many homes, of which a share may be malicious."""
    common = {"fraction_train": 1.0, "fraction_evaluate": 0.0, "min_train_nodes": homes, "min_available_nodes": homes}
    if kind == "mean":
        return FedAvg(**common)
    if kind == "median":
        return FedMedian(**common)
    if kind == "trimmed":
        return FedTrimmedAvg(beta=malicious, **common)
    if kind == "krum":
        return Krum(num_malicious_nodes=round(malicious * homes), **common)
    raise ValueError(f"strategy {kind!r}: must be mean, median, trimmed or krum")


def saved_rounds(state: Path) -> list[Path]:
    """Oldest first."""
    return sorted(state.glob("round-*.npy"))


@app.main()  # type: ignore[untyped-decorator,unused-ignore]
def main(grid: Grid, context: Context) -> None:
    """Goes on behind the newest saved round, for so many rounds more."""
    config = context.run_config
    state = Path(str(config["state"]))
    make_folder(state)
    models = Path(str(config["models"])) if config["models"] else MODELS_DIR
    head = SpeakerHead(models)
    built_in = head.start()
    if built_in is None:
        raise ValueError(f"{head.card.file}: projects in a way that has no start")
    done = saved_rounds(state)
    start = np.load(done[-1], allow_pickle=False) if done else built_in[0]
    trials = trial.read_list(Path(str(config["trials"]))) if config["trials"] else None

    def finish(number: int, arrays: ArrayRecord) -> MetricRecord:
        """Measures, saves and publishes a round; before the first there is nothing to save."""
        (numbers,) = arrays.to_numpy_ndarrays()
        rates = trial.rates(Enroller.load(models), numbers, trials) if trials else {}
        if number > 0:
            name = f"round-{len(done) + number:04d}"
            with io.BytesIO() as file:
                np.save(file, numbers.astype(np.float32))
                replace_synced(state / f"{name}.npy", file.getvalue())
            if config["key"]:
                facts = {"round": len(done) + number, "strategy": str(config["strategy"]), "rates": rates}
                card = {"head_sha256": head.card.sha256, "least_homes": int(config["homes"]), **facts}
                signed.publish(state / name, numbers, card, Path(str(config["key"])).read_bytes())
            print(f"earmark-fleet: {name} is saved {json.dumps(rates)}", flush=True)
        return MetricRecord(dict(rates))

    for number in range(1, int(config["rounds"]) + 1):
        strategy = strategy_of(str(config["strategy"]), int(config["homes"]), float(config["malicious"]))
        name = f"{len(done) + number}"
        result = strategy.start(
            grid,
            ArrayRecord([np.asarray(start, np.float32)]),
            num_rounds=1,
            timeout=float(config["timeout_s"]),
            train_config=ConfigRecord({"round": name}),
        )
        if len(result.arrays.to_numpy_ndarrays()) != 1:
            raise RuntimeError(f"round {name}: no home answered; the start is as it was")
        (start,) = result.arrays.to_numpy_ndarrays()
        finish(number, result.arrays)

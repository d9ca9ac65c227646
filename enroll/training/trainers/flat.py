"""A network that is trained as a whole by its own file's signatures (`models/flat_net.py`), and its checkpoints."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError, ModelError, text_of
from earmark.engine.networks import runtime
from earmark.engine.networks.admission import admit
from earmark.engine.networks.card import MODELS_DIR, load_card, read_model
from earmark.engine.storage.atomic import read_limited, replace_synced

SIGNATURES = ("initialize", "embed", "loss_gradient", "accumulate", "apply", "get_weights", "set_weights")
STATE = ("theta", "mean", "square", "start", "mass")
MOST_CHECKPOINT_BYTES = 256 << 20  # of 16 million weights


class Batch(NamedTuple):
    """What one step sees."""

    x: Float32
    """(n, frames, inputs), n ≤ the network's rows."""
    valid: Float32
    """(n, frames) 1 for frames that count; two at least in each row."""
    weight: Float32
    """(n,) ≥ 0."""
    take: npt.NDArray[np.int32]
    """(n,) which take a row stems from."""
    is_take: Float32
    """(n,) 1 for the person's rows, 0 for strangers'."""


class FlatNetwork:
    """The interpreter of such a network.

    Args:
        name: of its card.
        folder: of the models.

    Raises:
        ModelError: it is damaged, or lacks one of its signatures.
    """

    def __init__(self, name: str, folder: Path = MODELS_DIR) -> None:
        self.card = load_card(name, folder)
        parameters = self.card.parameters
        self.frames, self.inputs, self.outputs, self.rows, self.micro_rows = (
            int(parameters[key]) for key in ("frames", "inputs", "outputs", "rows", "micro_rows")
        )
        model = admit(read_model(self.card, folder), self.card.sha256, self.card.file, "block")
        self._call = runtime.Signatures(runtime.open_model(model), SIGNATURES, self.card.file)
        self.summed = np.zeros(0, np.float32)
        """(size,) the gradients that were added up since the last step; (0,) before any."""

    @property
    def size(self) -> int:
        """How many weights it has."""
        return self._call.shape("initialize", "theta")[0]

    def initialize(self, theta: Float32) -> None:
        """Begins with these weights, (size,), and no memory of steps."""
        self._call("initialize", theta=self._fitting("theta", theta, self.size))

    def step(self, batch: Batch, learning_rate: float, pull: float = 0.0) -> float:
        """One Adam step with the gradient of a whole batch, computed in micro-batches; the loss before it.

        Raises:
            ModelError: more rows than the network has, or a loss that is not finite.
        """
        loss = self.accumulate(batch)
        rate, back = np.array([learning_rate], np.float32), np.array([pull], np.float32)
        self._call("apply", learning_rate=rate, pull=back)
        return loss

    def accumulate(self, batch: Batch) -> float:
        """Adds a batch's gradient up, for `step`; its loss."""
        if len(batch.x) > self.rows:
            raise ModelError(f"{len(batch.x)} rows do not fit into {self.rows} of {self.card.file}")
        padded = [runtime.padded(array, self.rows) for array in batch]
        x, valid, weight, take, is_take = padded
        valid[len(batch.x) :, :2] = 1  # of a row that does not count the deviation must be finite
        parts = [slice(first, first + self.micro_rows) for first in range(0, self.rows, self.micro_rows)]
        found = [self._call("embed", x=x[part], valid=valid[part])["embedding"] for part in parts]
        values = self._call(
            "loss_gradient", embeddings=np.concatenate(found), weight=weight, take=take, is_take=is_take
        )
        loss = float(values["loss"][0])
        if not np.isfinite(loss):
            raise ModelError(f"{self.card.file}: the training loss became {loss}: `earmark doctor`")
        for part in parts:
            done = self._call("accumulate", x=x[part], valid=valid[part], gradient=values["gradient"][part])
        self.summed = done["gradient"]
        return loss

    def embed(self, x: Float32, valid: Float32) -> Float32:
        """(n, frames, inputs), (n, frames) -> (n, outputs), of any length."""
        rows = []
        for first in range(0, len(x), self.micro_rows):
            part = slice(first, first + self.micro_rows)
            some, counts = x[part], runtime.padded(valid[part], self.micro_rows)
            counts[len(some) :, :2] = 1
            rows.append(
                self._call("embed", x=runtime.padded(some, self.micro_rows), valid=counts)["embedding"][: len(some)]
            )
        return np.concatenate(rows)

    @property
    def theta(self) -> Float32:
        """(size,) the weights as they are now."""
        weights: Float32 = self._call("get_weights")["theta"].copy()
        return weights

    def state(self) -> dict[str, Float32]:
        """All that training goes on from."""
        return {name: values.copy() for name, values in self._call("get_weights").items()}

    def restore(self, state: dict[str, Float32]) -> None:
        """Puts a state in.

        Raises:
            InputError: it is of another network, or not finite.
        """
        sizes = {**dict.fromkeys(STATE, self.size), "mass": 2}
        self._call("set_weights", **{name: self._fitting(name, state[name], sizes[name]) for name in STATE})

    def _fitting(self, name: str, values: Float32, size: int) -> Float32:
        if values.shape != (size,) or not np.isfinite(values).all():
            raise InputError(
                f"{name} has {values.shape} numbers for {self.card.file}: it must be ({size},) and finite"
            )
        return np.ascontiguousarray(values, np.float32)


def write_checkpoint(path: str | os.PathLike[str], network: FlatNetwork, step: int) -> None:
    """Writes weights, moments and the number of steps done, in one step: the file is whole or as it was.

    Raises:
        OSError: it cannot be written.
    """
    content = io.BytesIO()
    save: Any = np.savez
    save(content, **network.state())
    about = {"model_sha256": network.card.sha256, "step": step}
    header = {**about, "arrays_sha256": hashlib.sha256(content.getvalue()).hexdigest()}
    replace_synced(Path(path), json.dumps(header, sort_keys=True).encode() + b"\n" + content.getvalue())


def read_checkpoint(path: str | os.PathLike[str], network: FlatNetwork) -> int:
    """Puts a checkpoint into the network; how many steps had been done.

    Raises:
        InputError: it is truncated, damaged, or of another network.
    """
    try:
        first, _, arrays = read_limited(Path(path), MOST_CHECKPOINT_BYTES).partition(b"\n")
        header = json.loads(first)
        whole = hashlib.sha256(arrays).hexdigest() == header["arrays_sha256"]
        model, step = str(header["model_sha256"]), int(header["step"])
        if not whole:
            raise ValueError("its checksum does not hold")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
            state = {name: stored[name] for name in STATE}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no checkpoint, or a damaged one ({text_of(error)}): begin anew") from error
    if model != network.card.sha256:
        raise InputError(
            f"{path}: a checkpoint of the model {model[:12]}…, this one is {network.card.sha256[:12]}…: begin anew"
        )
    network.restore(state)
    return step

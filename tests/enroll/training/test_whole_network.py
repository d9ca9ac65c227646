"""Back-propagation through every layer of a network, in a plain runtime and in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy_tdnn
import pytest

from earmark.engine.audio.samples import Float32
from earmark.enroll.training.trainers.flat import Batch, FlatNetwork, read_checkpoint, write_checkpoint
from earmark.models import flat_net, tdnn_net

FOLDER = Path(__file__).parents[2] / "models"
MOST_MB = 100
RELATIVE = 1e-4  # of a gradient, against float64


@pytest.fixture(scope="module")
def network() -> FlatNetwork:
    return FlatNetwork("tdnn", FOLDER)


@pytest.fixture(scope="module")
def start() -> dict[str, Float32]:
    return tdnn_net.start()


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Twelve rows of one made-up voice and twenty of others, of 40 to 65 frames."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((32, 65, 160)).astype(np.float32)
    x[:12] += rng.standard_normal(160).astype(np.float32)
    valid = (np.arange(65)[None] < rng.integers(40, 66, 32)[:, None]).astype(np.float32)
    take = np.where(np.arange(32) < 12, np.arange(32) % 4, -1).astype(np.int32)
    weight = np.where(np.arange(32) % 5 == 1, 0.5, 1).astype(np.float32)
    return Batch(x, valid, weight, take, (take >= 0).astype(np.float32))


def test_it_has_all_the_weights_of_the_recipe(network: FlatNetwork, start: dict[str, Float32]) -> None:
    assert network.size == len(flat_net.flat(start)) == 197_632
    assert {name: values.shape for name, values in start.items()} == tdnn_net.shapes()


def test_every_gradient_of_every_layer_is_that_of_float64(
    network: FlatNetwork, start: dict[str, Float32], batch: Batch
) -> None:
    network.initialize(flat_net.flat(start))
    loss = network.accumulate(batch)
    x, valid, weight, is_take = (part.astype(np.float64) for part in (*batch[:3], batch.is_take))
    weights = {name: values.astype(np.float64) for name, values in start.items()}
    wanted_loss, wanted, near_kink = numpy_tdnn.passed(weights, x, valid, weight, batch.take, is_take)
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    assert near_kink < 10, "of 1.5 million inputs of a relu"
    at = 0
    for name, values in start.items():
        found = network.summed[at : at + values.size].reshape(values.shape)
        at += values.size
        assert np.linalg.norm(found - wanted[name]) <= RELATIVE * np.linalg.norm(wanted[name]), name


def test_the_reference_s_gradients_are_those_of_small_steps(batch: Batch) -> None:
    """The reference is written by hand, too; one direction through all weights at once."""
    x, valid, weight, is_take = (part.astype(np.float64)[::3] for part in (*batch[:3], batch.is_take))
    take, rng = batch.take[::3], np.random.default_rng(2)
    weights = {name: values.astype(np.float64) for name, values in tdnn_net.start(1).items()}
    along = {name: rng.standard_normal(values.shape) for name, values in weights.items()}

    def at(step: float) -> float:
        return numpy_tdnn.passed(
            {name: values + step * along[name] for name, values in weights.items()}, x, valid, weight, take, is_take
        )[0]

    gradients = numpy_tdnn.passed(weights, x, valid, weight, take, is_take)[1]
    wanted = sum(float((gradients[name] * along[name]).sum()) for name in weights)
    assert (at(1e-7) - at(-1e-7)) / 2e-7 == pytest.approx(wanted, rel=1e-4)


def test_it_learns_and_goes_on_from_a_checkpoint_to_the_same_bits(
    network: FlatNetwork, start: dict[str, Float32], batch: Batch, tmp_path: Path
) -> None:
    network.initialize(flat_net.flat(start))
    losses = []
    for step in range(3):
        losses.append(network.step(batch, 1e-3))
        if step == 0:
            write_checkpoint(tmp_path / "one", network, 1)
    assert losses[2] < losses[0]
    fresh = FlatNetwork("tdnn", FOLDER)
    assert read_checkpoint(tmp_path / "one", fresh) == 1
    for _ in range(2):
        fresh.step(batch, 1e-3)
    np.testing.assert_array_equal(fresh.theta, network.theta)


def test_a_process_that_is_killed_after_a_step_loses_nothing_of_it(
    network: FlatNetwork, start: dict[str, Float32], batch: Batch, tmp_path: Path
) -> None:
    np.savez(tmp_path / "batch.npz", **batch._asdict())
    program = (
        "import os, signal, sys\n"
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from earmark.enroll.training.trainers.flat import Batch, FlatNetwork, write_checkpoint\n"
        "from earmark.models import flat_net, tdnn_net\n"
        "network = FlatNetwork('tdnn', Path(sys.argv[1]))\n"
        "network.initialize(flat_net.flat(tdnn_net.start()))\n"
        "network.step(Batch(**np.load(sys.argv[2] + '/batch.npz')), 1e-3)\n"
        "write_checkpoint(sys.argv[2] + '/one', network, 1)\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]\n"
        "print(peak, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    line = [sys.executable, "-c", program, str(FOLDER), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert int(done.stdout) / 1024 <= MOST_MB
    read_checkpoint(tmp_path / "one", network)
    network.step(batch, 1e-3)
    after = network.theta
    network.initialize(flat_net.flat(start))
    for _ in range(2):
        network.step(batch, 1e-3)
    np.testing.assert_array_equal(network.theta, after)

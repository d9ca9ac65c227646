"""The trainable head's file against the same step in numpy, and what a caller relies on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPOSITORY
from numpy_head import Loss, NumpyHead

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter

Array = npt.NDArray[Any]
Batch = dict[str, Array]

TAKE_ROWS, COHORT_ROWS, INFER_ROWS, EMBEDDING_SIZE, PROJECTION_SIZE = 80, 128, 16, 192, 128
TAKES, COPIES, COHORT = 5, 7, 96  # used rows: five takes, each with six augmented copies of weight 0.2
LEARNING_RATE, PULL = 3e-4, 0.01


class Head:
    """One interpreter; every signature a method that returns copies."""

    def __init__(self, path: Path) -> None:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        names = interpreter.get_signature_list()
        self._runners = {name: interpreter.get_signature_runner(name) for name in names}

    def __call__(self, signature: str, **inputs: Array) -> Batch:
        return {name: np.array(value) for name, value in self._runners[signature](**inputs).items()}


@pytest.fixture(scope="session")
def head_path() -> Path:
    """The file that ships."""
    return REPOSITORY / "models" / "head.tflite"


@pytest.fixture
def head(head_path: Path) -> Head:
    """A fresh interpreter, initialised as the engine does."""
    fresh = Head(head_path)
    fresh("initialize")
    return fresh


def make_batch(seed: int = 0) -> Batch:
    """A person's takes and other people's, as the speaker network's: never negative, halves of length 1.

    People differ by a shift of the same order as the differences between one person's takes.
    """
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(COHORT // 3 + 1, EMBEDDING_SIZE))
    used = TAKES * COPIES
    batch = {
        "takes": np.zeros((TAKE_ROWS, EMBEDDING_SIZE), np.float32),
        "take_weight": np.zeros(TAKE_ROWS, np.float32),
        "take_of_row": np.zeros(TAKE_ROWS, np.int32),
        "cohort": np.zeros((COHORT_ROWS, EMBEDDING_SIZE), np.float32),
        "cohort_weight": np.zeros(COHORT_ROWS, np.float32),
        "learning_rate": np.array([LEARNING_RATE], np.float32),
        "pull": np.array([PULL], np.float32),
    }
    batch["takes"][:used] = embeddings_of(people[:1], used, rng)
    batch["take_weight"][:used] = np.where(np.arange(used) % COPIES == 0, 1.0, 0.2)
    batch["take_of_row"][:used] = np.arange(used) // COPIES
    batch["cohort"][:COHORT] = embeddings_of(people[1:], COHORT, rng)
    batch["cohort_weight"][:COHORT] = 1.0
    return batch


def embeddings_of(people: Array, rows: int, rng: np.random.Generator) -> Array:
    """(rows, 192): the people in turn."""
    raw = np.maximum(people[np.arange(rows) % len(people)] + rng.normal(size=(rows, EMBEDDING_SIZE)), 0.0)
    halves = raw.reshape(rows, 2, -1)
    return np.asarray((halves / np.linalg.norm(halves, axis=2, keepdims=True)).reshape(rows, -1), np.float32)


def probe(seed: int = 9) -> Batch:
    """Inputs of `infer`."""
    rng = np.random.default_rng(seed)
    embeddings = embeddings_of(rng.normal(size=(4, EMBEDDING_SIZE)), INFER_ROWS, rng)
    return {"embeddings": embeddings, "prototype": rng.normal(size=(1, PROJECTION_SIZE)).astype(np.float32)}


def numpy_head(head: Head) -> NumpyHead:
    """The same head in numpy, from what the file says it starts with."""
    weights = head("get_weights")
    return NumpyHead(weights["projection"], weights["centre"])


def gradient_of(twin: NumpyHead, batch: Batch) -> Array:
    """By the projection, before a step."""
    arrays = {name: value for name, value in batch.items() if name not in ("learning_rate", "pull")}
    return twin.gradients(**arrays, pull=PULL)[1]


def assert_same_loss(outputs: Batch, expected: Loss, relative: float) -> None:
    for name, value in expected._asdict().items():
        assert float(outputs[name][0]) == pytest.approx(value, rel=relative, abs=1e-7), name


def assert_same_step(projection: Array, expected: Array, gradient: Array) -> None:
    """Equal to 1e-5 wherever a first step is well defined; elsewhere the step may differ, but is one step.

    Adam's first step is g / (|g| + 1e-8): where g is about 1e-8, the rounding of float32 decides.
    """
    clear = np.abs(gradient) > 1e-7
    assert clear.mean() > 0.999
    np.testing.assert_allclose(projection[clear], expected[clear], rtol=0, atol=1e-5)
    np.testing.assert_allclose(projection, expected, rtol=0, atol=2 * LEARNING_RATE)


def assert_unchanged(one: Batch, two: Batch) -> None:
    """Bit-equal, but for numbers below 1e-37, which some runtimes flush to 0."""
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=0, atol=1e-37, err_msg=name)


def assert_bit_equal(one: Batch, two: Batch) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_signatures_and_shapes(head: Head) -> None:
    one = {"loss": (1,), "take_loss": (1,), "cohort_loss": (1,), "pull_loss": (1,), "done": (1,)}
    projection = (EMBEDDING_SIZE, PROJECTION_SIZE)
    outputs = {
        "initialize": head("initialize"),
        "train": head("train", **make_batch()),
        "infer": head("infer", **probe()),
        "get_weights": head("get_weights"),
    }
    weights = outputs["get_weights"]
    outputs["set_weights"] = head("set_weights", projection=weights["projection"], bias=weights["bias"])
    shapes = {name: {key: value.shape for key, value in result.items()} for name, result in outputs.items()}
    assert shapes == {
        "initialize": {"done": (1,)},
        "train": one,
        "infer": {"score": (INFER_ROWS,), "projected": (INFER_ROWS, PROJECTION_SIZE)},
        "get_weights": {"projection": projection, "bias": (1,), "centre": (EMBEDDING_SIZE,)},
        "set_weights": {"projection": projection, "bias": (1,), "done": (1,)},
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_step_equals_numpy(head: Head, seed: int) -> None:
    twin, batch = numpy_head(head), make_batch(seed)
    gradient = gradient_of(twin, batch)
    assert_same_loss(head("train", **batch), twin.train(**batch), 1e-5)
    weights = head("get_weights")
    assert_same_step(weights["projection"], twin.projection, gradient)
    np.testing.assert_allclose(weights["bias"], [twin.bias], rtol=0, atol=1e-5)
    assert np.max(np.abs(twin.projection - twin.start)) > 0.5 * LEARNING_RATE, "the step moved nothing"


def test_forty_steps_equal_numpy(head: Head) -> None:
    """The projection moves by about 4e-3; Adam amplifies rounding where a gradient is almost 0."""
    twin, batch = numpy_head(head), make_batch()
    for _ in range(40):
        outputs, expected = head("train", **batch), twin.train(**batch)
    assert_same_loss(outputs, expected, 1e-4)
    weights = head("get_weights")
    np.testing.assert_allclose(weights["projection"], twin.projection, rtol=0, atol=1e-4)
    np.testing.assert_allclose(weights["bias"], [twin.bias], rtol=0, atol=1e-5)


def test_infer_equals_numpy(head: Head) -> None:
    twin, batch, inputs = numpy_head(head), make_batch(), probe()
    head("train", **batch)
    twin.projection = head("get_weights")["projection"].astype(np.float64)
    outputs, expected = head("infer", **inputs), twin.infer(**inputs)
    np.testing.assert_allclose(outputs["projected"], expected["projected"], rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs["score"], expected["score"], rtol=0, atol=2e-6)


def test_loss_falls_and_the_person_moves_away_from_the_cohort(head: Head) -> None:
    batch = make_batch()
    margin_before = margin(head, batch)
    losses = [float(head("train", **batch)["loss"][0]) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    assert margin(head, batch) > margin_before + 0.05


def margin(head: Head, batch: Batch) -> float:
    """Worst take minus best cohort row, in cosine to the takes' prototype."""
    takes = head("infer", embeddings=batch["takes"][:INFER_ROWS], prototype=probe()["prototype"])["projected"]
    prototype = takes.sum(axis=0, keepdims=True)
    own = head("infer", embeddings=batch["takes"][:INFER_ROWS], prototype=prototype)["score"]
    others: list[float] = []
    for row in range(0, COHORT, INFER_ROWS):
        rows = batch["cohort"][row : row + INFER_ROWS]
        others.extend(head("infer", embeddings=rows, prototype=prototype)["score"])
    return float(own.min() - max(others))


@pytest.mark.parametrize("garbage", [3.0, 1e30, np.nan, np.inf])
def test_rows_of_weight_zero_do_not_matter(head_path: Path, head: Head, garbage: float) -> None:
    batch = make_batch()
    dirty = {name: value.copy() for name, value in batch.items()}
    dirty["takes"][batch["take_weight"] == 0] = garbage
    dirty["take_of_row"][batch["take_weight"] == 0] = 77
    dirty["cohort"][batch["cohort_weight"] == 0] = garbage
    other = Head(head_path)
    for _ in range(3):
        assert_bit_equal(head("train", **batch), other("train", **dirty))
    assert_bit_equal(head("get_weights"), other("get_weights"))


def test_weights_out_and_in_give_equal_scores(head_path: Path, head: Head) -> None:
    for seed in range(3):
        head("train", **make_batch(seed))
    weights = head("get_weights")
    fresh = Head(head_path)
    read_back = fresh("set_weights", projection=weights["projection"], bias=weights["bias"])
    np.testing.assert_array_equal(read_back["projection"], weights["projection"])
    assert_bit_equal(fresh("get_weights"), weights)
    assert_bit_equal(fresh("infer", **probe()), head("infer", **probe()))


def test_set_weights_forgets_the_earlier_steps(head_path: Path, head: Head) -> None:
    for seed in range(3):
        head("train", **make_batch(seed))
    weights = head("get_weights")
    fresh = Head(head_path)
    for each in (head, fresh):
        each("set_weights", projection=weights["projection"], bias=weights["bias"])
        each("train", **make_batch(5))
    assert_bit_equal(head("get_weights"), fresh("get_weights"))


def test_initialize_restores_the_start(head_path: Path, head: Head) -> None:
    start, scores = head("get_weights"), head("infer", **probe())
    for seed in range(3):
        head("train", **make_batch(seed))
    head("initialize")
    assert_bit_equal(head("get_weights"), start)
    assert_bit_equal(head("infer", **probe()), scores)
    assert float(start["bias"][0]) == 0.5
    untouched = Head(head_path)
    for each in (head, untouched):  # also the memory of steps
        each("train", **make_batch(5))
    assert_bit_equal(head("get_weights"), untouched("get_weights"))


def test_initialize_recovers_from_a_poisoned_state(head: Head) -> None:
    start = head("get_weights")
    batch = make_batch()
    batch["takes"][0] = np.nan
    head("train", **batch)
    # A NaN in a used row is the caller's to keep out: some runtimes turn it into huge finite weights.
    assert not np.allclose(head("get_weights")["projection"], start["projection"], atol=1.0)
    head("initialize")
    head("train", **make_batch())
    assert np.isfinite(head("get_weights")["projection"]).all()
    head("initialize")
    assert_bit_equal(head("get_weights"), start)


def test_order_of_rows_and_names_of_takes_do_not_matter(head_path: Path, head: Head) -> None:
    batch = make_batch()
    order = np.random.default_rng(4).permutation(TAKE_ROWS)
    shuffled = dict(batch)
    for name in ("takes", "take_weight"):
        shuffled[name] = batch[name][order]
    shuffled["take_of_row"] = (1000 - 7 * batch["take_of_row"][order]).astype(np.int32)
    other, gradient = Head(head_path), gradient_of(numpy_head(head), batch)
    one, two = head("train", **batch), other("train", **shuffled)
    for name in Loss._fields:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7)
    assert_same_step(head("get_weights")["projection"], other("get_weights")["projection"], gradient)


def test_a_single_take_gives_no_nan(head: Head) -> None:
    """It has no other take to be compared with: its prototype is 0 and only the cohort teaches."""
    twin, batch = numpy_head(head), make_batch()
    batch["take_of_row"][:] = 0
    for _ in range(3):
        assert_same_loss(head("train", **batch), twin.train(**batch), 1e-4)
    np.testing.assert_allclose(head("get_weights")["projection"], twin.projection, rtol=0, atol=1e-4)


@pytest.mark.parametrize("empty", [("cohort_weight",), ("take_weight",), ("cohort_weight", "take_weight")])
def test_empty_batches_give_no_nan(head: Head, empty: Any) -> None:
    start, batch = head("get_weights"), make_batch()
    for name in empty:
        batch[name][:] = 0.0
    for _ in range(2):
        assert all(np.isfinite(value).all() for value in head("train", **batch).values())
    weights = head("get_weights")
    assert np.isfinite(weights["projection"]).all()
    if "cohort_weight" in empty:  # nobody to be told apart from: nothing to learn
        assert_unchanged(weights, start)


def test_a_pull_holds_the_projection_back(head_path: Path, head: Head) -> None:
    start, batch, free = head("get_weights")["projection"], make_batch(), Head(head_path)
    for _ in range(40):
        head("train", **{**batch, "pull": np.array([10.0], np.float32)})
        free("train", **{**batch, "pull": np.array([0.0], np.float32)})
    held, moved = (np.linalg.norm(each("get_weights")["projection"] - start) for each in (head, free))
    assert held < 0.7 * moved


def test_a_learning_rate_of_zero_changes_nothing(head: Head) -> None:
    start = head("get_weights")
    head("train", **{**make_batch(), "learning_rate": np.array([0.0], np.float32)})
    assert_unchanged(head("get_weights"), start)


@pytest.mark.parametrize("bias", [-30.0, 30.0])
def test_an_extreme_bias_does_not_overflow(head: Head, bias: float) -> None:
    projection = head("get_weights")["projection"]
    head("set_weights", projection=projection, bias=np.array([bias], np.float32))
    assert all(np.isfinite(value).all() for value in head("train", **make_batch()).values())
    assert np.isfinite(head("get_weights")["projection"]).all()


def test_numpy_gradient_equals_finite_differences() -> None:
    """Every entry, on a problem small enough for it, away from the start so that the pull counts."""
    rng = np.random.default_rng(3)
    small = NumpyHead(rng.normal(size=(6, 4)), rng.normal(size=6))
    small.projection = small.projection + 0.3 * rng.normal(size=(6, 4))
    small.bias = 0.2
    batch = {
        "takes": rng.normal(size=(7, 6)),
        "take_weight": np.array([1.0, 0.2, 1.0, 0.2, 1.0, 0.2, 0.0]),
        "take_of_row": np.array([0, 0, 1, 1, 2, 2, 3]),
        "cohort": rng.normal(size=(5, 6)),
        "cohort_weight": np.array([1.0, 1.0, 0.5, 1.0, 0.0]),
    }
    _, by_projection, by_bias = small.gradients(**batch, pull=0.7)
    step = 1e-6

    def loss() -> float:
        return small.gradients(**batch, pull=0.7)[0].loss

    for place in np.ndindex(*small.projection.shape):
        small.projection[place] += step
        above = loss()
        small.projection[place] -= 2 * step
        below = loss()
        small.projection[place] += step
        assert by_projection[place] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-6)
    small.bias += step
    above = loss()
    small.bias -= 2 * step
    assert by_bias == pytest.approx((above - loss()) / (2 * step), rel=1e-6, abs=1e-6)

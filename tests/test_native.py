"""Training from C, without Python: what scripts/native/train.c writes is what Python's runtime trains."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import REPOSITORY

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter

Array = npt.NDArray[Any]

NATIVE, EXAMPLES = REPOSITORY / "scripts" / "native", REPOSITORY / "docs" / "examples"
HEAD, OWN = REPOSITORY / "models" / "head.tflite", EXAMPLES / "own_head.tflite"
MOST_LINES = 200
MOST_MB = 12.0  # resident, for the head

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or shutil.which("cc") is None, reason="there is no C compiler"
)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the page says, against the library of the wheel."""
    folder = tmp_path_factory.mktemp("native")
    done = subprocess.run(
        ["make", "-C", NATIVE, f"PYTHON={sys.executable}", f"BUILD={folder}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "train"


def save(folder: Path, **arrays: Array) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def head_batch() -> dict[str, Array]:
    """Five takes with a copy each, and a cohort: random directions around two means."""
    rng = np.random.default_rng(7)
    rows = np.zeros((80, 192), np.float32)
    rows[:10] = rng.standard_normal(192) + 0.5 * rng.standard_normal((10, 192))
    weight = np.zeros(80, np.float32)
    weight[:10] = [1.0, 0.2] * 5
    return {
        "takes": rows,
        "take_weight": weight,
        "take_of_row": (np.arange(80) // 2).astype(np.int32),
        "cohort": rng.standard_normal((128, 192)).astype(np.float32),
        "cohort_weight": np.ones(128, np.float32),
        "learning_rate": np.array([3e-4], np.float32),
        "pull": np.array([0.01], np.float32),
    }


def own_batch() -> dict[str, Array]:
    rng = np.random.default_rng(8)
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 64)]
    rows = rng.random((64, 64)).astype(np.float32)
    return {"rows": rows, "targets": targets, "learning_rate": np.array([0.05], np.float32)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    save(folder, **head_batch())
    return folder


def run(program: Path, *words: object) -> str:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(model: Path, steps: int, batch: dict[str, Array], weights: dict[str, Array] | None = None) -> Any:
    """What get_weights gives after as many steps under this environment's runtime."""
    interpreter = Interpreter(str(model), num_threads=1)
    call = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    call["initialize"]()
    if weights is not None:
        call["set_weights"](**weights)
    for _ in range(steps):
        call["train"](**batch)
    return {name: np.array(value) for name, value in call["get_weights"]().items()}


def test_the_program_has_200_lines_at_most() -> None:
    assert len((NATIVE / "train.c").read_text("utf-8").splitlines()) <= MOST_LINES


def test_it_trains_the_shipped_head_to_pythons_weights(program: Path, data: Path, tmp_path: Path) -> None:
    told = run(program, HEAD, data, tmp_path / "c.npy", 40)
    losses = [float(line.split()[1]) for line in told.splitlines()]
    assert len(losses) == 40
    assert losses[-1] < losses[0]
    record = np.load(tmp_path / "c.npy")
    wanted = python(HEAD, 40, head_batch())
    for name in ("projection", "bias"):
        np.testing.assert_allclose(record[name], wanted[name], rtol=0, atol=1e-6)
    assert np.abs(wanted["projection"] - python(HEAD, 0, {})["projection"]).max() > 1e-3  # it did learn


def test_a_head_goes_on_from_its_checkpoint_as_pythons_does_from_its_weights(
    program: Path, data: Path, tmp_path: Path
) -> None:
    run(program, HEAD, data, tmp_path / "c.npy", 20)
    first = np.load(tmp_path / "c.npy")
    run(program, HEAD, data, tmp_path / "c.npy", 5)
    wanted = python(HEAD, 5, head_batch(), {name: np.array(first[name]) for name in ("projection", "bias")})
    # Adam's first step is the sign of the gradient: where that is nearly 0, rounding decides more than elsewhere
    difference = np.abs(np.load(tmp_path / "c.npy")["projection"] - wanted["projection"])
    assert np.quantile(difference, 0.99) <= 1e-6
    assert difference.max() <= 1e-5


def test_a_model_that_gives_its_optimiser_goes_on_bit_for_bit(program: Path, tmp_path: Path) -> None:
    save(tmp_path, **own_batch())
    run(program, OWN, tmp_path, tmp_path / "once", 60)
    for steps in (10, 30, 20):
        run(program, OWN, tmp_path, tmp_path / "thrice", steps)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "thrice").read_bytes()
    wanted = python(OWN, 60, own_batch())
    for name in ("weights", "speed"):
        np.testing.assert_allclose(np.load(tmp_path / "once")[name], wanted[name], rtol=0, atol=1e-6)


def test_python_writes_checkpoints_that_it_reads(program: Path, tmp_path: Path) -> None:
    save(tmp_path, **own_batch())
    path = tmp_path / "c.npy"
    run(program, OWN, tmp_path, path, 3)
    record = np.load(path)
    assert int(record["model_crc32"]) == zlib.crc32(OWN.read_bytes())
    record["weights"] += 1
    np.save(path, record)
    record["crc32"] = zlib.crc32(path.read_bytes()[:-4])
    np.save(path, record)
    run(program, OWN, tmp_path, path, 0)
    assert np.load(path) == record


def test_a_call_in_parts_is_given_the_parts_of_its_inputs(program: Path, tmp_path: Path) -> None:
    """Micro-batches: here three batches in a row, which are three steps of a batch each."""
    save(tmp_path, **own_batch())
    several = {name: np.concatenate([own_batch()[name][::-1], own_batch()[name]]) for name in ("rows", "targets")}
    parts = tmp_path / "parts"
    parts.mkdir()
    save(parts, **several, learning_rate=own_batch()["learning_rate"])
    run(program, OWN, parts, tmp_path / "parts.npy", 1, "train*2")
    one, two = own_batch(), own_batch()
    one.update(rows=one["rows"][::-1].copy(), targets=one["targets"][::-1].copy())
    wanted = python(OWN, 1, two, python(OWN, 1, one))
    np.testing.assert_allclose(np.load(tmp_path / "parts.npy")["weights"], wanted["weights"], rtol=0, atol=1e-6)


def test_the_head_takes_12_mb_at_most(program: Path, data: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [program, HEAD, data, tmp_path / "c.npy", "1000000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(40):
            assert child.stdout.readline()
        status = Path(f"/proc/{child.pid}/status").read_text()
        child.kill()
    (most_kb,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(most_kb) / 1024 <= MOST_MB


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed: nothing looks at the memory")
def test_it_makes_no_mistake_with_its_memory(program: Path, data: Path, tmp_path: Path) -> None:
    run(program, HEAD, data, tmp_path / "c.npy", 1)  # so that one is read, too
    train: list[str | Path] = [program, HEAD, data, tmp_path / "c.npy", "1"]
    checks = ["--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite,possible"]
    done = subprocess.run(
        ["valgrind", "--quiet", f"--suppressions={NATIVE / 'valgrind.supp'}", *checks, *train],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def spoil(data: Path, name: str, array: Array | bytes) -> None:
    if isinstance(array, bytes):
        (data / f"{name}.npy").write_bytes(array)
    else:
        np.save(data / f"{name}.npy", array)


NOT_A_NUMBER = np.full((80, 192), np.nan, np.float32)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("takes", np.zeros((79, 192), np.float32), "takes has 60672 bytes, and must have 61440 of float32"),
        ("takes", np.zeros((80, 192), np.float64), "must be float32 or int32 in C order"),
        ("takes", np.zeros((80, 192), np.int32), "must have 61440 of float32"),
        ("takes", np.asfortranarray(np.zeros((80, 192), np.float32)), "in C order"),
        ("takes", NOT_A_NUMBER, "step 1: the loss is"),
        ("takes", b"", "is not a whole .npy file"),
        ("takes", b"\x93NUMPY\x01\x00\xff\xff", "is not a whole .npy file"),
        ("cohort", None, "is not there, and train wants cohort: write it with numpy.save"),
    ],
)
def test_bad_data_is_named_and_the_checkpoint_stays(
    program: Path, data: Path, tmp_path: Path, name: str, array: Array | bytes | None, said: str
) -> None:
    checkpoint = tmp_path / "c.npy"
    run(program, HEAD, data, checkpoint, 1)
    before = checkpoint.read_bytes()
    if array is None:
        (data / f"{name}.npy").unlink()
    else:
        spoil(data, name, array)
    done = subprocess.run([program, HEAD, data, checkpoint, "3"], capture_output=True, text=True, check=False)
    assert (done.returncode, checkpoint.read_bytes()) == (2, before)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw[:-1], "is not whole"),
        (lambda raw: raw[: len(raw) // 2], "is not whole"),
        (lambda raw: raw[:40], "is no checkpoint of this model"),
        (lambda _: b"", "is no checkpoint of this model"),
        (lambda raw: raw[:-200] + bytes([raw[-200] ^ 1]) + raw[-199:], "is not whole"),
        (lambda raw: raw + b"\x00", "is not whole"),
    ],
)
def test_a_broken_checkpoint_is_refused(program: Path, data: Path, tmp_path: Path, change: Any, said: str) -> None:
    checkpoint = tmp_path / "c.npy"
    run(program, HEAD, data, checkpoint, 1)
    broken = change(checkpoint.read_bytes())
    checkpoint.write_bytes(broken)
    done = subprocess.run([program, HEAD, data, checkpoint, "1"], capture_output=True, text=True, check=False)
    assert (done.returncode, checkpoint.read_bytes()) == (2, broken)
    assert said in done.stderr


def test_another_models_checkpoint_is_refused(program: Path, data: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.npy"
    run(program, HEAD, data, checkpoint, 1)
    save(data, **own_batch())
    done = subprocess.run([program, OWN, data, checkpoint, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no checkpoint of this model" in done.stderr
    other = tmp_path / "other.tflite"  # the same shapes, and another file
    other.write_bytes(HEAD.read_bytes() + b"\x00")
    done = subprocess.run([program, other, data, checkpoint, "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is a checkpoint of another model" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: train MODEL DATA CHECKPOINT STEPS"),
        (["none.tflite", "data", "c.npy", "1"], "none.tflite: is no TFLite model"),
        ([HEAD, "data", "c.npy", "1", "learn"], "learn: this model has no such signature"),
        ([HEAD, "data", "c.npy", "1", "train*0"], "train*0: must be CALL or CALL*N"),
        ([HEAD, "data", "nowhere/c.npy", "0"], "nowhere/c.npy.part: cannot be written"),
    ],
)
def test_what_cannot_be_is_said(program: Path, tmp_path: Path, words: list[object], said: str) -> None:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_truncated_model_is_no_model(program: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.tflite"
    part.write_bytes(HEAD.read_bytes()[:100_000])
    done = subprocess.run([program, part, tmp_path, "c.npy", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no TFLite model" in done.stderr


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")  # which LiteRT says of each that opens so
def test_the_example_learns_three_words_and_c_learns_the_same(program: Path, tmp_path: Path) -> None:
    """As the page shows it: a network of somebody else, which hears voices in training and others in the test."""
    audio = REPOSITORY / "tests" / "audio"
    takes = [
        str(path)
        for voice in ("slt", "rms")
        for word in ("okay_nabu", "alexa", "hey_mycroft")
        for path in sorted(audio.glob(f"{voice}_{word}_enroll_*.flac"))
    ]
    example = EXAMPLES / "own_head.py"
    subprocess.run([sys.executable, example, OWN, tmp_path, *takes], check=True, capture_output=True)
    run(program, OWN, tmp_path, tmp_path / "c.npy", 200)
    weights = np.load(tmp_path / "c.npy")["weights"]
    np.testing.assert_allclose(np.load(tmp_path / "weights.npz")["weights"], weights, rtol=0, atol=1e-6)
    sys.path.insert(0, str(EXAMPLES))
    try:
        own_head = importlib.import_module("own_head")
    finally:
        sys.path.remove(str(EXAMPLES))
    tries = [path for voice in ("awb", "heart") for path in sorted(audio.glob(f"{voice}_*_test_*.flac"))]
    said = [own_head.WORDS[int((own_head.embed(str(path)) @ weights).argmax())] in path.name for path in tries]
    assert len(said) == 9
    assert sum(said) >= 8


def test_the_example_s_file_is_what_its_recipe_makes(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    made = tmp_path / "made.tflite"
    recipe = EXAMPLES / "own_head_recipe.py"
    subprocess.run([sys.executable, recipe, made], check=True, capture_output=True, cwd=tmp_path)
    batch = own_batch()
    for name, value in python(made, 10, batch).items():
        np.testing.assert_allclose(value, python(OWN, 10, batch)[name], rtol=0, atol=1e-6)

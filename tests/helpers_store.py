"""What the tests of the store and of the command line share: voiceprints, forged files, and runs of `earmark`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from unittest import mock

import forked
import numpy as np
import numpy.typing as npt
from forked import environment as environment

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.head import HeadWeights
from earmark.engine.people import vault
from earmark.engine.people.store import COSINE, TRAINED, Binding, PersonStore, Voiceprint

Snapshot = dict[str, Optional[bytes]]

BINDING = Binding(keyword="k" * 64, speaker="s" * 64, head="h" * 64)
KEY = b"correct horse"
RUN_LIMIT_S = 240  # of one run of `earmark`: it hangs


def make_voiceprint(
    name: str = "anna", keyword: str = "okay_nabu", kind: str = TRAINED, seed: int = 0, threshold: float = 0.5
) -> Voiceprint:
    """A voiceprint of random numbers, with values that a careless writer would round."""
    rng = np.random.default_rng(seed)
    none = np.zeros(0, np.float32)
    trained = kind == TRAINED
    projection = rng.standard_normal((192, 128)).astype(np.float16).astype(np.float32)  # as training leaves it
    return Voiceprint(
        name=name,
        keyword=keyword,
        kind=kind,
        threshold=threshold,
        binding=BINDING,
        takes=unit(rng.standard_normal((5, 192))),
        centroid=unit(rng.standard_normal(192)),
        prototype=unit(rng.standard_normal(128)) if trained else none,
        weights=HeadWeights(projection, np.array([1 / 3], np.float32)) if trained else HeadWeights(none[None], none),
        report={"seed": seed, "unicode": "Zoë", "leave_one_out": {kind: {"own": [0.1, 0.2]}}},
    )


def unit(rows: npt.NDArray[Any]) -> Float32:
    """Rows of unit length, as float32."""
    scaled: Float32 = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def assert_same(found: Voiceprint, wanted: Voiceprint) -> None:
    """Equal to the last bit."""
    for name in ("name", "keyword", "kind", "threshold", "binding", "report"):
        assert getattr(found, name) == getattr(wanted, name), name
    pairs = [(getattr(found, name), getattr(wanted, name)) for name in ("takes", "centroid", "prototype")]
    pairs += [(found.weights.projection, wanted.weights.projection), (found.weights.bias, wanted.weights.bias)]
    for got, expected in pairs:
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)


def snapshot(folder: Path) -> Snapshot:
    """Everything in a folder: path -> content, None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def load_all(store: PersonStore) -> list[Voiceprint]:
    return [store.load(name, keyword) for name in store.names() for keyword in store.keywords(name)]


def npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def arrays_of(voiceprint: Voiceprint) -> dict[str, npt.NDArray[Any]]:
    """The arrays in the types that the file holds."""
    return {
        "takes": voiceprint.takes,
        "centroid": voiceprint.centroid,
        "prototype": voiceprint.prototype,
        "projection": voiceprint.weights.projection.astype(np.float16),
        "bias": voiceprint.weights.bias,
    }


def forge(
    version: Path,
    changes: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    arrays: bytes | None = None,
) -> None:
    """Changes a stored version and makes its checksums right again, as somebody would who means harm."""
    header = json.loads((version / "header.json").read_bytes())
    if arrays is not None:
        (version / "arrays.npz").write_bytes(arrays)
        header["arrays_sha256"] = hashlib.sha256(arrays).hexdigest()
    header.update(changes or {})
    header = {key: value for key, value in header.items() if key not in without and key != "header_sha256"}
    text = json.dumps(header, sort_keys=True)
    header["header_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (version / "header.json").write_text(json.dumps(header))


@dataclass(frozen=True)
class Run:
    """What a run of `earmark` left behind."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as one JSON object a line; without the ends of files, which `replay` tells too."""
        return [line for line in map(json.loads, self.out.splitlines()) if line.get("type") != "file"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "earmark.cli", *map(str, arguments)]


def checked(code: int, out: bytes, err: bytes) -> Run:
    """A finished run; whatever it was, nobody may see a traceback."""
    run = Run(code, out.decode(), err.decode())
    for trace in ("Traceback", "Exception ignored", "Warning:", "Fatal Python error"):
        assert trace not in run.err, run.err
    return run


def earmark(
    *arguments: str | Path,
    code: int = 0,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Runs `earmark` to its end, which must have the exit code."""
    where = env or environment()
    done: subprocess.CompletedProcess[bytes]
    if forked.begins_as_all(where):
        done = forked.run([*map(str, arguments)], stdin, cwd, where, RUN_LIMIT_S)
    else:
        done = subprocess.run(
            command(*arguments),
            input=stdin,
            capture_output=True,
            timeout=RUN_LIMIT_S,
            cwd=cwd,
            env=where,
            check=False,
        )
    run = checked(done.returncode, done.stdout, done.stderr)
    assert run.code == code, f"exit code {run.code}\n{run.err}"
    return run


def save_cosine(store: Path, name: str = "anna") -> Path:
    """A small voiceprint in a new store; returns the version's folder."""
    return PersonStore(store).save(make_voiceprint(name, kind=COSINE))


# --- sealed stores, and people who cost nothing


def opened(folder: Path) -> PersonStore:
    return PersonStore(folder, lambda: KEY)


@contextlib.contextmanager
def weak_keys() -> Iterator[None]:
    """Keyrings of which scrypt makes nothing hard: thousands of them are opened here."""
    with mock.patch.dict(vault.SCRYPT, n=2, p=1):
        yield


def person(name: str, seed: int = 0, keyword: str = "okay_nabu") -> Voiceprint:
    return make_voiceprint(name, keyword, COSINE, seed)


def sound(seed: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-99, 99, 800).astype(np.int16)

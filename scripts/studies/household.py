"""What a household costs: `python scripts/studies/household.py > docs/research/household.md`.

People of random numbers, all of them with a trained head, in five versions each; each figure is the lowest of several
runs in one process on one core of this machine: compare rows, not machines.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: one core is what is measured

import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from heading import heading
from timing import lowest

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.history import sealing
from earmark.engine.household import load_household
from earmark.engine.networks import runtime
from earmark.engine.networks.card import load_card, load_manifest
from earmark.engine.networks.head import HeadWeights, SpeakerHead
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.people import vault
from earmark.engine.people.loading import binding_of
from earmark.engine.people.store import KEPT_VERSIONS, TRAINED, PersonStore, Voiceprint
from earmark.engine.settings.schema import People, Settings
from earmark.engine.verifier import Verifier

PEOPLE = (1, 2, 5, 10)
RUNS = 15
TAKE = Path(__file__).parents[2] / "tests" / "audio" / "slt_okay_nabu_test_1.flac"


def main() -> int:
    """Measures and prints."""
    print(heading("A household", __file__))
    print(f"{runtime.version()}, Python {platform.python_version()}. Milliseconds of processor time, the lowest")
    print(f"of {RUNS} runs, for the machine is shared. Everybody has a trained head and {KEPT_VERSIONS} versions.\n")
    print("* *Look* is what the daemon does after each change of the store, and every `people.watch_s` where that is")
    print("  cheap: looks take half a thousandth of a core at most (`engine/daemon/watch.py`).")
    print("* *Start* is the loading of wake word, networks and people that a start or a reload costs.")
    print("* *Wake* is the whole question whose voice a wake word was.\n")
    print("| people | load all | load all, encrypted | look | start | wake | bytes on disk |")
    print("|---|---|---|---|---|---|---|")
    for count in PEOPLE:
        with tempfile.TemporaryDirectory() as folder:
            print(f"| {count} | {' | '.join(_row(count, Path(folder)))} |", flush=True)
    print(f"\nOpening the keyring, once in a process: {_number(lowest(_derived, runs=5))} ms, ", end="")
    print(f"{128 * vault.SCRYPT['n'] * vault.SCRYPT['r'] >> 20} MiB while it lasts.")
    return 0


def _row(count: int, folder: Path) -> list[str]:
    store = PersonStore(folder / "plain")
    for number in range(count):
        for version in range(KEPT_VERSIONS):
            store.save(_person(f"person {number}", 10 * number + version))
    size = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    verifier = Verifier(_load(store), SpeakerNetwork(), SpeakerHead())
    crop = read_audio(TAKE)
    settings = Settings(people=People(store=str(store.folder)))
    times = [
        lowest(lambda: _load(store), RUNS),
        0.0,
        lowest(store.fingerprint, RUNS),
        lowest(lambda: load_household(settings), runs=5),
        lowest(lambda: verifier.verify(crop, "okay_nabu"), RUNS),
    ]
    sealing.encrypt(store, b"correct horse")
    sealed = PersonStore(store.folder, lambda: b"correct horse")
    times[1] = lowest(lambda: _load(sealed), RUNS)
    return [*map(_number, times), str(size)]


def _load(store: PersonStore) -> list[Voiceprint]:
    return [store.load(name, keyword) for name in store.names() for keyword in store.keywords(name)]


def _person(name: str, seed: int) -> Voiceprint:
    rng = np.random.default_rng(seed)
    speaker, head = load_card("speaker"), load_card("head")
    size, projected = (int(head.parameters[key]) for key in ("embedding_size", "projection_size"))
    takes = _unit(rng.standard_normal((5, size)))
    weights = HeadWeights(rng.standard_normal((size, projected)).astype(np.float32), np.zeros(1, np.float32))
    prototype = _unit(rng.standard_normal(projected))
    binding = binding_of(load_manifest("okay_nabu").model_sha256, speaker, head)
    return Voiceprint(name, "okay_nabu", TRAINED, 0.6, binding, takes, takes[0], prototype, weights)


def _unit(rows: npt.NDArray[np.float64]) -> Float32:
    scaled: Float32 = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def _derived() -> None:
    vault.new_vault().keyring(b"correct horse")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


if __name__ == "__main__":
    sys.exit(main())

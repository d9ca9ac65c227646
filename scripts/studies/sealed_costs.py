"""What an encrypted store costs: `python scripts/studies/sealed_costs.py > docs/research/sealed_costs.md`.

With `--before DIR` another clone is measured too, by turns with this one. DIR is called `earmark`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from timing import lowest

HERE = Path(__file__).resolve()
CLONE = HERE.parents[2]
PEOPLE, WAITING, TURNS = 300, 20, 3
KEY = b"correct horse"
STORES = ("open", "encrypted")
WHAT = {
    "load": f"load {PEOPLE} people",
    "verify": f"ask whose voice a wake word was, of {PEOPLE}",
    "queue": f"keep that wake to be learned, beside {WAITING} others",
    "wake": "both",
}
TEXT = """\
{runtime}, Python {python}. Milliseconds of processor time, the lowest of several runs in each of {turns} processes,
for the machine is shared. {people} people of random numbers, each with a trained head, in memory and not on a card.
*Before* is a clone of `{before}`, in which stores had no index yet, by turns with this one.

A wake costs two things: the voice is compared with everybody's, and, where `[learning]` is on, an entry is written.
In a sealed store that entry is announced in the index first, and confirmed afterwards. On a card each of these waits
until it is written. That is the thread of `[learning]`, and detection does not wait for it.
"""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Measure what an encrypted store costs.")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another clone, called `earmark`")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measured()))
        return 0
    from heading import heading

    clones = {"before": arguments.before, "now": CLONE} if arguments.before else {"now": CLONE}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in clones}
    for _ in range(TURNS):
        for name, clone in clones.items():
            found[name].append(in_clone(clone))
    best = {name: {key: min(one[key] for one in runs) for key in runs[0]} for name, runs in found.items()}
    for one in best.values():
        one.update({f"wake {store}": one[f"verify {store}"] + one[f"queue {store}"] for store in STORES})
    print(heading("What an encrypted store costs", __file__))
    before = commit(arguments.before) if arguments.before else "none"
    print(TEXT.format(runtime=runtime(), python=platform.python_version(), turns=TURNS, people=PEOPLE, before=before))
    print("| what | store | " + " | ".join(f"{name}, ms" for name in clones) + " | now / before |")
    print("|---" * (3 + len(clones)) + "|")
    for key, what in WHAT.items():
        for store in STORES:
            values = [best[name][f"{key} {store}"] for name in clones]
            share = f"{values[-1] / values[0]:.2f}" if len(values) > 1 else ""
            print(f"| {what} | {store} | {' | '.join(f'{value:.3g}' for value in values)} | {share} |")
    return 0


def in_clone(clone: Path) -> dict[str, float]:
    """What a process measures that has this clone's modules."""
    environment = {**os.environ, "PYTHONPATH": str(clone.resolve().parent), "EARMARK_SETTINGS": ""}
    with tempfile.TemporaryDirectory() as state:
        environment["XDG_STATE_HOME"] = state
        line = [sys.executable, str(HERE), "--measure"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"sealed_costs.py: {clone}:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def commit(clone: Path) -> str:
    """The commit of a clone."""
    line = ["git", "-C", str(clone), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()


def runtime() -> str:
    """Which runtime is used."""
    from earmark.engine.networks import runtime as networks_runtime

    return str(networks_runtime.version())


def measured() -> dict[str, float]:
    """ms of processor time of each row, by what and store; this process has the modules of one clone."""
    from earmark.engine.audio.files import read_audio
    from earmark.engine.history import sealing
    from earmark.engine.history.queue import LearningQueue, QueuedWake
    from earmark.engine.networks.card import load_card, load_manifest
    from earmark.engine.networks.head import HeadWeights, SpeakerHead
    from earmark.engine.networks.speaker import SpeakerNetwork
    from earmark.engine.people.loading import binding_of
    from earmark.engine.people.store import TRAINED, PersonStore, Voiceprint
    from earmark.engine.verifier import Verifier

    rng = np.random.default_rng(0)
    speaker, head = load_card("speaker"), load_card("head")
    size, projected = (int(head.parameters[key]) for key in ("embedding_size", "projection_size"))
    binding = binding_of(load_manifest("okay_nabu").model_sha256, speaker, head)

    def unit(*shape: int) -> Any:
        rows = rng.standard_normal(shape).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def person(number: int) -> Voiceprint:
        takes, prototype = unit(5, size), unit(projected)
        weights = HeadWeights(unit(size, projected), np.zeros(1, np.float32))
        return Voiceprint(f"person {number}", "okay_nabu", TRAINED, 0.6, binding, takes, takes[0], prototype, weights)

    def wake(number: int) -> QueuedWake:
        return QueuedWake(
            "detection", "okay_nabu", "person 0", 0.9, "mic", number, 1.7e9 + number, speaker.sha256, unit(size)
        )

    found: dict[str, float] = {}
    crop = read_audio(CLONE / "tests" / "audio" / "slt_okay_nabu_test_1.flac")
    networks = SpeakerNetwork(), SpeakerHead()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        plain = PersonStore(folder)
        for number in range(PEOPLE):
            plain.save(person(number))
        for number in range(WAITING):
            LearningQueue(plain).add(wake(number))
        for kind in STORES:
            if kind == "encrypted":
                sealing.encrypt(plain, KEY)

            def load() -> list[Voiceprint]:
                store = PersonStore(folder, lambda: KEY)
                return [store.load(name, "okay_nabu") for name in store.names()]

            verifier = Verifier(load(), *networks)
            queued = wake(WAITING)
            found[f"load {kind}"] = lowest(load, 4)
            found[f"verify {kind}"] = lowest(lambda: verifier.verify(crop, "okay_nabu"), 15)  # noqa: B023
            # as the sink does it, for each wake anew
            found[f"queue {kind}"] = lowest(lambda: LearningQueue(PersonStore(folder, lambda: KEY)).add(queued), 25)  # noqa: B023
    return found


if __name__ == "__main__":
    sys.exit(main())

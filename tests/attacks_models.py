"""What the author of a network may try."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attacking import attack
from model_mutants import KILLED, judge, mutants

from earmark.engine.errors import KeywordError
from earmark.engine.networks.card import MOST_MODEL_BYTES, builtin_keywords, load_manifest

TINY = Path(__file__).parent / "models"


@attack("model author", "structured mutants of every kind of network", cases=10_000, few=24)
def structured_mutants(_work: Path, cases: int) -> Iterator[str]:
    frames = np.random.default_rng(0).uniform(0, 26, (200, 40)).astype(np.float32)
    sources = [(path.with_suffix(".tflite"), "keyword") for path in builtin_keywords().values()]
    sources += [(TINY / "speaker.tflite", "speaker"), (TINY / "head.tflite", "head")]
    share = -(-cases // len(sources))
    for number, (path, kind) in enumerate(sources):
        for place, mutant in enumerate(mutants(path.read_bytes(), share, seed=number)):
            yield f"mutant {place} of {path.name} ended the daemon" if judge(mutant, kind, frames) == KILLED else ""


@attack("model author", "manifests that point elsewhere", cases=9, few=9)
def manifests_that_point_elsewhere(work: Path, cases: int) -> Iterator[str]:
    folder = work / "models"
    folder.mkdir()
    values = json.loads(builtin_keywords()["alexa"].read_text("utf-8"))
    shutil.copy(builtin_keywords()["alexa"].with_suffix(".tflite"), work / "outside.tflite")
    (folder / "link.tflite").symlink_to(work / "outside.tflite")
    (folder / "up").symlink_to(work)
    os.mkfifo(folder / "pipe.tflite")
    with (folder / "large.tflite").open("wb") as file:
        file.truncate(MOST_MODEL_BYTES + 1)
    names = (
        "/dev/zero",
        "/dev/stdin",
        "../outside.tflite",
        "../../../../../../etc/shadow",
        str(work / "outside.tflite"),
        "link.tflite",
        "up/outside.tflite",
        "pipe.tflite",
        "large.tflite",
    )
    for name in names[:cases]:
        (folder / "word.json").write_text(json.dumps({**values, "model": name}), "utf-8")
        try:
            load_manifest(folder / "word.json")
            yield f"{name} was read"
        except KeywordError:
            yield ""

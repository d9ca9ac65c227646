#!/usr/bin/env python3
"""Write tests/models: a second speaker network of another size, with head and cohort, to try `--models` with.

The network is no good and small: mean and deviation of the log mel over time, through a fixed random matrix, 64
numbers. The cohort is the synthetic voices of tests/audio. Needs TensorFlow (extra `build`).

    python scripts/studies/make_tiny_models.py
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.features import mel
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.models import export, head_net

REPOSITORY = Path(__file__).parents[2]
OUT = REPOSITORY / "tests" / "models"
SIZE = 64
LICENCE = "Apache-2.0"


def network() -> bytes:
    """Signature `embed`: mel (1, frames, 40) -> embedding (1, 64)."""
    import tensorflow as tf

    matrix = tf.constant(np.random.default_rng(0).standard_normal((2 * mel.WORD.mels, SIZE)).astype(np.float32) / 9)

    @tf.function(input_signature=[tf.TensorSpec((1, None, mel.WORD.mels), tf.float32, name="mel")])  # type: ignore[untyped-decorator]
    def embed(mel: Any) -> Any:
        logs = tf.math.log(mel + 1e-4)
        mean = tf.reduce_mean(logs, axis=1, keepdims=True)
        spread = tf.reduce_mean(tf.abs(logs - mean), axis=1)
        centred = mean[:, 0] - tf.reduce_mean(mean[:, 0], axis=1, keepdims=True)
        return {"embedding": tf.math.l2_normalize(tf.concat([centred, spread], axis=1) @ matrix, axis=1)}

    module = tf.Module()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"embed": embed})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["embed"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())


def write(name: str, file: str, content: bytes, signatures: Any, parameters: dict[str, Any]) -> None:
    """A model and its card."""
    card = export.card_of(
        name,
        file,
        content,
        description="for the tests: a second network",
        signatures=signatures,
        parameters=parameters,
        licence=LICENCE,
        sources=["tests/audio"],
    )
    (OUT / file).write_bytes(content)
    (OUT / f"{name}.json").write_text(json.dumps(asdict(card), indent=1) + "\n", "utf-8")


def main() -> None:
    """Write the six files."""
    OUT.mkdir(exist_ok=True)
    content = network()
    write("speaker", "speaker.tflite", content, export.signatures_of(content), mel.WORD.parameters)

    speaker = SpeakerNetwork(OUT)
    with (REPOSITORY / "tests" / "audio" / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["voice"]]
    embeddings = np.array([speaker.embed(read_audio(REPOSITORY / "tests" / "audio" / row["path"])) for row in rows])
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays,
        embeddings=embeddings.astype(np.float16),
        phrase=np.array([row["phrase"] for row in rows]),
        speaker=np.array([f"synthetic/{row['voice']}" for row in rows]),
    )
    write("cohort", "cohort.npz", arrays.getvalue(), {}, {})

    projection = np.random.default_rng(1).standard_normal((SIZE, head_net.PROJECTION_SIZE)) / 8
    content = head_net.build(projection.astype(np.float32), embeddings.mean(axis=0))
    write("head", "head.tflite", content, export.signatures_of(content), export.head_parameters(SIZE))


if __name__ == "__main__":
    main()

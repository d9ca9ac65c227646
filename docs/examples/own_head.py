"""Teaches three words to a head behind microWakeWord's network: `own_head.py own_head.tflite DATA FLAC…`."""

import sys
from pathlib import Path

import numpy as np

from earmark.engine.audio.files import read_audio
from earmark.engine.features.frontend import Frontend
from earmark.engine.networks.card import load_manifest

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter

ROWS, SIZE, WORDS = 64, 64, ("okay_nabu", "alexa", "hey_mycroft")
LAYER = 101  # the tensor that goes into the network's last layer: the network is somebody else's, and stays as it is


def embed(recording):
    """(64,): each number before the last layer, where it is largest in the recording."""
    samples = read_audio(recording)
    frozen = Interpreter(str(load_manifest("okay_nabu").model_path), experimental_preserve_all_tensors=True)
    frozen.allocate_tensors()
    given = frozen.get_input_details()[0]
    scale, zero = given["quantization"]
    frames = np.rint(Frontend().push(samples) / scale + zero).clip(-128, 127).astype(np.int8)
    seen = []
    for end in range(3, len(frames), 3):
        frozen.set_tensor(given["index"], frames[None, end - 3 : end])
        frozen.invoke()
        seen.append(frozen.get_tensor(LAYER).reshape(SIZE))
    return np.max(seen, axis=0) / np.float32(128) + 1


if __name__ == "__main__":
    model, data, *recordings = sys.argv[1:]
    rows, targets = np.zeros((ROWS, SIZE), np.float32), np.zeros((ROWS, len(WORDS)), np.float32)
    for row, recording in enumerate(recordings):
        rows[row] = embed(recording)
        targets[row, [word in recording for word in WORDS].index(True)] = 1
    batch = {"rows": rows, "targets": targets, "learning_rate": np.array([0.02], np.float32)}
    for name, array in batch.items():
        np.save(Path(data) / name, array)  # what the same training in C reads
    head = Interpreter(model)
    head.get_signature_runner("initialize")()
    train = head.get_signature_runner("train")
    for step in range(200):
        print(step + 1, train(**batch)["loss"][0])
    np.savez(Path(data) / "weights.npz", **head.get_signature_runner("get_weights")())

"""The recipe of smaller weights: what it keeps, and the layer that it must not touch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Read, Takes

from earmark.engine import mel, runtime
from earmark.engine.audio import Float32, to_float
from earmark.engine.card import MODELS_DIR, load_card
from earmark.engine.speaker import CROP_SAMPLES
from earmark.models.int8_weights import LAYERS, with_int8

pytest.importorskip("flatbuffers", reason="comes with LiteRT")
pytest.importorskip("ai_edge_litert.schema_py_generated", reason="TFLite's schema comes with LiteRT")


def embedding(content: bytes, frames: Float32) -> Float32:
    interpreter = runtime.open_model(content, "test")
    runner = interpreter.get_signature_runner("embed")
    interpreter.reset_all_variables()
    found: Float32 = runner(mel=frames[None])["embedding"][0]
    return found


def test_two_layers_in_int8_say_nearly_the_same_and_all_three_do_not(takes: Takes, read: Read) -> None:
    content = (Path(MODELS_DIR) / load_card("speaker").file).read_bytes()
    small, broken = with_int8(content), with_int8(content, (0, *LAYERS))
    assert len(small) < 0.7 * len(content)
    assert with_int8(content) == small
    crop = read(takes("slt", "okay_nabu", "test")[0])[:CROP_SAMPLES]
    frames = mel.power_mel(mel.to_level(to_float(crop)))
    plain = embedding(content, frames)
    assert float(embedding(small, frames) @ plain) > 0.99
    assert float(embedding(broken, frames) @ plain) < 0.9
    assert np.isfinite(embedding(broken, frames)).all()

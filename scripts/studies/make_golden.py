#!/usr/bin/env python3
"""Write the golden vectors of `tests/golden`: what other implementations give for recordings of `tests/audio`.

    mel.npz        both linear power mels of one take, by librosa
    speaker.npz    embeddings of six takes, as they are and 36 dB quieter, by the speaker network's forward pass in
                   numpy and float64 with the trained weights, from librosa's mel of the trimmed, levelled speech
    keyword.npz    the probabilities of one take a wake word, in 256ths, by pymicro_wakeword's own class

Nothing here runs earmark's networks, so that a test against these files can fail. A change of a golden file is a
change of what the engine computes: say why in the commit.

Needs librosa and pymicro-wakeword.

    python scripts/studies/make_golden.py [--out tests/golden]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32, Int16, to_float
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.card import builtin_keywords
from earmark.engine.networks.speaker import MAX_SPEECH_SAMPLES
from earmark.models.speaker_net import Weights, embed, read_weights

REPOSITORY = Path(__file__).parents[2]
AUDIO_DIR = REPOSITORY / "tests" / "audio"
MEL_TAKE = "slt_okay_nabu_test_1.flac"
SPEAKER_TAKES = (
    "awb_hey_mycroft_test_1.flac",
    "heart_alexa_test_1.flac",
    "kal16_alexa_test_1.flac",
    "rms_okay_nabu_test_1.flac",
    "rp_f3_hey_jarvis_test_1.flac",
    "slt_okay_nabu_test_1.flac",
)
QUIETER = 64  # times: a network that was given them as they are would hear the floor of its logarithm
LEVEL_DBFS = -30.0  # RMS of the speech that the speaker network is given
KEYWORD_TAKES = {
    "alexa": "rms_alexa_test_1.flac",
    "hey_jarvis": "slt_hey_jarvis_test_1.flac",
    "hey_mycroft": "awb_hey_mycroft_test_1.flac",
    "okay_nabu": "kal16_okay_nabu_test_1.flac",
}


def word_mel(samples: Float32) -> Float32:
    """float32 (n,) -> (1 + n // 160, 40) linear power."""
    mel: Float32 = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    return mel


def voice_mel(samples: Float32) -> Float32:
    """float32 (n,) -> (1 + n // 160, 80) linear power."""
    htk: dict[str, Any] = {"n_fft": 512, "win_length": 400, "n_mels": 80, "fmin": 20, "htk": True, "norm": None}
    mel: Float32 = librosa.feature.melspectrogram(y=samples, sr=16_000, hop_length=160, **htk).T
    return mel


def embedding(weights: Weights, samples: Int16) -> Float32:
    """(n,) -> (192,) of unit length."""
    start, end = locate_speech(samples)
    speech = to_float(samples[start : min(end, start + MAX_SPEECH_SAMPLES)]).astype(np.float64)
    levelled = speech * 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(speech**2))
    vector = embed(weights, voice_mel(levelled.astype(np.float32)).astype(np.float64))
    unit: Float32 = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def keyword_trace(word: str, path: Path) -> npt.NDArray[np.uint8]:
    """(m,) probabilities in 256ths."""
    network = MicroWakeWord.from_config(builtin_keywords()[word])
    probabilities = []
    for frame in MicroWakeWordFeatures().process_streaming(read_audio(path).tobytes()):
        network.process_streaming(frame)
        if not network._features:  # a stride became whole
            probabilities.append(network._probabilities[-1])
    trace: npt.NDArray[np.uint8] = np.rint(256 * np.array(probabilities)).astype(np.uint8)
    return trace


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description="Write the golden vectors of tests/golden.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests" / "golden")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    samples = to_float(read_audio(AUDIO_DIR / MEL_TAKE))
    np.savez(arguments.out / "mel.npz", path=MEL_TAKE, word=word_mel(samples), voice=voice_mel(samples))

    weights = read_weights(REPOSITORY / "models" / "speaker_weights.npz")
    takes = [read_audio(AUDIO_DIR / take) for take in SPEAKER_TAKES]
    embeddings, quiet = (np.array([embedding(weights, take // by) for take in takes]) for by in (1, QUIETER))
    np.savez(arguments.out / "speaker.npz", paths=np.array(SPEAKER_TAKES), embeddings=embeddings, quiet=quiet)

    traces: dict[str, Any] = {word: keyword_trace(word, AUDIO_DIR / take) for word, take in KEYWORD_TAKES.items()}
    paths: dict[str, Any] = {f"{word}_path": np.array(take) for word, take in KEYWORD_TAKES.items()}
    np.savez(arguments.out / "keyword.npz", **traces, **paths)

    for file in sorted(arguments.out.glob("*.npz")):
        print(f"{file}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""The speaker network: what it is given of a crop, and what another implementation computes with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Read

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.features import mel
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks import runtime
from earmark.engine.networks.speaker import SpeakerNetwork, network_input
from earmark.enroll.training.augment import with_noise

Golden = dict[str, tuple[Float32, Float32]]
LONGEST = 20_800  # samples of speech that an embedding is made of: 1.3 s
QUIETER = 64  # times: 36 dB


@pytest.fixture(scope="module")
def speaker() -> SpeakerNetwork:
    """Not the one that remembers."""
    return SpeakerNetwork()


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> Golden:
    """File in tests/audio -> (192,) of it, and of it 36 dB quieter, by scripts/studies/make_golden.py in float64."""
    with np.load(golden_dir / "speaker.npz") as arrays:
        return dict(zip(arrays["paths"].tolist(), zip(arrays["embeddings"], arrays["quiet"])))


# --- what it computes


def test_embeddings_equal_the_golden_ones(
    speaker: SpeakerNetwork, golden: Golden, audio_dir: Path, read: Read
) -> None:
    """Int8 against float64: measured 0.9977 to 0.9988 under tflite-runtime, 0.9975 to 0.9988 under LiteRT.

    The quiet ones notice a speech that is not brought to the network's level: 0.987 at the worst.
    """
    for path, expected in golden.items():
        samples = read(audio_dir / path)
        for crop, wanted in zip((samples, samples // QUIETER), expected):
            found = speaker.embed(crop)
            assert found @ wanted >= 0.997, path
            assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)


def test_who_hears_many_hears_the_same(speaker: SpeakerNetwork, golden: Golden, audio_dir: Path, read: Read) -> None:
    """Exactly so under tflite-runtime; LiteRT's delegate rounds otherwise: measured 0.99975 at the worst."""
    many = SpeakerNetwork(delegate="on")
    for path, (expected, _) in golden.items():
        samples = read(audio_dir / path)
        found = many.embed(samples)
        assert found @ speaker.embed(samples) >= 0.9995, path
        assert found @ expected >= 0.997, path
        np.testing.assert_array_equal(many.embed(samples), found)


@pytest.mark.parametrize(
    ("asked", "memory_mb", "under_litert"),
    [("on", 100, True), ("off", 9999, False), ("auto", 480, False), ("auto", 768, True), ("auto", 9999, True)],
)
def test_the_delegate_is_used_as_asked_and_by_itself_where_there_is_memory(
    asked: runtime.Delegate, memory_mb: int, under_litert: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    open_model = runtime.open_model

    def noted(model: runtime.Model, delegate: bool) -> runtime.Interpreter:
        opened.append(delegate)
        return open_model(model, delegate=False)

    monkeypatch.setattr(runtime, "open_model", noted)
    monkeypatch.setattr(runtime, "memory_mb", lambda: memory_mb)
    SpeakerNetwork(delegate=asked)
    monkeypatch.setattr(runtime, "DELEGATE_IS_SMALL", not runtime.DELEGATE_IS_SMALL)  # as the other runtime has it
    SpeakerNetwork(delegate=asked)
    is_litert = runtime.NAME == "ai-edge-litert"
    assert opened == ([under_litert, False] if is_litert else [False, under_litert]), "never under tflite-runtime"


def test_the_memory_is_that_of_the_machine() -> None:
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")]
    assert runtime.memory_mb() == pytest.approx(int(line.split()[1]) / 1024, rel=0.01)


def test_golden_embeddings_tell_voices_apart(golden: Golden) -> None:
    """Else the test above would pass for a network that gives everybody the same."""
    stacked = np.array([embedding for embedding, _ in golden.values()])
    cosines = stacked @ stacked.T
    assert cosines[~np.eye(len(stacked), dtype=bool)].max() < 0.7


def test_an_utterance_does_not_touch_the_next_one(audio_dir: Path, read: Read) -> None:
    first, second = read(audio_dir / "rms_alexa_test_1.flac"), read(audio_dir / "slt_alexa_test_1.flac")
    alone = SpeakerNetwork().embed(second)
    network = SpeakerNetwork()
    network.embed(first)
    np.testing.assert_array_equal(network.embed(second), alone)
    network.embed(first[:8000])  # another length in between
    np.testing.assert_array_equal(network.embed(second), alone)


@pytest.fixture(scope="module")
def take_of_each(audio_dir: Path, read: Read) -> list[Int16]:
    """One take of each voice; the last four bits are zero, so that it can be made quieter exactly."""
    found = [read(path) // np.int16(16) * np.int16(16) for path in sorted(audio_dir.glob("*_alexa_test_1.flac"))]
    assert len(found) == 7
    return found


@pytest.mark.parametrize("times", [2, 4, 16])
def test_the_same_take_louder_is_the_same_embedding_to_the_last_bit(
    speaker: SpeakerNetwork, take_of_each: list[Int16], times: int
) -> None:
    """6, 12 and 24 dB: powers of two are exact in floating point, from the samples to the mel of the level."""
    for take in take_of_each:
        loud, quiet = speaker.hear(take), speaker.hear(take // np.int16(times))
        np.testing.assert_array_equal(loud.embedding, quiet.embedding)
        assert loud.snr_db == quiet.snr_db


@pytest.mark.parametrize("gain_db", [6.0, -20.0])
def test_a_take_at_another_level_embeds_the_same(
    speaker: SpeakerNetwork, take_of_each: list[Int16], gain_db: float
) -> None:
    """Within what its samples lose when they are rounded, which is more in a quiet take.

    Measured under both runtimes: 0.9995 at the least for 6 dB more, 0.9975 for 20 dB less.
    """
    for take in take_of_each:
        scaled = to_float(take) * np.float32(10 ** (gain_db / 20))
        if np.abs(scaled).max() < 1:
            least = 0.999 if gain_db > 0 else 0.995
            assert speaker.embed(to_int16(scaled)) @ speaker.embed(take) >= least


@pytest.mark.parametrize(("off_db", "low", "high"), [(6.0, 0.9997, 0.99995), (-40.0, 0.92, 0.96)])
def test_how_much_a_level_is_worth_to_the_network(
    speaker: SpeakerNetwork,
    take_of_each: list[Int16],
    monkeypatch: pytest.MonkeyPatch,
    off_db: float,
    low: float,
    high: float,
) -> None:
    """The medians that `mel.gain_to_level` tells; 0.9998 and 0.94 under both runtimes."""
    at_level = np.array([speaker.embed(take) for take in take_of_each])
    to_level = mel.to_level
    monkeypatch.setattr(mel, "to_level", lambda speech: to_level(speech, mel.LEVEL_DBFS + off_db))
    off_level = np.array([speaker.embed(take) for take in take_of_each])
    assert low <= np.median(np.einsum("ij,ij->i", at_level, off_level)) <= high


def test_a_voice_in_noise_is_nearer_to_itself_than_to_others(
    speaker: SpeakerNetwork, audio_dir: Path, read: Read, rng: np.random.Generator
) -> None:
    words = [read(path) for path in sorted(audio_dir.glob("*_alexa_test_1.flac"))]
    clean = np.array([speaker.embed(word) for word in words])
    noisy = [to_int16(with_noise(to_float(np.pad(word, RATE_HZ // 4)), 10.0, 1.0, rng)) for word in words]
    cosines = np.array([speaker.embed(word) for word in noisy]) @ clean.T
    assert len(words) >= 4
    np.testing.assert_array_equal(cosines.argmax(axis=1), np.arange(len(words)))


# --- what it is given


def test_the_network_hears_the_speech_alone_at_30_db_below_full_scale(audio_dir: Path, read: Read) -> None:
    """Power is quadratic: the mel of the speech as it is, times the square of what brings its RMS to the level."""
    samples = read(audio_dir / "slt_alexa_test_1.flac")
    start, end = locate_speech(samples)
    speech = samples[start:end].astype(np.float64) / 32768
    power = mel.power_mel(speech.astype(np.float32), mel.VOICE)
    found = network_input(samples, start, end, mel.VOICE)
    assert found.shape == (1 + (end - start) // 160, 80)
    np.testing.assert_allclose(found, power * 10**-3 / np.mean(speech**2), rtol=1e-3)
    np.testing.assert_array_equal(
        network_input(samples // 2 * 2, start, end, mel.VOICE), network_input(samples // 2, start, end, mel.VOICE)
    )


def test_of_a_longer_phrase_the_first_1_3_s_are_heard(speaker: SpeakerNetwork, audio_dir: Path, read: Read) -> None:
    """Two seconds of speech; what is said after 1.3 s of it makes no difference, what is said just before does."""
    phrase = read(audio_dir / "slt_please_turn_the_lights_other_1.flac")
    start, end = locate_speech(phrase)
    assert end - start >= 2 * RATE_HZ
    heard = network_input(phrase, start, end, mel.VOICE)
    np.testing.assert_array_equal(heard, network_input(phrase, start, start + LONGEST, mel.VOICE))
    assert len(heard) == 1 + 130
    embedding = speaker.embed(phrase)
    for changed, is_same in ((start + LONGEST, True), (start + LONGEST - 1600, False)):
        other = phrase.copy()
        other[changed : changed + 1600] = phrase[start + 1600 : start + 3200]
        assert locate_speech(other) == (start, end), "or the next line shows nothing"
        assert np.array_equal(speaker.embed(other), embedding) == is_same


def test_three_seconds_of_speech_embed_as_their_first_1_3_s(
    speaker: SpeakerNetwork, audio_dir: Path, read: Read
) -> None:
    """The same words twice without a pause; then what follows 1.3 s of them is said backwards."""
    phrase = read(audio_dir / "rms_please_turn_the_lights_other_1.flac")
    start, end = locate_speech(phrase)
    long = np.concatenate([phrase[:end], phrase[start:]])
    other = long.copy()
    other[start + LONGEST :] = long[: start + LONGEST - 1 : -1]
    for spoken in (long, other):
        first, last = locate_speech(spoken)
        assert (first, last - first >= 3 * RATE_HZ) == (start, True), "or the next line shows nothing"
    np.testing.assert_array_equal(speaker.embed(other), speaker.embed(long))
    assert not np.array_equal(speaker.embed(long[::-1].copy()), speaker.embed(long))

"""The speaker network's mel: librosa's numbers without librosa, and the level."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Read

from earmark.engine.audio.samples import Float32, to_float
from earmark.engine.features import mel


def assert_same_mel(found: Float32, expected: Float32) -> None:
    """To 1e-6 of the largest value, as the module promises."""
    assert (found.shape, found.dtype.name) == (expected.shape, "float32")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * max(float(expected.max()), 1e-6))


LIBROSAS: dict[mel.Bands, dict[str, Any]] = {
    mel.WORD: {"n_fft": 400, "n_mels": 40},
    mel.VOICE: {"n_fft": 512, "win_length": 400, "n_mels": 80, "fmin": 20, "htk": True, "norm": None},
}
"""What it must be told to make the same."""


class WithoutCompiler(types.ModuleType):
    """What librosa decorates with numba stays Python: compiling takes 17 s, and the mel has none of it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def decorate(*given: Any, **_options: Any) -> Any:
            return given[0] if given and isinstance(given[0], types.FunctionType) else decorate

        return decorate


@pytest.fixture(scope="module")
def librosa() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as changed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of librosa's own imports
        changed.setitem(sys.modules, "numba", WithoutCompiler("numba"))
        yield pytest.importorskip("librosa", reason="librosa is not installed; the golden mel is compared anyway")
        for name in [name for name in sys.modules if name.partition(".")[0] == "librosa"]:
            del sys.modules[name]  # who wants it next has it compiled


@pytest.mark.parametrize("bands", LIBROSAS, ids=["word", "voice"])
@pytest.mark.parametrize("samples", [1, 159, 160, 399, 400, 16_000, 19_200, 25_600])
def test_equals_librosa(librosa: Any, rng: np.random.Generator, samples: int, bands: mel.Bands) -> None:
    sound = rng.normal(0, 0.1, samples).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a sound is shorter than a window
        expected = librosa.feature.melspectrogram(y=sound, sr=16_000, hop_length=160, **LIBROSAS[bands]).T
    assert_same_mel(mel.power_mel(sound, bands), expected)


@pytest.mark.parametrize(("name", "bands"), [("word", mel.WORD), ("voice", mel.VOICE)])
def test_equals_the_golden_mel(name: str, bands: mel.Bands, golden_dir: Path, audio_dir: Path, read: Read) -> None:
    """What librosa gave for one take; scripts/studies/make_golden.py wrote it."""
    with np.load(golden_dir / "mel.npz") as golden:
        samples, expected = read(audio_dir / str(golden["path"])), golden[name]
    assert_same_mel(mel.power_mel(to_float(samples), bands), expected)


def test_the_power_of_a_tone_is_in_the_channel_around_it() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    channel = int(mel.power_mel(tone)[50].argmax())
    bins_hz = np.flatnonzero(mel.filters()[:, channel]) * 40
    assert bins_hz.min() <= 1000 <= bins_hz.max()


@pytest.mark.parametrize("gain_db", [-40, -6, 0, 12])
@pytest.mark.parametrize("level_dbfs", [mel.LEVEL_DBFS, -12.0])
def test_the_level_is_reached_from_above_and_below(
    rng: np.random.Generator, gain_db: float, level_dbfs: float
) -> None:
    sound = (rng.normal(0, 0.03, 16_000) * 10 ** (gain_db / 20)).astype(np.float32)
    levelled = mel.to_level(sound, level_dbfs)
    assert 20 * np.log10(np.sqrt(np.mean(levelled.astype(np.float64) ** 2))) == pytest.approx(level_dbfs, abs=1e-4)
    assert levelled.dtype.name == "float32"
    np.testing.assert_allclose(levelled / levelled[0], sound / sound[0], rtol=1e-5)


def test_silence_stays_silence() -> None:
    np.testing.assert_array_equal(mel.to_level(np.zeros(100, np.float32)), np.zeros(100))
    assert not mel.power_mel(np.zeros(100, np.float32)).any()

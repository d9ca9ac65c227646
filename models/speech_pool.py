"""The speech that the speaker network learns from: every clip clean and degraded, as mel spectra.

The data is the folder that `build_cohort.py` reads too: an `index.csv` (set, path, speaker, phrase, take, session,
rate, seconds) and the sets named here. Everything is drawn from seeds made of a clip's own path, so a clip gives the
same rows whatever else is in the pool.

The chances and ranges below were set by hand, wide enough for a living room, a car and a telephone; none is tuned.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from scipy.signal import butter, sosfilt

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features import mel
from earmark.engine.features.mel import VOICE
from earmark.engine.features.speech import locate_speech, noise_of
from earmark.engine.networks.speaker import MAX_SPEECH_SAMPLES
from earmark.enroll.training.augment import in_room, mixed

from .fold import fold_of

Ints = npt.NDArray[np.intp]
Texts = npt.NDArray[np.str_]
Float64 = npt.NDArray[np.float64]

SETS = {
    "asc": "Arabic Speech Commands (A. Ghandoura et al.), CC BY 4.0",
    "dsp": "DSPSpeech-20 (Z. Chen), MIT",
    "gsc": "Speech Commands v0.01 (P. Warden), CC BY 4.0",
    "wuw": "Wake-Up-Word corpus II (wake-up-word/wuw-corpus-ii), CC BY-SA 4.0",
    "wake": "Picovoice wake-word-benchmark and OHF-Voice pymicro-wakeword, Apache-2.0; "
    "Mycroft Precise Community Data, public domain",
    "speech": "pieces of LibriSpeech, AMI and VCTK, CC BY 4.0; Picovoice speech-to-intent orders, Apache-2.0",
}
LABELLED_SETS = ("asc", "dsp", "gsc", "wuw")  # who speaks is known
NOISE_SET, BABBLE_SET = "noise", "speech"
TEST_NOISES = frozenset(  # about half of the recordings: noise in the figures is noise that was never trained on
    {
        "noise_free-car_engine",
        "noise_free-crowd_cheering",
        "noise_free-guitar",
        "noise_free-jazz_guitar",
        "noise_free-rain",
        "noise_gsc_-doing_the_dishes",
        "noise_gsc_-dude_miaowing",
        "noise_gsc_-exercise_bike",
        "noise_gsc_-running_tap",
    }
)

# Another speed is another voice: both pitch and formants move by more than 0.96…1.04, within which it stays the same
# (enroll/training/augment.py). The corpora have 1,300 speakers; this makes three times as many.
FASTER, SLOWER = (0.82, 0.93), (1.08, 1.20)  # of the length
SPEEDS = ("", "faster", "slower")
DEGRADED_VERSIONS = {"": 5, "faster": 3, "slower": 3}

PIECE_S = (0.7, 1.6)  # a sentence is cut into pieces as long as a word, one for each second of it, …
PIECE_MIN_LEVEL = 0.3  # … which are no pauses: of the sentence's RMS

EQUALISER_CHANCE, EQUALISER_DB = 0.3, 8.0
ROOM_CHANCE, ROOM_RT60_S, ROOM_DIRECT_DB = 0.6, (0.15, 0.7), (-4.0, 10.0)
DAMPED_CHANCE, DAMPED_SHARE, DAMPED_HZ = 0.5, (0.4, 1.0), 2500.0  # curtains swallow high frequencies sooner
NOISE_CHANCE, NOISE_SNR_DB = 0.85, (-1.0, 25.0)
TELEPHONE_CHANCE, TELEPHONE_HZ = 0.2, (300.0, 3400.0)  # ITU-T G.712
CLIPPING_CHANCE, CLIPPING_QUANTILE = 0.12, (0.93, 0.999)  # of the speech's absolute values
QUANTISED_CHANCE, QUANTISED_STEPS = 0.1, 32  # square-root steps, as coarse as a 6-bit companding codec
LEAST_POWER = 0.05  # of a band is left when its noise is subtracted, 13 dB below
LOCATED_CHANCE = 0.55  # else: where the clean clip has its speech, with edges that stray
START_SHIFT_S, END_SHIFT_S = (-0.12, 0.05), (-0.05, 0.12)


class Backgrounds(NamedTuple):
    """What noise is made of."""

    recordings: list[Float32]
    """(n,) float32 each, none of TEST_NOISES."""
    speech: Float32
    """(n,) float32: all of BABBLE_SET, one after the other, at one level each."""


class Pool(NamedTuple):
    """Rows of mel spectra; the rows of one clip follow each other, the clean one first."""

    frames: npt.NDArray[np.float16]
    """(frames, 80): square roots of the power mel, which float16 holds to 0.1 % of the power."""
    length: Ints
    """(rows,) frames of each row, at most 131."""
    clip: Ints
    """(rows,) number of the clip that the row is a version of."""
    phrase: Texts
    """(clips,) set/phrase."""
    speaker: Texts
    """(clips,) set/speaker, or set/path where nobody knows: what the folds go by."""
    identity: Texts
    """(clips,) whose voice it is to the training: the speaker at one speed, or the clip alone."""
    source: str
    """Of what data it was made."""

    def clean_rows(self) -> Ints:
        """(clips,) the row of each clip that nothing was done to."""
        return np.flatnonzero(np.diff(self.clip, prepend=-1))

    def outside(self, fold: int | None) -> npt.NDArray[np.bool_]:
        """(clips,) whether each may be trained on when the speakers of a fold are left out."""
        return np.array([fold is None or _fold(str(speaker)) != fold for speaker in self.speaker])

    def batch(self, rows: Ints) -> tuple[Float32, npt.NDArray[np.int64]]:
        """(b,) rows -> power mel (b, frames of the longest, 80), filled up with zeros, and their lengths (b,)."""
        starts = (np.cumsum(self.length) - self.length)[rows]
        length = self.length[rows]
        batch = np.zeros((len(rows), int(length.max()), VOICE.mels), np.float32)
        for row, start, count in zip(batch, starts, length):
            row[:count] = self.frames[start : start + count]
        return batch**2, length.astype(np.int64)


def _fold(speaker: str) -> int | None:
    """set/speaker -> its fold; None in the sets whose speakers no figure is measured on."""
    corpus, name = speaker.split("/", 1)
    return fold_of(corpus, name) if corpus in LABELLED_SETS else None


def source_of(data: Path, limit: int | None) -> str:
    """Names the data of a pool, so that what is in the work folder is not taken for something else."""
    return f"{hashlib.sha256((data / 'index.csv').read_bytes()).hexdigest()} {limit or 'all'}"


def build(data: Path, limit: int | None = None) -> Pool:
    """The pool of a data folder; with `limit`, of about so many recordings from all over the index.

    Raises:
        InputError: there is no noise or no speech to make noise of.
    """
    index = read_index(data)
    read_backgrounds(data, index)  # raises here, not in another process
    chosen = [row for row in index if row["set"] in SETS]
    frames: list[npt.NDArray[np.float16]] = []
    clip: list[int] = []
    columns: list[tuple[str, str, str]] = []
    chosen = chosen[:: -(-len(chosen) // limit) if limit else 1]
    with ProcessPoolExecutor() as processes:
        made = processes.map(functools.partial(_clips, data), chosen, chunksize=16)
        for row, clips in zip(chosen, made):
            for identity, versions in clips:
                frames += versions
                clip += [len(columns)] * len(versions)
                columns.append((f"{row['set']}/{row['phrase']}", _speaker(row), identity))
    phrase, speaker, identities = np.array(columns).T
    length = np.array([len(version) for version in frames], np.intp)
    source = source_of(data, limit)
    return Pool(np.concatenate(frames), length, np.array(clip, np.intp), phrase, speaker, identities, source)


def save(pool: Pool, file: BinaryIO) -> None:
    """Writes what `load` reads."""
    np.savez(file, **pool._asdict())


def load(file: Path, source: str) -> Pool:
    """A pool from its file.

    Raises:
        InputError: it was made of other data, or is damaged.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            content: dict[str, Any] = {name: arrays[name] for name in Pool._fields}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: not a pool ({error}): delete it") from error
    content["source"] = str(content["source"])
    if content["source"] != source:
        raise InputError(f"{file}: made of {content['source']}, not of {source}: take another --work or delete it")
    return Pool(**content)


def read_index(data: Path) -> list[dict[str, str]]:
    """The rows of the index, in the order of their paths."""
    with (data / "index.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["path"])


def read_backgrounds(data: Path, index: list[dict[str, str]]) -> Backgrounds:
    """All noise that may be trained on, and all speech for babble.

    Raises:
        InputError: there is none of one of them.
    """
    paths = [Path(row["path"]) for row in index if row["set"] == NOISE_SET]
    recordings = [to_float(read_audio(data / path)) for path in paths if path.stem not in TEST_NOISES]
    voices = [mel.to_level(to_float(read_audio(data / row["path"]))) for row in index if row["set"] == BABBLE_SET]
    if not recordings or not voices:
        raise InputError(f"{data / 'index.csv'}: it needs recordings of both {NOISE_SET!r} and {BABBLE_SET!r}")
    return Backgrounds(recordings, np.concatenate(voices))


def _speaker(row: dict[str, str]) -> str:
    return f"{row['set']}/{row['speaker'] or row['path']}"


@functools.lru_cache(maxsize=1)
def _backgrounds(data: Path) -> Backgrounds:
    """Once in each process."""
    return read_backgrounds(data, read_index(data))


def _clips(data: Path, row: dict[str, str]) -> list[tuple[str, list[npt.NDArray[np.float16]]]]:
    """Identity and versions of each clip that one recording gives; none where nothing is said."""
    seed = zlib.crc32(row["path"].encode())
    factors = speed_factors(_speaker(row))
    clips = []
    for number, piece in enumerate(_pieces(row["set"], read_audio(data / row["path"]), seed)):
        for speed, name in enumerate(SPEEDS):
            clip = to_int16(soxr.resample(to_float(piece), RATE_HZ, RATE_HZ * factors[name])) if name else piece
            try:
                versions = versions_of(
                    clip, DEGRADED_VERSIONS[name], _backgrounds(data), np.random.default_rng([seed, number, speed])
                )
            except AudioError:  # the corpora have clips with nothing said in them
                continue
            voice = _speaker(row) if row["set"] in LABELLED_SETS else f"{row['path']} {number}"
            clips.append((f"{voice} {name}", versions))
    return clips


def speed_factors(speaker: str) -> dict[str, float]:
    """How much longer somebody's clips become, by name of SPEEDS: the same for all his clips."""
    rng = np.random.default_rng(zlib.crc32(speaker.encode()))
    return {"": 1.0, "faster": rng.uniform(*FASTER), "slower": rng.uniform(*SLOWER)}


def _pieces(corpus: str, samples: Int16, seed: int) -> list[Int16]:
    """(n,) int16 -> itself, or word-like pieces of a sentence."""
    if corpus != "speech":
        return [samples]
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(len(samples) // RATE_HZ):
        length = int(rng.uniform(*PIECE_S) * RATE_HZ)
        start = int(rng.integers(max(1, len(samples) - length)))
        pieces.append(samples[start : start + length])
    return [piece for piece in pieces if _rms(to_float(piece)) > PIECE_MIN_LEVEL * _rms(to_float(samples))]


def _rms(samples: Float32) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def versions_of(
    clip: Int16, degraded_count: int, backgrounds: Backgrounds, rng: np.random.Generator
) -> list[npt.NDArray[np.float16]]:
    """(n,) int16 -> square roots of mel spectra, (frames, 80) each: the clean one, then the degraded ones.

    Raises:
        AudioError: nothing is said in the clip.
    """
    start, end = locate_speech(clip)
    versions = [_spectrum(clip, start, end)]
    for _ in range(degraded_count):
        heard = degraded(to_float(clip), start, end, backgrounds, rng)
        first, last = _crop(heard, start, end, rng)
        versions.append(_spectrum(heard, first, last))
    return versions


def _spectrum(crop: Int16, start: int, end: int) -> npt.NDArray[np.float16]:
    """(n,) int16 -> (frames, 80): what the engine would give to the network of it, as square roots."""
    speech = to_float(crop[start : min(end, start + MAX_SPEECH_SAMPLES)])
    gain = mel.gain_to_level(speech)
    frames = mel.power_mel(speech * gain, VOICE)
    noise = noise_of(mel.power_mel(to_float(crop), VOICE)) * gain**2
    return np.sqrt(without_noise(frames, noise)).astype(np.float16)


def without_noise(frames: Float32, noise: Float32) -> Float32:
    """(t, k) power mel -> the same without the (k,) noise, as loud over all as before.

    Spectral subtraction (M. Berouti et al., "Enhancement of speech corrupted by acoustic noise", 1979) in mel bands.
    """
    clear = np.maximum(frames - noise, LEAST_POWER * frames)
    loudness = float(clear.sum())
    return clear * np.float32(frames.sum() / loudness) if loudness > 0 else frames


def _crop(heard: Int16, start: int, end: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and end of the speech, as the engine finds it or as others may have cut it."""
    if rng.random() < LOCATED_CHANCE:
        try:
            return locate_speech(heard)
        except AudioError:  # coarse quantisation left next to nothing
            return start, end
    start += int(rng.uniform(*START_SHIFT_S) * RATE_HZ)
    end += int(rng.uniform(*END_SHIFT_S) * RATE_HZ)
    return max(0, start), min(len(heard), end)


def degraded(speech: Float32, start: int, end: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Int16:
    """float32 (n,), spoken between `start` and `end` -> int16 (n,): each thing done to it by its chance, in order."""
    heard = speech
    if rng.random() < EQUALISER_CHANCE:
        heard = _equalised(heard, EQUALISER_DB, rng)
    if rng.random() < ROOM_CHANCE:
        heard = _in_damped_room(heard, rng)
    if rng.random() < NOISE_CHANCE:
        heard = mixed(heard, _noise(len(heard), backgrounds, rng), rng.uniform(*NOISE_SNR_DB), start, end)
    if rng.random() < TELEPHONE_CHANCE:
        heard = sosfilt(_telephone_band(), heard).astype(np.float32)
    if rng.random() < CLIPPING_CHANCE:
        limit = np.quantile(np.abs(heard[start:end]), rng.uniform(*CLIPPING_QUANTILE))
        heard = np.clip(heard, -limit, limit)
    largest = max(float(np.abs(heard).max()), 1e-9)
    if rng.random() < QUANTISED_CHANCE:
        steps = np.round(np.sqrt(np.abs(heard) / largest) * QUANTISED_STEPS)
        heard = np.asarray(np.sign(heard) * (steps / QUANTISED_STEPS) ** 2 * largest, np.float32)
    return to_int16(heard / max(1.0, largest))  # the level is set afterwards; clipping had its own chance


def _in_damped_room(samples: Float32, rng: np.random.Generator) -> Float32:
    """float32 (n,) -> the same length, through a room where high frequencies may decay faster than low ones."""
    rt60_s, direct_db = rng.uniform(*ROOM_RT60_S), rng.uniform(*ROOM_DIRECT_DB)
    if rng.random() >= DAMPED_CHANCE:
        return in_room(samples, rt60_s, direct_db, rng)
    share = rng.uniform(*DAMPED_SHARE)
    low = sosfilt(_damping_filter(), samples).astype(np.float32)
    # A decaying tail's energy is proportional to its RT60, so the shorter tail is also the weaker one.
    high = in_room(samples - low, rt60_s * share, direct_db - 10 * np.log10(share), rng)
    return in_room(low, rt60_s, direct_db, rng) + high


@functools.lru_cache(maxsize=1)
def _damping_filter() -> Float64:
    """First order: what it leaves of a sound adds up with what it takes."""
    return np.asarray(butter(1, DAMPED_HZ, "lowpass", fs=RATE_HZ, output="sos"))


@functools.lru_cache(maxsize=1)
def _telephone_band() -> Float64:
    return np.asarray(butter(4, TELEPHONE_HZ, "bandpass", fs=RATE_HZ, output="sos"))


def _noise(length: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Float32:
    """(length,) float32 of one of four kinds, at any level."""
    kinds = (_recorded, _babble, _coloured, _hum)
    kind = kinds[rng.choice(len(kinds), p=(0.35, 0.25, 0.3, 0.1))]
    return np.asarray(kind(length, backgrounds, rng), np.float32)


def _recorded(length: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Float32:
    """A piece of a recording, half of them at another speed, half of them with other tone controls."""
    recording = backgrounds.recordings[rng.integers(len(backgrounds.recordings))]
    piece = _cut(recording, length, rng)
    if rng.random() < 0.5:
        piece = np.resize(soxr.resample(piece, RATE_HZ, RATE_HZ * rng.uniform(0.7, 1.4)), length)
    return _equalised(piece, 10.0, rng) if rng.random() < 0.5 else piece


def _babble(length: int, backgrounds: Backgrounds, rng: np.random.Generator) -> Float32:
    """3 to 8 voices at once."""
    voices = [_cut(backgrounds.speech, length, rng) * rng.uniform(0.5, 1) for _ in range(rng.integers(3, 9))]
    return np.asarray(np.sum(voices, axis=0))


def _coloured(length: int, _backgrounds: Backgrounds, rng: np.random.Generator) -> Float32:
    """Noise between white and brown, some of it swelling and fading."""
    hertz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    slope_db = -10 * rng.uniform(0, 2.2) * np.log10(np.maximum(hertz, 50) / 50)  # flat below 50 Hz
    noise = _filtered(rng.standard_normal(length).astype(np.float32), slope_db)
    if rng.random() < 0.5:
        noise = _equalised(noise, 12.0, rng)
    if rng.random() < 0.3:
        turns = rng.uniform(0.5, 8) * np.arange(length) / RATE_HZ + rng.random()
        noise = noise * (1 + 0.9 * np.sin(2 * np.pi * turns)).astype(np.float32)
    return noise


def _hum(length: int, _backgrounds: Backgrounds, rng: np.random.Generator) -> Float32:
    """A steady tone with 11 harmonics: a fan, a vacuum cleaner, a chord."""
    harmonics = np.arange(1, 12)[:, None]
    turns = rng.uniform(80, 600) * np.arange(length) / RATE_HZ
    strength = harmonics ** -rng.uniform(0.3, 1.5, harmonics.shape)
    tones = strength * np.sin(2 * np.pi * (harmonics * turns + rng.random(harmonics.shape)))
    return np.asarray(tones.sum(axis=0) + 0.05 * rng.standard_normal(length))


def _cut(recording: Float32, length: int, rng: np.random.Generator) -> Float32:
    """(length,) from anywhere in it; a shorter recording is repeated."""
    if len(recording) < length:
        recording = np.resize(recording, length)
    start = int(rng.integers(len(recording) - length + 1))
    return recording[start : start + length]


def _equalised(samples: Float32, most_db: float, rng: np.random.Generator) -> Float32:
    """Tone controls: six gains within ± `most_db`, nearer to each other at low frequencies."""
    bins = np.linspace(0, 1, len(samples) // 2 + 1)
    return _filtered(samples, np.interp(bins, np.linspace(0, 1, 6) ** 1.5, rng.uniform(-most_db, most_db, 6)))


def _filtered(samples: Float32, gain_db: Float64) -> Float32:
    """float32 (n,) with (1 + n // 2,) gains from 0 to 8000 Hz."""
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gain_db / 20), len(samples)).astype(np.float32)

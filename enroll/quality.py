"""A recording -> the takes in it, or the named reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.engine.audio import FULL_SCALE, RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.speaker import CROP_SAMPLES, MAX_SPEECH_SAMPLES, locate_speech
from earmark.engine.wakes import Wakes, find_wakes

PAD_SAMPLES = RATE_HZ // 2  # silence around a recording: a tightly cut one must be heard as it would be in a room
MAX_PHRASE_SAMPLES = 4 * RATE_HZ  # of any-phrase takes: longer is a sentence, not a wake word
CLIPPED_LEVEL, CLIPPED_SHARE = 32_700, 0.08  # of full scale 32768; share of the speech: a loud speaker of dsp has 5 %
QUIET_DBFS = -60.0  # RMS of the speech; chosen, not measured: 41 dB above the rounding noise of 16 bits (−101 dBFS)
SAME_COSINE = 0.998  # of 14,978 pairs of real takes 37 are copies (1.000), one other lies above this, the rest below
OTHER_VOICE_GAP = 0.25  # below the median take; of five takes of one real voice 1 in 1000 lies 0.22 below (dsp)

# Of others. In 1.2 s of speech the loud tenth of 30 ms frames lies 7 dB or more above the quiet tenth (480 pieces of
# sentences, 180 clips of words), in rain, a tap, dishes, a train or an engine 1 to 3 dB.
LEVEL_CHANGE_DB, LEVEL_FRAME_SAMPLES = 6.0, 480
PAUSE_DB = 25.0  # a piece so far below the loudest of its recording is a pause
MAX_PIECES = 200  # of one recording: four minutes; of a longer one every second, third … piece
OWN_VOICE_COSINE = 0.84  # to the mean of the takes; docs/architecture.md has how often whose words lie above it

ADVICE = {
    "unreadable": "record it again as WAV or FLAC",
    "nothing_said": "speak after the recording has begun",
    "keyword_not_heard": "say the wake word clearly and once; for a phrase no network knows, use --any-phrase",
    "clipped": "lower the microphone's gain or step back",
    "too_quiet": "raise the microphone's gain or come closer",
    "too_long": "say only the wake word",
    "same_take_twice": "say it again instead of copying the recording",
    "other_voice": "only the person being enrolled may speak",
    "sounds_like_owner": "of the others, record only other people or the television",
}


@dataclass(frozen=True)
class Take:
    """One utterance of the wake word."""

    file: str
    crop: Int16
    """(n,) int16: what the detector would cut out, with silence around the speech."""
    keyword_score: float | None
    """Mean probability when the network fired; None with any phrase."""


@dataclass(frozen=True)
class Fault:
    """Why a recording, or a take in it, is not used."""

    file: str
    reason: str
    """One of the keys of `ADVICE`."""
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}: {self.detail}; {ADVICE[self.reason]}"


def find_takes(samples: Int16, file: str, keyword: KeywordNetwork | None) -> list[Take | Fault]:
    """All utterances of the wake word in (n,) int16; with `keyword=None` the recording is one take of any phrase.

    The same frontend, network, decision and crop as the detector's, so that what is enrolled is what is verified.
    """
    if not np.any(samples):
        return [Fault(file, "nothing_said", "all samples are zero")]
    if keyword is None:
        return [_judged(Take(file, samples, None))]
    wakes = _wakes(samples, keyword)
    if not wakes.candidates:
        whole = _judged(Take(file, samples, 0.0))
        if isinstance(whole, Fault):  # why it was not heard
            return [whole]
        best, cutoff = wakes.mean_scores.max(), keyword.manifest.probability_cutoff
        detail = f"{keyword.manifest.name} scored {best:.2f} at best, it fires above {cutoff:.2f}"
        return [Fault(file, "keyword_not_heard", detail)]
    pairs = zip(wakes.crops, wakes.candidates)
    return [_judged(Take(file, crop, candidate.score)) for crop, candidate in pairs]


def crops(samples: Int16, keyword: KeywordNetwork | None) -> list[Int16]:
    """What the detector would give to the speaker network of (n,) int16; with `keyword=None` all of it."""
    return [samples] if keyword is None else _wakes(samples, keyword).crops


def other_crops(samples: Int16, file: str, keyword: KeywordNetwork | None) -> list[Int16] | Fault:
    """What somebody else says in (n,) int16 of any length, in crops of about a second, or why there is nothing.

    Where the keyword network fires, the detector's own crop; the wake word is not needed, though: of the rest, or of
    all, every 1.2 s in which something is said.
    """
    if not np.any(samples):
        return Fault(file, "nothing_said", "all samples are zero")
    found: list[Int16] = []
    bounds = [0, len(samples)]
    if keyword is not None:
        wakes = _wakes(samples, keyword)
        found = wakes.crops
        ends = [max(0, candidate.sample - PAD_SAMPLES) for candidate in wakes.candidates]
        bounds[1:1] = [bound for end in ends for bound in (max(0, end - CROP_SAMPLES), end)]
    rest = [piece for start, end in zip(bounds[::2], bounds[1::2]) for piece in _pieces(samples[start:end])]
    levels_dbfs = np.array([_speech_dbfs(piece) for piece in (*found, *rest)])
    if not len(levels_dbfs) or levels_dbfs.max() == -np.inf:
        return Fault(file, "nothing_said", "there is only silence or steady noise in it")
    if levels_dbfs.max() < QUIET_DBFS:
        return Fault(
            file, "too_quiet", f"the speech is at {levels_dbfs.max():.0f} dBFS, at least {QUIET_DBFS:.0f} needed"
        )
    floor_dbfs = max(QUIET_DBFS, levels_dbfs.max() - PAUSE_DB)
    return [piece for piece, level_dbfs in zip((*found, *rest), levels_dbfs) if level_dbfs >= floor_dbfs]


def _pieces(samples: Int16) -> list[Int16]:
    """(n,) int16 in pieces as long as the detector's crops; with no more than one utterance in it, it stays whole."""
    if len(samples) <= MAX_PHRASE_SAMPLES:
        try:
            start, end = locate_speech(samples)
        except (AudioError, ValueError):
            return []
        if end - start <= MAX_SPEECH_SAMPLES:
            return [samples]
    starts = range(0, len(samples), CROP_SAMPLES)
    return [samples[start : start + CROP_SAMPLES] for start in starts[:: 1 + len(starts) // MAX_PIECES]]


def _speech_dbfs(piece: Int16) -> float:
    """RMS level of what is said in (n,) int16; minus infinity where nothing is: noise has no syllables."""
    try:
        start, end = locate_speech(piece)
    except AudioError:
        return -np.inf
    frames = piece[: len(piece) // LEVEL_FRAME_SAMPLES * LEVEL_FRAME_SAMPLES].reshape(-1, LEVEL_FRAME_SAMPLES)
    quiet, loud = np.percentile(np.mean(np.square(frames, dtype=np.float64), axis=1), (10, 90))
    if loud < max(quiet, 1e-3) * 10 ** (LEVEL_CHANGE_DB / 10):
        return -np.inf
    power = float(np.mean(np.square(piece[start:end], dtype=np.float64)))
    return float(10 * np.log10(power) - 20 * np.log10(FULL_SCALE))


def own_crops(embeddings: Float32, centroid: Float32) -> npt.NDArray[np.bool_]:
    """Which of (m, 512) crops of others are the owner's, by their cosine to the (512,) mean of the takes.

    The wake word is recognised so; other words by the same person mostly are not.
    """
    return embeddings @ centroid >= OWN_VOICE_COSINE


def _wakes(samples: Int16, keyword: KeywordNetwork) -> Wakes:
    return find_wakes(np.pad(samples, PAD_SAMPLES), keyword)


def repeated(embeddings: Float32) -> Iterator[tuple[int, int]]:
    """Of (n, 512) embeddings the pairs (later, earlier) that are one recording used twice."""
    cosines = embeddings @ embeddings.T
    for later in range(1, len(embeddings)):
        earlier = int(np.argmax(cosines[later, :later]))
        if cosines[later, earlier] > SAME_COSINE:
            yield later, earlier


def _judged(take: Take) -> Take | Fault:
    try:
        start, end = locate_speech(take.crop)
    except AudioError as error:
        return Fault(take.file, "nothing_said", str(error).removeprefix("nothing said: "))
    speech = take.crop[start:end].astype(np.float64)
    clipped = np.mean(np.abs(speech) >= CLIPPED_LEVEL)
    if clipped > CLIPPED_SHARE:
        return Fault(take.file, "clipped", f"{100 * clipped:.1f} % of the samples are at full scale")
    level_dbfs = 10 * np.log10(np.mean(speech**2)) - 20 * np.log10(FULL_SCALE)
    if level_dbfs < QUIET_DBFS:
        return Fault(
            take.file, "too_quiet", f"the speech is at {level_dbfs:.0f} dBFS, at least {QUIET_DBFS:.0f} needed"
        )
    if take.keyword_score is None and end - start > MAX_PHRASE_SAMPLES:
        return Fault(take.file, "too_long", f"{(end - start) / RATE_HZ:.1f} s of speech, at most 4 s")
    return take


def other_voices(embeddings: Float32, ignored: Container[int]) -> dict[int, float]:
    """Take number -> cosine to the mean of the others, of those takes that are another person's.

    Needs four takes: of three nobody can say who is the odd one out.
    """
    numbers = [number for number in range(len(embeddings)) if number not in ignored]
    if len(numbers) < 4:
        return {}
    cosines = {}
    for number in numbers:
        rest = embeddings[[other for other in numbers if other != number]].mean(axis=0)
        cosines[number] = float(embeddings[number] @ rest / np.linalg.norm(rest))
    typical = float(np.median(list(cosines.values())))
    return {number: cosine for number, cosine in cosines.items() if cosine < typical - OTHER_VOICE_GAP}

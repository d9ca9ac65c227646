"""A recording -> the takes in it, or the named reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import numpy as np

from earmark.engine.audio import RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.speaker import locate_speech
from earmark.engine.wakes import Wakes, find_wakes

PAD_SAMPLES = RATE_HZ // 2  # silence around a recording: a tightly cut one must be heard as it would be in a room
MAX_PHRASE_SAMPLES = 4 * RATE_HZ  # of any-phrase takes: longer is a sentence, not a wake word
CLIPPED_LEVEL, CLIPPED_SHARE = 32_700, 0.08  # of full scale 32768; share of the speech: a loud speaker of dsp has 5 %
QUIET_DBFS = -60.0  # RMS of the speech; chosen, not measured: 41 dB above the rounding noise of 16 bits (−101 dBFS)
SAME_COSINE = 0.998  # of 14,978 pairs of real takes 37 are copies (1.000), one other lies above this, the rest below
OTHER_VOICE_GAP = 0.25  # below the median take; of five takes of one real voice 1 in 1000 lies 0.22 below (dsp)

ADVICE = {
    "unreadable": "record it again as WAV or FLAC",
    "nothing_said": "speak after the recording has begun",
    "keyword_not_heard": "say the wake word clearly and once; for a phrase no network knows, use --any-phrase",
    "clipped": "lower the microphone's gain or step back",
    "too_quiet": "raise the microphone's gain or come closer",
    "too_long": "say only the wake word",
    "same_take_twice": "say it again instead of copying the recording",
    "other_voice": "only the person being enrolled may speak",
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
    level_dbfs = 10 * np.log10(np.mean(speech**2)) - 20 * np.log10(32_768)
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

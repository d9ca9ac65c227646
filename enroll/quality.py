"""A recording -> the takes in it, or the named reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from earmark.engine.audio import FULL_SCALE, RATE_HZ, Float32, Int16, to_float
from earmark.engine.errors import AudioError
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.mel import HOP_SAMPLES, power_mel
from earmark.engine.speaker import CROP_SAMPLES, MAX_SPEECH_SAMPLES, locate_speech
from earmark.engine.wakes import Wakes, find_wakes

PAD_SAMPLES = RATE_HZ // 2  # silence around a recording: a tightly cut one must be heard as it would be in a room
MAX_PHRASE_SAMPLES = 4 * RATE_HZ  # of any-phrase takes: longer is a sentence, not a wake word

# Of takes. What they are worth on real speech with planted faults: docs/quality.md, by scripts/quality.py.
CLIPPED_LEVEL = 32_700  # of full scale 32768
CLIPPED_SHARE = 0.03  # of the speech; of dsp 1 clip in 100 has 2.6 %
QUIET_DBFS = -42.0  # RMS of the speech; of asc 1 clip in 100 is below −26 dBFS, of dsp below −34
MIN_SNR_DB = 9.0  # of asc and dsp 1 clip in 100 is below 14 and 19 dB, with lasting noise at 0 dB 1 in 20 above 9
NOISE_PERCENTILE, NOISE_SHARE, NOISE_FRAMES = 20, 1.5, 5  # as `locate_speech` takes a band's noise
EDGE_DB = -12.0  # of the loudest 30 ms: so loud at an end of the recording, the word goes on outside
TOUCH_SAMPLES = RATE_HZ * 30 // 1000  # speech that comes so near to an end may be cut; …
FAINT_EDGE_DB = -60.0  # … if there is anything at all at that end, …
SHORT_SHARE = 0.8  # … and it is shorter than this share of the takes before: so is 1 whole take in 10
STEADY_DB = 3.0  # the loud twentieth of 30 ms frames over the quiet tenth: rain, a tap, an engine have 1 to 3 dB
ROOM_FRAMES, ABOVE_ROOM = 20, 2.5  # some 0.2 s must have so many times the room's power, …
ABOVE_BANDS = 7  # … in so many of the 40 mel bands, or nothing was said; lasting noise alone has it in 1 of 3
OTHERS_QUIET_DBFS = -60.0  # of other people, who may be far: 41 dB above the rounding noise of 16 bits (−101 dBFS)
SAME_COSINE = 0.998  # of 14,978 pairs of real takes 37 are copies (1.000), one other lies above this, the rest below

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
    "too_noisy": "turn off what makes the noise, or come closer",
    "cut_off": "begin after the recording has begun, and end before it ends",
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
    level_dbfs: float = 0.0
    """RMS of the speech."""
    snr_db: float = 0.0
    """Speech to noise, in the crop or to the room, whichever is worse."""
    speech_samples: int = 0
    """How long it is."""


@dataclass(frozen=True)
class Limits:
    """What a take must keep to."""

    clipped_share: float = CLIPPED_SHARE
    quiet_dbfs: float = QUIET_DBFS
    min_snr_db: float = MIN_SNR_DB
    cut: bool = True
    """Whether one that the recording cuts is refused."""


AS_THEY_ARE = Limits(clipped_share=0.08, quiet_dbfs=OTHERS_QUIET_DBFS, min_snr_db=-np.inf, cut=False)
"""For lists that are measured: nobody can say a take again, and only what cannot be used is left out."""


@dataclass(frozen=True)
class Context:
    """What is known before a take."""

    limits: Limits = Limits()

    room: Float32 | None = None
    """(40,) mean power in each mel band while nobody spoke."""
    speech_samples: tuple[int, ...] = ()
    """How long the takes before are."""


@dataclass(frozen=True)
class Fault:
    """Why a recording, or a take in it, is not used."""

    file: str
    reason: str
    """One of the keys of `ADVICE`."""
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}: {self.detail}; {ADVICE[self.reason]}"


def find_takes(
    samples: Int16,
    file: str,
    keyword: KeywordNetwork | None,
    context: Context = Context(),
) -> list[Take | Fault]:
    """All utterances of the wake word in (n,) int16; with `keyword=None` the recording is one take of any phrase.

    The same frontend, network, decision and crop as the detector's, so that what is enrolled is what is verified.
    """
    if not np.any(samples):
        return [Fault(file, "nothing_said", "all samples are zero")]
    if keyword is None:
        return [_judged(Take(file, samples, None), (0, len(samples)), samples, context)]
    wakes = _wakes(samples, keyword)
    if not wakes.candidates:
        whole = _judged(Take(file, samples, 0.0), (0, len(samples)), samples, context)
        if isinstance(whole, Fault):  # why it was not heard
            return [whole]
        best, cutoff = wakes.mean_scores.max(), keyword.manifest.probability_cutoff
        detail = f"{keyword.manifest.name} scored {best:.2f} at best, it fires above {cutoff:.2f}"
        return [Fault(file, "keyword_not_heard", detail)]
    found = []
    for crop, candidate in zip(wakes.crops, wakes.candidates):
        end = candidate.sample - PAD_SAMPLES  # in the recording, which may begin or end within the crop
        bounds = max(0, end - CROP_SAMPLES), min(len(samples), end)
        found.append(_judged(Take(file, crop, candidate.score), bounds, samples, context))
    return found


def room_power(samples: Int16) -> Float32:
    """(n,) int16 in which nobody speaks -> (40,) mean power in each mel band, for `Context`."""
    mean: Float32 = power_mel(to_float(samples)).mean(axis=0)
    return mean


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
    if levels_dbfs.max() < OTHERS_QUIET_DBFS:
        detail = f"the speech is at {levels_dbfs.max():.0f} dBFS, at least {OTHERS_QUIET_DBFS:.0f} needed"
        return Fault(file, "too_quiet", detail)
    floor_dbfs = max(OTHERS_QUIET_DBFS, levels_dbfs.max() - PAUSE_DB)
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
    if _level_change_db(piece) < LEVEL_CHANGE_DB:
        return -np.inf
    return dbfs(piece[start:end])


def dbfs(samples: Int16) -> float:
    """RMS level of (n,) int16, n ≥ 1; −120 where nothing is."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return float(10 * np.log10(max(power, 1e-3)) - 20 * np.log10(FULL_SCALE))


def _is_room(samples: Int16, room: Float32 | None) -> bool:
    """Whether there is nothing in (n,) int16 but the (40,) room, or, where that is not known, but steady noise."""
    if room is None:
        return _level_change_db(samples, loud_share=0.05) < STEADY_DB
    kernel = np.ones(ROOM_FRAMES) / ROOM_FRAMES
    power = power_mel(to_float(samples)).T
    loudest = np.array([np.convolve(band, kernel, "same").max() for band in power])
    return bool(np.sum(loudest >= ABOVE_ROOM * room) < ABOVE_BANDS)


def _level_change_db(samples: Int16, loud_share: float = 0.1) -> float:
    """The loud share of the 30 ms frames of (n,) int16 over the quiet tenth."""
    count = len(samples) // LEVEL_FRAME_SAMPLES
    if not count:
        return 0.0
    frames = samples[: count * LEVEL_FRAME_SAMPLES].reshape(count, LEVEL_FRAME_SAMPLES)
    quiet, loud = np.percentile(np.mean(np.square(frames, dtype=np.float64), axis=1), (10, 100 * (1 - loud_share)))
    return float(10 * np.log10(max(loud, 1e-3) / max(quiet, 1e-3)))


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


def _judged(take: Take, bounds: tuple[int, int], recording: Int16, context: Context) -> Take | Fault:
    """The take with its figures, or the first fault of it.

    Args:
        take: its crop may have silence around what was recorded.
        bounds: of the crop in the recording.
        recording: (n,) int16.
        context: what is known before.
    """
    heard = recording[slice(*bounds)]
    try:
        start, end = locate_speech(heard)
    except AudioError as error:
        return Fault(take.file, "nothing_said", str(error).removeprefix("nothing said: "))
    speech = heard[start:end]
    clipped = np.mean(np.abs(speech.astype(np.int32)) >= CLIPPED_LEVEL)
    limits = context.limits
    if clipped > limits.clipped_share:
        return Fault(take.file, "clipped", f"{100 * clipped:.1f} % of the samples are at full scale")
    level_dbfs, snr_db = dbfs(speech), _snr_db(heard, start, end, context.room)
    if snr_db < limits.min_snr_db and _is_room(heard, context.room):
        return Fault(take.file, "nothing_said", "there is only the noise of the room in it")
    if level_dbfs < limits.quiet_dbfs:
        detail = f"the speech is at {level_dbfs:.0f} dBFS, at least {limits.quiet_dbfs:.0f} needed"
        return Fault(take.file, "too_quiet", detail)
    if snr_db < limits.min_snr_db:
        detail = f"the speech is {snr_db:.1f} dB above the noise, at least {limits.min_snr_db:.0f} needed"
        return Fault(take.file, "too_noisy", detail)
    if take.keyword_score is None and end - start > MAX_PHRASE_SAMPLES:
        return Fault(take.file, "too_long", f"{(end - start) / RATE_HZ:.1f} s of speech, at most 4 s")
    usual = float(np.median(context.speech_samples)) if context.speech_samples else 0.0
    cut = _cut(heard, (start, end), short=end - start < SHORT_SHARE * usual) if limits.cut else None
    if cut == "start" and bounds[0] == 0:
        return Fault(take.file, "cut_off", "the recording begins within the word")
    if cut == "end" and bounds[1] == len(recording):
        return Fault(take.file, "cut_off", "the recording ends within the word")
    return replace(take, level_dbfs=level_dbfs, snr_db=snr_db, speech_samples=end - start)


def spoken_samples(samples: Int16, room: Float32 | None) -> int:
    """How long what is said in (n,) int16 is, from its first sound to its last; 0 where noise hides it."""
    try:
        start, end = locate_speech(samples)
    except AudioError:
        return 0
    return end - start if _snr_db(samples, start, end, room) >= MIN_SNR_DB else 0


def _snr_db(samples: Int16, start: int, end: int, room: Float32 | None) -> float:
    """Speech between start and end of (n,) int16 to the noise, −10 dB at worst.

    The noise is each mel band's quiet part, as `locate_speech` takes it, or the power of the (40,) room.
    """
    power = power_mel(to_float(samples))
    kernel = np.ones(NOISE_FRAMES) / NOISE_FRAMES
    averaged = np.array([np.convolve(band, kernel, "valid") for band in power.T]) if len(power) > 8 else power.T
    noise = NOISE_SHARE * np.percentile(averaged, NOISE_PERCENTILE, axis=1).sum()
    if room is not None:
        noise = max(noise, float(room.sum()))
    loud = float(power[start // HOP_SAMPLES : max(end // HOP_SAMPLES, start // HOP_SAMPLES + 1)].mean(axis=0).sum())
    return float(10 * np.log10(max(loud - noise, 0.1 * noise) / noise)) if noise > 0 else 100.0


def _cut(samples: Int16, speech: tuple[int, int], short: bool) -> str | None:
    """Which end of (n,) int16 the speech runs over: `start`, `end` or None."""
    power = power_mel(to_float(samples)).sum(axis=1)
    loudest = np.convolve(power, np.ones(3) / 3, "same").max()
    places = {"start": (power[1:3], speech[0]), "end": (power[-3:-1], len(samples) - speech[1])}
    for name, (edge, distance) in places.items():
        edge_db = 10 * np.log10((float(edge.mean()) + 1e-20) / float(loudest))
        if edge_db > EDGE_DB or (short and distance <= TOUCH_SAMPLES and edge_db > FAINT_EDGE_DB):
            return name
    return None

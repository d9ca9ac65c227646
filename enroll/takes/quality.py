"""A recording -> the takes in it, or the named reason why it cannot be one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES, MAX_SPEECH_SAMPLES, locate_speech
from earmark.engine.spotting import Wakes, find_wakes

from . import measure
from .measure import Sound, dbfs, level_change_db, voicing, without_clicks

PAD_SAMPLES = RATE_HZ // 2  # silence around a recording: a tightly cut one must be heard as it would be in a room
MAX_PHRASE_SAMPLES = 4 * RATE_HZ  # of any-phrase takes: longer is a sentence, not a wake word

# Of takes. Chosen on the people of fold 0 of asc and dsp; docs/research/quality.md (scripts/studies/quality.py) has
# both.
CLIPPED_SHARE = 0.03  # of the speech; of dsp 1 clip in 100 has 2.6 %
QUIET_DBFS = -42.0  # RMS of the speech; of asc 1 clip in 100 is below −26 dBFS, of dsp below −34
MIN_SNR_DB = 9.0  # of asc and dsp 1 clip in 100 is below 12 and 19 dB, with lasting noise at 0 dB 1 in 20 above 8
HOARSE_SNR_DB, HOARSE_VOICING = 15.0, 0.75  # below both, noise lies over the vowels: no good clip of 930
UNVOICED = 0.5  # a quiet sound without any vowel is no word; 1 good clip of 930 has none
BOTH_EDGES_DB = -15.0  # of the loudest: as loud at both ends of the recording, it is no word that is cut twice
SOUND_EDGE_DB = -25.0  # sound is there at an end of the recording, …
LONG_SHARE = 2.2  # … and it goes on for so many times what the takes before have, no good clip of 930, …
NOISY_SHARE, NOISY_VOICING = 1.4, 0.9  # … or, without clear vowels, for so many: 3 good clips of 930
EDGE_DB = -12.0  # so loud at an end of the recording, the word goes on outside, …
WHOLE_SHARE = 1.25  # … unless there is more than a word already: then it is noise
CUT_SHARE = 1.1  # no more than a word is there: what is loud at an end is it, and not noise, which adds to it
SHORT_SHARE = 0.9  # shorter than the takes before, …
FADING_EDGE_DB, ABOVE_FLOOR_DB = -30.0, 12.0  # … and not faded out at an end: half a word's tail
TOUCH_SAMPLES = RATE_HZ * 30 // 1000  # speech that comes so near to an end may be cut; …
FAINT_EDGE_DB = -60.0  # … if there is anything at all at that end, …
TOUCH_SHARE = 0.8  # … and it is shorter than this share of the takes before: so is 1 whole take in 10
GAP_SAMPLES, GAP_SHARE = RATE_HZ // 10, 0.65  # or may be cut in the silence of a stop, if so much is missing
UNHEARD_ABOVE_FLOOR_DB = 20.0  # at an end: "alexa" without its beginning has it in 4 of 5, other words in 1 of 60
UNLIKE_SCORE = 0.15  # of 323 other words 2 score more, of 76 "alexa" clipped by 12 dB or at −65 dBFS none less
DROWNED_SNR_DB = 0.0  # noise louder than the word may hide it from the network
OTHERS_QUIET_DBFS = -60.0  # of other people, who may be far: 41 dB above the rounding noise of 16 bits (−101 dBFS)
# A copy has 1.000. Of 5,370 pairs of real takes on fold 0 the most alike had 0.95 (not repeatable: no script).
SAME_COSINE = 0.998

# Of others. In 1.2 s of speech the loud tenth of 30 ms frames lies 7 dB or more above the quiet tenth (480 pieces of
# sentences, 180 clips of words), in rain, a tap, dishes, a train or an engine 1 to 3 dB.
LEVEL_CHANGE_DB = 6.0
PAUSE_DB = 25.0  # a piece so far below the loudest of its recording is a pause
MAX_PIECES = 200  # of one recording: four minutes; of a longer one every second, third … piece
OWN_VOICE_COSINE = 0.68  # to the mean of the takes; docs/research/thresholds.md has whose words lie above it

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
    crop: Int16 = field(compare=False)
    """(n,) int16: what the detector would cut out, with silence around the speech."""
    keyword_score: float | None
    """Mean probability when the network fired; None with any phrase."""
    level_dbfs: float = 0.0
    """RMS of the speech."""
    snr_db: float = 0.0
    """Speech to noise, in the crop or to the room, whichever is worse."""
    speech_samples: int = 0
    """How long it is, from the first sound to the last."""
    active_samples: int = 0
    """How long it is loud, `Sound.active_samples`."""


@dataclass(frozen=True)
class Limits:
    """What a take must keep to."""

    clipped_share: float = CLIPPED_SHARE
    quiet_dbfs: float = QUIET_DBFS
    min_snr_db: float = MIN_SNR_DB
    cut: bool = True
    """Whether one that the recording cuts, or that has other sounds around it, is refused."""


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
    active_samples: tuple[int, ...] = ()
    """How long each is loud."""

    def shares(self, sound: Sound) -> tuple[float, float] | None:
        """How long a sound is, and how long it is loud, of what the takes before are; None: nobody knows yet."""
        if not self.speech_samples:
            return None
        usual = float(np.median(self.speech_samples)), float(np.median(self.active_samples))
        return sound.length / max(usual[0], 1), sound.active_samples / max(usual[1], 1)


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
        return [_not_heard(samples, file, keyword, float(wakes.mean_scores.max()), context)]
    found = []
    for crop, candidate in zip(wakes.crops, wakes.candidates):
        end = candidate.sample - PAD_SAMPLES  # in the recording, which may begin or end within the crop
        bounds = max(0, end - CROP_SAMPLES), min(len(samples), end)
        found.append(_judged(Take(file, crop, candidate.score), bounds, samples, context))
    return found


def _not_heard(samples: Int16, file: str, keyword: KeywordNetwork, score: float, context: Context) -> Fault:
    """Why the network did not fire: a fault that keeps it from doing so, or because it was another word.

    It hears its word at −65 dBFS, or clipped by 12 dB, as well as any other time, so these explain nothing where it
    saw no likeness at all; a word of which half is missing, or which noise drowns, has none.
    """
    whole = _judged(Take(file, samples, 0.0), (0, len(samples)), samples, context)
    if isinstance(whole, Take) or whole.reason in ("clipped", "too_quiet"):
        cut = _unfaded(samples, context) if context.limits.cut else None
        whole = Fault(file, "cut_off", cut) if cut else whole
    besides = ""
    if isinstance(whole, Fault):
        drowned = whole.reason == "too_noisy" and Sound.of(samples, context.room).snr_db < DROWNED_SNR_DB
        if score >= UNLIKE_SCORE or drowned or whole.reason in ("nothing_said", "cut_off"):
            return whole
        besides = f"; besides, {whole.detail}"
    name, cutoff = keyword.manifest.name, keyword.manifest.probability_cutoff
    detail = f"{name} scored {score:.2f} at best, it fires above {cutoff:.2f}{besides}"
    return Fault(file, "keyword_not_heard", detail)


def spoken_samples(samples: Int16, room: Float32 | None) -> int:
    """How long is spoken in (n,) int16, long pauses left out; 0 where noise hides it."""
    try:
        sound = Sound.of(samples, room)
    except AudioError:
        return 0
    return measure.spoken_samples(samples) if sound.snr_db >= MIN_SNR_DB else 0


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
    if level_change_db(piece) < LEVEL_CHANGE_DB:
        return -np.inf
    return dbfs(piece[start:end])


def own_crops(embeddings: Float32, centroid: Float32) -> npt.NDArray[np.bool_]:
    """Which of (m, 192) crops of others are the owner's, by their cosine to the (192,) mean of the takes.

    The wake word is recognised so; other words by the same person mostly are not.
    """
    return embeddings @ centroid >= OWN_VOICE_COSINE


def _wakes(samples: Int16, keyword: KeywordNetwork) -> Wakes:
    return find_wakes(np.pad(samples, PAD_SAMPLES), keyword)


def _judged(take: Take, bounds: tuple[int, int], recording: Int16, context: Context) -> Take | Fault:
    """The take with its figures, or the fault of it that causes the others.

    Args:
        take: its crop may have silence around what was recorded.
        bounds: of the crop in the recording.
        recording: (n,) int16.
        context: what is known before.
    """
    limits, heard = context.limits, recording[slice(*bounds)]
    if limits.cut:
        first, last = without_clicks(heard)
        bounds = bounds[0] + first, bounds[0] + last
        heard = heard[first:last]
        if take.keyword_score is None:
            take = replace(take, crop=heard)
    try:
        sound = Sound.of(heard, context.room)
    except AudioError as error:
        return Fault(take.file, "nothing_said", str(error).removeprefix("nothing said: "))
    at_edges = bounds[0] == 0, bounds[1] == len(recording)
    fault = _fault(sound, at_edges, take.keyword_score is None, context)
    if fault is not None:
        return Fault(take.file, *fault)
    return replace(
        take,
        level_dbfs=sound.level_dbfs,
        snr_db=sound.snr_db,
        speech_samples=sound.length,
        active_samples=sound.active_samples,
    )


def _fault(sound: Sound, at_edges: tuple[bool, bool], whole: bool, context: Context) -> tuple[str, str] | None:
    """Reason and detail; `at_edges`: whether it begins and ends with the recording, `whole`: it is one phrase."""
    limits, shares = context.limits, context.shares(sound)
    edges_db = [level if is_edge else -np.inf for level, is_edge in zip(sound.edges_db, at_edges)]
    too_quiet = f"the speech is at {sound.level_dbfs:.0f} dBFS, at least {limits.quiet_dbfs:.0f} needed"
    too_noisy = f"the speech is {sound.snr_db:.1f} dB above the noise, at least {limits.min_snr_db:.0f} needed"
    if sound.clipped_share > limits.clipped_share:
        return "clipped", f"{100 * sound.clipped_share:.1f} % of the samples are at full scale"
    cut = _cut(sound, edges_db, shares) if limits.cut else None
    if cut and shares and shares[1] < CUT_SHARE:  # what is left may be quiet, and the pauses may be gone
        return "cut_off", cut
    if sound.snr_db < limits.min_snr_db:
        if sound.is_room:
            return "nothing_said", "there is only the noise of the room in it"
        return "too_noisy", too_noisy
    if sound.level_dbfs < limits.quiet_dbfs:
        if voicing(sound.samples) < UNVOICED:
            return "nothing_said", "there is no voice in it"
        return "too_quiet", too_quiet
    if whole and sound.length > MAX_PHRASE_SAMPLES:
        return "too_long", f"{sound.length / RATE_HZ:.1f} s of speech, at most 4 s"
    noise = _noise_around(sound, edges_db, shares) if limits.cut else None
    if noise:
        return "too_noisy", noise
    return ("cut_off", cut) if cut else None


def _noise_around(sound: Sound, edges_db: list[float], shares: tuple[float, float] | None) -> str | None:
    """What is heard of noise that the pauses of a take do not show, because it comes and goes."""
    if sound.snr_db < HOARSE_SNR_DB and voicing(sound.samples) < HOARSE_VOICING:
        return f"the speech is {sound.snr_db:.1f} dB above the noise, and its vowels are not clear"
    if min(edges_db) > BOTH_EDGES_DB:
        return "it is as loud before and after the word"
    if shares is None or max(edges_db) <= SOUND_EDGE_DB:
        return None
    long = f"there is sound for {shares[1]:.1f} times as long as in the takes before"
    if max(edges_db) > EDGE_DB and shares[1] > WHOLE_SHARE:
        return long
    if shares[1] > LONG_SHARE or (shares[1] > NOISY_SHARE and voicing(sound.samples) < NOISY_VOICING):
        return long
    return None


def _cut(sound: Sound, edges_db: list[float], shares: tuple[float, float] | None) -> str | None:
    """At which end the word goes on outside, in words; None: at neither."""
    distances = sound.start, len(sound.samples) - sound.end
    for name, edge_db, distance in zip(("begins", "ends"), edges_db, distances):
        if edge_db > EDGE_DB or (shares is not None and _cut_short(sound, edge_db, distance, *shares)):
            return f"the recording {name} within the word"
    return None


def _unfaded(samples: Int16, context: Context) -> str | None:
    """At which end a recording in which no network heard its word begins or ends amid sound; None: at neither."""
    first, last = without_clicks(samples)
    sound = Sound.of(samples[first:last], context.room)
    distances = first + sound.start, len(samples) - first - sound.end
    for name, edge_db, distance in zip(("begins", "ends"), sound.edges_db, distances):
        if distance == 0 and edge_db > max(FADING_EDGE_DB, sound.floor_db + UNHEARD_ABOVE_FLOOR_DB):
            return f"the recording {name} within the word"
    return None


def _cut_short(sound: Sound, edge_db: float, distance: int, length_share: float, active_share: float) -> bool:
    """Whether the word is cut at an edge where it is soft: it is shorter than the takes before."""
    if active_share < SHORT_SHARE and distance == 0:
        return edge_db > max(FADING_EDGE_DB, sound.floor_db + ABOVE_FLOOR_DB) or (
            length_share < TOUCH_SHARE and edge_db > FAINT_EDGE_DB
        )
    if length_share < TOUCH_SHARE and distance <= TOUCH_SAMPLES:
        return edge_db > FAINT_EDGE_DB
    return max(length_share, active_share) < GAP_SHARE and distance <= GAP_SAMPLES and edge_db > FAINT_EDGE_DB

"""A recording -> the takes in it, or the named reason why it cannot be one. What is no good take: `rules.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES
from earmark.engine.settings.policy import NEUTRAL, Policy, sensitivity_for
from earmark.engine.spotting import Wakes, find_wakes

from . import rules, words
from .figures import Figures
from .measure import Sound
from .rules import Limits

PAD_SAMPLES = RATE_HZ // 2  # silence around a recording: a tightly cut one must be heard as it would be in a room

NEARLY = "that is nearly heard: "
NEARLY_SHARE = 0.3  # of the cutoff: the loosest at which a known voice wakes it (training/loose_cutoff.py)


@dataclass(frozen=True)
class Take:
    """One utterance of the wake word."""

    file: str
    analysis: Analysis = field(compare=False)
    """Of what the detector would cut out, with silence around the speech."""
    keyword_score: float | None
    """Mean probability when the network fired; None with any phrase."""
    level_dbfs: float = 0.0
    """RMS of the speech."""
    worst_snr_db: float = 0.0
    """`Sound.worst_snr_db`, of what was recorded."""
    speech_samples: int = 0
    """How long it is, from the first sound to the last."""
    active_samples: int = 0
    """How long it is loud, `Sound.active_samples`."""

    @property
    def crop(self) -> Int16:
        """(n,) int16: what the speaker network is given."""
        return self.analysis.samples

    @property
    def speech(self) -> Int16:
        """(n,) int16: what is said in it; nothing where its sound was not kept."""
        return self.crop[slice(*self.analysis.bounds)] if len(self.crop) else self.crop


@dataclass(frozen=True)
class Context:
    """What is known before a take."""

    limits: Limits = field(default_factory=Limits)
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
        return sound.length_samples / max(usual[0], 1), sound.active_samples / max(usual[1], 1)


@dataclass(frozen=True)
class Fault:
    """Why a recording, or a take in it, is not used."""

    file: str
    reason: str
    """One of the keys of `words.WORDS`."""
    detail: str
    """The figures."""

    @property
    def hint(self) -> str:
        """What helps a voice that was nearly heard, out of the figures; empty: it was not."""
        _, nearly, what = self.detail.partition(NEARLY)
        return nearly + what

    def __str__(self) -> str:
        return self.told()

    def told(self, word: str = words.WAKE_WORD, name: str = words.PERSON) -> str:
        """Of a recording, for people: what it is and what to do, without figures."""
        said = words.spoken(words.WORDS[self.reason].file, word, name) or self.detail
        return f"{self.file}: {said}" + (f"; {self.hint}" if self.hint else "")

    def figures(self) -> str:
        """The reason and the figures, for whoever wants to know it exactly."""
        return f"{self.reason}: {self.detail}"


def find_takes(
    samples: Int16,
    file: str,
    keyword: KeywordNetwork | None,
    context: Context = Context(),
) -> list[Take | Fault]:
    """All utterances of the wake word in (n,) int16; with `keyword=None` the recording is one take of any phrase.

    The same frontend, network, decision and crop as the detector's, so that what is enrolled is what is verified.
    """
    return _found(Sound.of(samples, context.room), file, keyword, context)[0]


def takes_in_pieces(
    pieces: Iterable[Int16], file: str, keyword: KeywordNetwork | None, context: Context = Context()
) -> Iterator[Take | Fault]:
    """`find_takes` in the pieces of one recording, (n,) int16 each.

    Pieces in which no wake word is heard are no faults where one is heard in another piece; else there is one fault.
    """
    fired = False
    unheard: list[Take | Fault] = []
    for number, piece in enumerate(pieces):
        if number and keyword is None:
            unheard = [Fault(file, "too_long", "more than a minute, which cannot be one phrase")]
            break
        found, fires = _found(Sound.of(piece, context.room), file, keyword, context)
        fired |= fires
        if fires:
            yield from found
        else:
            unheard += found
    if not fired:
        loud = [fault for fault in unheard if isinstance(fault, Take) or fault.reason != "nothing_said"]
        yield from [*loud, *unheard][:1]


def only_take(
    samples: Int16,
    file: str,
    keyword: KeywordNetwork | None,
    context: Context = Context(),
) -> Take | Fault:
    """The one utterance in (n,) int16: of several that are good the last, and none of a sentence around the word."""
    recording = Sound.of(samples, context.room)
    found, _ = _found(recording, file, keyword, context)
    good = [take for take in found if isinstance(take, Take)]
    fault = next((fault for fault in found if isinstance(fault, Fault)), None)
    if keyword is not None and (fault is None or fault.reason not in ("nothing_said", "clipped")):
        long = _sentence(recording)
        if long is not None:
            return Fault(file, rules.SENTENCE.reason, long)
    return good[-1] if good or fault is None else fault


def crops(samples: Int16, keyword: KeywordNetwork | None) -> list[Int16]:
    """What the detector would give to the speaker network of (n,) int16 without offset; with `keyword=None` all."""
    return [samples] if keyword is None else wakes_in(samples, keyword).crops


def wakes_in(samples: Int16, keyword: KeywordNetwork, sensitivity: float = NEUTRAL) -> Wakes:
    """Where the network fires in (n,) int16 with silence around it, by which positions are shifted."""
    return find_wakes(np.pad(samples, PAD_SAMPLES), keyword, _cutoff(keyword, sensitivity))


def _cutoff(keyword: KeywordNetwork, sensitivity: float) -> float:
    return Policy(sensitivity=sensitivity).cutoff(keyword.manifest.name, keyword.manifest.probability_cutoff)


def _found(
    recording: Sound, file: str, keyword: KeywordNetwork | None, context: Context
) -> tuple[list[Take | Fault], bool]:
    """The takes in a recording, or what is wrong with it; and whether the network fired."""
    samples = recording.samples
    if not np.any(samples):
        return [Fault(file, "nothing_said", f"all samples are {recording.offset or 'zero'}")], False
    if keyword is None:
        take = Take(file, recording, None)
        return [_judged(take, *_without_clicks(recording, recording, 0, context), context)], False
    wakes = wakes_in(samples, keyword, context.limits.sensitivity)
    if not wakes.candidates:
        return [_not_heard(recording, file, keyword, float(wakes.mean_scores.max()), context)], False
    found = []
    for crop, candidate in zip(wakes.crops, wakes.candidates):
        end = candidate.sample - PAD_SAMPLES  # in the recording, which may begin or end within the crop
        start = max(0, end - CROP_SAMPLES)
        heard = recording.part(start, min(len(samples), end))
        take = Take(file, heard if len(heard.samples) == len(crop) else Analysis(crop), candidate.score)
        found.append(_judged(take, *_without_clicks(heard, recording, start, context), context))
    return found, True


class Unheard(NamedTuple):
    """A recording in which no network heard its word: the figures of `rules.ANOTHER_WORD`."""

    name: str
    """Of the word."""
    score: float
    """The highest mean probability."""
    cutoff: float
    """Above which the network fires."""


def _not_heard(recording: Sound, file: str, keyword: KeywordNetwork, score: float, context: Context) -> Fault:
    """Why the network did not fire: a fault that keeps it from doing so, or because it was another word.

    It hears its word at −65 dBFS, or clipped by 12 dB, as well as any other time, so these explain nothing where it
    saw no likeness at all; a word of which half is missing, or which noise drowns, has none.
    """
    sound, at_edges = _without_clicks(recording, recording, 0, context)
    whole = _judged(Take(file, recording, 0.0), sound, at_edges, context)
    if isinstance(whole, Take) or whole.reason in ("clipped", "too_quiet"):
        cut = rules.first_broken(_at_both_ends(sound, at_edges, False, context), context.limits, [rules.UNHEARD])
        whole = Fault(file, *cut) if cut else whole
    unheard = Unheard(keyword.manifest.name, score, _cutoff(keyword, context.limits.sensitivity))
    besides = ""
    if isinstance(whole, Fault):
        drowned = whole.reason == rules.DROWNED.reason and rules.DROWNED.broken(recording)
        if drowned or whole.reason in ("nothing_said", "cut_off") or not rules.ANOTHER_WORD.broken(unheard):
            return whole
        besides = f"; besides, {whole.detail}"
    nearly = _nearly(unheard, keyword.manifest.probability_cutoff)
    detail = rules.ANOTHER_WORD.told(unheard) + besides + (f"; {nearly}" if nearly else "")
    return Fault(file, rules.ANOTHER_WORD.reason, detail)


def _nearly(unheard: Unheard, published: float) -> str:
    """What helps a voice that the network hears, and not surely: high ones, children's, a far one."""
    needed = sensitivity_for(unheard.score, published)
    if unheard.score < NEARLY_SHARE * published or needed is None:
        return ""
    return f"{NEARLY}come closer, or enrol with --sensitivity {needed:.2g}, which hears this voice"


def _sentence(recording: Sound) -> str | None:
    """How long a sentence is around the word; None: there is none, or noise hides it."""
    figures = Figures(recording, "begins", (True, True), False, None)
    try:
        return rules.SENTENCE.told(figures) if rules.SENTENCE.broken(figures) else None
    except AudioError:
        return None


def _judged(take: Take, sound: Sound, at_edges: tuple[bool, bool], context: Context) -> Take | Fault:
    """The take with its figures, or the fault of it that causes the others.

    Args:
        take: its crop may have silence around what was recorded.
        sound: what was recorded of it.
        at_edges: whether that begins, and ends, where the recording does.
        context: what is known before.
    """
    is_phrase = take.keyword_score is None
    try:
        fault = rules.first_broken(_at_both_ends(sound, at_edges, is_phrase, context), context.limits)
    except AudioError as error:
        return Fault(take.file, "nothing_said", str(error).removeprefix("nothing said: "))
    if fault is not None:
        return Fault(take.file, *fault)
    return replace(
        take,
        analysis=sound if is_phrase else take.analysis,
        level_dbfs=sound.level_dbfs,
        worst_snr_db=sound.worst_snr_db,
        speech_samples=sound.length_samples,
        active_samples=sound.active_samples,
    )


def _without_clicks(heard: Sound, recording: Sound, start: int, context: Context) -> tuple[Sound, tuple[bool, bool]]:
    """What was heard from `start` of the recording on, and whether that begins, and ends, where the recording does.

    A click at its start or end is left out, unless takes are used as they are.
    """
    first, last = heard.without_clicks() if context.limits.cut else (0, len(heard.samples))
    return heard.part(first, last), (start + first == 0, start + last == len(recording.samples))


def _at_both_ends(
    sound: Sound, at_edges: tuple[bool, bool], is_phrase: bool, context: Context
) -> tuple[Figures, Figures]:
    """The figures at the start and at the end; raises AudioError where nothing is said."""
    shares = context.shares(sound)
    begins, ends = (Figures(sound, end, at_edges, is_phrase, shares) for end in ("begins", "ends"))
    return begins, ends

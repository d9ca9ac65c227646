"""When a recording is no good take: a table of rules, each limit with its unit, its reason and where it was measured.

The first rule that a sound breaks gives its reason, so the order says which cause wins over which symptom:

1. **clipped**: what is at full scale has a wrong spectrum, and no other figure of it can be trusted.
2. **cut_off, of no more than a word**: half a word is quieter than the whole, and the pauses that show the noise may
   be gone. So it comes before the rules that judge level and noise.
3. **nothing_said before too_noisy and before too_quiet**: a room without a word is noisy, or quiet, as well.
4. **too_noisy before too_quiet**: in a noisy room coming closer helps, a higher gain does not.
5. **too_long**: whoever says a sentence is not told about the noise between its words.
6. **too_noisy by noise that comes and goes**: it fills the ends and the pauses, so it is no cut.
7. **cut_off, whatever else**: what is loud at an end, and was not called noise until here.

After them come rules that know more: of a wake word's network, of the whole recording, of the takes before.

How often each reason is given rightly is in docs/research/quality.md, which scripts/studies/quality.py writes; `row`
is the fault that is planted there. The limits were chosen on the people of fold 0 of asc and dsp, with 930 good
takes, or on the takes of `alexa` where they need a wake word. Takes that a reason counts were counted for that
choice: not repeatable, for no script counts them again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.engine.settings.policy import NEUTRAL

from .figures import Figures

CLIPPED_SHARE = 0.03
QUIET_DBFS = -42.0
MIN_SNR_DB = 9.0
SAME_COSINE = 0.998
OTHERS_QUIET_DBFS = -60.0  # of other people, who may be far: 41 dB above the rounding noise of 16 bits (−101 dBFS)


@dataclass(frozen=True)
class Limits:
    """What a take must keep to; the rest of the table is the same for everybody."""

    clipped_share: float = CLIPPED_SHARE
    quiet_dbfs: float = QUIET_DBFS
    min_snr_db: float = MIN_SNR_DB
    cut: bool = True
    """Whether one that the recording cuts, or that has other sounds around it, is refused."""
    sensitivity: float = NEUTRAL
    """At which the keyword network hears the wake word, as `Policy.sensitivity`."""


AS_THEY_ARE = Limits(clipped_share=0.08, quiet_dbfs=OTHERS_QUIET_DBFS, min_snr_db=-np.inf, cut=False)
"""For lists that are measured: nobody can say a take again, and only what cannot be used is left out."""


@dataclass(frozen=True)
class Condition:
    """One figure on one side of its limit."""

    figure: str
    """An attribute of what is judged: of `Figures`, but for `COPY` and `ANOTHER_WORD`."""
    sign: str
    """`>`, `<`, `≤` or `≥`."""
    limit: float
    unit: str
    field: str = ""
    """Of `Limits`, which replaces the limit; empty: nothing does."""

    def limit_in(self, limits: Limits) -> float:
        """The limit that counts."""
        return float(getattr(limits, self.field)) if self.field else self.limit

    def holds(self, figures: Any, limits: Limits) -> bool:
        """Not where the figure is unknown."""
        value = getattr(figures, self.figure)
        return value is not None and _SIGNS[self.sign](value, self.limit_in(limits))


_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "≤": operator.le,
    "≥": operator.ge,
}


@dataclass(frozen=True)
class Rule:
    """One way to be no good take."""

    name: str
    reason: str
    """One of the keys of `words.WORDS`."""
    conditions: tuple[Condition, ...]
    """It is broken where all of them hold. The first is what it is about."""
    why: str
    row: str
    """Of docs/research/quality.md."""
    test: str
    """With sound, in tests/enroll/takes; tests/enroll/takes/test_rules.py tries every limit of every rule."""
    detail: str
    """For people: a format with the figures as `f` and the first limit as `limit`."""
    around: bool = False
    """It looks at the ends of the recording, or at what is heard besides: only where `Limits.cut`."""

    def broken(self, figures: Any, limits: Limits = Limits()) -> bool:
        """Whether all of its conditions hold."""
        return (limits.cut or not self.around) and all(one.holds(figures, limits) for one in self.conditions)

    def told(self, figures: Any, limits: Limits = Limits()) -> str:
        """The detail with its figures."""
        return self.detail.format(f=figures, limit=self.conditions[0].limit_in(limits))


def first_broken(figures: Sequence[Figures], limits: Limits, rules: Sequence[Rule] = ()) -> tuple[str, str] | None:
    """Reason and detail of the first rule that is broken at either end; None: none is."""
    for rule in rules or RULES:
        for each in figures:
            if rule.broken(each, limits):
                return rule.reason, rule.told(each, limits)
    return None


_DB, _TIMES = "dB", "×"
_TOO_NOISY = Condition("worst_snr_db", "<", MIN_SNR_DB, _DB, "min_snr_db")
_TOO_QUIET = Condition("level_dbfs", "<", QUIET_DBFS, "dBFS", "quiet_dbfs")
_LOUD_END = Condition("edge_db", ">", -12.0, _DB)
_SOUND_AT_END = Condition("edge_db", ">", -25.0, _DB)
_ANYTHING_AT_END = Condition("edge_db", ">", -60.0, _DB)
_NO_MORE_THAN_A_WORD = Condition("active_share", "<", 1.1, _TIMES)
_SHORTER = Condition("length_share", "<", 0.8, _TIMES)
_TOUCHES = Condition("distance_ms", "≤", 30.0, "ms")

_BEGINS, _ENDS = "begins within the word", "ends within the word"
_WITHIN = "the recording {f.end} within the word"
_LONG = "there is sound for {f.active_share:.1f} times as long as in the takes before"
_NOISY = "the speech is {f.worst_snr_db:.1f} dB above the noise, at least {limit:.0f} needed"

RULES = (
    Rule(
        "clipped",
        "clipped",
        (Condition("clipped_share", ">", CLIPPED_SHARE, "of the speech", "clipped_share"),),
        why="A microphone that is driven too far adds overtones that no voice has; of dsp 1 clip in 100 has 2.6 %.",
        row="clipped: peaks 12 dB above full scale",
        test="test_what_is_at_full_scale_is_clipped_whatever_else_it_is",
        detail="{f.clipped_percent:.1f} % of the samples are at full scale",
    ),
    Rule(
        "short_and_loud_at_an_end",
        "cut_off",
        (_LOUD_END, _NO_MORE_THAN_A_WORD),
        why="Where no more than a word is there, what is loud at an end is the word and not noise, which adds to it.",
        row=_BEGINS,
        test="test_a_word_that_ends_in_a_loud_vowel_is_cut_before_it_is_quiet",
        detail=_WITHIN,
        around=True,
    ),
    Rule(
        "short_and_not_faded_out",
        "cut_off",
        (
            Condition("active_share", "<", 0.9, _TIMES),
            Condition("distance_ms", "≤", 0.0, "ms"),
            Condition("edge_db", ">", -30.0, _DB),
            Condition("edge_above_floor_db", ">", 12.0, _DB),
        ),
        why="A word that is cut where it is soft is shorter than before, and its end stands above the room.",
        row=_ENDS,
        test="test_a_word_with_a_pause_in_it_is_as_long_as_before_though_its_end_is_missing",
        detail=_WITHIN,
        around=True,
    ),
    Rule(
        "shorter_and_at_an_end",
        "cut_off",
        (_SHORTER, _TOUCHES, _ANYTHING_AT_END, _NO_MORE_THAN_A_WORD),
        why="Speech that comes so near to an end, and is shorter than before, is cut; so is 1 whole take in 10.",
        row=_ENDS,
        test="test_speech_that_ends_just_before_the_recording_is_cut_before_it_is_quiet",
        detail=_WITHIN,
        around=True,
    ),
    Rule(
        "cut_in_a_stop",
        "cut_off",
        (
            Condition("length_share", "<", 0.65, _TIMES),
            Condition("active_share", "<", 0.65, _TIMES),
            Condition("distance_ms", "≤", 100.0, "ms"),
            _ANYTHING_AT_END,
        ),
        why="A word may be cut in the silence of a stop, as before the b of nabu, if so much of it is missing.",
        row=_ENDS,
        test="test_a_word_cut_in_the_silence_of_a_stop_is_cut_though_nothing_is_heard_at_its_end",
        detail=_WITHIN,
        around=True,
    ),
    Rule(
        "only_the_room",
        "nothing_said",
        (_TOO_NOISY, Condition("above_room_db", "<", 5.0, _DB)),
        why="Lasting noise alone rises so far above what it was in 1 of 5, with a word at 0 dB in 24 of 25.",
        row="nobody speaks, lasting noise but music, the room was measured",
        test="test_the_room_alone_is_nobody_and_a_word_in_it_is_noisy",
        detail="there is only the noise of the room in it",
    ),
    Rule(
        "only_steady_noise",
        "nothing_said",
        (_TOO_NOISY, Condition("steady_db", "<", 3.0, _DB)),
        why="Rain, a tap and an engine have 1 to 3 dB, any word more; it is asked where no room was measured.",
        row="0 dB SNR, lasting noise",
        test="test_steady_noise_alone_is_nobody_where_no_room_was_measured",
        detail="there is only the noise of the room in it",
    ),
    Rule(
        "noise",
        "too_noisy",
        (_TOO_NOISY,),
        why="1 good clip in 100 of asc is below 12 dB, of dsp below 19; in lasting noise at 0 dB 1 in 20 is above 8.",
        row="0 dB SNR, lasting noise",
        test="test_the_room_alone_is_nobody_and_a_word_in_it_is_noisy",
        detail=_NOISY,
    ),
    Rule(
        "quiet_without_a_voice",
        "nothing_said",
        (_TOO_QUIET, Condition("voicing", "<", 0.5, "of the power")),
        why="A quiet sound without any vowel, such as a knock, is no word; 1 good clip of 930 has none.",
        row="30 dB quieter",
        test="test_a_quiet_sound_without_a_voice_is_nobody",
        detail="there is no voice in it",
    ),
    Rule(
        "quiet",
        "too_quiet",
        (_TOO_QUIET,),
        why="1 clip in 100 of asc is below −26 dBFS, of dsp below −34: so quiet is a microphone that is not open.",
        row="30 dB quieter",
        test="test_a_quiet_sound_without_a_voice_is_nobody",
        detail="the speech is at {f.level_dbfs:.0f} dBFS, at least {limit:.0f} needed",
    ),
    Rule(
        "sentence_of_any_phrase",
        "too_long",
        (Condition("phrase_s", ">", 4.0, "s"),),
        why="What takes longer is a sentence and no wake word; of it the speaker network hears 1.3 s.",
        row="three takes in one",
        test="test_a_phrase_is_too_long_from_four_seconds_on",
        detail="{f.phrase_s:.1f} s of speech, at most {limit:.0f} s",
    ),
    Rule(
        "noise_over_the_vowels",
        "too_noisy",
        (Condition("worst_snr_db", "<", 15.0, _DB), Condition("voicing", "<", 0.75, "of the power")),
        why="Noise that lies over the vowels alone leaves the pauses clean; no good clip of 930 is below both.",
        row="0 dB SNR, passing noise",
        test="test_noise_over_the_vowels_is_named_where_pauses_are_clean",
        detail="the speech is {f.worst_snr_db:.1f} dB above the noise, and its vowels are not clear",
        around=True,
    ),
    Rule(
        "loud_at_both_ends",
        "too_noisy",
        (Condition("quieter_edge_db", ">", -15.0, _DB),),
        why="What is as loud at both ends of the recording is no word that is cut twice.",
        row="0 dB SNR, passing noise",
        test="test_as_much_sound_as_ever_with_a_loud_end_is_noise_not_a_cut",
        detail="it is as loud before and after the word",
        around=True,
    ),
    Rule(
        "more_than_a_word_and_loud_at_an_end",
        "too_noisy",
        (Condition("active_share", ">", 1.25, _TIMES), _LOUD_END),
        why="Where more than a word is there already, what is loud at an end is noise and not the word.",
        row="0 dB SNR, passing noise",
        test="test_as_much_sound_as_ever_with_a_loud_end_is_noise_not_a_cut",
        detail=_LONG,
        around=True,
    ),
    Rule(
        "far_more_than_a_word",
        "too_noisy",
        (Condition("active_share", ">", 2.2, _TIMES), _SOUND_AT_END),
        why="Sound that goes on to an end for more than twice what the takes before have: no good clip of 930.",
        row="0 dB SNR, passing noise",
        test="test_sound_that_goes_on_for_far_more_than_a_word_is_noise",
        detail=_LONG,
        around=True,
    ),
    Rule(
        "more_than_a_word_without_clear_vowels",
        "too_noisy",
        (
            Condition("active_share", ">", 1.4, _TIMES),
            _SOUND_AT_END,
            Condition("voicing", "<", 0.9, "of the power"),
        ),
        why="Where vowels are not clear, so much more sound than before is noise already: 3 good clips of 930.",
        row="0 dB SNR, passing noise",
        test="test_sound_that_goes_on_for_more_than_a_word_is_noise_where_vowels_are_not_clear",
        detail=_LONG,
        around=True,
    ),
    Rule(
        "loud_at_an_end",
        "cut_off",
        (_LOUD_END,),
        why="So loud at an end of the recording, the word goes on outside, where no rule above has found noise.",
        row=_BEGINS,
        test="test_as_much_sound_as_ever_with_a_loud_end_is_noise_not_a_cut",
        detail=_WITHIN,
        around=True,
    ),
    Rule(
        "shorter_at_an_end_though_louder",
        "cut_off",
        (_SHORTER, _TOUCHES, _ANYTHING_AT_END),
        why="A word that is cut is shorter even where something else keeps it loud for as long as before.",
        row=_ENDS,
        test="test_a_word_cut_short_is_cut_even_where_it_is_loud_for_long",
        detail=_WITHIN,
        around=True,
    ),
)
"""Of a take, in order: the first that is broken counts."""

UNHEARD = Rule(
    "unheard_and_not_faded_out",
    "cut_off",
    (
        Condition("distance_ms", "≤", 0.0, "ms"),
        Condition("edge_db", ">", -30.0, _DB),
        Condition("edge_above_floor_db", ">", 20.0, _DB),
    ),
    why="`alexa` without its beginning stands so far above its floor at an end in 4 of 5, other words in 1 of 60.",
    row=_BEGINS,
    test="test_of_a_word_the_network_does_not_know_again_the_missing_half_is_named",
    detail=_WITHIN,
    around=True,
)
"""Of a recording in which no network heard its word, before it is called another word."""

DROWNED = Rule(
    "noise_louder_than_the_word",
    "too_noisy",
    (Condition("worst_snr_db", "<", 0.0, _DB),),
    why="Noise that is louder than the word may hide it from the network.",
    row="0 dB SNR, lasting noise",
    test="test_another_word_is_named_whatever_else_it_has",
    detail=_NOISY,
)
"""Of a noisy recording in which no network heard its word: it is not called another word."""

ANOTHER_WORD = Rule(
    "unlike_the_word",
    "keyword_not_heard",
    (Condition("score", "<", 0.15, "probability"),),
    why="Of 323 other words 2 score more, of 76 `alexa` clipped by 12 dB or at −65 dBFS none less.",
    row="another wake word",
    test="test_another_word_is_named_whatever_else_it_has",
    detail="{f.name} scored {f.score:.2f} at best, it fires above {f.cutoff:.2f}",
)
"""Of what has another fault besides; the figures are those of `quality.Unheard`."""

SENTENCE = Rule(
    "sentence_around_the_word",
    "too_long",
    (Condition("spoken_s", ">", 3.0, "s"), Condition("worst_snr_db", "≥", MIN_SNR_DB, _DB)),
    why="It is more than twice the slowest wake word; noise, which would count as speech, is told before.",
    row="a sentence of 3 s and more before it",
    test="test_a_sentence_is_too_long_whether_the_word_is_in_it_or_not",
    detail="{f.spoken_s:.1f} s of speech",
)
"""Of a whole recording that should hold one wake word."""

COPY = Rule(
    "copy",
    "same_take_twice",
    (Condition("cosine", ">", SAME_COSINE, "cosine"),),
    why="A copy has 1.000; of 5,370 pairs of real takes the most alike had 0.95.",
    row="one of the four again, 6 dB quieter",
    test="test_a_copy_of_a_take_is_named_and_a_second_take_is_not",
    detail="it is {f.file}",
)
"""Of the embeddings of two takes; the figures are those of `hearing.Pair`."""

CODED_COPY = Rule(
    "coded_copy",
    "same_take_twice",
    (Condition("likeness", ">", 0.92, "correlation"),),
    why="A copy in another coding, rate or level has 0.96 and more (GSM the least), of 709 pairs of takes none 0.85.",
    row="one of the four again, 6 dB quieter",
    test="test_one_take_in_many_codings_is_one_take",
    detail="it is {f.file}, perhaps in another coding",
)
"""Of the waveforms of two takes; the figures are those of `hearing.Pair`."""

ALL = (*RULES, UNHEARD, DROWNED, ANOTHER_WORD, SENTENCE, COPY, CODED_COPY)

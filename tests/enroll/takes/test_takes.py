"""The verdicts on takes: the cause is named, not its symptoms; and what they are measured by."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import MakeNetwork, Read, Takes

from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.takes import measure, quality, rules
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.takes.measure import Sound
from earmark.enroll.takes.quality import Context, Fault, Take
from earmark.enroll.takes.rules import AS_THEY_ARE
from earmark.enroll.training.augment import with_noise

HALF_SECOND = RATE_HZ // 2
VOICES = ("slt", "rms", "kal16", "rp_f3")


@pytest.fixture
def word(takes: Takes, read: Read, rng: np.random.Generator) -> Int16:
    """ "okay nabu" with half a second of a quiet room on both sides."""
    return in_room(read(takes("rms", "okay_nabu", "enroll")[0]), rng)


def in_room(samples: Int16, rng: np.random.Generator) -> Int16:
    padded = np.pad(samples, HALF_SECOND).astype(np.float64)
    return np.rint(padded + rng.normal(0, 5, len(padded))).astype(np.int16)


def loud_noise(length: int, level_dbfs: float, rng: np.random.Generator) -> Int16:
    return to_int16(rng.normal(0, 10 ** (level_dbfs / 20), length).astype(np.float32))


def mixed(one: Int16, other: Int16) -> Int16:
    return to_int16(to_float(one) + to_float(other))


def verdict(samples: Int16, before: Int16 | None = None, room: Int16 | None = None) -> Take | Fault:
    """Of a take of any phrase; after three like the one before, if it is given."""
    context = Context(room=None if room is None else measure.room_power(room))
    if before is not None:
        sound = Sound(before)
        context = Context(
            room=context.room, speech_samples=(sound.length_samples,) * 3, active_samples=(sound.active_samples,) * 3
        )
    return quality.find_takes(samples, "take", None, context)[0]


def reason(found: Take | Fault) -> str | None:
    return found.reason if isinstance(found, Fault) else None


def detail(found: Take | Fault) -> str:
    return found.detail if isinstance(found, Fault) else ""


# --- what is measured


def test_vowels_are_voiced_and_noise_is_not(word: Int16, rng: np.random.Generator) -> None:
    assert measure.voicing(word) > 0.9
    assert measure.voicing(to_int16(to_float(word) * 10 ** (-30 / 20))) > 0.9
    assert measure.voicing(loud_noise(RATE_HZ, -20, rng)) < 0.4
    start, end = locate_speech(word)
    assert measure.voicing(to_int16(with_noise(to_float(word[start:end]), 0.0, 0.0, rng))) < 0.8
    assert 0 <= measure.voicing(word[:100]) <= 1  # shorter than a frame


@pytest.mark.parametrize("at_start", [True, False])
def test_a_click_at_an_end_is_no_part_of_the_take(at_start: bool, word: Int16, rng: np.random.Generator) -> None:
    click = loud_noise(RATE_HZ // 20, -6, rng)
    pause = in_room(np.zeros(0, np.int16), rng)[:HALF_SECOND]
    clicked = np.concatenate([click, pause, word] if at_start else [word, pause, click])
    first, last = Sound(clicked).without_clicks()
    assert (first > len(click), last < len(clicked)) == (at_start, not at_start)
    assert last - first >= len(word)
    found = verdict(clicked, before=word)
    assert isinstance(found, Take)
    np.testing.assert_array_equal(found.crop, clicked[first:last])
    (as_it_is,) = quality.find_takes(clicked, "take", None, Context(AS_THEY_ARE))
    assert isinstance(as_it_is, Take)
    assert len(as_it_is.crop) == len(clicked)


def test_what_a_pause_does_not_part_is_no_click(word: Int16) -> None:
    start, end = locate_speech(word)
    for cut in range(start, end, RATE_HZ // 20):
        first, last = Sound(word[cut:]).without_clicks()
        assert last == len(word) - cut
        assert first == 0 or not np.any(np.abs(word[cut : cut + first]) > np.abs(word).max() // 3)
    assert Sound(word).without_clicks() == (0, len(word))


def test_pauses_are_not_spoken(word: Int16) -> None:
    once = Sound(word).spoken_samples
    apart = np.concatenate([word, np.zeros(3 * RATE_HZ, np.int16), word])
    assert once < len(word)
    assert Sound(apart).spoken_samples == pytest.approx(2 * once, abs=RATE_HZ // 20)


# --- what is said of it


@pytest.mark.parametrize("share", [0.5, 0.6])
@pytest.mark.parametrize("at_start", [True, False])
def test_half_a_word_is_cut_off_even_where_what_is_left_is_quiet(at_start: bool, share: float, word: Int16) -> None:
    start, end = locate_speech(word)
    at = start + int((1 - share if at_start else share) * (end - start))
    for gain in (1.0, 10 ** ((rules.QUIET_DBFS - 3 - measure.dbfs(word[start:end])) / 20)):
        quiet = to_int16(to_float(word) * gain)
        left = quiet[at:] if at_start else quiet[:at]
        found = verdict(left, before=quiet)
        assert (reason(found), "begins" in detail(found)) == ("cut_off", at_start)


def test_a_word_that_is_cut_where_it_is_soft_is_shorter_than_before(
    takes: Takes, read: Read, rng: np.random.Generator
) -> None:
    """It ends, or begins, some 20 dB below its loudest: too soft for its level alone to tell, too loud to be over."""
    soft = 0
    for voice in VOICES:
        word = in_room(read(takes(voice, "okay_nabu", "enroll")[0]), rng)
        start, end = locate_speech(word)
        whole = Sound(word).active_samples
        for at in range(start + (end - start) // 4, end - (end - start) // 4, RATE_HZ // 50):
            for left, edge in ((word[at:], 0), (word[:at], 1)):
                sound = Sound(left)
                if -28 < sound.edges_db[edge] < -14 and 0.2 * whole < sound.active_samples < 0.7 * whole:
                    soft += 1
                    assert (voice, at, edge, reason(verdict(left, before=word))) == (voice, at, edge, "cut_off")
                    assert reason(verdict(left)) is None
    assert soft >= 2


def test_as_much_sound_as_ever_with_a_loud_end_is_noise_not_a_cut(word: Int16, rng: np.random.Generator) -> None:
    start, end = locate_speech(word)
    level_dbfs = measure.dbfs(word[start:end])
    late = word.copy()
    late[end:] = mixed(word[end:], loud_noise(len(word) - end, level_dbfs, rng))
    assert reason(verdict(late, before=word)) == "too_noisy"
    around = late.copy()
    around[:start] = mixed(word[:start], loud_noise(start, level_dbfs, rng))
    assert reason(verdict(around)) == "too_noisy"  # without anything to compare it with: both ends are loud
    assert reason(verdict(word[: (start + end) // 2])) == "cut_off"  # one end is
    assert reason(verdict(word, before=word)) is None


def test_noise_over_the_vowels_is_named_where_pauses_are_clean(word: Int16, rng: np.random.Generator) -> None:
    start, end = locate_speech(word)
    bursts = np.zeros(len(word), np.int16)
    bursts[start:end] = loud_noise(end - start, measure.dbfs(word[start:end]) + 6, rng)
    hidden = mixed(mixed(word, bursts), loud_noise(len(word), measure.dbfs(word[start:end]) - 8, rng))
    sound = Sound(hidden)
    assert rules.MIN_SNR_DB < sound.worst_snr_db < 15
    found = verdict(hidden)
    assert reason(found) == "too_noisy"
    assert "vowels" in detail(found)


def test_the_room_alone_is_nobody_and_a_word_in_it_is_noisy(word: Int16, rng: np.random.Generator) -> None:
    start, end = locate_speech(word)
    noise = loud_noise(5 * RATE_HZ, measure.dbfs(word[start:end]), rng)
    room, later = noise[: 2 * RATE_HZ], noise[-2 * RATE_HZ :]
    assert reason(verdict(later, room=room)) == "nothing_said"
    assert reason(verdict(mixed(word, noise[: len(word)]), room=room)) == "too_noisy"
    burst = to_int16(np.clip(4 * to_float(room), -1, 1))
    assert reason(verdict(word, room=burst)) == "too_noisy"  # the noise is gone, and will be back


def test_a_quiet_sound_without_a_voice_is_nobody(word: Int16, rng: np.random.Generator) -> None:
    knock = np.zeros(RATE_HZ, np.int16)
    knock[6000:10000] = loud_noise(4000, -50, rng)
    assert reason(verdict(mixed(knock, loud_noise(RATE_HZ, -80, rng)))) == "nothing_said"
    assert reason(verdict(to_int16(to_float(word) * 10 ** (-35 / 20)))) == "too_quiet"


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_what_is_at_full_scale_is_clipped_whatever_else_it_is(
    gain: float, word: Int16, rng: np.random.Generator
) -> None:
    start, end = locate_speech(word)
    loud = to_int16(to_float(word) * (4 * 32768 / np.abs(word.astype(int)).max()))
    assert reason(verdict(loud)) == "clipped"
    assert reason(verdict(loud[: (start + end) // 2], before=word)) == "clipped"
    assert reason(verdict(mixed(loud, loud_noise(len(word), -6, rng)))) == "clipped"
    assert reason(verdict(to_int16(to_float(loud) * gain))) == ("clipped" if gain == 1 else None)


def test_steady_noise_alone_is_nobody_where_no_room_was_measured(word: Int16, rng: np.random.Generator) -> None:
    start, end = locate_speech(word)
    level_dbfs = measure.dbfs(word[start:end])
    assert reason(verdict(loud_noise(2 * RATE_HZ, level_dbfs, rng))) == "nothing_said"
    assert reason(verdict(mixed(word, loud_noise(len(word), level_dbfs, rng)))) == "too_noisy"


def test_a_phrase_is_too_long_from_four_seconds_on(word: Int16) -> None:
    start, end = locate_speech(word)
    for seconds, found in ((3.9, None), (4.1, "too_long")):
        long = np.resize(word[start:end], int((seconds - 0.1) * RATE_HZ))  # 50 ms are left around it
        padded = np.concatenate([word[:start], long, word[end:]])
        assert reason(verdict(padded)) == found


def test_a_word_cut_in_the_silence_of_a_stop_is_cut_though_nothing_is_heard_at_its_end(
    word: Int16, rng: np.random.Generator
) -> None:
    start, end = locate_speech(word)
    half = word[: start + int(0.45 * (end - start))]
    for silence_ms, found in ((140, "cut_off"), (400, None)):  # of it 50 ms count as the word's
        silence = in_room(np.zeros(0, np.int16), rng)[: silence_ms * RATE_HZ // 1000]
        assert reason(verdict(np.concatenate([half, silence]), before=word)) == found


def test_sound_that_goes_on_for_far_more_than_a_word_is_noise(word: Int16) -> None:
    """Talk that goes on to the end of the recording, 10 dB softer than the word."""
    start, end = locate_speech(word)
    soft = to_int16(to_float(word[start:end]) * 10 ** (-10 / 20))
    talk = np.concatenate([word[:end], soft, soft[: int(0.6 * len(soft))]])
    assert reason(verdict(talk, before=word)) == "too_noisy"
    assert reason(verdict(np.concatenate([talk, word[end:]]), before=word)) is None


def test_sound_that_goes_on_for_more_than_a_word_is_noise_where_vowels_are_not_clear(
    word: Int16, rng: np.random.Generator
) -> None:
    """Half as much again is what a word drawn out has as well, with clear vowels."""
    start, end = locate_speech(word)
    loudness = np.sqrt(np.convolve(to_float(word) ** 2, np.full(400, 1 / 400), "same"))
    breath = to_int16((0.6 * loudness * rng.standard_normal(len(word))).astype(np.float32))
    for said, found in ((mixed(word, breath), "too_noisy"), (word, None)):
        soft = to_int16(to_float(said[start:end]) * 10 ** (-10 / 20))
        talk = np.concatenate([said[:end], soft[: int(0.6 * len(soft))]])
        assert reason(verdict(talk, before=word)) == found


@pytest.fixture
def parts(word: Int16) -> tuple[Int16, Int16, Int16, Int16]:
    """The word to its middle, 0.1 s of the vowel that is there, the rest, and 0.3 s of the room."""
    start, end = locate_speech(word)
    middle = (start + end) // 2
    return word[:middle], word[middle - 800 : middle + 800], word[middle:], word[:4800]


Parts = tuple[Int16, Int16, Int16, Int16]


def quiet(samples: Int16) -> Int16:
    """Below the limit: what is cut is said before that."""
    return to_int16(to_float(samples) / 4)


def test_a_word_that_ends_in_a_loud_vowel_is_cut_before_it_is_quiet(word: Int16, parts: Parts) -> None:
    first, vowel, _, room = parts
    loud = np.concatenate([first, *[vowel] * 5])
    assert reason(verdict(quiet(loud), before=word)) == "cut_off"
    assert reason(verdict(quiet(np.concatenate([loud, room])), before=word)) == "too_quiet"


def test_a_word_with_a_pause_in_it_is_as_long_as_before_though_its_end_is_missing(word: Int16, parts: Parts) -> None:
    first, _, rest, room = parts
    cut = np.concatenate([first, room[:2400], rest[:4000]])
    assert reason(verdict(cut, before=word)) == "cut_off"
    assert reason(verdict(np.concatenate([cut, room]), before=word)) is None


def test_speech_that_ends_just_before_the_recording_is_cut_before_it_is_quiet(word: Int16, parts: Parts) -> None:
    first, _, rest, room = parts
    cut = np.concatenate([first, rest[:3840]])
    assert reason(verdict(quiet(np.concatenate([cut, room[:1120]])), before=word)) == "cut_off"
    assert reason(verdict(quiet(np.concatenate([cut, room])), before=word)) == "too_quiet"


def test_a_word_cut_short_is_cut_even_where_it_is_loud_for_long(parts: Parts) -> None:
    """The takes before had a pause of half a second in the word; here vowels are drawn out instead."""
    first, vowel, rest, room = parts
    before = np.concatenate([first, room, room[:3200], rest])
    short = np.concatenate([first, *[vowel] * 7])
    assert reason(verdict(np.concatenate([short, room[:800]]), before=before)) == "cut_off"
    assert reason(verdict(np.concatenate([short, room]), before=before)) is None


def test_a_copy_of_a_take_is_named_and_a_second_take_is_not(
    takes: Takes, read: Read, speaker: SpeakerNetwork
) -> None:
    first, second = (read(path) for path in takes("rms", "okay_nabu", "enroll")[:2])
    hearing = Hearing(speaker, None)
    for samples, found in ((first, []), (second, []), (to_int16(to_float(first) / 2), ["same_take_twice"])):
        assert [fault.reason for fault in hearing.take(samples, "take").faults] == found


# --- by a keyword network


def test_of_a_word_the_network_does_not_know_again_the_missing_half_is_named(
    takes: Takes, read: Read, make_network: MakeNetwork, rng: np.random.Generator
) -> None:
    network = make_network("okay_nabu")
    tried: list[str | None] = []
    for voice in VOICES:
        word = in_room(read(takes(voice, "okay_nabu", "enroll")[0]), rng)
        start, end = locate_speech(word)
        for at in range(start + (end - start) // 3, end - (end - start) // 3, RATE_HZ // 50):
            for part, edge in ((word[:at], 1), (word[at:], 0)):
                if -28 < Sound(part).edges_db[edge] < -14:
                    found = quality.find_takes(part, "take", network)[-1]
                    tried.append(reason(found))
    tried = [each for each in tried if each is not None]  # some halves are enough for the network
    assert len(tried) >= 2
    assert set(tried) == {"cut_off"}


def test_a_sentence_is_too_long_whether_the_word_is_in_it_or_not(
    takes: Takes, read: Read, make_network: MakeNetwork, speaker: SpeakerNetwork, word: Int16
) -> None:
    hearing = Hearing(speaker, make_network("okay_nabu"))
    sentence = read(takes("rms", "please turn the lights off in the kitchen", "other")[0])
    long = np.concatenate([sentence, sentence])
    assert Sound(long).spoken_samples > 3 * RATE_HZ
    for samples in (long, np.concatenate([long, word])):
        assert [fault.reason for fault in hearing.take(samples, "take").faults] == ["too_long"]
    knock = np.zeros(4 * RATE_HZ, np.int16)  # a long recording, but little is said in it
    knock[-4000:-3000] = word[np.abs(word.astype(int)).argmax()] // 2
    assert hearing.take(np.concatenate([word, knock]), "take").faults == ()


def test_another_word_is_named_whatever_else_it_has(
    takes: Takes, read: Read, make_network: MakeNetwork, rng: np.random.Generator
) -> None:
    other = in_room(read(takes("rms", "alexa", "enroll")[0]), rng)
    network = make_network("okay_nabu")
    clipped = to_int16(to_float(other) * (4 * 32768 / np.abs(other.astype(int)).max()))
    for samples, besides in ((other, ""), (clipped, "full scale"), (to_int16(to_float(other) / 60), "dBFS")):
        (found,) = quality.find_takes(samples, "take", network)
        assert reason(found) == "keyword_not_heard"
        assert besides in detail(found)
        assert ("besides" in detail(found)) == bool(besides)
    start, end = locate_speech(other)
    (cut,) = quality.find_takes(other[: (start + end) // 2], "take", network)
    assert reason(cut) == "cut_off"
    for noise_db, wanted in ((6, "too_noisy"), (-4, "keyword_not_heard")):  # the louder one may hide the right word
        noise = loud_noise(len(other) + RATE_HZ, measure.dbfs(other[start:end]) + noise_db, rng)
        context = Context(room=measure.room_power(noise[-RATE_HZ:]))
        (found,) = quality.find_takes(mixed(other, noise[: len(other)]), "take", network, context)
        assert (noise_db, reason(found)) == (noise_db, wanted)
        assert "above the noise" in detail(found)

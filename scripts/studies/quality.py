"""How well bad takes are named, on real speech with planted faults: `python scripts/studies/quality.py DATA [--only
PART…]`.

Writes docs/research/quality.md, or the named parts of it: faults, crowd, voices, two. DATA has index.csv and noise.
Each person is judged by networks and a cohort that have never heard him (`scripts/studies/folds.py`), take by take,
as a guided session does. Three minutes for faults, one for the crowd, four for voices and one for two on one core.
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import folds
import numpy as np
from heading import FOLD_NETWORKS, heading
from others import Remembering

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.enroll.takes import measure, quality, voices
from earmark.enroll.takes.hearing import Hearing
from earmark.enroll.training.augment import mixed
from earmark.enroll.training.calibrate import share_interval
from earmark.models.fold import FOLDS, fold_of

PAGE = Path(__file__).parents[2] / "docs" / "research" / "quality.md"
SETS = ("asc", "dsp")  # those with five takes of a phrase and more
SEVERAL_DAYS = "wuw"
TAKES = 5
TWO_DRAWS = 20  # of takes for each person and phrase, where two people share them
DRAWS = 3  # of five takes for each person and phrase, where voices are compared
ROOM_SAMPLES = 2 * RATE_HZ
MUSIC = ("music", "guitar", "piano")
LASTING_DB = 15.0  # a noise lasts if its loud tenth of 30 ms is no farther above its quiet tenth
WORD_DB, WORD_SHARE = -25.0, 0.1  # a cut takes something of a word if a tenth of its loud 10 ms is beyond it
FLAT_RUN, FLAT_SHARE = 3, 0.01  # three equal samples at the recording's peak are flat; of a clipped one 1 % and more
LOUD_END_DB = -12.0  # of the loudest 20 ms: a recording so loud in its first or last 20 ms begins or ends amid sound
HEADER = """\
The takes of asc and dsp, any phrase. Whoever is judged has been heard by neither networks nor cohort. A person
says a word four times; the fifth time a fault is planted, and the verdict on that take must name it. In a
guided session the room was measured; from files it is not known. In brackets is the 95 % interval of Clopper
and Pearson, over takes.

The limits in `enroll/takes/rules.py` and `enroll/takes/measure.py` were chosen on the people of fold 0, or on the
takes of `alexa` below where they need a wake word. Those of `enroll/takes/voices.py` were chosen while looking at
both folds.
"""


@dataclass
class Count:
    """Verdicts on the takes of one row."""

    named: int = 0
    otherwise: Counter[str] = field(default_factory=Counter)
    of: int = 0

    def add(self, found: str | None, wanted: str | None) -> None:
        """One verdict; None: the take is good."""
        self.of += 1
        if found == wanted:
            self.named += 1
        else:
            self.otherwise[found or "taken as good"] += 1

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.named + other.named, self.otherwise + other.otherwise, self.of + other.of)

    def share(self) -> str:
        """Share named rightly."""
        return f"{100 * self.named / self.of:.1f} of {self.of}" if self.of else "none"

    def cells(self) -> str:
        """Share named rightly with its interval, and what else was said."""
        if not self.of:
            return "none | "
        low, high = share_interval(self.named, self.of)
        rest = ", ".join(f"{reason} {count}" for reason, count in self.otherwise.most_common())
        return f"{100 * self.named / self.of:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {self.of} | {rest}"


@dataclass(frozen=True)
class Person:
    """All takes of one phrase by one person, and the hearing that judges them."""

    name: str
    fold: int
    takes: list[Int16]
    strangers: list[list[Int16]]
    """The takes of others saying the same."""
    hearing: Callable[[], Hearing]


def people(data: Path, name: str) -> Iterator[Person]:
    """Everybody of a set with five takes of a phrase or more."""
    with (data / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == name]
    said: dict[tuple[int, str], dict[str, list[Int16]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        fold = fold_of(name, row["speaker"])
        said[fold, row["phrase"]][row["speaker"]].append(read_audio(data / row["path"]))
    for fold in FOLDS:
        speaker = Remembering(folds.FOLDS_DIR / str(fold))

        def hearing(speaker=speaker) -> Hearing:  # type: ignore[no-untyped-def]
            return Hearing(speaker, None)

        for (of_fold, phrase), speakers in sorted(said.items()):
            for person, takes in sorted(speakers.items()):
                strangers = [other for who, other in speakers.items() if who != person]
                if of_fold == fold and len(takes) >= TAKES and strangers:
                    yield Person(f"{name}/{phrase}/{person}", fold, takes, strangers, hearing)


class Noises:
    """Recorded noises, those that last and those that come and go."""

    def __init__(self, data: Path) -> None:
        self.lasting: list[Int16] = []
        self.passing: list[Int16] = []
        self.music: list[int] = []
        """Which of those that last are."""
        self.last = 0
        """Which the last piece is of."""
        for path in sorted((data / "noise").rglob("*.flac")):
            noise = read_audio(path)
            frames = noise[: len(noise) // 480 * 480].reshape(-1, 480).astype(np.float64)
            quiet, loud = np.percentile(10 * np.log10(np.mean(frames**2, axis=1) + 1e-3), (10, 90))
            lasts = loud - quiet <= LASTING_DB
            (self.lasting if lasts else self.passing).append(noise)
            if lasts and any(word in path.stem for word in MUSIC):
                self.music.append(len(self.lasting) - 1)

    def piece(self, noises: list[Int16], length: int, rng: np.random.Generator) -> tuple[Int16, Int16]:
        """Two seconds of a room, and the (length,) that follow."""
        self.last = int(rng.integers(len(noises)))
        noise = noises[self.last]
        noise = np.resize(noise, max(len(noise), ROOM_SAMPLES + length))
        start = int(rng.integers(len(noise) - ROOM_SAMPLES - length + 1))
        return noise[start : start + ROOM_SAMPLES], noise[start + ROOM_SAMPLES : start + ROOM_SAMPLES + length]


def at_0_db(take: Int16, room: Int16, noise: Int16) -> tuple[Int16, Int16]:
    """Take and room with the noise as loud as the speech."""
    start, end = locate_speech(take)
    speech, level = to_float(take), to_float(np.concatenate([noise, room]))
    power = np.mean(to_float(noise)[start:end] ** 2)
    scale = np.sqrt(np.mean(speech[start:end] ** 2) / power) if power > 0 else 1.0
    heard, around = mixed(speech, to_float(noise), 0.0, start, end), level[len(noise) :] * scale
    gain = min(1.0, 0.9 / max(float(np.abs(heard).max()), 1e-6))  # or it would be clipped as well
    return to_int16(heard * gain), to_int16(around * gain)


def cut(take: Int16, at_start: bool, rng: np.random.Generator) -> Int16:
    """Without a third to a half of what is said."""
    start, end = locate_speech(take)
    margin = RATE_HZ // 20  # that `locate_speech` leaves around it
    start, end = start + margin * (start > 0), end - margin * (end < len(take))
    lost = int((end - start) * rng.uniform(1 / 3, 1 / 2))
    return take[start + lost :] if at_start else take[: end - lost]


def planted(
    person: Person, noises: Noises, rng: np.random.Generator
) -> Iterator[tuple[str, str | None, Int16, Int16 | None]]:
    """Title, reason, the fifth take with a fault, and the room where it is known."""
    take = person.takes[-1]
    peak = float(np.abs(take.astype(np.float64)).max())
    yield "clipped: peaks 12 dB above full scale", "clipped", to_int16(to_float(take) * (4 * 32768 / peak)), None
    yield "30 dB quieter", "too_quiet", to_int16(to_float(take) * 10 ** (-30 / 20)), None
    for title, kind in (("lasting noise", noises.lasting), ("passing noise", noises.passing)):
        noisy, room = at_0_db(take, *noises.piece(kind, len(take), rng))
        yield f"0 dB SNR, {title}", "too_noisy", noisy, None
        yield f"0 dB SNR, {title}, the room was measured", "too_noisy", noisy, room
    yield "begins within the word", "cut_off", cut(take, True, rng), None
    yield "ends within the word", "cut_off", cut(take, False, rng), None
    yield "one of the four again, 6 dB quieter", "same_take_twice", to_int16(to_float(person.takes[1]) / 2), None
    yield "three takes in one", "too_long", np.concatenate([*person.takes[:3], *person.takes[:3]]), None
    room, nobody = noises.piece(noises.lasting, 2 * RATE_HZ, rng)
    sort = "music" if noises.last in noises.music else "lasting noise but music"
    yield f"nobody speaks, {sort}, the room was measured", "nothing_said", nobody, room


def first_four(person: Person) -> tuple[Hearing, list[str | None]]:
    """After the takes before the last, and what was said of each."""
    hearing, reasons = person.hearing(), []
    for number, take in enumerate(person.takes[: TAKES - 1]):
        faults = hearing.take(take, f"take {number + 1}").faults
        reasons.append(faults[0].reason if faults else None)
    return hearing, reasons


def again(hearing: Hearing, room: Int16 | None) -> Hearing:
    """The same with the takes until now, which nothing changes that is said to it."""
    other = copy.copy(hearing)
    other.heard = dict(hearing.heard)
    other.room = None if room is None else measure.room_power(room)
    return other


def word_is_whole(take: Int16, left: Int16, at_start: bool) -> bool:
    """Whether a cut took nothing of the word: all but a tenth of what is loud in the take is in what is left.

    Clicks at the ends of the take, shorter than any syllable and parted from the word by a pause, do not count.
    """
    first, last = measure.Sound(take).without_clicks()
    count = len(take) // 160
    power = np.mean(take[: count * 160].reshape(count, 160).astype(np.float64) ** 2, axis=1)
    starts = np.arange(count) * 160
    inside = (starts >= first) & (starts < last)
    loud = inside & (power > power[inside].max() * 10 ** (WORD_DB / 10))
    kept = starts >= len(take) - len(left) if at_start else starts < len(left)
    return bool(np.sum(loud & ~kept) < WORD_SHARE * np.sum(loud))


def true_fault(take: Int16, others: list[Int16]) -> bool:
    """Whether a take of the corpus is clipped, begins or ends amid sound, or is a copy, by its samples alone."""
    signal = take.astype(np.float64)
    if any(len(take) == len(other) and np.array_equal(take, other) for other in others):
        return True
    peak = np.abs(signal).max()
    flat = np.abs(signal) >= 0.99 * peak
    runs = np.convolve(flat, np.ones(FLAT_RUN), "valid") == FLAT_RUN
    if runs.sum() > FLAT_SHARE * np.sum(np.abs(signal) > 0.5 * peak):
        return True
    frames = signal[: len(signal) // 320 * 320].reshape(-1, 320)
    power = np.mean(frames**2, axis=1)
    return bool(max(power[0], power[-1]) > power.max() * 10 ** (LOUD_END_DB / 10))


Counts = dict[tuple[str, int], Count]
"""(title, fold) -> verdicts."""


def faults_of(everybody: list[Person], noises: Noises) -> Counts:
    """What is said of takes with a fault; "good" is about takes without a planted one, "sound" without any."""
    counts: Counts = defaultdict(Count)
    for person in everybody:
        rng = np.random.default_rng(zlib.crc32(person.name.encode()))
        takes = [person.takes[i] for i in rng.permutation(len(person.takes))[:TAKES]]
        five = Person(person.name, person.fold, takes, [], person.hearing)
        hearing, reasons = first_four(five)
        faults = again(hearing, None).take(takes[-1], "last").faults
        reasons.append(faults[0].reason if faults else None)
        for number, reason in enumerate(reasons):
            counts["good", person.fold].add(reason, None)
            if not true_fault(takes[number], takes[:number]):
                counts["sound", person.fold].add(reason, None)
        if any(reasons):
            continue  # a take with a fault of its own cannot show one that is planted
        for title, wanted, take, room in planted(five, noises, rng):
            found = again(hearing, room).take(take, "last").faults
            reason = next((fault.reason for fault in found if fault.file == "last"), None)
            counts[title, person.fold].add(reason, wanted)
            at_start = title.startswith("begins")
            if wanted == "cut_off" and not word_is_whole(takes[-1], take, at_start):
                counts[f"{title}, a tenth of it or more is gone", person.fold].add(reason, wanted)
    return counts


@dataclass
class VoiceCount:
    """Sets of five takes."""

    alarms: int = 0
    own: int = 0
    found: int = 0
    blamed: int = 0
    mixed: int = 0
    by: Counter[str] = field(default_factory=Counter)
    """Whose the false alarms are."""


def voices_of(everybody: list[Person], as_files: bool) -> VoiceCount:
    """Five takes by one person, and the same with one of another's in any place."""
    count = VoiceCount()
    for person in everybody:
        rng = np.random.default_rng(zlib.crc32(f"voices/{person.name}".encode()))
        good = [take for take in person.takes if isinstance(quality.find_takes(take, "", None)[0], quality.Take)]
        for _ in range(DRAWS if len(good) >= TAKES else 0):
            five = [good[i] for i in rng.permutation(len(good))[:TAKES]]
            theirs = person.strangers[rng.integers(len(person.strangers))]
            stranger, place = theirs[rng.integers(len(theirs))], int(rng.integers(TAKES))
            own = _odd(person.hearing(), five, as_files)
            if own is not None:
                count.own += 1
                count.alarms += len(own) > 0
                count.by[person.name.split("/")[-1]] += len(own) > 0
            odd = _odd(person.hearing(), [*five[:place], stranger, *five[place + 1 :]], as_files)
            if odd is not None:
                count.mixed += 1
                count.found += place in odd
                count.blamed += len(odd - {place}) > 0
    return count


def _odd(hearing: Hearing, takes: list[Int16], as_files: bool) -> set[int] | None:
    """Numbers of the takes that are another voice's in the end; None where one has another fault."""
    for number, take in enumerate(takes):
        if as_files:
            hearing.files([take], str(number))
        else:
            hearing.take(take, str(number))
    last = hearing.settle() if as_files else None
    if len(hearing.heard) < len(takes):
        return None
    used = last.takes if last else hearing.good
    names = {hearing.heard[number].take.file for number in hearing.heard if number not in used}
    return {int(name) for name in names}


def crowd(data: Path, noises: Noises) -> tuple[Count, Count, dict[str, Count]]:
    """Single takes by strangers for the `alexa` network: those that it hears, other wake words, planted faults."""
    heard, others = Count(), Count()
    faulty: dict[str, Count] = defaultdict(Count)
    network, speaker = KeywordNetwork(load_manifest("alexa")), Remembering(folds.FOLDS_DIR / "0")
    sentences = [read_audio(path) for path in sorted((data / "speech").rglob("*.flac"))]
    sentences = [sentence for sentence in sentences if 3 * RATE_HZ <= len(sentence) <= 8 * RATE_HZ]

    def said(take: Int16, room: Int16 | None = None) -> str | None:
        hearing = Hearing(speaker, network)
        found = again(hearing, room).take(take, "").faults
        return found[0].reason if found else None

    for path in sorted((data / "wake").rglob("*.flac")):
        samples, is_alexa = read_audio(path), path.stem.startswith("alexa")
        if not is_alexa:
            others.add(said(samples), "keyword_not_heard")
        elif quality.crops(samples, network):
            reason, rng = said(samples), np.random.default_rng(zlib.crc32(path.stem.encode()))
            heard.add(reason, None)
            if reason is None:
                person = Person(path.stem, 0, [samples] * TAKES, [], lambda: None)  # type: ignore[arg-type,return-value]
                for title, wanted, take, room in planted(person, noises, rng):
                    if not title.startswith(("one of", "three", "nobody", "ends")):  # it was heard before the end
                        faulty[title].add(said(take, room), wanted)
                sentence = sentences[rng.integers(len(sentences))] if sentences else samples[:0]
                faulty["a sentence of 3 s and more before it"].add(
                    said(np.concatenate([sentence, samples])), "too_long"
                )
    return heard, others, faulty


def faults_part(data: Path, noises: Noises) -> Iterator[str]:
    """The tables of planted faults and of good takes."""
    counts = {name: faults_of(list(people(data, name)), noises) for name in SETS}
    yield "## Planted faults"
    yield ""
    yield "| fault | set | fold 0, % | fold 1, % | both, named rightly, % | said otherwise |"
    yield "|---|---|---|---|---|---|"
    titles = dict.fromkeys(title for title, _ in counts[SETS[0]] if title not in ("good", "sound"))
    for title in titles:
        for name in SETS:
            yield _row(title, name, counts[name])
    yield ""
    yield (
        "A cut can fall into the pause before or after a word, or leave all but a faint end of it. So the rows `a "
        "tenth of it or more is gone` leave out takes of which less is gone, of the loud time: 10 ms within 25 dB of "
        "the peak. Music never is what it was two seconds ago: where nobody speaks, half of it is called `too_noisy`."
    )
    yield ""
    yield "## Good takes"
    yield ""
    yield "| takes | set | fold 0, % | fold 1, % | both, taken as good, % | refused for |"
    yield "|---|---|---|---|---|---|"
    for title, words in (("good", "all"), ("sound", "without a fault of their own")):
        for name in SETS:
            yield _row(title, name, counts[name], words)
    yield ""
    yield (
        "Without a fault of their own is said by their samples alone. No copy of another of the five, and less than "
        "1 % of the samples above half the peak in flat tops. Neither the first nor the last 20 ms lie within 12 dB "
        "of the loudest."
    )


def _row(title: str, name: str, counts: Counts, words: str = "") -> str:
    each = [counts[title, fold] for fold in FOLDS]
    return f"| {words or title} | {name} | {each[0].share()} | {each[1].share()} | {each[0].plus(each[1]).cells()} |"


def crowd_part(data: Path, noises: Noises) -> Iterator[str]:
    """The table of single takes, heard by a keyword network."""
    heard, others, faulty = crowd(data, noises)
    yield "## One wake word, by a crowd"
    yield ""
    yield (
        "Single takes of `alexa` that the network hears, with no takes before. Then the same with planted faults, "
        "and others' wake words. Of these many are clipped, noisy or quiet besides; that they are another word comes "
        "first."
    )
    yield ""
    yield "| take | named rightly, % | said otherwise |"
    yield "|---|---|---|"
    yield f"| good | {heard.cells()} |"
    yield f"| another wake word | {others.cells()} |"
    for title, count in faulty.items():
        yield f"| {title} | {count.cells()} |"


def voices_part(data: Path, _: Noises) -> Iterator[str]:
    """The table of voices."""
    everybody = {name: list(people(data, name)) for name in SETS}
    yield "## Another voice among five takes"
    yield ""
    yield (
        "In any place, saying the same word. Takes with another fault are left out of both rows. `blamed`: a take of "
        "the person was called another voice's besides or instead. In a session voices are compared after each take, "
        "from files when all are there."
    )
    yield ""
    yield "| set | takes from | false alarms, % of sets | found, % of sets | blamed, % of sets |"
    yield "|---|---|---|---|---|"
    for as_files in (False, True):
        each = [voices_of(everybody[name], as_files) for name in SETS]
        counted = [key for key in vars(each[0]) if key != "by"]
        total = VoiceCount(*(sum(getattr(one, key) for one in each) for key in counted))
        for name, one in zip((*SETS, "both"), (*each, total)):
            cells = [_share(one.alarms, one.own), _share(one.found, one.mixed), _share(one.blamed, one.mixed)]
            yield f"| {name} | {'files' if as_files else 'a session'} | {' | '.join(cells)} |"
    by = sum((one.by for one in each), Counter[str]())
    most = ", ".join(f"{who} {count}" for who, count in by.most_common(5))
    yield ""
    yield f"Most of the {total.alarms} false alarms from files are of few people: {most}."


def two_part(data: Path, _: Noises) -> Iterator[str]:
    """The table of takes that two people share."""
    yield "## Two voices among the takes"
    yield ""
    yield (
        "From files, saying the same word; takes with a fault of their own are left out. `refused`: an enrolment is "
        "refused because two people seem to have spoken. `left out`: it is not, but every take of the smaller part "
        "is called another voice's. `unnoticed`: a take of each is used. The takes of wuw are each of another call, "
        "mostly of another day and telephone: these may well be refused."
    )
    yield ""
    yield "| set | takes | sets | refused, % | left out, % | unnoticed, % | of one person refused most often, % |"
    yield "|---|---|---|---|---|---|---|"
    for name in (*SETS, SEVERAL_DAYS):
        embedded: dict[tuple[int, str], dict[str, Float32]] = defaultdict(dict)
        for person in people(data, name):
            hearing = person.hearing()
            for number, take in enumerate(person.takes):
                hearing.files([take], str(number))
            phrase, who = person.name.split("/")[1:]
            embedded[person.fold, phrase][who] = np.array([take.embedding for take in hearing.heard.values()])
        for own, theirs in ((5, 0), (3, 2), (2, 2), (4, 2), (3, 3))[: 1 if name == SEVERAL_DAYS else None]:
            yield _two_row(name, embedded, own, theirs)


def _two_row(name: str, embedded: dict[tuple[int, str], dict[str, Float32]], own: int, theirs: int) -> str:
    refused, left_out, of, by, of_each = 0, 0, 0, Counter[str](), Counter[str]()
    for (_, phrase), speakers in embedded.items():
        for who, rows in speakers.items():
            rng = np.random.default_rng(zlib.crc32(f"two/{name}/{phrase}/{who}/{own}/{theirs}".encode()))
            others = [other for other in speakers if other != who and len(speakers[other]) >= max(theirs, 1)]
            for _ in range(TWO_DRAWS if len(rows) >= own and others else 0):
                other = speakers[others[rng.integers(len(others))]]
                takes = [rows[rng.permutation(len(rows))[:own]], other[rng.permutation(len(other))[:theirs]]]
                mixed = np.concatenate(takes)
                is_refused = voices.two_groups(mixed) is not None
                refused, of = refused + is_refused, of + 1
                by[who], of_each[who] = by[who] + is_refused, of_each[who] + 1
                left_out += (
                    bool(theirs) and not is_refused and set(range(own, own + theirs)) <= set(voices.odd(mixed))
                )
    what = f"{own} of one person" if not theirs else f"{own} of one, {theirs} of another"
    unnoticed = _share(of - refused - left_out, of) if theirs else "-"
    most = max((by[who] / of_each[who], who) for who in of_each)
    worst = "-" if theirs else f"{100 * most[0]:.2f}" + (f" ({most[1]})" if most[0] else "")
    cells = [f"{of}", _share(refused, of), f"{100 * left_out / of:.1f}" if theirs else "-", unnoticed, worst]
    return f"| {name} | {what} | {' | '.join(cells)} |"


PARTS = {"faults": faults_part, "crowd": crowd_part, "voices": voices_part, "two": two_part}
HEADINGS = {
    "faults": "## Planted faults",
    "crowd": "## One wake word",
    "voices": "## Another voice",
    "two": "## Two voices",
}


def kept_part(part: str) -> list[str]:
    """The lines of a part as the page has them, without blank lines at its end."""
    lines = PAGE.read_text("utf-8").splitlines()
    starts = sorted(n for n, line in enumerate(lines) if line.startswith(tuple(HEADINGS.values())))
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        if lines[start].startswith(HEADINGS[part]):
            return "\n".join(lines[start:end]).rstrip().splitlines()
    return []


def main() -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these parts again")
    arguments = parser.parse_args()
    top = heading("The verdicts on takes", __file__, FOLD_NETWORKS, corpora=True)
    noises, lines = Noises(arguments.data), [top, HEADER]
    for part, measured in PARTS.items():
        if part in arguments.only:
            print(f"measuring {part} …", file=sys.stderr, flush=True)
            lines += [*measured(arguments.data, noises), ""]
        else:
            lines += [*kept_part(part), ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return 0


def _share(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / of:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {of}"


if __name__ == "__main__":
    sys.exit(main())

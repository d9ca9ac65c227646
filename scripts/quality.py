"""How well bad takes are named, on real speech with planted faults: `python scripts/quality.py DATA`.

Writes docs/quality.md. DATA is a folder with index.csv and noise. Each person is judged by networks and a cohort that
have never heard him (`scripts/folds.py`), take by take, as a guided session does. Ten minutes on one core.
"""

from __future__ import annotations

import csv
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import folds
import numpy as np
from others import Remembering

from earmark.engine.audio import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.card import load_manifest
from earmark.engine.files import read_audio
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.speaker import locate_speech
from earmark.enroll import quality
from earmark.enroll.augment import mixed
from earmark.enroll.calibrate import share_interval
from earmark.enroll.hearing import Hearing
from earmark.models.fold import FOLDS, fold_of

DOCS = Path(__file__).parent.parent / "docs"
SETS = ("asc", "dsp")  # those with five takes of a phrase and more
TAKES = 5
DRAWS = 3  # of five takes for each person and phrase, where voices are compared
ROOM_SAMPLES = 2 * RATE_HZ
LASTING_DB = 15.0  # a noise lasts if its loud tenth of 30 ms is no farther above its quiet tenth
HEADER = """# The verdicts on takes

Written by `python scripts/quality.py DATA`. The takes of asc (18 people, 12 words) and dsp (24 people, 6 words), any
phrase; whoever is judged has been heard by neither networks nor cohort. A person says a word four times, the fifth
time a fault is planted; the verdict on that take, in a guided session, must name it. In brackets: 95 % interval of
Clopper and Pearson, over takes. `all that must be named` is the mean of the rows of clipping, level, lasting noise,
cuts and copies. The limits in `enroll/quality.py` and `enroll/voices.py` were chosen while looking at some of the
same takes.
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

    def cells(self) -> str:
        """Share named rightly with its interval, and what else was said."""
        low, high = share_interval(self.named, self.of)
        rest = ", ".join(f"{reason} {count}" for reason, count in self.otherwise.most_common())
        return f"{100 * self.named / self.of:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {self.of} | {rest}"


@dataclass(frozen=True)
class Person:
    """All takes of one phrase by one person, and the hearing that judges them."""

    name: str
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
        enroller = folds.enroller(fold)
        speaker = Remembering(folds.FOLDS_DIR / str(fold))

        def hearing(enroller=enroller, speaker=speaker) -> Hearing:  # type: ignore[no-untyped-def]
            return Hearing(speaker, enroller.head, enroller.cohort.embeddings, None)

        for (of_fold, phrase), speakers in sorted(said.items()):
            for person, takes in sorted(speakers.items()):
                strangers = [other for who, other in speakers.items() if who != person]
                if of_fold == fold and len(takes) >= TAKES and strangers:
                    yield Person(f"{name}/{phrase}/{person}", takes, strangers, hearing)


class Noises:
    """Recorded noises, those that last and those that come and go."""

    def __init__(self, data: Path) -> None:
        self.lasting: list[Int16] = []
        self.passing: list[Int16] = []
        for path in sorted((data / "noise").rglob("*.flac")):
            noise = read_audio(path)
            frames = noise[: len(noise) // 480 * 480].reshape(-1, 480).astype(np.float64)
            quiet, loud = np.percentile(10 * np.log10(np.mean(frames**2, axis=1) + 1e-3), (10, 90))
            (self.lasting if loud - quiet <= LASTING_DB else self.passing).append(noise)

    def piece(self, noises: list[Int16], length: int, rng: np.random.Generator) -> tuple[Int16, Int16]:
        """Two seconds of a room, and the (length,) that follow."""
        noise = noises[rng.integers(len(noises))]
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
    yield "nobody speaks, lasting noise, the room was measured", "nothing_said", nobody, room


def first_four(person: Person) -> tuple[Hearing, list[str | None]]:
    """After the takes before the last, and what was said of each."""
    hearing, reasons = person.hearing(), []
    for number, take in enumerate(person.takes[: TAKES - 1]):
        faults = hearing.take(take, f"take {number + 1}").faults
        reasons.append(faults[0].reason if faults else None)
    return hearing, reasons


def faults_of(everybody: list[Person], noises: Noises) -> dict[str, Count]:
    """Title -> verdicts; "good" is about takes without a planted fault."""
    counts: dict[str, Count] = defaultdict(Count)
    for person in everybody:
        rng = np.random.default_rng(zlib.crc32(person.name.encode()))
        five = Person(
            person.name, [person.takes[i] for i in rng.permutation(len(person.takes))[:TAKES]], [], person.hearing
        )
        hearing, reasons = first_four(five)
        faults = hearing.take(five.takes[-1], "last").faults
        for reason in (*reasons, faults[0].reason if faults else None):
            counts["good"].add(reason, None)
        if any(reasons) or faults:
            continue  # a take with a fault of its own cannot show one that is planted
        for title, reason, take, room in planted(five, noises, rng):
            hearing, _ = first_four(five)
            hearing.room = None if room is None else quality.room_power(room)
            found = hearing.take(take, "last").faults
            counts[title].add(next((fault.reason for fault in found if fault.file == "last"), None), reason)
    return counts


@dataclass
class VoiceCount:
    """Sets of five takes."""

    alarms: int = 0
    own: int = 0
    found: int = 0
    blamed: int = 0
    mixed: int = 0


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
            odd = _odd(person.hearing(), [*five[:place], stranger, *five[place + 1 :]], as_files)
            if odd is not None:
                count.mixed += 1
                count.found += place in odd
                count.blamed += len(odd - {place}) > 0
    return count


def _odd(hearing: Hearing, takes: list[Int16], as_files: bool) -> set[int] | None:
    """Numbers of the takes that are another voice's in the end; None where one has another fault."""
    for number, take in enumerate(takes):
        (hearing.files if as_files else hearing.take)(take, str(number))
    last = hearing.settle() if as_files else None
    if len(hearing.heard) < len(takes):
        return None
    used = last.takes if last else hearing.good
    names = {hearing.heard[number].take.file for number in hearing.heard if number not in used}
    return {int(name) for name in names}


def crowd(data: Path) -> tuple[Count, Count]:
    """Single takes by strangers for the `alexa` network: those that it hears, and other wake words."""
    heard, others, enroller = Count(), Count(), folds.enroller(0)
    network = KeywordNetwork(load_manifest("alexa"))
    for path in sorted((data / "wake").rglob("*.flac")):
        samples, is_alexa = read_audio(path), path.stem.startswith("alexa")
        faults = Hearing(enroller.speaker, enroller.head, enroller.cohort.embeddings, network).take(samples, "")
        reason = next((fault.reason for fault in faults.faults), None)
        if not is_alexa:
            others.add(reason, "keyword_not_heard")
        elif quality.crops(samples, network):
            heard.add(reason, None)
    return heard, others


def main() -> int:
    """Measures and writes the page."""
    data = Path(sys.argv[1])
    noises = Noises(data)
    everybody = {name: list(people(data, name)) for name in SETS}
    counts = {name: faults_of(everybody[name], noises) for name in SETS}
    lines = [
        HEADER,
        "## Planted faults",
        "",
        "| fault | set | named rightly, % | said otherwise |",
        "|---|---|---|---|",
    ]
    for title in [title for title in counts[SETS[0]] if title != "good"]:
        lines += [f"| {title} | {name} | {counts[name][title].cells()} |" for name in SETS]
    lines += _together(counts)
    heard, others = crowd(data)
    lines.append(f"| another wake word, recorded by a crowd | wake | {others.cells()} |")
    lines += ["", "## Good takes", "", "| set | taken as good, % | refused for |", "|---|---|---|"]
    lines += [f"| {name} | {counts[name]['good'].cells()} |" for name in SETS]
    both = [counts[name]["good"] for name in SETS]
    true_faults = sum(count.otherwise[reason] for count in both for reason in ("same_take_twice", "clipped"))
    refused, of = sum(count.of - count.named for count in both), sum(count.of for count in both)
    lines.append(f"| both | {_share(of - refused, of)} | |")
    lines.append(
        f"| both, without exact copies and clipped recordings | {_share(of - refused, of - true_faults)} | |"
    )
    lines.append(f"| alexa, recorded by a crowd, heard by the network | {heard.cells()} |")
    lines += [
        "",
        "## Another voice among five takes",
        "",
        "In any place, saying the same word; takes with another fault are left out of both rows. `blamed`: a take of "
        "the person was called another voice's besides or instead. In a session voices are compared after each take, "
        "from files when all are there.",
        "",
        "| set | takes from | false alarms, % of sets | found, % of sets | blamed, % of sets |",
        "|---|---|---|---|---|",
    ]
    for as_files in (False, True):
        each = [voices_of(everybody[name], as_files) for name in SETS]
        total = VoiceCount(*(sum(getattr(one, key) for one in each) for key in vars(each[0])))
        for name, one in zip((*SETS, "both"), (*each, total)):
            cells = [_share(one.alarms, one.own), _share(one.found, one.mixed), _share(one.blamed, one.mixed)]
            lines.append(f"| {name} | {'files' if as_files else 'a session'} | {' | '.join(cells)} |")
    (DOCS / "quality.md").write_text("\n".join(lines) + "\n", "utf-8")
    return 0


def _together(counts: dict[str, dict[str, Count]]) -> Iterator[str]:
    """The mean over the rows that a good judge must name."""
    for name, rows in counts.items():
        left_out = ("good", "passing", "three takes", "nobody")
        must = [count for title, count in rows.items() if not any(word in title for word in left_out)]
        share = float(np.mean([count.named / count.of for count in must]))
        yield f"| **all that must be named** | {name} | {100 * share:.1f}, mean of {len(must)} rows | |"


def _share(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / of:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {of}"


if __name__ == "__main__":
    sys.exit(main())

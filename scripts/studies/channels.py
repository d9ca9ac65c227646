"""Error rates on other channels: `python scripts/studies/channels.py DATA` prints the tables of channels.md.

DATA is a folder with the trial lists, the recordings of index.csv, noise and speech. Everything goes through the real
enrolment, with networks and cohort of `scripts/studies/folds.py`; the conditions are those of `earmark evaluate`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import folds
import numpy as np
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.verifier import DECADE
from earmark.enroll.evaluation import error_rates
from earmark.enroll.evaluation.comparators import COMPARATORS
from earmark.enroll.evaluation.conditions import ANY_MICROPHONE, Conditions
from earmark.enroll.evaluation.evaluate import HEAD, Enrolled, Results, Setup, TrialList, enrol, measure
from earmark.models.speech_pool import TEST_NOISES

EVERY = {"asc": 4, "dsp": 2}  # every so many phrases of a set: it takes long enough
OTHER_DAYS = "wuw"
TALKERS = ("libr27", "vctkp228", "vctkp225")  # of the set `speech`
BABBLE = 4
LINE = Conditions(telephone="mu-law")


def conditions(data: Path) -> dict[str, Conditions]:
    """What the tries go through; neither noises nor talkers were in any training."""
    noises = [read_audio(path) for path in sorted((data / "noise").rglob("*.flac")) if path.stem in TEST_NOISES]
    voices = [read_audio(path) for name in TALKERS for path in sorted((data / "speech" / name).glob("*.flac"))]
    noisy, far = Conditions(noises=noises), Conditions(room_rt60_s=0.6, direct_to_reverberant_db=-3.0)
    return {
        "clean": Conditions(),
        "noise 10 dB": noisy,
        "noise 10 dB in a room": replace(noisy, room_rt60_s=0.4),
        "noise 0 dB": replace(noisy, snr_db=0.0),
        "telephone, mu-law": LINE,
        "telephone, GSM": Conditions(telephone="gsm"),
        "telephone and noise 10 dB": replace(noisy, telephone="mu-law"),
        "babble 10 dB": Conditions(voices=voices, talkers=BABBLE),
        "far room": far,
        "far room, babble 10 dB": replace(far, voices=voices, talkers=BABBLE),
        "one talker 5 dB": Conditions(voices=voices, snr_db=5.0),
        "clipped by 10 dB": Conditions(clipped_db=10.0),
        "12 dB louder": Conditions(gain_db=12.0),
        "first 70 %": Conditions(first_part=0.7),
        "another microphone": Conditions(microphone=ANY_MICROPHONE),
        "another microphone, noise 10 dB": replace(noisy, microphone=ANY_MICROPHONE),
    }


def parts(data: Path, name: str, takes: int | None = None) -> Iterator[tuple[TrialList, Setup]]:
    """Both folds, of a set with many phrases only some."""
    for trials, setup in folds.parts(data, name, takes):
        phrases = sorted(trials.people)[:: EVERY.get(name, 1)]
        yield replace(trials, people={phrase: trials.people[phrase] for phrase in phrases}), setup


def rates(found: Sequence[Results]) -> str:
    """EER / FRR at 1 % FAR / FAR, FRR at the enrolled threshold, and that FRR person by person."""
    pooled = error_rates.pooled([results.systems[HEAD] for results in found]).rates()
    keys = ("eer", "frr_at_far_0.01", "far_at_enrolled", "frr_at_enrolled", "frr_at_enrolled_macro")
    eer, wanted, far, frr, macro = (f"{100 * pooled[key]:.1f}" for key in keys)
    return f"{eer} / {wanted} / {far}, **{frr}** ({macro})"


def home(found: Sequence[Results], enrolled: Sequence[Enrolled]) -> tuple[float, float, float]:
    """Everybody of a fold and phrase in one home: strangers taken for anybody, owners rejected or taken for another.

    A stranger is each of them in turn, who is then not enrolled. Last: how many are enrolled, on average.
    """
    let_in, rejected, sizes = [], [], []
    for results, people in zip(found, enrolled):
        decades = {person.name: DECADE[person.kind] for person in people}
        for phrase in {person.phrase for person in results.people}:
            here = [person for person in results.people if person.phrase == phrase]
            for number, one in enumerate(here[0].tries):
                margins = {}
                for person in here:
                    score = person.tries[number]["score"]
                    margins[person.name] = -2.0 if score is None else score - person.threshold
                speaker = one["speaker"]
                others = {name: margin for name, margin in margins.items() if name != speaker}
                raised = {name: margin - decades[name] * math.log10(len(others)) for name, margin in others.items()}
                let_in.append(max(raised.values()) >= 0)
                sizes.append(len(others))
                if speaker in margins:
                    every = {
                        name: margin - decades[name] * math.log10(len(margins)) for name, margin in margins.items()
                    }
                    best = max(every, key=every.__getitem__)
                    rejected.append(every[best] < 0 or best != speaker)
    return 100 * float(np.mean(let_in)), 100 * float(np.mean(rejected)), float(np.mean(sizes))


def main() -> int:
    """Measures and prints."""
    data = Path(sys.argv[1])
    COMPARATORS.pop("logistic")  # nobody asks for it here, and one for each person takes an hour
    print(heading("Other channels", __file__, FOLD_NETWORKS, head=True, corpora=True))
    made = conditions(data)
    print(f"| try | {' | '.join(EVERY)} |\n|---|{'---|' * len(EVERY)}")
    clean = {name: [(trials, setup, enrol(trials, setup)) for trials, setup in parts(data, name)] for name in EVERY}
    homes = {}
    for title, condition in made.items():
        cells = []
        for name, each in clean.items():
            found = [measure(trials, who, replace(setup, conditions=condition)) for trials, setup, who in each]
            cells.append(rates(found))
            homes[title, name] = home(found, [who for _, _, who in each])
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    cells = []
    for name in EVERY:
        one = [(trials, setup, enrol(trials, setup)) for trials, setup in parts(data, name, takes=1)]
        cells.append(rates([measure(*_in_order(each)) for each in one]))
    print(f"| one take | {' | '.join(cells)} |", flush=True)
    by_line: dict[str, list[str]] = {"takes by telephone, clean": [], "takes and tries by telephone": []}
    for name in EVERY:
        lists = [(trials, replace(setup, take_conditions=LINE)) for trials, setup in parts(data, name)]
        people = [enrol(trials, setup) for trials, setup in lists]
        for title, condition in zip(by_line, (Conditions(), LINE)):
            found = [
                measure(trials, who, replace(setup, conditions=condition))
                for (trials, setup), who in zip(lists, people)
            ]
            by_line[title].append(rates(found))
    for title, cells in by_line.items():
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    days = [(trials, setup, enrol(trials, setup)) for trials, setup in parts(data, OTHER_DAYS)]
    print(f"\n{OTHER_DAYS}: {rates([measure(*_in_order(each)) for each in days])}\n", flush=True)
    print("| a home of | try | stranger taken for anybody | owner rejected or taken for another |\n|---|---|---|---|")
    for (title, name), (let_in, rejected, size) in homes.items():
        if title in ("clean", "noise 10 dB", "telephone, mu-law"):
            print(f"| {size:.0f} ({name}) | {title} | {let_in:.1f} | {rejected:.1f} |")
    return 0


def _in_order(each: tuple[TrialList, Setup, Enrolled]) -> tuple[TrialList, Enrolled, Setup]:
    trials, setup, people = each
    return trials, people, setup


if __name__ == "__main__":
    sys.exit(main())

"""Ways to learn a voice, side by side: `python scripts/studies/trainers.py DATA CACHE [SECONDS]`.

Writes docs/research/trainers.md and the table in docs/on-device-training.md, once all is measured. DATA is a folder
with the trial lists, the recordings of index.csv, noise and speech. What was heard (heard.py) and the scores are kept
in CACHE: after SECONDS it ends, and the next call goes on from there. Networks and strangers are those of the folds.

Each trainer is scored as the enrolment fuses it, half of it the plain cosine, and without the guard, so that the
table says what it does and not what was kept of it. How often the guard kept it is a column.
"""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import folds
import numpy as np
import numpy.typing as npt
from heading import FOLD_NETWORKS, heading
from heard import Heard, Takes

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.trained.kinds import BLOCK, HEAD, HEARING, LOGISTIC, REFERENCES, SVM
from earmark.engine.people import codec
from earmark.engine.people.voiceprint import COSINE, TRAINED, Voiceprint
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation import error_rates
from earmark.enroll.options import as_they_are
from earmark.enroll.training import calibrate

DOCS = Path(__file__).parents[2] / "docs"
TRAINERS = (COSINE, REFERENCES, SVM, LOGISTIC, HEAD, BLOCK)
SETS = {"asc": 4}  # set -> every so many of its phrases
CONDITIONS = ("clean", "noise 10 dB in a room", "telephone, mu-law")
TAKES = (5, 3, 1)
SLOW_TAKES = {BLOCK: (5,)}  # it trains for seconds
SLOW_PHRASES = {BLOCK: slice(1, 2)}  # and its steps and rate were chosen on the first
BEGIN, END = "<!-- written by scripts/studies/trainers.py -->\n", "<!-- until here -->\n"
MEMORY = """
import sys
from glob import glob
import earmark
from earmark.enroll.options import Options
files = sorted(glob(sys.argv[2]))
earmark.enrol("slt", files, options=Options(trainer=sys.argv[1]))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
Row = dict[str, npt.NDArray[Any]]
WHAT = {
    COSINE: "nothing is trained: the cosine to the mean of the takes",
    REFERENCES: "mean cosine to every take",
    SVM: "linear support vector machine on embeddings",
    LOGISTIC: "logistic regression on embeddings",
    HEAD: "projection of the embedding, 24,577 weights, by back-propagation",
    BLOCK: "the network's last layers, 677,778 weights, by back-propagation",
}


class Study:
    """Measures what is not in the cache."""

    def __init__(self, data: Path, cache: Path, until_s: float) -> None:
        self._heard, self.cache, self._until_s = Heard(data, cache), cache / "trainers", until_s
        self._phrases = {name: self._heard.phrases(name, every) for name, every in SETS.items()}
        self._first = {name: sorted({phrase for _, phrase in some}) for name, some in self._phrases.items()}

    def parts(self) -> Iterator[tuple[str, int, str, str, int]]:
        """Set, fold, phrase, trainer and number of takes, the quick ones first."""
        for trainer in TRAINERS:
            for count in SLOW_TAKES.get(trainer, TAKES):
                for name, phrases in self._phrases.items():
                    for fold, phrase in phrases:
                        if phrase in self._first[name][SLOW_PHRASES.get(trainer, slice(None))]:
                            yield name, fold, phrase, trainer, count

    def run(self) -> bool:
        """Whether all is measured."""
        for part in self.parts():
            if time.monotonic() > self._until_s:
                return False
            self.rows(*part)
        return True

    def rows(self, name: str, fold: int, phrase: str, trainer: str, count: int) -> Row:
        """Of all people of a phrase: scores, and what each cost."""
        path = self.cache / trainer / str(count) / f"{name}-{fold}-{phrase}.npz"
        try:
            with np.load(path, allow_pickle=False) as rows:
                return dict(rows)
        except (FileNotFoundError, zipfile.BadZipFile):
            pass
        rows = self._measured(name, fold, phrase, trainer, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        save: Any = np.savez
        save(content, **rows)
        path.write_bytes(content.getvalue())
        print(path, file=sys.stderr, flush=True)
        return rows

    def _measured(self, name: str, fold: int, phrase: str, trainer: str, count: int) -> Row:
        enroller = dataclasses.replace(folds.enroller(fold), folder=folds.FOLDS_DIR / str(fold))
        tries = {condition: self._heard.tries(name, fold, phrase, condition) for condition in CONDITIONS}
        sounds = {condition: tuple(each.sounds) if trainer in HEARING else () for condition, each in tries.items()}
        columns: dict[str, list[Any]] = {"person": [], "seconds": [], "bytes": [], "kept": []}
        scores: dict[str, list[Float32]] = {condition: [] for condition in CONDITIONS}
        for who in self._heard.takes(name, fold, phrase, "clean"):
            takes = who._replace(takes=who.takes[:count])
            began = time.process_time()
            person = trained(enroller, takes, trainer)
            columns["seconds"].append(time.process_time() - began)
            columns["person"].append(who.speaker)
            columns["bytes"].append(sum(map(len, codec.encode(person).values())))
            columns["kept"].append(kept(enroller, takes, trainer))
            for condition, each in tries.items():
                margins = enroller.verifier.margin(person, each.embeddings, each.may, sounds[condition] or None)
                scores[condition].append(margins)
        rows: Row = {key: np.array(values) for key, values in columns.items()}
        for number, condition in enumerate(CONDITIONS):
            rows[f"scores {number}"] = np.array(scores[condition])
            rows[f"speaker {number}"] = tries[condition].speaker
        return rows


def trained(enroller: Enroller, who: Takes, trainer: str) -> Voiceprint:
    """Somebody, by a trainer whom no guard asks."""
    wanted = COSINE if trainer == COSINE else TRAINED
    options = dataclasses.replace(as_they_are(), trainer=HEAD if trainer == COSINE else trainer)
    with mock.patch.multiple(calibrate, better_kind=lambda _trials: wanted, leave_one_out=lambda *_: {}):
        return enroller.enrol_takes(who.speaker, who.takes, None, options).voiceprint


def kept(enroller: Enroller, who: Takes, trainer: str) -> bool:
    """Whether the guard keeps it; of who trains for seconds it is not asked here."""
    if trainer == COSINE or trainer in HEARING:
        return False
    options = dataclasses.replace(as_they_are(), trainer=trainer)
    return enroller.enrol_takes(who.speaker, who.takes, None, options).voiceprint.kind == TRAINED


def pooled(
    study: Study, name: str, trainer: str, count: int, condition: str, like: str = COSINE
) -> error_rates.Trials:
    """All trials of a set, of both folds; of the phrases that a slower trainer has as well."""
    number, parts = CONDITIONS.index(condition), []
    same = {part[:3] for part in study.parts() if (part[0], part[3]) == (name, like)}
    for part in study.parts():
        if (part[0], *part[3:]) != (name, trainer, count) or part[:3] not in same:
            continue
        rows = study.rows(*part)
        for person, margins in zip(rows["person"], rows[f"scores {number}"]):
            speaker = rows[f"speaker {number}"]
            parts.append((margins, speaker == person, np.full(len(speaker), person), speaker))
    margins, own, person, speaker = (np.concatenate(column) for column in zip(*parts))
    _, numbers = np.unique(np.r_[person, speaker], return_inverse=True)
    return error_rates.Trials(margins.astype(np.float64), own, margins >= 0, numbers[: len(own)], numbers[len(own) :])


def told(trials: error_rates.Trials, base: error_rates.Trials | None = None) -> str:
    """EER / FRR at 1 % FAR / FAR, FRR as enrolled; with a base how much the EER is above its, with an interval."""
    rates = {key: f"{100 * rate:.1f}" for key, rate in trials.rates().items()}
    text = f"{rates['eer']} / {rates['frr_at_far_0.01']} / {rates['far_at_enrolled']}, {rates['frr_at_enrolled']}"
    if base is None:
        return text
    low, high = (100 * bound for bound in trials.intervals(base)["eer"])
    return f"{text} ({low:+.1f} to {high:+.1f})"


def memory_mb(trainer: str, cache: Path) -> str:
    """The most that a process takes that enrols five takes; kept in a file."""
    place = cache / f"{trainer}-memory"
    if place.is_file():
        return place.read_text("utf-8")
    audio = Path(__file__).parents[2] / "tests" / "audio" / "slt_okay_nabu_enroll_*.flac"
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, HEAD if trainer == COSINE else trainer, str(audio)],
        capture_output=True,
        text=True,
        check=True,
    )
    place.write_text(f"{int(done.stdout) / 1024:.0f}", "utf-8")
    return place.read_text("utf-8")


def tables(study: Study) -> Iterator[str]:
    """What was measured."""
    yield "| trainer | what learns | seconds to enrol | most memory, MB | bytes a person | kept by the guard |"
    yield "|---|---|---|---|---|---|"
    for trainer in TRAINERS:
        rows = [study.rows(*part) for part in study.parts() if part[3:] == (trainer, max(TAKES))]
        seconds, size, share = (np.concatenate([each[key] for each in rows]) for key in ("seconds", "bytes", "kept"))
        guard = "–" if trainer == COSINE else "not asked" if trainer in HEARING else f"{100 * share.mean():.0f} %"
        yield (
            f"| `{trainer}` | {WHAT[trainer]} | {np.median(seconds):.2f} | {memory_mb(trainer, study.cache)} | "
            f"{round(float(np.median(size)), -2):,.0f} | {guard} |"
        )
    yield ""
    yield "Seconds are of one processor, without hearing the takes and without the guard, which trains once more for"
    yield "each take (`block`: twice in all). Other work ran beside it."
    yield ""
    for name in SETS:
        yield f"{folds.SETS[name]}; of the words every {SETS[name]}th, or one alone. Enrolled from clean takes:"
        yield ""
        yield f"| takes | trainer | {' | '.join(CONDITIONS)} |"
        yield f"|---|---|{'---|' * len(CONDITIONS)}"
        for count in TAKES:
            for trainer in TRAINERS:
                if count not in SLOW_TAKES.get(trainer, TAKES):
                    continue
                base = [pooled(study, name, COSINE, count, condition, trainer) for condition in CONDITIONS]
                trials = [pooled(study, name, trainer, count, condition) for condition in CONDITIONS]
                cells = [told(*pair) for pair in zip(trials, [None] * len(trials) if trainer == COSINE else base)]
                word = ", one word" if trainer in SLOW_PHRASES else ""
                if word:
                    yield f"| {count} | `{COSINE}`{word} | {' | '.join(map(told, base))} |"
                yield f"| {count} | `{trainer}`{word} | {' | '.join(cells)} |"
        yield ""


def main() -> int:
    """Measures until the time is over; with all measured, writes the pages."""
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else float("inf")
    study = Study(Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + seconds)
    if not study.run():
        print("not over: call it again", file=sys.stderr)
        return 0
    lines = [*tables(study)]
    top = heading("Trainers", __file__, FOLD_NETWORKS, head=True)
    page = DOCS / "research" / "trainers.md"
    rest = page.read_text("utf-8").split(END)[1] if page.is_file() else ""
    page.write_text("\n".join([top, BEGIN, *lines, END]) + rest, "utf-8")
    reference = DOCS / "on-device-training.md"
    before, after = reference.read_text("utf-8").split(BEGIN)[0], reference.read_text("utf-8").split(END)[1]
    reference.write_text(before + "\n".join([BEGIN, *lines, END]) + after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Free speech besides the takes: `python scripts/studies/free_speech.py DATA` writes docs/research/free_speech.md.

DATA is a folder with index.csv and the trial lists. Plain cosine, as `engine/verifier.py` has it; the mean of the
takes is moved towards the mean of other words that the same person said. Five minutes on one core.
"""

from __future__ import annotations

import csv
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import folds
import numpy as np
from heading import FOLD_NETWORKS, heading
from others import Remembering

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.enroll.evaluation import error_rates
from earmark.enroll.training.calibrate import unit_mean
from earmark.models.fold import FOLDS

DOCS = Path(__file__).parents[2] / "docs" / "research"
SETS = ("asc", "dsp", "wuw")
CLIPS = 15  # about ten seconds of speech
WEIGHTS = (0.0, 0.25, 0.5, 1.0)
TAKES = (5, 3, 1)
HEADER = f"""\
Plain cosine to a mean that was moved towards other words by the same person: `unit(mean of the takes + weight ·
unit(mean of {CLIPS} other clips))`. Rates in %. In brackets are 95 % intervals over speakers; of the rows with
a weight, of the change against 0 on the same trials. The networks never met the people measured
([accuracy.md](accuracy.md)).

On asc and dsp the other words are of the same session as the tries. On wuw they are of the sessions of the
takes, by telephone, and the tries are of other days.

For the wake word it is **not built in**: what it brings on tries of the same session, with one take most of all, it
does not bring on those of another day. Besides, thresholds and trained head were fitted without it. Commands are
compared with it ([confirmation.md](confirmation.md)).

Tried with thresholds and trained head, too: the mean of the speech as one take more of an ordinary enrolment
(`scripts/studies/few_takes.py`, on dsp). EER / FRR at 1 % FAR / FAR, **FRR** as it is enrolled, in %. With one take:

| tries | one take | and free speech |
|---|---|---|
| clean | 2.1 / 4.2 / 0.2, **16.0** | 2.8 / 4.2 / 0.2, **11.1** |
| noise 10 dB | 4.0 / 15.3 / 0.4, **25.7** | 4.0 / 9.0 / 0.5, **23.6** |
| one talker 5 dB | 14.0 / 34.7 / 0.5, **52.8** | 11.1 / 31.2 / 0.3, **47.2** |

The threshold holds its FAR, and a tenth to a third of the rejections go. A second take of the wake word takes two
seconds and brings more ([accuracy.md](accuracy.md)), so this is not built either.
"""


class Voices:
    """The embeddings of one set and fold, by path, and who said what when."""

    def __init__(self, data: Path, name: str, fold: int) -> None:
        self._speaker = Remembering(folds.FOLDS_DIR / str(fold))
        with (data / "index.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["set"] == name]
        self.said = {data / row["path"]: (row["speaker"], row["phrase"], row["session"]) for row in rows}
        self._known: dict[Path, Float32 | None] = {}

    def embed(self, path: Path) -> Float32 | None:
        """(192,), or None where nothing is said."""
        if path not in self._known:
            try:
                self._known[path] = self._speaker.embed(read_audio(path))
            except AudioError:
                self._known[path] = None
        return self._known[path]

    def free(self, person: str, phrase: str, takes: list[Path]) -> list[Path]:
        """Other words of the person, of the sessions of the takes, drawn by chance."""
        sessions = {self.said[path][2] for path in takes}
        found = sorted(
            path
            for path, (who, what, when) in self.said.items()
            if who == person and what != phrase and when in sessions
        )
        rng = np.random.default_rng(zlib.crc32(f"{person}/{phrase}".encode()))
        return [found[i] for i in rng.permutation(len(found))[:CLIPS]]


def trials(data: Path, name: str, count: int, weight: float, voices: dict[int, Voices]) -> error_rates.Trials:
    """All trials of a set with so many takes and such a weight."""
    rows = [row for fold in FOLDS for row in _rows(data, name, count, weight, fold, voices[fold])]
    _, number = np.unique([row[1] for row in rows] + [row[2] for row in rows], return_inverse=True)
    person, speaker = number[: len(rows)], number[len(rows) :]
    scores = np.array([row[0] for row in rows], np.float64)
    return error_rates.Trials(scores, person == speaker, scores >= 1, person, speaker)


def _rows(
    data: Path, name: str, count: int, weight: float, fold: int, voices: Voices
) -> Iterator[tuple[float, str, str]]:
    """Score, whose model, who speaks."""
    listed, _ = list(folds.parts(data, name))[fold]
    for phrase, people in sorted(listed.people.items()):
        for person, roles in sorted(people.items()):
            takes = [path for path in roles.get("enroll", []) if voices.embed(path) is not None][:count]
            free = [path for path in voices.free(person, phrase, takes) if voices.embed(path) is not None]
            if not takes or not free:
                continue
            mean = unit_mean(np.array([voices.embed(path) for path in takes]))
            mean = mean + np.float32(weight) * unit_mean(np.array([voices.embed(path) for path in free]))
            mean /= np.linalg.norm(mean)
            for speaker, tries in sorted(people.items()):
                for path in tries.get("test", []):
                    embedding = voices.embed(path)
                    if embedding is not None:
                        yield float(embedding @ mean), person, speaker


def main() -> int:
    """Measures and writes the page."""
    data = Path(sys.argv[1])
    top = heading("Free speech besides the takes", __file__, FOLD_NETWORKS, corpora=True)
    lines = [top, HEADER, "| set | takes | weight | EER | FRR at 1 % FAR |", "|---|---|---|---|---|"]
    for name in SETS:
        voices = {fold: Voices(data, name, fold) for fold in FOLDS}
        for count in TAKES if name != "wuw" else TAKES[1:]:
            base: error_rates.Trials | None = None
            for weight in WEIGHTS:
                measured = trials(data, name, count, weight, voices)
                rates, spans = measured.rates(), measured.intervals(base)
                cells = [
                    f"{100 * rates[key]:.1f} [{100 * spans[key][0]:.1f}, {100 * spans[key][1]:.1f}]"
                    for key in ("eer", "frr_at_far_0.01")
                ]
                base = measured if base is None else base
                lines.append(f"| {name} | {count} | {weight:g} | {' | '.join(cells)} |")
                print(lines[-1], file=sys.stderr, flush=True)
    (DOCS / "free_speech.md").write_text("\n".join(lines) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

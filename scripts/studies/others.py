"""What other people of the household bring: `python scripts/studies/others.py DATA` writes docs/research/others.md.

DATA is a folder with the trial lists. Everything goes through the real enrolment, with networks and cohort of
`scripts/studies/folds.py`. The home of a person is three others of the same corpus and fold, drawn by chance; they
are never among the strangers, whether enrolment was given them or not, so that all rows of a table stand on the same
trials. Fifteen minutes on one core.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import folds
import numpy as np
import numpy.typing as npt
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.speaker import SpeakerNetwork, Utterance
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.evaluation import error_rates
from earmark.enroll.evaluation.evaluate import Setup, TrialList
from earmark.models.fold import FOLDS

DOCS = Path(__file__).parents[2] / "docs" / "research"
SETS = ("asc", "dsp")  # those with five takes: what trains
HOME = 3
CLIPS = 5  # of each of them
HEADER = """\
Rates in %, at the threshold that enrolment chose for 1 % of strangers. The first brackets are 95 % intervals
over speakers. The second brackets are the same of the change against `nobody`, on the same trials.

Everybody is enrolled through the real enrolment from five takes, for every second phrase of the lists. Networks
and cohort never met the people measured ([accuracy.md](accuracy.md)).

* `others`: whom enrolment was given besides, with `--others`. They are one or three people of the same corpus,
  drawn by chance, five clips each, of the phrase itself or of other words. The three are never counted as
  strangers.
* `home in`: how many of their own tries of the phrase, which nobody was given, get in.

Each speaker of these corpora was recorded alone and in one session. So "the same microphone" is here the same
corpus, which is less than what a household has.
"""


class Remembering(SpeakerNetwork):
    """A speaker network that embeds no crop twice."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._known: dict[bytes, Utterance] = {}

    def hear_analysed(self, crop: Analysis) -> Utterance:
        """As the network does."""
        key = crop.samples.tobytes()
        if key not in self._known:
            self._known[key] = super().hear_analysed(crop)
        return self._known[key]


@dataclass(frozen=True)
class Row:
    """How everybody of a set is enrolled."""

    cohort: str
    """`with` or `without` other speakers of the set."""
    others: int
    """How many people of the home are given."""
    same_phrase: bool

    def __str__(self) -> str:
        """As in the table."""
        return f"{self.others}, {'the phrase' if self.same_phrase else 'other words'}" if self.others else "nobody"


ROWS = (
    Row("without", 0, True),
    Row("without", 1, True),
    Row("without", 3, True),
    Row("without", 3, False),
    Row("with", 0, True),
    Row("with", 3, True),
)


def chance(*of: str) -> np.random.Generator:
    """The same for the same names, everywhere."""
    return np.random.default_rng(zlib.crc32("/".join(of).encode()))


class Fold:
    """The people of one set and fold, and how they are enrolled and measured."""

    def __init__(self, name: str, trials: TrialList, setup: Setup, fold: int) -> None:
        enroller = replace(setup.enroller, speaker=Remembering(folds.FOLDS_DIR / str(fold)))
        self._enrollers = {"with": enroller, "without": replace(enroller, cohort=enroller.cohort.without_set(name))}
        self._options = setup.options
        self._people = trials.people
        self._verifier = Verifier([], enroller.speaker, enroller.head)

    def measure(self, row: Row) -> tuple[error_rates.Trials, npt.NDArray[np.bool_]]:
        """All trials with strangers, and (k,) which tries of the home got in."""
        scores: list[Float32] = []
        people: list[str] = []
        speakers: list[str] = []
        home_let_in: list[bool] = []
        for phrase in sorted(self._people)[::2]:
            tries = list(self._tries(phrase))
            embeddings = np.array([embedding for _, embedding in tries])
            said_by = np.array([speaker for speaker, _ in tries])
            for person in sorted(self._people[phrase]):
                home = list(chance(phrase, person).permutation(sorted({*self._people[phrase]} - {person}))[:HOME])
                margins = self._margins(row, phrase, person, home, embeddings)
                at_home = np.isin(said_by, home)
                home_let_in += list(margins[np.isin(said_by, home[: row.others or HOME])] >= 0)
                scores.append(margins[~at_home])
                speakers += list(said_by[~at_home])
                people += [person] * int(np.sum(~at_home))
        values = np.concatenate(scores).astype(np.float64)
        _, number = np.unique(people + speakers, return_inverse=True)
        person_number, speaker_number = number[: len(people)], number[len(people) :]
        own = person_number == speaker_number
        return error_rates.Trials(values, own, values >= 0, person_number, speaker_number), np.array(home_let_in)

    def _margins(self, row: Row, phrase: str, person: str, home: list[str], embeddings: Float32) -> Float32:
        takes = [Recording.read(str(path)) for path in self._people[phrase][person]["enroll"]]
        given = [path for other in home[: row.others] for path in self._clips(phrase, other, row.same_phrase)]
        others = [Recording.read(str(path)) for path in given]
        enroller: Enroller = self._enrollers[row.cohort]
        enrolment = enroller.enrol(person, takes, None, self._options, others=others)
        return self._verifier.margin(enrolment.voiceprint, embeddings)

    def _clips(self, phrase: str, speaker: str, same_phrase: bool) -> list[Path]:
        if same_phrase:
            return self._people[phrase][speaker]["enroll"][:CLIPS]
        words = [word for word in sorted(self._people) if word != phrase and speaker in self._people[word]]
        return [
            self._people[word][speaker]["enroll"][0] for word in chance(phrase, speaker).permutation(words)[:CLIPS]
        ]

    def _tries(self, phrase: str) -> Iterator[tuple[str, Float32]]:
        enroller = self._enrollers["with"]
        for speaker, roles in sorted(self._people[phrase].items()):
            for path in roles["test"]:
                try:
                    yield speaker, enroller.speaker.embed(read_audio(path))
                except AudioError:  # nothing is said in it
                    continue


def main() -> int:
    """Measures row by row and writes the page."""
    data = Path(sys.argv[1])
    lines = []
    for name in SETS:
        parts = [Fold(name, trials, setup, fold) for fold, (trials, setup) in zip(FOLDS, folds.parts(data, name))]
        base: error_rates.Trials | None = None
        for row in ROWS:
            measured = [part.measure(row) for part in parts]
            trials = error_rates.pooled([part for part, _ in measured])
            home = np.concatenate([let_in for _, let_in in measured])
            base = trials if not row.others else base
            lines.append(_line(name, row, trials, base if row.others else None, home))
            print(lines[-1], file=sys.stderr, flush=True)
    table = [
        "| set | own, strangers' tries | cohort | others | strangers in | owner out | EER | FRR at 1 % FAR "
        "| home in |",
        "|---|---|---|---|---|---|---|---|---|",
        *lines,
    ]
    top = heading("Other people at the same microphone", __file__, FOLD_NETWORKS, head=True, corpora=True)
    (DOCS / "others.md").write_text("\n".join([top, HEADER, *table]) + "\n", "utf-8")
    return 0


def _line(
    name: str, row: Row, trials: error_rates.Trials, base: error_rates.Trials | None, home: npt.NDArray[np.bool_]
) -> str:
    rates, spans = trials.rates(), trials.intervals()
    changes = trials.intervals(base) if base is not None else {}
    cells = []
    for key in ("far_at_enrolled", "frr_at_enrolled", "eer", "frr_at_far_0.01"):
        cell = f"{100 * rates[key]:.1f} [{100 * spans[key][0]:.1f}, {100 * spans[key][1]:.1f}]"
        if base is not None:
            cell += f" [{100 * changes[key][0]:+.1f}, {100 * changes[key][1]:+.1f}]"
        cells.append(cell)
    counts = f"{trials.own.sum()}, {(~trials.own).sum()}"
    return (
        f"| {name} | {counts} | {row.cohort} other speakers of the set | {row} | {' | '.join(cells)} "
        f"| {100 * home.mean():.1f} of {len(home)} |"
    )


if __name__ == "__main__":
    sys.exit(main())

"""What an enrolment's sentence promises, and what came of it: `python scripts/studies/expected.py DATA`, expected.md.

DATA is the folder of study.py. People of both folds enrol through the real enrolment, as there; each is told how
often he will be heard, and then his tries are counted. A quarter of an hour on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import folds
import numpy as np
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.networks.conditions import PLAIN, open_to
from earmark.engine.verifier import DECADE, Verifier, allowance
from earmark.enroll.evaluation.asking import hear_first
from earmark.enroll.evaluation.evaluate import enrol
from earmark.enroll.training.expected import heard_share
from earmark.models.fold import FOLDS

DOCS = Path(__file__).parents[2] / "docs" / "research"
SETS = ("asc", "dsp")  # with five takes of everybody
TAKES = 5
FARS = (0.01, 0.001)
INTRODUCTION = """\
At its end an enrolment says how often you will be heard, as "about 96 times in 100". Here people of asc and dsp enrol
with five takes, and their other tries are counted. The rule has two numbers for each count of takes, and one for own
takes that were rejected when left out.

The numbers were chosen on these same people, each set counting half: it is a fit, and no prediction. The sets differ.
All of asc sat at one microphone, each of dsp at one of his own. The sentence lies between them: too low for the
former, too high for the latter. For fewer takes the numbers are means of "By number of takes" in
[accuracy.md](accuracy.md).

* **promised**: the mean of what the sentences said, **came**: the share of own tries that were heard, in %.
* **rejected when left out**: how many of the own takes, each scored by what was learnt from the others.

Tries are clean, of the same session and microphone. In noise, or on another day, fewer are heard:
[accuracy.md](accuracy.md) has how many.
"""


@dataclass(frozen=True)
class Person:
    """One enrolment and what came of the tries."""

    corpus: str
    fold: int
    takes: int
    kind: str
    left_out: Sequence[float]
    """Scores of the own takes, each left out, less the threshold."""
    tries: Sequence[float]
    """The same of the own tries; −∞: nothing was heard."""


def people(data: Path, corpus: str, fold: int) -> Iterator[Person]:
    """Everybody of a set and fold."""
    trials, setup = list(folds.parts(data, corpus, TAKES))[fold]
    verifier = Verifier([], setup.enroller.speaker, setup.enroller.head)
    for phrase, voiceprints in enrol(trials, setup).people.items():
        for voiceprint in voiceprints:
            own = voiceprint.report["leave_one_out"].get(voiceprint.kind, {}).get("own", [])
            left_out = [score - voiceprint.threshold for score in own]
            files = trials.people[phrase][voiceprint.name]["test"]
            all_heard = [hear_first(setup.enroller, read_audio(path), setup.keyword) for path in files]
            heard = [each for each in all_heard if each is not None]
            may = np.array([open_to(each) for each in heard], bool).reshape(len(heard), len(PLAIN))
            margins = verifier.margin(voiceprint, np.array([each.embedding for each in heard], np.float32), may)
            tries = [float(margin) + allowance(voiceprint, each.snr_db) for margin, each in zip(margins, heard)] + [
                -np.inf
            ] * (len(files) - len(heard))
            yield Person(corpus, fold, len(voiceprint.takes), voiceprint.kind, left_out, tries)


def at(person: Person, far: float) -> tuple[int, int, list[bool], float]:
    """For a wanted FAR: rejected of the own takes and of how many, which tries are heard, and what is promised."""
    higher = DECADE[person.kind] * float(np.log10(0.01 / far))
    rejected = sum(score < higher for score in person.left_out)
    of = len(person.left_out)
    report = {"wanted_far": far, "expected_frr": {"rejected": rejected, "of": of}}
    return rejected, of, [score >= higher for score in person.tries], heard_share(report, person.takes)


def table(everybody: Sequence[Person]) -> Iterator[str]:
    """By own takes rejected, and by fold."""
    yield "## By own takes that were rejected when left out"
    yield ""
    yield "Each cell has two figures: of asc, of dsp."
    yield ""
    yield "| rejected | strangers wanted | people | own tries | promised | came |"
    yield "|---|---|---|---|---|---|"
    for far in FARS:
        for rejected in range(TAKES):
            some = [person for person in everybody if at(person, far)[0] == rejected]
            if some:
                sets = [[person for person in some if person.corpus == corpus] for corpus in SETS]
                yield f"| {rejected} of 5 | {100 * far:g} % | {_row(sets, far)} |"
    yield ""
    yield "## By fold"
    yield ""
    yield "1 % of strangers wanted. Each cell has two figures: of fold 0, of fold 1."
    yield ""
    yield "| set | people | own tries | promised | came |"
    yield "|---|---|---|---|---|"
    for corpus in SETS:
        both = [[person for person in everybody if (person.corpus, person.fold) == (corpus, fold)] for fold in FOLDS]
        yield f"| {corpus} | {_row(both, FARS[0])} |"


def _row(groups: Sequence[Sequence[Person]], far: float) -> str:
    cells: list[list[str]] = [[], [], [], []]
    for group in groups:
        results = [at(person, far) for person in group]
        heard = [one for result in results for one in result[2]]
        tries = [len(result[2]) for result in results]
        promised = np.average([result[3] for result in results], weights=tries) if heard else np.nan
        came = np.mean(heard) if heard else np.nan
        texts = (f"{len(results)}", f"{len(heard)}", f"{100 * promised:.1f}", f"{100 * came:.1f}")
        for cell, text in zip(cells, texts):
            cell.append(text.replace("nan", "–"))
    return " | ".join(", ".join(cell) for cell in cells)


def page(everybody: Sequence[Person]) -> str:
    """All of it."""
    top = heading("What the sentence promises", __file__, FOLD_NETWORKS, head=True, corpora=True)
    return "\n".join([top, INTRODUCTION, *table(everybody)]) + "\n"


def main() -> int:
    """Enrols everybody and writes the page."""
    everybody = [person for corpus in SETS for fold in FOLDS for person in people(Path(sys.argv[1]), corpus, fold)]
    (DOCS / "expected.md").write_text(page(everybody), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

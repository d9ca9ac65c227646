"""Error rates on real people, as a Markdown table: `python scripts/study.py DATA > docs/accuracy.md`.

DATA is a folder with trials_asc.csv, trials_dsp.csv, … and their recordings. Nobody is measured against himself: the
corpus that is being measured is taken out of the cohort as a whole, as if a home's microphone were being measured,
which no shipped cohort has heard. Takes about fifteen minutes on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.evaluate import evaluate, read_trials

SETS = {
    "dsp": "24 students, 6 English words, web recorder, same session, 5 takes",
    "asc": "18 people, 12 Arabic words, same session, 5 takes",
    "wuw": "telephone, other day and line, 1 to 3 takes",
}

HEADER = """# Accuracy

`python scripts/study.py DATA`; rates in %, enrolled for 1 % of strangers, seed 0. `head` is what enrolment uses,
`cosine` the plain cosine of the same takes. The cohort holds no clip of the measured corpus. The head's start, the
principal axes of the whole shipped cohort, has seen one take of each phrase of asc and dsp, without labels.

| set | trials: own, strangers | system | EER | FRR at 1 % FAR | at 0.1 % FAR | at the enrolled threshold: FAR, FRR |
|---|---|---|---|---|---|---|"""


def main() -> int:
    """Evaluates the sets that are there."""
    enroller = Enroller.load()
    print(HEADER)
    for name, text in SETS.items():
        path = Path(sys.argv[1]) / f"trials_{name}.csv"
        results = evaluate(read_trials(path), enroller, None, Options(min_takes=1), set_name=name, on_phrase=_tell)
        for system, rates in results["systems"].items():
            print(_row(name, text, results["trials"], system, rates), flush=True)
        for refused in results["refused"]:
            print(f"{name}: enrolment refused: {refused}", file=sys.stderr)
    return 0


def _row(name: str, text: str, trials: dict[str, int], system: str, rates: dict[str, float]) -> str:
    percent = {key: f"{100 * rate:.1f}" for key, rate in rates.items()}
    first = f"{name}: {text} | {trials['target']}, {trials['impostor']}" if system == "head" else " | "
    return (
        f"| {first} | {system} | {percent['eer']} | {percent['frr_at_far_0.01']} | {percent['frr_at_far_0.001']} "
        f"| {percent['far_at_enrolled']}, {percent['frr_at_enrolled']} |"
    )


def _tell(done: int, total: int) -> None:
    print(f"{done} of {total} phrases", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

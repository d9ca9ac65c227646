"""Compares rules for the threshold on real people: `python scripts/thresholds.py DATA`, a Markdown table.

Every rule is built from what enrolment reports: the cohort's quantile for 1 % of strangers, the cohort's mean, and
the scores of the own takes, each left out in turn. Takes about fifteen minutes on one core.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earmark.engine.audio import Float32
from earmark.engine.person import Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller, Options
from earmark.enroll.evaluate import Roles, embed_try, enrol_files, read_trials, without_set

SETS = ("dsp", "asc")
Rule = Callable[[float, float, Float32], float]
RULES: dict[str, Rule] = {
    "the cohort's quantile": lambda quantile, mean, own: quantile,  # noqa: ARG005  all rules take the same
    "midway between cohort's mean and own takes, at least the quantile": lambda quantile, mean, own: max(
        quantile, (mean + float(own.mean())) / 2
    ),
    "**halfway between quantile and own takes**": lambda quantile, mean, own: (  # noqa: ARG005
        (quantile + max(quantile, float(own.mean()))) / 2
    ),
    "lowest own take − 0.05, at least the quantile": lambda quantile, mean, own: max(  # noqa: ARG005
        quantile, float(own.min()) - 0.05
    ),
}


def main() -> int:
    """Prints FAR / FRR of each rule and set, in %."""
    data = Path(sys.argv[1])
    shares: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for name in SETS:
        enroller = without_set(Enroller.load(), name)
        for phrase, people in read_trials(data / f"trials_{name}.csv").items():
            print(f"{name}: {phrase}", file=sys.stderr)
            for rule, share in _phrase(enroller, people):
                shares[rule, name].append(share)
    print(f"| rule | {' | '.join(SETS)} |\n|---|{'---|' * len(SETS)}")
    for rule in RULES:
        cells = [" / ".join(f"{100 * value:.1f}" for value in np.mean(shares[rule, name], axis=0)) for name in SETS]
        print(f"| {rule} | {' | '.join(cells)} |")
    return 0


def _phrase(enroller: Enroller, people: dict[str, Roles]) -> list[tuple[str, tuple[float, float]]]:
    """For every person and rule: the shares of strangers let in and of own tries rejected."""
    tries = {
        speaker: np.array([row for path in roles["test"] if (row := embed_try(enroller, path, None)) is not None])
        for speaker, roles in people.items()
    }
    shares = []
    verifier = Verifier([], enroller.speaker, enroller.head)
    for speaker, roles in people.items():
        person = enrol_files(enroller, speaker, roles["enroll"], None, Options(min_takes=1))
        scores = {other: verifier.score(person, rows) for other, rows in tries.items() if len(rows)}
        strangers = np.concatenate([rows for other, rows in scores.items() if other != speaker])
        for rule in RULES:
            threshold = RULES[rule](*_reported(person))
            share = (float(np.mean(strangers >= threshold)), float(np.mean(scores[speaker] < threshold)))
            shares.append((rule, share))
    return shares


def _reported(person: Voiceprint) -> tuple[float, float, Float32]:
    """The cohort's quantile and mean, and the own takes left out: the quantile follows from the shipped rule."""
    own = np.array(person.report["leave_one_out"][person.kind]["own"], np.float32)
    quantile = min(person.threshold, 2 * person.threshold - float(own.mean()))
    return quantile, person.report["impostor_mean"], own


if __name__ == "__main__":
    sys.exit(main())

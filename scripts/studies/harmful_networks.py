"""Networks made to harm: `python scripts/studies/harmful_networks.py > docs/research/harmful_networks.md`.

What a mutant is, and what it meets, is in tests/model_mutants.py.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from heading import NONE, ROOT, heading
from model_mutants import KILLED, OUTCOMES, judge, mutants, places

from earmark.engine.audio.files import read_audio
from earmark.engine.features.frontend import Frontend
from earmark.engine.networks import runtime
from earmark.engine.networks.card import builtin_keywords

TINY = ROOT / "tests" / "models"
TEXT = """\
Called with `--cases {cases} --seed {seed}`, under {runtime}. In each mutant one to three numbers of the file are
others: an offset, a length, a shape, a scale, an index, an option, or a number in a small buffer. Each met what a
network from elsewhere meets. What was let pass then heard speech in the daemon's own class.

Before there was an inspection, 109 of 2,069 such mutants ended the process that opened them.
"""


def main() -> int:
    """Makes, judges and prints; exit 1 if one of them ended the daemon."""
    parser = argparse.ArgumentParser(description="Open networks made to harm.")
    parser.add_argument("--cases", type=int, default=10_000, help="in all (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutants (0)")
    arguments = parser.parse_args()
    frames = Frontend().push(read_audio(ROOT / "tests" / "audio" / "slt_okay_nabu_test_1.flac"))
    sources = [(path.with_suffix(".tflite"), "keyword") for path in builtin_keywords().values()]
    sources += [(TINY / "speaker.tflite", "speaker"), (TINY / "head.tflite", "head")]
    print(heading("Networks made to harm", __file__, NONE))
    print(TEXT.format(cases=arguments.cases, seed=arguments.seed, runtime=runtime.version()))
    print("| network | numbers | mutants | " + " | ".join(OUTCOMES) + " |\n|" + "---|" * (3 + len(OUTCOMES)))
    total: Counter[str] = Counter()
    share = -(-arguments.cases // len(sources))
    for path, kind in sources:
        content = path.read_bytes()
        found = Counter(judge(mutant, kind, frames) for mutant in mutants(content, share, arguments.seed))
        total += found
        counts = " | ".join(str(found[outcome]) for outcome in OUTCOMES)
        print(f"| {path.stem} | {len(places(content))} | {share} | {counts} |", flush=True)
    counts = " | ".join(str(total[outcome]) for outcome in OUTCOMES)
    print(f"| **all** | | {sum(total.values())} | {counts} |")
    return 1 if total[KILLED] else 0


if __name__ == "__main__":
    sys.exit(main())

"""openWakeWord's custom verifier on our trial lists: `python scripts/studies/peer.py DATA`, a Markdown table.

Its recipe (openwakeword.custom_verifier_model, 0.5.1): logistic regression on 16 frames of its speech embedding, the
takes against the same person's other speech. There is no openWakeWord network for these words, so the windows are
those that end up to 0.24 s after the word, where one would fire; the other speech is the person's other words of the
list. Needs openwakeword==0.5.1, which brings its networks along, and scikit-learn, in an environment of their own.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from heading import NONE, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import locate_speech
from earmark.enroll.evaluation.error_rates import Trials

SETS = ("asc", "dsp", "wuw")
FRAMES = 16  # of 80 ms: what an openWakeWord network looks at
LEAD_SAMPLES, TAIL_SAMPLES = 2 * RATE_HZ, RATE_HZ // 2
FRAME_HOPS, WINDOW_HOPS = 8, 76  # of 10 ms: from one embedding to the next, and what one covers
DELAYS = (0, 1, 2, 3)  # frames after the word's end
Windows = dict[str, dict[str, dict[str, list[Float32]]]]


def main() -> int:
    """Prints EER and FRR at 1 % FAR of each set."""
    from openwakeword.custom_verifier_model import train_verifier_model
    from openwakeword.utils import AudioFeatures

    features = AudioFeatures()
    print(heading("A peer on the same trials", __file__, NONE, corpora=True))
    print("| set | own, strangers' trials | EER | FRR at 1 % FAR |\n|---|---|---|---|")
    for name in SETS:
        windows = _read(Path(sys.argv[1]), name, features)
        rows: list[tuple[float, str, str]] = []
        for phrase, speakers in windows.items():
            for person, roles in speakers.items():
                others = [
                    window
                    for other, people in windows.items()
                    if other != phrase and person in people
                    for take in people[person]["enroll"]
                    for window in take
                ]
                if not roles["enroll"] or not others:
                    continue
                own = np.concatenate(roles["enroll"])
                labels = np.r_[np.ones(len(own)), np.zeros(len(others))]
                model = train_verifier_model(np.concatenate([own, np.array(others)]), labels)
                for speaker, theirs in speakers.items():
                    rows += [(model.predict_proba(take)[:, 1].max(), person, speaker) for take in theirs["test"]]
            print(f"{name}: {phrase}", file=sys.stderr)
        print(_row(name, rows), flush=True)
    return 0


def _read(data: Path, name: str, features: Any) -> Windows:
    """phrase -> speaker -> role -> takes of (windows, 16, 96)."""
    windows: Windows = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    with (data / f"trials_{name}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            samples = read_audio(data / row["path"])
            try:
                _, end = locate_speech(samples)
            except AudioError:
                continue
            padded = np.pad(samples, (LEAD_SAMPLES, TAIL_SAMPLES))
            frames = features.embed_clips(padded[None])[0]
            last = ((LEAD_SAMPLES + end) * 100 // RATE_HZ - WINDOW_HOPS) // FRAME_HOPS
            take = np.array([frames[last + delay - FRAMES + 1 : last + delay + 1] for delay in DELAYS])
            windows[row["phrase"]][row["speaker"]][row["role"]].append(take)
    return windows


def _row(name: str, rows: list[tuple[float, str, str]]) -> str:
    scores = np.array([score for score, _, _ in rows])
    _, number = np.unique(
        [person for _, person, _ in rows] + [speaker for _, _, speaker in rows], return_inverse=True
    )
    person, speaker = number[: len(rows)], number[len(rows) :]
    rates = Trials(scores, person == speaker, scores >= 0.5, person, speaker).rates()
    own = int(np.sum(person == speaker))
    return f"| {name} | {own}, {len(rows) - own} | {100 * rates['eer']:.1f} | {100 * rates['frr_at_far_0.01']:.1f} |"


if __name__ == "__main__":
    sys.exit(main())

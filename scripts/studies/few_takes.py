"""Free speech as one take more of the wake word: `python scripts/studies/few_takes.py DATA CACHE SET TAKES…`.

DATA and CACHE are those of `channels.py`. The takes of a person's other phrases, of the same sessions, are the free
speech: the mean of their embeddings, and of each of their variations, is one take more. All else is the ordinary
enrolment, with its threshold. Prints the rows of the second table of docs/research/free_speech.md.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import folds
import numpy as np
from channels import EVERY, Row, Study, rates
from heard import Heard, Takes

from earmark.engine.audio.samples import Float32
from earmark.enroll.options import as_they_are
from earmark.enroll.training.train import TakeEmbeddings

TRIES = {"wuw": ("clean",)}  # by telephone as they are
CONDITIONS = ("clean", "noise 10 dB", "one talker 5 dB")
OF_EACH = 5  # takes of each other phrase


def together(takes: list[TakeEmbeddings]) -> TakeEmbeddings:
    """The mean of several as one take."""
    fewest = min(len(take.copies) for take in takes)
    known = [take.high_db for take in takes if take.high_db is not None]
    return TakeEmbeddings(
        _unit(np.mean([take.clean for take in takes], axis=0)),
        _unit(np.mean([take.copies[:fewest] for take in takes], axis=0)),
        elsewhere=_unit(np.mean([take.elsewhere for take in takes], axis=0)).astype(np.float16).astype(np.float32),
        high_db=float(np.median(known)) if len(known) == len(takes) else None,
    )


def _unit(rows: Float32) -> Float32:
    unit: Float32 = (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


def given(who: Takes, most: int, speech: list[TakeEmbeddings]) -> list[TakeEmbeddings]:
    """So many takes, and the speech as one more where there is some; of each as many copies."""
    takes = [*who.takes[:most], *([together(speech)] if speech else [])]
    fewest = min(len(take.copies) for take in takes)
    return [replace(take, copies=take.copies[:fewest], heard=()) for take in takes]


def main() -> int:
    """Measures and prints."""
    data, cache, name, *counts = sys.argv[1:]
    heard = Heard(Path(data), Path(cache))
    study = Study(heard)
    phrases = heard.phrases(name, EVERY.get(name, 1))
    enrolled = {
        (fold, phrase): {who.speaker: who for who in heard.takes(name, fold, phrase, "clean")}
        for fold, phrase in phrases
    }
    for most in map(int, counts):
        for with_speech in (False, True):
            rows: dict[str, list[Row]] = {condition: [] for condition in TRIES.get(name, CONDITIONS)}
            for fold, phrase in phrases:
                for who in enrolled[fold, phrase].values():
                    speech = [
                        take
                        for (other_fold, other), people in enrolled.items()
                        if other_fold == fold and other != phrase and who.speaker in people
                        for take in people[who.speaker].takes[:OF_EACH]
                    ]
                    if not speech:
                        continue
                    takes = given(who, most, speech if with_speech else [])
                    snr_db = float(np.median(who.snr_db[:most]))
                    made = folds.enroller(fold).enrol_takes(
                        who.speaker, takes, None, as_they_are(), takes_snr_db=snr_db
                    )
                    for condition, found in rows.items():
                        tries = study.tries(name, fold, phrase, condition)
                        margins = study.margins(fold, made.voiceprint, tries)
                        found.append(Row(made.voiceprint, fold, phrase, margins, tries.everybody))
            for condition, found in rows.items():
                measured = rates(found)
                eer, wanted, far, frr = (
                    f"{measured[key]:.1f}" for key in ("eer", "frr_at_far_0.01", "far_at_enrolled", "frr_at_enrolled")
                )
                what = "and free speech" if with_speech else "alone"
                print(f"| {name} | {most} | {what} | {condition} | {eer} / {wanted} / {far}, **{frr}** |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The corpora that the recipes learn from, and what of them is never learned from.

The data is a folder with an `index.csv` (set, path, speaker, phrase, take, session, rate, seconds) and the sets that
are named here; models/README.md says where they come from.
"""

from __future__ import annotations

import csv
from pathlib import Path

from .fold import fold_of

SETS = {
    "asc": "Arabic Speech Commands (A. Ghandoura et al.), CC BY 4.0",
    "dsp": "DSPSpeech-20 (Z. Chen), MIT",
    "gsc": "Speech Commands v0.01 (P. Warden), CC BY 4.0",
    "wuw": "Wake-Up-Word corpus II (wake-up-word/wuw-corpus-ii), CC BY-SA 4.0",
    "wuw_sent": "sentences of the calls of Wake-Up-Word corpus II, CC BY-SA 4.0",
    "wake": "Picovoice wake-word-benchmark and OHF-Voice pymicro-wakeword, Apache-2.0; "
    "Mycroft Precise Community Data, public domain",
    "speech": "pieces of LibriSpeech, AMI and VCTK, CC BY 4.0; Picovoice speech-to-intent orders, Apache-2.0",
}
LABELLED_SETS = ("asc", "dsp", "gsc", "wuw")  # who speaks is known, and figures are measured on them
SENTENCE_SETS = ("speech", "wuw_sent")  # no wake words: competing voices, and pieces as long as a word
SAME_PEOPLE = {"wuw_sent": "wuw"}  # set -> the set whose speakers are the same, and so are their folds
NOISE_SET = "noise"

# Noise and competing voices in the figures are of nobody and nothing that was trained on
TEST_NOISES = frozenset(  # about half of the recordings
    {
        "noise_free-car_engine",
        "noise_free-crowd_cheering",
        "noise_free-guitar",
        "noise_free-jazz_guitar",
        "noise_free-rain",
        "noise_gsc_-doing_the_dishes",
        "noise_gsc_-dude_miaowing",
        "noise_gsc_-exercise_bike",
        "noise_gsc_-running_tap",
    }
)
TEST_VOICES = frozenset({"libr27", "vctkp228"})  # of `speech`


def read_index(data: Path) -> list[dict[str, str]]:
    """The rows of the index, in the order of their paths."""
    with (data / "index.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["path"])


def may_be_trained_on(row: dict[str, str]) -> bool:
    """Whether a recording of the index is neither a test noise nor of a test voice."""
    return Path(row["path"]).stem not in TEST_NOISES and row["speaker"] not in TEST_VOICES


def owner_of(row: dict[str, str]) -> str:
    """set/speaker of a recording, or set/path where nobody knows: what the folds go by."""
    return f"{SAME_PEOPLE.get(row['set'], row['set'])}/{row['speaker'] or row['path']}"


def fold_of_owner(owner: str) -> int | None:
    """set/speaker -> the fold; None in the sets whose speakers no figure is measured on."""
    corpus, name = owner.split("/", 1)
    return fold_of(corpus, name) if corpus in LABELLED_SETS else None

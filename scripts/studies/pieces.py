"""What the pieces of a command say: `python scripts/studies/pieces.py DATA CACHE` prints two tables.

DATA and CACHE are those of `confirmation.py`. The first table is of commands without a wake word, as they reach
`wyoming.transcribe`; the second of the limits from which on a piece is another voice. Ten minutes each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import folds
import numpy as np
from confirmation import SETS, Data, Told, Try, heard_of, margin_of, may_of, row_of, shown

from earmark.engine.audio.samples import RATE_HZ
from earmark.engine.confirmation import ANOTHER_VOICE, MOST_PIECES
from earmark.engine.features.following import Follower, pieces_of
from earmark.enroll.evaluation.asking import key_of
from earmark.enroll.free_speech import SAME_VOICE
from earmark.enroll.training.calibrate import unit_mean

LATE = 8 * RATE_HZ // 10  # of the tail of a try: a satellite ends a command after 0.7 s of quiet


def alone(data: Data, name: str, fold: int, phrase: str, condition: str, as_it_comes: bool) -> list[Try]:
    """Everybody's commands without a wake word before them, cut as they come, or by the levels of the whole.

    The wake word of each is its first piece, and means nothing.
    """
    trials, _ = list(folds.parts(data.folder, name))[fold]
    speaker, found = folds.enroller(fold).speaker, []
    for person, roles in trials.people[phrase].items():
        for path in roles.get("test", []):
            made = data.said(name, trials.people, phrase, person, path)
            if made is None:
                continue
            samples, at = made
            command = data.kept.conditions[condition].apply(samples[at:-LATE], key_of(path))
            follower = Follower(None, ends=False)
            pieces = follower.push(command) + follower.finish() if as_it_comes else pieces_of(command)
            rows = [row for piece in pieces[:MOST_PIECES] if (row := row_of(speaker, piece.samples)) is not None]
            if rows:
                found.append(Try(person, heard_of(rows[0]), [heard_of(row) for row in rows]))
    return found


def elsewhere(data: Data) -> None:
    """The command alone, where the wake word ran elsewhere, with free speech."""
    print("| set | try | cut by the levels of | EER / FRR at 1 % / FAR, **FRR** as enrolled |\n|---|---|---|---|")
    for name in SETS:
        for condition in ("clean", "one talker 5 dB"):
            for as_it_comes, how in ((False, "the whole command"), (True, "what has come so far")):
                told: list[Told] = []
                heard: dict[tuple[int, str], list[Try]] = {}
                for fold, phrase, person, verifier in data.parts(name):
                    if (fold, phrase) not in heard:
                        heard[fold, phrase] = alone(data, name, fold, phrase, condition, as_it_comes)
                    known = data.speech(name, fold, phrase, person) or person
                    for one in heard[fold, phrase]:
                        margin = margin_of(verifier, known, None, one.pieces)
                        told.append(Told(f"{fold}/{phrase}/{person.name}", one.speaker, margin))
                print(f"| {name} | {condition} | {how} | {shown(told)} |", flush=True)


def pieces(data: Data) -> None:
    """Where a piece is another voice: `ANOTHER_VOICE` of a command, `SAME_VOICE` of free speech."""
    print("| set | what | limit | own pieces below it | strangers' |\n|---|---|---|---|---|")
    for name in SETS:
        for condition in ("clean", "one talker 5 dB"):
            margins: dict[bool, list[float]] = {True: [], False: []}
            for fold, phrase, person, verifier in data.parts(name):
                known = data.speech(name, fold, phrase, person) or person
                for one in data.tries(name, fold, phrase, condition):
                    for piece in one.pieces[:MOST_PIECES]:
                        score = verifier.score(known, piece.of(known).embedding[None], may_of(piece, known))
                        margins[one.speaker == person.name].append(float(score[0]) - known.threshold)
            _told_below(name, f"a piece of a command, {condition}: score less the threshold", ANOTHER_VOICE, margins)
        alike: dict[bool, list[float]] = {True: [], False: []}
        for fold, phrase in dict.fromkeys((fold, phrase) for fold, phrase, _, _ in data.parts(name)):
            here = [person for f, q, person, _ in data.parts(name) if (f, q) == (fold, phrase)]
            speech = {person.name: data.talk(name, fold, phrase, person.name) for person in here}
            for person in here:
                rows = speech[person.name]
                total = rows.sum(axis=0)
                for who, others in speech.items():
                    for number, row in enumerate(others[: len(rows)]):
                        both = unit_mean((total - rows[number])[None]) + person.centroid
                        alike[who == person.name].append(float(row @ both / np.linalg.norm(both)))
        _told_below(name, "a piece of free speech: cosine to the takes and the rest", SAME_VOICE, alike)


def _told_below(name: str, what: str, limit: float, found: dict[bool, list[float]]) -> None:
    own, strange = (100 * np.mean(np.array(found[is_own]) < limit) for is_own in (True, False))
    print(f"| {name} | {what} | {limit} | {own:.1f} % | {strange:.1f} % |", flush=True)


def main() -> int:
    """Measures and prints."""
    data, wanted = Data(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:]
    made: dict[str, Callable[[Data], None]] = {"elsewhere": elsewhere, "pieces": pieces}
    for name, table in made.items():
        if not wanted or name in wanted:
            table(data)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())

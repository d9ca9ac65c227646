"""What the command after a wake word brings: `python scripts/studies/confirmation.py DATA CACHE` prints the page.

DATA is a folder with the trial lists, the recordings of index.csv, noise and speech. What is heard is kept in CACHE.
A try is a recording of the trial list; its command, other words by the same speaker of the same day (of `wuw` a
sentence of the same call) that no enrolment has, is put 0.3 s behind it, and a second and a half of silence behind
that. All of it goes through a condition as one recording, so that a talker goes on as real ones do. Half an hour.
"""

from __future__ import annotations

import contextlib
import csv
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import folds
import numpy as np
from channels import Row, Study, rates
from heading import FOLD_NETWORKS, heading
from heard import Heard as Kept

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.confirmation import MOST_PIECES, fit, judge
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.features.following import Follower, pieces_of
from earmark.engine.features.narrow import through_line
from earmark.engine.features.speech import locate_speech
from earmark.engine.networks.conditions import NARROW_DB, Open, is_by_telephone, open_to
from earmark.engine.networks.speaker import CROP_SAMPLES, SpeakerNetwork, Utterance
from earmark.engine.people.store import FREE_SPEECH, PersonStore, Voiceprint
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Heard, Verifier
from earmark.enroll.enrolment import Recording
from earmark.enroll.evaluation.asking import key_of
from earmark.enroll.evaluation.conditions import Conditions
from earmark.enroll.free_speech import enrol_speech
from earmark.enroll.options import as_they_are

SETS = ("dsp", "asc")
CONDITIONS = (
    "clean",
    "noise 10 dB",
    "babble 10 dB",
    "one talker 5 dB",
    "telephone, mu-law",
    "far room, babble 10 dB",
    "noise 0 dB",
)
OTHER_DAYS, SENTENCES = "wuw", "wuw_sent"
GAP, TAIL = np.zeros(RATE_HZ // 10, np.int16), np.zeros(3 * RATE_HZ // 2, np.int16)
PAUSE = np.zeros(3 * RATE_HZ // 10, np.int16)
WORDS, TALK_S = 8, 30
STRANGERS = 6  # commands of others after each own wake
ALONE = Policy(far_of="person")


class Try(NamedTuple):
    """A wake word and the command after it."""

    speaker: str
    wake: Heard
    pieces: list[Heard]


class Told(NamedTuple):
    """What a person's voiceprints say of a try."""

    person: str
    speaker: str
    margin: float


class Data:
    """The recordings of a set and fold, and what is heard of them."""

    def __init__(self, data: Path, cache: Path) -> None:
        self.folder, self._cache = data, cache
        self.kept = Kept(data, cache)
        self.study = Study(self.kept)
        with (data / "index.csv").open(newline="", encoding="utf-8") as file:
            self._index = list(csv.DictReader(file))
        self._session = {data / row["path"]: row["session"] for row in self._index}
        self._speech: dict[tuple[str, int, str, str], Voiceprint | None] = {}
        self._tries: dict[tuple[str, int, str, str], list[Try]] = {}

    def tries(self, name: str, fold: int, phrase: str, condition: str) -> list[Try]:
        """Everybody's of a phrase."""
        key = name, fold, phrase, condition
        if key not in self._tries:
            path = self._cache / "commands" / condition / f"{name}-{fold}-{phrase}.npz"
            try:
                with np.load(path, allow_pickle=False) as rows:
                    found = dict(rows)
            except (FileNotFoundError, zipfile.BadZipFile):
                found = self._hear(name, fold, phrase, self.kept.conditions[condition])
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez(path, **found)
            self._tries[key] = list(_tries_of(found))
        return self._tries[key]

    def _hear(self, name: str, fold: int, phrase: str, condition: Conditions) -> dict[str, Any]:
        trials, _ = list(folds.parts(self.folder, name))[fold]
        speaker = folds.enroller(fold).speaker
        who, counts, rows = [], [], []
        for person, roles in trials.people[phrase].items():
            for path in roles.get("test", []):
                made = self.said(name, trials.people, phrase, person, path)
                if made is None:
                    continue
                samples, at = made
                changed = condition.apply(samples, key_of(path))
                follower = Follower(changed[:at])
                pieces = follower.push(changed[at:]) + follower.finish()
                heard = [
                    row_of(speaker, each)
                    for each in (changed[max(0, at - CROP_SAMPLES) : at], *(p.samples for p in pieces))
                ]
                if heard[0] is None:
                    continue
                good = [row for row in heard if row is not None]
                who.append(person)
                counts.append(len(good))
                rows += good
        return {"speaker": np.array(who), "count": np.array(counts), "rows": np.array(rows, np.float32)}

    def said(self, name: str, people: Any, phrase: str, person: str, path: Path) -> tuple[Int16, int] | None:
        """Wake word and command as one recording, and where the wake word ends."""
        wake = read_audio(path)
        try:
            _, end = locate_speech(wake)
        except AudioError:
            return None
        rng = np.random.default_rng(zlib.crc32(key_of(path).encode()))
        if name == OTHER_DAYS:
            words = self._sentences(person, {self._session[path]})
            words = [words[int(rng.integers(len(words)))]] if words else []
        else:
            words = [
                file for other in people if other != phrase for file in people[other].get(person, {}).get("test", [])
            ]
            rng.shuffle(words)  # type: ignore[arg-type]
        command = _joined(words[:WORDS])
        return (np.concatenate([wake[:end], PAUSE, command, TAIL]), end) if len(command) else None

    def _sentences(self, person: str, sessions: set[str]) -> list[Path]:
        rows = [row for row in self._index if row["set"] == SENTENCES and row["speaker"] == person]
        return [self.folder / row["path"] for row in rows if row["session"] in sessions]

    def speech(self, name: str, fold: int, phrase: str, person: Voiceprint) -> Voiceprint | None:
        """The voiceprint with half a minute of other words of the enrolment's day; None: there is too little."""
        key = name, fold, phrase, person.name
        store = PersonStore(self._cache / "speech" / f"{name}-{fold}-{phrase}")
        if key not in self._speech and person.name in store.names():
            self._speech[key] = store.load(person.name, FREE_SPEECH)
        if key not in self._speech:
            talk = self._talk(name, fold, phrase, person.name)
            try:
                made = enrol_speech(folds.enroller(fold), person, [Recording("talk", talk)], as_they_are())
                self._speech[key] = made.voiceprint
                store.save(made.voiceprint)
            except EnrolmentRefused:
                self._speech[key] = None
        return self._speech[key]

    def _talk(self, name: str, fold: int, phrase: str, person: str) -> Int16:
        """Half a minute of other words of the enrolment's day."""
        trials, _ = list(folds.parts(self.folder, name))[fold]
        if name == OTHER_DAYS:
            enrolled = trials.people[phrase][person]["enroll"]
            files = self._sentences(person, {self._session[path] for path in enrolled})
        else:
            others = [trials.people[other] for other in sorted(trials.people) if other != phrase]
            takes = [roles[person].get("enroll", []) for roles in others if person in roles]
            files = [row[number] for number in range(5) for row in takes if number < len(row)]
        return _joined(files)[: TALK_S * RATE_HZ]

    def talk(self, name: str, fold: int, phrase: str, person: str) -> Float32:
        """(n, d) embeddings of the pieces of that."""
        speaker, rows = folds.enroller(fold).speaker, []
        for piece in pieces_of(self._talk(name, fold, phrase, person)):
            with contextlib.suppress(AudioError):
                rows.append(speaker.embed(piece.samples))
        return np.array(rows, np.float32)

    def parts(self, name: str) -> Iterator[tuple[int, str, Voiceprint, Verifier]]:
        """Fold, phrase, voiceprint of everybody, and who can ask them."""
        for fold, phrase, person in self.study.people(name):
            enroller = folds.enroller(fold)
            yield fold, phrase, person, Verifier([], enroller.speaker, enroller.head)


def _joined(files: list[Path]) -> Int16:
    """What is said in recordings, a tenth of a second apart."""
    parts = [np.zeros(0, np.int16)]
    for path in files:
        samples = read_audio(path)
        try:
            start, end = locate_speech(samples)
        except AudioError:
            continue
        parts += [samples[start:end], GAP]
    return np.concatenate(parts)


def row_of(speaker: SpeakerNetwork, samples: Int16) -> Float32 | None:
    """(2 d + 3,): embedding, the one through a line, and what is measured."""
    try:
        heard = speaker.hear(samples)
    except AudioError:
        return None
    try:
        lined = speaker.embed(through_line(samples))
    except AudioError:
        lined = heard.embedding
    row: Float32 = np.concatenate([heard.embedding, lined, np.array(heard[1:], np.float32)])
    return row


def _tries_of(rows: dict[str, Any]) -> Iterator[Try]:
    at = 0
    for speaker, count in zip(rows["speaker"], rows["count"]):
        heard = [heard_of(row) for row in rows["rows"][at : at + count]]
        at += count
        yield Try(str(speaker), heard[0], heard[1:])


def heard_of(row: Float32) -> Heard:
    """What `row_of` made a row of."""
    size = (len(row) - 3) // 2
    snr_db, high_db, clipped = map(float, row[2 * size :])
    plain = Utterance(row[:size], snr_db, high_db, clipped)
    if is_by_telephone(high_db):
        return Heard(plain, plain)
    return Heard(plain, Utterance(row[size : 2 * size], snr_db, min(high_db, NARROW_DB - 1), clipped))


def shown(told: list[Told]) -> str:
    """EER / FRR at 1 % FAR / FAR, FRR at the enrolled threshold, in %."""
    rows = []
    for person in dict.fromkeys(one.person for one in told):
        here = [one for one in told if one.person == person]
        name = person.split("/")[-1]
        margins = np.array([one.margin for one in here], np.float32)
        named: Any = SimpleNamespace(name=name)
        rows.append(Row(named, 0, "", margins, np.array([one.speaker for one in here])))
    found = rates(rows)
    keys = ("eer", "frr_at_far_0.01", "far_at_enrolled", "frr_at_enrolled")
    eer, wanted, far, frr = (f"{found[key]:.1f}" for key in keys)
    return f"{eer} / {wanted} / {far}, **{frr}**"


def tables(data: Data) -> None:
    """The wake word alone, and with one, two and three pieces of the command."""
    print("| set | try | wake alone | with 1 piece | 2 | 3 | with free speech: 1 piece | 2 | 3 | command alone: 3 |")
    print(f"|{'---|' * 10}")
    rows = [(name, condition) for name in SETS for condition in CONDITIONS] + [(OTHER_DAYS, "clean")]
    for name, condition in rows:
        cells: dict[tuple[str, int], list[Told]] = {}
        for fold, phrase, person, verifier in data.parts(name):
            speech = data.speech(name, fold, phrase, person)
            for one in data.tries(name, fold, phrase, condition):
                who = f"{fold}/{phrase}/{person.name}"
                alone = verifier.score(person, one.wake.of(person).embedding[None], may_of(one.wake, person))
                cells.setdefault(("wake", 0), []).append(Told(who, one.speaker, float(alone[0]) - person.threshold))
                for kind, known in (("takes", person), ("speech", speech or person)):
                    for count in range(1, MOST_PIECES + 1):
                        margin = margin_of(verifier, known, one.wake, one.pieces[:count])
                        cells.setdefault((kind, count), []).append(Told(who, one.speaker, margin))
                margin = margin_of(verifier, speech or person, None, one.pieces[:MOST_PIECES])
                cells.setdefault(("command", 0), []).append(Told(who, one.speaker, margin))
        print(f"| {name} | {condition} | {' | '.join(shown(cell) for cell in cells.values())} |", flush=True)


def may_of(heard: Heard, person: Voiceprint) -> Open:
    """What it may be compared with of a person."""
    return open_to(heard.of(person))


def margin_of(verifier: Verifier, person: Voiceprint, wake: Heard | None, pieces: list[Heard]) -> float:
    """As `judge` asks it; of a wake without a command that of the wake."""
    if not pieces:
        if wake is None:
            return -1.0
        score = verifier.score(person, wake.of(person).embedding[None], may_of(wake, person))
        return float(score[0]) - person.threshold
    return fit(verifier, person, ALONE, 0.0, wake, pieces).margin


def outcomes(data: Data) -> None:
    """Whose command it was said to be: the owner's, a stranger's after the owner's wake, and with one who goes on."""
    print("| set | try | known by | who speaks | pieces | confirmed | denied | several voices |")
    print(f"|{'---|' * 8}")
    for name in SETS:
        for condition in ("clean", "one talker 5 dB", "telephone, mu-law"):
            for kind in ("free speech", "takes"):
                for (who, count), found in _outcomes(data, name, condition, kind).items():
                    total = sum(found.values())
                    shares = [100 * found[each] / total for each in ("confirmed", "denied", "several_voices")]
                    cells = " | ".join(f"{share:.1f}" for share in shares)
                    print(f"| {name} | {condition} | {kind} | {who} | {count} | {cells} |", flush=True)


def _outcomes(data: Data, name: str, condition: str, kind: str) -> dict[tuple[str, str], Counter[str]]:
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], Counter[str]] = {}
    for fold, phrase, person, verifier in data.parts(name):
        tries = data.tries(name, fold, phrase, condition)
        speech = data.speech(name, fold, phrase, person) if kind == "free speech" else None
        asked = Verifier([person, *([speech] if speech else [])], verifier._speaker, verifier._head)
        others = [one for one in tries if one.speaker != person.name]

        def ask(
            who: str, count: str, wake: Heard, pieces: list[Heard], asked: Verifier = asked, name: str = person.name
        ) -> None:
            if pieces:
                said = judge(asked, phrase_of(asked), ALONE, name, wake, pieces)
                found.setdefault((who, count), Counter())[said.outcome] += 1

        for own in (one for one in tries if one.speaker == person.name):
            known = margin_of(verifier, person, own.wake, []) >= 0
            for count in range(1, MOST_PIECES + 1):
                if len(own.pieces) >= count and known:
                    ask("the owner, who woke it", str(count), own.wake, own.pieces[:count])
            for number in rng.choice(len(others), min(STRANGERS, len(others)), replace=False):
                strange = others[number].pieces
                if strange:
                    ask("a stranger after the owner's wake", "1 to 3", own.wake, strange[:MOST_PIECES])
                if len(own.pieces) >= 2 and strange and known:
                    ask("the owner, then a television", "2, then 1 or 2", own.wake, [*own.pieces[:2], *strange[:2]])
    return found


def phrase_of(verifier: Verifier) -> str:
    """The wake word of who is asked first."""
    return verifier.people[0].keyword


def homes(data: Data) -> None:
    """Everybody of a fold and phrase at home: strangers taken for anybody, owners rejected or taken for another."""
    print(
        "| a home of | try | strangers taken for anybody | owners rejected or taken for another |\n|---|---|---|---|"
    )
    policy = Policy()
    for name in SETS:
        for condition in ("clean", "noise 10 dB", "one talker 5 dB"):
            let_in, rejected, sizes = [], [], []
            for fold, phrase in dict.fromkeys((fold, phrase) for fold, phrase, _, _ in data.parts(name)):
                here = [(p, v) for f, q, p, v in data.parts(name) if (f, q) == (fold, phrase)]
                known = [data.speech(name, fold, phrase, person) or person for person, _ in here]
                decades = policy.home_decades(len(known) - 1), policy.home_decades(len(known))
                for one in data.tries(name, fold, phrase, condition):
                    pieces = one.pieces[:MOST_PIECES]
                    if not pieces:
                        continue
                    fits = [fit(here[0][1], person, policy, decades[0], one.wake, pieces) for person in known]
                    let_in.append(any(each.margin >= 0 for each in fits if each.person != one.speaker))
                    every = [fit(here[0][1], person, policy, decades[1], one.wake, pieces) for person in known]
                    best = max(every, key=lambda each: each.margin)
                    if one.speaker in {person.name for person in known}:
                        rejected.append(best.margin < 0 or best.person != one.speaker)
                    sizes.append(len(known) - 1)
            print(
                f"| {np.mean(sizes):.0f} ({name}) | {condition} | {100 * np.mean(let_in):.1f} | "
                f"{100 * np.mean(rejected):.1f} |",
                flush=True,
            )


def main() -> int:
    """Measures and prints."""
    data, wanted = Data(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:]
    print(heading("The command after a wake word", __file__, FOLD_NETWORKS, head=True, corpora=True))
    made: dict[str, Callable[[Data], None]] = {
        "tables": tables,
        "outcomes": outcomes,
        "homes": homes,
    }
    for name, table in made.items():
        if not wanted or name in wanted:
            table(data)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())

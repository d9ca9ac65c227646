"""Compares loose cutoffs before the voice check: `python scripts/studies/gates.py DATA [--quick]`, two tables.

Every synthetic voice of tests/audio that has enrolment takes of a wake word is enrolled in turn, as `earmark enroll`
does, and asked about its own test takes, about the other voices', and about the recordings of DATA: a folder with
index.csv, of which the sets `wake` and `speech` are heard as they are, and the set `noise` is mixed into the takes.
What a loose cutoff costs is mostly the own voice saying other words. The synthetic ones say few, made to resemble the
wake word, and what passed the cutoff was left out when they were made: 0 for the network alone means nothing. For
real speech there is a bound: the wakes if every voice were taken for known.
No recording of `wake` is in the cohort that is enrolled with, so that "alexa" is learned without anybody else saying
it: harder than with the cohort that ships.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.decision import LOOSE_SHARE, REFRACTORY_SAMPLES, Candidate, KeywordDecision
from earmark.engine.detector import FLUSH_SAMPLES
from earmark.engine.errors import AudioError
from earmark.engine.features.frontend import Frontend
from earmark.engine.networks.card import load_manifest
from earmark.engine.networks.conditions import PLAIN, open_to
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES, Utterance
from earmark.engine.people.store import Voiceprint
from earmark.engine.verifier import Verifier, allowance, loose_share_of
from earmark.enroll.enrolment import Enroller, Recording
from earmark.enroll.evaluation.conditions import Conditions
from earmark.enroll.training.loose_cutoff import LOOSEST

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
WORDS = ("alexa", "okay_nabu")
SHARES = (None, 0.8, LOOSE_SHARE, 0.4, 0.2)  # of the published cutoff; None is the published one
COLUMNS = (
    "network alone",
    *("strict + voice" if share is None else f"{share:g} + voice" for share in SHARES),
    "own cutoff + voice",
)
LEAD_SAMPLES = RATE_HZ  # of silence, in conditions: the frontend is used to the noise when the word comes
SNRS_DB = (10.0, 5.0, 0.0, -5.0)
ROOM_RT60_S = 0.5
QUIET_DB = -35.0  # the takes are at -25 dBFS or so: the speech is still above our own limit of -60
FAR_RT60_S, FAR_SNR_DB, FAR_DB = 0.7, 15.0, -20.0
QUICK_VOICES, QUICK_STEP = 2, 10


@dataclass(frozen=True)
class Heard:
    """What the cutoffs let through of one recording."""

    voice: str
    """Empty where nobody has written down whose it is."""
    seconds: float
    cutoffs: list[list[tuple[Candidate, int]]]
    """For each of `SHARES`, and for the loosest that a person may have, the candidates, each with the number of its
    embedding; -1: nothing is said in it."""

    def wakes(self, known: npt.NDArray[np.bool_], own_cutoff: float) -> list[int]:
        """How often the recording wakes, for each of `COLUMNS`.

        Args:
            known: (n,) whether each embedding is accepted.
            own_cutoff: mean probability from which on this person is heard.
        """
        own = [pair for pair in self.cutoffs[-1] if not pair[0].weak or pair[0].score > own_cutoff]
        cutoffs = [*self.cutoffs[:-1], own]
        return [len(self.cutoffs[0]), *(_accepted(candidates, known) for candidates in cutoffs)]


@dataclass(frozen=True)
class Group:
    """Recordings that make one row of a table."""

    name: str
    heard: list[Heard]
    embeddings: Float32
    """(n, embedding size) of all candidates."""
    voices: list[Utterance]
    """Each of them."""


@dataclass(frozen=True)
class Bench:
    """A wake word, its network, and who is enrolled for it."""

    network: KeywordNetwork
    enroller: Enroller
    people: list[Voiceprint]

    def hear(self, name: str, recordings: Iterator[tuple[str, Int16]], count: int) -> Group:
        """Runs (voice, (n,) int16) through the network, and embeds whatever any cutoff lets through."""
        heard, voices = [], []
        for number, (voice, samples) in enumerate(recordings):
            whole = np.pad(samples, (0, FLUSH_SAMPLES))  # as at the end of a stream
            self.network.reset()
            probabilities = self.network.push(Frontend().push(whole))
            cutoffs = [self._decision(share).push(probabilities) for share in (*SHARES, LOOSEST)]
            rows = {}
            for end in sorted({candidate.sample for each in cutoffs for candidate in each}):
                try:
                    voices.append(self.enroller.speaker.hear(whole[max(0, end - CROP_SAMPLES) : end]))
                    rows[end] = len(voices) - 1
                except AudioError:
                    rows[end] = -1
            numbered = [[(candidate, rows[candidate.sample]) for candidate in each] for each in cutoffs]
            heard.append(Heard(voice, len(samples) / RATE_HZ, numbered))
            print(f"\r{name}: {number + 1} of {count} ", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        embeddings = np.array([voice.embedding for voice in voices], np.float32)
        embeddings = embeddings.reshape(len(voices), self.enroller.speaker.embedding_size)
        return Group(name, heard, embeddings, voices)

    def misses(self, group: Group) -> str:
        """A row: how many of the enrolled voices' own recordings do not wake."""
        own = [wakes for person, heard, wakes in self._trials(group) if person.name == heard.voice]
        return _row(group.name, (np.array(own) == 0).sum(axis=0).tolist(), [len(own)] * len(COLUMNS))

    def own_words(self, group: Group) -> str:
        """A row: how many of the enrolled voices' own recordings wake."""
        trials = [(heard, wakes) for person, heard, wakes in self._trials(group) if person.name == heard.voice]
        return _row(f"{group.name}, own voice", *_waking(trials, hourly=False))

    def others(self, group: Group, hourly: bool = False) -> str:
        """A row: how many recordings of others wake, or how often an hour; each is tried with everybody enrolled.

        The network alone asks nobody: for it every recording counts once.
        """
        trials = [(heard, wakes) for person, heard, wakes in self._trials(group) if person.name != heard.voice]
        counts, of = _waking(trials, hourly)
        once = {id(heard): (heard, wakes) for heard, wakes in trials}
        alone, of_alone = _waking(list(once.values()), hourly)
        return _row(f"{group.name}, others' voices", [alone[0], *counts[1:]], [of_alone[0], *of[1:]])

    def any_voice(self, group: Group, hourly: bool) -> str:
        """A row: the same if every voice were known, the most that an own voice could wake."""
        known = np.ones(len(group.embeddings), bool)
        loosest = min(map(self._own_cutoff, self.people))
        trials = [(heard, heard.wakes(known, loosest)) for heard in group.heard]
        return _row(f"{group.name}, every voice taken for known", *_waking(trials, hourly))

    def _trials(self, group: Group) -> Iterator[tuple[Voiceprint, Heard, list[int]]]:
        """Everybody enrolled with every recording, and how often it wakes for each of `COLUMNS`."""
        verifier = Verifier([], self.enroller.speaker, self.enroller.head)
        for person in self.people:
            allowed = np.array([allowance(person, voice.snr_db) for voice in group.voices], np.float32)
            may = np.array([open_to(voice) for voice in group.voices], bool).reshape(len(group.voices), len(PLAIN))
            known = verifier.margin(person, group.embeddings, may) + allowed >= 0
            for heard in group.heard:
                yield person, heard, heard.wakes(known, self._own_cutoff(person))

    def _own_cutoff(self, person: Voiceprint) -> float:
        return loose_share_of(person) * self.network.manifest.probability_cutoff

    def _decision(self, share: float | None) -> KeywordDecision:
        manifest, stride = self.network.manifest, self.network.stride
        cutoff = manifest.probability_cutoff
        loose_cutoff = None if share is None else share * cutoff
        return KeywordDecision(manifest.name, cutoff, manifest.sliding_window_size, stride, loose_cutoff=loose_cutoff)


def main() -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description="Compare loose cutoffs before the voice check.")
    parser.add_argument("data", type=Path, help="folder with index.csv")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_VOICES} voices, every {QUICK_STEP}th recording: to see it run"
    )
    arguments = parser.parse_args()
    voices, step = (QUICK_VOICES, QUICK_STEP) if arguments.quick else (None, 1)
    misses: list[str] = []
    wakes: list[str] = []
    own_shares: list[str] = []
    for word in WORDS:
        bench = _enrolled(word, voices)
        for group in _saying_it(bench, word, arguments.data):
            misses.append(bench.misses(group))
            wakes.append(bench.others(group))
        others = [row for row in _index(AUDIO) if row["phrase"] != word]
        recordings = ((row["voice"], read_audio(AUDIO / row["path"])) for row in others)
        wakes.append(bench.own_words(bench.hear(f"{word}, synthetic, other words", recordings, len(others))))
        shares = ", ".join(f"{person.name} {loose_share_of(person):.2f}" for person in bench.people)
        own_shares.append(f"{word}: {shares}")
        for group, hourly in _real(bench, word, arguments.data, step):
            wakes += [bench.others(group, hourly), bench.any_voice(group, hourly)]
    print(heading("The loose cutoff", __file__, head=True))
    for title, rows in (("missed: own voice", misses), ("woken by", wakes)):
        print(f"| {title} | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}", *rows, sep="\n", end="\n\n")
    print(f"Own loose cutoffs, as shares of the published one: {'; '.join(own_shares)}.\n")
    print(
        "Trials of one voice, or of one recording, are not independent. Where nothing woke it in h hours, the rate is"
    )
    print("below 3 / h an hour with 95 % confidence; h is what stands in the column of the network alone.")
    return 0


def _enrolled(word: str, most: int | None) -> Bench:
    """Every synthetic voice that has takes of the word."""
    network, enroller = KeywordNetwork(load_manifest(word)), Enroller.load()
    enroller = replace(enroller, cohort=enroller.cohort.without_set("wake"))
    rows = [row for row in _index(AUDIO) if (row["phrase"], row["role"]) == (word, "enroll")]
    people = []
    for voice in sorted({row["voice"] for row in rows})[:most]:
        print(f"{word}: enrolling {voice}", file=sys.stderr)
        recordings = [Recording.read(str(AUDIO / row["path"])) for row in rows if row["voice"] == voice]
        people.append(enroller.enrol(voice, recordings, network).voiceprint)
    return Bench(network, enroller, people)


def _saying_it(bench: Bench, word: str, data: Path) -> Iterator[Group]:
    """All voices' test takes in each condition."""
    noises = [read_audio(data / row["path"]) for row in _index(data) if row["set"] == "noise"]
    conditions = {"clean": Conditions(), f"room, {ROOM_RT60_S:g} s": Conditions(room_rt60_s=ROOM_RT60_S)}
    conditions[f"{-QUIET_DB:g} dB quieter"] = Conditions(gain_db=QUIET_DB)
    conditions[f"far: room, {FAR_RT60_S:g} s, {FAR_SNR_DB:g} dB, {-FAR_DB:g} dB quieter"] = Conditions(
        room_rt60_s=FAR_RT60_S, noises=noises, snr_db=FAR_SNR_DB, gain_db=FAR_DB
    )
    conditions |= {f"noise, {snr_db:g} dB": Conditions(noises=noises, snr_db=snr_db) for snr_db in SNRS_DB}
    rows = [row for row in _index(AUDIO) if (row["phrase"], row["role"]) == (word, "test")]
    for name, condition in conditions.items():
        takes = ((row, np.pad(read_audio(AUDIO / row["path"]), LEAD_SAMPLES)) for row in rows)
        recordings = ((row["voice"], condition.apply(take, row["path"])) for row, take in takes)
        yield bench.hear(f"{word}, synthetic, {name}", recordings, len(rows))


def _real(bench: Bench, word: str, data: Path, step: int) -> Iterator[tuple[Group, bool]]:
    """Real people saying it, another wake word, or something else, and whether to count by the hour."""
    rows = [row for row in _index(data) if row["set"] in ("wake", "speech")]
    groups = {
        "real people saying it": [row for row in rows if row["phrase"] == word],
        "real people, another wake word": [row for row in rows if row["set"] == "wake" and row["phrase"] != word],
        "real people, other speech": [row for row in rows if row["set"] == "speech"],
    }
    for name, found in groups.items():
        chosen = found[::step]
        recordings = (("", read_audio(data / row["path"])) for row in chosen)
        yield bench.hear(f"{word}, {name}", recordings, len(chosen)), name.endswith("other speech")


def _index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _accepted(candidates: list[tuple[Candidate, int]], known: npt.NDArray[np.bool_]) -> int:
    """How many events of a known voice the detector makes of them: its refractory time follows a weak one."""
    count, quiet_until = 0, 0
    for candidate, number in candidates:
        if number < 0 or not known[number] or candidate.sample < quiet_until:
            continue
        count += 1
        if candidate.weak:
            quiet_until = candidate.sample + REFRACTORY_SAMPLES
    return count


def _waking(trials: list[tuple[Heard, list[int]]], hourly: bool) -> tuple[list[int], list[float]]:
    """Of each of `COLUMNS`: how many recordings wake, of how many; or how often they do, in how many hours."""
    wakes = np.array([wakes for _, wakes in trials])
    of = sum(heard.seconds for heard, _ in trials) / 3600 if hourly else len(trials)
    return (wakes if hourly else wakes > 0).sum(axis=0).tolist(), [of] * len(COLUMNS)


def _row(name: str, counts: list[int], of: Sequence[float]) -> str:
    """Counts with what they are of: recordings, or, where that is a float, hours."""
    cells = [
        f"{count} in {total:.2f} h, {count / total:.1f} / h"
        if isinstance(total, float)
        else f"{count} of {total}, {100 * count / max(total, 1):.1f} %"
        for count, total in zip(counts, of)
    ]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())

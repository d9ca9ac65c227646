"""What the speaker network says of takes and tries in each condition, kept on disk for the studies of scores.

Hearing is what takes long, and a score can be changed without it. One file for each set, fold, phrase and condition;
what is there is read, and the rest is made. Everything is as the enrolment and `earmark evaluate` make it.
"""

from __future__ import annotations

import dataclasses
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import folds
import numpy as np
import numpy.typing as npt

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.narrow import through_line
from earmark.engine.networks.conditions import NARROW_DB, Open, is_by_telephone, open_to
from earmark.engine.networks.speaker import Utterance
from earmark.enroll.enrolment import Enroller
from earmark.enroll.evaluation.asking import key_of, said
from earmark.enroll.evaluation.conditions import ANY_MICROPHONE, Conditions
from earmark.enroll.options import as_they_are
from earmark.enroll.recordings import read_recordings
from earmark.enroll.takes import quality
from earmark.enroll.training.train import TakeEmbeddings
from earmark.models.corpora import TEST_NOISES, TEST_VOICES

Rows = dict[str, npt.NDArray[Any]]
MEL_FLOOR = 2.0**-23  # what the network's logarithm begins with: below it nothing is heard
TALKERS = tuple(sorted(TEST_VOICES))  # of the set `speech`; no training has heard them
BABBLE = 4


def conditions(data: Path) -> dict[str, Conditions]:
    """What takes and tries go through; no noise was in any training, and of the talkers only vctkp225."""
    noises = [read_audio(path) for path in sorted((data / "noise").rglob("*.flac")) if path.stem in TEST_NOISES]
    voices = [read_audio(path) for name in TALKERS for path in sorted((data / "speech" / name).glob("*.flac"))]
    noisy, far = Conditions(noises=noises), Conditions(room_rt60_s=0.6, direct_to_reverberant_db=-3.0)
    return {
        "clean": Conditions(),
        "noise 10 dB": noisy,
        "noise 10 dB in a room": replace(noisy, room_rt60_s=0.4),
        "noise 0 dB": replace(noisy, snr_db=0.0),
        "telephone, mu-law": Conditions(telephone="mu-law"),
        "telephone, GSM": Conditions(telephone="gsm"),
        "telephone and noise 10 dB": replace(noisy, telephone="mu-law"),
        "babble 10 dB": Conditions(voices=voices, talkers=BABBLE),
        "far room": far,
        "far room, babble 10 dB": replace(far, voices=voices, talkers=BABBLE),
        "far room, noise 10 dB": replace(noisy, room_rt60_s=0.6, direct_to_reverberant_db=-3.0),
        "one talker 5 dB": Conditions(voices=voices, snr_db=5.0),
        "clipped by 10 dB": Conditions(clipped_db=10.0),
        "12 dB louder": Conditions(gain_db=12.0),
        "first 70 %": Conditions(first_part=0.7),
        "another microphone": Conditions(microphone=ANY_MICROPHONE),
        "another microphone, noise 10 dB": replace(noisy, microphone=ANY_MICROPHONE),
    }


class Takes(NamedTuple):
    """One person's takes, as an enrolment has them."""

    speaker: str
    takes: list[TakeEmbeddings]
    snr_db: list[float]
    """Of each."""


def packed(mels: Sequence[Float32]) -> Rows:
    """(frames, mels) power mels as arrays for a file: a logarithm of half precision is exact to 1 %."""
    logs = [np.log(np.maximum(mel, MEL_FLOOR)).astype(np.float16) for mel in mels]
    return {"mels": np.concatenate(logs), "frames": np.array([len(log) for log in logs])}


def unpacked(rows: Rows) -> list[Float32]:
    """Of `packed`."""
    whole = rows["mels"]
    return [np.exp(log.astype(np.float32)) for log in np.split(whole, np.cumsum(rows["frames"])[:-1])]


@dataclass(frozen=True)
class Tries:
    """n tries of a phrase; what was not heard is not among them, and counted."""

    speaker: npt.NDArray[np.str_]
    """(n,)."""
    embeddings: Float32
    """(n, d)."""
    by_line: Float32
    """(n, d) of the same through a line."""
    measured: Float32
    """(n, 3): SNR, high bands and clipped share of each."""
    unheard: npt.NDArray[np.str_]
    """(k,) who spoke where nothing was heard."""
    mels: npt.NDArray[np.float16]
    """(frames of all, mels) logarithms of the n power mels, one after the other."""
    frames: npt.NDArray[np.int64]
    """(n,) of each."""

    @property
    def sounds(self) -> list[Float32]:
        """(frames, mels) power mel of each."""
        return unpacked({"mels": self.mels, "frames": self.frames})

    @property
    def everybody(self) -> npt.NDArray[np.str_]:
        """(n + k,) who spoke, those of whom nothing was heard last."""
        return np.concatenate([self.speaker, self.unheard])

    @property
    def may(self) -> Open:
        """(n, …) by `open_to`."""
        none = self.embeddings[:0]
        rows = [(float(snr_db), float(high_db), float(share)) for snr_db, high_db, share in self.measured]
        return np.array([open_to(Utterance(none, *row)) for row in rows])

    @property
    def by_telephone(self) -> tuple[Float32, Open]:
        """(n, d) and (n, …): as whoever is known by telephone alone is compared with them, by `verifier.by_line`."""
        called = np.array([is_by_telephone(float(high_db)) for high_db in self.measured[:, 1]])
        as_call = np.where([False, True, False], np.minimum(self.measured, NARROW_DB - 1), self.measured)
        rows = np.where(called[:, None], self.embeddings, self.by_line)
        return rows, dataclasses.replace(self, measured=as_call).may


class Heard:
    """The takes and tries of a folder of data.

    Args:
        data: with trial lists, recordings, noise and speech.
        cache: a folder for what was heard; it is made.
    """

    def __init__(self, data: Path, cache: Path) -> None:
        self._data, self._cache = data, cache
        self.conditions = conditions(data)

    def phrases(self, name: str, every: int = 1) -> list[tuple[int, str]]:
        """Folds and phrases of a set; of the phrases every so many."""
        return [
            (fold, phrase)
            for fold, (trials, _) in enumerate(folds.parts(self._data, name))
            for phrase in sorted(trials.people)[::every]
        ]

    def takes(self, name: str, fold: int, phrase: str, condition: str) -> list[Takes]:
        """Of everybody of a phrase who is to be enrolled."""
        rows = self._kept("takes", name, fold, phrase, condition, self._hear_takes)
        ends = np.cumsum(rows["count"])
        every = unpacked(rows)
        each = len(every) // max(1, len(rows["clean"]))  # as many of each take: itself, its copies, and elsewhere
        made = []
        for speaker, begin, end in zip(rows["speaker"], [0, *ends], ends):
            takes = [
                TakeEmbeddings(
                    rows["clean"][i],
                    rows["copies"][i],
                    elsewhere=rows["elsewhere"][i],
                    high_db=float(rows["high_db"][i]),
                    mels=tuple(every[i * each : (i + 1) * each]),
                )
                for i in range(begin, end)
            ]
            made.append(Takes(str(speaker), takes, [float(each) for each in rows["snr_db"][begin:end]]))
        return made

    def tries(self, name: str, fold: int, phrase: str, condition: str) -> Tries:
        """Everybody's."""
        return Tries(**self._kept("tries", name, fold, phrase, condition, self._hear_tries))

    def _kept(
        self,
        what: str,
        name: str,
        fold: int,
        phrase: str,
        condition: str,
        hear: Callable[[str, int, str, Conditions], Rows],
    ) -> Rows:
        path = self._cache / what / condition / f"{name}-{fold}-{phrase}.npz"
        try:
            with np.load(path, allow_pickle=False) as rows:
                return dict(rows)
        except (FileNotFoundError, zipfile.BadZipFile):
            pass
        rows = hear(name, fold, phrase, self.conditions[condition])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **rows)
        return rows

    def _files(self, name: str, fold: int, phrase: str, role: str) -> Iterator[tuple[str, list[Path]]]:
        trials, _ = list(folds.parts(self._data, name))[fold]
        for speaker, roles in trials.people[phrase].items():
            if roles.get(role):
                yield speaker, roles[role]

    def _hear_takes(self, name: str, fold: int, phrase: str, condition: Conditions) -> Rows:
        enroller, options = folds.enroller(fold), as_they_are()
        speakers, counts, rows, snr_db = [], [], [], []
        for speaker, files in self._files(name, fold, phrase, "enroll"):
            recordings, _ = read_recordings([str(path) for path in files])
            hearing = enroller.hearing(None, options)
            for recording in recordings:
                hearing.files(said(recording, condition).pieces(), recording.file)
            hearing.settle()
            good = [hearing.heard[number] for number in hearing.good]
            if not good:
                continue
            rows += [enroller.vary(take, number, len(good), None, options) for number, take in enumerate(good)]
            snr_db += [take.crop_snr_db for take in good]
            speakers.append(speaker)
            counts.append(len(good))
        return {
            "speaker": np.array(speakers),
            "count": np.array(counts),
            "clean": np.array([take.clean for take in rows]),
            "copies": np.array([take.copies for take in rows]),
            "elsewhere": np.array([take.elsewhere for take in rows]),
            "high_db": np.array([take.high_db for take in rows]),
            "snr_db": np.array(snr_db),
            **packed([mel for take in rows for mel in take.mels]),
        }

    def _hear_tries(self, name: str, fold: int, phrase: str, condition: Conditions) -> Rows:
        enroller = folds.enroller(fold)
        speakers, heard, lined, unheard = [], [], [], []
        for speaker, files in self._files(name, fold, phrase, "test"):
            for path in files:
                found = _first(enroller, condition.apply(read_audio(path), key_of(path)))
                if found is None:
                    unheard.append(speaker)
                    continue
                speakers.append(speaker)
                heard.append(found[0])
                lined.append(found[1])
        return {
            "speaker": np.array(speakers),
            "embeddings": np.array([each.embedding for each in heard]),
            "by_line": np.array(lined),
            "measured": np.array([each[1:4] for each in heard]),
            "unheard": np.array(unheard, np.str_),
            **packed([each.mel for each in heard if each.mel is not None]),
        }


def _first(enroller: Enroller, samples: npt.NDArray[np.int16]) -> tuple[Utterance, Float32] | None:
    """The first utterance, and its embedding through a line."""
    for crop in quality.crops(samples, None):
        try:
            heard = enroller.speaker.hear(crop)
        except AudioError:
            continue
        try:
            return heard, enroller.speaker.embed(through_line(crop))
        except AudioError:
            return heard, heard.embedding
    return None


def main() -> int:
    """Fills the cache: `python scripts/studies/heard.py DATA CACHE takes|tries SET:EVERY CONDITION…`."""
    heard = Heard(Path(sys.argv[1]), Path(sys.argv[2]))
    name, every = sys.argv[4].split(":")
    for condition in sys.argv[5:]:
        for fold, phrase in heard.phrases(name, int(every)):
            (heard.takes if sys.argv[3] == "takes" else heard.tries)(name, fold, phrase, condition)
        print(sys.argv[3], name, condition, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

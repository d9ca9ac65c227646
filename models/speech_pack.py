"""Recipe: the recordings that the speaker network learns from, cut to what is spoken and small enough to travel::

    python -m earmark.models.speech_pack --data DIR --out PACK

A pack is a folder: `index.json` says what lies where, and each set is a few streams of Ogg Opus (RFC 6716) of about
31 kbit/s, one after the other. All of the corpora are then 48 MiB, which fits through a narrow door to the
machine that has the accelerator. What does not fit may be left behind: the last streams of a set.

Noises of `TEST_NOISES` and voices of `TEST_VOICES` (`corpora.py`) are in no pack.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import RATE_HZ, Int16, to_float, to_int16
from earmark.engine.errors import AudioError, InputError
from earmark.engine.features.speech import locate_speech

from .corpora import NOISE_SET, SENTENCE_SETS, SETS, fold_of_owner, may_be_trained_on, owner_of, read_index

SEVERAL_VOICES = frozenset({"ami_"})  # speakers of `speech` who are a meeting: a recording is not of one person

AROUND_SAMPLES = RATE_HZ // 4  # kept on both sides of what is spoken, where the recording has as much
PIECES_PER_S = 1.0  # a sentence is cut into pieces as long as a word, one for each second of it, …
PIECE_S = (0.7, 1.6)
PIECE_MIN_LEVEL = 0.3  # … which are no pauses: of the sentence's RMS
STREAM_S = 200  # about so long is one stream: each is coded by a thread
COMPRESSION = 0.9  # of libsndfile: 31 kbit/s at 16 kHz, 19 at 8 kHz
TELEPHONE_SETS = ("wuw", "wuw_sent")  # nothing in them above 4 kHz: packed at 8 kHz


class Clip(NamedTuple):
    """One utterance of a pack."""

    phrase: str
    """set/phrase."""
    speaker: str
    """`owner_of` the recording."""
    voice: str
    """Whose voice it is to the training: the speaker, or the recording or piece alone."""
    start: int
    """Where the speech begins in `samples`, …"""
    end: int
    """… and ends."""
    samples: Int16
    """(n,) at 16 kHz, with at most 0.25 s around the speech."""


class Speech(NamedTuple):
    """All of a pack."""

    clips: list[Clip]
    sentences: list[tuple[int | None, Int16]]
    """Whole sentences with the fold of who speaks: what competing talkers say."""
    noises: list[Int16]


def pack(data: Path, folder: Path, limit: int | None = None) -> None:
    """Writes a pack of a data folder; with `limit`, of about so many recordings from all over the index.

    Raises:
        InputError: the data has no noise, or no sentence, to train with.
    """
    rows = [row for row in read_index(data) if row["set"] in (*SETS, NOISE_SET) and may_be_trained_on(row)]
    words = [row for row in rows if row["set"] != NOISE_SET]
    words = words[:: -(-len(words) // limit) if limit else 1]
    noises = [row for row in rows if row["set"] == NOISE_SET]
    for name in (NOISE_SET, "speech"):
        if name not in {row["set"] for row in (*words, *noises)}:
            raise InputError(f"{data / 'index.csv'}: it has no recording of {name!r} to train with: one is needed")
    entries: list[dict[str, Any]] = []
    streams: dict[str, list[Int16]] = {}
    for row in [*words, *noises]:
        samples = read_audio(data / row["path"])
        entry: dict[str, Any] = {name: row[name] for name in ("set", "path", "speaker", "phrase")}
        if row["set"] not in (*SENTENCE_SETS, NOISE_SET):
            try:
                start, end = locate_speech(samples)
            except AudioError:  # the corpora have clips with nothing said in them
                continue
            first = max(0, start - AROUND_SAMPLES)
            samples = samples[first : end + AROUND_SAMPLES]
            entry |= {"start": start - first, "end": end - first}
        parts = streams.setdefault(row["set"], [])
        entry |= {"from": sum(map(len, parts)), "samples": len(samples)}
        parts.append(samples)
        entries.append(entry)
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {name: _write(folder, name, np.concatenate(parts)) for name, parts in streams.items()}
    source = hashlib.sha256((data / "index.csv").read_bytes()).hexdigest()
    index = {"source": source, "lengths": lengths, "entries": entries}
    (folder / "index.json").write_text(json.dumps(index), "utf-8")


def _write(folder: Path, name: str, joined: Int16) -> int:
    """The streams of a set -> its samples, all together."""
    rate_hz = RATE_HZ // 2 if name in TELEPHONE_SETS else RATE_HZ

    def encode(first: int) -> None:
        piece = to_float(joined[first : first + STREAM_S * RATE_HZ])
        piece = soxr.resample(piece, RATE_HZ, rate_hz) if rate_hz != RATE_HZ else piece
        target = str(folder / f"{name}_{first // (STREAM_S * RATE_HZ):03}.opus")
        soundfile.write(target, piece, rate_hz, format="OGG", subtype="OPUS", compression_level=COMPRESSION)

    with ThreadPoolExecutor() as threads:
        list(threads.map(encode, range(0, len(joined), STREAM_S * RATE_HZ)))
    return len(joined)


def unpack(folders: list[Path]) -> Speech:
    """The speech of a pack, which may lie in several folders; what is in streams that are not there is left out.

    Raises:
        InputError: no folder has the index, or a stream is missing before the last of its set.
    """
    indices = [folder / "index.json" for folder in folders if (folder / "index.json").exists()]
    if not indices:
        raise InputError(f"no index.json in {', '.join(map(str, folders))}: speech_pack.py writes it, too")
    content = json.loads(indices[0].read_text("utf-8"))
    streams = {name: _read(folders, name, length) for name, length in content["lengths"].items()}
    clips: list[Clip] = []
    sentences: list[tuple[int | None, Int16]] = []
    noises: list[Int16] = []
    for entry in content["entries"]:
        samples = streams[entry["set"]][entry["from"] : entry["from"] + entry["samples"]]
        if len(samples) < entry["samples"]:
            continue
        if entry["set"] == NOISE_SET:
            noises.append(samples)
        elif entry["set"] in SENTENCE_SETS:
            pieces = list(_pieces(entry, samples))
            clips += pieces
            if pieces:
                sentences.append((fold_of_owner(pieces[0].speaker), samples))
        else:
            clips.append(_word(entry, samples))
    return Speech(clips, sentences, noises)


def _read(folders: list[Path], name: str, length: int) -> Int16:
    """What there is of a set, one recording after the other."""
    found = {path.name: path for folder in folders for path in folder.glob(f"{name}_[0-9]*.opus")}
    paths = [found[file] for file in sorted(found)]
    for number, path in enumerate(paths):
        if path.name != (wanted := f"{name}_{number:03}.opus"):
            raise InputError(f"{path}: {wanted} is missing, and only the last streams of a set may be: copy it, too")
    with ThreadPoolExecutor() as threads:
        parts = list(threads.map(_decoded, paths))
    joined: Int16 = np.concatenate([np.zeros(0, np.int16), *parts])[:length]
    return joined


def _decoded(path: Path) -> Int16:
    samples, rate_hz = soundfile.read(str(path), dtype="float32")
    return to_int16(soxr.resample(samples, rate_hz, RATE_HZ) if rate_hz != RATE_HZ else samples)


def _word(entry: dict[str, Any], samples: Int16) -> Clip:
    """The clip of one recording."""
    speaker = owner_of(entry)
    voice = speaker if entry["speaker"] else entry["path"]
    return Clip(f"{entry['set']}/{entry['phrase']}", speaker, voice, entry["start"], entry["end"], samples)


def _pieces(entry: dict[str, Any], samples: Int16) -> Iterator[Clip]:
    """Word-like pieces of a sentence, the same whatever else is in the pack."""
    rng = np.random.default_rng(int(hashlib.sha256(entry["path"].encode()).hexdigest()[:8], 16))
    speaker = owner_of(entry)
    for number in range(int(len(samples) / RATE_HZ * PIECES_PER_S)):
        length = int(rng.uniform(*PIECE_S) * RATE_HZ)
        begin = int(rng.integers(max(1, len(samples) - length)))
        first = max(0, begin - AROUND_SAMPLES)
        piece = samples[first : begin + length + AROUND_SAMPLES]
        start, end = begin - first, min(begin - first + length, len(piece))
        if _rms(piece[start:end]) <= PIECE_MIN_LEVEL * _rms(samples):
            continue
        voice = f"{entry['path']} {number}" if entry["speaker"] in SEVERAL_VOICES else speaker
        yield Clip(f"{entry['set']}/sentence", speaker, voice, start, end, piece)


def _rms(samples: Int16) -> float:
    return float(np.sqrt(np.mean(to_float(samples) ** 2)))


def main() -> int:
    """Packs a data folder."""
    parser = argparse.ArgumentParser(description="Pack the speech that the speaker network learns from.")
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv and the sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--limit", type=int, help="take about so many recordings only, for trying the recipe")
    arguments = parser.parse_args()
    pack(arguments.data, arguments.out, arguments.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())

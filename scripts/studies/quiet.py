"""Whether the activity gate costs a wake word: `python scripts/studies/quiet.py DATA`, a Markdown table.

Every wake clip that a built-in network knows (the set `wake` of DATA, a folder with index.csv, and tests/audio) is
put behind eight seconds of a quiet room, in which the gate closes, at levels from 0 to -40 dBFS (the clip's highest
peak). The room is digital silence, the clip's own background (its quietest tenth of a second, over and over), or
white noise under everything. It is heard twice, with the gate and without, at the published cutoff and at the loose
gate.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from heading import NONE, heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import FULL_SCALE, RATE_HZ, Int16
from earmark.engine.decision import LOOSE_SHARE
from earmark.engine.detector import Detector
from earmark.engine.features.activity import ActivityGate
from earmark.engine.networks import runtime
from earmark.engine.networks.card import builtin_keywords, load_manifest
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.settings.policy import Policy
from earmark.engine.verifier import Verifier

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
LEVELS_DBFS = (0, -10, -20, -30, -40)
ROOMS = (
    "digital silence",
    "its own background",
    "white noise, -70 dBFS",
    "white noise, -60 dBFS",
    "white noise, -50 dBFS",
)
LEAD_SAMPLES, TAIL_SAMPLES = 8 * RATE_HZ, RATE_HZ
NOISE_SAMPLES, NOISE_DBFS = 60 * RATE_HZ, -62
TENTH_SAMPLES = RATE_HZ // 10


def main() -> int:
    """Measures and prints; exit code 1 where a wake was lost."""
    parser = argparse.ArgumentParser(description="Measure what the activity gate costs.")
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with index.csv and the set wake")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth clip (1)")
    arguments = parser.parse_args()
    clips = list(_clips(arguments.data))[:: arguments.every]
    gates = ("cutoff", "loose")
    words = builtin_keywords()
    detectors = {(word, gate, on): _detector(word, gate, on) for word in words for gate in gates for on in (0, 1)}
    print(heading("The activity gate", __file__, NONE))
    print(f"{runtime.version()}, {len(clips)} clips at {LEVELS_DBFS} dBFS each:\n")
    print(
        "| room | clips | heard without the gate: cutoff, loose | lost by it | gained by it | of the lead left out |"
    )
    print("|---|---|---|---|---|---|")
    lost_at_all = 0
    for room in ROOMS:
        heard, lost, gained, left_out = dict.fromkeys(gates, 0), dict.fromkeys(gates, 0), dict.fromkeys(gates, 0), []
        rng = np.random.default_rng(0)
        for word, clip in clips:
            for level_dbfs in LEVELS_DBFS:
                audio = _in_room(clip, room, level_dbfs, rng)
                left_out.append(_left_out(audio[:LEAD_SAMPLES]))
                for gate in gates:
                    plain, gated = (_hears(detectors[word, gate, on], audio) for on in (0, 1))
                    heard[gate] += plain
                    lost[gate] += plain and not gated
                    gained[gate] += gated and not plain
        columns = [f"{values['cutoff']}, {values['loose']}" for values in (heard, lost, gained)]
        count = len(clips) * len(LEVELS_DBFS)
        print(f"| {room} | {count} | {' | '.join(columns)} | {100 * np.mean(left_out):.0f} % |", flush=True)
        lost_at_all += sum(lost.values())
    noises = [read_audio(path) for path in sorted((arguments.data / "noise").rglob("*.flac"))]
    shares = [_left_out(_at(np.resize(noise, NOISE_SAMPLES), NOISE_DBFS)) for noise in noises]
    print(f"\nOf a minute of each of {len(noises)} recordings of noise, brought to {NOISE_DBFS} dBFS, it leaves out")
    print(f"{100 * np.mean(shares):.0f} % in the mean, {100 * max(shares):.0f} % at most; louder ones are all heard.")
    return 1 if lost_at_all else 0


def _clips(data: Path) -> Iterator[tuple[str, Int16]]:
    with (data / "index.csv").open(newline="") as file:
        rows = [(row["phrase"], data / row["path"]) for row in csv.DictReader(file) if row["set"] == "wake"]
    with (AUDIO / "index.csv").open(newline="") as file:
        rows += [(row["phrase"], AUDIO / row["path"]) for row in csv.DictReader(file) if row["role"] != "other"]
    for word, path in rows:
        if word in builtin_keywords():
            yield word, read_audio(path)


def _detector(word: str, gate: str, enabled: int) -> Detector:
    manifest = load_manifest(word)
    if gate == "loose":
        manifest = replace(manifest, probability_cutoff=LOOSE_SHARE * manifest.probability_cutoff)
    return Detector([KeywordNetwork(manifest)], Verifier([]), Policy(mode="label", skip_quiet=bool(enabled)))


def _in_room(clip: Int16, room: str, level_dbfs: float, rng: np.random.Generator) -> Int16:
    """The clip at a level, a room's quiet before and behind it."""
    speech = clip * (10 ** (level_dbfs / 20) * (FULL_SCALE - 1) / max(1, np.abs(clip.astype(np.int32)).max()))
    before, behind = np.zeros(LEAD_SAMPLES), np.zeros(TAIL_SAMPLES)
    if room == "its own background":
        tenths = speech[: len(speech) // TENTH_SAMPLES * TENTH_SAMPLES].reshape(-1, TENTH_SAMPLES)
        quiet = tenths[np.argmin(np.abs(np.diff(tenths, axis=1)).sum(axis=1))]
        quiet = np.concatenate([quiet, quiet[::-1]])  # there and back: no jump where it repeats
        before, behind = (np.resize(quiet, len(part)) for part in (before, behind))
    audio = np.concatenate([before, speech, behind])
    if room.startswith("white"):
        audio += rng.normal(0, FULL_SCALE * 10 ** (float(room.split()[2]) / 20), len(audio))
    samples: Int16 = np.clip(np.rint(audio), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples


def _at(noise: Int16, level_dbfs: float) -> Int16:
    rms = np.sqrt(np.mean(np.square(noise, dtype=np.float64)))
    samples: Int16 = np.rint(noise * (FULL_SCALE * 10 ** (level_dbfs / 20) / rms)).astype(np.int16)
    return samples


def _left_out(quiet: Int16) -> float:
    gate = ActivityGate()
    spans = [span for start in range(0, len(quiet), RATE_HZ) for span in gate.push(quiet[start : start + RATE_HZ])]
    return 1 - sum(end - first for first, end in spans) / (len(quiet) / 160)


def _hears(detector: Detector, audio: Int16) -> bool:
    detector.reset()
    return bool([*detector.push(audio), *detector.finish()])


if __name__ == "__main__":
    sys.exit(main())

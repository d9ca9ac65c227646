"""What a constant offset does to takes, and what is left of it: `python scripts/studies/offset.py --data
../shared/data > docs/research/offset.md`.

Each take is judged as a take of any phrase, by the rules of enrolment, and embedded: as it was recorded, and with an
offset on top; with its offset taken off, as earmark does, and without that.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from heading import heading

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.offset import offset_of
from earmark.engine.audio.samples import FULL_SCALE, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.enroll.takes import quality
from earmark.enroll.takes.measure import Sound
from earmark.enroll.takes.quality import Context, Fault

AUDIO = Path(__file__).parents[2] / "tests" / "audio"
SHARES = (0.001, 0.01, 0.03, 0.1)
TEXT = """\
Takes as they were recorded, {takes} of each set drawn with seed 0. "Without" is as earmark did before: nothing is
taken off. "With" is as it does: the mean of the quietest fifth is taken off each sample
([how](../how_it_works.md)). A take that reaches full scale is clipped by an offset; what is clipped is lost.

* *Own*: takes that have an offset of 1 of 32768 or more themselves, and the largest.
* *Verdict*: takes that are judged otherwise, good or with another reason.
* *Cosine*: of the embeddings, the median and the least, among the takes in which something is said.

## What it does to takes as they are

| set | takes | own | largest | another verdict | cosine, median | least |
|---|---|---|---|---|---|---|"""
OFFSETS = """
## With an offset on top

Compared is each take with the same take without the offset.

| set | offset, % | verdict, without | cosine, median | least | verdict, with | cosine, median | least |
|---|---|---|---|---|---|---|---|"""


class Heard(NamedTuple):
    """A take, judged and embedded."""

    verdict: str
    embedding: Float32 | None


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with the sets asc, dsp and gsc (none: synthetic takes only)"
    )
    parser.add_argument("--takes", type=int, default=200, help="of each set (200)")
    arguments = parser.parse_args()
    network = SpeakerNetwork()
    sets = {name: list(_takes(paths, arguments.takes)) for name, paths in _sets(arguments.data)}
    print(heading("A constant offset", __file__, corpora=True))
    print(TEXT.format(takes=arguments.takes))
    for name, takes in sets.items():
        own = [offset_of(take) for take in takes]
        pairs = [(_hear(take, network, False), _hear(take, network, True)) for take in takes]
        counts = f"{len(takes)} | {sum(map(bool, own))} | {max(map(abs, own))}"
        print(f"| {name} | {counts} | {' | '.join(_compared(pairs))} |", flush=True)
    print(OFFSETS)
    for name, takes in sets.items():
        for share in SHARES:
            cells: list[str] = []
            for removed in (False, True):
                pairs = [
                    (_hear(take, network, removed), _hear(_shifted(take, share), network, removed)) for take in takes
                ]
                cells += _compared(pairs)
            print(f"| {name} | {100 * share:g} | {' | '.join(cells)} |", flush=True)
    return 0


def _sets(data: Path | None) -> Iterator[tuple[str, list[Path]]]:
    yield "synthetic voices", sorted(AUDIO.glob("*_enroll_*.flac"))
    for name in ("asc", "dsp", "gsc") if data else ():
        yield name, sorted((data or Path()).glob(f"{name}/*/*.flac"))


def _takes(paths: list[Path], count: int) -> Iterator[Int16]:
    for path in random.Random(0).sample(paths, min(count, len(paths))):
        samples = read_audio(path)
        if np.any(samples):
            yield samples


def _shifted(samples: Int16, share: float) -> Int16:
    shifted: Int16 = np.clip(
        samples.astype(np.int32) + round(share * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1
    ).astype(np.int16)
    return shifted


def _hear(samples: Int16, network: SpeakerNetwork, removed: bool) -> Heard:
    sound = Sound.of(samples) if removed else Sound(samples)
    (found,) = quality._found(sound, "take", None, Context())[0]
    try:
        embedding: Float32 | None = network.hear_analysed(sound).embedding
    except AudioError:
        embedding = None
    return Heard(found.reason if isinstance(found, Fault) else "good", embedding)


def _compared(pairs: list[tuple[Heard, Heard]]) -> tuple[str, str, str]:
    """Other verdicts, and the median and the least cosine."""
    other = sum(one.verdict != two.verdict for one, two in pairs)
    cosines = [
        float(one.embedding @ two.embedding)
        for one, two in pairs
        if one.embedding is not None and two.embedding is not None
    ]
    return str(other), f"{np.median(cosines):.4f}", f"{min(cosines):.4f}"


if __name__ == "__main__":
    sys.exit(main())

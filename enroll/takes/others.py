"""What other people say in a recording, or a television: pieces of speech against which a person is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import CROP_SAMPLES, MAX_SPEECH_SAMPLES

from .measure import dbfs, level_change_db
from .quality import PAD_SAMPLES, Fault, wakes_in
from .rules import OTHERS_QUIET_DBFS

MAX_UTTERANCE_SAMPLES = 4 * RATE_HZ  # a recording no longer than that may be one utterance with silence around it
# In 1.2 s of speech the loud tenth of 30 ms frames lies 7 dB or more above the quiet tenth (480 pieces of
# sentences, 180 clips of words), in rain, a tap, dishes, a train or an engine 1 to 3 dB.
LEVEL_CHANGE_DB = 6.0
PAUSE_DB = 25.0  # a piece so far below the loudest of its recording is a pause
MAX_PIECES = 200  # of one recording: four minutes; of a longer one every second, third … piece
OWN_VOICE_COSINE = 0.68  # to the mean of the takes; docs/research/thresholds.md has whose words lie above it


@dataclass(frozen=True)
class Others:
    """Other people at the same microphone."""

    recordings: int
    """Those that could be used."""
    own_crops: int
    """How many crops were left out because they sound like the owner."""
    embeddings: Float32
    """(m, 192), one a crop."""

    @classmethod
    def nobody(cls, size: int) -> Others:
        """None at all; `size` is that of an embedding."""
        return cls(0, 0, np.zeros((0, size), np.float32))

    def and_also(self, more: Others) -> Others:
        """These and those."""
        embeddings = np.concatenate([self.embeddings, more.embeddings])
        return Others(self.recordings + more.recordings, self.own_crops + more.own_crops, embeddings)


def other_crops(samples: Int16, file: str, keyword: KeywordNetwork | None) -> list[Analysis] | Fault:
    """What somebody else says in (n,) int16, in crops of about a second, or why there is nothing.

    Where the keyword network fires, the detector's own crop; the wake word is not needed, though: of the rest, or of
    all, every 1.2 s in which something is said.
    """
    samples, _ = without_offset(samples)
    if not np.any(samples):
        return Fault(file, "nothing_said", "all samples are zero")
    found: list[Analysis] = []
    bounds = [0, len(samples)]
    if keyword is not None:
        wakes = wakes_in(samples, keyword)
        found = [Analysis(crop) for crop in wakes.crops]
        ends = [max(0, candidate.sample - PAD_SAMPLES) for candidate in wakes.candidates]
        bounds[1:1] = [bound for end in ends for bound in (max(0, end - CROP_SAMPLES), end)]
    for start, end in zip(bounds[::2], bounds[1::2]):
        found += _pieces(samples[start:end])
    levels_dbfs = np.array([_speech_dbfs(piece) for piece in found])
    if not len(levels_dbfs) or levels_dbfs.max() == -np.inf:
        return Fault(file, "nothing_said", "there is only silence or steady noise in it")
    if levels_dbfs.max() < OTHERS_QUIET_DBFS:
        detail = f"the speech is at {levels_dbfs.max():.0f} dBFS, at least {OTHERS_QUIET_DBFS:.0f} needed"
        return Fault(file, "too_quiet", detail)
    floor_dbfs = max(OTHERS_QUIET_DBFS, levels_dbfs.max() - PAUSE_DB)
    return [piece for piece, level_dbfs in zip(found, levels_dbfs) if level_dbfs >= floor_dbfs]


def _pieces(samples: Int16) -> list[Analysis]:
    """(n,) int16 in pieces as long as the detector's crops; with no more than one utterance in it, it stays whole."""
    if len(samples) <= MAX_UTTERANCE_SAMPLES:
        whole = Analysis(samples)
        try:
            start, end = whole.bounds
        except (AudioError, ValueError):  # nothing said, or not a single sample
            return []
        if end - start <= MAX_SPEECH_SAMPLES:
            return [whole]
    starts = range(0, len(samples), CROP_SAMPLES)
    every = 1 + len(starts) // MAX_PIECES
    return [Analysis(samples[start : start + CROP_SAMPLES]) for start in starts[::every]]


def _speech_dbfs(piece: Analysis) -> float:
    """RMS level of what is said in it; minus infinity where nothing is: noise has no syllables."""
    try:
        start, end = piece.bounds
    except AudioError:
        return -np.inf
    if level_change_db(piece.samples) < LEVEL_CHANGE_DB:
        return -np.inf
    return dbfs(piece.samples[start:end])


def own_crops(embeddings: Float32, centroid: Float32) -> npt.NDArray[np.bool_]:
    """Which of (m, 192) crops of others are the owner's, by their cosine to the (192,) mean of the takes.

    The wake word is recognised so; other words by the same person mostly are not.
    """
    return embeddings @ centroid >= OWN_VOICE_COSINE

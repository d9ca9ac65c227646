"""Free speech besides the takes: what a command after the wake word is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError, EnrolmentRefused
from earmark.engine.features.following import pieces_of
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.trained.kinds import HEAD
from earmark.engine.people.store import FREE_SPEECH, Voiceprint

from .enrolment import Enroller, Enrolment, Options
from .options import SILENT, Watcher
from .recordings import AnyRecording
from .takes import voices
from .takes.quality import Fault
from .takes.varied import varied
from .training.train import TakeEmbeddings

MOST_PIECES = 12  # 15 s of speech, what half a minute holds
FEWEST_PIECES = 4  # 5 s
# Cosine to the takes and the rest of the speech: of 24 people of dsp 1.0 % of 418 own pieces have less, and 82 % of
# 4,222 of others (scripts/studies/pieces.py)
SAME_VOICE = 0.42
MOST_ODD_SHARE = 1 / 3


def enrol_speech(
    enroller: Enroller,
    person: Voiceprint,
    recordings: Sequence[AnyRecording],
    options: Options | None = None,
    watcher: Watcher = SILENT,
) -> Enrolment:
    """Makes the voiceprint of somebody's speech, from the takes of a wake word and from free speech.

    Nothing is written. Only embeddings are in it, as in any voiceprint.

    Args:
        person: enrolled for a wake word with these networks; what was learned since is left out.
        recordings: of the person alone, saying anything; half a minute together is best.
        options: seed and plan; the wanted FAR is that of the takes.
        watcher: told how far it is.

    Raises:
        EnrolmentRefused: too little is said, or much of it by somebody else.
    """
    far = float(person.report.get("wanted_far", Options().far))
    # whether it is one voice is looked for here; a command is heard in pieces, which the head knows by embeddings
    options = replace(options or Options(), far=far, refuse_disagreeing=False, trainer=HEAD)
    said, faults = [], []
    for number, recording in enumerate(recordings):
        found = list(_pieces(recording))
        said += found
        if not found:
            faults.append(Fault(recording.file, "nothing_said", "no half second of speech is in it"))
        watcher.stage("listening", number + 1, len(recordings))
    if len(said) < FEWEST_PIECES:
        raise _refused(person.name, f"{len(said)} pieces of speech, at least {FEWEST_PIECES} are needed", faults)
    chosen = [said[at] for at in np.linspace(0, len(said) - 1, min(len(said), MOST_PIECES)).round().astype(int)]
    embeddings = np.array([enroller.speaker.hear_analysed(one).embedding for one in chosen])
    own = _own(embeddings, person.centroid)
    odd = len(chosen) - len(own)
    groups = voices.two_groups(np.concatenate([person.takes[: person.enrolled_takes], embeddings[own]]))
    if groups is not None or odd > MOST_ODD_SHARE * len(chosen) or len(own) < FEWEST_PIECES:
        count = "most" if groups is not None else f"{odd} of {len(chosen)}"
        raise _refused(person.name, f"{count} pieces sound like somebody else", faults)
    speech = []
    takes = _takes(person)[: enroller.head.take_rows - len(own)]
    copies = min(options.plan.copies, enroller.head.take_rows // (len(takes) + len(own)) - 1)
    for number, at in enumerate(own):
        seed = [options.seed, len(takes) + number]
        speech.append(varied(enroller.speaker, chosen[at], embeddings[at], seed, copies))
        watcher.stage("varying", number + 1, len(own))
    together = _alike([*takes, *speech])
    return enroller.enrol_takes(
        person.name, together, None, options, faults=faults, watcher=watcher, phrase=FREE_SPEECH
    )


def _pieces(recording: AnyRecording) -> Iterator[Analysis]:
    """What is said in a recording, in pieces of up to 1.3 s, of those in which there is speech."""
    for minute in recording.pieces():
        for piece in pieces_of(without_offset(minute)[0]):
            analysis = Analysis(piece.samples)
            try:
                analysis.bounds  # noqa: B018  raises where there is no speech
            except AudioError:
                continue
            yield analysis


def _own(embeddings: Float32, centroid: Float32) -> list[int]:
    """The rows of (n, d) that are of one voice with the others and the (d,) mean of the takes."""
    rest = embeddings.sum(axis=0) - embeddings
    rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), np.float32(1e-9))
    both = rest + centroid
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), np.float32(1e-9))
    return [int(row) for row in np.flatnonzero(np.sum(embeddings * both, axis=1) >= SAME_VOICE)]


def _takes(person: Voiceprint) -> list[TakeEmbeddings]:
    """The enrolled takes, as they were."""
    high_db = person.report.get("takes_high_db")
    count = person.enrolled_takes
    none = np.zeros((count, 0, person.takes.shape[1]), np.float32)
    copies = person.copies if len(person.copies) == count else none
    away = person.elsewhere if len(person.elsewhere) == count else np.zeros((count, 0, 0), np.float32)
    return [
        TakeEmbeddings(take, varied, elsewhere=through, high_db=high_db)
        for take, varied, through in zip(person.takes[:count], copies, away)
    ]


def _alike(takes: list[TakeEmbeddings]) -> list[TakeEmbeddings]:
    """As many copies of each: of more takes there are fewer."""
    fewest = min(len(take.copies) for take in takes)
    return [replace(take, copies=take.copies[:fewest]) for take in takes]


def _refused(name: str, why: str, faults: list[Fault]) -> EnrolmentRefused:
    return EnrolmentRefused(
        f"the free speech of {name!r} was not used: {why}: let {name} alone say a few sentences, half a minute of "
        "anything, at the microphone of the takes; the wake word is enrolled without it",
        faults,
    )

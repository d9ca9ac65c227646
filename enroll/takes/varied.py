"""What is trained with beside a take: augmented copies of it, and how it would be heard elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import AudioError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.conditions import CONDITIONS
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork, Utterance, network_input

from ..training import elsewhere, loose_cutoff
from ..training.augment import augmented
from ..training.train import TakeEmbeddings


def varied(
    speaker: SpeakerNetwork,
    take: Analysis,
    embedding: Float32,
    seed: Sequence[int],
    copies: int,
    keyword: KeywordNetwork | None = None,
    mel: Float32 | None = None,
) -> TakeEmbeddings:
    """A take with so many augmented copies, each from a random stream of its own, and how it is heard elsewhere.

    Args:
        speaker: the network that hears them.
        take: its crop.
        embedding: (d,) of it.
        seed: of the take; each random stream has a number or a name more.
        copies: how many, 0 or more.
        keyword: the network that is to hear the copies, too; None: any phrase.
        mel: (frames, mels) of the take, as of `Utterance`; None: it is computed.
    """
    if mel is None:
        mel = network_input(take.samples, *take.bounds, speaker.bands)
    heard = Utterance(embedding, take.snr_db, mel=mel)
    rows: list[Utterance] = []
    shares: list[float] = []
    for copy in range(copies):
        rng = np.random.default_rng([*seed, copy])
        try:
            changed = augmented(take, rng)
            if keyword is not None:
                shares.append(loose_cutoff.share_of_cutoff(changed, keyword))
            rows.append(speaker.hear(changed))
        except AudioError:  # the jitter cut a very short word too short: the take itself is copied instead
            rows.append(heard)
    through = [_through(speaker, take, heard, condition, seed) for condition in CONDITIONS]
    embeddings = np.array([row.embedding for row in rows], np.float32)
    away = np.array([row.embedding for row in through], np.float16)  # as the store keeps it
    return TakeEmbeddings(
        heard.embedding,
        embeddings.reshape(len(rows), len(heard.embedding)),
        heard=tuple(shares),
        elsewhere=away.astype(np.float32),  # the score is of its mean
        high_db=take.high_db,
        mels=tuple(row.mel for row in (heard, *rows, *through) if row.mel is not None),
    )


def _through(
    speaker: SpeakerNetwork, take: Analysis, heard: Utterance, condition: str, seed: Sequence[int]
) -> Utterance:
    """A take in a condition; as it was heard where nothing can be heard there any more."""
    rng = np.random.default_rng([*seed, *condition.encode()])
    try:
        return speaker.hear(elsewhere.through(take, condition, rng))
    except AudioError:
        return heard

"""Recipe: a look at people of whom the training has heard nothing: not to choose by, but to see that all is well.

Needs torch (extra `train`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from .degrade import Degrader
from .speaker_torch import Network
from .speech_bank import Bank
from .speech_rows import Ints

Array = npt.NDArray[Any]

CORPORA = ("asc", "dsp")
TAKES = 5  # of each person and phrase; the others are tries
VERSIONS = {"clean": (False, False), "degraded": (True, False), "GSM": (True, True)}  # degraded, through GSM
ROWS_AT_ONCE = 512


def look(net: Network, bank: Bank, fold: int | None, degrader: Degrader) -> str:
    """EER, FRR at 1 % FAR, and FRR where 1 % of clean strangers get in, of the people of a fold, in %, in words.

    Takes are clean. Plain cosine to the mean of a person's takes, in floats.
    """
    texts = []
    for corpus in CORPORA if fold is not None else ():
        rows = _rows(bank, fold, corpus)
        if not len(rows):
            continue
        found = {name: _embedded(net, bank, degrader, rows, *how) for name, how in VERSIONS.items()}
        limit = None
        for name, tries in found.items():
            own, strangers = _scores(found["clean"], tries, bank.labels.phrase[rows], bank.labels.identity[rows])
            if not len(own) or not len(strangers):
                break
            if limit is None:  # of the clean ones, which come first
                limit = float(np.quantile(strangers, 0.99))
            eer, frr = rates(own, strangers)
            texts.append(f"{corpus} {name} {eer:.1f}/{frr:.1f}/{100 * np.mean(own < limit):.1f}")
    return ", ".join(texts) or "nobody"


def _rows(bank: Bank, fold: int | None, corpus: str) -> Ints:
    """Of the fold's people at their own speed."""
    phrases, identities = bank.labels.phrase, bank.labels.identity
    of_corpus = np.char.startswith(phrases, f"{corpus}/") & np.char.endswith(identities, " ")
    return np.flatnonzero((bank.labels.fold == fold) & of_corpus)


def _embedded(net: Network, bank: Bank, degrader: Degrader, rows: Ints, degraded: bool, coded: bool) -> Array:
    """(rows, 192) of unit length."""
    outputs: list[Array] = []
    with torch.no_grad():
        for part in np.array_split(rows, -(-len(rows) // ROWS_AT_ONCE)):
            waves, bounds, through = bank.rows(part, np.full(len(part), coded))
            some = torch.full((len(part),), degraded, device=waves.device)
            frames, lengths = degrader.heard(waves, bounds, some, through)
            embeddings = net(frames[:, : int(lengths.max())], lengths)
            outputs.append(functional.normalize(embeddings, dim=1).cpu().numpy())
    return np.concatenate(outputs)


def _scores(takes: Array, tries: Array, phrases: Array, identities: Array) -> tuple[Array, Array]:
    """Cosines of everybody's tries to the mean of his own takes, and to those of others who say the same phrase."""
    own: list[float] = []
    strangers: list[float] = []
    for phrase in np.unique(phrases).tolist():
        people: dict[str, list[int]] = {}
        for at in np.flatnonzero(phrases == phrase).tolist():
            people.setdefault(str(identities[at]), []).append(at)
        for who, some in people.items():
            mean = takes[some[:TAKES]].mean(0)
            for other, others in people.items():
                cosines = tries[others[TAKES:]] @ mean / np.linalg.norm(mean)
                (own if other == who else strangers).extend(cosines.tolist())
    return np.array(own), np.array(strangers)


def rates(own: Array, strangers: Array) -> tuple[float, float]:
    """EER and FRR at 1 % FAR, in %, of the scores of owners and of strangers."""
    limits = np.sort(np.concatenate([own, strangers]))
    frr = np.searchsorted(np.sort(own), limits) / len(own)
    far = 1 - np.searchsorted(np.sort(strangers), limits) / len(strangers)
    at = int(np.argmin(np.abs(frr - far)))
    return 50 * float(frr[at] + far[at]), 100 * float(np.mean(own < np.quantile(strangers, 0.99)))

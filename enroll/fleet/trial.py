"""How good a start is for people whom it has never met: a public list of takes and tries, each trained from it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.engine.audio.samples import Float32
from earmark.engine.errors import FleetError, text_of
from earmark.engine.storage.atomic import read_limited
from earmark.engine.verifier import HEAD_SHARE_WITHOUT_ELSEWHERE, fused

from ..enrolment import Enroller
from ..evaluation.error_rates import Trials
from ..training.calibrate import centroid
from ..training.train import TakeEmbeddings, TrainPlan, prototype, rows_of
from .contribution import PLAN, trained_from

MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class TrialList:
    """Embeddings of p people, n tries."""

    takes: Float32
    """(p, t, d) of each person's enrolment."""
    copies: Float32
    """(p, t, c, d) variations of the takes; c may be 0."""
    tries: Float32
    """(n, d)."""
    speaker: npt.NDArray[np.intp]
    """(n,) number of the person, or -1 of nobody enrolled."""


def read_list(path: Path) -> TrialList:
    """An .npz with the arrays of `TrialList`.

    Raises:
        FleetError: it is none.
    """
    try:
        with np.load(io.BytesIO(read_limited(path, MOST_BYTES)), allow_pickle=False) as arrays:
            made = TrialList(arrays["takes"], arrays["copies"], arrays["tries"], arrays["speaker"].astype(np.intp))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FleetError(f"{path}: is no list of trials: {text_of(error)}") from error
    if made.takes.shape[:2] != made.copies.shape[:2] or len(made.tries) != len(made.speaker):
        raise FleetError(f"{path}: its arrays do not belong together")
    return made


def scores(enroller: Enroller, start: Float32, of: TrialList, plan: TrainPlan = PLAN) -> tuple[Float32, Float32]:
    """(p, n) cosines of every try to every person's takes, and (p, n) scores of the head trained from a start."""
    cosines, heads = [], []
    for takes, copies in zip(of.takes, of.copies):
        person = [TakeEmbeddings(take, varied) for take, varied in zip(takes, copies)]
        mean = centroid(person)
        negatives, _ = enroller.cohorts("any-phrase", mean)
        trained_from(enroller.head, start, person, negatives, plan)
        embeddings, weight, _ = rows_of(person, plan, enroller.head.take_rows)
        cosines.append(of.tries @ mean)
        heads.append(enroller.head.score(of.tries, prototype(enroller.head, embeddings, weight)))
    return np.array(cosines), np.array(heads)


def trials(scored: Float32, of: TrialList) -> Trials:
    """(p, n) scores of any kind, as trials."""
    people = np.repeat(np.arange(len(of.takes)), len(of.tries))
    speaker = np.tile(of.speaker, len(of.takes))
    flat = scored.reshape(-1).astype(np.float64)
    return Trials(flat, people == speaker, np.zeros(len(flat), bool), people, speaker)


def rates(enroller: Enroller, start: Float32, of: TrialList) -> dict[str, float]:
    """EER and FRR at 1 % FAR, as shares."""
    cosine, head = scores(enroller, start, of)
    det = trials(fused(cosine, head, HEAD_SHARE_WITHOUT_ELSEWHERE), of).det()
    return {"eer": det.eer(), "frr_at_1_far": det.frr_at_far(0.01)}

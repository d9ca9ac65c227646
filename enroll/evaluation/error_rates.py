"""The field's error rates, from trials: a try, and the person whom it was compared with."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FARS = (0.01, 0.001)
DCF_TARGET_SHARE = 0.01  # NIST SRE 2008 to 2018: one try in a hundred is the person's own, both errors cost the same
BOOTSTRAP_DRAWS = 400
INTERVAL = (2.5, 97.5)  # per cent: 95 % lie between


_Below = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""(n,) trials, ascending by their score, and (k,) how many of them lie below each threshold."""


class _Part(NamedTuple):
    """Some of the trials, each enrolled person's together."""

    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    """(p,) where each person's begin."""
    accepted: npt.NDArray[np.intp]
    """(a,) those of the rows that are accepted."""
    person: npt.NDArray[np.intp]
    """(a,) whose these are, by the place in `starts`."""


@dataclass(frozen=True)
class Det:
    """Both errors at every threshold that makes a difference, for a detection error trade-off curve."""

    thresholds: Floats
    """(k,), ascending; accepted is what scores at least the threshold. The last is infinite: nobody is."""
    frr: Floats
    """(k,) share of the own tries rejected, ascending."""
    far: Floats
    """(k,) share of the strangers' tries accepted, descending."""

    def eer(self) -> float:
        """Equal error rate: where FRR and FAR meet."""
        nearest = int(np.abs(self.frr - self.far).argmin())
        return float(self.frr[nearest] + self.far[nearest]) / 2

    def frr_at_far(self, far: float) -> float:
        """FRR at the lowest threshold which lets at most a share `far` of the strangers in."""
        return float(self.frr[np.argmax(self.far <= far)])

    def min_dcf(self) -> float:
        """The least detection cost of any threshold, over that of rejecting everybody (NIST's normalised minDCF)."""
        costs = DCF_TARGET_SHARE * self.frr + (1 - DCF_TARGET_SHARE) * self.far
        return float(costs.min() / DCF_TARGET_SHARE)


@dataclass(frozen=True)
class Trials:
    """What one system said of n trials; every column is (n,)."""

    scores: Floats
    """-inf where the detector would not have got as far as a score."""
    own: npt.NDArray[np.bool_]
    accepted: npt.NDArray[np.bool_]
    """By the threshold of the enrolment."""
    person: npt.NDArray[np.intp]
    """Number of who is enrolled."""
    speaker: npt.NDArray[np.intp]
    """Number of who spoke; the same numbers."""

    def det(self, weight: Floats | None = None) -> Det:
        """The curve; `weight` (n,) counts a trial so many times."""
        weight = np.ones(len(self.scores)) if weight is None else weight
        thresholds, own, others = self._by_score
        rejected, passed_over = (_below(weight[rows], below) for rows, below in (own, others))
        # counted, and not 1 minus a share: with 1 of 100 let in that is 0.01 and one ulp, more than a wanted 0.01
        far = (passed_over[-1] - passed_over) / passed_over[-1]
        return Det(thresholds, rejected / rejected[-1], far)

    @functools.cached_property
    def _by_score(self) -> tuple[Floats, _Below, _Below]:
        """Every threshold, ascending, and which own and which strangers' tries are below each: sorted once."""
        order = np.argsort(self.scores, kind="stable")
        sorted_scores, own = self.scores[order], self.own[order]
        ends = np.r_[np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]]), len(own)]
        thresholds = np.r_[sorted_scores[ends[:-1]], np.inf]
        counts = (np.r_[0, np.cumsum(mask)][ends] for mask in (own, ~own))
        mine, others = ((order[mask], count) for mask, count in zip((own, ~own), counts))
        return thresholds, mine, others

    def rates(self, weight: Floats | None = None) -> dict[str, float]:
        """EER, FRR at fixed FAR, minDCF, and both errors at the enrolled thresholds, as fractions of 1.

        `…_macro` is the mean over the enrolled people of each one's own rate: somebody with many tries counts once.
        """
        weight = np.ones(len(self.scores)) if weight is None else weight
        det = self.det(weight)
        (frr, frr_macro), (far, far_macro) = (_accepted(weight, part) for part in self._by_person)
        return {
            "eer": det.eer(),
            **{f"frr_at_far_{far:g}": det.frr_at_far(far) for far in FARS},
            "min_dcf": det.min_dcf(),
            "frr_at_enrolled": 1 - frr,
            "far_at_enrolled": far,
            "frr_at_enrolled_macro": 1 - frr_macro,
            "far_at_enrolled_macro": far_macro,
        }

    @functools.cached_property
    def _by_person(self) -> tuple[_Part, _Part]:
        """The own tries and the strangers', each person's together: sorted once."""
        order = np.argsort(self.person, kind="stable")
        own, others = (order[mask[order]] for mask in (self.own, ~self.own))
        return self._part(own), self._part(others)

    def _part(self, rows: npt.NDArray[np.intp]) -> _Part:
        person = self.person[rows]
        starts = np.flatnonzero(np.r_[True, person[1:] != person[:-1]][: len(rows)])
        accepted = np.flatnonzero(self.accepted[rows])
        return _Part(rows, starts, rows[accepted], np.searchsorted(starts, accepted, "right") - 1)

    def intervals(self, other: Trials | None = None, seed: int = 0) -> dict[str, list[float]]:
        """95 % intervals of all rates, by drawing speakers anew, enrolled ones and strangers alike.

        Trials of one speaker are no independent observations: so whole speakers are drawn, with replacement, and a
        stranger's trial counts as often as the person and the stranger were both drawn (two-way cluster bootstrap;
        S. Bengio and J. Mariéthoz, "A statistical significance test for person authentication", 2004, on why).

        Args:
            other: another system's scores of the same trials: the intervals are of the differences to it.
        """
        rng = np.random.default_rng(seed)
        count = int(max(self.person.max(), self.speaker.max())) + 1
        draws: dict[str, list[float]] = {}
        for _ in range(BOOTSTRAP_DRAWS):
            times = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
            weight = times[self.person] * np.where(self.own, 1.0, times[self.speaker])
            if not (weight @ self.own and weight @ ~self.own):
                continue  # nobody enrolled was drawn
            base = other.rates(weight) if other is not None else {}
            for name, value in self.rates(weight).items():
                draws.setdefault(name, []).append(value - base.get(name, 0.0))
        return {name: [float(value) for value in np.percentile(values, INTERVAL)] for name, values in draws.items()}


def _below(weight: Floats, below: npt.NDArray[np.intp]) -> Floats:
    """(k,) the weight below each threshold, of (n,) trials in the order of their scores."""
    sums: Floats = np.concatenate([[0.0], np.cumsum(weight)])[below]
    return sums


def _accepted(weight: Floats, part: _Part) -> tuple[float, float]:
    """Share of the tries accepted, (n,) weighted; and of each enrolled person, and of these the mean.

    Who was drawn twice counts twice: the weight of a person is that of the heaviest trial.
    """
    weights, accepted = weight[part.rows], weight[part.accepted]
    if not len(weights):
        return float("nan"), float("nan")
    tries, times = (reduce.reduceat(weights, part.starts) for reduce in (np.add, np.maximum))
    passed = np.bincount(part.person, accepted, minlength=len(tries))
    asked = tries > 0
    mean = times[asked] @ (passed[asked] / tries[asked]) / times[asked].sum()
    return float(accepted.sum() / weights.sum()), float(mean)


def pooled(parts: Sequence[Trials]) -> Trials:
    """The trials of several lists whose speakers are different people."""
    offsets = np.cumsum([0, *(int(max(part.person.max(), part.speaker.max())) + 1 for part in parts)])
    return Trials(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.own for part in parts]),
        np.concatenate([part.accepted for part in parts]),
        np.concatenate([part.person + offset for part, offset in zip(parts, offsets)]),
        np.concatenate([part.speaker + offset for part, offset in zip(parts, offsets)]),
    )


def to_json(trials: Trials) -> dict[str, Any]:
    """The rates with their intervals, as `earmark evaluate` writes them."""
    alone = replace(trials)  # what it sorts, as much as all scores again, is not kept for the next system
    return {**alone.rates(), "ci95": alone.intervals()}

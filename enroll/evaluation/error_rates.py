"""The field's error rates, from trials: a try, and the person whom it was compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FARS = (0.01, 0.001)
DCF_TARGET_SHARE = 0.01  # NIST SRE 2008 to 2018: one try in a hundred is the person's own, both errors cost the same
BOOTSTRAP_DRAWS = 400
INTERVAL = (2.5, 97.5)  # per cent: 95 % lie between


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
        order = np.argsort(self.scores, kind="stable")
        sorted_scores, own = self.scores[order], self.own[order]
        starts = np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])
        below = [np.r_[0.0, np.cumsum(weight[order] * mask)][np.r_[starts, len(own)]] for mask in (own, ~own)]
        rejected, passed_over = below
        # counted, and not 1 minus a share: with 1 of 100 let in that is 0.01 and one ulp, more than a wanted 0.01
        far = (passed_over[-1] - passed_over) / passed_over[-1]
        return Det(np.r_[sorted_scores[starts], np.inf], rejected / rejected[-1], far)

    def rates(self, weight: Floats | None = None) -> dict[str, float]:
        """EER, FRR at fixed FAR, minDCF, and both errors at the enrolled thresholds, as fractions of 1.

        `…_macro` is the mean over the enrolled people of each one's own rate: somebody with many tries counts once.
        """
        weight = np.ones(len(self.scores)) if weight is None else weight
        det = self.det(weight)
        own, strangers = weight * self.own, weight * ~self.own
        return {
            "eer": det.eer(),
            **{f"frr_at_far_{far:g}": det.frr_at_far(far) for far in FARS},
            "min_dcf": det.min_dcf(),
            "frr_at_enrolled": 1 - float(own @ self.accepted / own.sum()),
            "far_at_enrolled": float(strangers @ self.accepted / strangers.sum()),
            "frr_at_enrolled_macro": 1 - self._macro(own),
            "far_at_enrolled_macro": self._macro(strangers),
        }

    def _macro(self, weight: Floats) -> float:
        """Share of the trials accepted, (n,) weighted: of each enrolled person, and of these the mean.

        Who was drawn twice counts twice: the weight of a person is that of the heaviest trial.
        """
        tries, accepted = (np.bincount(self.person, weight * of) for of in (np.ones(len(weight)), self.accepted))
        times = np.zeros(len(tries))
        np.maximum.at(times, self.person, weight)
        asked = tries > 0
        return float(times[asked] @ (accepted[asked] / tries[asked]) / times[asked].sum())

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
    return {**trials.rates(), "ci95": trials.intervals()}

"""What an enrolment measured, for the header of a voiceprint: for people, and for `earmark evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from earmark.engine.audio.samples import Float32
from earmark.engine.people.store import COSINE

from . import calibrate
from .achieved import Achieved


def report(
    trials: Mapping[str, calibrate.Trial], kind: str, achieved: Mapping[str, Achieved], impostors: int
) -> dict[str, Any]:
    """Of each kind of score what it would have done, and of the kept `kind` how often it will reject the owner."""
    threshold = achieved[kind].threshold
    own = achieved[kind].own
    rejected = int(np.sum(own < threshold))
    return {
        "kept": kind,
        "impostors": impostors,
        "cosine_threshold": rounded(achieved[COSINE].threshold),
        "expected_frr": {
            "rejected": rejected,
            "of": len(own),
            "ci95": [rounded(bound) for bound in calibrate.share_interval(rejected, len(own))],
        },
        "leave_one_out": {
            name: {"own": [rounded(score) for score in achieved[name].own], "margin": rounded(trial.margin())}
            for name, trial in trials.items()
        },
        "achieved": {name: one.to_json() for name, one in achieved.items()},
    }


def of_others(recordings: int, own_crops: int, trained: int, scores: Float32, threshold: float) -> dict[str, int]:
    """Of the other people of the home: how many trained, and how many of their crops would be let in."""
    return {
        "recordings": recordings,
        "crops": len(scores),
        "own_crops": own_crops,
        "trained": trained,
        "let_in": int(np.sum(scores >= threshold)),
    }


def rounded(value: float) -> float:
    """To four places, as all figures of a report."""
    return round(float(value), 4)

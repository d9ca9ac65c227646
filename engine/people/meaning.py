"""Whether a voiceprint means what it claims: checked at every load, whoever wrote the file.

A checksum says that a file is as it was written. It does not say that its numbers are embeddings, and whoever can
write a file can write its checksum. So all that a score, a threshold or a command is computed from is held to what it
can be: rows of unit length, shares between 0 and 1, counts that fit each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..audio.samples import Float32
from ..errors import InputError
from ..networks.conditions import CONDITIONS
from ..networks.trained.kinds import HEAD
from ..storage.names import folder_name
from .voiceprint import COSINE, TRAINED, Voiceprint

NORM_TOLERANCE = 1e-3  # rows are kept as float32, and variations as float16, whose rounding changes a norm by 5e-4
MOST_OFFSET = 0.75  # half of what lies between a cosine of -1 and where strangers are usually (calibrate.py)
MOST_SLOPE = 100.0  # by which cosines of trained embeddings are stretched: a trained one is near 1
LATEST_S = 253_402_300_799  # the last second of the year 9999: no later one can be written as a date
MOST_COUNT = 1 << 53  # what a float holds exactly
_ID = re.compile(r"[0-9]{13,18}-[0-9a-f]{8}")

Check = Callable[[Any], bool]


def check(voiceprint: Voiceprint) -> None:
    """Refuses a voiceprint whose numbers cannot be what they are called.

    Raises:
        ValueError: they cannot; the message has name, value and rule.
    """
    if not 0 < voiceprint.threshold <= 1:
        # embeddings that have nothing to do with each other have cosines around 0: half of all voices would pass
        raise ValueError(f"threshold={voiceprint.threshold} must be above 0 and at most 1")
    rows: dict[str, Float32] = {"takes": voiceprint.takes, "centroid": voiceprint.centroid[None]}
    for name, varied in (("copies", voiceprint.copies), ("elsewhere", voiceprint.elsewhere)):
        if varied.size:
            rows[name] = varied.reshape(-1, varied.shape[-1])
    if voiceprint.elsewhere.shape[1] > len(CONDITIONS):
        raise ValueError(f"{voiceprint.elsewhere.shape[1]} conditions, there are {len(CONDITIONS)}")
    if voiceprint.kind == TRAINED and voiceprint.trainer == HEAD:
        rows["prototype"] = voiceprint.prototype[None]
        if not voiceprint.weights.projection.any():
            raise ValueError("projection is all zero: it must tell voices apart")
    elif voiceprint.kind == TRAINED:
        _check_model(voiceprint, rows)
    for name, each in rows.items():
        norms = np.sqrt(np.einsum("ij,ij->i", each, each))
        worst = int(np.argmax(np.abs(norms - 1)))
        if not abs(float(norms[worst]) - 1) <= NORM_TOLERANCE:  # NaN is not, either
            raise ValueError(f"row {worst} of {name} has the length {norms[worst]:.6g}, it must be 1")
    if np.any(np.abs(voiceprint.offsets) > MOST_OFFSET):
        raise ValueError(f"offsets={voiceprint.offsets.tolist()!r:.80} must be within ±{MOST_OFFSET:g}")
    _check_table("report", voiceprint.report, _REPORT)
    for facts in voiceprint.learned:
        missing = _FACTS.keys() - facts.keys()
        if missing:
            raise ValueError(f"what was learned must have {sorted(missing)}")
        _check_table("learned", facts, {**_FACTS, **_LEARNED})


def _check_model(voiceprint: Voiceprint, rows: dict[str, Float32]) -> None:
    """Refuses what no training can have made; rows of unit length are added to `rows`."""
    model, prototypes = voiceprint.model, 1 + voiceprint.elsewhere.shape[1]
    own = model.get("own", model.get("direction"))
    if own is None or len(own) not in (1, prototypes):
        count = 0 if own is None else len(own)
        raise ValueError(f"{voiceprint.trainer}: {count} scores, there are {prototypes} prototypes")
    if "own" in model:
        rows["own"] = model["own"]
        if not 0 < model["onto_cosine"][0] <= MOST_SLOPE:
            raise ValueError(f"onto_cosine={model['onto_cosine'].tolist()} must rise, by {MOST_SLOPE:g} at most")
    elif not own.any():
        raise ValueError("direction is all zero: it must tell voices apart")


def check_facts(facts: Mapping[str, Any]) -> None:
    """Refuses what cannot be a wake that waits to be learned, or was.

    Raises:
        ValueError: a value cannot be what it is called.
    """
    _check_table("wake", facts, _FACTS)


def _check_table(what: str, values: Mapping[str, Any], rules: Mapping[str, Check]) -> None:
    """Each value for which there is a rule; others are for people to read, and may be anything."""
    for key, rule in rules.items():
        if key in values and not rule(values[key]):
            raise ValueError(f"{what}: {key}={values[key]!r:.80} cannot be")


def _number(low: float, high: float) -> Check:
    """A number of this range; JSON's true and NaN are none."""
    return lambda value: type(value) in (int, float) and low <= value <= high


def _table(**rules: Check) -> Check:
    """A table that has all of these keys."""
    return lambda value: isinstance(value, dict) and all(key in value and rules[key](value[key]) for key in rules)


def _each_kind(rule: Check) -> Check:
    """A table of kinds of score."""
    return lambda value: (
        isinstance(value, dict) and all(kind in (COSINE, TRAINED) and rule(one) for kind, one in value.items())
    )


def _list(rule: Check, length: int | None = None) -> Check:
    """A list, of so many."""
    return lambda value: (
        isinstance(value, list) and length in (None, len(value)) and all(rule(element) for element in value)
    )


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST_COUNT


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _name(value: Any) -> bool:
    """What a person can be called, or nobody."""
    if value is None:
        return True
    try:
        folder_name(value)
    except (InputError, AttributeError, UnicodeEncodeError):
        return False
    return True


def _rejected(value: Any) -> bool:
    counts = _table(rejected=_whole, of=_whole, ci95=_list(_number(0, 1), 2))
    return counts(value) and value["rejected"] <= value["of"]


_cosine = _number(-1.01, 1.01)  # rounded to four places
_time = _number(0, LATEST_S)

_REPORT: Mapping[str, Check] = {  # enroll/training/report.py
    "seed": _whole,
    "wanted_far": lambda value: _number(0, 1)(value) and 0 < value < 1,
    "kept": lambda value: value in (COSINE, TRAINED),
    "impostors": _whole,
    "cosine_threshold": _cosine,
    "expected_frr": _rejected,
    "leave_one_out": _each_kind(lambda value: isinstance(value, dict) and _list(_cosine)(value.get("own", []))),
    "achieved": _each_kind(
        _table(threshold=_cosine, frr=_rejected, far=_table(accepted=_whole, of=_whole, share=_number(0, 1)))
    ),
    "others": _table(recordings=_whole, crops=_whole, own_crops=_whole, trained=_whole, let_in=_whole),
    "takes_snr_db": _number(-200, 200),
    "takes_high_db": _number(-200, 200),
    "home_impostors": _whole,
    "home_said": _whole,
}
_LEARNED: Mapping[str, Check] = {"learned_s": _time, "condition": lambda value: value in CONDITIONS}
_FACTS: Mapping[str, Check] = {  # engine/history/queued_wake.py
    "id": lambda value: isinstance(value, str) and _ID.fullmatch(value) is not None,
    "type": _text,
    "keyword": _text,
    "person": _name,
    "score": lambda value: value is None or _cosine(value),
    "source": _text,
    "sample": _whole,
    "at_s": _time,
    "label": _name,
    "speaker_sha256": _text,
}

"""Which people would be confused, on plain vectors at the threshold itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers_store import make_voiceprint

from earmark.engine.people.store import COSINE, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.training.alike import Alike, alike

ONE, AT_HALF, OTHER = (1.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 0.0, 1.0)
NOBODY = Verifier([])


def person(name: str, mean: tuple[float, ...], *takes: tuple[float, ...]) -> Voiceprint:
    made = make_voiceprint(name, kind=COSINE, threshold=0.5)
    return replace(made, takes=np.array(takes, np.float32), centroid=np.array(mean, np.float32))


def test_a_take_that_scores_the_others_threshold_would_pass() -> None:
    anna = person("anna", ONE, ONE, ONE)
    assert list(alike(anna, [person("bert", OTHER, AT_HALF, OTHER, OTHER)], NOBODY)) == [Alike("bert", 1, 3, 0, 2)]
    below = (0.49, *AT_HALF[1:])
    assert list(alike(anna, [person("bert", OTHER, below, OTHER)], NOBODY)) == []


def test_both_directions_count() -> None:
    anna, bert = person("anna", ONE, OTHER, OTHER, AT_HALF), person("bert", OTHER, OTHER)
    assert list(alike(anna, [bert], NOBODY)) == [Alike("bert", 0, 1, 3, 3)]
    assert list(alike(bert, [anna], NOBODY)) == [Alike("anna", 3, 3, 0, 1)]


def test_who_has_the_same_name_or_other_networks_is_not_compared() -> None:
    anna, twin = person("anna", ONE, ONE), person("twin", ONE, ONE)
    assert [found.name for found in alike(anna, [anna, twin], NOBODY)] == ["twin"]
    for part in ("keyword", "speaker", "head"):
        elsewhere = replace(twin, binding=replace(twin.binding, **{part: "another network"}))
        assert list(alike(anna, [elsewhere], NOBODY)) == []

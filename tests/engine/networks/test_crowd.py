"""What many people score at most: never less than they do, and near enough to be of use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.engine.audio.samples import Float32
from earmark.engine.networks.conditions import ANYWHERE, PLAIN, Open
from earmark.engine.networks.crowd import ROUNDING, Asked, Bound, Crowd, Start, bound_of, most_of
from earmark.engine.networks.head import SpeakerHead

SIZE, PROJECTED = 12, 7
COUNTS = (1, 1 + 6, 1 + 3)  # prototypes of each person: enrolled before there were conditions, with all, with some


def unit(rows: npt.NDArray[np.float64]) -> Float32:
    scaled: Float32 = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return scaled


def made(rng: np.random.Generator, shipped: Float32, count: int, moved: float, share: float) -> Asked:
    projection = (shipped + moved * rng.standard_normal(shipped.shape)).astype(np.float32)
    prototypes = unit(rng.standard_normal((count, SIZE)))
    own = unit(rng.standard_normal(PROJECTED))
    return Asked(prototypes, projection, own, share, rng.uniform(-0.1, 0.2, count).astype(np.float32))


def exactly(asked: Asked, centre: Float32, embedding: Float32, may: Open) -> float:
    """The score in float64, by its definition."""
    prototypes, projection = asked.prototypes.astype(np.float64), asked.projection.astype(np.float64)
    away = (embedding - centre) @ projection
    against = np.concatenate([asked.own[None], (prototypes[1:] - centre) @ projection])
    cosines = against @ away / np.linalg.norm(against, axis=1) / np.linalg.norm(away)
    scores = (1 - asked.share) * (prototypes @ embedding) + asked.share * cosines - asked.taken_off
    return float(np.clip(scores, -1, 1)[may[: len(scores)]].max())


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    moved=st.sampled_from([0.0, 0.003, 0.03, 0.1, 1.0]),
    towards=st.floats(-3, 3),
    may=st.sampled_from([PLAIN, ANYWHERE]),
)
def test_nobody_scores_more(seed: int, moved: float, towards: float, may: Open) -> None:
    rng = np.random.default_rng(seed)
    shipped = (0.3 * rng.standard_normal((SIZE, PROJECTED))).astype(np.float32)
    start = Start(shipped, (0.1 * rng.standard_normal(SIZE)).astype(np.float32))
    people = [made(rng, shipped, count, moved, share) for count in COUNTS for share in (0.0, 1 / 3, 0.5, 1.0)]
    bounds: list[Bound] = [bound for bound in (bound_of(asked, start) for asked in people) if bound is not None]
    assert len(bounds) == len(people)
    crowd = Crowd(bounds, start)
    embedding = unit(rng.standard_normal(SIZE) + towards * people[seed % len(people)].prototypes[0])
    exact = np.array([exactly(asked, start.centre, embedding, may) for asked in people])
    most = crowd.most(embedding, may)
    assert (most >= exact).all()
    near = np.array(
        [most_of(bound, asked.projection, start.centre, embedding, may) for bound, asked in zip(crowd.bounds, people)]
    )
    assert (near >= exact).all()
    np.testing.assert_allclose(np.clip(near - ROUNDING, -1, 1), exact, atol=1e-5)
    plain = [number for number, asked in enumerate(people) if not asked.share]
    np.testing.assert_allclose(most[plain], exact[plain], atol=2e-4)


def test_where_training_has_moved_little_it_is_near_the_score() -> None:
    """A bound of 1 for every cosine would pass the test above."""
    rng = np.random.default_rng(0)
    shipped = (0.3 * rng.standard_normal((SIZE, PROJECTED))).astype(np.float32)
    start = Start(shipped, np.zeros(SIZE, np.float32))
    people = [made(rng, shipped, 7, 0.003, 0.5) for _ in range(50)]
    bounds = [bound for bound in (bound_of(asked, start) for asked in people) if bound is not None]
    embedding = unit(rng.standard_normal(SIZE))
    most = Crowd(bounds, start).most(embedding, ANYWHERE)
    assert np.median(most - [exactly(asked, start.centre, embedding, ANYWHERE) for asked in people]) < 0.02


@pytest.mark.parametrize("part", ["prototypes", "projection", "own", "taken_off"])
@pytest.mark.parametrize("spoiled", ["size", "nan", "zero"])
def test_numbers_that_are_not_of_these_networks_have_no_bound(part: str, spoiled: str) -> None:
    rng = np.random.default_rng(0)
    shipped = rng.standard_normal((SIZE, PROJECTED)).astype(np.float32)
    asked = made(rng, shipped, 7, 0.1, 0.5)
    array = getattr(asked, part)
    changed = {"size": array[..., 1:], "nan": array * np.float32("nan"), "zero": array * 0}[spoiled]
    start = Start(shipped, np.zeros(SIZE, np.float32))
    found = bound_of(asked._replace(**{part: changed}), start)
    assert (found is None) == (spoiled != "zero" or part == "own")


def test_a_head_that_projects_in_another_way_has_no_start(head: SpeakerHead, monkeypatch: pytest.MonkeyPatch) -> None:
    assert head.start() is not None
    project = head.project
    monkeypatch.setattr(head, "project", lambda rows: project(rows + np.float32(0.01)))
    assert head.start() is None

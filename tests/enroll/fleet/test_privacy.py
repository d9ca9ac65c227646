"""How much a noised vector tells, against an integral of the definition and a bound found another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.enroll.fleet import privacy


def delta_by_integral(epsilon: float, mu: float) -> float:
    """The definition: how far one density exceeds e^ε times the other, summed over all outcomes."""
    x = np.linspace(-40, 40 + mu, 2_000_001)
    ours, theirs = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (mu, 0.0))
    return float(np.maximum(ours - math.exp(epsilon) * theirs, 0).sum() * (x[1] - x[0]))


def renyi_bound(mu: float, delta: float) -> float:
    """ε by Rényi differential privacy of the Gaussian mechanism (I. Mironov, 2017, propositions 3 and 7)."""
    orders = np.linspace(1.01, 500, 50_000)
    return float((orders * mu**2 / 2 + math.log(1 / delta) / (orders - 1)).min())


@pytest.mark.parametrize("mu", [0.05, 0.2, 0.5, 1.0, 2.0, 4.0])
def test_epsilon_is_that_of_the_definition(mu: float) -> None:
    assert delta_by_integral(privacy.epsilon(mu), mu) == pytest.approx(privacy.DELTA, rel=1e-3)


@given(st.floats(0.02, 6.0))
@settings(max_examples=50, deadline=None)
def test_epsilon_is_below_the_bound_of_renyi(mu: float) -> None:
    assert 0 < privacy.epsilon(mu) <= renyi_bound(mu, privacy.DELTA)


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_releases_together_cost_more_than_each_and_less_than_their_sum(mus: list[float]) -> None:
    costs = [privacy.epsilon(mu) for mu in mus]
    whole = privacy.epsilon(privacy.together(mus))
    assert max(costs) <= whole + 1e-9
    assert privacy.together(mus) <= sum(mus) + 1e-12


@given(st.floats(0.1, 50.0))
@settings(max_examples=50, deadline=None)
def test_the_noise_for_an_epsilon_costs_that_epsilon(wanted: float) -> None:
    assert privacy.epsilon(privacy.mu_for(wanted)) == pytest.approx(wanted, rel=1e-6)


def test_no_release_costs_nothing_and_no_noise_everything() -> None:
    assert privacy.epsilon(privacy.together([])) == 0
    assert privacy.epsilon(1e-9) == 0
    assert math.isinf(privacy.epsilon(1000.0))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 10))
@settings(max_examples=50, deadline=None)
def test_what_is_clipped_is_no_longer_than_allowed_and_points_the_same_way(seed: int, length: float) -> None:
    vector = np.random.default_rng(seed).standard_normal((5, 4)).astype(np.float32)
    kept = privacy.clipped(vector, length)
    assert np.linalg.norm(kept) <= length * (1 + 1e-6)
    assert np.sum(kept * vector) == pytest.approx(np.linalg.norm(kept) * np.linalg.norm(vector), rel=1e-5)


def test_the_noise_is_normal_of_the_wanted_size_and_never_twice_the_same() -> None:
    nothing = np.zeros(200_000, np.float32)
    one, two = (privacy.noised(nothing, 3.0) for _ in range(2))
    assert one.std() == pytest.approx(3.0, rel=0.02)
    assert abs(float(one.mean())) < 0.05
    assert abs(float(np.corrcoef(one, two)[0, 1])) < 0.02
    assert float((np.abs(one) < 3.0).mean()) == pytest.approx(0.6827, abs=0.01)

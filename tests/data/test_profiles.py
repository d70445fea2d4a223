import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_bench.core.errors import UserError
from lt_bench.data.profiles import profile_counts

# Published counts and totals (strategies.md 2.1, from the official lists).
CIFAR10_IF100 = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
TOTALS = {
    (5000, 10): {10: 20431, 50: 13996, 100: 12406, 200: 11203},
    (500, 100): {10: 19573, 50: 12608, 100: 10847, 200: 9502},
    (500, 200): {10: 39072, 50: 25082, 100: 21549, 200: 18836},
    (3200, 36): {100: 25711},
}


def test_cifar10_counts():
    assert profile_counts("exponential", 5000, 100, 10) == CIFAR10_IF100


@pytest.mark.parametrize(("shape", "totals"), TOTALS.items())
def test_totals_are_the_published_ones(shape, totals):
    n_max, K = shape
    assert {factor: sum(profile_counts("exponential", n_max, factor, K)) for factor in totals} == totals


def test_cifar100_shot_groups():
    counts = np.array(profile_counts("exponential", 500, 100, 100))
    assert ((counts > 100).sum(), (counts < 20).sum(), counts[-1]) == (35, 30, 5)


def test_step():
    assert profile_counts("step", 500, 100, 5) == (500, 500, 5, 5, 5)


@given(st.integers(100, 6000), st.floats(1, 100), st.integers(2, 300))
def test_exponential_falls_from_n_max(n_max, factor, K):
    counts = profile_counts("exponential", n_max, factor, K)
    assert counts[0] == n_max
    assert list(counts) == sorted(counts, reverse=True)
    assert counts[-1] in (int(n_max / factor), int(n_max / factor) - 1, int(n_max / factor) + 1)


@pytest.mark.parametrize("factor", [0.5, float("nan"), float("inf"), 1000])
def test_impossible_factors_are_refused(factor):
    with pytest.raises(UserError, match="imbalance factor"):
        profile_counts("exponential", 500, factor, 100)

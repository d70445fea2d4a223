from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.stats.findings import findings, ranks, spearman, variation


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_ranks_against_scipy(values):
    array = np.array(values, dtype=float)
    assert np.array_equal(ranks(array), stats.rankdata(array))


def test_spearman_against_scipy_and_by_simulated_coverage():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(30)
    y = x + rng.standard_normal(30)
    found = spearman(np.append(x, np.nan), np.append(y, 1.0))
    assert found.n == 30
    assert found.rho == pytest.approx(stats.spearmanr(x, y)[0])
    assert found.low < found.rho < found.high
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of a normal pair with correlation 0.6
    covered = 0
    for _ in range(400):
        a = rng.standard_normal(25)
        found = spearman(a, 0.6 * a + 0.8 * rng.standard_normal(25))
        covered += found.low <= truth <= found.high
    assert covered / 400 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)
    assert np.isnan(spearman(x, np.ones(30)).rho)
    assert spearman(x[:4], y[:4]).low is None


def test_variation():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    spread, low, high = variation(values)
    assert spread == pytest.approx(np.std([1, 2, 3]) / 2)
    assert low < spread < high
    assert variation(np.full(6, 3.0)) == (0.0, 0.0, 0.0)


def test_findings_count_a_strategy_once(builder):
    skills = {"a": 0.0, "b": 0.5, "c": 1.0, "d": 1.5, "e": 2.0}
    made = [builder.make(name, 0, skill, loma=6 - skill)[0] for name, skill in skills.items()]
    made += [builder.make("a", 0, 3.0, loma=9.0, kind="tuned", hyperparameters={"x": 1})[0]]
    made += [builder.make("f", 0, 3.0, loma=9.0, kind="author-tuned")[0]]
    (found,) = boards(from_records(made))
    first, second = findings(found)
    assert "LoMa size: Spearman -1.00 (no interval), 5 strategies" in first
    assert "RSD by" in second
    (few,) = boards(from_records(made[1:]))
    assert findings(few) == []

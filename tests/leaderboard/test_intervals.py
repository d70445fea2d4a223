from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.intervals import seed_interval
from lt_bench.leaderboard.load import from_records


def test_against_scipy():
    values = np.array([0.51, 0.52, 0.49, 0.55])
    wanted = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    found = seed_interval(values, "head seeds")
    assert (found.low, found.high) == pytest.approx(wanted, rel=1e-12)
    assert found.mean == pytest.approx(0.5175)


@pytest.mark.parametrize(("values", "varies"), [([0.5], "head seeds"), ([0.5, 0.6], None), ([0.5, np.nan], "head seeds")])
def test_no_interval_where_nothing_varies_or_there_is_one_value(values, varies):
    assert seed_interval(np.array(values), varies).half is None


def test_coverage():
    draws = np.random.default_rng(0).normal(0.5, 0.01, (4000, 5))
    found = [seed_interval(values, "seeds") for values in draws]
    covered = np.mean([e.low <= 0.5 <= e.high for e in found])
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)


def test_a_strategy_that_trains_nothing_has_no_interval(builder):
    made = [builder.make("tau_norm", seed, trains="nothing")[0] for seed in range(3)] + [builder.make("los", seed)[0] for seed in range(3)]
    (found,) = boards(from_records(made))
    halves = {row.label: row.estimate("test/accuracy").half for row in found.rows}
    assert halves["tau_norm"] is None
    assert halves["los"] > 0

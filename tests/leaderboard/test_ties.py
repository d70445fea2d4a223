from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lt_bench.leaderboard.boards import boards
from lt_bench.leaderboard.load import from_records
from lt_bench.leaderboard.ties import agree, ranks, tied


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e-7, 1e-7)), min_size=1, max_size=12))
def test_rounding_changes_no_rank(values):
    exact = np.array([value for value, _ in values], dtype=float)
    rounded = exact + np.array([error for _, error in values])
    assert np.array_equal(ranks(rounded), stats.rankdata(exact))
    assert np.array_equal(np.unique(tied(rounded), return_inverse=True)[1], np.unique(exact, return_inverse=True)[1])


def test_what_is_tied():
    assert tied(np.array([2.0 + 9e-7, 1.0, 2.0, np.nan, np.inf, np.inf])).tolist()[:3] == [2.0, 1.0, 2.0]
    assert ranks(np.array([1e6, 1e6 + 0.5, 2e6])).tolist() == [1.5, 1.5, 3.0]  # relative to large figures
    assert ranks(np.array([0.4415, 0.4415 + 1 / 150_000])).tolist() == [1.0, 2.0]  # an image of 50,000 with three seeds
    assert tied(np.zeros(0)).shape == (0,)
    assert agree(np.array([1.0, np.nan]), np.array([1.0 + 1e-9, np.nan]))
    assert not agree(np.array([1.0, 0.0]), np.array([1.0, np.nan]))


def test_rows_of_one_accuracy_are_in_the_order_of_their_labels(builder):
    made = [builder.make(name, seed, correct=np.arange(200) < 100)[0] for name in ("b", "a", "c") for seed in range(3)]
    for record in made:
        record.metrics["test"]["accuracy"] += 1e-9 * "acb".index(record.strategy.name)
    assert [row.label for row in boards(from_records(made))[0].rows] == ["a", "b", "c"]

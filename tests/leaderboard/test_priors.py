"""Accuracies under other class shares of the test set: columns, places, and the shipped board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lt_bench as lt
from lt_bench.core.errors import UserError
from lt_bench.data.priors import usual_imbalances
from lt_bench.leaderboard.leaderboard import leaderboard
from lt_bench.leaderboard.plots.by_prior import places_by_prior
from lt_bench.leaderboard.tables.columns import column_value, registered

SHIPPED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "shipped"


def test_the_order_of_the_shipped_rows_turns_round_with_the_test_prior():
    board = leaderboard(SHIPPED, statistics=False).boards[0]
    columns = {column.key: column for column in registered()}
    at = {
        key: {row.label: round(100 * column_value(row, columns[key]).mean, 1) for row in board.rows}
        for key in ("forward_50", "backward_50")
    }
    assert (at["forward_50"]["los (tuned)"], at["forward_50"]["ce"], at["forward_50"]["joint"]) == (53.6, 62.9, 62.9)
    assert max(at["forward_50"].values()) == 62.9
    assert max(at["backward_50"], key=at["backward_50"].get) == "los"
    drawing = places_by_prior(board)
    left, right = ([text for text in drawing.axes[0].texts if text.xy[0] == side] for side in (0, 4))
    assert min(left, key=lambda text: text.xy[1]).get_text() == "33.1"
    assert max(right, key=lambda text: text.xy[1]).get_text() == "50.4  los"


def test_priors_of_files_are_columns_of_every_table(results, tmp_path):
    path = tmp_path / "ponds.csv"
    path.write_text("class,prior\n" + "".join(f"{k},{k == 3:d}\n" for k in range(10)))
    made = leaderboard(results, test_priors=[str(path), "forward:1"], statistics=False)
    for row in made.boards[0].rows:
        one, uniform = (column_value(row, column).mean for column in made.columns[-2:])
        accuracy = row.runs.array(row.positions[0], "test/class_accuracy")
        assert (one, uniform) == pytest.approx((accuracy[3], np.mean(accuracy)))
    assert "At ponds.csv" in made.markdown
    assert [column.key for column in made.columns[-2:]] == ["prior_ponds", "forward_1"]
    with pytest.raises(UserError, match="--test-priors: no such file: forward"):
        leaderboard(results, test_priors=["forward"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ponds.csv").write_text(path.read_text())
    with pytest.raises(UserError, match="two priors are named prior_ponds"):
        leaderboard(results, test_priors=[str(path), str(tmp_path / "other" / "ponds.csv")])
    assert (usual_imbalances("inat2018"), usual_imbalances("imagenet_lt")) == ((3, 2), (50, 10))


def test_told_heads_have_columns_beside_those_that_are_not_told():
    """joint and logit_adjustment are one head once both are told; tau_norm assumes no prior that is known."""
    rng = np.random.default_rng(0)
    counts = (200, 60, 20, 8)
    means = 0.7 * rng.normal(size=(4, 6))
    X, y = (
        np.concatenate(parts)
        for parts in zip(*((means[k] + rng.normal(size=(n, 6)), np.full(n, k)) for k, n in enumerate(counts)), strict=True)
    )
    test_y = np.repeat(np.arange(4), 50)
    test_X = means[test_y] + rng.normal(size=(200, 6))
    cache = lt.Cache.from_arrays(X, y, test=(test_X, test_y))
    runs = [run for name in ("joint", "logit_adjustment", "tau_norm") for run in lt.fit(name, cache)]
    frame = lt.leaderboard(runs).frame.set_index("strategy")
    head = cache.head()
    z = test_X @ head.weight.double().numpy().T + head.bias.double().numpy()
    rho = 50.0 ** (-np.arange(4)[::-1] / 3)
    predicted = (z - np.log(np.array(counts) / sum(counts)) + np.log(rho / rho.sum())).argmax(1)
    expected = 100 * sum(rho[k] / rho.sum() * (predicted[test_y == k] == k).mean() for k in range(4))
    assert frame.loc["joint", "backward_50_told"] == pytest.approx(expected)
    assert frame.loc["logit_adjustment", "backward_50_told"] == pytest.approx(expected)
    assert frame.loc["joint", "backward_50_told"] > frame.loc["joint", "backward_50"] + 5
    assert np.isnan(frame.loc["tau_norm", "backward_50_told"])
    assert "forward_3_told" not in frame or frame["forward_3_told"].isna().all()

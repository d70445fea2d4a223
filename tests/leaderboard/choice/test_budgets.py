"""Budget curves: the closed form against all subsets of a grid, and how they are shown."""

from __future__ import annotations

import csv
import io
import itertools
from math import comb

import numpy as np
import pytest

from lt_bench.leaderboard.choice.budget_output import budget_csv, budget_data, budget_markdown, shown
from lt_bench.leaderboard.choice.budgets import Points, first_on_test, probabilities
from lt_bench.leaderboard.objective.objective import MACRO, Objective
from lt_bench.leaderboard.plots.budgets import draw_budgets

VALIDATION = {"x": np.array([0.5, 0.7, 0.7, 0.2, 0.6, 0.1]), "y": np.array([0.4, 0.3, 0.8, 0.35])}  # x has a tie
TEST = {"x": np.array([0.61, 0.52, 0.58, 0.33, 0.60, 0.41]), "y": np.array([0.55, 0.60, 0.57, 0.20])}


def chosen(name, budget, sign=1):
    """Test figure of what validation chooses of every subset."""
    validation, test = sign * VALIDATION[name], TEST[name]
    subsets = itertools.combinations(range(len(test)), min(budget, len(test)))
    return [test[max(subset, key=lambda point: (validation[point], -point))] for subset in subsets]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("budget", [1, 2, 3, 4, 6, 9])
def test_figures_of_a_budget_are_those_of_all_subsets(budget, lower):
    sign = -1 if lower else 1
    points = [Points.of(name, VALIDATION[name], TEST[name], lower=lower) for name in VALIDATION]
    brute = [chosen(name, budget, sign) for name in VALIDATION]
    for one, values in zip(points, brute, strict=True):
        assert one.expected(budget) == pytest.approx(np.mean(values), abs=1e-12)
        assert one.deviation(budget) == pytest.approx(np.std(values), abs=1e-9)
    pairs = [(x, y) for x in brute[0] for y in brute[1]]
    ahead = np.mean([sign * x >= sign * y for x, y in pairs])  # of equal figures the first strategy is
    assert first_on_test(points, budget, lower=lower) == pytest.approx([ahead, 1 - ahead])


def test_probabilities_are_those_of_the_hypergeometric_law():
    for points, budget in ((1, 1), (7, 3), (150, 20), (150, 150), (2000, 1000)):
        law = [comb(points - rank, budget - 1) / comb(points, budget) for rank in range(1, points + 1)]
        assert probabilities(points, budget) == pytest.approx(law, abs=1e-14)


def test_tables_file_and_picture(tmp_path):
    points = [Points.of(name, VALIDATION[name], TEST[name]) for name in VALIDATION]
    assert (shown(1), shown(6), shown(21), shown(150)) == ([1], [1, 2, 6], [1, 2, 5, 10, 21], [1, 2, 5, 10, 20, 50, 100, 150])
    lines = list(csv.DictReader(io.StringIO(budget_csv(points, 6, MACRO))))
    assert len(lines) == 12
    of_two = next(line for line in lines if (line["strategy"], line["budget"]) == ("y", "2"))
    assert float(of_two["expected_test"]) == pytest.approx(100 * np.mean(chosen("y", 2)), rel=1e-5)
    assert float(of_two["first_on_test"]) == pytest.approx(first_on_test(points, 2)[1], abs=1e-4)
    text = budget_markdown(points, 6, MACRO, "ponds")
    assert "ponds: expected test macro accuracy %" in text
    assert f"| x | 6 | {100 * TEST['x'].mean():.2f} |" in text
    assert text.index("| x |") > text.index("| y |")  # the best at six points first
    cost = Objective("cost", costs=np.ones((2, 2)))
    assert f"| {TEST['x'].mean():.4g} |" in budget_markdown(points, 6, cost, "ponds")
    assert budget_data(points, 6, MACRO)["curves"][0]["expected_test"][0] == pytest.approx(TEST["x"].mean())
    written = draw_budgets(points, 6, MACRO, tmp_path / "budgets")
    assert [path.read_bytes()[:4] for path in written] == [b"<?xm", b"\x89PNG", b"%PDF"]

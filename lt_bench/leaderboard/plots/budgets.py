"""Budget curves: the expected test figure of what validation chooses among n random points, a line a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lt_bench.leaderboard.choice.budgets import Points
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.leaderboard.plots.style import figure, footnote, legend, log_ticks, look, save, series_style

_ABOUT = "Closed form over the ranks on validation; the test set chooses nothing. A line ends where its grid is tried whole."
_STEPS = 40


def draw_budgets(of: Sequence[Points], largest: int, objective: Objective, stem: Path) -> list[Path]:
    """Write the picture as ``stem``.svg, .png and .pdf; a strategy with one point is one dot."""
    factor = 1 if objective.lower else 100
    with look():
        drawing, (axes,) = figure()
        for index, one in enumerate(of):
            end = min(len(one), largest)
            budgets = np.unique(np.geomspace(1, end, _STEPS).round().astype(int))
            values = [factor * one.expected(int(budget)) for budget in budgets]
            axes.plot(budgets, values, **series_style(index), markevery=6, label=one.strategy)
        axes.set_xscale("log")
        log_ticks(axes.xaxis, np.array([1.0, max(largest, 2)]))
        axes.set_xlabel("points tried at random")
        axes.set_ylabel(f"expected test {objective.metric.replace('_', ' ')}{'' if objective.lower else ', %'}")
        legend(drawing, axes, 3)
        footnote(drawing, _ABOUT)
        return save(drawing, stem)

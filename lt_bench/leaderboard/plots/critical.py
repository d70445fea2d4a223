"""Critical-difference figures of one board and over boards: rows in their order, joined where they cannot be told apart."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import BoardRows
from lt_bench.leaderboard.plots.style import COLOURS, SMALL, WIDTH, name_in_lines, places_by_lines
from lt_bench.leaderboard.stats.across import Across
from lt_bench.leaderboard.stats.groups import equal_runs


def critical_difference(ranking: BoardRows) -> Figure | None:
    """Critical-difference figure (Demsar 2006) of one board: its objective for every row, and a bar beside each group of neighbouring rows no two of which are told apart.

    Thin lines: 95 % over test images; thick: over seeds.
    """
    if ranking.pairs is None or ranking.ranked < 2:
        return None
    rows, factor = ranking.rows[: ranking.ranked], 1.0 if ranking.objective.lower else 100.0
    scores = [row.score for row in rows]
    names = [
        f"{name_in_lines(row.label)}  {factor * score.mean:.{4 if factor == 1 else 1}f}" for row, score in zip(rows, scores, strict=True)
    ]
    places, height = places_by_lines(names)
    drawing = Figure(figsize=(WIDTH, 0.125 * height + 1.1), layout="constrained")
    axes, bars = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    images = factor * np.array([row.statistics.interval for row in rows if row.statistics is not None])
    axes.hlines(places, images[:, 0], images[:, 1], color=COLOURS[5], linewidth=0.9)
    for place, score in zip(places, scores, strict=True):
        if score.low is not None and score.high is not None:
            axes.hlines(place, factor * score.low, factor * score.high, color=COLOURS[0], linewidth=2.2)
    axes.scatter([factor * score.mean for score in scores], places, color=COLOURS[0], s=7, zorder=3)
    axes.set_yticks(places, names, fontsize=SMALL)
    margin = 0.08 * np.ptp(images)
    axes.set_xlim(images.min() - margin, images.max() + margin)  # intervals of two seeds can be wider than everything
    axes.set_ylim(-0.7, height - 0.3)
    axes.set_xlabel(ranking.objective.title + ("" if factor == 1 else ", %"))
    _draw_bars(bars, places, equal_runs(ranking.pairs.different[: len(rows), : len(rows)]))
    return drawing


def critical_over_boards(result: Across) -> Figure | None:
    """Critical-difference figure (after Demsar 2006) over boards: mean places with their intervals, and a bar beside each group of neighbouring rows no two of which are told apart by ``OverBoards.tests``.

    Rows that are one and the same on every board take part once. None for fewer than three rows, and where class accuracies are not stored.
    """
    over, ends = result.over_boards, result.intervals
    if len(result.once) < 3 or over is None or ends is None:
        return None
    ends, labels, mean = ends[result.once], [result.labels[row] for row in result.once], result.mean_rank[result.once]
    names = [f"{name_in_lines(label)}  {one:.2f}" for label, one in zip(labels, mean, strict=True)]
    places, height = places_by_lines(names)
    drawing = Figure(figsize=(WIDTH, 0.125 * height + 1.4), layout="constrained")
    axes, bars = drawing.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    axes.hlines(places, ends[:, 0], ends[:, 1], color=COLOURS[5], linewidth=0.9)
    axes.scatter(mean, places, color=COLOURS[0], s=7, zorder=3)
    axes.set_yticks(places, names, fontsize=SMALL)
    axes.set_ylim(-0.7, height - 0.3)
    axes.set_xlabel("mean place")
    _draw_bars(bars, places, equal_runs(over.different))
    return drawing


def _draw_bars(bars: Axes, places: NDArray[np.float64], groups: list[range]) -> None:
    """A bar beside each group of rows."""
    for position, group in enumerate(groups):
        bars.plot(
            [position] * 2,
            [places[group[0]] + 0.2, places[group[-1]] - 0.2],
            color="#1b1f24",
            linewidth=min(1.6, 36 / len(groups)),
            solid_capstyle="butt",
        )
    bars.set_xlim(-0.8, max(len(groups), 4) - 0.2)
    bars.set_title("not told apart", fontsize=SMALL, loc="right")
    bars.set_axis_off()

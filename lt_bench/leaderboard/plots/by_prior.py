"""Places of rows over class shares of the test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_bench.data.priors import usual_imbalances
from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.plots.data import chosen
from lt_bench.leaderboard.plots.style import COLOURS, MARKERS, SMALL, figure, name_in_lines
from lt_bench.leaderboard.priors import at_tail
from lt_bench.leaderboard.ties import tied

_MOST = 24


def places_by_prior(ranking: BoardRows) -> Figure | None:
    """Place of every row but controls from a test set with a backward long tail to one with a forward long tail; lines cross where the order changes.

    Coloured are the rows that have the first place under a prior, then those whose place changes most. Of more than `_MOST` rows those with the best place anywhere,
    in the order that they have among themselves.
    """
    imbalances = usual_imbalances(ranking.board.dataset)
    settings = [*(("backward", one) for one in imbalances), ("uniform", 1), *(("forward", one) for one in reversed(imbalances))]
    rows = [row for row in ranking.rows if not row.control]
    estimates = [[at_tail(row, way, imbalance) for way, imbalance in settings] for row in rows]
    accuracies = np.array([[np.nan if one is None else one.mean for one in line] for line in estimates])
    if len(rows) < 2 or np.isnan(accuracies).any():
        return None
    places = np.stack([np.argsort(np.argsort(-tied(column), kind="stable")) + 1 for column in accuracies.T], axis=1)
    shown = sorted(np.argsort(places.min(1), kind="stable")[:_MOST])
    heights = np.full_like(places, len(shown))
    heights[shown] = np.argsort(np.argsort(places[shown], axis=0), axis=0) + 1
    names = {position: name_in_lines(rows[position].label) for position in shown}
    lines = max(name.count("\n") + 1 for name in names.values())
    drawing, (axes,) = figure(height=max(2.0, 0.13 * lines * len(shown) + 0.7))
    coloured = sorted(shown, key=lambda position: (places[position].min() > 1, -np.ptp(places[position])))[: len(COLOURS)]
    colours = _colours(ranking, rows, coloured)
    for position in shown:
        _line(axes, heights[position], colours.get(position))
    for side, values in ((0, 100 * accuracies[:, 0]), (len(settings) - 1, 100 * accuracies[:, -1])):
        for position in shown:
            label = f"{values[position]:.1f}" if side == 0 else f"{values[position]:.1f}  {names[position]}"
            colour = COLOURS[colours[position]] if position in colours else "#5b6470"
            offset, align = ((-5, 0), "right") if side == 0 else ((5, 0), "left")
            axes.annotate(
                label,
                (side, heights[position, side]),
                offset,
                textcoords="offset points",
                ha=align,
                va="center",
                color=colour,
                fontsize=SMALL,
            )
    axes.set_xticks(
        range(len(settings)), ["even" if way == "uniform" else f"{way[:4]}.\n{imbalance}" for way, imbalance in settings], fontsize=SMALL
    )
    axes.set_xlim(-0.1, len(settings) - 0.9)
    axes.set_ylim(len(shown) + 0.6, 0.4)
    axes.set_yticks([])
    axes.set_xlabel("backward to forward\nlong tail of the test set")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(axis="y", visible=False)
    return drawing


def _colours(ranking: BoardRows, rows: Sequence[Row], coloured: Sequence[int]) -> dict[int, int]:
    """Index in `COLOURS` of each coloured row: the row's index in figures with one line a row, if it appears there, else a free index."""
    lines = {id(row): index for index, row in enumerate(chosen(ranking)[: len(COLOURS)])}
    known = {position: lines[id(rows[position])] for position in coloured if id(rows[position]) in lines}
    free = iter([index for index in range(len(COLOURS)) if index not in known.values()])
    return {position: known[position] if position in known else next(free) for position in coloured}


def _line(axes: Axes, places: np.ndarray, series: int | None) -> None:
    """The line of a row; grey where it has no series of its own."""
    if series is None:
        axes.plot(places, color="#b4bbc4", linewidth=0.7, marker="o", markersize=2)
    else:
        axes.plot(places, color=COLOURS[series], linewidth=1.2, marker=MARKERS[series], zorder=3)

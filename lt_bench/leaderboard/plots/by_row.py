"""Plots with one point a row."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.plots.data import vector
from lt_bench.leaderboard.plots.style import COLOURS, figure, legend
from lt_bench.leaderboard.stats.findings import distinct, published_settings, spearman

_MOST = 60
_KIND_STYLE = {
    "official": ("o", COLOURS[0]),
    "inferred": ("^", COLOURS[3]),
    "author-tuned": ("v", COLOURS[4]),
    "tuned": ("s", COLOURS[1]),
    "user": ("D", COLOURS[2]),
}


def balance_against_accuracy(ranking: BoardRows) -> Figure | None:
    """LoMa's balance and size (column reading, test) against accuracy, with Spearman's correlation and its interval.

    The correlation is over the rows with official or inferred settings, duplicates left out: a strategy counts once, however often it was tuned or named.
    """
    if len(ranking.rows) < 3:
        return None
    drawing, (left, right) = figure(2, width=5.6, height=4.4)
    panels = []
    once = {id(row) for row in published_settings(ranking)[0]}
    own = np.array([id(row) in once for row in ranking.rows])
    for axes, name, title in (
        (left, "test/loma_column_balance", "LoMa balance (std / |mean|; smaller is more balanced)"),
        (right, "test/loma_column_mean", "LoMa, mean over classes"),
    ):
        x = np.array([row.estimate(name).mean for row in ranking.rows])
        _scatter(axes, ranking.rows, x, _accuracy(ranking))
        axes.set_title(spearman(x[own], _accuracy(ranking)[own]).text, fontsize=9)
        axes.set_xlabel(title)
        axes.set_ylabel("test accuracy, %")
        _log_if_wide(axes, x)
        panels.append((axes, x, _accuracy(ranking)))
    return _finish(drawing, ranking, panels)


def rsd_across(ranking: BoardRows) -> Figure | None:
    """Distribution over classes of RSD for every row, beside LoMa: is RSD nearly invariant where LoMa is not?

    Of more than `_MOST` rows, those with official or inferred settings, best first.
    """
    own = [row for row in ranking.rows if len(ranking.rows) <= _MOST or row.text("tuning") in ("official", "inferred")][:_MOST]
    rows = [(row, vector(row, "test/rsd_column"), vector(row, "test/loma_column")) for row in own]
    drawn = [(row, rsd[np.isfinite(rsd)], loma[np.isfinite(loma)]) for row, rsd, loma in rows if rsd is not None and loma is not None]
    drawn = [item for item in drawn if len(item[1]) and len(item[2])]
    if len(drawn) < 2:
        return None
    kept = {id(row) for row in distinct([row for row, *_ in drawn])[0]}
    once = [position for position, (row, *_) in enumerate(drawn) if id(row) in kept]
    drawing, panels = figure(2, height=max(2.8, 0.24 * len(drawn) + 1.2))
    of_classes = {"LoMa": [loma for _, _, loma in drawn], "RSD": [rsd for _, rsd, _ in drawn]}
    for axes, (title, of_rows) in zip(panels, of_classes.items(), strict=True):
        quartiles = np.array([np.quantile(values, [0.25, 0.5, 0.75]) for values in of_rows])
        places = np.arange(len(drawn))[::-1]
        axes.hlines(places, quartiles[:, 0], quartiles[:, 2], color=COLOURS[5], linewidth=3)
        axes.scatter(quartiles[:, 1], places, color=COLOURS[0], s=18, zorder=3)
        axes.set_yticks(places, [row.label for row, *_ in drawn] if title == "LoMa" else [""] * len(drawn), fontsize=8)
        medians = quartiles[once, 1]
        variation = float(medians.std() / abs(medians.mean()))
        axes.set_xlabel(f"{title}: median and quartiles over classes")
        axes.set_title(f"medians vary by {100 * variation:.0f} % (std / mean over rows)", fontsize=9)
        _log_if_wide(axes, quartiles[:, 1])
    return drawing


def head_against_tail(ranking: BoardRows) -> Figure | None:
    """Many-shot against few-shot accuracy (medium-shot where a split has no few-shot class)."""
    tail = next((name for name in ("few", "medium") if np.isfinite(ranking.rows[0].estimate(f"test/{name}").mean)), None)
    many = np.array([100 * row.estimate("test/many").mean for row in ranking.rows])
    if tail is None or not np.isfinite(many).any():
        return None
    few = np.array([100 * row.estimate(f"test/{tail}").mean for row in ranking.rows])
    drawing, (axes,) = figure(height=4.4)
    _scatter(axes, ranking.rows, many, few)
    axes.set_xlabel("many-shot accuracy, %")
    axes.set_ylabel(f"{tail}-shot accuracy, %")
    return _finish(drawing, ranking, [(axes, many, few)])


def accuracy_against_time(ranking: BoardRows) -> Figure | None:
    """Accuracy against the seconds one fit took (rows that train nothing stand at the left edge)."""
    seconds = np.array([float(np.mean(row.values("fit_s"))) for row in ranking.rows])
    if not (seconds > 0).any():
        return None
    drawing, (axes,) = figure(height=4.4)
    axes.set_xscale("log")
    seconds = np.maximum(seconds, seconds[seconds > 0].min())
    _scatter(axes, ranking.rows, seconds, _accuracy(ranking))
    axes.set_xlabel("seconds of a fit / heads fitted together")
    axes.set_ylabel("test accuracy, %")
    return _finish(drawing, ranking, [(axes, seconds, _accuracy(ranking))])


def _accuracy(ranking: BoardRows) -> np.ndarray:
    return np.array([100 * row.estimate("test/accuracy").mean for row in ranking.rows])


def _scatter(axes: Axes, rows: list[Row], x: np.ndarray, y: np.ndarray) -> None:
    for kind, (marker, colour) in _KIND_STYLE.items():
        members = np.array([row.text("tuning") == kind for row in rows])
        if members.any():
            axes.scatter(x[members], y[members], marker=marker, color=colour, s=26, label=kind, zorder=3)
    axes.margins(x=0.08, y=0.06)


def _finish(drawing: Figure, ranking: BoardRows, panels: list[tuple[Axes, np.ndarray, np.ndarray]]) -> Figure:
    """Legend of the kinds, plain tick labels, and as many names beside points as have room, best rows first."""
    if len({row.text("tuning") for row in ranking.rows}) > 1:
        legend(drawing, drawing.axes[0], len(_KIND_STYLE))
    for axes, _, _ in panels:
        if axes.get_xscale() == "log":
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
    drawing.draw_without_rendering()
    for axes, x, y in panels:
        name_points(axes, [(float(x[index]), float(y[index]), row.label) for index, row in enumerate(ranking.rows)], drawing.dpi)
    return drawing


def name_points(axes: Axes, points: list[tuple[float, float, str]], dpi: float = 100.0, size: float = 6.5) -> int:
    """Name points (x, y, name) in the order given, each at the first of four places where it covers neither a point nor a name; returns how many got one."""
    frame, unit = axes.get_window_extent(), dpi / 72
    finite = [(tuple(axes.transData.transform((x, y))), name) for x, y, name in points if np.isfinite([x, y]).all()]
    taken = [Bbox.from_extents(px - 3 * unit, py - 3 * unit, px + 3 * unit, py + 3 * unit) for (px, py), _ in finite]
    named = 0
    for (px, py), name in finite:
        width, height, gap = 0.56 * size * unit * len(name), 1.25 * size * unit, 4.5 * unit
        places = (
            (px + gap, py - height / 2, (4.5, 0), "left", "center"), (px - gap - width, py - height / 2, (-4.5, 0), "right", "center"),
            (px - width / 2, py + gap, (0, 4.5), "center", "bottom"), (px - width / 2, py - gap - height, (0, -4.5), "center", "top"),
        )  # fmt: skip
        for left, bottom, offset, ha, va in places:
            box = Bbox.from_bounds(left, bottom, width, height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                x, y = axes.transData.inverted().transform((px, py))
                axes.annotate(name, (x, y), xytext=offset, textcoords="offset points", ha=ha, va=va, fontsize=size, color="#3a424c")
                taken.append(box)
                named += 1
                break
    return named


def _log_if_wide(axes: Axes, values: np.ndarray) -> None:
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 20 * values.min():
        axes.set_xscale("log")

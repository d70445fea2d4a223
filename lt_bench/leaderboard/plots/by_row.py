"""Plots with one point a row."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from lt_bench.leaderboard.boards import NOTHING_TO_SET, BoardRows, Row
from lt_bench.leaderboard.plots.data import vector
from lt_bench.leaderboard.plots.style import (
    COLOURS,
    KEY,
    SMALL,
    WIDTH,
    figure,
    legend,
    log_ticks,
    name_in_lines,
    places_by_lines,
    short_name,
    wide_range,
)
from lt_bench.leaderboard.stats.findings import distinct, published_settings, spearman

_MOST = 60
_KIND_STYLE = {
    "official": ("o", COLOURS[0]),
    "inferred": ("^", COLOURS[3]),
    "author-tuned": ("v", COLOURS[4]),
    "tuned": ("s", COLOURS[1]),
    "user": ("D", COLOURS[2]),
    NOTHING_TO_SET: ("P", COLOURS[6]),
}


def balance_against_accuracy(ranking: BoardRows) -> Figure | None:
    """Class bias, LoMa's balance and LoMa's size (column reading, test) against accuracy, with Spearman's correlation and its interval.

    The correlation is over the rows with official or inferred settings, duplicates left out: a strategy counts once, however often it was tuned or named.
    Class bias is left out where records have none.
    """
    rows = _in_sight(ranking)
    if len(rows) < 3:
        return None
    measured = {
        "class bias, points": np.array([100 * row.estimate("test/class_bias").mean for row in rows]),
        "LoMa balance (std / |mean|; smaller is more balanced)": np.array([row.estimate("test/loma_column_balance").mean for row in rows]),
        "LoMa, mean over classes": np.array([row.estimate("test/loma_column_mean").mean for row in rows]),
    }
    shown = {title: x for title, x in measured.items() if np.isfinite(x).any()}
    if not shown:
        return None
    drawing, panels = figure(len(shown), 2.2)
    once, accuracy = {id(row) for row in published_settings(ranking)[0]}, _accuracy(rows)
    own = np.array([id(row) in once for row in rows])
    for axes, (title, x) in zip(panels, shown.items(), strict=True):
        _scatter(axes, rows, x, accuracy)
        axes.set_title(spearman(x[own], accuracy[own]).text)
        axes.set_xlabel(title)
        axes.set_ylabel("test accuracy, %")
        if wide_range(x):
            axes.set_xscale("log")
    return _finish(drawing, rows, [(axes, x, accuracy) for axes, x in zip(panels, shown.values(), strict=True)])


def _in_sight(ranking: BoardRows) -> list[Row]:
    """The rows, without controls that have less than half the accuracy of every method: a random head would press all others into a corner."""
    methods = [row.estimate("test/accuracy").mean for row in ranking.rows if not row.control]
    least = min(methods, default=0.0) / 2
    return [row for row in ranking.rows if not row.control or row.estimate("test/accuracy").mean >= least]


def rsd_across(ranking: BoardRows) -> Figure | None:
    """Distribution over classes of RSD for every row, beside LoMa: is RSD nearly invariant where LoMa is not?

    Of more than `_MOST` rows, those with official or inferred settings, best first.
    """
    own = [row for row in _in_sight(ranking) if len(ranking.rows) <= _MOST or row.text("tuning") in ("official", "inferred")][:_MOST]
    rows = [(row, vector(row, "test/rsd_column"), vector(row, "test/loma_column")) for row in own]
    drawn = [(row, rsd[np.isfinite(rsd)], loma[np.isfinite(loma)]) for row, rsd, loma in rows if rsd is not None and loma is not None]
    drawn = [item for item in drawn if len(item[1]) and len(item[2])]
    if len(drawn) < 2:
        return None
    kept = {id(row) for row in distinct([row for row, *_ in drawn if not row.control])[0]}
    once = [position for position, (row, *_) in enumerate(drawn) if id(row) in kept]
    if not once:
        return None
    names = [name_in_lines(row.label) for row, *_ in drawn]
    places, height = places_by_lines(names)
    drawing = Figure(figsize=(WIDTH, max(2.0, 0.125 * height + 0.9)), layout="constrained")
    panels = drawing.subplots(1, 2, sharey=True)
    of_classes = {"LoMa": [loma for _, _, loma in drawn], "RSD": [rsd for _, rsd, _ in drawn]}
    for axes, (title, of_rows) in zip(panels, of_classes.items(), strict=True):
        quartiles = np.array([np.quantile(values, [0.25, 0.5, 0.75]) for values in of_rows])
        axes.hlines(places, quartiles[:, 0], quartiles[:, 2], color=COLOURS[5], linewidth=2)
        axes.scatter(quartiles[:, 1], places, color=COLOURS[0], s=6, zorder=3)
        medians = quartiles[once, 1]
        axes.set_title(f"{title}\nmedians vary by {100 * float(medians.std() / abs(medians.mean())):.0f} %", fontsize=SMALL)
        if wide_range(quartiles[:, 1]):
            axes.set_xscale("log")
            log_ticks(axes.xaxis, quartiles[:, 1], narrow=True)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(3))
    panels[0].set_yticks(places, names, fontsize=SMALL)
    panels[0].set_ylim(-0.7, height - 0.3)
    return drawing


def head_against_tail(ranking: BoardRows) -> Figure | None:
    """Many-shot against few-shot accuracy (medium-shot where a split has no few-shot class)."""
    rows = _in_sight(ranking)
    tail = next((name for name in ("few", "medium") if np.isfinite(rows[0].estimate(f"test/{name}").mean)), None)
    many = np.array([100 * row.estimate("test/many").mean for row in rows])
    if tail is None or not np.isfinite(many).any():
        return None
    few = np.array([100 * row.estimate(f"test/{tail}").mean for row in rows])
    drawing, (axes,) = figure(height=2.5)
    _scatter(axes, rows, many, few)
    axes.set_xlabel("many-shot accuracy, %")
    axes.set_ylabel(f"{tail}-shot accuracy, %")
    return _finish(drawing, rows, [(axes, many, few)])


def accuracy_against_time(ranking: BoardRows) -> Figure | None:
    """Accuracy against the seconds one fit took (rows that train nothing stand at the left edge)."""
    rows = _in_sight(ranking)
    seconds = np.array([float(np.mean(row.values("fit_s"))) for row in rows])
    if not (seconds > 0).any():
        return None
    drawing, (axes,) = figure(height=2.5)
    axes.set_xscale("log")
    seconds = np.maximum(seconds, seconds[seconds > 0].min())
    _scatter(axes, rows, seconds, _accuracy(rows))
    axes.set_xlabel("seconds of a fit / heads fitted together")
    axes.set_ylabel("test accuracy, %")
    return _finish(drawing, rows, [(axes, seconds, _accuracy(rows))])


def _accuracy(rows: list[Row]) -> np.ndarray:
    return np.array([100 * row.estimate("test/accuracy").mean for row in rows])


def _scatter(axes: Axes, rows: list[Row], x: np.ndarray, y: np.ndarray) -> None:
    for kind, (marker, colour) in _KIND_STYLE.items():
        members = np.array([row.origin == kind for row in rows])
        if members.any():
            axes.scatter(x[members], y[members], marker=marker, color=colour, s=11, label=kind, zorder=3)
    axes.margins(x=0.1, y=0.08)


def _finish(drawing: Figure, rows: list[Row], panels: list[tuple[Axes, np.ndarray, np.ndarray]]) -> Figure:
    """Legend of the kinds, tick labels, and the names of all points: beside them, or numbers with a key below where names have no room."""
    if len({row.origin for row in rows}) > 1:
        legend(drawing, drawing.axes[0], len(_KIND_STYLE))
    for axes, x, _ in panels:
        if axes.get_xscale() == "log":
            log_ticks(axes.xaxis, x[np.isfinite(x) & (x > 0)])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
    labels = [short_name(row.label) for row in rows]
    drawing.draw_without_rendering()
    if not all(name_points(axes, list(zip(x, y, labels, strict=True))) for axes, x, y in panels):
        for text in [text for axes, *_ in panels for text in axes.texts]:
            text.remove()
        _key(drawing, [f"{position} {label}" for position, label in enumerate(labels, 1)])
        drawing.draw_without_rendering()
        numbers = [str(position) for position in range(1, len(labels) + 1)]
        for axes, x, y in panels:
            name_points(axes, list(zip(x, y, numbers, strict=True)), 5.0, rings=9)
    return drawing


def _key(drawing: Figure, entries: list[str]) -> None:
    """The key of the numbers, below the panels; the figure grows by it."""
    middle = -(-len(entries) // 2)
    letters = max(map(len, entries[:middle])) + max(map(len, entries[middle:]), default=0)
    columns, size = (2, SMALL) if letters < 66 else (2, 5.0) if letters < 80 else (1, SMALL)
    nothing = [Line2D([], [], linestyle="") for _ in entries]
    drawing.set_figheight(drawing.get_figheight() + 0.103 * (-(-len(entries) // columns)) + 0.1)
    key = drawing.legend(
        nothing,
        entries,
        loc="outside lower left",
        ncols=columns,
        handlelength=0,
        handletextpad=0,
        fontsize=size,
        labelspacing=0.2,
        alignment="left",
    )
    key.set_gid(KEY)


def name_points(axes: Axes, points: list[tuple[float, float, str]], size: float = SMALL, rings: int = 1) -> bool:
    """Name points (x, y, name), each at the nearest place where it covers neither a point nor a name. Returns whether all names had such a place; names without one are drawn too.

    Places are right, left, above and below, and with more `rings` at eight sides further away, with a line to the point.
    """
    frame, unit = axes.get_window_extent(), axes.figure.dpi / 72
    finite = [(tuple(axes.transData.transform((x, y))), name) for x, y, name in points if np.isfinite([x, y]).all()]
    taken = [Bbox.from_extents(px - 2 * unit, py - 2 * unit, px + 2 * unit, py + 2 * unit) for (px, py), _ in finite]
    sides = [(1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)]
    all_free = True
    for (px, py), name in finite:
        half = (0.34 * size * unit * len(name), 0.6 * size * unit)
        steps = [(ring, side) for ring in range(rings) for side in sides[: 4 if rings == 1 else 8]]
        centres = [tuple(p + s * (h + (3 + 4 * ring) * unit) for p, s, h in zip((px, py), side, half, strict=True)) for ring, side in steps]
        boxes = [Bbox.from_extents(cx - half[0], cy - half[1], cx + half[0], cy + half[1]) for cx, cy in centres]
        free = [
            position
            for position, box in enumerate(boxes)
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            and not any(box.overlaps(other) for other in taken)
        ]  # fmt: skip
        all_free &= bool(free)
        at = free[0] if free else 0
        taken.append(boxes[at])
        offset = tuple((c - p) / unit for c, p in zip(centres[at], (px, py), strict=True))
        line = {"arrowstyle": "-", "color": "#9aa3ad", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1} if steps[at][0] else None
        where = tuple(axes.transData.inverted().transform((px, py)))
        axes.annotate(
            name, where, offset, textcoords="offset points", ha="center", va="center", fontsize=size, color="#3a424c", arrowprops=line
        )
    return all_free

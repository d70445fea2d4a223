"""Plots against the size of the class."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lt_bench.core.errors import printable
from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.plots.data import binned, binned_sizes, chosen, is_own, order_by_size, reference, series, vector
from lt_bench.leaderboard.plots.style import COLOURS, SMALL, figure, heighten, legend, log_ticks, series_style, short_name, wide_range
from lt_bench.leaderboard.stats.clustered import differences_by_class

_NAMED = 40
_UPRIGHT = 20  # letters of a name on its side that the figure has room for
_ALONG, _BELOW = 32, 60
"""Characters of a line along an axis of a panel, and below it."""


def accuracy_by_size(ranking: BoardRows) -> Figure | None:
    """Class accuracy against training images of the class."""
    return _lines(ranking, [("test/class_accuracy", "test accuracy of the class, %", 100.0)])


def logits_by_size(ranking: BoardRows) -> Figure | None:
    """LoMa and RSD of a class (column reading, test) against its training images."""
    return _lines(ranking, [("test/loma_column", "LoMa", 1.0), ("test/rsd_column", "RSD", 1.0)])


def norms_by_size(ranking: BoardRows) -> Figure | None:
    """Classifier norm, mean feature norm and mean cosine between feature and own classifier row."""
    return _lines(
        ranking,
        [
            ("test/weight_norm", "classifier norm", 1.0),
            ("test/feature_norm", "mean feature norm", 1.0),
            ("test/cosine", "mean cosine", 1.0),
        ],
    )


def gap_by_size(ranking: BoardRows) -> Figure | None:
    """Train minus test accuracy of a class against its training images."""
    _, counts = order_by_size(ranking)
    rows = chosen(ranking)
    train, test = series(ranking, rows, "train/class_accuracy"), series(ranking, rows, "test/class_accuracy")
    if len(train) < len(rows) or len(test) < len(rows):
        return None
    drawing, (axes,) = figure()
    for index, (one, other) in enumerate(zip(train, test, strict=True)):
        _line(axes, index, one.row.label, binned_sizes(counts), 100 * binned(one.values - other.values))
    _finish(axes, "train minus test accuracy, points", counts)
    legend(drawing, axes)
    return drawing


def difference_by_class(ranking: BoardRows, first: Row | None = None, second: Row | None = None) -> Figure | None:
    """Accuracy of one row minus another's, class by class, with paired 95 % intervals over the test images of the class (Bonett and Price 2012), or over the groups that they come in."""
    pair = _pair(ranking) if first is None or second is None else (first, second)
    if pair is None:
        return None
    first, second = pair
    labels = first.runs.array(int(first.positions[0]), "test_labels")
    difference = _correct(first) - _correct(second)
    order, counts = order_by_size(ranking)
    total = np.bincount(labels, minlength=len(counts)).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(labels, difference, len(counts)) / total
    ends = differences_by_class(difference, labels, len(counts), ranking.test_groups)
    low, high = (100 * np.where(total > 0, end, np.nan)[order] for end in ends)
    mean = 100 * mean[order]
    drawing, (axes,) = figure()
    places = np.arange(len(counts))
    axes.axhline(0, color="#5b6470", linewidth=0.8)
    axes.vlines(places, low, high, color=COLOURS[5], linewidth=max(0.5, min(2.0, 100 / len(counts))), zorder=2)
    axes.scatter(places, mean, s=max(2, min(12, 500 / len(counts))), color=COLOURS[0], zorder=3)
    groups = first.split.groups
    for name in ("many", "medium", "few"):
        members = np.nonzero(getattr(groups, name)[order])[0]
        if len(members):
            axes.hlines(float(np.nanmean(mean[members])), members[0] - 0.4, members[-1] + 0.4, color=COLOURS[1], linewidth=1.4, zorder=4)
            axes.text(
                float(members.mean()),
                1.01,
                name,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=SMALL,
                color="#5b6470",
            )
    heighten(drawing, _name_classes(axes, [printable(first.split.class_names[k]) for k in order], mean))
    sides = (f"accuracy of {short_name(first.label)}", f"minus {short_name(second.label)}, points")
    axes.set_ylabel("\n".join(part for side in sides for part in textwrap.wrap(side, _ALONG)))
    axes.grid(axis="x", visible=False)
    return drawing


def _name_classes(axes: Axes, names: list[str], values: np.ndarray) -> int:
    """Write the names of the classes below the axis; with more than `_NAMED` classes, only those of the largest gains and losses. Returns the number of text lines for which the figure lacks room."""
    label, more = ["classes, largest first"], -2
    if len(names) <= _NAMED:
        more += -(-max(0, max(map(len, names)) - _UPRIGHT) // 3)  # three letters on their side are as high as a line
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=SMALL if len(names) <= 30 else 5)
    else:
        known = np.flatnonzero(np.isfinite(values))
        ranked = known[np.argsort(values[known], kind="stable")]
        for title, places in (
            ("most won", [k for k in ranked[::-1][:3] if values[k] > 0]),
            ("most lost", [k for k in ranked[:3] if values[k] < 0]),
        ):
            label += [f"{title}: {', '.join(f'{names[k]} {values[k]:+.0f}' for k in places)}"] if places else []
    axes.set_xlabel("\n".join(part for line in label for part in textwrap.wrap(line, _BELOW)), fontsize=SMALL)
    return more + axes.get_xlabel().count("\n")


def _pair(ranking: BoardRows) -> tuple[Row, Row] | None:
    """The two rows to compare: the user's own row, else the first chosen row; against the untouched head, else, for an own row, the best other row, else the worst row."""
    if len(ranking.rows) < 2:
        return None
    own = [row for row in ranking.rows if is_own(row)]
    second = reference(ranking) or next((row for row in ranking.rows if own and row is not own[0]), ranking.rows[-1])
    return next(row for row in [*own, *chosen(ranking), *ranking.rows] if row is not second), second


def _correct(row: Row) -> np.ndarray:
    """(N,) share of a row's seeds that are right."""
    read = [(row.runs.array(int(p), "test_predictions"), row.runs.array(int(p), "test_labels")) for p in row.positions]
    return np.mean([predictions == labels for predictions, labels in read], axis=0)


def _lines(ranking: BoardRows, panels: list[tuple[str, str, float]]) -> Figure | None:
    rows = chosen(ranking)
    panels = [panel for panel in panels if any(vector(row, panel[0]) is not None for row in rows)]
    if not panels:
        return None
    _, counts = order_by_size(ranking)
    drawing, all_axes = figure(len(panels), 2.0 if len(panels) > 1 else 2.3)
    for axes, (name, title, factor) in zip(all_axes, panels, strict=True):
        drawn = series(ranking, rows, name)
        if len(drawn) > 1 and all(np.allclose(one.values, drawn[0].values, equal_nan=True) for one in drawn):
            axes.plot(binned_sizes(counts), factor * binned(drawn[0].values), color="#1b1f24", marker=".")
            axes.set_title("the same for all rows: frozen features", color="#5b6470")
        else:
            for index, row in enumerate(rows):
                for one in drawn:
                    if one.row is row:
                        _line(axes, index, row.label, binned_sizes(counts), factor * binned(one.values))
        _finish(axes, title, counts)
        values = np.concatenate([factor * binned(one.values) for one in drawn])
        if factor == 1.0 and wide_range(values):
            axes.set_yscale("log")
            log_ticks(axes.yaxis, values[np.isfinite(values)])
    legend(drawing, all_axes[0])
    return drawing


def _line(axes: Axes, index: int, label: str, x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, label=label, **series_style(index))


def _finish(axes: Axes, title: str, counts: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.invert_xaxis()
    log_ticks(axes.xaxis, binned_sizes(counts))
    axes.set_xlabel(f"training images of the class ({min(10, len(counts))} bins of classes)")
    axes.set_ylabel(title)

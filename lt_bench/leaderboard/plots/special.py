"""Plots about one method: DynaSmooth, and LOS over its epsilon."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lt_bench.core.identity import canonical_json
from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.plots.style import COLOURS, figure, legend, series_style

_K, _GROUPS = 0.9, 3  # the official values, for rows that are not FFDS


def dynasmooth(p: NDArray[np.float64], group_mean: NDArray[np.float64], k: float) -> NDArray[np.float64]:
    """DynaSmooth (FFDS, ICIP 2023; `losses/ffds.py:115-125`): ``p - (k (sqrt p - sqrt mean))^2 (p - mean)``."""
    return p - (k * (np.sqrt(p) - np.sqrt(group_mean))) ** 2 * (p - group_mean)


def frequency_parts(counts: NDArray[np.integer], groups: int) -> list[NDArray[np.intp]]:
    """Classes from largest to smallest in FFDS's runs, which end at ``floor(K g / groups)``; as `strategies._lib.ffds.frequency_groups`, without torch."""
    order = np.argsort(-counts, kind="stable")
    return np.split(order, [len(order) * group // groups for group in range(1, groups)])


def probability_before_and_after(ranking: BoardRows) -> Figure | None:
    """True-class probability of the test images by frequency group, before and after DynaSmooth (with the group means of these images)."""
    row = _smoothed_row(ranking)
    labels = row.runs.array(int(row.positions[0]), "test_labels")
    p = row.runs.array(int(row.positions[0]), "test_true_probability").astype(np.float64)
    k, groups = float(row.hyperparameters.get("k", _K)), int(row.hyperparameters.get("groups", _GROUPS))
    before = [p[np.isin(labels, part)] for part in frequency_parts(row.split.train_counts, groups)]
    before = [values for values in before if len(values)]
    after = [dynasmooth(values, np.full_like(values, values.mean()), k) for values in before]
    drawing, (axes,) = figure()
    for offset, values, colour, name in ((-0.19, before, COLOURS[5], "before"), (0.19, after, COLOURS[4], "after DynaSmooth")):
        boxes = axes.boxplot(
            values,
            positions=np.arange(len(values)) + offset,
            widths=0.33,
            showfliers=False,
            patch_artist=True,
            medianprops={"color": "#1b1f24"},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=colour, edgecolor="#5b6470")
        boxes["boxes"][0].set_label(name)
    axes.set_xticks(np.arange(len(before)), [str(index + 1) for index in range(len(before))])
    axes.set_xlabel("frequency group, largest classes first")
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("true-class probability on test")
    axes.set_title(f"{row.label}, seed {row.seeds[0]}")
    drawing.legend(loc="outside upper center", ncols=2)
    return drawing


def _smoothed_row(ranking: BoardRows) -> Row:
    by_label = {row.label: row for row in ranking.rows}
    return next((by_label[name] for name in ("d_ffds", "ffds", "ce", "joint") if name in by_label), ranking.rows[-1])


def accuracy_over_epsilon(ranking: BoardRows) -> Figure | None:
    """Accuracy of LOS against its epsilon, one line for each setting of all else (steps, learning rate ...); needs three values of epsilon in a line."""
    lines = epsilon_lines([row for row in ranking.rows if row.text("strategy") == "los" and "epsilon" in row.hyperparameters])
    if not lines:
        return None
    drawing, (axes,) = figure()
    for index, line in enumerate(lines):
        means = [row.estimate("test/accuracy") for row in line]
        x, y = [row.hyperparameters["epsilon"] for row in line], [100 * value.mean for value in means]
        halves = [100 * (value.half or 0.0) for value in means]
        axes.errorbar(x, y, yerr=halves, capsize=2, **series_style(index), label=f"{line[0].values('steps')[0]:,.0f} steps")
    axes.set_xlabel("LOS epsilon")
    axes.set_ylabel("test accuracy, %")
    legend(drawing, axes)
    return drawing


def epsilon_lines(rows: list[Row]) -> list[list[Row]]:
    """Rows of one program that differ in epsilon alone, in the order of epsilon, fewest steps first; lines with fewer than three are left out."""
    alike: dict[str, dict[float, Row]] = defaultdict(dict)
    for row in rows:
        rest = {name: value for name, value in row.hyperparameters.items() if name != "epsilon"}
        alike[canonical_json([row.program, rest])][row.hyperparameters["epsilon"]] = row
    lines = [[line[epsilon] for epsilon in sorted(line)] for line in alike.values() if len(line) > 2]
    return sorted(lines, key=lambda line: float(line[0].values("steps")[0]))

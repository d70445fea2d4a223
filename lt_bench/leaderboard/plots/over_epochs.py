"""Norms and angles over the course of a fit, for rows that were run with ``--analysis``."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lt_bench.leaderboard.boards import BoardRows, Row
from lt_bench.leaderboard.plots.data import SHOWN, chosen, vector
from lt_bench.leaderboard.plots.style import WIDTH, legend, series_style
from lt_bench.results.store import EPOCHS, PER_EPOCH

_MEASURES = {"weight_norm": "classifier norm", "cosine": "mean cosine", "feature_norm": "mean feature norm"}


def norms_over_epochs(ranking: BoardRows) -> Figure | None:
    """Means over the many-, medium- and few-shot classes against the share of the epochs done; a row without epochs is a dashed level.

    Feature norms have a panel only where some fit moves them.
    """
    rows = [row for row in [*chosen(ranking), *ranking.rows] if vector(row, EPOCHS) is not None]
    rows = list(dict.fromkeys(rows))[:SHOWN]
    if all(len(_over_epochs(row, "weight_norm")) < 2 for row in rows):
        return None
    moves = any(np.ptp(_over_epochs(row, "feature_norm"), axis=0).max() > 1e-9 for row in rows)
    measures = [name for name in _MEASURES if moves or name != "feature_norm"]
    groups = {name: members for name in ("many", "medium", "few") if (members := getattr(ranking.rows[0].split.groups, name)).any()}
    drawing = Figure(figsize=(WIDTH, 1.3 * len(measures) + 0.8), layout="constrained")
    panels = drawing.subplots(len(measures), len(groups), squeeze=False, sharex=True, sharey="row")
    for line, name in zip(panels, measures, strict=True):
        for axes, (group, members) in zip(line, groups.items(), strict=True):
            for index, row in enumerate(rows):
                values = np.nanmean(_over_epochs(row, name)[:, members], axis=1)
                style = series_style(index) | {"label": row.label}
                if len(values) == 1:
                    axes.axhline(values[0], color=style["color"], label=row.label, linestyle="--", linewidth=0.9)
                else:
                    done = vector(row, EPOCHS)
                    assert done is not None
                    axes.plot(done / done[-1], values, markevery=5, **style)
            if name == measures[0]:
                axes.set_title(group)
            if name == measures[-1]:
                axes.set_xlabel("share of epochs")
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        line[0].set_ylabel(_MEASURES[name])
    legend(drawing, panels[0, 0])
    return drawing


def _over_epochs(row: Row, name: str) -> NDArray[np.float64]:
    """(E, K), mean over seeds."""
    values = vector(row, PER_EPOCH + name)
    assert values is not None
    return values

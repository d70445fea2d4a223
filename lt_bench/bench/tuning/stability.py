"""Whether a point of a grid repeats: fitted again from an initial head that differs by rounding, it must score the same on validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.bench.tuned import has_diverged, ranked_points
from lt_bench.bench.tuning.scores import scores_of
from lt_bench.bench.tuning.shifts import SHIFT
from lt_bench.core.errors import UserError

TOLERANCE = 0.001
"""Most that the score of a seed may move, beside one validation image of the smallest class: a tenth of a point."""
_AT_ONCE = 3


def tolerance_of(bench: CacheSource) -> float:
    """Most that a score may move: `TOLERANCE`, or what one image of the smallest class of the validation set counts, whichever is more."""
    counts = torch.bincount(bench.split("val").labels.cpu())
    counts = counts[counts > 0]
    return max(TOLERANCE, 1.0 / (len(counts) * int(counts.min())))


def check_best(
    bench: CacheSource, grid: list[dict[str, Any]], planned: Sequence[Sequence[Planned]], workers: int, watcher: Watcher
) -> None:
    """Fit the best points again from a shifted start, some at once, until one repeats; what was checked gets ``shifted`` (scores of its seeds) and ``repeats``.

    Strategies that take no steps from an initial head are not checked: nothing of theirs starts anywhere.

    Args:
        bench: the opened cache.
        grid: the points of the document, with ``macro_accuracy`` by seed and ``mean``.
        planned: the runs of each point.
        workers: as of `scores_of`.
        watcher: as of `scores_of`.

    Raises:
        UserError: no point repeats.
    """
    if planned[0][0].entry.fitting != "sgd":
        return
    most = tolerance_of(bench)
    order = [position for position in ranked_points(grid) if not has_diverged(grid[position])]
    for start in range(0, len(order), _AT_ONCE):
        best = order[start : start + _AT_ONCE]
        scores = scores_of(bench, [planned[position] for position in best], min(workers, len(best)), watcher, shifted=True)
        for position in best:
            point = grid[position]
            point["shifted"] = [scores[run.id].accuracy for run in planned[position]]
            moved = max(abs(one - other) for one, other in zip(point["shifted"], point["macro_accuracy"], strict=True))
            point["repeats"] = moved <= most
        if any(grid[position]["repeats"] for position in best):
            return
    raise UserError(
        f"{planned[0][0].entry.name}: no point of the grid repeats: from an initial head that differs by {SHIFT:g} every one scores otherwise by more than "
        f"{100 * most:.2g} points; try smaller values of lr (--strategy.lr fixes one)"
    )

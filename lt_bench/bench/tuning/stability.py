"""Whether a point of a grid repeats: fitted again from an initial head that differs by rounding, it must score the same on validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lt_bench.bench.planning import Planned
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.bench.tuned import has_diverged, ranked_points
from lt_bench.bench.tuning.scores import ALL, scores_of
from lt_bench.bench.tuning.shifts import SHIFT
from lt_bench.bench.tuning.unfinished import UnfinishedScores
from lt_bench.bench.validation import Validation
from lt_bench.core.errors import UserError
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective

TOLERANCE = 0.001
"""Most that the score of a seed may move, beside what one validation image can count: a tenth of a point, or of the span of costs."""
_AT_ONCE = 3


def tolerance_of(bench: CacheSource, objective: Objective, validation: Validation = ALL) -> float:
    """Largest change of a score that counts as repeating: `TOLERANCE`, or the effect of the validation image of the largest weight if that is larger."""
    dataset, labels = bench.manifest.dataset, bench.split("val").labels.cpu().numpy()
    weights = objective.weights(labels[validation.deciding(labels, dataset.train_counts)], dataset.num_classes)
    return objective.span * max(TOLERANCE, float(weights.max()))


def fits_again(planned: Sequence[Sequence[Planned]]) -> int:
    """Number of fits that `check_best` takes if one of the first points repeats."""
    return 0 if planned[0][0].entry.fitting != "sgd" else min(_AT_ONCE, len(planned)) * len(planned[0])


def check_best(
    bench: CacheSource,
    grid: list[dict[str, Any]],
    planned: Sequence[Sequence[Planned]],
    objective: Objective,
    workers: int,
    watcher: Watcher,
    validation: Validation = ALL,
    unfinished: UnfinishedScores | None = None,
) -> None:
    """Fit the best points again from a shifted start, a few at a time, until one repeats; checked points get ``shifted`` (scores of their seeds) and ``repeats``.

    Strategies that are not fitted by steps have no start to shift, and are not checked.

    Args:
        bench: the opened cache.
        grid: the points of the document, with scores by seed under the objective's metric, and ``mean``.
        planned: the runs of each point.
        objective: of the scores.
        workers: as of `scores_of`.
        watcher: as of `scores_of`.
        validation: as of `scores_of`.
        unfinished: as of `scores_of`.

    Raises:
        UserError: no point repeats.
    """
    if planned[0][0].entry.fitting != "sgd":
        return
    most = tolerance_of(bench, objective, validation)
    order = [position for position in ranked_points(grid, objective) if not has_diverged(grid[position])]
    for start in range(0, len(order), _AT_ONCE):
        best = order[start : start + _AT_ONCE]
        again = [planned[position] for position in best]
        scores = scores_of(
            bench, again, objective, min(workers, len(best)), watcher, shifted=True, validation=validation, unfinished=unfinished
        )
        for position in best:
            point = grid[position]
            point["shifted"] = [scores[run.id].value for run in planned[position]]
            moved = max(abs(one - other) for one, other in zip(point["shifted"], point[objective.metric], strict=True))
            point["repeats"] = moved <= most
        if any(grid[position]["repeats"] for position in best):
            return
    raise UserError(
        f"{planned[0][0].entry.name}: no point of the grid repeats: from an initial head that differs by {SHIFT:g} every one scores otherwise by more than "
        f"{objective_text(most, objective, 'points')}; try smaller values of lr (--strategy.lr fixes one)"
    )

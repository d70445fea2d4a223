"""Comparison on test images of the two strategies that rank first when all points are tried."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from lt_bench.bench.choosing.grids import GridFits
from lt_bench.bench.options.recorded import names_groups
from lt_bench.bench.sources.cache import CacheSource
from lt_bench.bench.suite.units import Watcher
from lt_bench.core.names import counted
from lt_bench.leaderboard.choice.budgets import Points
from lt_bench.leaderboard.choice.nested import FAILED
from lt_bench.leaderboard.intervals import objective_text
from lt_bench.leaderboard.objective.objective import Objective
from lt_bench.leaderboard.stats.clustered import design_of
from lt_bench.leaderboard.stats.paired import LEVEL, compare_all


def first_two(fits: Sequence[GridFits], points: Sequence[Points], objective: Objective, watcher: Watcher) -> str:
    """The difference of the first two strategies in words, with its 95 % interval, paired over test images or their groups; empty where a chosen fit diverged."""
    order = sorted(range(len(fits)), key=lambda place: (1 if objective.lower else -1) * points[place].test[0])[:2]
    predictions = [fits[place].choice_on_test(objective, watcher) for place in order]
    if any((of[:, 0] == FAILED).any() for of in predictions):
        return ""
    bench = fits[0].bench
    labels, dataset = bench.split("test").labels.cpu().numpy(), bench.manifest.dataset
    design = design_of(objective, labels, dataset.num_classes, bench.test_groups)
    worth = [objective.of_images(labels, of).mean(0, keepdims=True, dtype=np.float64) for of in predictions]
    tests = compare_all(worth, [None, None], None, design, objective.span)
    ahead, half = abs(tests.difference[0, 1]), stdtrit(tests.degrees[0, 1], 1 - LEVEL / 2) * tests.error[0, 1]
    ends = " to ".join(objective_text(end, objective, "").strip() for end in (ahead - half, ahead + half))
    first, second = (points[place].strategy for place in order)
    picked = ", both picked on these images, which flatters" if len(fits) > 2 else ""
    return (
        f"with all points tried {first} is {objective_text(ahead, objective, 'points')} ahead of {second} on {len(labels):,} test images (95 % over {_sample(bench, ends)}){picked}; "
        "the table is over random budgets, on these images"
    )


def _sample(bench: CacheSource, ends: str) -> str:
    """The sample of an interval and its ends, in words."""
    if bench.test_groups is not None:
        return f"{counted(len(np.unique(bench.test_groups)), 'group')} of them: {ends}"
    return f"images: {ends}" + (
        ", too narrow: they come in groups, which the cache does not list" if names_groups(bench.manifest.command) else ""
    )

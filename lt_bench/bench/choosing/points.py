"""Points of a strategy: the hyper-parameters to choose among."""

from __future__ import annotations

from typing import Any

from lt_bench.bench.tuning.points import accepted, grid_points, within_budget
from lt_bench.core.errors import UserError
from lt_bench.features.cache import FeatureCache
from lt_bench.strategies.entry import Entry

USUAL = ("joint", "logit_adjustment", "tau_norm", "ncm", "lda", "balanced_softmax", "crt", "los")
"""Strategies that are compared where none are named: the stage-1 head as it is, two adjustments of it, two closed forms, three that train a head."""
BUDGET = 12
"""Points of each strategy, where nothing else is said."""


def points_of(entry: Entry, cache: FeatureCache, budget: int) -> list[dict[str, Any]]:
    """Hyper-parameters of at most ``budget`` points, those that ``tune`` tries with this budget: the strategy's own for this data set first, as ``{}``, then a random draw of the others of its grid.

    Raises:
        UserError: the strategy cannot be built on this cache at all, or learns from validation images.
    """
    taken, _ = accepted(entry, cache, {}, [{}, *(grid_points(entry, {}) if entry.grid else [])])
    if of_grid := [point for point in taken if point]:
        taken, _ = within_budget(entry, cache, {}, of_grid, budget)
    require_blind(entry, cache, taken[0])
    dataset = cache.manifest.dataset
    own, *whole = (entry.resolve(dataset.name, dataset.imbalance_factor, point) for point in ({}, *taken))
    return [{} if one == own else point for point, one in zip(taken, whole, strict=True)]


def require_blind(entry: Entry, cache: FeatureCache, point: dict[str, Any]) -> None:
    """Refuse a strategy that learns from validation images, since these choose hyper-parameters.

    Raises:
        UserError: the strategy learns from validation images.
    """
    cls, _ = entry.class_for(entry.resolve(cache.manifest.dataset.name, cache.manifest.dataset.imbalance_factor, point))
    if cls.reads_held_out():
        raise UserError(
            f"{entry.public_name} learns from validation images, which choose here; leave it out, `lt-bench run` compares it on test images"
        )
